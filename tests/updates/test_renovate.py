"""The command by which Renovate updates a service, as in its source: lib/modules/manager/copier."""

import json
import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tools.releases import NEXT
from tools.render import REPOSITORY, git, update

from .combinations import RELEASES
from .command import copier
from .conftest import Rendered
from .edits import replace
from .folders import commit, conflicts, files, take

LAST = RELEASES[-1].tag
COMMAND = ("update", "--skip-answered", "--defaults", "--answers-file", ".copier-answers.yml")


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_renovate_updates_a_service(ci: str, rendered: Rendered, tmp_path: Path) -> None:
    service = take(rendered({"ci": ci}, LAST), tmp_path / "service")

    process = copier(*COMMAND, "--vcs-ref", NEXT, cwd=service)

    assert process.returncode == 0, process.stderr
    assert f"{LAST.removeprefix('v')}:" not in process.stderr  # no steps of releases that it has
    assert "Removed files" not in process.stderr
    assert conflicts(service) == []
    fresh = files(rendered({"ci": ci}, NEXT))
    assert {path for path, content in files(service).items() if fresh.get(path) != content} <= {
        "README.md"
    }


def test_conflict_is_left_to_the_pipeline(rendered: Rendered, tmp_path: Path) -> None:
    """Renovate lists conflicts in its merge request, and the pipeline refuses their markers."""
    service = take(rendered({}, "v0.8.0"), tmp_path / "service")
    replace(
        service / "src" / "main.py", r"^from \.api import (.*)$", r"from .api import \1  # ours"
    )
    commit(service)

    process = copier(*COMMAND, "--vcs-ref", NEXT, cwd=service)

    assert process.returncode == 0
    assert conflicts(service) == ["src/main.py"]
    assert "  # ours" in (service / "src" / "main.py").read_text(encoding="utf-8")


def test_documented_configuration_updates_the_lock(rendered: Rendered, tmp_path: Path) -> None:
    """Renovate runs the commands after Copier, and commits what matches the filters."""
    text = (REPOSITORY / "docs" / "updating.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    configuration = json.loads(block)
    (rule,) = configuration["packageRules"]
    tasks = rule["postUpgradeTasks"]
    assert rule["matchManagers"] == ["copier"]
    assert {*tasks["installTools"]} == {command.split()[0] for command in tasks["commands"]}
    service = take(rendered({}, LAST), tmp_path / "service")
    (service / "uv.lock").write_text("old\n", encoding="utf-8")
    commit(service)
    (tmp_path / "uv").write_text(
        '#!/bin/sh\ntest "$*" = lock && cp pyproject.toml uv.lock\n', encoding="utf-8"
    )
    (tmp_path / "uv").chmod(0o755)

    update(service, ref=NEXT)
    for command in tasks["commands"]:
        assert any(re.search(allowed, command) for allowed in configuration["allowedCommands"])
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(command.split(), cwd=service, env={"PATH": path}, check=True)

    changed = git(service, "diff", "--name-only").split()
    assert [p for p in changed if any(fnmatch(p, f) for f in tasks["fileFilters"])] == ["uv.lock"]
