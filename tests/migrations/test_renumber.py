"""`renumber` moves one branch's migrations after the other's."""

import re
from collections.abc import Callable

import pytest

from tools.render import git

from ..conftest import MakeService
from ..support.migrating import FIRST, write_migration
from ..support.model_changes import CITY, NICK, NUMBER, SCORE, after
from .support import MIGRATE, Changing


@pytest.fixture
def merged(changing: Changing) -> Changing:
    """A service whose branches `main` and `side` both added number 2, merged with git.

    The database has main's.
    """
    folder = changing.service.folder
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Start")
    for branch, edit in (
        ("side", after(CITY, "size = fields.IntField(default=1)")),
        ("main", after(NUMBER, "open = fields.BooleanField(default=True)")),
    ):
        git(folder, "switch", "--quiet", "-C", branch, *([] if branch == "side" else ["main"]))
        changing.change(edit)
        changing.service.run(*MIGRATE, "new", branch)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", branch)
    changing.service.run(*MIGRATE, "upgrade")
    git(folder, "merge", "--quiet", "--no-edit", "side")
    return changing


def names(changing: Changing) -> list[str]:
    """List the files without their time."""
    parts = [path.stem.split("_") for path in changing.files()]
    return sorted(f"{number}_{'_'.join(name)}" for number, _, *name in parts)


def side(changing: Changing) -> str:
    return next(path.name for path in changing.files() if "side" in path.name)


@pytest.mark.in_turn
@pytest.mark.parametrize("named", [True, False])
def test_branches_are_merged(merged: Changing, *, named: bool) -> None:
    service = merged.service
    found = service.run(*MIGRATE, "check", status=1).stdout
    assert all(path.name in found for path in merged.files()[2:])
    assert merged.new(status=1).stderr.count("have the same number") == 1
    text = next(p for p in merged.files() if "side" in p.name).read_text(encoding="utf-8")

    service.run(*MIGRATE, "renumber", *([side(merged)] if named else []))

    assert names(merged) == ["0_init", "1_models", "2_main", "3_side"]
    moved = merged.files()[-1].read_text(encoding="utf-8")
    assert moved.partition("MODELS_STATE")[0] == text.partition("MODELS_STATE")[0]
    assert "match the migrations" in service.run(*MIGRATE, "check").stdout
    assert "Nothing changed" in merged.new().stdout
    assert "side" in service.run(*MIGRATE, "upgrade").stdout
    assert {"size"} < set(service.database.columns("team"))
    assert {"open"} < set(service.database.columns("locker"))
    assert "No changes detected" in service.run("aerich", "migrate").stdout

    merged.change((SCORE, SCORE.replace("Int", "BigInt")))
    merged.new()
    written = merged.files()[-1].read_text(encoding="utf-8").partition("MODELS_STATE")[0]
    assert merged.files()[-1].name.startswith("4_")
    assert "size" not in written
    assert "open" not in written


@pytest.mark.in_turn
def test_applied_migration_stays(merged: Changing) -> None:
    before = names(merged)
    main = next(path.name for path in merged.files() if "main" in path.name)

    process = merged.service.run(*MIGRATE, "renumber", main, status=1)

    assert f"{main} is applied" in process.stderr
    assert names(merged) == before


def test_files_of_two_branches_exchange_their_names(make_service: MakeService) -> None:
    service = make_service("sqlite")
    write_migration(service, "1_main", "CREATE TABLE one (id INT)")
    service.run(*MIGRATE, "upgrade")
    for name in ("1_b", "1_c", "2_b", "2_c"):
        write_migration(service, name, f"CREATE TABLE t{name} (id INT)")
    samples = service.folder / "migrations" / "samples"
    samples.mkdir()
    for name in ("1_b", "2_b"):
        (samples / f"{name}.sql").write_text(f"-- {name}\n")

    service.run(*MIGRATE, "renumber", "1_b.py", "1_c.py", "2_b.py", "2_c.py", status=None)

    folder = service.folder / "migrations" / "models"
    found = {path.name for path in folder.iterdir() if path.name != "__pycache__"}
    moved = {"2_b.py": "1_b", "3_c.py": "1_c", "4_b.py": "2_b", "5_c.py": "2_c"}
    assert found == {FIRST, "1_main.py", *moved}
    for name, old in moved.items():
        assert f"CREATE TABLE t{old} " in (folder / name).read_text(encoding="utf-8")
    rows = {path.name: path.read_text() for path in samples.iterdir()}
    assert rows == {"2_b.sql": "-- 1_b\n", "4_b.sql": "-- 2_b\n"}


