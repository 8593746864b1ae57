"""`new` writes every change of the models so that rows are kept and the schema is the models'."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pexpect
import pytest

from .support import BEFORE, COUNTS, MIGRATE, ROWS, Changing


def after(anchor: str, line: str) -> tuple[str, str]:
    return anchor, f"{anchor}\n    {line}"


SCORE = "score = fields.IntField(default=7)"
NUMBER = "number = fields.SmallIntField(db_index=True)"
NAME = "name = fields.CharField(max_length=40, unique=True)"
CITY = "city = fields.CharField(max_length=30, null=True, db_index=True)"
MOTTO = "motto = fields.TextField(null=True)"
NICK = "nick = fields.CharField(max_length=20)"
TEAM = 'team = fields.ForeignKeyField("models.Team", related_name="players")'
MENTOR = 'mentor = fields.ForeignKeyField("models.Player", null=True, on_delete=fields.SET_NULL)'
PLAYER = 'player = fields.OneToOneField("models.Player", related_name="locker")'
LABEL = 'label = fields.CharField(max_length=20, db_default="none", description="what it says")'
BADGES = 'teams = fields.ManyToManyField("models.Team", through="team_badge")'
RATING = 'rating = fields.DecimalField(max_digits=4, decimal_places=1, default=Decimal("1.5"))'
TOGETHER = 'unique_together = (("team", "nick"),)'
INDEXES = 'indexes = (Index(fields=("label", "code")),)'
BADGE = BEFORE[BEFORE.index("class Badge") :]
LOCKER = BEFORE[BEFORE.index("class Locker") : BEFORE.index("class Badge")]
TEAM_ID = "id = fields.IntField(primary_key=True)\n    name"


@dataclass
class Change:
    """A change of the models.

    Attributes:
        edits: what is replaced in them.
        arguments: what `new` needs to know.
        rows: a query on what the rows have become, and its answer.
        gone: tables that are dropped, and so cannot be counted.
        one_way: taking it back would need values for a column that may not be null.
        unseen_by: the engine whose schema does not show it.
    """

    edits: list[tuple[str, str]]
    arguments: list[str] = field(default_factory=list)
    rows: tuple[str, list[list[Any]]] | None = None
    gone: tuple[str, ...] = ()
    one_way: bool = False
    unseen_by: str = ""


CHANGES = {
    "longer": Change([(NICK, NICK.replace("20", "30"))]),
    "shorter": Change([(NICK, NICK.replace("20", "10"))]),
    "wider integer": Change([(SCORE, SCORE.replace("Int", "BigInt"))]),
    "integer to text": Change(
        [(SCORE, 'score = fields.CharField(max_length=9, default="x")')],
        rows=("SELECT score FROM player ORDER BY id", [["3"], ["4"]]),
    ),
    "decimal": Change(
        [(RATING, RATING.replace("max_digits=4", "max_digits=9"))], unseen_by="sqlite"
    ),
    "text to longer text": Change([(CITY, "city = fields.TextField(null=True)")]),
    "null to default": Change(
        [(CITY, CITY.replace("null=True", 'default="?"'))],
        rows=("SELECT city FROM team ORDER BY id", [["Rome"], ["?"]]),
    ),
    "may be null": Change([(NICK, NICK.replace("20", "20, null=True"))]),
    "comment": Change([(NICK, NICK.replace("20", '20, description="it\'s */ a name"'))]),
    "comment dropped": Change([(LABEL, LABEL.replace(', description="what it says"', ""))]),
    "db_default": Change([(SCORE, "score = fields.IntField(db_default=5)")]),
    "db_default changed": Change([(LABEL, LABEL.replace('"none"', '"new"'))]),
    "db_default dropped": Change([(LABEL, LABEL.replace('db_default="none", ', ""))]),
    "enum": Change(
        [(LABEL, "label = fields.CharEnumField(Level, max_length=30, default=Level.low)")]
    ),
    "foreign key that may be null": Change(
        [
            after(
                MOTTO,
                'captain = fields.ForeignKeyField("models.Player", null=True, related_name="leads")',
            )
        ]
        + [
            (TEAM, "team_id = fields.IntField(db_index=True)"),
            (TOGETHER, 'unique_together = (("team_id", "nick"),)'),
        ],
    ),
    "foreign key": Change(
        [after(NUMBER, 'team = fields.ForeignKeyField("models.Team", null=True)')]
    ),
    "foreign key dropped": Change([(MENTOR, "")]),
    "foreign key to number": Change([(MENTOR, "mentor_id = fields.IntField(null=True)")]),
    "foreign key in a key dropped": Change([(TEAM, ""), (TOGETHER, "ordering = ()")], one_way=True),
    "one to one": Change(
        [after(MOTTO, 'user = fields.OneToOneField("models.User", null=True, related_name="t")')]
    ),
    "one to one dropped": Change([(PLAYER, "")], one_way=True),
    "one to one to foreign key": Change([(PLAYER, PLAYER.replace("OneToOne", "ForeignKey"))]),
    "on_delete": Change([(TEAM, TEAM.replace("players", 'players", on_delete="RESTRICT'))]),
    "unique column dropped": Change([(NAME, "")], one_way=True),
    "no longer unique": Change([(NAME, NAME.replace(", unique=True", ""))]),
    "unique to index": Change([(NAME, NAME.replace("unique", "db_index"))]),
    "index to unique": Change([(NUMBER, NUMBER.replace("db_index", "unique"))]),
    "unique": Change([(NICK, NICK.replace("20", "20, unique=True"))]),
    "unique_together dropped": Change([(TOGETHER, "ordering = ()")]),
    "unique_together": Change(
        [(TOGETHER, 'unique_together = (("team", "nick"), ("nick", "score"))')]
    ),
    "index dropped": Change([(CITY, CITY.replace(", db_index=True", ""))]),
    "indexes": Change(
        [(INDEXES, 'indexes = (Index(fields=("label",), name="by_label"), ("code", "label"))')]
    ),
    "auto_now_add": Change(
        [after(NICK, "made = fields.DatetimeField(auto_now_add=True)")],
        rows=("SELECT count(*) FROM player WHERE made > '2026-01-01'", [[2]]),
    ),
    "auto_now": Change([after(MOTTO, "seen = fields.DatetimeField(auto_now=True, null=True)")]),
    "defaults": Change(
        [
            after(
                NICK,
                "settings = fields.JSONField(default=dict)\n"
                "    tags = fields.JSONField(default=list)\n"
                "    options = fields.JSONField(default={'a': \"it's\"})\n"
                "    about = fields.TextField(default='a \\\\ b')\n"
                "    token = fields.UUIDField(default=uuid.uuid4, unique=True)\n"
                "    level = fields.CharEnumField(Level, default=Level.high)\n"
                "    active = fields.BooleanField(default=True)\n"
                "    price = fields.DecimalField(max_digits=6, decimal_places=2, default=Decimal('1.25'))\n"
                "    weight = fields.FloatField(default=0.5)\n"
                "    hint = fields.CharField(max_length=9, null=True, default='h')",
            )
        ],
        rows=("SELECT about, level, hint FROM player", [["a \\ b", "high", "h"]] * 2),
    ),
    "db_defaults": Change(
        [
            after(
                NICK,
                "level = fields.IntField(db_default=5)\n    made = fields.DatetimeField(db_default=Now())",
            )
        ],
        rows=("SELECT level FROM player", [[5], [5]]),
    ),
    "many to many": Change(
        [after(NUMBER, 'badges = fields.ManyToManyField("models.Badge", related_name="lockers")')]
    ),
    "many to many dropped": Change([(BADGES, "")], gone=("team_badge",)),
    "many to many on_delete": Change(
        [(BADGES, BADGES.replace('badge"', 'badge", on_delete=fields.RESTRICT'))]
    ),
    "model dropped": Change([(BADGE, "")], gone=("badge", "team_badge")),
    "model with one to one dropped": Change([(LOCKER, "")], gone=("locker",)),
    "models dropped": Change(
        [
            (BADGE, ""),
            (LOCKER, ""),
            (BEFORE[BEFORE.index("class Player") : BEFORE.index("class Locker")], ""),
            (BEFORE[BEFORE.index("class Team") : BEFORE.index("class Player")], ""),
        ],
        gone=tuple(COUNTS),
    ),
    "new models": Change(
        [
            (
                BADGE,
                BADGE
                + "\n\nclass Game(Model):\n    home = fields.ForeignKeyField('models.Team', related_name='home')\n"
                "    title = fields.CharField(max_length=5, unique=True, db_default='x', description='the \\'title\\'')\n"
                "    teams = fields.ManyToManyField('models.Team', related_name='games')\n\n"
                "    class Meta:\n        table_description = 'games'\n        indexes = (('title', 'home'),)\n\n\n"
                "class Goal(Model):\n    id = fields.UUIDField(primary_key=True)\n"
                "    game = fields.ForeignKeyField('models.Game', on_delete=fields.NO_ACTION, db_index=True)\n",
            )
        ]
    ),
    "wider key": Change(
        [(TEAM_ID, TEAM_ID.replace("IntField", "BigIntField"))],
        rows=("SELECT id, name FROM team ORDER BY id", [[1, "reds"], [2, "blues"]]),
    ),
    "renamed": Change(
        [(NICK, NICK.replace("nick", "alias")), (TOGETHER, TOGETHER.replace("nick", "alias"))],
        ["--rename", "nick=alias"],
        ("SELECT alias FROM player ORDER BY id", [["ada"], ["bob"]]),
    ),
    "renamed and longer": Change(
        [(NAME, NAME.replace("name", "title").replace("40", "50"))],
        ["--rename", "team.name=title"],
        ("SELECT title FROM team ORDER BY id", [["reds"], ["blues"]]),
    ),
    "renamed foreign key": Change(
        [(MENTOR, MENTOR.replace("mentor", "coach"))],
        ["--rename", "mentor_id=coach_id"],
        ("SELECT coach_id FROM player ORDER BY id", [[None], [1]]),
    ),
    "renamed table": Change(
        [(TOGETHER, f'table = "members"\n        {TOGETHER}')],
        [],
        ("SELECT nick FROM members ORDER BY id", [["ada"], ["bob"]]),
        gone=("player",),
    ),
    "renamed model": Change(
        [("class Locker", "class Box")],
        ["--rename", "locker=box"],
        ("SELECT number FROM box", [[11]]),
        gone=("locker",),
    ),
    "not renamed": Change(
        [
            (NICK, NICK.replace("20", "20, null=True").replace("nick", "alias")),
            (TOGETHER, TOGETHER.replace("nick", "alias")),
        ],
        ["--no-rename"],
        ("SELECT alias FROM player ORDER BY id", [[None], [None]]),
        one_way=True,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_change(changing: Changing, name: str) -> None:
    change = CHANGES[name]
    changing.change(*change.edits)
    if change.unseen_by == changing.service.database.engine:
        assert "Nothing changed" in changing.new().stdout
        return

    kept = {table: COUNTS[table] for table in COUNTS if table not in change.gone}
    count = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in kept)
    query, answer = change.rows or ("SELECT 1", [[1]])
    stages = changing.steps(
        count or "SELECT 1 WHERE 1 = 0", query, new=change.arguments, back=not change.one_way
    )
    assert stages[0][1] == answer
    for counts, *_ in stages[::2]:
        assert {table: number for table, number in counts} == kept


def models(changing: Changing) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in changing.files()}


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

    assert f"Write by hand: {column} " in process.stderr
    assert f"<{column}>" in changing.files()[-1].read_text(encoding="utf-8")
    for command in (("upgrade",), ("verify",)):
        process = changing.service.run(*MIGRATE, *command, status=1)
        assert column in process.stderr
        assert "Traceback" not in process.stderr
    assert "shirt" not in str(changing.files()[:-1])


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


META = "class Locker(Model):\n    class Meta:\n        "
SCHEMA = ("class Locker(Model):\n", f"{META}schema = 'other'\n\n")
CONSTRAINTS = (
    "class Locker(Model):\n",
    f"{META}constraints = (UniqueConstraint(('number',)),)\n\n",
)
IMPORT = (
    "from tortoise.models",
    "from tortoise.migrations.constraints import UniqueConstraint\nfrom tortoise.models",
)
BY_NAME = after(NUMBER, 'team = fields.ForeignKeyField("models.Team", null=True, to_field="name")')
CYCLE = (
    after(NUMBER, 'team = fields.ForeignKeyField("models.Team", null=True, related_name="a")'),
    after(MOTTO, 'locker = fields.ForeignKeyField("models.Locker", null=True, related_name="b")'),
)


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ([SCHEMA], r"Locker: migrations know no Meta\.schema"),
        ([IMPORT, CONSTRAINTS], r"Locker: migrations know no Meta\.constraints"),
        (
            [BY_NAME],
            r"statement|incorrectly formed|are incompatible|are incompatible|locker: foreign key \(team_id\) is references team \(id\)",
        ),
        (CYCLE, "Tortoise cannot make the models' tables: .*cyclic"),
    ],
)
def test_what_it_cannot_write_is_not_proven(
    changing: Changing, edits: list[tuple[str, str]], words: str
) -> None:
    changing.change(*edits)

    process = changing.new(status=1)

    assert re.search(words, process.stderr), process.stderr
    assert "Proven" not in process.stdout
    if "Meta" in words:
        for command, output in (("check", "stdout"), ("verify", "stderr")):
            faults = getattr(changing.service.run(*MIGRATE, command, status=1), output)
            assert re.fullmatch(words + ".*\n", faults)
    assert "Traceback" not in process.stderr


def test_what_was_missing_can_be_written(changing: Changing) -> None:
    changing.change(after(NICK, "shirt = fields.IntField()"))
    changing.new(status=1)
    file = changing.files()[-1]
    text = file.read_text(encoding="utf-8").replace("<player.shirt>", "9")
    lines = [line for line in text.splitlines() if "NotImplementedError" not in line]
    file.write_text("\n".join(lines), encoding="utf-8")

    changing.service.run(*MIGRATE, "verify")

    stages = changing.steps("SELECT 1", "SELECT shirt FROM player")
    assert stages[0][1] == [[9], [9]]


@pytest.mark.parametrize("name", ["v1.2", "Name", "a b", "", "é"])
def test_name_that_aerich_would_ignore_is_refused(changing: Changing, name: str) -> None:
    changing.change((NICK, NICK.replace("20", "30")))
    before = models(changing)

    process = changing.service.run(*MIGRATE, "new", name, status=1)

    assert "a-z, 0-9 and _" in process.stderr
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


def test_rename_is_not_guessed(changing: Changing) -> None:
    changing.change((MOTTO, MOTTO.replace("motto", "slogan")))
    before = models(changing)

    process = changing.new(status=1)
    assert "team.motto is gone, and slogan is new" in process.stderr
    assert "--rename team.motto=slogan" in process.stderr
    assert "--no-rename" in process.stderr
    wrong = changing.new("--rename", "city=slogan", status=1)
    assert "--rename city=slogan" in wrong.stderr
    assert models(changing) == before


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
    child.expect("team.motto is gone, and slogan is new. Is it the same, renamed")
    child.sendline(answer)
    child.expect("Proven")
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

    assert "Not verified: the database cannot be used" in process.stderr
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


def test_rebuilt_table_never_gives_an_id_twice(make_changing: Callable[[str], Changing]) -> None:
    changing = make_changing("sqlite")
    changing.change((NICK, NICK.replace("20", "30")))
    changing.new()
    last = "SELECT seq FROM sqlite_sequence WHERE name = 'player'"

    stages = changing.steps("SELECT 1", last, after="DELETE FROM player WHERE id = 2")

    assert [stage[1] for stage in stages[::2]] == [[[2]], [[2]]]
