"""`new` writes every change of the models so that rows are kept and the schema is the models'."""

import asyncio
import re
import runpy
import shlex
from collections.abc import Callable

import pexpect
import pytest
from aerich.utils import compress_dict, decompress_dict

from ..support.databases import session
from ..support.migrating import wait_until
from ..support.model_changes import (
    CHANGES,
    CITY,
    COUNTS,
    MOTTO,
    NAME,
    NICK,
    NUMBER,
    PLAYER_ID,
    RATING,
    ROWS,
    SCORE,
    TEAM,
    TEAM_ID,
    Change,
    after,
)
from .support import MIGRATE, MODELS, Changing

# Not a part of the comparison with Tortoise's own migrations
BY_NAME = after(NUMBER, 'team = fields.ForeignKeyField("models.Team", null=True, to_field="name")')
ALL = {**CHANGES, "foreign key to another column": Change([BY_NAME])}


@pytest.mark.in_turn
@pytest.mark.parametrize("name", ALL)
def test_change(changing: Changing, name: str) -> None:
    change = ALL[name]
    changing.change(*change.edits)
    if change.unseen_by == changing.service.database.engine:
        assert "Nothing changed" in changing.new().stdout
        return

    kept = {table: COUNTS[table] for table in COUNTS if table not in change.gone}
    count = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in kept)
    query, answer = change.rows or ("SELECT 1", [[1]])
    arguments = [*change.arguments, *(part for place in change.drops for part in ("--drop", place))]
    if change.drops:
        refused = changing.new(*change.arguments, status=1).stderr
        assert set(re.findall("--drop (.*)", refused)) == set(change.drops)
    stages = changing.steps(
        count or "SELECT 1 WHERE 1 = 0", query, new=arguments, back=not change.one_way
    )
    assert stages[0][1] == answer
    for counts, *_ in stages[::2]:
        assert {table: number for table, number in counts} == kept


def models(changing: Changing) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in changing.files()}


@pytest.mark.in_turn
@pytest.mark.parametrize(
    ("edit", "column"),
    [
        (after(NICK, "shirt = fields.IntField()"), "player.shirt"),
        (
            after(NICK, "token = fields.CharField(max_length=9, default=lambda: 'x')"),
            "player.token",
        ),
        ((CITY, "city = fields.CharField(max_length=40)"), "team.city"),
        ((NICK, "nick = fields.IntField()"), "player.nick"),
        ((TEAM_ID, TEAM_ID.replace("IntField", "UUIDField")), "team.id"),
    ],
)
def test_what_nobody_can_guess_is_left_to_write(
    changing: Changing, edit: tuple[str, str], column: str
) -> None:
    changing.change(edit)

    process = changing.new(status=1)

    assert f"Replace <{column}> in upgrade() of the file: {column} " in process.stderr
    assert process.stderr.endswith(
        "Then delete the line with NotImplementedError, and run `python -m src migrate verify`\n"
    )
    assert f"<{column}>" in changing.files()[-1].read_text(encoding="utf-8")
    for command in (("upgrade",), ("verify",)):
        process = changing.service.run(*MIGRATE, *command, status=1)
        assert column in process.stderr
        assert "Traceback" not in process.stderr
    assert "shirt" not in str(changing.files()[:-1])


@pytest.mark.in_turn
def test_rows_without_a_value_get_the_one_that_was_written(changing: Changing) -> None:
    changing.service.run(*MIGRATE, "upgrade")
    for row in ROWS:
        changing.service.database.query(row)
    changing.change((CITY, CITY.replace("null=True, ", "")))
    changing.new(status=1)
    file = changing.files()[-1]
    text = re.sub(r"    raise NotImplementedError.*\n", "", file.read_text(encoding="utf-8"))
    file.write_text(text.replace("<team.city>", "'Paris'"), encoding="utf-8")

    changing.service.run(*MIGRATE, "verify")
    changing.service.run(*MIGRATE, "upgrade")

    cities = changing.service.database.query("SELECT city FROM team ORDER BY id")
    assert cities == [("Rome",), ("Paris",)]


