"""Edits in files that an update removes or creates are never lost silently: docs/updating-to-1.0.md."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tools.releases import NEXT
from tools.render import REPOSITORY, Answers, git, update

from ..conftest import MakeService
from .command import copier
from .conftest import Rendered
from .edits import append, replace
from .folders import commit, conflicts, files, take

GUIDE = REPOSITORY / "docs" / "updating-to-1.0.md"
LISTING = "git diff --name-only --diff-filter=D"


def guided_commands() -> list[str]:
    """Read the commands that show edits in removed files, without those that clean up."""
    section = re.search(
        r"^## Find your edits.*?^## ", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert section
    _, commands, cleanup = re.findall(
        r"^```console\n(.*?)^```$", section[0], re.MULTILINE | re.DOTALL
    )
    lines = [*commands.splitlines(), *cleanup.splitlines()]
    copier = f"{shlex.quote(sys.executable)} -m copier"
    return [line.removeprefix("$ ").replace("uvx copier", copier) for line in lines]


def run_shell(command: str, folder: Path) -> str:
    environment = {"PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_PAGER": "cat"}
    process = subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return process.stdout


@pytest.mark.parametrize("version", ["0.6.1", "0.8.0"])
def test_edit_in_a_moved_file_is_listed_and_brought_along(
    version: str, rendered: Rendered, tmp_path: Path, make_service: MakeService
) -> None:
    service = make_service("sqlite", "installed")
    service.folder = folder = take(rendered({}, f"v{version}"), tmp_path / "service")
    replace(folder / "src/start.py", r"^START_TIMEOUT = .*$", "START_TIMEOUT = 77  # ours")
    commit(folder)

    update(folder, ref=NEXT)

    removed = run_shell(LISTING, folder).splitlines()
    assert "src/start.py" in removed
    after = files(folder)
    shown = run_shell("\n".join(guided_commands()), folder)
    edits = [line for line in shown.splitlines() if re.match(r"[+-](?![+-])", line)]
    assert "+START_TIMEOUT = 77  # ours" in edits
    assert len(edits) == 2, "more is shown than the edit"
    assert files(folder) == after
    assert git(folder, "worktree", "list").count("\n") == 1
    assert not (tmp_path / "before-update").exists()
    replace(folder / "src/health.py", r"^START_TIMEOUT = .*$", "START_TIMEOUT = 77  # ours")
    said = service.run("python", "-c", "from src import health; print(health.START_TIMEOUT)").stdout
    assert said == "77\n"
    commit(folder)
    assert conflicts(folder) == []


def test_guide_names_every_removed_file() -> None:
    """The changelog names them as well, which test_paths.py checks."""
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    removed = re.findall(
        r"^  - `(src/\S+)`: ", text.partition("\n## 1.0.0 ")[2].partition("\n## ")[0], re.MULTILINE
    )
    assert len(removed) == 8
    guide = GUIDE.read_text(encoding="utf-8")
    assert [path for path in removed if f"| `{path}` |" not in guide] == []


def test_new_paths_of_the_guide_are_rendered(rendered: Rendered) -> None:
    answers: Answers = {"database": "postgresql", "accounts": True, "observability": True}
    paths = files(rendered(answers, NEXT))
    rows = re.findall(
        r"^\| `src/.*\| (`src/.*) \|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE
    )
    named = {path for row in rows for path in re.findall(r"`(src/\S+)`", row)}
    assert len(named) > 20
    assert named - paths.keys() == set()


def test_teams_own_page_is_never_overwritten(rendered: Rendered, tmp_path: Path) -> None:
    service = take(rendered({}, "v0.8.0"), tmp_path / "service")
    (service / "docs").mkdir()
    for name in ("configuration.md", "our-migrations.md"):
        (service / "docs" / name).write_text("# Ours\n\nAsk Ada first.\n", encoding="utf-8")
    commit(service)

    update(service, ref=NEXT)

    assert conflicts(service) == ["docs/configuration.md"]
    both = (service / "docs/configuration.md").read_text(encoding="utf-8")
    assert "Ask Ada first." in both
    assert "`ENVIRONMENT`" in both
    assert "Ask Ada first." in (service / "docs/our-migrations.md").read_text(encoding="utf-8")


def test_message_shows_edits_in_files_of_an_option_that_is_switched_off(
    rendered: Rendered, tmp_path: Path
) -> None:
    service = take(rendered({}, NEXT), tmp_path / "service")
    append(service / "Dockerfile", "# ours\n")
    commit(service)

    process = copier(
        *("update", "--defaults", "--data", "container=false", "--vcs-ref", NEXT), cwd=service
    )

    assert process.returncode == 0, process.stderr
    assert LISTING in process.stderr
    assert "Dockerfile" in run_shell(LISTING, service).splitlines()
    git(service, "restore", "Dockerfile")
    assert (service / "Dockerfile").read_text(encoding="utf-8").endswith("# ours\n")
