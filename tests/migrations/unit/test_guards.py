"""Rows that stand in the way of a change: it fails before it changes anything, and says why."""

import re
from typing import Any

import pytest

from tests.support.changes import Bench, Change, model, on_engines
from tools.render import ENGINES

NAME = "name = fields.CharField(max_length=20)"
TEAM = model("Team", NAME)
NUMBER = "n = fields.IntField({})"
TEAMS = ["INSERT INTO team (id, name) VALUES (1, 'a')"]


def item(line: str, meta: str = "") -> str:
    return TEAM + model("Item", NAME, line, meta=meta)


def refused(before: str, after: str, *values: str, column: str = "n", **rest: Any) -> Change:
    rows = [f"INSERT INTO item (name, {column}) VALUES ('a', {value})" for value in values]
    return Change(item(before), after if "class" in after else item(after), TEAMS + rows, **rest)


COLORS = """
class Color(enum.Enum):
    red = 'r'
    blue = 'b'
    it = "it's"
class Size(enum.IntEnum):
    small = 1
    large = 2
"""
RELATION = "team = fields.{}Field('models.Team'{})"
CODES = model("Team", NAME, "code = fields.CharField(max_length=9, unique=True, null=True)")
MEMBER = model("Item", NAME, "team = fields.ForeignKeyField('models.Team', null=True)")
ORPHANED = [*TEAMS, "INSERT INTO item (name, team_id) VALUES ('a', 1), ('b', 7), ('c', NULL)"]
GUARDED = {
    "reference to a column without a value": (
        Change(
            CODES + MEMBER,
            CODES + MEMBER.replace("null", "to_field='code', null"),
            [*TEAMS, "INSERT INTO item (name, team_id) VALUES ('a', 1)"],
        ),
        "item.team_id holds values for which team has no code",
    ),
    "unenforced reference to no row": (
        Change(
            CODES + MEMBER.replace("null", "db_constraint=False, null"),
            CODES + MEMBER.replace("null", "db_constraint=False, to_field='code', null"),
            ["INSERT INTO team (id, name, code) VALUES (1, 'a', 'x')", *ORPHANED[1:]],
        ),
        "item.team_id holds values for which team has no code",
    ),
    "unenforced reference to no row, by another primary key": (
        Change(
            TEAM + MEMBER.replace("null", "db_constraint=False, null"),
            model("Team", key="name = fields.CharField(max_length=20, primary_key=True)")
            + MEMBER.replace("null", "db_constraint=False, null"),
            ORPHANED,
        ),
        "item.team_id holds values that no row of team has",
    ),
    "member that an enum loses": (
        Change(
            COLORS + item("n = fields.CharEnumField(Color)"),
            COLORS.replace("    blue = 'b'\n", "") + item("n = fields.CharEnumField(Color)"),
            ["INSERT INTO item (name, n) VALUES ('a', 'b')"],
        ),
        "item.n holds values that its enum cannot hold",
    ),
    "number that an enum loses": (
        Change(
            COLORS + item("n = fields.IntEnumField(Size)"),
            COLORS.replace("    large = 2\n", "") + item("n = fields.IntEnumField(Size)"),
            ["INSERT INTO item (name, n) VALUES ('a', 2)"],
        ),
        "item.n holds values that its enum cannot hold",
    ),
    "unique": (
        refused(NUMBER.format(""), NUMBER.format("unique=True"), "1", "1"),
        "item holds rows with the same n",
    ),
    "unique and renamed": (
        refused(
            NUMBER.format(""),
            NUMBER.format("unique=True").replace("n =", "number ="),
            "1",
            "1",
            answers=["item.n=number"],
        ),
        "item holds rows with the same n",
    ),
    "unique together": (
        refused(
            NUMBER.format(""),
            item(NUMBER.format(""), "unique_together = (('name', 'n'),)"),
            "1",
            "1",
        ),
        "item holds rows with the same name, n",
    ),
    "unique together, with a default instead of NULL": (
        Change(
            item(NUMBER.format("null=True"), "unique_together = (('name', 'n'),)"),
            item(NUMBER.format("default=0"), "unique_together = (('name', 'n'),)"),
            ["INSERT INTO item (name, n) VALUES ('a', NULL), ('a', NULL)"],
        ),
        "item holds rows with the same name, n",
    ),
    "newly unique together, with a default instead of NULL": (
        Change(
            item(NUMBER.format("null=True")),
            item(NUMBER.format("default=0"), "unique_together = (('name', 'n'),)"),
            ["INSERT INTO item (name, n) VALUES ('a', NULL), ('a', 0)"],
        ),
        "item holds rows with the same name, n",
    ),
    "one to one": (
        refused(
            RELATION.format("ForeignKey", ""),
            RELATION.format("OneToOne", ""),
            "1",
            "1",
            column="team_id",
        ),
        "item holds rows with the same team_id",
    ),
    "reference that is enforced now": (
        refused(
            RELATION.format("ForeignKey", ", db_constraint=False"),
            RELATION.format("ForeignKey", ""),
            "2",
            column="team_id",
        ),
        "item.team_id holds values that no row of team has",
    ),
    "number that becomes a reference": (
        refused(
            "team_id = fields.IntField()", RELATION.format("ForeignKey", ""), "2", column="team_id"
        ),
        "item.team_id holds values that no row of team has",
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_values_are_checked_once(changes: Bench, engine: str) -> None:
    unique = item(NUMBER.format("unique=True"), "unique_together = (('n',), ('n', 'name'))")
    plan = changes.plan(engine, Change(item(NUMBER.format("")), unique))
    assert len([s for s in plan.upgrade.statements if "with the same n:" in s]) == 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("change", "message"), GUARDED.values(), ids=GUARDED)
def test_says_which_rows(changes: Bench, engine: str, change: Change, message: str) -> None:
    assert f"{message}: change them first" in changes.fail(engine, change)


BIG = item("n = fields.BigIntField(null=True)")
MOVED = item("m = fields.SmallIntField(null=True)").replace("Item", "Thing")
EXCLUSIVE = {
    "narrowed and renamed": (
        Change(BIG, MOVED, answers=["item=thing", "thing.n=m"]),
        {"item"},
        set(),
    ),
    "loses a member": (
        Change(
            COLORS + item("n = fields.CharEnumField(Color, max_length=4)"),
            COLORS.replace("    blue = 'b'\n", "")
            + item("n = fields.CharEnumField(Color, max_length=4)"),
        ),
        {"item"},
        set(),
    ),
    "converted by hand": (Change(BIG, item("n = fields.DateField(null=True)")), {"item"}, {"item"}),
    "converted with its children": (
        Change(
            model("Team", NAME, key="id = fields.IntField(primary_key=True)")
            + model("Item", RELATION.format("ForeignKey", "")),
            model("Team", NAME, key="id = fields.UUIDField(primary_key=True)")
            + model("Item", RELATION.format("ForeignKey", "")),
        ),
        {"team", "item"},
        {"team", "item"},
    ),
    "widened": (Change(item("n = fields.SmallIntField(null=True)"), BIG), set(), {"item"}),
    "with a new column": (Change(model("Item", NAME), BIG), set(), set()),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("change", "up", "down"), EXCLUSIVE.values(), ids=EXCLUSIVE)
def test_nobody_writes_what_would_be_lost(
    changes: Bench, engine: str, change: Change, up: set[str], down: set[str]
) -> None:
    plan = changes.plan(engine, change)

    assert (plan.upgrade.exclusive, plan.downgrade.exclusive) == (up, down)
    for diff in (plan.upgrade, plan.downgrade):
        names = ", ".join(f'"{name}"' for name in sorted(diff.exclusive))
        lock = [f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"]
        is_locked = engine == "postgresql" and diff.exclusive
        assert [s for s in diff.statements if s.startswith("LOCK")] == (lock if is_locked else [])
        assert not is_locked or diff.statements[0] == lock[0]


ENUM = COLORS + item("n = fields.CharEnumField(Color, max_length=4)", "")
LOSES = {
    "member": Change(
        ENUM,
        ENUM.replace("    blue = 'b'\n", ""),
        ["INSERT INTO item (name, n) VALUES ('a', 'r'), ('b', 'it''s')"],
        losses=["item.n cannot hold every value: the enum loses b"],
        expected={"SELECT n FROM item ORDER BY id": [("r",), ("it's",)]},
        reverted={"SELECT n FROM item ORDER BY id": [("r",), ("it's",)]},
    ),
}


@on_engines(LOSES)
def test_enum_loses_a_member_that_no_row_has(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


UNENFORCED = RELATION.format("ForeignKey", ", db_constraint=False{}")
NOTHING = {
    "rule of a reference that is not enforced": Change(
        item(UNENFORCED.format("")), item(UNENFORCED.format(", on_delete=fields.RESTRICT"))
    ),
}


@on_engines(NOTHING)
def test_nothing_changes(changes: Bench, engine: str, change: Change) -> None:
    assert changes.plan_or_none(engine, change) is None


def by_hand(before: str, after: str, *alters: str, engine: str = "mysql", **rest: Any) -> Change:
    """Change a column that somebody altered by hand before."""
    return Change(model("Item", before), model("Item", after), alters, engines=(engine,), **rest)


SHORT, LONG = "n = fields.CharField(max_length=20)", "n = fields.CharField(max_length=30)"
AT = "n = fields.DatetimeField({})"
ATTRIBUTES = {
    "default": by_hand(
        NUMBER.format(""), NUMBER.format("null=True"), "ALTER TABLE item ALTER n SET DEFAULT 5"
    ),
    "default of a field that gets another type": by_hand(
        NUMBER.format("null=True"),
        "n = fields.BigIntField(null=True)",
        "ALTER TABLE item ALTER n SET DEFAULT 5",
    ),
    "default of another column": by_hand(
        f"{SHORT}\n    m = fields.IntField()",
        f"{LONG}\n    m = fields.BigIntField()",
        "ALTER TABLE item ALTER m SET DEFAULT 5",
    ),
    "default of a renamed column": by_hand(
        SHORT,
        LONG.replace("n =", "m ="),
        "ALTER TABLE item ALTER n SET DEFAULT 'x'",
        answers=["item.n=m"],
    ),
    "default that differs by case": by_hand(
        SHORT.replace("20", "20, default='x'"),
        LONG.replace("30", "30, default='x'"),
        "ALTER TABLE item ALTER n SET DEFAULT 'X'",
    ),
    "on update": by_hand(
        AT.format(""),
        AT.format("null=True"),
        "ALTER TABLE item MODIFY n DATETIME(6) NOT NULL ON UPDATE CURRENT_TIMESTAMP(6)",
    ),
    "collation": by_hand(
        SHORT, LONG, "ALTER TABLE item MODIFY n VARCHAR(20) COLLATE utf8mb4_bin NOT NULL"
    ),
    "comment": by_hand(SHORT, LONG, "ALTER TABLE item MODIFY n VARCHAR(20) NOT NULL COMMENT 'x'"),
    "invisible": by_hand(
        SHORT.replace("20", "20, null=True"),
        LONG.replace("30", "30, null=True"),
        "ALTER TABLE item MODIFY n VARCHAR(20) NULL INVISIBLE",
    ),
    "generated": by_hand(
        SHORT.replace("20", "20, null=True"),
        LONG.replace("30", "30, null=True"),
        "ALTER TABLE item DROP n",
        "ALTER TABLE item ADD n VARCHAR(20) AS (concat('a', 'b')) STORED",
    ),
    "check": by_hand(
        NUMBER.format(""),
        NUMBER.format("null=True"),
        "ALTER TABLE item MODIFY n INT NOT NULL CHECK (n > 0)",
    ),
    "collation on PostgreSQL": by_hand(
        SHORT,
        LONG,
        'ALTER TABLE item ALTER n TYPE VARCHAR(20) COLLATE "C"',
        engine="postgresql",
    ),
}


@on_engines(ATTRIBUTES)
def test_refuses_to_drop_attributes_that_the_model_lacks(
    changes: Bench, engine: str, change: Change
) -> None:
    message = changes.fail(engine, change)
    assert re.search("that its model lacks, and .* drops it: add .*, and delete the check", message)


PAIR = f"{SHORT}\n    m = fields.CharField(max_length=20, unique=True)"
SERVERS, POSTGRESQL = ("postgresql", "mysql"), ("postgresql",)
DEPENDENT = {
    name: Change(
        model("Item", PAIR),
        model("Item", PAIR.replace(SHORT, NUMBER.format(""))),
        [statement],
        values={"item.n": "1"},
        engines=engines,
    )
    for name, statement, engines in [
        ("unique index", "CREATE UNIQUE INDEX by_hand ON item (n)", SERVERS),
        ("unique index of two columns", "CREATE UNIQUE INDEX by_hand ON item (m, n)", SERVERS),
        ("unique constraint", "ALTER TABLE item ADD CONSTRAINT by_hand UNIQUE (n)", SERVERS),
        ("check", "ALTER TABLE item ADD CONSTRAINT by_hand CHECK (length(n) > 1)", SERVERS),
        ("partial index", "CREATE INDEX by_hand ON item (m) WHERE n <> ''", POSTGRESQL),
        ("index on an expression", "CREATE INDEX by_hand ON item (lower(n))", POSTGRESQL),
    ]
}


@on_engines(DEPENDENT)
def test_refuses_to_drop_indexes_and_constraints_that_the_model_lacks(
    changes: Bench, engine: str, change: Change
) -> None:
    message = changes.fail(engine, change)
    assert "item has an index or a constraint that its model lacks" in message


KEPT_BY_THE_ORM = {
    "default of the field": by_hand(
        NUMBER.format("default=5"),
        NUMBER.format("default=5, null=True"),
        "ALTER TABLE item ALTER n SET DEFAULT 5",
    ),
    "text": by_hand(
        SHORT.replace("20", "20, default='it'"),
        LONG.replace("30", "30, default='it'"),
        "ALTER TABLE item ALTER n SET DEFAULT 'it'",
    ),
    "time": by_hand(
        AT.format("auto_now=True"),
        AT.format("auto_now=True, null=True"),
        "ALTER TABLE item MODIFY n DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)"
        " ON UPDATE CURRENT_TIMESTAMP(6)",
    ),
    "default and comment of the model": by_hand(
        SHORT.replace("20", "20, db_default='it', description='old'"),
        LONG.replace("30", "30, db_default='at', description='new'"),
    ),
    "JSON": by_hand("n = fields.JSONField()", "n = fields.JSONField(null=True)"),
}


@on_engines(KEPT_BY_THE_ORM)
def test_drops_defaults_that_the_orm_writes(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)