@pytest.mark.server
def test_unfinished_migration_stays(make_service: MakeService) -> None:
    service = make_service("mysql")
    ours = write_migration(
        service, "1_2026_a", "CREATE TABLE a (id INT)", "CREATE TABLE a (id INT)"
    )
    service.run(*MIGRATE, "upgrade", status=1)
    theirs = write_migration(service, "1_2026_b", "CREATE TABLE b (id INT)")

    process = service.run(*MIGRATE, "renumber", ours, status=1)

    assert f"{ours} is unfinished in this database" in process.stderr
    assert "renumber the other one, or run" in process.stderr
    output = service.run(*MIGRATE, "renumber", status=None).stdout
    assert "2_2026_b.py" in output
    assert not (service.folder / "migrations" / "models" / theirs).exists()


def test_says_what_it_cannot_know(make_changing: Callable[[str], Changing]) -> None:
    changing = make_changing("sqlite")
    assert "Nothing to do" in changing.service.run(*MIGRATE, "renumber").stdout
    assert (
        "no migration 7_x.py"
        in changing.service.run(*MIGRATE, "renumber", "7_x.py", status=1).stderr
    )
    first, last = (path.name for path in changing.files())
    assert "have a gap" in changing.service.run(*MIGRATE, "renumber", first, status=1).stderr
    assert "Nothing to do" in changing.service.run(*MIGRATE, "renumber", last).stdout
    copy = changing.files()[1].with_name("1_20260101000000_copy.py")
    copy.write_bytes(changing.files()[1].read_bytes())

    process = changing.service.run(*MIGRATE, "renumber", status=1)

    assert "Which is not released yet?" in process.stderr
    assert last in process.stderr
    assert copy.name in process.stderr
    assert NICK in changing.service.folder.joinpath("src/database/models.py").read_text()

    copy.rename(copy.with_name("1_20270101000000_copy.py"))
    changing.service.run(*MIGRATE, "renumber", last, "1_20270101000000_copy.py", status=None)
    assert names(changing) == ["0_init", "1_models", "2_copy"]


def test_several_files_of_a_branch_keep_their_order(
    make_changing: Callable[[str], Changing],
) -> None:
    changing = make_changing("sqlite")
    changing.change(after(CITY, "size = fields.IntField(null=True)"))
    changing.service.run(*MIGRATE, "new", "first")
    changing.change(after(CITY, "age = fields.IntField(null=True)"))
    changing.service.run(*MIGRATE, "new", "second")
    for path in changing.files()[2:]:
        number, _, rest = path.name.partition("_")
        path.with_name(
            f"{number}_{rest.replace('first', 'one').replace('second', 'two')}"
        ).write_bytes(
            b"RUN_IN_TRANSACTION = True\nasync def upgrade(db): return 'SELECT 1;'\n"
            b"async def downgrade(db): return 'SELECT 1;'\n"
            + path.read_bytes()[path.read_bytes().index(b"MODELS_STATE") :]
        )
    mine = [path.name for path in changing.files() if "first" in path.name or "second" in path.name]

    changing.service.run(*MIGRATE, "renumber", *reversed(mine))

    assert names(changing) == ["0_init", "1_models", "2_one", "3_two", "4_first", "5_second"]


def test_sample_rows_move_with_their_migration(make_changing: Callable[[str], Changing]) -> None:
    changing = make_changing("sqlite")
    changing.change(after(CITY, "size = fields.IntField(null=True)"))
    changing.service.run(*MIGRATE, "new", "first")
    mine = changing.files()[-1]
    samples = changing.service.folder / "migrations" / "samples"
    samples.mkdir()
    (samples / f"{mine.stem}.sql").write_text("INSERT INTO team (name) VALUES ('reds');\n")
    mine.with_name("2_20260101000000_other.py").write_bytes(changing.files()[1].read_bytes())

    changing.service.run(*MIGRATE, "renumber", mine.name, status=1)  # 'other' creates all again

    assert [path.stem for path in samples.iterdir()] == [changing.files()[-1].stem]
    assert changing.files()[-1].name == f"3_{mine.name.partition('_')[2]}"


def move_a_migration_that_fails(changing: Changing, **environment: str) -> str:
    """Move the newest migration after one that adds the same column, and return the output."""
    changing.change(after(CITY, "size = fields.IntField(null=True)"))
    changing.service.run(*MIGRATE, "new", "mine")
    mine = changing.files()[-1]
    mine.with_name("2_20260101000000_theirs.py").write_bytes(mine.read_bytes())
    return changing.service.run(*MIGRATE, "renumber", mine.name, status=1, **environment).stderr


@pytest.mark.in_turn
def test_moved_migration_that_fails_is_unverified(changing: Changing) -> None:
    output = move_a_migration_that_fails(changing)

    moved = changing.files()[-1]
    assert f"{moved.name} is marked UNVERIFIED: `upgrade` refuses it" in output
    refused = changing.service.run(*MIGRATE, "upgrade", status=1).stderr
    assert f"{moved.name} is not verified: fix it, or delete its line UNVERIFIED" in refused
    assert "Nothing was changed" in refused
    # The message's fix works
    text = moved.read_text(encoding="utf-8")
    text = re.sub(r'(?s)(?<=return """).*?(?=""")', "SELECT 1;", text)
    moved.write_text(text, encoding="utf-8")
    told = f"Delete the line UNVERIFIED in {moved.name}: it is verified now"
    assert told in changing.service.run(*MIGRATE, "verify", "--since", "2").stdout
    moved.write_text(re.sub("UNVERIFIED = .*\n", "", text), encoding="utf-8")
    assert "Applied 4 migrations" in changing.service.run(*MIGRATE, "upgrade").stdout


