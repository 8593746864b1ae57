"""`squash` replaces the migrations by one, for databases that have them and for new ones."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.databases import new_database
from ..support.migrating import applied
from ..support.model_changes import CITY, after
from ..support.services import Service
from .support import MIGRATE, MODELS, Changing


def squash(changing: Changing) -> tuple[list[str], str]:
    """Squash, and return the names of the replaced files and of the new one."""
    names = [path.name for path in changing.files()]
    output = changing.service.run(*MIGRATE, "squash", "--yes").stdout
    (squashed,) = changing.files()
    assert squashed.name.startswith(f"{len(names) - 1}_")
    (folder,) = (changing.service.folder / "migrations").glob("squashed_*")
    assert f"to {folder.relative_to(changing.service.folder)}: delete" in output
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    return names, squashed.name


@pytest.mark.in_turn
def test_database_with_all_of_them_records_it(changing: Changing) -> None:
    service = changing.service
    service.run(*MIGRATE, "upgrade")
    service.database.query("INSERT INTO team (name) VALUES ('reds')")
    names, squashed = squash(changing)

    assert service.run(*MIGRATE, "status").stdout == f"pending  {squashed}\n"
    assert "CREATE" not in service.run(*MIGRATE, "upgrade", "--dry-run").stdout
    output = service.run(*MIGRATE, "upgrade").stdout

    assert f"{squashed}: recorded, because all migrations that it replaces are applied" in output
    assert applied(service) == [*names, squashed]
    assert service.database.query("SELECT name FROM team") == [("reds",)]
    assert service.run(*MIGRATE, "status").stdout == f"applied  {squashed}\n"
    assert "Nothing to do" in service.run(*MIGRATE, "upgrade").stdout
    assert "match the migrations" in service.run(*MIGRATE, "check").stdout
    # it has no downgrade, so nothing was reverted
    assert service.run(*MIGRATE, "verify").stdout == "Verified: migrations match the models\n"


def test_new_database_runs_it_and_goes_on(changing: Changing) -> None:
    service = changing.service
    names, squashed = squash(changing)

    service.run(*MIGRATE, "upgrade")

    assert applied(service) == [squashed]
    assert {"team", "player", "team_badge", "aerich"} < service.database.tables()
    changing.change(after(CITY, "size = fields.IntField(null=True)"))
    changing.new()
    assert changing.files()[-1].name.startswith(f"{len(names)}_")
    service.run(*MIGRATE, "upgrade")
    assert "size" in service.database.columns("team")
    service.run(*MIGRATE, "downgrade", str(len(names) - 1), "--yes")
    assert "size" not in service.database.columns("team")


@pytest.mark.in_turn
def test_database_with_some_of_them_is_refused(changing: Changing, tmp_path: Path) -> None:
    service = changing.service
    released = tmp_path / "released"
    shutil.copytree(service.folder, released)
    service.run(*MIGRATE, "upgrade", "--to", "0")
    names, squashed = squash(changing)

    output = service.run(*MIGRATE, "upgrade", status=1).stderr
    assert f"{squashed} replaces migrations that this database lacks" in output
    assert names[1] in output
    assert applied(service) == names[:1]

    before = Service(released, service.commands, service.database)
    before.run(*MIGRATE, "upgrade")
    service.run(*MIGRATE, "upgrade")
    assert applied(service) == [*names, squashed]


@pytest.mark.in_turn
def test_is_squashed_again(changing: Changing, tmp_path: Path) -> None:
    service = changing.service
    service.run(*MIGRATE, "upgrade")
    names, first = squash(changing)
    shutil.copytree(service.folder, tmp_path / "between")
    shutil.rmtree(next((service.folder / "migrations").glob("squashed_*")))
    changing.change(after(CITY, "size = fields.IntField(null=True)"))
    changing.new()

    service.run(*MIGRATE, "squash", "--yes")

    (second,) = changing.files()
    output = service.run(*MIGRATE, "upgrade", status=1).stderr
    assert f"{second.name} replaces migrations that this database lacks" in output
    assert first in output
    assert applied(service) == names
    assert second.name.startswith(f"{len(names)}_")
    with new_database(service.database.engine, tmp_path) as database:
        other = Service(service.folder, service.commands, database)
        other.run(*MIGRATE, "upgrade")
        assert applied(other) == [second.name]
        assert "size" in database.columns("team")


def test_8_upgrades_at_once_record_it_once(changing: Changing) -> None:
    service = changing.service
    service.run(*MIGRATE, "upgrade")
    names, squashed = squash(changing)

    processes = [service.popen(*MIGRATE, "upgrade") for _ in range(8)]
    outputs = [process.communicate()[0] for process in processes]

    assert [process.returncode for process in processes] == [0] * 8, outputs
    assert applied(service) == [*names, squashed]


def test_sql_that_models_cannot_express_is_not_lost(
    make_changing: Callable[[str], Changing],
) -> None:
    changing = make_changing("postgresql")
    service = changing.service
    newest = changing.files()[-1]
    text = newest.read_text(encoding="utf-8")
    check = "ALTER TABLE team ADD CONSTRAINT short CHECK (length(name) < 30)"
    end = text.index('"""', text.index('return """') + 12)
    newest.write_text(f"{text[:end]}\n        {check};{text[end:]}", encoding="utf-8")

    process = service.run(*MIGRATE, "squash", "--yes", status=1)

    assert "CHECK ((length((name)::text) < 30))" in process.stderr
    refused = service.run(*MIGRATE, "upgrade", status=1).stderr
    assert "is not verified" in refused
    assert "length" in refused
    (squashed,) = changing.files()
    lines = squashed.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = "".join(line for line in lines if not line.startswith("UNVERIFIED"))
    end = kept.index('"""', kept.index('return """') + 12)
    squashed.write_text(f"{kept[:end]};\n        {check};{kept[end:]}", encoding="utf-8")
    service.run(*MIGRATE, "upgrade")
    assert "CHECK" not in service.run(*MIGRATE, "status").stdout


FUNCTION = """
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON team FOR EACH ROW EXECUTE FUNCTION touched()"""
BY_HAND = {
    "sqlite": "CREATE TRIGGER touch AFTER UPDATE ON team BEGIN SELECT 1; END",
    "postgresql": FUNCTION,
    "mysql": "CREATE TRIGGER touch BEFORE UPDATE ON team FOR EACH ROW SET NEW.city = NEW.city",
}


@pytest.mark.in_turn
def test_objects_and_rows_of_migrations_are_not_lost(changing: Changing) -> None:
    engine = changing.service.database.engine
    newest = changing.files()[-1]
    text = newest.read_text(encoding="utf-8")
    end = text.index('"""', text.index('return """') + 12)
    rows = "INSERT INTO team (name) VALUES ('reds')"
    added = f"CREATE VIEW names AS SELECT name FROM team; {rows}; {BY_HAND[engine]}"
    newest.write_text(f"{text[:end]}\n        {added};{text[end:]}", encoding="utf-8")

    output = changing.service.run(*MIGRATE, "squash", "--yes", status=1).stderr

    only = "created by the replaced ones only"
    lines = [f"view names is {only}", f"trigger touch of team is {only}", f"team: 1 row is {only}"]
    if engine == "postgresql":
        lines.insert(2, f"function touched is {only}")
    assert sorted(output.splitlines()) == sorted(f"Add by hand: {line}" for line in lines)
    assert "is not verified" in changing.service.run(*MIGRATE, "upgrade", status=1).stderr
    # which knows nothing of the replaced ones
    output = changing.service.run(*MIGRATE, "verify").stdout
    assert "it is verified now" not in output
    assert "does not compare" in output


def test_refuses_what_it_cannot_replace(make_changing: Callable[[str], Changing]) -> None:
    changing = make_changing("sqlite")
    service = changing.service
    before = changing.files()
    assert "Add --yes" in service.run(*MIGRATE, "squash", status=1).stderr
    models = (service.folder / MODELS).read_text(encoding="utf-8")
    changing.change(after(CITY, "size = fields.IntField(null=True)"))
    assert "the models changed" in service.run(*MIGRATE, "squash", "--yes", status=1).stderr
    assert changing.files() == before
    (service.folder / MODELS).write_text(models, encoding="utf-8")
    squash(changing)
    written = changing.files()
    assert "Nothing to do" in service.run(*MIGRATE, "squash", "--yes").stdout
    assert changing.files() == written


def test_sample_rows_move_with_their_migrations(make_changing: Callable[[str], Changing]) -> None:
    changing = make_changing("sqlite")
    samples = changing.service.folder / "migrations" / "samples"
    samples.mkdir()
    rows = samples / f"{changing.files()[-1].stem}.sql"
    rows.write_text("INSERT INTO users (username) VALUES ('ada');\n")

    changing.service.run(*MIGRATE, "squash", "--yes")

    (folder,) = (changing.service.folder / "migrations").glob("squashed_*")
    assert (folder / rows.name).exists()
    assert not rows.exists()
    assert changing.service.run(*MIGRATE, "verify").stdout.startswith("Verified")


FOUND_BY_NAME = """

