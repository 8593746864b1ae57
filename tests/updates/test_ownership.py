"""Each row of the table of ownership, proven by an update that changes every file."""

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from tools.releases import NEXT, history
from tools.render import ENGINES, REPOSITORY, Answers, git, render, update

from .test_updates import commit, conflicts, files, start

FIX = "# the template's fix\n"
EDIT = "# the team's edit\n"


def listed(owner: str) -> list[str]:
    paths: list[str] = yaml.safe_load(
        (REPOSITORY / "ownership" / f"{owner}.yml").read_text("utf-8")
    )
    return paths


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


@pytest.mark.parametrize("engine", ENGINES)
def test_an_update_keeps_edits_and_brings_fixes(
    engine: str, repository: Path, tmp_path: Path
) -> None:
    service = start(repository, tmp_path / "service", {"database": engine}, NEXT)
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
        if any(fnmatch(path, pattern) for pattern in listed("team")):
            assert content == before[path], path
        elif before[path]:
            assert content.decode().startswith(FIX), path
            assert content.decode().endswith(EDIT), path


def test_every_listed_file_is_rendered(repository: Path, tmp_path: Path) -> None:
    kubernetes: Answers = {"ci": "github", "database": "postgresql", "deployment": "kubernetes"}
    observed: Answers = {"ci": "gitlab", "observability": True}
    paths = {
        path
        for answers in (observed, kubernetes)
        for path in files(render(repository, tmp_path / str(answers["ci"]), answers, NEXT))
    }

    for pattern in (*listed("team"), *listed("shared")):
        assert any(fnmatch(path, pattern) for path in paths), pattern