def test_null_that_becomes_a_default_is_announced(changing: Changing) -> None:
    changing.service.run(*MIGRATE, "upgrade")
    for row in ROWS:
        changing.service.database.query(row)
    changing.change((CITY, CITY.replace("null=True", "default='Paris'")))

    assert "team.city gets 'Paris' instead of NULL (1 row)" in changing.new().stdout

    changing.service.run(*MIGRATE, "upgrade")
    cities = changing.service.database.query("SELECT city FROM team ORDER BY id")
    assert cities == [("Rome",), ("Paris",)]


META = "class Locker(Model):\n    class Meta:\n        "
UNIQUE = ('unique_together = (("team", "nick"),)', 'unique_together = (("team", "score"),)')
SCHEMA = ("class Locker(Model):\n", f"{META}schema = 'other'\n\n")
CONSTRAINTS = (
    "class Locker(Model):\n",
    f"{META}constraints = (UniqueConstraint(('number',)),)\n\n",
)
IMPORT = (
    "from tortoise.models",
    "from tortoise.migrations.constraints import UniqueConstraint\nfrom tortoise.models",
)
CYCLE = (
    after(NUMBER, 'team = fields.ForeignKeyField("models.Team", null=True, related_name="a")'),
    after(MOTTO, 'locker = fields.ForeignKeyField("models.Locker", null=True, related_name="b")'),
)


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ([SCHEMA], r"Locker: remove Meta\.schema"),
        ([IMPORT, CONSTRAINTS], r"Locker: remove Meta\.constraints"),
        (CYCLE, "Tortoise cannot create the models' tables: .*cyclic"),
    ],
)
def test_what_it_cannot_write_is_not_verified(
    changing: Changing, edits: list[tuple[str, str]], words: str
) -> None:
    changing.change(*edits)

    process = changing.new(status=1)

    assert re.search(words, process.stderr), process.stderr
    assert "Verified" not in process.stdout
    if "Meta" in words:
        for command, output in (("check", "stdout"), ("verify", "stderr")):
            problems = getattr(changing.service.run(*MIGRATE, command, status=1), output)
            assert re.fullmatch(words + ".*\n", problems)
    assert "Traceback" not in process.stderr


def test_tables_that_refer_to_each_other(changing: Changing) -> None:
    """Tortoise cannot create them, so they are not verified until one relation is a plain field."""
    changing.change(*CYCLE)

    refused = changing.new(status=1).stderr
    assert "locker, player, team refer to each other" in refused
    assert "Replace one of these relations with a plain field" in refused

    changing.files()[-1].unlink()
    (_, text) = CYCLE[1]
    changing.change((text.removeprefix(MOTTO).strip(), "locker_id = fields.IntField(null=True)"))
    assert "Verified" in changing.new().stdout


@pytest.mark.in_turn
def test_what_was_missing_can_be_written(changing: Changing) -> None:
    changing.change(after(NICK, "shirt = fields.IntField()"))
    changing.new(status=1)
    file = changing.files()[-1]
    unfinished = changing.service.run(*MIGRATE, "verify", status=1).stderr
    assert unfinished.startswith(f"{file.name} is unfinished: player.shirt may not be NULL")
    assert len(unfinished.splitlines()) == 1  # not a word about rows
    text = file.read_text(encoding="utf-8").replace("<player.shirt>", "9")
    lines = [line for line in text.splitlines() if "NotImplementedError" not in line]
    file.write_text("\n".join(lines), encoding="utf-8")

    changing.service.run(*MIGRATE, "verify")

    stages = changing.steps("SELECT 1", "SELECT shirt FROM player")
    assert stages[0][1] == [[9], [9]]


@pytest.mark.in_turn
@pytest.mark.parametrize("name", ["v1.2", "Name", "a b", "", "é", "a" * 201])
def test_name_that_aerich_would_ignore_is_refused(changing: Changing, name: str) -> None:
    changing.change((NICK, NICK.replace("20", "30")))
    before = models(changing)

    process = changing.service.run(*MIGRATE, "new", name, status=1)

    assert ("Shorten" if len(name) > 200 else "a-z, 0-9 and _") in process.stderr
    assert models(changing) == before