class Fan(Model):
    id = fields.IntField(primary_key=True)
    team = fields.ForeignKeyField("models.Team", related_name="fans", to_field="name")


class Report(Model):
    id = fields.IntField(primary_key=True)

    class Meta:
        managed = False
"""


@pytest.mark.in_turn
def test_models_are_described_as_new_describes_them(changing: Changing) -> None:
    service = changing.service
    with (service.folder / MODELS).open("a", encoding="utf-8") as file:
        file.write(FOUND_BY_NAME)
    changing.new()

    squash(changing)

    assert "match the migrations" in service.run(*MIGRATE, "check").stdout
    assert "Nothing changed" in changing.new().stdout
    service.run(*MIGRATE, "upgrade")
    assert "fan" in service.database.tables()
    assert "report" not in service.database.tables()


def test_failure_in_the_scratch_database_gives_no_advice_about_the_real_one(
    changing: Changing,
) -> None:
    service = changing.service
    newest = changing.files()[-1]
    text = newest.read_text(encoding="utf-8")
    start = text.index('return """') + len('return """')
    newest.write_text(f"{text[:start]}\n        SELECT 1; DROP TABLE x;{text[start:]}", "utf-8")
    before = changing.files()

    output = service.run(*MIGRATE, "squash", "--yes", status=1).stderr

    assert output.startswith(
        f"{newest.name}: upgrade() failed in the scratch database, at statement 2 of"
    )
    assert "stamp" not in output
    assert changing.files() == before
    assert list((service.folder / "migrations").glob("squashed_*")) == []


@pytest.mark.server
def test_refuses_an_unfinished_migration(make_changing: Callable[[str], Changing]) -> None:
    changing = make_changing("mysql")
    service = changing.service
    service.run(*MIGRATE, "upgrade")
    changing.change(after(CITY, "size = fields.IntField(null=True)"))
    changing.new()
    newest = changing.files()[-1]
    text = newest.read_text(encoding="utf-8")
    start = text.index('return """') + len('return """')
    added = "\n        CREATE TABLE half (id INT); INSERT INTO missing VALUES (1);"
    newest.write_text(f"{text[:start]}{added}{text[start:]}", encoding="utf-8")
    service.run(*MIGRATE, "upgrade", status=1)
    newest.write_text(text, encoding="utf-8")
    before = changing.files()

    output = service.run(*MIGRATE, "squash", "--yes", status=1).stderr

    assert output.startswith(
        f"Run `python -m src migrate upgrade`: {newest.name} is unfinished in this database"
    )
    assert output.endswith("Nothing was written.\n")
    assert changing.files() == before
    # The message's fix works
    told = service.run(*MIGRATE, "upgrade", status=1).stderr
    assert "undo the committed statements by hand" in told
    service.database.query("DROP TABLE half")
    service.run(*MIGRATE, "stamp", newest.name, "--pending", "--yes")
    service.run(*MIGRATE, "upgrade")
    names, squashed = squash(changing)
    service.run(*MIGRATE, "upgrade")
    assert applied(service) == [*names, squashed]


def test_refuses_an_unverified_migration(make_changing: Callable[[str], Changing]) -> None:
    changing = make_changing("sqlite")
    newest = changing.files()[-1]
    text = newest.read_text(encoding="utf-8")
    newest.write_text(f"{text}UNVERIFIED = 'lost'\n", encoding="utf-8")
    before = changing.files()

    output = changing.service.run(*MIGRATE, "squash", "--yes", status=1).stderr

    assert f"{newest.name} is not verified: fix it, or delete its line UNVERIFIED" in output
    assert changing.files() == before
    newest.write_text(text, encoding="utf-8")
    squash(changing)


KILLED = """
import asyncio, os
from src.database.migrate import squash

