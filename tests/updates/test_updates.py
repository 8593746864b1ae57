"""Services of every release update to the working tree, untouched and edited."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import copier
import pytest
import yaml

from tools.releases import NEXT, Release
from tools.render import Answers, git, render, update

from ..conftest import MakeService
from ..support.services import Service
from .combinations import RELEASES, WORKING_TREE, asked, matrix, options, switches
from .conftest import FIXED, Rendered
from .edits import EDITS, FIX, Edit, replace
from .edits import FIXED as FIXED_FILES

# what services are rendered at: the working tree stands for the next release
STARTS = [*RELEASES, WORKING_TREE]
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


def take(rendered: Path, folder: Path) -> Path:
    """Take a copy of a rendered service, and commit it."""
    shutil.copytree(rendered, folder)
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


def test_answers_are_all_in_the_matrix() -> None:
    """Each of them, and each pair that can be given together, as of containers and their database."""
    rows = matrix(WORKING_TREE)
    for name, values in options(WORKING_TREE).items():
        assert {row[name] for row in rows if name in row} == {*values}, name
    assert {(row["database"], row["container"]) for row in rows} == {
        (database, container)
        for database in ("sqlite", "postgresql", "mysql")
        for container in (True, False)
    }


@pytest.mark.parametrize(
    ("release", "answers"),
    [
        pytest.param(release, answers, id=f"{release.version}-{number}")
        for number in range(max(len(matrix(release)) for release in STARTS))
        for release in STARTS
        for answers in matrix(release)[number : number + 1]
    ],
)
def test_untouched_service_becomes_a_fresh_one(
    release: Release, answers: Answers, rendered: Rendered, tmp_path: Path
) -> None:
    service = take(rendered(answers, release.tag), tmp_path / "service")
    before = files(service)
    target = FIXED if release == WORKING_TREE else NEXT

    update(service, ref=target)

    assert conflicts(service) == []
    fresh = files(rendered(recorded(service), target))
    assert recorded(service).items() >= answers.items()
    after = files(service)
    # the team's from the first day
    for path in {*before, *fresh}:
        if path == "README.md" or path.startswith("migrations/"):
            assert after.pop(path, None) == before.get(path), path
            fresh.pop(path, None)
    assert after == fresh


def applicable(folder: Path) -> dict[str, Edit]:
    """The edits that can be made together in a service: one keeps the test that another deletes."""
    return {name: edit for name, edit in EDITS.items() if not edit.gone and edit.applies(folder)}


def make(service: Path, edits: dict[str, Edit]) -> None:
    """Make and commit edits, and a migration."""
    for edit in edits.values():
        edit.make(service)
    (service / MINE).write_text("mine = True\n", encoding="utf-8")
    commit(service)


def is_teams(path: str, edits: dict[str, Edit]) -> bool:
    """Tell whether a file may differ from a fresh one after these edits."""
    edited = {path for edit in edits.values() for path in edit.paths()}
    return path.startswith("migrations/") or path in {
        *("README.md", ".copier-answers.yml", "tests/test_main.py"),
        *edited,
    }


def check_fixes(service: Path, fresh: dict[str, bytes], edits: dict[str, Edit]) -> None:
    """Check that an update has brought everything that the fixed release changed."""
    after = files(service)
    for path in FIXED_FILES:
        assert path not in after or FIX in after[path].decode(), path
    assert f"_commit: {FIXED}" in after[".copier-answers.yml"].decode()
    for path, content in fresh.items():
        if not is_teams(path, edits):
            assert after[path] == content, f"the template's {path} did not arrive"


# the answers that the edits need beside the defaults
OTHER_FILES: list[Answers] = [{}, {"ci": "gitlab"}]


def edited() -> list[tuple[Release, Answers, str]]:
    """List each release with each edit that can be made in its services, and with all together."""
    found: list[tuple[Release, Answers, str]] = []
    for release in STARTS:
        known = asked(release)
        for name, edit in EDITS.items():
            if edit.answers.keys() <= known.keys():
                found.append((release, edit.answers, name))
        found += [(release, answers, "all") for answers in OTHER_FILES if {*answers} <= {*known}]
    return found


@pytest.mark.parametrize(
    ("release", "answers", "name"),
    [
        pytest.param(*case, id="-".join(map(str, (case[0].version, case[2], *case[1].values()))))
        for case in edited()
    ],
)
def test_edits_survive(
    release: Release, answers: Answers, name: str, rendered: Rendered, tmp_path: Path
) -> None:
    service = take(rendered(answers, release.tag), tmp_path / "service")
    edits = applicable(service) if name == "all" else {name: EDITS[name]}
    make(service, edits)
    migrations = {p: c for p, c in files(service).items() if p.startswith("migrations/")}

    update(service, ref=FIXED)

    assert conflicts(service) == []
    for edit_name, edit in edits.items():
        assert edit.kept(service), edit_name
    after = files(service)
    assert {p: c for p, c in after.items() if p.startswith("migrations/")} == migrations
    check_fixes(service, files(rendered(recorded(service), FIXED)), edits)


def test_lines_that_both_change_are_marked(
    release: Release, rendered: Rendered, tmp_path: Path
) -> None:
    """The one conflict that the edits can have: a line of their own next to one that is mended."""
    service = take(rendered({}, release.tag), tmp_path / "service")
    replace(service / "pyproject.toml", r'^    "uvicorn>=.*$', r'\g<0>\n    "vine>=5",')
    commit(service)

    update(service, ref=FIXED)

    assert conflicts(service) == ["pyproject.toml"]
    text = (service / "pyproject.toml").read_text(encoding="utf-8")
    ours, theirs = re.findall(r"<<<<<<<.*?\n(.*?)=======\n(.*?)>>>>>>>", text, re.DOTALL)[0]
    assert '"vine>=5"' in ours
    assert '.0"' in theirs
    checked = subprocess.run(
        ["git", "diff", "--check"], cwd=service, capture_output=True, text=True, check=False
    )
    assert "pyproject.toml" in checked.stdout
    assert "leftover conflict marker" in checked.stdout


@pytest.mark.parametrize(
    ("release", "answers"),
    [
        pytest.param(release, answers, id="-".join(map(str, (release.version, *answers.values()))))
        for release, answers, name in edited()
        if name == "all"
    ],
)
def test_recopy_keeps_the_teams_files(
    release: Release, answers: Answers, rendered: Rendered, tmp_path: Path
) -> None:
    """What else it overwrites is in `git diff`, and comes back with `git restore --patch`."""
    service = take(rendered(answers, release.tag), tmp_path / "service")
    make(service, applicable(service))
    before = files(service)

    copier.run_recopy(
        service,
        defaults=True,
        overwrite=True,
        quiet=True,
        settings=copier.Settings(),
        vcs_ref=FIXED,
    )

    after, fresh = files(service), files(rendered(recorded(service), FIXED))
    for path in {*before, *after}:
        mine = path == "README.md" or path.startswith("migrations/") or path == "src/orders.py"
        if mine:
            assert after.get(path) == before.get(path), path
        elif path in fresh:
            assert after[path] == fresh[path], path
    git(service, "restore", ".")
    assert {path: files(service)[path] for path in before} == before


# Where an answer and the edits change the same place, git cannot know which comes first: accounts
# are imported and wired beside the team's router, and are fields behind the same field.
LISTED = {"accounts": {"src/main.py", "src/database/models.py"}}


@pytest.mark.parametrize(("question", "old", "new"), [*switches()])
def test_edits_survive_a_changed_answer(
    question: str, old: str | bool, new: str | bool, rendered: Rendered, tmp_path: Path
) -> None:
    """A file that goes with its answer takes the edits in it along, back into git's history."""
    answers: Answers = {"database": "postgresql", question: old}  # with which all can be asked
    service = take(rendered(answers, WORKING_TREE.tag), tmp_path / "service")
    edits = applicable(service)
    make(service, edits)
    before = files(service)

    update(service, {question: new}, ref=FIXED)

    assert {*conflicts(service)} == LISTED.get(question, set())
    assert recorded(service)[question] == new
    after, fresh = files(service), files(rendered(recorded(service), FIXED))
    for name, edit in edits.items():
        assert edit.kept(service, {*fresh, "src/orders.py"}), name
    for path in before:
        if path == "README.md" or path.startswith("migrations/"):
            assert after[path] == before[path], path
    assert {*after} - {*fresh} <= {MINE, "src/orders.py"}
    check_fixes(service, fresh, edits)


