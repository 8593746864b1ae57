"""Each row of the table of ownership, proven by an update that changes every file."""

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import copier
import pytest

from tools.releases import NEXT, history
from tools.render import Answers, git, render, update
from tools.tables import owned_by

from .combinations import EVERY_FILE
from .folders import commit, conflicts, files, take

FIX = "# the template's fix\n"
EDIT = "# the team's edit\n"


@pytest.fixture(scope="module")
def repository() -> Iterator[Path]:
    """A repository whose next release changes the first line of every file."""
    with history() as clone:
        for file in (clone / "template").rglob("*"):
            if file.is_file() and "answers_file" not in file.name:
                file.write_text(FIX + file.read_text(encoding="utf-8"), encoding="utf-8")
        git(clone, "commit", "--all", "--quiet", "--message", "Fix every file")
        git(clone, "tag", "v999.1.0")
        yield clone


@pytest.mark.parametrize("answers", EVERY_FILE, ids=lambda answers: str(answers["database"]))
def test_an_update_keeps_edits_and_brings_fixes(
    answers: Answers, repository: Path, tmp_path: Path
) -> None:
    rendered = render(repository, tmp_path / "rendered", answers, NEXT)
    service = take(rendered, tmp_path / "service")
    for path in files(service):
        file = service / path
        if path != ".copier-answers.yml" and file.stat().st_size:
            file.write_text(file.read_text(encoding="utf-8") + EDIT, encoding="utf-8")
    commit(service)
    before = files(service)

    update(service, ref="v999.1.0")

    assert conflicts(service) == []
    for path, content in files(service).items():
        if path == ".copier-answers.yml":
            continue
        if any(fnmatch(path, pattern) for pattern in owned_by("team")):
            assert content == before[path], path
        elif before[path]:
            assert content.decode().startswith(FIX), path
            assert content.decode().endswith(EDIT), path


@pytest.mark.parametrize("operation", ["update", "recopy"])
def test_the_teams_files_stay_deleted(operation: str, repository: Path, tmp_path: Path) -> None:
    """As a README in another form, or migrations that `baseline` has replaced."""
    service = take(render(repository, tmp_path / "rendered", {}, NEXT), tmp_path / "service")
    team = [path for path in files(service) if any(fnmatch(path, p) for p in owned_by("team"))]
    assert len(team) == 2
    for path in team:
        (service / path).unlink()
    commit(service)

    if operation == "update":
        update(service, ref="v999.1.0")
    else:
        copier.run_recopy(
            service, defaults=True, overwrite=True, quiet=True, settings=copier.Settings()
        )

    assert [path for path in team if (service / path).exists()] == []
    assert conflicts(service) == []


def test_every_listed_file_is_rendered(repository: Path, tmp_path: Path) -> None:
    paths = {
        path
        for answers in EVERY_FILE
        for path in files(render(repository, tmp_path / str(answers["database"]), answers, NEXT))
    }

    for pattern in (*owned_by("team"), *owned_by("shared")):
        assert any(fnmatch(path, pattern) for path in paths), pattern