async def result(files):
    if files[0].replaces:
        os._exit(9)
    return await run(files)

run, squash._result = squash._result, result
asyncio.run(squash.squash())
"""


def test_stays_unverified_if_it_is_killed_before_the_comparison(
    make_changing: Callable[[str], Changing],
) -> None:
    changing = make_changing("sqlite")
    service = changing.service

    service.run("python", "-c", KILLED, status=9)

    (path,) = changing.files()
    refused = service.run(*MIGRATE, "upgrade", status=1).stderr
    (folder,) = (service.folder / "migrations").glob("squashed_*")
    told = f"it was interrupted: delete it, move the files in {folder.name} back"
    assert f"{path.name} is not verified" in refused
    assert told in refused
    # The message's fix works
    path.unlink()
    for file in folder.iterdir():
        file.rename(path.with_name(file.name))
    folder.rmdir()
    squash(changing)
    assert "Applied 1 migration" in service.run(*MIGRATE, "upgrade").stdout


FULL_DISK = """
import resource
from src.database.migrate.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
main()
"""


@pytest.mark.server
@pytest.mark.parametrize("command", ["squash", "baseline"])
def test_files_stay_if_the_new_one_cannot_be_written(
    make_changing: Callable[[str], Changing], command: str
) -> None:
    changing = make_changing("postgresql")
    service = changing.service
    migrations = service.folder / "migrations"
    before = {path: path.read_bytes() for path in migrations.rglob("*") if path.is_file()}

    output = service.run("python", "-c", FULL_DISK, command, "--yes", status=1).stderr

    assert output.startswith("A file cannot be used: ")
    assert "too large" in output
    assert {path: path.read_bytes() for path in migrations.rglob("*") if path.is_file()} == before
    assert list(migrations.glob("squashed_*")) == list(migrations.glob("replaced_*")) == []
    squash(changing)


@pytest.mark.in_turn
def test_applied_migration_of_another_branch_is_reported(
    changing: Changing, tmp_path: Path
) -> None:
    service = changing.service
    branch = tmp_path / "branch"
    shutil.copytree(service.folder, branch)
    newest = changing.files()[-1]
    other = branch / "migrations" / "models" / "1_20260101000000_other.py"
    (branch / newest.relative_to(service.folder)).rename(other)
    on_branch = Service(branch, service.commands, service.database)
    on_branch.run(*MIGRATE, "upgrade")
    names, squashed = squash(changing)

    status = service.run(*MIGRATE, "status").stdout
    refused = service.run(*MIGRATE, "upgrade", status=1).stderr

    assert status == f"pending  {squashed}\nunknown  {other.name}\n"
    assert (
        f"{other.name} is applied, but its file is missing: check out a commit that has it, run "
        "`python -m src migrate downgrade 0` there, then come back"
    ) in refused
    # as told
    on_branch.run(*MIGRATE, "downgrade", "0", "--yes")
    refused = service.run(*MIGRATE, "upgrade", status=1).stderr
    assert "check out the commit before it, run `python -m src migrate upgrade` there" in refused
    other.rename(branch / newest.relative_to(service.folder))
    on_branch.run(*MIGRATE, "upgrade")
    service.run(*MIGRATE, "upgrade")
    assert applied(service) == [*names, squashed]


@pytest.mark.in_turn
def test_database_with_a_newer_migration_records_it(changing: Changing) -> None:
    service = changing.service
    models = (service.folder / MODELS).read_text(encoding="utf-8")
    changing.change(after(CITY, "size = fields.IntField(null=True)"))
    changing.new()
    service.run(*MIGRATE, "upgrade")
    newer = changing.files()[-1]
    text, changed = newer.read_text("utf-8"), (service.folder / MODELS).read_text("utf-8")
    newer.unlink()
    (service.folder / MODELS).write_text(models, encoding="utf-8")
    names, squashed = squash(changing)
    # the merge of the two branches
    newer.write_text(text, encoding="utf-8")
    (service.folder / MODELS).write_text(changed, encoding="utf-8")
    assert "match the migrations" in service.run(*MIGRATE, "check").stdout

    service.run(*MIGRATE, "upgrade")

    assert applied(service) == [*names, newer.name, squashed]
    assert (
        "squashed"
        in service.run(*MIGRATE, "stamp", squashed, "--pending", "--yes", status=1).stderr
    )
    service.run(*MIGRATE, "stamp", newer.name, "--pending", "--yes")
    service.run(*MIGRATE, "stamp", newer.name, "--applied", "--yes")
    service.run(*MIGRATE, "downgrade", "1", "--yes")
    assert "size" not in service.database.columns("team")
    service.run(*MIGRATE, "upgrade")
    assert service.run(*MIGRATE, "status").stdout == f"applied  {squashed}\napplied  {newer.name}\n"


@pytest.mark.in_turn
def test_migrations_of_another_branch_move_after_it(changing: Changing, tmp_path: Path) -> None:
    service = changing.service
    branch = tmp_path / "branch"
    shutil.copytree(service.folder, branch)
    newest = changing.files()[-1]
    shutil.copytree(service.folder, tmp_path / "released")
    other = newest.with_name("1_20260101000000_other.py")
    on_branch = Service(branch, service.commands, service.database)
    first = changing.files()[0]
    text = first.read_text(encoding="utf-8")
    create = "CREATE TABLE extra (id INT)"
    text = re.sub(r'(?s)upgrade(.*?)return """.*?"""', rf'upgrade\1return "{create}"', text)
    text = re.sub(
        r'(?s)downgrade(.*?)return """.*?"""', r'downgrade\1return "DROP TABLE extra"', text
    )
    (branch / newest.relative_to(service.folder)).unlink()
    (branch / other.relative_to(service.folder)).write_text(text, encoding="utf-8")
    on_branch.run(*MIGRATE, "upgrade")
    names, squashed = squash(changing)
    other.write_text(text, encoding="utf-8")  # the merge
    accepted = service.folder / "migrations" / "accepted.txt"
    accepted.write_text("table extra is created by the migrations only\n", encoding="utf-8")

    told = f"run `python -m src migrate renumber {other.name}` to put the others after it"
    assert f"{squashed} has to be the first migration: {told}" in changing.new(status=1).stderr
    refused = service.run(*MIGRATE, "renumber", squashed, status=1).stderr
    assert "has to be the first migration: renumber the others" in refused
    refused = service.run(*MIGRATE, "renumber", other.name, status=1).stderr
    assert (
        f"check out the branch of {other.name}, run `python -m src migrate downgrade 0`" in refused
    )
    # as told
    on_branch.run(*MIGRATE, "downgrade", "0", "--yes")
    service.run(*MIGRATE, "renumber")
    assert [path.name for path in changing.files()] == [squashed, "2_20260101000000_other.py"]
    refused = service.run(*MIGRATE, "upgrade", status=1).stderr
    assert "check out the commit before it" in refused
    released = Service(tmp_path / "released", service.commands, service.database)
    released.run(*MIGRATE, "upgrade")
    service.run(*MIGRATE, "upgrade")
    assert "extra" in service.database.tables()
    assert applied(service) == [*names, squashed, "2_20260101000000_other.py"]
