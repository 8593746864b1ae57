"""Columns whose types change, with values in them."""

import re
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from migration_package.dialects import is_guard, load

from tests.support.changes import NAME, Bench, Change, item, model, on_engines, script
from tools.render import ENGINES

UUID = "00000000-0000-4000-8000-000000000007"
# declarations without null, and a value of each
FIELDS = {
    "smallint": ("fields.SmallIntField({})", "1"),
    "int": ("fields.IntField({})", "1"),
    "bigint": ("fields.BigIntField({})", "1"),
    "bool": ("fields.BooleanField({})", "TRUE"),
    "float": ("fields.FloatField({})", "1"),
    "decimal": ("fields.DecimalField(max_digits=6, decimal_places=2, {})", "1"),
    "wide": ("fields.DecimalField(max_digits=20, decimal_places=5, {})", "1"),
    "char": ("fields.CharField(max_length=50, {})", "'1'"),
    "varchar": ("fields.CharField(max_length=200, {})", "'1'"),
    "text": ("fields.TextField({})", "'1'"),
    "uuid": ("fields.UUIDField({})", f"'{UUID}'"),
    "date": ("fields.DateField({})", "'2001-02-03'"),
    "datetime": ("fields.DatetimeField({})", "'2001-02-03 04:05:06'"),
    "time": ("fields.TimeField({})", "'04:05:06'"),
    "duration": ("fields.TimeDeltaField({})", "1"),
    "json": ("fields.JSONField({})", "'1'"),
    "binary": ("fields.BinaryField({})", "'1'"),
    "enum": ("fields.CharEnumField(Color, max_length=50, {})", "'1'"),
    "number": ("fields.IntEnumField(Number, {})", "1"),
}
ENUMS = "class Color(str, enum.Enum):\n    red = '1'\nclass Number(enum.IntEnum):\n    one = 1\n"
# with a member for each form that the engines give the number as text
FORMS = ENUMS.replace(
    "red = '1'\n",
    f"red = '1'\n    a = '1.0'\n    b = '1.00'\n    c = '1.00000'\n    d = '{UUID}'\n",
)