@pytest.mark.parametrize(
    "edit",
    [
        (NICK, NICK),
        (SCORE, SCORE.replace("7", "8")),  # Tortoise's, not the database's
        (
            "class Locker(Model):\n",
            "class Box(Model):\n    class Meta:\n        table = 'locker'\n\n",
        ),
    ],
)
def test_nothing_changed(changing: Changing, edit: tuple[str, str]) -> None:
    changing.change(edit)
    before = models(changing)

    assert "Nothing changed" in changing.new().stdout
    assert models(changing) == before


def test_index_of_a_unique_field_after_an_older_release(changing: Changing) -> None:
    """Releases before 1.2 did not describe it, so only the SQL of the migrations shows it."""
    both = NAME.replace("unique=True", "unique=True, db_index=True")
    changing.change((NAME, both))
    changing.new()

    for before, after_ in ((both, NAME), (NAME, both)):
        path = changing.files()[-1]
        state = decompress_dict(runpy.run_path(str(path))["MODELS_STATE"])
        for model in state.values():
            model.pop("also_indexed", None)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\nMODELS_STATE = {compress_dict(state)!r}\n")
        assert "Nothing changed" in changing.new().stdout

        changing.change((before, after_))
        assert "are reversible" in changing.new().stdout


@pytest.mark.in_turn
def test_rename_is_not_guessed(changing: Changing) -> None:
    changing.change((MOTTO, MOTTO.replace("motto", "slogan")))
    before = models(changing)

    process = changing.new(status=1)
    assert "Did you rename team.motto to slogan?" in process.stderr
    assert "--rename team.motto=slogan" in process.stderr
    assert "--no-rename" in process.stderr
    (loss,) = changing.new("--no-rename", status=1).stderr.splitlines()[:-1]
    assert loss.endswith("To accept this, add --drop team.motto")
    assert "--rename" not in loss
    wrong = changing.new("--rename", "city=slogan", status=1)
    assert "--rename city=slogan" in wrong.stderr
    assert models(changing) == before


@pytest.mark.in_turn
def test_rename_and_narrower_type_in_one_migration(changing: Changing) -> None:
    changing.change(
        (NICK, "name = fields.CharField(max_length=5)"),
        ("class Locker(", "class Box("),
        (NUMBER, "open = fields.BooleanField()"),
        ('"team", "nick"', '"team", "name"'),
    )
    renames = ("player.nick=name", "locker=box", "box.number=open")
    answers = [part for rename in renames for part in ("--rename", rename)]

    drops = ("--drop", "player.name", "--drop", "locker.number")  # names before and after
    assert changing.new(*answers, *drops).stdout.splitlines()[-1].startswith("Verified")


@pytest.mark.in_turn
def test_drop_of_what_a_dropped_table_has(changing: Changing) -> None:
    """It is not an error to name it, but the table has to be named."""
    path = changing.service.folder / MODELS
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("class Badge(")], encoding="utf-8")
    columns = ("--drop", "badge.label", "--drop", "team_badge.team_id")

    refused = changing.new(*columns, status=1).stderr
    assert set(re.findall("--drop (.*)", refused)) == {"badge", "team_badge"}
    assert "Verified" in changing.new(*columns, "--drop", "badge", "--drop", "team_badge").stdout


NAMED = """

class Plan(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=20, source_field="full name")

    class Meta:
        table = "next year's plans; -- all"
"""


@pytest.mark.in_turn
def test_options_for_unusual_names_can_be_pasted(changing: Changing) -> None:
    file = changing.service.folder / MODELS
    models = file.read_text(encoding="utf-8")
    file.write_text(models + NAMED, encoding="utf-8")
    changing.new()
    file.write_text(models + NAMED.replace("full name", "whole name"), encoding="utf-8")
    told = re.search("If so, add (.*)", changing.new(status=1).stderr)
    assert told
    changing.new(*shlex.split(told[1]))
    file.write_text(models, encoding="utf-8")
    told = re.search("To accept this, add (.*)", changing.new(status=1).stderr)
    assert told
    changing.new(*shlex.split(told[1]))


