"""New and dropped columns: what happens to existing rows."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.support.changes import Bench, Change, item, on_engines
from tools.render import ENGINES

ROWS = ["""INSERT INTO item (name) VALUES ('a'), ('bé')"""]
TEXT = r"""it's "a" \ % %s {x} ; -- no /* comment */ :p ? $1 é 漢 😀"""


def added(*lines: str, expected: object = None, **rest: Any) -> Change:
    """Add a column `n` after the name."""
    found = {} if expected is None else {"SELECT n FROM item": expected}
    head = "".join(line + "\n" for line in lines[:-1])
    arguments: dict[str, Any] = {"rows": ROWS, "expected": found, **rest}
    return Change(item(), head + item(f"n = {lines[-1]}"), **arguments)


def twice(value: object) -> list[tuple[object]]:
    return [(value,), (value,)]


def enum_(kind: str, *members: str) -> str:
    return f"class Color({kind}):\n" + "".join(f"    {m}\n" for m in members)


ALL_BYTES = bytes(range(256))

DEFAULTS = {
    "integer": added("fields.IntField(default=7)", expected=twice(7)),
    "negative": added("fields.IntField(default=-7)", expected=twice(-7)),
    "smallint": added("fields.SmallIntField(default=7)", expected=twice(7)),
    "bigint": added("fields.BigIntField(default=2**62)", expected=twice(2**62)),
    "boolean as default of an integer": added("fields.IntField(default=True)", expected=twice(1)),
    "boolean": added(
        "fields.BooleanField(default=True)",
        expected={"sqlite": twice(1), "postgresql": twice(True), "mysql": twice(1)},
    ),
    "false": added(
        "fields.BooleanField(default=False)",
        expected={"sqlite": twice(0), "postgresql": twice(False), "mysql": twice(0)},
    ),
    "integer as default of a boolean": added(
        "fields.BooleanField(default=0)",
        expected={"sqlite": twice(0), "postgresql": twice(False), "mysql": twice(0)},
    ),
    "float": added("fields.FloatField(default=1.5)", expected=twice(1.5)),
    "float of an integer": added("fields.FloatField(default=3)", expected=twice(3.0)),
    "tiny float": added("fields.FloatField(default=1e-300)", expected=twice(1e-300)),
    "infinite float": added(
        "fields.FloatField(default=float('-inf'))",
        expected=twice(float("-inf")),
        engines=("sqlite", "postgresql"),
    ),
    "float that is no number": added(
        "fields.FloatField(default=float('nan'), null=True)", engines=("postgresql",)
    ),
    "decimal": added(
        "fields.DecimalField(max_digits=5, decimal_places=2, default=Decimal('1.50'))",
        expected=None,
    ),
    "text": added(f"fields.TextField(default={TEXT!r})", expected=twice(TEXT)),
    "empty text": added("fields.TextField(default='')", expected=twice("")),
    "characters": added(f"fields.CharField(max_length=90, default={TEXT!r})", expected=twice(TEXT)),
    "name of a function": added(
        "fields.CharField(max_length=20, default='Now()')", expected=twice("Now()")
    ),
    "number as text": added(
        "fields.CharField(max_length=20, default='007')", expected=twice("007")
    ),
    "line breaks": added(
        "fields.CharField(max_length=20, default='a\\nb\\r\\n\\tc')", expected=twice("a\nb\r\n\tc")
    ),
    "bytes": added("fields.BinaryField(default=b'xyz')", expected=twice(b"xyz")),
    "every byte": added(f"fields.BinaryField(default={ALL_BYTES!r})", expected=twice(ALL_BYTES)),
    "date": added("fields.DateField(default=datetime.date(2000, 1, 2))", expected=None),
    "uuid": added("fields.UUIDField(default=uuid.UUID(int=7))", expected=None),
    "random uuid": added("fields.UUIDField(default=uuid.uuid4)", expected=None),
    "unique random uuid": added("fields.UUIDField(default=uuid.uuid4, unique=True)", expected=None),
    "time of creation": added("fields.DatetimeField(auto_now_add=True)", expected=None),
    "time of change": added("fields.DatetimeField(auto_now=True, null=True)", expected=None),
    "duration": added(
        "fields.TimeDeltaField(default=datetime.timedelta(days=1, microseconds=5))",
        expected=twice(86400000005),
    ),
    "enum": added(
        enum_("str, enum.Enum", "red='r'", "blue='b'"),
        "fields.CharEnumField(Color, default=Color.blue)",
        expected=twice("b"),
    ),
    "plain enum": added(
        enum_("enum.Enum", "red='r'", "blue='b'"),
        "fields.CharEnumField(Color, default=Color.blue)",
        expected=twice("b"),
    ),
    "integer enum": added(
        enum_("enum.IntEnum", "red=1", "blue=2"),
        "fields.IntEnumField(Color, default=Color.blue)",
        expected=twice(2),
    ),
    "null with a default": added("fields.IntField(default=7, null=True)", expected=twice(7)),
    "null": added("fields.IntField(null=True)", expected=twice(None)),
    "null and unique with a default": added(
        "fields.IntField(default=7, null=True, unique=True)", expected=twice(None)
    ),
    "named function": added(
        "def seven(): return 7\n", "fields.IntField(default=seven, null=True)", expected=twice(None)
    ),
    "described": added(
        """fields.IntField(default=7, description='it\\'s "a" \\\\ % %s ; */ -- /* é')""",
        expected=twice(7),
    ),
    "default of the server": added("fields.IntField(db_default=7)", expected=twice(7)),
    "text of the server": added(
        f"fields.CharField(max_length=90, db_default={TEXT!r})",
        expected=twice(TEXT),
    ),
    "time of the server": added(
        "fields.DatetimeField(db_default=Now())", engines=("postgresql", "mysql")
    ),
    "expression of the server": added(
        "fields.IntField(db_default=SqlDefault('7'))", expected=twice(7)
    ),
    "both defaults": added("fields.IntField(default=8, db_default=7)", expected=twice(7)),
    "boolean of the server": added(
        "fields.BooleanField(db_default=True)",
        expected={"sqlite": twice(1), "postgresql": twice(True), "mysql": twice(1)},
    ),
    "JSON of the server": added(
        """fields.JSONField(db_default={'a': [1, None, True], 'é': "it's \\\\"})""",
        expected={
            "sqlite": twice(r"""{"a":[1,null,true],"é":"it's \\"}"""),
            "postgresql": twice(r"""{"a": [1, null, true], "é": "it's \\"}"""),
            "mysql": twice(r"""{"a":[1,null,true],"é":"it's \\"}"""),
        },
    ),
    "JSON text of the server": added("fields.JSONField(db_default='\"a\"')", expected=twice('"a"')),
    "true of the server as JSON": added(
        "fields.JSONField(db_default=True)", expected=twice("true")
    ),
    "duration of the server": added(
        "fields.TimeDeltaField(db_default=datetime.timedelta(days=-1, microseconds=5))",
        expected=twice(-86399999995),
    ),
    "plain enum of the server": added(
        enum_("enum.Enum", "red='r'", "blue='b'"),
        "fields.CharEnumField(Color, db_default=Color.blue)",
        expected=twice("b"),
    ),
    "enum with a description of the server": added(
        enum_("enum.Enum", "red='r'", "blue='b'"),
        "fields.CharEnumField(Color, description='its color', db_default=Color.blue)",
        expected=twice("b"),
    ),
    "moment of the server": added(
        "fields.DatetimeField(db_default=datetime.datetime(2000, 1, 2, 3, tzinfo=datetime.UTC))",
        expected={
            "sqlite": twice("2000-01-02 03:00:00+00:00"),
            "postgresql": twice(datetime(2000, 1, 2, 3, tzinfo=UTC)),
            "mysql": twice(datetime(2000, 1, 2, 3)),
        },
    ),
    "time of day of the server": added(
        "fields.TimeField(db_default=datetime.time(3, 4, tzinfo=datetime.UTC))", expected=None
    ),
    "decimal of the server": added(
        "fields.DecimalField(max_digits=5, decimal_places=2, db_default=Decimal('1.50'))",
        expected={
            "sqlite": twice("1.50"),
            "postgresql": twice(Decimal("1.50")),
            "mysql": twice(Decimal("1.50")),
        },
    ),
    "float of the server": added("fields.FloatField(db_default=1.5)", expected=twice(1.5)),
    "bytes of the server": added(
        "fields.BinaryField(db_default=b'a\\xff')", expected=twice(b"a\xff")
    ),
    "decimal that is no number": added(
        "fields.DecimalField(max_digits=5, decimal_places=2, default=Decimal('NaN'), null=True)",
        engines=("postgresql",),
    ),
    "indexed": added("fields.IntField(default=7, db_index=True)", expected=twice(7)),
    "foreign key": added("fields.ForeignKeyField('models.Item', null=True)", expected=None),
}
JSON_DEFAULTS = {
    "dict": "dict",
    "list": "list",
    "nested": "{'a': [1, None, True, {'b': 1.5}], 'é': \"it's \\\\ \\\" %s\"}",
    "true": "True",
    "number": "1",
    "empty": "{}",
    "json text": "'{\"a\": 1}'",
    "empty list": "[]",
}