@pytest.mark.server
def test_moved_migration_stays_unverified_without_a_server(
    make_changing: Callable[[str], Changing],
) -> None:
    changing = make_changing("postgresql")
    move_a_migration_that_fails(changing)
    moved = changing.files()[-1]
    moved.with_name("3_20260101000000_other.py").write_bytes(moved.read_bytes())
    text = moved.read_text(encoding="utf-8")

    url = "postgresql://postgres@127.0.0.1:1/service"
    output = changing.service.run(*MIGRATE, "renumber", moved.name, DATABASE_URL=url)

    assert "Not verified: no database server answers" in output.stdout
    unverified = next(line for line in text.splitlines() if line.startswith("UNVERIFIED"))
    assert unverified in changing.files()[-1].read_text(encoding="utf-8")


def test_file_without_a_last_line_end_is_marked(make_changing: Callable[[str], Changing]) -> None:
    changing = make_changing("sqlite")
    changing.change(after(CITY, "size = fields.IntField(null=True)"))
    changing.service.run(*MIGRATE, "new", "mine")
    mine = changing.files()[-1]
    text = mine.read_text(encoding="utf-8").replace("RUN_IN_TRANSACTION = True\n", "")
    mine.write_text(text.rstrip(), encoding="utf-8")
    mine.with_name("2_20260101000000_theirs.py").write_text(text, encoding="utf-8")

    changing.service.run(*MIGRATE, "renumber", mine.name, status=1)

    refused = changing.service.run(*MIGRATE, "upgrade", status=1).stderr
    assert f"{changing.files()[-1].name} is not verified" in refused


KILLED = """
import asyncio, os, sys
from src.database.migrate import renumber, writer
from src.database.migrate.__main__ import app

def killed(work):
    def run(*arguments):
        done = work(*arguments)
        os._exit(9)
    return run

async def moved(*arguments):
    await move(*arguments)
    os._exit(9)

move, renumber.renumber = renumber.renumber, moved
writer.write_plan = killed(writer.write_plan)
app(sys.argv[1:])
"""


def test_killed_before_the_verification_leaves_it_unverified(
    make_changing: Callable[[str], Changing],
) -> None:
    changing = make_changing("sqlite")
    service = changing.service
    changing.change(after(CITY, "size = fields.IntField(null=True)"))

    service.run("python", "-c", KILLED, "new", "mine", status=9)

    mine = changing.files()[-1]
    told = "it was interrupted, so run `python -m src migrate verify`"
    assert told in service.run(*MIGRATE, "upgrade", status=1).stderr
    is_verified = "Delete the line UNVERIFIED in {}: it is verified now"
    assert is_verified.format(mine.name) in service.run(*MIGRATE, "verify").stdout
    text = re.sub("UNVERIFIED = .*\n", "", mine.read_text(encoding="utf-8"))
    mine.write_text(text, encoding="utf-8")
    theirs = mine.with_name("2_20260101000000_theirs.py")
    theirs.write_text(text.replace("size", "other"), encoding="utf-8")

    service.run("python", "-c", KILLED, "renumber", mine.name, status=9)

    moved = changing.files()[-1]
    assert moved.name.startswith("3_")
    assert told in service.run(*MIGRATE, "upgrade", status=1).stderr
    # as told
    theirs.write_text(re.sub(r'(?s)return """.*?"""', 'return "SELECT 1"', text), encoding="utf-8")
    assert is_verified.format(moved.name) in service.run(*MIGRATE, "verify").stdout
    moved.write_text(re.sub("UNVERIFIED = .*\n", "", moved.read_text(encoding="utf-8")))
    service.run(*MIGRATE, "upgrade")
    assert "size" in service.database.columns("team")


def test_later_files_of_the_branch_are_listed(make_service: MakeService) -> None:
    service = make_service("sqlite")
    write_migration(service, "1_a_main", "CREATE TABLE one (id INT)")
    write_migration(service, "1_b_side", "CREATE TABLE two (id INT)")
    write_migration(service, "2_side", "DROP TABLE two")

    output = service.run(*MIGRATE, "check", status=1).stdout

    told = re.search("run `python -m src migrate (.*)` to put it last", output)
    assert told
    assert "if it is not released yet. Also name 2_side.py, if from the same branch" in output
    # as told
    service.run(*MIGRATE, *told[1].split(), "2_side.py", status=None)
    folder = service.folder / "migrations" / "models"
    assert "two" in (folder / "2_b_side.py").read_text(encoding="utf-8")
    assert "DROP" in (folder / "3_side.py").read_text(encoding="utf-8")