def test_update_asks_nothing(release: Release, rendered: Rendered, tmp_path: Path) -> None:
    """As typed where nobody can answer."""
    service = take(rendered({}, release.tag), tmp_path / "service")
    before = recorded(service)

    process = subprocess.run(
        [sys.executable, "-m", "copier", "update", "--defaults", "--vcs-ref", NEXT],
        cwd=service,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stderr
    assert recorded(service).items() >= before.items()
    steps = ["git status", "copier update", "uv sync", "migrate check", "migrate new", "pytest"]
    said = process.stderr
    places = [said.index(step) for step in steps if step != "copier update"]
    assert places == sorted(places)


def test_update_adds_no_accounts(release: Release, rendered: Rendered, tmp_path: Path) -> None:
    """A service that is older than the question has them only when it asks for them."""
    service = take(rendered({}, release.tag), tmp_path / "service")
    had = bool(recorded(service).get("accounts", False))

    update(service, ref=NEXT)
    assert recorded(service)["accounts"] is had
    commit(service)
    update(service, {"accounts": True}, ref=NEXT)

    assert (service / "src" / "auth" / "router.py").is_file()
    assert conflicts(service) == []


ROW = "INSERT INTO users (username, email, hashed_password, nickname) VALUES ('a', 'a@b.de', '-', 'A')"


def migrations_of(folder: Path) -> dict[str, bytes]:
    return {p: c for p, c in files(folder).items() if re.fullmatch(r"migrations/.*\.py", p)}


def edit_for_a_year(service: Service, known: list[tuple[object, dict[str, bytes]]]) -> None:
    """Make a team's edits, with a migration for each model, and commit them.

    Args:
        service: the service.
        known: the migrations that Aerich has written after other migrations and models; they are
            taken again where these are the same.
    """
    folder = service.folder
    edits = applicable(folder)
    models = {name for name in edits if "model" in name}
    before = migrations_of(folder)
    for name in (name for name in edits if name not in models):
        edits[name].make(folder)
    start = [before, (folder / "src/database/models.py").read_bytes()]
    written = next((migrations for state, migrations in known if state == start), None)
    for name in models if written else sorted(models):
        edits[name].make(folder)
        if not written:
            service.run("aerich", "migrate", "--offline", "--name", name.replace(" ", "_"))
    if written:
        for path, content in written.items():
            (folder / path).write_bytes(content)
    else:
        known.append((start, migrations_of(folder)))
    commit(folder)


def test_edited_service_works_on(
    engine: str, rendered: Rendered, tmp_path: Path, make_service: MakeService
) -> None:
    """Its rows and migrations stay, and its suite passes; those that end up alike run it once."""
    seen: list[object] = []
    written: list[tuple[object, dict[str, bytes]]] = []
    for release in RELEASES:
        service = make_service(engine, f"installed-{release.version}")
        source = rendered({"database": engine}, release.tag)
        service.folder = updated = take(source, tmp_path / release.version)
        edit_for_a_year(service, written)
        old = shutil.copytree(updated, tmp_path / f"old-{release.version}")
        migrations = sorted(path.name for path in (old / "migrations" / "models").glob("*.py"))
        assert len(migrations) == 3

        update(updated, ref=FIXED)

        assert conflicts(updated) == []
        # nothing else decides what follows: what the database was made of, and what runs now
        state = [migrations_of(old), comparable(updated)]
        if state in seen:
            check_readme(service)
            continue
        seen.append(state)
        service.folder = old
        service.run("aerich", "upgrade")
        service.database.query(ROW)
        service.folder = updated
        service.upgrade()
        applied = service.database.query("SELECT version FROM aerich ORDER BY id")
        assert [name for (name,) in applied] == migrations
        assert service.database.query("SELECT username, nickname FROM users") == [("a", "A")]
        check_suite(service)
        assert "Success" in service.run("mypy", MYPY_CACHE_DIR=str(tmp_path / "mypy")).stdout
        service.run("ruff", "check")
        service.run("ruff", "format", "--check")


def test_untouched_service_passes_its_suite(
    engine: str, rendered: Rendered, tmp_path: Path, make_service: MakeService
) -> None:
    """It differs from a fresh one by its README and its migrations; those alike run it once."""
    seen: list[dict[str, bytes]] = []
    for release in RELEASES:
        service = make_service(engine, f"installed-{release.version}")
        source = rendered({"database": engine}, release.tag)
        service.folder = take(source, tmp_path / release.version)

        update(service.folder, ref=NEXT)

        tree = comparable(service.folder)
        if tree in seen:
            check_readme(service)
        else:
            seen.append(tree)
            check_suite(service)


def check_suite(service: Service, *paths: str) -> None:
    """Run a service's tests, or those in some files."""
    assert " passed" in service.run("pytest", "-q", "-p", "no:cacheprovider", *paths).stdout


def check_readme(service: Service) -> None:
    """Run those of a service's tests that read what `comparable` leaves out."""
    paths = sorted(
        path
        for path, content in files(service.folder).items()
        if re.fullmatch(r"tests/.*\.py", path) and b"README.md" in content
    )
    assert paths
    check_suite(service, *paths)


def comparable(folder: Path) -> dict[str, bytes]:
    """Read what decides how a service behaves: its files, without the README and caches."""
    return {
        re.sub(r"_\d{14}_", "_", path): content
        for path, content in files(folder).items()
        if path != "README.md" and "__pycache__" not in path and ".mypy_cache" not in path
    }
