"""A team's edits survive updates from every release, alone and together."""

import re
import shutil
import subprocess
from pathlib import Path

import copier
import pytest

from tools.releases import Release
from tools.render import Answers, git, update

from ..conftest import MakeService
from ..support.services import Service, install, uv
from .combinations import RELEASES, STARTS, WORKING_TREE, asked, options, switches
from .conftest import FIXED, Rendered
from .edits import EDITS, FIX, LAST, LAST_SINCE, Edit, conflicts_with_1_0, replace, resolve
from .edits import FIXED as FIXED_FILES
from .folders import commit, conflicts, files, migrations, recorded, take
from .suites import Found, found, run_suite

MINE = "migrations/models/1_20270101000000_mine.py"

# the answers with which services have all files that the edits are made in
OTHER_FILES: list[Answers] = [{}, {"ci": "gitlab"}]


def starts(answers: Answers) -> list[Release]:
    """List the releases that ask for all of these answers."""
    return [release for release in STARTS if answers.keys() <= asked(release).keys()]


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
    return path.startswith("migrations/models/") or path in {
        "README.md",
        ".copier-answers.yml",
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


def check_update(service: Path, edits: dict[str, Edit], rendered: Rendered) -> None:
    """Update a service with edits, and check that these survive and the fixes arrive."""
    before = migrations(service)
    moved = conflicts_with_1_0(service)

    update(service, ref=FIXED)

    assert {*conflicts(service)} == moved
    for name, edit in edits.items():
        assert edit.kept(service), name
    assert migrations(service) == before
    check_fixes(service, files(rendered(recorded(service), FIXED)), edits)


def edited(edits: dict[str, Edit], source: Path, folder: Path) -> Path:
    """Make edits in a copy of a rendered service."""
    service = take(source, folder)
    make(service, edits)
    return service


ONE_EDIT = [
    pytest.param(name, release, id=f"{name}-{release.version}")
    for name, edit in EDITS.items()
    for release in starts(edit.answers)
]


@pytest.mark.in_turn("release")
@pytest.mark.parametrize(("name", "release"), ONE_EDIT)
def test_edit_survives(name: str, release: Release, rendered: Rendered, tmp_path: Path) -> None:
    edits = {name: EDITS[name]}
    service = edited(edits, rendered(EDITS[name].answers, release.tag), tmp_path / "service")
    check_update(service, edits, rendered)


ALL_EDITS = [
    pytest.param(release, answers, id="-".join(map(str, (release.version, *answers.values()))))
    for answers in OTHER_FILES
    for release in starts(answers)
]


@pytest.mark.parametrize(("release", "answers"), ALL_EDITS)
def test_all_edits_survive_together(
    release: Release, answers: Answers, rendered: Rendered, tmp_path: Path
) -> None:
    service = take(rendered(answers, release.tag), tmp_path / "service")
    edits = applicable(service)
    make(service, edits)
    check_update(service, edits, rendered)


@pytest.mark.parametrize(
    "release",
    STARTS[[release.version for release in STARTS].index(LAST_SINCE) :],
    ids=lambda release: release.version,
)
def test_edits_at_the_ends_survive(release: Release, rendered: Rendered, tmp_path: Path) -> None:
    service = take(rendered({}, release.tag), tmp_path / "service")
    make(service, LAST)
    check_update(service, LAST, rendered)


@pytest.mark.in_turn("release")
@pytest.mark.parametrize("release", STARTS, ids=lambda release: release.version)
def test_lines_that_both_change_are_marked(
    release: Release, rendered: Rendered, tmp_path: Path
) -> None:
    """The one conflict that the edits can have: a line of their own next to one that is mended."""

    def insert(folder: Path) -> None:
        replace(folder / "pyproject.toml", r'^    "uvicorn>=.*$', r'\g<0>\n    "vine>=5",')

    edits = {"dependency beside a mended one": Edit(insert, {"pyproject.toml": '"vine>=5"'})}
    service = edited(edits, rendered({}, release.tag), tmp_path / "service")
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


@pytest.mark.parametrize("release", STARTS, ids=lambda release: release.version)
def test_recopy_keeps_the_teams_files(release: Release, rendered: Rendered, tmp_path: Path) -> None:
    """What else it overwrites is in `git diff`, and comes back with `git restore --patch`."""
    service = take(rendered({}, release.tag), tmp_path / "service")
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
        mine = (
            path == "README.md" or path.startswith("migrations/models/") or path == "src/orders.py"
        )
        if mine:
            assert after.get(path) == before.get(path), path
        elif path in fresh:
            assert after[path] == fresh[path], path
    git(service, "restore", ".")
    assert before.items() <= files(service).items()


# Where an answer and the edits change the same place, git cannot know which comes first: accounts
# are imported and wired beside the team's router, and are fields behind the same field. With jobs,
# an import above the team's router goes.
LISTED = {"accounts": {"src/main.py", "src/database/models.py"}, "jobs": {"src/main.py"}}


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

    has_both = question == "jobs" and "none" not in {old, new}
    assert {*conflicts(service)} == (set() if has_both else LISTED.get(question, set()))
    assert recorded(service)[question] == new
    after, fresh = files(service), files(rendered(recorded(service), FIXED))
    for name, edit in edits.items():
        assert edit.kept(service, {*fresh, "src/orders.py"}), name
    for path in before:
        if path == "README.md" or path.startswith("migrations/models/"):
            assert after[path] == before[path], path
    assert {*after} - {*fresh} - {*migrations(service)} <= {"src/orders.py"}
    check_fixes(service, fresh, edits)


@pytest.mark.parametrize("release", STARTS, ids=lambda release: release.version)
def test_edits_survive_all_options_at_once(
    release: Release, rendered: Rendered, tmp_path: Path
) -> None:
    """As those of a team that takes everything that came since its release, in one update."""
    service = take(rendered({"database": "postgresql"}, release.tag), tmp_path / "service")
    edits = applicable(service)
    make(service, edits)
    offers: Answers = {
        name: True if True in values else str(values[-1])
        for name, values in options(WORKING_TREE).items()
        if name not in {"package_name", "database", "license", "ci"}
    }

    moved = conflicts_with_1_0(service)

    update(service, {**offers, "ci": "github"}, ref=FIXED)

    has = "accounts" in asked(release)
    listed = LISTED["jobs"] if has else LISTED["jobs"] | LISTED["accounts"]
    assert {*conflicts(service)} == moved | listed
    assert recorded(service).items() >= offers.items()
    for name, edit in edits.items():
        assert edit.kept(service), name
    fresh = files(rendered(recorded(service), FIXED))
    assert {*files(service)} - {*fresh} == {MINE, "src/orders.py"}
    check_fixes(service, fresh, edits)


GONE = ("limits[redis]>=5.8",)  # packages that only older releases import
ROW = "INSERT INTO users (username, email, hashed_password, nickname) VALUES ('a', 'a@b.de', '-', 'A')"


def install_for_all(service: Service) -> Path:
    """Install what services of all releases import."""
    commands = install(service.folder, f"{service.database.engine}-all-releases")
    uv(service.folder, "pip", "install", "--quiet", "--python", str(commands / "python"), *GONE)
    return commands


def edit_for_a_year(service: Service, known: list[tuple[object, dict[str, bytes]]]) -> None:
    """Make a team's edits, with a migration for each model, all of one day, and commit them.

    Args:
        service: the service.
        known: the migrations that Aerich has written after other migrations and models; they are
            taken again where these are the same.
    """
    folder = service.folder
    edits = applicable(folder)
    models = {name for name in edits if "model" in name}
    for name in (name for name in edits if name not in models):
        edits[name].make(folder)
    start = (migrations(folder), (folder / "src/database/models.py").read_bytes())
    written = next((texts for state, texts in known if state == start), None)
    for name in sorted(models):
        edits[name].make(folder)
        if not written:
            before = migrations(folder)
            service.run("aerich", "migrate", "--offline", "--name", name.replace(" ", "_"))
            (new,) = migrations(folder).keys() - before.keys()
            (folder / new).rename(folder / re.sub(r"_\d{14}_", "_20270101000000_", new))
    if written:
        for path, content in written.items():
            (folder / path).write_bytes(content)
    else:
        known.append((start, migrations(folder)))
    commit(folder)


@pytest.mark.in_turn
def test_edited_service_works_on(
    engine: str, rendered: Rendered, tmp_path: Path, make_service: MakeService
) -> None:
    """Its rows and migrations stay, and its suite passes; those that end up alike run it once."""
    service = make_service(engine, "installed")
    service.commands = install_for_all(service)
    written: list[tuple[object, dict[str, bytes]]] = []
    alike: dict[Found, Path] = {}
    for release in RELEASES:
        folder = tmp_path / release.version
        service.folder = take(rendered({"database": engine}, release.tag), folder)
        edit_for_a_year(service, written)
        shutil.copytree(folder, old(folder))
        moved = conflicts_with_1_0(folder)

        update(folder, ref=FIXED)

        assert {*conflicts(folder)} == moved
        resolve(folder, moved, applicable(folder).values())
        assert conflicts(folder) == []
        assert migrations(folder) == migrations(old(folder))
        # nothing else decides what follows: what makes the database, and what runs on it
        alike.setdefault(found(folder, "src"), folder)

    for updated in alike.values():
        check_work(make_service(engine, f"installed-{updated.name}"), updated, service.commands)


def old(folder: Path) -> Path:
    """Name the folder of a service as it was before its update."""
    return folder.with_name(f"{folder.name}-old")


def check_work(service: Service, updated: Path, old_commands: Path) -> None:
    """Put a row into the database of an old service, and go on with the updated one.

    Args:
        service: an installed one, which is moved to the updated one's folder.
        updated: the folder of an updated service.
        old_commands: the folder of commands that run the old service.
    """
    names = sorted(Path(path).name for path in migrations(updated))
    assert len(names) == 3
    commands, service.commands = service.commands, old_commands
    service.folder = old(updated)
    service.run("aerich", "upgrade")
    service.database.query(ROW)
    service.commands, service.folder = commands, updated
    service.upgrade()
    applied = service.database.query("SELECT version FROM aerich ORDER BY id")
    assert [name for (name,) in applied] == names
    assert service.database.query("SELECT username, nickname FROM users") == [("a", "A")]
    service.run("ruff", "check")
    service.run("ruff", "format", "--check")
    assert "Success" in service.run("mypy").stdout
    run_suite(service, found(updated, "src"), updated.with_name(f"{updated.name}-suite"))