@pytest.mark.parametrize("source", FIELDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_pair_of_types(changes: Bench, engine: str, source: str) -> None:
    """Both ways, with values that fit, and NULL where the user has to convert."""
    declaration, value = FIELDS[source]
    names = [f"c_{name}" for name in FIELDS]
    before = [f"{name} = {declaration.format('null=True')}" for name in names]
    after = [f"c_{name} = {other.format('null=True')}" for name, (other, _) in FIELDS.items()]
    change = Change(
        FORMS + model("Item", *before),
        FORMS + model("Item", *after),
        rows=[
            f"INSERT INTO item ({', '.join(names)}) VALUES ({', '.join([value] * len(names))})",
            f"INSERT INTO item ({names[0]}) VALUES (NULL)",
        ],
    )
    plan = changes.plan(engine, change)
    values = dict.fromkeys(plan.upgrade.missing, "NULL")
    back = dict.fromkeys(plan.downgrade.missing, "NULL")
    changes.apply(
        engine,
        Change(
            change.before,
            change.after,
            change.rows,
            values=values,
            back=back,
            losses=[l.describe(None) for l in plan.losses],
        ),
    )


READ = "SELECT n FROM item ORDER BY id"


def converted(before: str, after: str, value: str, expected: object = None, **rest: Any) -> Change:
    """Change the declaration of a column with a value."""
    found = {} if expected is None else {READ: expected}
    arguments: dict[str, Any] = {
        "rows": [f"INSERT INTO item (name, n) VALUES ('a', {value})"],
        "expected": found,
        **rest,
    }
    return Change(item(f"n = {before}"), item(f"n = {after}"), **arguments)


INT, BIG, SMALL = "fields.IntField()", "fields.BigIntField()", "fields.SmallIntField()"
TO_INT = {"sqlite": "CAST(n AS INTEGER)", "postgresql": "n::INT", "mysql": "CAST(n AS SIGNED)"}


def char(length: int, more: str = "") -> str:
    return f"fields.CharField(max_length={length}{more})"


def narrow(before: str, after: str) -> list[str]:
    return [f"item.n cannot hold every value: {before} becomes {after}"]


AUTOMATIC = {
    "wider": converted(char(5), char(30), "'abcde'", [("abcde",)]),
    "narrower that fits": converted(
        char(30), char(5), "'abcdé'", [("abcdé",)], losses=narrow("VARCHAR(30)", "VARCHAR(5)")
    ),
    "to text": converted(char(5), "fields.TextField()", "'abcde'", [("abcde",)]),
    "from text": converted(
        "fields.TextField()",
        char(5),
        "'漢字'",
        [("漢字",)],
        losses={
            "sqlite": narrow("TEXT", "VARCHAR(5)"),
            "postgresql": narrow("TEXT", "VARCHAR(5)"),
            "mysql": narrow("LONGTEXT", "VARCHAR(5)"),
        },
    ),
    "integer to bigint": converted(INT, BIG, "7", [(7,)]),
    "bigint to smallint": converted(
        BIG, SMALL, "-32768", [(-32768,)], losses=narrow("BIGINT", "SMALLINT")
    ),
    "integer to short text": converted(
        INT,
        char(3),
        "123",
        [("123",)],
        losses=narrow("INT", "VARCHAR(3)"),
        back={"item.n": TO_INT},
        reverted={"SELECT n FROM item": [(123,)]},
    ),
    "integer to text": converted(INT, char(11), "-2147483648", [("-2147483648",)]),
    "integer to boolean": converted(
        INT,
        "fields.BooleanField()",
        "1",
        {"sqlite": [(1,)], "postgresql": [(True,)], "mysql": [(1,)]},
        losses=narrow("INT", "BOOL"),
        reverted={"SELECT n FROM item": [(1,)]},
    ),
    "boolean to bigint": converted("fields.BooleanField()", BIG, "TRUE", [(1,)]),
    "boolean to bigint with defaults": converted(
        "fields.BooleanField(db_default=True)", "fields.BigIntField(db_default=5)", "TRUE", [(1,)]
    ),
    "default of the server and type": converted(
        "fields.IntField(db_default=1)",
        "fields.CharField(max_length=20, db_default='x')",
        "7",
        [("7",)],
        back={"item.n": TO_INT},
    ),
    "default of the server dropped with the type": converted(
        "fields.IntField(db_default=1)", char(20), "7", [("7",)], back={"item.n": TO_INT}
    ),
    "default of the server kept, type changed": converted(
        "fields.IntField(db_default=1)", "fields.BigIntField(db_default=1)", "7", [(7,)]
    ),
    "default of the server added": converted(INT, "fields.IntField(db_default=1)", "7", [(7,)]),
    "default of the server changed": converted(
        "fields.IntField(db_default=2)", "fields.IntField(db_default=1)", "7", [(7,)]
    ),
    "function of the server to a value": converted(
        "fields.DatetimeField(db_default=Now())",
        "fields.DatetimeField(db_default=SqlDefault(\"'2001-02-03 04:05:06'\"))",
        "'2001-02-03 04:05:06'",
        engines=("postgresql", "mysql"),
    ),
    "scale": converted(
        "fields.DecimalField(max_digits=8, decimal_places=4)",
        "fields.DecimalField(max_digits=8, decimal_places=2)",
        "1.2300",
        losses=narrow("DECIMAL(8,4)", "DECIMAL(8,2)"),
    ),
    "scale of small numbers": converted(
        "fields.DecimalField(max_digits=20, decimal_places=12)",
        "fields.DecimalField(max_digits=20, decimal_places=8)",
        "'1.0E-7'), ('b', '0E-12'), ('c', '7'",
        losses=narrow("DECIMAL(20,12)", "DECIMAL(20,8)"),
    ),
    "fewer digits before the point": converted(
        "fields.DecimalField(max_digits=20, decimal_places=2)",
        "fields.DecimalField(max_digits=18, decimal_places=2)",
        "'9999999999999999.99'), ('b', '-9999999999999999.99'), ('c', '-0.50'), ('d', '0.00'",
        losses=narrow("DECIMAL(20,2)", "DECIMAL(18,2)"),
    ),
    "no digits before the point": converted(
        "fields.DecimalField(max_digits=20, decimal_places=18)",
        "fields.DecimalField(max_digits=18, decimal_places=18)",
        "'0.999999999999999999'), ('b', '-1E-10'), ('c', '0E-18'",
        losses=narrow("DECIMAL(20,18)", "DECIMAL(18,18)"),
    ),
    "largest integer to decimal": converted(
        BIG,
        "fields.DecimalField(max_digits=18, decimal_places=0)",
        "999999999999999999), ('b', -999999999999999999), ('c', 0",
        losses=narrow("BIGINT", "DECIMAL(18,0)"),
        back={"item.n": {**TO_INT, "postgresql": "n::BIGINT"}},
    ),
    "scale of small numbers with many digits": converted(
        "fields.DecimalField(max_digits=30, decimal_places=28)",
        "fields.DecimalField(max_digits=30, decimal_places=27)",
        "'1.23456789012345678901E-7'), ('b', '-1.23456789012345678900E-8'",
        losses=narrow("DECIMAL(30,28)", "DECIMAL(30,27)"),
    ),
    "more digits": converted(
        "fields.DecimalField(max_digits=6, decimal_places=2)",
        "fields.DecimalField(max_digits=12, decimal_places=4)",
        "'12.5'",
    ),
    "decimal to characters": converted(
        "fields.DecimalField(max_digits=6, decimal_places=2)",
        char(9),
        "'12.5'",
        {"sqlite": [("12.5",)], "postgresql": [("12.50",)], "mysql": [("12.50",)]},
    ),
    "float with all its digits to text": converted(
        "fields.FloatField()",
        "fields.TextField()",
        "0.1), ('b', 0.30000000000000004",
        {
            "sqlite": [("0.1",), ("0.300000000000000044",)],
            "postgresql": [("0.1",), ("0.30000000000000004",)],
            "mysql": [("0.1",), ("0.30000000000000004",)],
        },
    ),
    "float without a value to text": converted(
        "fields.FloatField(null=True)", "fields.TextField(null=True)", "NULL", [(None,)]
    ),
    "null to required with a default": converted(
        "fields.IntField(null=True)",
        "fields.IntField(default=5)",
        "NULL",
        [(5,)],
        missing=(),
    ),
    "null to required with a default of the server": converted(
        "fields.IntField(null=True)",
        "fields.IntField(db_default=5)",
        "NULL",
        [(5,)],
    ),
    "required to null": converted(
        INT, "fields.IntField(null=True)", "7", [(7,)], back={"item.n": "0"}
    ),
    "required to null with a new type": converted(
        INT, "fields.BigIntField(null=True)", "7", [(7,)], back={"item.n": "0"}
    ),
    "null to required with a new type": converted(
        "fields.IntField(null=True)",
        "fields.BigIntField(default=9)",
        "NULL",
        [(9,)],
    ),
    "null to required text with a default": converted(
        char(5, ", null=True"),
        char(9, ", default='it\\'s %s'"),
        "NULL",
        [("it's %s",)],
        reversible=False,
    ),
    "enum to text": Change(
        ENUMS + item("n = fields.CharEnumField(Color)"),
        item(f"n = {char(1)}"),
        rows=["INSERT INTO item (name, n) VALUES ('a', '1')"],
        engines=("postgresql", "mysql"),
    ),
}


@on_engines(AUTOMATIC)
def test_automatic(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


WORDS = "class Word(str, enum.Enum):\n    red = 'red'\n    blue = 'blue'\n"
DIGITS = "class Digit(enum.IntEnum):\n    red = 1\n    blue = 2\n"
TO_WORD = "CASE n WHEN 1 THEN 'red' ELSE 'blue' END"
TO_DIGIT = "CASE n WHEN 'red' THEN 1 ELSE 2 END"
ENUM_OF_DIGITS = DIGITS + item("n = fields.IntEnumField(Digit)")
ENUM_OF_WORDS = WORDS + item("n = fields.CharEnumField(Word)")
LONG_NAMES = ["é" + "n" * 60 + end for end in "ab"]
BY_HAND = {
    "enum of numbers to one of words": Change(
        ENUM_OF_DIGITS,
        ENUM_OF_WORDS,
        ["INSERT INTO item (name, n) VALUES ('a', 1), ('b', 2)"],
        values={"item.n": TO_WORD},
        back={"item.n": TO_DIGIT},
        expected={"SELECT n FROM item ORDER BY id": [("red",), ("blue",)]},
    ),
    "enum of words to one of numbers": Change(
        ENUM_OF_WORDS,
        ENUM_OF_DIGITS,
        ["INSERT INTO item (name, n) VALUES ('a', 'red'), ('b', 'blue')"],
        values={"item.n": TO_DIGIT},
        back={"item.n": TO_WORD},
        expected={"SELECT n FROM item ORDER BY id": [(1,), (2,)]},
    ),
    "beside a column with the name of the copy": Change(
        item(f"n = {char(40)}", f"New_n = {INT}"),
        item(f"n = {INT}", f"New_n = {INT}"),
        ["INSERT INTO item (name, n, \"New_n\") VALUES ('a', '5', 6)"],
        values={"item.n": TO_INT},
        expected={'SELECT n, "New_n" FROM item': [(5, 6)]},
    ),
    "columns with long names that begin alike": Change(
        item(*(f"{name} = {char(40)}" for name in LONG_NAMES)),
        item(*(f"{name} = {INT}" for name in LONG_NAMES)),
        [f"INSERT INTO item (name, {', '.join(LONG_NAMES)}) VALUES ('a', '5', '6')"],
        values={
            f"item.{name}": {engine: sql.replace("n", name, 1) for engine, sql in TO_INT.items()}
            for name in LONG_NAMES
        },
        expected={f"SELECT {', '.join(LONG_NAMES)} FROM item": [(5, 6)]},
    ),
    "text to decimal": converted(
        char(40),
        "fields.DecimalField(max_digits=6, decimal_places=2)",
        "'12.5'",
        values={"item.n": {"sqlite": "n", "postgresql": "n::NUMERIC", "mysql": "n"}},
    ),
    "boolean to text": converted(
        "fields.BooleanField()",
        char(5),
        "TRUE",
        [("yes",)],
        values={"item.n": "CASE WHEN n THEN 'yes' ELSE 'no' END"},
    ),
    "float to integer": converted(
        "fields.FloatField()", INT, "2.0", [(2,)], values={"item.n": "ROUND(n)"}
    ),
    "date and time to date": converted(
        "fields.DatetimeField()",
        "fields.DateField()",
        "'2001-02-03 04:05:06'",
        values={"item.n": {"sqlite": "date(n)", "postgresql": "n::DATE", "mysql": "DATE(n)"}},
    ),
    "text to integer": converted(
        char(9),
        INT,
        "'12'",
        [(12,)],
        values={"item.n": TO_INT},
        reverted={"SELECT n FROM item": [("12",)]},
    ),
    "text to uuid": converted(
        char(36),
        "fields.UUIDField()",
        f"'{UUID}'",
        values={"item.n": {"sqlite": "n", "postgresql": "n::UUID", "mysql": "n"}},
        back={"item.n": {"postgresql": "n::TEXT", "sqlite": "n", "mysql": "n"}},
    ),
    "text to json": converted(
        "fields.TextField()",
        "fields.JSONField()",
        "'[1]'",
        values={"item.n": {"sqlite": "n", "postgresql": "n::JSONB", "mysql": "n"}},
        back={"item.n": {"sqlite": "n", "postgresql": "n::TEXT", "mysql": "n"}},
    ),
    "date to year": converted(
        "fields.DateField()",
        INT,
        "'2001-02-03'",
        [(2001,)],
        values={
            "item.n": {
                "sqlite": "strftime('%Y', n)",
                "postgresql": "EXTRACT(YEAR FROM n)",
                "mysql": "YEAR(n)",
            }
        },
        back={"item.n": "'2001-02-03'"},
    ),
    "integer to json": converted(
        INT,
        "fields.JSONField()",
        "7",
        values={
            "item.n": {
                "sqlite": "json_array(n)",
                "postgresql": "to_jsonb(n)",
                "mysql": "JSON_ARRAY(n)",
            }
        },
        back={"item.n": "7"},
    ),
    "with a subquery and another column": converted(
        "fields.TextField()",
        INT,
        "'x'",
        [(2,)],
        values={"item.n": "(SELECT COUNT(*) FROM (SELECT id FROM item) x) + item.id"},
    ),
    "with index, default and comment": converted(
        "fields.CharField(max_length=9, db_index=True, db_default='x')",
        "fields.IntField(db_index=True, db_default=3, description='now a number')",
        "'12'",
        [(12,)],
        values={"item.n": TO_INT},
    ),
    "unique": converted(
        "fields.CharField(max_length=9, unique=True)",
        "fields.IntField(unique=True)",
        "'12'",
        [(12,)],
        values={"item.n": TO_INT},
    ),
    "part of a unique group": Change(
        model(
            "Item",
            NAME,
            f"n = {char(9)}",
            meta="unique_together = (('name', 'n'),)\n        indexes = (('n', 'name'),)",
        ),
        model(
            "Item",
            NAME,
            f"n = {INT}",
            meta="unique_together = (('name', 'n'),)\n        indexes = (('n', 'name'),)",
        ),
        rows=["INSERT INTO item (name, n) VALUES ('a', '12')"],
        values={"item.n": TO_INT},
        expected={"SELECT n FROM item": [(12,)]},
    ),
    "null to required and unique with a default of the server": converted(
        "fields.IntField(null=True, unique=True)",
        "fields.IntField(unique=True, db_default=5)",
        "NULL), ('b', NULL",
        [(1,), (2,)],
        values={"item.n": "id"},
    ),
    "null to required": converted(
        "fields.IntField(null=True)", INT, "NULL", [(2,)], values={"item.n": "id + 1"}
    ),
    "null to required, by hand, with a new type": converted(
        "fields.IntField(null=True)", BIG, "NULL", [(2,)], values={"item.n": "id + 1"}
    ),
}


@on_engines(BY_HAND)
def test_by_hand(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


DATE, DATETIME = "fields.DateField()", "fields.DatetimeField()"
TIME, DURATION, TEXT = "fields.TimeField()", "fields.TimeDeltaField()", "fields.TextField()"
LONG_AGO, LAST_DAY = date(1000, 2, 28), date(9999, 12, 31)
DAYS = "'1000-02-28'), ('b', '2024-02-29'), ('c', '9999-12-31'"
SQLITE_DAYS = [("1000-02-28",), ("2024-02-29",), ("9999-12-31",)]
SERVER_DAYS = [(LONG_AGO,), (date(2024, 2, 29),), (LAST_DAY,)]
READ_DAYS = {"sqlite": SQLITE_DAYS, "postgresql": SERVER_DAYS, "mysql": SERVER_DAYS}
DAY_AND_TIME = datetime(2024, 2, 29, 23, 59, 59, 999999, UTC)
TO_DATE = {
    "sqlite": "date(n)",
    "postgresql": "(n AT TIME ZONE 'UTC')::DATE",
    "mysql": "DATE(n)",
}
TO_DATETIME = {
    "sqlite": "n || ' 00:00:00+00:00'",
    "postgresql": "n::TIMESTAMP AT TIME ZONE 'UTC'",
    "mysql": "n",
}
# Tortoise has no such field
NAIVE = """
class Naive(fields.DatetimeField):
    class _db_postgres:
        SQL_TYPE = "TIMESTAMP"
"""
TIMES = {
    "date to datetime": converted(
        DATE,
        DATETIME,
        DAYS,
        values={"item.n": TO_DATETIME},
        back={"item.n": TO_DATE},
        expected={
            "sqlite": [(f"{day} 00:00:00+00:00",) for (day,) in SQLITE_DAYS],
            "postgresql": [(datetime(d.year, d.month, d.day, tzinfo=UTC),) for (d,) in SERVER_DAYS],
            "mysql": [(datetime(d.year, d.month, d.day),) for (d,) in SERVER_DAYS],
        },
        reverted={READ: READ_DAYS},
    ),
    "datetime to date": converted(
        DATETIME,
        DATE,
        "'2024-02-29 23:59:59.999999'",
        values={"item.n": TO_DATE},
        back={"item.n": TO_DATETIME},
        expected={
            "sqlite": [("2024-02-29",)],
            "postgresql": [(date(2024, 2, 29),)],
            "mysql": [(date(2024, 2, 29),)],
        },
        reverted={  # the time of the day is lost, as the file's author wrote
            READ: {
                "sqlite": [("2024-02-29 00:00:00+00:00",)],
                "postgresql": [(datetime(2024, 2, 29, tzinfo=UTC),)],
                "mysql": [(datetime(2024, 2, 29),)],
            }
        },
    ),
    "time to text": converted(
        TIME,
        TEXT,
        "'04:05:06.000007'), ('b', '23:59:59'",
        values={"item.n": {"sqlite": "n", "postgresql": "n::TEXT", "mysql": "CAST(n AS CHAR)"}},
        back={"item.n": {"sqlite": "n", "postgresql": "n::TIMETZ", "mysql": "CAST(n AS TIME(6))"}},
        expected={
            "sqlite": [("04:05:06.000007",), ("23:59:59",)],
            "postgresql": [("04:05:06.000007+00",), ("23:59:59+00",)],
            "mysql": [("04:05:06.000007",), ("23:59:59.000000",)],
        },
        reverted={
            READ: {
                "sqlite": [("04:05:06.000007",), ("23:59:59",)],
                "postgresql": [(time(4, 5, 6, 7, UTC),), (time(23, 59, 59, tzinfo=UTC),)],
                "mysql": [
                    (timedelta(hours=4, minutes=5, seconds=6, microseconds=7),),
                    (timedelta(hours=23, minutes=59, seconds=59),),
                ],
            }
        },
    ),
    "datetime to text": converted(
        DATETIME,
        char(40),
        "'2024-02-29 23:59:59.999999'",
        values={"item.n": {"sqlite": "n", "postgresql": "n::TEXT", "mysql": "CAST(n AS CHAR)"}},
        back={"item.n": {"sqlite": "n", "postgresql": "n::TIMESTAMPTZ", "mysql": "n"}},
        expected={
            "sqlite": [("2024-02-29 23:59:59.999999",)],
            "postgresql": [("2024-02-29 23:59:59.999999+00",)],
            "mysql": [("2024-02-29 23:59:59.999999",)],
        },
        reverted={
            READ: {
                "sqlite": [("2024-02-29 23:59:59.999999",)],
                "postgresql": [(DAY_AND_TIME,)],
                "mysql": [(DAY_AND_TIME.replace(tzinfo=None),)],
            }
        },
    ),
    "datetime to one without a zone": Change(
        NAIVE + item(f"n = {DATETIME}"),
        NAIVE + item("n = Naive()"),
        ["INSERT INTO item (name, n) VALUES ('a', '2024-03-01 08:59:59.999999+09:00')"],
        values={"item.n": "n AT TIME ZONE 'UTC'"},
        back={"item.n": "n AT TIME ZONE 'UTC'"},
        expected={READ: [(DAY_AND_TIME.replace(tzinfo=None),)]},
        reverted={READ: [(DAY_AND_TIME,)]},
        engines=("postgresql",),
    ),
    "datetime to duration": converted(
        DATETIME,
        DURATION,
        "'1970-01-02 00:00:00.000001'",
        [(86_400_000_001,)],
        values={
            "item.n": {
                "sqlite": "unixepoch(n) * 1000000 + CAST(substr(n, 21, 6) AS INTEGER)",
                "postgresql": "EXTRACT(EPOCH FROM n) * 1000000",
                "mysql": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', n)",
            }
        },
        back={
            "item.n": {
                "sqlite": "printf('%s.%06d', datetime(n / 1000000, 'unixepoch'), n % 1000000)",
                "postgresql": "TIMESTAMPTZ 'epoch' + n * INTERVAL '1 microsecond'",
                "mysql": "TIMESTAMPADD(MICROSECOND, n, '1970-01-01')",
            }
        },
        reverted={
            READ: {
                "sqlite": [("1970-01-02 00:00:00.000001",)],
                "postgresql": [(datetime(1970, 1, 2, 0, 0, 0, 1, UTC),)],
                "mysql": [(datetime(1970, 1, 2, 0, 0, 0, 1),)],
            }
        },
    ),
    "duration to int": converted(
        DURATION,
        INT,
        "2147483647), ('b', -2147483648",
        [(2147483647,), (-2147483648,)],
        losses=narrow("BIGINT", "INT"),
        reverted={READ: [(2147483647,), (-2147483648,)]},
    ),
    "int to duration": converted(INT, DURATION, "-7", [(-7,)], reverted={READ: [(-7,)]}),
    "duration to text": converted(
        DURATION,
        TEXT,
        "-86400000001",
        [("-86400000001",)],
        back={"item.n": {**TO_INT, "postgresql": "n::BIGINT"}},
        reverted={READ: [(-86400000001,)]},
    ),
}


@on_engines(TIMES)
def test_dates_and_times(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


def test_duration_and_bigint_are_stored_alike(changes: Bench) -> None:
    for engine in ENGINES:
        change = converted(DURATION, BIG, "-86400000001")
        assert changes.plan_or_none(engine, change) is None


TOO_MUCH = {
    "duration": converted(DURATION, INT, "2147483648"),
    "duration in a short text": converted(DURATION, char(5), "-86400"),
    "text": converted(char(30), char(5), "'abcdefghij'"),
    "spaces": converted(char(30), char(5), "'abc       '"),
    "long text": converted("fields.TextField()", char(5), "'abcdefghij'"),
    "integer": converted(INT, char(3), "123456"),
    "bigint": converted(BIG, INT, "12345678901"),
    "boolean": converted(INT, "fields.BooleanField()", "2"),
    "scale": converted(
        "fields.DecimalField(max_digits=8, decimal_places=4)",
        "fields.DecimalField(max_digits=8, decimal_places=2)",
        "1.2345",
    ),
    "scale of a long number": converted(
        "fields.DecimalField(max_digits=30, decimal_places=20)",
        "fields.DecimalField(max_digits=30, decimal_places=2)",
        "'0.10000000000000001'",
    ),
    "scale of a large number": converted(
        "fields.DecimalField(max_digits=30, decimal_places=2)",
        "fields.DecimalField(max_digits=30, decimal_places=1)",
        "'12345678901234567.89'",
    ),
    "scale of a small number": converted(
        "fields.DecimalField(max_digits=30, decimal_places=20)",
        "fields.DecimalField(max_digits=30, decimal_places=8)",
        "'1.25E-7'",
    ),
    "scale of a small number with many digits": converted(
        "fields.DecimalField(max_digits=30, decimal_places=28)",
        "fields.DecimalField(max_digits=30, decimal_places=26)",
        "'-1.23456789012345678901E-7'",
    ),
    "digits of a large number": converted(
        "fields.DecimalField(max_digits=20, decimal_places=2)",
        "fields.DecimalField(max_digits=18, decimal_places=2)",
        "'-10000000000000000.00'",
    ),
    "NUL": converted(char(30), char(5), "'a' || char(0) || 'bcdef'", engines=("sqlite",)),
    "digits": converted(
        "fields.DecimalField(max_digits=8, decimal_places=2)",
        "fields.DecimalField(max_digits=4, decimal_places=2)",
        "1234.5",
    ),
    "bigint to float": converted(BIG, "fields.FloatField()", "9007199254740993"),
    "smallest bigint to float": converted(BIG, "fields.FloatField()", "-9223372036854775807 - 1"),
    "smallest int to decimal": converted(
        "fields.IntField()",
        "fields.DecimalField(max_digits=4, decimal_places=1)",
        "-2147483648",
    ),
}


@on_engines(TOO_MUCH)
def test_values_that_do_not_fit(changes: Bench, engine: str, change: Change) -> None:
    """The upgrade fails before it changes anything, and a count of the rows was announced."""
    found = changes.fail(engine, change)
    assert "item.n holds values that " in found
    assert len(changes.plan(engine, change).losses) == 1


REFUSED_BY_MYSQL = ["text", "spaces", "long text", "integer", "bigint", "digits"]


@pytest.mark.parametrize("name", REFUSED_BY_MYSQL)
def test_mysql_refuses_what_others_write_after_the_check(
    changes: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No lock keeps them from writing, so the documentation says what is lost then."""
    monkeypatch.setattr(load("mysql"), "guard", lambda _select, _message: "SELECT 1")
    assert re.search("truncated|too long|Out of range", changes.fail("mysql", TOO_MUCH[name]))


COLORS = """
class Color(enum.Enum):
    red = "r"
    blue = "b"
class Size(enum.IntEnum):
    small = 1
    large = 2
"""
COLOR = COLORS + item("n = fields.CharEnumField(Color)")
SIZE = COLORS + item("n = fields.IntEnumField(Size)")
UNIQUE_SIZE = SIZE.replace("(Size)", "(Size, unique=True)")
UNIQUE_COLOR = COLOR.replace("(Color)", "(Color, unique=True)")
OWNERS = ["INSERT INTO owner (id) VALUES (1), (2)"]
PAIRED = (
    COLORS
    + model("Owner")
    + model(
        "Item",
        "tag = fields.CharEnumField(Color)",
        "owner = fields.ForeignKeyField('models.Owner')",
        meta="unique_together = (('owner', 'tag'),)",
    )
)
SWAPPED = PAIRED.replace('"r"', '"x"').replace('"b"', '"r"').replace('"x"', '"b"')
MEMBERS = {
    "longer": Change(
        COLOR,
        COLOR.replace('"r"', '"reddish"'),
        ["INSERT INTO item (name, n) VALUES ('a', 'r'), ('b', 'b')"],
        expected={"SELECT n FROM item ORDER BY id": [("reddish",), ("b",)]},
        reverted={"SELECT n FROM item ORDER BY id": [("r",), ("b",)]},
    ),
    "shorter": Change(
        COLOR.replace('"r"', '"reddish"'),
        COLOR,
        ["INSERT INTO item (name, n) VALUES ('a', 'reddish'), ('b', 'b')"],
        losses=["item.n cannot hold every value: VARCHAR(7) becomes VARCHAR(1)"],
        expected={"SELECT n FROM item ORDER BY id": [("r",), ("b",)]},
        reverted={"SELECT n FROM item ORDER BY id": [("reddish",), ("b",)]},
    ),
    "any characters, with another member": Change(
        COLOR,
        COLOR.replace('"r"', "'it\\'s \\\\ %s'") + "\n",
        ["INSERT INTO item (name, n) VALUES ('a', 'r'), ('b', 'b')"],
        expected={"SELECT n FROM item ORDER BY id": [("it's \\ %s",), ("b",)]},
        reverted={"SELECT n FROM item ORDER BY id": [("r",), ("b",)]},
    ),
    "renamed column that may be NULL": Change(
        COLOR.replace("Field(Color)", "Field(Color, null=True)"),
        COLOR.replace('"r"', '"reddish"')
        .replace("n = ", "color = ")
        .replace("Field(Color)", "Field(Color, null=True)"),
        ["INSERT INTO item (name, n) VALUES ('a', 'r'), ('b', NULL)"],
        ["item.n=color"],
        expected={"SELECT color FROM item ORDER BY id": [("reddish",), (None,)]},
        reverted={"SELECT n FROM item ORDER BY id": [("r",), (None,)]},
    ),
    "swapped": Change(
        COLOR,
        COLOR.replace('"r"', '"x"').replace('"b"', '"r"').replace('"x"', '"b"'),
        ["INSERT INTO item (name, n) VALUES ('a', 'r'), ('b', 'b')"],
        expected={"SELECT n FROM item ORDER BY id": [("b",), ("r",)]},
        reverted={"SELECT n FROM item ORDER BY id": [("r",), ("b",)]},
    ),
    "swapped, with a default instead of NULL": Change(
        COLOR.replace("Field(Color)", "Field(Color, null=True)"),
        COLOR.replace('"r"', '"blue"')
        .replace('"b"', '"r"')
        .replace("Field(Color)", "Field(Color, default=Color.blue)"),
        ["INSERT INTO item (name, n) VALUES ('a', 'r'), ('b', 'b'), ('c', NULL)"],
        expected={"SELECT n FROM item ORDER BY id": [("blue",), ("r",), ("r",)]},
        reverted={"SELECT n FROM item ORDER BY id": [("r",), ("b",), ("b",)]},
    ),
    "exchanged in a unique column": Change(
        UNIQUE_SIZE,
        UNIQUE_SIZE.replace("small = 1", "large = 1", 1).replace("large = 2", "small = 2"),
        ["INSERT INTO item (name, n) VALUES ('a', 1), ('b', 2)"],
        expected={"SELECT n FROM item ORDER BY id": [(2,), (1,)]},
        reverted={"SELECT n FROM item ORDER BY id": [(1,), (2,)]},
    ),
    "shifted in a unique column, and longer": Change(
        UNIQUE_COLOR,
        UNIQUE_COLOR.replace('"b"', '"blue"').replace('"r"', '"b"'),
        ["INSERT INTO item (name, n) VALUES ('a', 'r'), ('b', 'b')"],
        expected={"SELECT n FROM item ORDER BY id": [("b",), ("blue",)]},
        reverted={"SELECT n FROM item ORDER BY id": [("r",), ("b",)]},
    ),
    "exchanged in two columns that are unique together": Change(
        PAIRED,
        SWAPPED.replace(" tag", " label").replace("'tag'", "'label'"),
        [*OWNERS, "INSERT INTO item (tag, owner_id) VALUES ('r', 1), ('b', 1), ('r', 2)"],
        ["item.tag=label"],
        expected={"SELECT label, owner_id FROM item ORDER BY id": [("b", 1), ("r", 1), ("b", 2)]},
        reverted={"SELECT tag, owner_id FROM item ORDER BY id": [("r", 1), ("b", 1), ("r", 2)]},
    ),
    "exchanged in a unique column, with a default instead of NULL": Change(
        PAIRED.replace("Field(Color)", "Field(Color, null=True)"),
        SWAPPED.replace('"b"', '"blue"').replace("Field(Color)", "Field(Color, default='r')"),
        [*OWNERS, "INSERT INTO item (tag, owner_id) VALUES ('r', 1), ('b', 1), (NULL, 2)"],
        expected={"SELECT tag, owner_id FROM item ORDER BY id": [("blue", 1), ("r", 1), ("r", 2)]},
        reverted={"SELECT tag, owner_id FROM item ORDER BY id": [("r", 1), ("b", 1), ("b", 2)]},
    ),
    "letters that MySQL compares as equal": Change(
        COLOR.replace('"b"', '"R"'),
        COLOR.replace('"b"', '"R"').replace('"r"', '"x"'),
        ["INSERT INTO item (name, n) VALUES ('a', 'r'), ('b', 'R')"],
        expected={"SELECT n FROM item ORDER BY id": [("x",), ("R",)]},
        reverted={"SELECT n FROM item ORDER BY id": [("r",), ("R",)]},
    ),
    "member inserted between numbers": Change(
        SIZE,
        SIZE.replace("large = 2", "medium = 2\n    large = 3"),
        ["INSERT INTO item (name, n) VALUES ('a', 1), ('b', 2)"],
        expected={"SELECT n FROM item ORDER BY id": [(1,), (3,)]},
        reverted={"SELECT n FROM item ORDER BY id": [(1,), (2,)]},
    ),
    "numbers": Change(
        SIZE,
        SIZE.replace("large = 2", "large = 30"),
        ["INSERT INTO item (name, n) VALUES ('a', 1), ('b', 2)"],
        expected={"SELECT n FROM item ORDER BY id": [(1,), (30,)]},
        reverted={"SELECT n FROM item ORDER BY id": [(1,), (2,)]},
    ),
}


@on_engines(MEMBERS)
def test_enum_members_with_new_values(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


def test_new_values_of_members_are_announced(changes: Bench) -> None:
    plan = changes.plan("sqlite", MEMBERS["member inserted between numbers"])
    assert [loss.describe(1) for loss in plan.replaced] == ["item.n gets 3 instead of 2 (1 row)"]


def test_large_enums_are_compared(changes: Bench) -> None:
    """Tortoise cuts their description: the members have another place in the file."""
    members = "".join(f"    m{number:03} = 'value {number:03}'\n" for number in range(200))
    before = f"class Color(enum.Enum):\n{members}" + item("n = fields.CharEnumField(Color)")
    more = Change(before, before.replace("    m000 =", "    a = 'x'\n    m000 ="))
    fewer = Change(before, before.replace("    m000 = 'value 000'\n", ""))

    assert changes.plan_or_none("sqlite", more) is None
    (loss,) = changes.plan("sqlite", fewer).losses
    assert loss.what == "cannot hold every value: the enum loses value 000"


DESCRIBED = COLOR.replace("(Color)", "(Color, description='its color')")
FEWER = {
    "member of an enum with a description": Change(
        DESCRIBED,
        DESCRIBED.replace('    blue = "b"\n', ""),
        ["INSERT INTO item (name, n) VALUES ('a', 'b')"],
    ),
    "text that no member has": Change(
        COLORS + item("n = fields.CharField(max_length=1)"),
        COLOR,
        ["INSERT INTO item (name, n) VALUES ('a', 'x')"],
    ),
    "boolean that no member has": Change(
        COLORS + item("n = fields.BooleanField()"),
        SIZE,
        ["INSERT INTO item (name, n) VALUES ('a', true), ('b', false)"],
    ),
    "integer that no text of a member is": Change(
        COLORS + item("n = fields.IntField()"),
        COLOR,
        ["INSERT INTO item (name, n) VALUES ('a', 0)"],
    ),
    "uuid that no member has": Change(
        COLORS + item("n = fields.UUIDField()"),
        COLOR,
        [f"INSERT INTO item (name, n) VALUES ('a', '{UUID}')"],
    ),
    "text that a member has in another case": Change(
        COLORS + item("n = fields.CharField(max_length=1)"),
        COLOR,
        ["INSERT INTO item (name, n) VALUES ('a', 'R')"],
    ),
    "number that another member takes": Change(
        SIZE.replace("large = 2", "medium = 2\n    large = 3"),
        SIZE,
        ["INSERT INTO item (name, n) VALUES ('a', 2)"],
    ),
    "number that no member has": Change(
        COLORS + item("n = fields.SmallIntField()"),
        SIZE,
        ["INSERT INTO item (name, n) VALUES ('a', 3)"],
    ),
}


@on_engines(FEWER)
def test_values_that_an_enum_does_not_have(changes: Bench, engine: str, change: Change) -> None:
    (loss,) = changes.plan(engine, change).losses
    assert loss.place == "item.n"
    assert "item.n holds values that its enum cannot hold" in changes.fail(engine, change)


def test_enum_with_one_member_more(changes: Bench) -> None:
    """Only the comment changes, and SQLite has none."""
    before = ENUMS + item("n = fields.CharEnumField(Color)")
    change = Change(before, before.replace("'1'\n", "'1'\n    blue = '2'\n", 1))
    assert changes.plan_or_none("sqlite", change) is None
    for engine in ("postgresql", "mysql"):
        upgrade = changes.apply(engine, change).upgrade
        (statement,) = (sql for sql in upgrade if not is_guard(sql))
        assert "blue: 2" in statement


FLOATS = [0.1, -2.5, 1e15, 1e-5, 5e-324, 1.7976931348623157e308, 726.4272794030001]


def test_text_of_a_float_is_the_same_number(changes: Bench) -> None:
    """SQLite reads some numbers inexactly, so the digits that it reads back may not suffice."""
    change = Change(item("n = fields.FloatField()"), item("n = fields.TextField()"))
    plan = changes.plan("sqlite", change)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, n REAL)")
        rows = [(number,) for number in FLOATS]
        connection.executemany("INSERT INTO item (name, n) VALUES ('a', ?)", rows)
        connection.executescript(script(plan.upgrade.statements))
        found = [text for (text,) in connection.execute("SELECT n FROM item ORDER BY id")]
    assert [float(text) for text in found] == FLOATS
    assert found[:3] == ["0.1", "-2.5", "1000000000000000.0"]