@on_engines(DEFAULTS)
def test_default(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


@on_engines(
    {name: added(f"fields.JSONField(default={value})") for name, value in JSON_DEFAULTS.items()}
)
def test_json(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


MISSING = {
    "no default": added(
        "fields.IntField()",
        values={"item.n": "(SELECT MAX(x.id) FROM (SELECT id FROM item) x) + item.id"},
        expected=[(3,), (4,)],
    ),
    "unique with a default": added(
        "fields.CharField(max_length=9, unique=True, default='q')",
        values={"item.n": "name"},
        expected=[("a",), ("bé",)],
    ),
    "unique with a default of the server": added(
        "fields.IntField(unique=True, db_default=7)",
        values={"item.n": "id"},
        expected=[(1,), (2,)],
    ),
    "unique with the time of the server": added(
        "fields.DatetimeField(unique=True, db_default=Now())",
        values={
            "item.n": {
                "postgresql": "NOW() + id * INTERVAL '1 day'",
                "mysql": "NOW() + INTERVAL id DAY",
            }
        },
        engines=("postgresql", "mysql"),
    ),
    "unique and null with a default of the server": added(
        "fields.IntField(unique=True, null=True, db_default=7)", expected=twice(None)
    ),
    "one to one": added(
        "fields.OneToOneField('models.Item', related_name='other')",
        values={"item.n_id": "id"},
        expected={},
    ),
    "required foreign key": added(
        "fields.ForeignKeyField('models.Item', related_name='other')", values={"item.n_id": "id"}
    ),
    "named function": added(
        "def seven(): return 7\n",
        "fields.IntField(default=seven)",
        values={"item.n": "7"},
        expected=twice(7),
    ),
    "json that is no value": added(
        "fields.JSONField(default={'a': uuid.uuid4})", values={"item.n": "'1'"}
    ),
    "json that is no document": added(
        "fields.JSONField(default='draft')", values={"item.n": "'1'"}
    ),
    "json of a function": added(
        "fields.JSONField(default=lambda: {'a': 1})", values={"item.n": "'1'"}
    ),
    "infinite": added(
        "fields.FloatField(default=float('inf'))", values={"item.n": "1"}, engines=("mysql",)
    ),
    "default that is no choice": added(
        "fields.CharField(max_length=3, default='long')", values={"item.n": "'abc'"}
    ),
}
MISSING["one to one"] = Change(
    item(),
    item("n = fields.OneToOneField('models.Item', related_name='other')"),
    rows=ROWS,
    values={"item.n_id": "id"},
    expected={"SELECT n_id FROM item": [(1,), (2,)]},
)


@pytest.mark.parametrize("engine", ENGINES)
def test_json_with_an_enum(changes: Bench, engine: str) -> None:
    """Whether it has a value depends on the service's JSON encoder."""
    head = enum_("enum.Enum", "red = 'r'")
    after = head + item("n = fields.JSONField(default={'a': Color.red})")
    changes.plan(engine, Change(item(), after))


@on_engines(MISSING)
def test_value_of_the_user(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


def dropped(line: str, values: str, **rest: Any) -> Change:
    rows = [f"INSERT INTO item (name, n) VALUES ('a', {values}), ('b', {values})"]
    arguments: dict[str, Any] = {
        "rows": rows,
        "losses": ["item.n is dropped with its values"],
        **rest,
    }
    return Change(item(f"n = {line}"), item(), **arguments)


DROPPED = {
    "required": dropped(
        "fields.IntField()",
        "7",
        back={"item.n": "id"},
        reverted={"SELECT n FROM item": [(1,), (2,)]},
    ),
    "null": dropped(
        "fields.IntField(null=True)", "7", reverted={"SELECT n FROM item": twice(None)}
    ),
    "default": dropped(
        "fields.IntField(default=3)", "7", reverted={"SELECT n FROM item": twice(3)}
    ),
    "text default": dropped(
        f"fields.CharField(max_length=90, default={TEXT!r})",
        "'q'",
        reverted={"SELECT n FROM item": twice(TEXT)},
    ),
    "default that servers refuse": dropped(
        r"fields.CharField(max_length=9, default='a\0b')",
        "'q'",
        back={"item.n": "'x'"},
        reverted={"SELECT n FROM item": twice("x")},
    ),
    "true": dropped("fields.BooleanField(default=True)", "TRUE"),
    "json": dropped("fields.JSONField(default={'a': 1})", "'1'", back={"item.n": "'1'"}),
    "uuid": dropped(
        "fields.UUIDField(default=uuid.uuid4)", "'00000000-0000-0000-0000-000000000007'"
    ),
    "unique": dropped("fields.IntField(unique=True, null=True)", "NULL"),
    "indexed": dropped("fields.IntField(db_index=True, null=True)", "NULL"),
    "foreign key": Change(
        item("n = fields.ForeignKeyField('models.Item', null=True)"),
        item(),
        rows=ROWS,
        losses=["item.n_id is dropped with its values"],
    ),
}


@on_engines(DROPPED)
def test_dropped(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)