def test_drop_of_an_unmanaged_table(make_changing: Callable[[str], Changing]) -> None:
    changing = make_changing("sqlite")
    changing.change(("class Locker(Model):\n", f"{META}managed = False\n\n"), (NICK, ""), UNIQUE)

    process = changing.new("--drop", "player.nick", "--drop", "locker.number", status=1)

    assert process.stderr.startswith("Remove --drop locker.number: migrations leave locker alone")
    assert "managed = False" in process.stderr


@pytest.mark.in_turn
def test_number_that_becomes_a_reference(changing: Changing) -> None:
    code = "code = fields.CharField(max_length=8, primary_key=True)"
    number = "team_id = fields.IntField(default=1)"
    changing.change(after(code, number))
    changing.new()
    changing.change((number, TEAM.replace("players", "owned")))

    assert changing.new().stdout.splitlines()[-1].startswith("Verified")


@pytest.mark.in_turn
def test_renamed_column_whose_members_exchange_their_values(changing: Changing) -> None:
    level = "level = fields.CharEnumField(Level, default=Level.low)"
    changing.change(after(NICK, level), ('"team", "nick"', '"team", "nick", "level"'))
    changing.new()
    changing.change(
        ('low = "low"', 'low = "high"'),
        ('high = "high"', 'high = "low"'),
        (level, level.replace("level", "grade")),
        ('"nick", "level"', '"nick", "grade"'),
    )

    process = changing.new("--rename", "player.level=grade")

    assert "changes player.level: " in process.stdout + process.stderr
    assert process.stdout.splitlines()[-1].startswith("Verified")


def test_rename_of_what_has_nothing_in_common(make_changing: Callable[[str], Changing]) -> None:
    changing = make_changing("sqlite")
    changing.change((MOTTO, "data = fields.JSONField(null=True)"))

    process = changing.new(status=1)

    assert "If you renamed it, add --rename team.motto=data instead." in process.stderr


@pytest.mark.parametrize(("answer", "renamed"), [("y", True), ("n", False)])
def test_rename_is_asked_at_a_terminal(
    make_changing: Callable[[str], Changing], answer: str, *, renamed: bool
) -> None:
    changing = make_changing("sqlite")
    changing.change((MOTTO, MOTTO.replace("motto", "slogan")))
    service = changing.service
    child = pexpect.spawn(
        str(service.commands / MIGRATE[0]),
        [*MIGRATE[1:], "new", "change"],
        cwd=service.folder,
        env=service.variables(),
        encoding="utf-8",
    )
    child.expect("Did you rename team.motto to slogan")
    child.sendline(answer)
    if not renamed:
        child.expect("team.motto is dropped with its values.*Continue")
        child.sendline("y")
    child.expect("Verified")
    child.wait()

    assert ("RENAME COLUMN" in changing.files()[-1].read_text(encoding="utf-8")) == renamed


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_is_written_without_a_server(changing: Changing) -> None:
    changing.change((NICK, NICK.replace("20", "30")))
    nowhere = f"{changing.service.database.engine}://nobody:secret@127.0.0.1:9/nothing"

    process = changing.new(DATABASE_URL=nowhere)

    assert "Not verified: no database server answers" in process.stdout
    assert "verify" in process.stdout
    assert "secret" not in process.stdout + process.stderr
    assert len(changing.files()) == 3
    changing.service.run(*MIGRATE, "verify")


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
@pytest.mark.parametrize("login", ["nobody:secret", "nobody"])
def test_server_that_refuses_the_login_is_an_error(changing: Changing, login: str) -> None:
    changing.change((NICK, NICK.replace("20", "30")))
    url = re.sub("//.*@", f"//{login}@", changing.service.database.url)

    process = changing.new(status=1, DATABASE_URL=url)

    assert "Not verified. The database cannot be used" in process.stderr
    assert "Traceback" not in process.stderr
    assert "secret" not in process.stdout + process.stderr
    assert len(changing.files()) == 3


