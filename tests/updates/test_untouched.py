"""Services that nobody has edited become, by an update, what a fresh render is."""

from pathlib import Path

import pytest

from tools.releases import NEXT, Release
from tools.render import Answers, git, update

from ..conftest import MakeService
from ..support import databases
from ..support.services import install
from .combinations import (
    RELEASES,
    STARTS,
    WORKING_TREE,
    Kind,
    asked,
    kinds,
    matrix,
    options,
    pairs,
)
from .command import copier_process
from .conftest import FIXED, Rendered
from .folders import commit, conflicts, files, recorded, take
from .suites import Found, found, run_suite


def test_there_are_releases() -> None:
    assert RELEASES[0].version == "0.1.0"


def test_answers_are_all_in_the_matrix() -> None:
    """Each of them, and each pair that can be given together, as of containers and their database."""
    rows = matrix(WORKING_TREE)
    for name, values in options(WORKING_TREE).items():
        assert {row[name] for row in rows if name in row} == {*values}, name
    met = {pair for row in rows for pair in pairs(row)}
    for name in ("container", "package_name", "accounts", "observability"):
        for one in options(WORKING_TREE)[name]:
            for other in ("sqlite", "postgresql", "mysql"):
                assert frozenset({(name, one), ("database", other)}) in met


def check_fresh(folder: Path, before: dict[str, bytes], fresh: dict[str, bytes]) -> None:
    """Check that a service is a fresh one, but for what is its team's from the first day."""
    assert conflicts(folder) == []
    after = files(folder)
    for path in {*before, *fresh}:
        if path == "README.md" or path.startswith("migrations/models/"):
            assert after.pop(path, None) == before.get(path), path
            fresh.pop(path, None)
    assert after == fresh


def runs_suite(kind: Kind, config: pytest.Config) -> bool:
    """Tell whether the suites of a kind run: on one engine in turn, or on all with --all-turns."""
    alike = [other for other in kinds() if other[1:] == kind[1:]]
    return config.getoption("all_turns") or kind == alike[sum(kind[1:]) % len(alike)]


def has_turn(release: Release, number: int, config: pytest.Config) -> bool:
    """Tell whether a row of a release's matrix runs: in older releases, each runs in every other one,
    or in all with --all-turns.
    """
    older = STARTS[:-3]
    turn = release not in older or (older.index(release) + number) % 2 == 0
    return turn or config.getoption("all_turns")


@pytest.mark.parametrize("kind", kinds(), ids=str)
def test_untouched_service_becomes_a_fresh_one(
    kind: Kind,
    rendered: Rendered,
    tmp_path: Path,
    make_service: MakeService,
    request: pytest.FixtureRequest,
) -> None:
    """From each release, with the answers of its matrix; and its suite passes."""
    suites: set[tuple[str, Found]] = set()
    for release in STARTS:
        target = FIXED if release == WORKING_TREE else NEXT
        for number, answers in enumerate(matrix(release)):
            if Kind.of(answers) != kind or not has_turn(release, number, request.config):
                continue
            folder = take(rendered(answers, release.tag), tmp_path / f"{release.tag}-{number}")
            before = files(folder)

            update(folder, ref=target)

            check_fresh(folder, before, files(rendered(recorded(folder), target)))
            assert recorded(folder).items() >= answers.items()
            # tests/test_jobs.py and tests/test_sentry.py run the suites with jobs and with reports
            if target == NEXT and not kind.jobs and not answers.get("sentry"):
                package = str(answers["package_name"])
                suites.add((package, found(folder, package)))

    if not suites or not runs_suite(kind, request.config):
        return
    databases.require(kind.database)
    offers: Answers = {"observability": True} if kind.observability else {}
    service = make_service(kind.database, "installed", offers)
    if kind.observability:
        service.commands = install(service.folder, f"{kind.database}-observability")
    for number, (service.package, texts) in enumerate(suites):
        run_suite(service, texts, tmp_path / f"suite-{number}")


@pytest.mark.parametrize(
    "release", [RELEASES[0], RELEASES[-1]], ids=lambda release: release.version
)
def test_update_asks_nothing(release: Release, rendered: Rendered, tmp_path: Path) -> None:
    """As typed where nobody can answer, with nothing of what makes Copier faster in these tests."""
    service = take(rendered({}, release.tag), tmp_path / "service")
    before = files(service)

    process = copier_process("update", "--defaults", "--vcs-ref", NEXT, cwd=service)

    assert process.returncode == 0, process.stderr
    check_fresh(service, before, files(rendered(recorded(service), NEXT)))
    steps = [
        "git status",
        "diff-filter=D",
        "uv sync",
        "migrate check",
        "migrate new",
        "pytest",
        "commit",
    ]
    places = [process.stderr.index(step) for step in steps]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "release",
    [release for release in RELEASES if asked(WORKING_TREE).keys() - asked(release).keys()],
    ids=lambda release: release.version,
)
def test_new_questions_leave_a_service_as_it_is(
    release: Release, rendered: Rendered, tmp_path: Path
) -> None:
    """What a release did not ask for a service has only when its team asks for it."""
    newer = asked(WORKING_TREE).keys() - asked(release).keys()
    service = take(rendered({}, release.tag), tmp_path / "service")

    update(service, ref=NEXT)

    for name in newer:
        assert recorded(service).get(name, "none") in ("none", False), name
    if "accounts" in newer:
        commit(service)
        update(service, {"accounts": True}, ref=NEXT)
        assert (service / "src" / "auth" / "router.py").is_file()
        assert conflicts(service) == []


def test_checkout_with_line_ends_of_windows_shows_no_changes(
    rendered: Rendered, tmp_path: Path
) -> None:
    service = take(rendered({}, NEXT), tmp_path / "service")

    git(tmp_path, "clone", "--quiet", "--config", "core.autocrlf=true", str(service), "clone")

    assert files(tmp_path / "clone") == files(service)
    assert git(tmp_path / "clone", "status", "--short") == ""
