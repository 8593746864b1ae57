"""AGENTS.md of a service is short, and its commands work as they are written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tools.render import Answers, git, render

from .support.databases import SERVERS, new_database
from .support.documentation import commands, serving
from .support.services import ENVIRONMENTS, bare_environment, free_port, mypy_cache


@pytest.mark.in_turn
@pytest.mark.parametrize("accounts", [True, False])
def test_commands_for_agents_work(
    engine: str, accounts: bool, template: Path, tmp_path: Path
) -> None:
    answers: Answers = {"database": engine, "accounts": accounts}
    folder = render(template, tmp_path / "service", answers)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Start")
    page = (folder / "AGENTS.md").read_text(encoding="utf-8")
    lines = commands(page)
    served = lines.index("uv run python -m src")
    calls = [line for line in lines if re.match(r"api=|curl |echo |log_in\(", line)]
    port = free_port()
    name = engine if accounts else f"{engine}-plain"
    environment = {
        **bare_environment(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "UV_PYTHON": sys.executable,
        "UV_PROJECT_ENVIRONMENT": str(ENVIRONMENTS / name),
        "MYPY_CACHE_DIR": str(mypy_cache()),
        "PYTEST_ADDOPTS": "-k health",  # tests/test_service.py runs all tests
        "PORT": str(port),
    }

    def run(script: str) -> str:
        return subprocess.run(
            ["/bin/sh", "-ec", script],
            cwd=folder,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    with new_database(engine, tmp_path) as database:
        for line in lines:
            if line not in calls and line != lines[served]:
                run(line)
            if ".env.example" in line:
                file = folder / ".env"
                text = file.read_text(encoding="utf-8")
                text = re.sub(r"(?<=\nDATABASE_URL=).*", lambda _: database.url, text)
                file.write_text(f"{text}TEST_DATABASE_URL={SERVERS[engine]}\n", encoding="utf-8")
        url = f"http://127.0.0.1:{port}"
        with serving(lines[served], folder, environment, f"{url}/readyz"):
            output = run("\n".join(calls).replace("http://127.0.0.1:8000", url))
            assert httpx2.get(f"{url}/readyz").json() == {"status": "ready"}

    if accounts:
        assert "root is an administrator now." in output
        assert output.count('"username":"eve"') == 3  # signed up, herself, in the list
        assert output.count('"username":"root"') == 1
    else:
        assert output == '{"status":"ready"}'
    assert len(page.splitlines()) <= 60
    assert (folder / "CLAUDE.md").read_text(encoding="utf-8") == "@AGENTS.md\n"
    assert git(folder, "diff", "--name-only") == ""  # formatted as it was