def test_plain_aerich_runs_what_was_written(changing: Changing) -> None:
    changing.change((NAME, NAME.replace("40", "50")), (TEAM, TEAM.replace("players", "crew")))
    database = changing.service.database
    files = changing.files()
    changing.new()
    changing.service.run("aerich", "upgrade")
    assert "No available heads" in changing.service.run("aerich", "heads").stdout
    assert len(changing.files()) == len(files) + 1
    for row in ROWS:
        database.query(row)

    changing.service.run("aerich", "downgrade", "--yes")
    assert database.query("SELECT count(*) FROM player") == [(2,)]
    changing.service.run("aerich", "upgrade")
    assert database.query("SELECT count(*) FROM player") == [(2,)]
    assert "No changes detected" in changing.service.run("aerich", "migrate").stdout


@pytest.mark.parametrize(
    "edit",
    [(NICK, NICK.replace("20", "30")), (PLAYER_ID, PLAYER_ID.replace("IntField", "BigIntField"))],
    ids=["another column", "its type"],
)
def test_rebuilt_table_never_gives_an_id_twice(
    edit: tuple[str, str], make_changing: Callable[[str], Changing]
) -> None:
    changing = make_changing("sqlite")
    changing.change(edit)
    changing.new()
    last = "SELECT seq FROM sqlite_sequence WHERE name = 'player'"

    stages = changing.steps("SELECT 1", last, after="DELETE FROM player WHERE id = 2")

    assert [stage[1] for stage in stages[::2]] == [[[2]], [[2]]]


def test_downgrade_says_what_replaces_null(make_changing: Callable[[str], Changing]) -> None:
    changing = make_changing("sqlite")
    service = changing.service
    changing.change((SCORE, "points = fields.IntField(null=True)"))
    changing.new("--rename", "player.score=points")
    service.run(*MIGRATE, "upgrade")
    for row in ROWS[:3]:
        service.database.query(row.replace("score", "points"))
    service.database.query("UPDATE player SET points = NULL WHERE nick = 'ada'")

    newest = len(changing.files()) - 1
    refused = service.run(*MIGRATE, "downgrade", str(newest - 1), status=1).stderr

    assert "player.score gets 7 instead of NULL (1 row)\n" in refused
    service.run(*MIGRATE, "downgrade", str(newest - 1), "--yes")
    assert service.database.query("SELECT score FROM player ORDER BY id") == [(7,), (4,)]


WITHOUT_DIGITS = RATING.replace("decimal_places=1", "decimal_places=0").replace("1.5", "2")


def test_nobody_writes_to_a_table_between_the_check_and_the_change(
    make_changing: Callable[[str], Changing],
) -> None:
    """PostgreSQL would round what a transaction writes that ends after the check."""
    changing = make_changing("postgresql")
    service = changing.service
    service.run(*MIGRATE, "upgrade")
    for row in ROWS:
        service.database.query(row)
    changing.change((RATING, WITHOUT_DIGITS))
    service.database.query("UPDATE player SET rating = 2")
    output = changing.new("--drop", "player.rating").stdout
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'player'::regclass"

    async def upgrade_while_another_writes() -> str:
        async with session(service.database.url) as run:
            await run("BEGIN")
            await run("UPDATE player SET rating = 2.5 WHERE nick = 'ada'")
            process = service.popen(*MIGRATE, "upgrade")
            await asyncio.to_thread(
                wait_until, lambda: service.database.query(waiting), "the upgrade waits"
            )
            await run("COMMIT")
            said, _ = await asyncio.to_thread(process.communicate)
        assert process.returncode == 1
        return str(said)

    said = asyncio.run(upgrade_while_another_writes())

    assert "player.rating holds values that DECIMAL(4,0) cannot hold: change them first" in said
    query = "SELECT rating FROM player ORDER BY id"
    assert [float(rating) for (rating,) in service.database.query(query)] == [2.5, 2.0]
    assert "Stop the service" not in output  # since the table is locked


def test_says_when_to_stop_the_service(make_changing: Callable[[str], Changing]) -> None:
    changing = make_changing("mysql")
    changing.change((RATING, WITHOUT_DIGITS))
    note = "Stop the service while this runs: what it writes to player may be lost or rounded"

    assert f"{note}\n" in changing.new("--drop", "player.rating").stdout

    assert f"\n# {note}\n" in changing.files()[-1].read_text(encoding="utf-8")
    assert "Nothing to do" not in changing.service.run(*MIGRATE, "upgrade").stdout
