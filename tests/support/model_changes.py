"""Models of every kind, rows in their tables, and changes of these models."""

from dataclasses import dataclass, field
from typing import Any

BEFORE = """\
import uuid
from decimal import Decimal
from enum import Enum

from tortoise import fields
from tortoise.fields.db_defaults import Now
from tortoise.indexes import Index
from tortoise.models import Model


class Level(str, Enum):
    low = "low"
    high = "high"


class User(Model):
    id = fields.BigIntField(primary_key=True)
    username = fields.CharField(max_length=50, unique=True)
    email = fields.CharField(max_length=100, unique=True)
    hashed_password = fields.CharField(max_length=255)

    class Meta:
        table = "users"


class Team(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=40, unique=True)
    city = fields.CharField(max_length=30, null=True, db_index=True)
    motto = fields.TextField(null=True)


class Player(Model):
    id = fields.IntField(primary_key=True)
    nick = fields.CharField(max_length=20)
    team = fields.ForeignKeyField("models.Team", related_name="players")
    mentor = fields.ForeignKeyField("models.Player", null=True, on_delete=fields.SET_NULL)
    score = fields.IntField(default=7)
    rating = fields.DecimalField(max_digits=4, decimal_places=1, default=Decimal("1.5"))

    class Meta:
        unique_together = (("team", "nick"),)


class Locker(Model):
    id = fields.IntField(primary_key=True)
    player = fields.OneToOneField("models.Player", related_name="locker")
    number = fields.SmallIntField(db_index=True)


class Badge(Model):
    code = fields.CharField(max_length=8, primary_key=True)
    label = fields.CharField(max_length=20, db_default="none", description="what it says")
    teams = fields.ManyToManyField("models.Team", through="team_badge")

    class Meta:
        indexes = (Index(fields=("label", "code")),)
"""

# a parent, children that a cascade would delete, one that refers to another of its table
ROWS = (
    "INSERT INTO team (name, city) VALUES ('reds', 'Rome'), ('blues', NULL)",
    "INSERT INTO player (nick, team_id, mentor_id, score, rating) VALUES ('ada', 1, NULL, 3, 2.5)",
    "INSERT INTO player (nick, team_id, mentor_id, score, rating) VALUES ('bob', 1, 1, 4, 3.5)",
    "INSERT INTO locker (player_id, number) VALUES (1, 11)",
    "INSERT INTO badge (code, label) VALUES ('a', 'first')",
    "INSERT INTO team_badge (badge_id, team_id) VALUES ('a', 1)",
)
COUNTS = {"team": 2, "player": 2, "locker": 1, "badge": 1, "team_badge": 1}


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
PLAYER_ID = "id = fields.IntField(primary_key=True)\n    nick"


@dataclass
class Change:
    """A change of the models.

    Attributes:
        edits: texts of the models, each with its replacement.
        arguments: arguments that `new` needs.
        drops: what it destroys or narrows, on each engine.
        rows: a query on the changed rows, and its answer.
        gone: tables that the change drops or renames.
        one_way: whether a downgrade would need values that only the user knows.
        unseen_by: the engine whose schema stays the same.
    """

    edits: list[tuple[str, str]]
    arguments: list[str] = field(default_factory=list)
    drops: tuple[str, ...] = ()
    rows: tuple[str, list[list[Any]]] | None = None
    gone: tuple[str, ...] = ()
    one_way: bool = False
    unseen_by: str = ""


