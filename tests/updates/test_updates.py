"""Services of every release update to the working tree, untouched and edited."""

import re
from pathlib import Path

import pytest
import yaml

from tools.releases import NEXT, Release, releases
from tools.render import ENGINES, Answers, git, render, update

from ..conftest import MakeService
from .edits import EDITS

RELEASES = releases()
MINE = "migrations/models/1_20270101000000_mine.py"


@pytest.fixture(params=RELEASES, ids=lambda release: release.version)
def release(request: pytest.FixtureRequest) -> Release:
    found: Release = request.param
    return found


def start(repository: Path, folder: Path, answers: Answers, ref: str) -> Path:
    """Render a service and commit it, as its README says."""
    render(repository, folder, answers, ref)
    git(folder, "init", "--quiet")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "Change")


def files(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and ".git" not in file.relative_to(folder).parts
    }


def recorded(folder: Path) -> Answers:
    """Read the answers of a service; those to newer questions keep it as it was."""
    answers = yaml.safe_load((folder / ".copier-answers.yml").read_text(encoding="utf-8"))
    return {name: answer for name, answer in answers.items() if not name.startswith("_")}


def conflicts(folder: Path) -> list[str]:
    """List the files with conflict markers, or rejected pieces."""
    return [
        path
        for path, content in files(folder).items()
        if path.endswith(".rej") or re.search(rb"^(<<<<<<<|>>>>>>>) ", content, re.MULTILINE)
    ]


def test_there_are_releases() -> None:
    assert RELEASES[0].version == "0.1.0"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("package", ["src", "app"])
def test_untouched_service_becomes_a_fresh_one(
    engine: str, package: str, release: Release, repository: Path, tmp_path: Path
) -> None:
    answers = {"database": engine, "package_name": package, "author_name": "Ada"}
    service = start(repository, tmp_path / "service", answers, release.tag)
    before = files(service)

    update(service, ref=NEXT)

    assert conflicts(service) == []
    fresh = files(render(repository, tmp_path / "fresh", recorded(service), NEXT))
    assert recorded(service).items() >= answers.items()
    after = files(service)
    # the team's from the first day
    for path in {*before, *fresh}:
        if path == "README.md" or path.startswith("migrations/"):
            assert after.pop(path, None) == before.get(path), path
            fresh.pop(path, None)
    assert after == fresh


@pytest.mark.parametrize("name", [*EDITS, "all"])
def test_edits_survive(name: str, release: Release, repository: Path, tmp_path: Path) -> None:
    edits = {name: EDITS[name]} if name != "all" else {k: v for k, v in EDITS.items() if not v.gone}
    service = start(repository, tmp_path / "service", {}, release.tag)
    for edit in edits.values():
        edit.make(service)
    (service / MINE).write_text("mine = True\n", encoding="utf-8")
    commit(service)
    migrations = {p: c for p, c in files(service).items() if p.startswith("migrations/")}

    update(service, ref=NEXT)

    assert conflicts(service) == []
    for edit in edits.values():
        for path, text in edit.texts.items():
            assert text in (service / path).read_text(encoding="utf-8")
        assert not edit.gone or not (service / edit.gone).exists()
    after = files(service)
    assert {p: c for p, c in after.items() if p.startswith("migrations/")} == migrations
    assert f"_commit: {NEXT}" in after[".copier-answers.yml"].decode()
    fresh = files(render(repository, tmp_path / "fresh", recorded(service), NEXT))
    edited = {path for edit in edits.values() for path in (*edit.texts, edit.gone)}
    team = {"README.md", ".copier-answers.yml", "tests/test_main.py", *edited}
    for path, content in fresh.items():
        if path not in team and not path.startswith("migrations/"):
            assert after[path] == content, f"the template's {path} did not arrive"


def test_update_adds_no_accounts(release: Release, repository: Path, tmp_path: Path) -> None:
    """A service that is older than the question has them only when it asks for them."""
    service = start(repository, tmp_path / "service", {}, release.tag)
    had = bool(recorded(service).get("accounts", False))

    update(service, ref=NEXT)
    assert recorded(service)["accounts"] is had
    commit(service)
    update(service, {"accounts": True}, ref=NEXT)

    assert (service / "src" / "auth" / "router.py").is_file()
    assert conflicts(service) == []


def test_updated_service_passes_its_suite(
    engine: str, release: Release, repository: Path, tmp_path: Path, make_service: MakeService
) -> None:
    """With the team's router in it; the dependencies are the working tree's."""
    service = make_service(engine)
    folder = start(repository, tmp_path / "old", {"database": engine}, release.tag)
    EDITS["router"].make(folder)
    commit(folder)

    update(folder, ref=NEXT)

    service.folder = folder
    assert " passed" in service.run("pytest", "-q", "-p", "no:cacheprovider").stdout
    assert "Success" in service.run("mypy").stdout
