"""A team's own format: an update takes it to the template's lines, as docs/updating.md says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tools.releases import NEXT
from tools.render import REPOSITORY

from .conftest import Rendered
from .edits import append, replace
from .folders import ANSWERS, commit, conflicts, files, take


def format_like_the_team(folder: Path) -> None:
    project = folder / "pyproject.toml"
    replace(project, r"^line-length = 100$", "line-length = 79")
    replace(project, r"^\[tool\.ruff\]$", "\\g<0>\nformat.quote-style = 'single'")
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet"], cwd=folder, check=True)


def documented_commands() -> str:
    """Read the commands, with this Copier, this ruff, and the working tree as the newest release."""
    text = (REPOSITORY / "docs" / "updating.md").read_text(encoding="utf-8")
    section = text.partition("## Update with your own format")[2].partition("\n## ")[0]
    commands = "\n".join(re.findall(r"^\$ (.*)$", section, re.MULTILINE))
    python = f"{shlex.quote(sys.executable)} -m "
    commands = commands.replace("uvx copier", python + "copier")
    commands = commands.replace('uv run --project "$service" ruff', python + "ruff")
    return re.sub(
        r"recopy --defaults --overwrite$", rf"\g<0> --vcs-ref {NEXT}", commands, flags=re.MULTILINE
    )


def test_own_format_is_kept_without_conflicts(rendered: Rendered, tmp_path: Path) -> None:
    """In one commit. A moved file that the team edited is a conflict."""
    service = take(rendered({}, "v0.8.0"), tmp_path / "service")
    format_like_the_team(service)
    append(service / "src" / "health.py", "\nOURS = 1\n")
    append(service / "src" / "start.py", "\nOURS = 1\n")
    commit(service)

    process = subprocess.run(
        ["/bin/bash", "-c", documented_commands()],
        cwd=service,
        env={**os.environ, "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com"}
        | {"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert re.findall(r"^CONFLICT.*?: (\S+)", process.stdout, re.MULTILINE) == ["src/start.py"]
    assert conflicts(service) == []
    fresh = take(rendered({}, NEXT), tmp_path / "fresh")
    format_like_the_team(fresh)
    found, wanted = files(service), files(fresh)
    assert b"OURS = 1" in found.pop("src/start.py")
    assert found["src/health.py"] == wanted.pop("src/health.py") + b"\nOURS = 1\n"
    differing = {path for path in wanted if found.get(path) != wanted[path]}
    assert {path for path in differing if not path.startswith(".ruff_cache/")} <= {
        "README.md",
        ANSWERS,
        "pyproject.toml",
    }