# Each change is a test of `new`; benchmarks.native_migrations tries it with Tortoise itself
CHANGES = {
    "longer": Change([(NICK, NICK.replace("20", "30"))]),
    "shorter": Change([(NICK, NICK.replace("20", "10"))], drops=("player.nick",)),
    "wider integer": Change([(SCORE, SCORE.replace("Int", "BigInt"))]),
    "integer to text": Change(
        [(SCORE, 'score = fields.CharField(max_length=9, default="x")')],
        rows=("SELECT score FROM player ORDER BY id", [["3"], ["4"]]),
        one_way=True,
        drops=("player.score",),
    ),
    "decimal": Change([(RATING, RATING.replace("max_digits=4", "max_digits=9"))]),
    "text to longer text": Change([(CITY, "city = fields.TextField(null=True)")]),
    "null to default": Change(
        [(CITY, CITY.replace("null=True", 'default="?"'))],
        rows=("SELECT city FROM team ORDER BY id", [["Rome"], ["?"]]),
    ),
    "may be null": Change([(NICK, NICK.replace("20", "20, null=True"))]),
    "comment": Change(
        [(NICK, NICK.replace("20", '20, description="it\'s */ a name"'))], unseen_by="sqlite"
    ),
    "comment dropped": Change(
        [(LABEL, LABEL.replace(', description="what it says"', ""))], unseen_by="sqlite"
    ),
    "db_default": Change([(SCORE, "score = fields.IntField(db_default=5)")]),
    "db_default changed": Change([(LABEL, LABEL.replace('"none"', '"new"'))]),
    "db_default dropped": Change([(LABEL, LABEL.replace('db_default="none", ', ""))]),
    "enum": Change(
        [
            ('high = "high"', 'high = "high"\n    first = "first"'),  # as in the row
            (LABEL, "label = fields.CharEnumField(Level, max_length=30, default=Level.low)"),
        ],
        drops=("badge.label",),
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
    "foreign key dropped": Change([(MENTOR, "")], drops=("player.mentor_id",)),
    "foreign key to number": Change([(MENTOR, "mentor_id = fields.IntField(null=True)")]),
    "foreign key in a key dropped": Change(
        [(TEAM, ""), (TOGETHER, "ordering = ()")], one_way=True, drops=("player.team_id",)
    ),
    "one to one": Change(
        [after(MOTTO, 'user = fields.OneToOneField("models.User", null=True, related_name="t")')]
    ),
    "one to one dropped": Change([(PLAYER, "")], one_way=True, drops=("locker.player_id",)),
    "one to one to foreign key": Change([(PLAYER, PLAYER.replace("OneToOne", "ForeignKey"))]),
    "on_delete": Change([(TEAM, TEAM.replace("players", 'players", on_delete="RESTRICT'))]),
    "unique column dropped": Change([(NAME, "")], one_way=True, drops=("team.name",)),
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
    "many to many dropped": Change([(BADGES, "")], gone=("team_badge",), drops=("team_badge",)),
    "many to many on_delete": Change(
        [(BADGES, BADGES.replace('badge"', 'badge", on_delete=fields.RESTRICT'))]
    ),
    "model dropped": Change(
        [(BADGE, "")], gone=("badge", "team_badge"), drops=("badge", "team_badge")
    ),
    "model with one to one dropped": Change([(LOCKER, "")], gone=("locker",), drops=("locker",)),
    "models dropped": Change(
        [
            (BADGE, ""),
            (LOCKER, ""),
            (BEFORE[BEFORE.index("class Player") : BEFORE.index("class Locker")], ""),
            (BEFORE[BEFORE.index("class Team") : BEFORE.index("class Player")], ""),
        ],
        gone=tuple(COUNTS),
        drops=("team", "player", "locker", "badge", "team_badge"),
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
        rows=("SELECT alias FROM player ORDER BY id", [["ada"], ["bob"]]),
    ),
    "renamed and longer": Change(
        [(NAME, NAME.replace("name", "title").replace("40", "50"))],
        ["--rename", "team.name=title"],
        rows=("SELECT title FROM team ORDER BY id", [["reds"], ["blues"]]),
    ),
    "renamed foreign key": Change(
        [(MENTOR, MENTOR.replace("mentor", "coach"))],
        ["--rename", "mentor_id=coach_id"],
        rows=("SELECT coach_id FROM player ORDER BY id", [[None], [1]]),
    ),
    "renamed table": Change(
        [(TOGETHER, f'table = "members"\n        {TOGETHER}')],
        rows=("SELECT nick FROM members ORDER BY id", [["ada"], ["bob"]]),
        gone=("player",),
    ),
    "renamed model": Change(
        [("class Locker", "class Box")],
        ["--rename", "locker=box"],
        rows=("SELECT number FROM box", [[11]]),
        gone=("locker",),
    ),
    "not renamed": Change(
        [
            (NICK, NICK.replace("20", "20, null=True").replace("nick", "alias")),
            (TOGETHER, TOGETHER.replace("nick", "alias")),
        ],
        ["--no-rename"],
        rows=("SELECT alias FROM player ORDER BY id", [[None], [None]]),
        one_way=True,
        drops=("player.nick",),
    ),
}
