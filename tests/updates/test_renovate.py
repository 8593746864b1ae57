"""The command by which Renovate updates a service, as in its source: lib/modules/manager/copier."""

from pathlib import Path

import pytest

from tools.releases import NEXT

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
