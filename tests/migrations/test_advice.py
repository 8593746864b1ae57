"""Changes that need decisions: the printed advice is followed literally, by commands, with rows.

Each group of cases is one migration, since a command takes longer than a statement.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.changes import HEAD, HEADS, model

from .changes.bench import Bench, new_bench

DROP = re.compile(r"To accept this, add (--drop) (\S+)")
REPLACE = re.compile(r"Replace <([^>]+)> in upgrade\(\)")
RAISE = re.compile(r"^    raise NotImplementedError\(.*\)\n", re.MULTILINE)
AS_TEXT = {"UUID", "date", "datetime", "time", "timedelta"}
UNVERIFIED = re.compile(r"Delete the line UNVERIFIED in (\S+):")


@dataclass(frozen=True)
class Case:
    """A change of models, and what the user knows about it.

    Attributes:
        before: the source of the models before.
        after: the source of the models after.
        rows: statements that write rows before it; names are in double quotes.
        arguments: what the user says to `new`.
        values: what is filled in for `<table.column>` in the upgrade, for all engines or by engine.
        back: the same for the downgrade.
        more: a statement that the user adds to the upgrade.
        expected: rows of queries after the upgrade, for all engines or by engine.
        reverted: rows of queries after the downgrade.
        engines: the engines that have it.
    """

    before: str
    after: str
    rows: Sequence[str]
    arguments: Sequence[str] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    back: Mapping[str, Any] = field(default_factory=dict)
    more: str = ""
    expected: Mapping[str, Any] = field(default_factory=dict)
    reverted: Mapping[str, Any] = field(default_factory=dict)
    engines: Sequence[str] = ("sqlite", "postgresql", "mysql")


def name(length: int = 20, more: str = "") -> str:
    return f"name = fields.CharField(max_length={length}{more})"


UUIDS = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(3)]
COLORS = """
class Color(enum.Enum):
    red = "r"
    blue = "b"
"""


def added(table: str, line: str, expected: Any, **rest: Any) -> Case:
    """Add columns to a table with two rows."""
    return Case(
        model(table.title(), name()),
        model(table.title(), name(), f"n = {line}"),
        [f"INSERT INTO {table} (name) VALUES ('a'), ('b')"],
        expected={f"SELECT n FROM {table} ORDER BY id": [[v] for v in expected]},
        reverted={f"SELECT name FROM {table} ORDER BY id": [["a"], ["b"]]},
        **rest,
    )


ADDED = {
    "bytes": added("binary1", "fields.BinaryField(default=b'xyz')", [b"xyz"] * 2),
    "plain enum": added("enum1", "fields.CharEnumField(Color, default=Color.blue)", ["b", "b"]),
    "text that is no JSON document": added(
        "json1",
        "fields.JSONField(default='draft')",
        ['"draft"'] * 2,
        values={"json1.n": "'\"draft\"'"},
    ),
    "true as JSON": added("json2", "fields.JSONField(default=True)", ["true"] * 2),
    "JSON text": added("json3", "fields.JSONField(default='{\"a\": 1}')", [{"a": 1}] * 2),
    "JSON with an enum": added(
        "json4",
        "fields.JSONField(default={'a': Color.red})",
        [{"a": "r"}] * 2,
        values={"json4.n": '\'{"a": "r"}\''},
    ),
    "value of another column and of a subquery": added(
        "value1",
        "fields.IntField()",
        [3, 4],
        values={"value1.n": "(SELECT COUNT(*) FROM json2) + value1.id"},
    ),
    "name of a function": added(
        "text1", "fields.CharField(max_length=9, default='Now()')", ["Now()"] * 2
    ),
    "JSON of the server": added(
        "json5", "fields.JSONField(db_default={'a': \"it's\"})", [{"a": "it's"}] * 2
    ),
    "float of the server": added("float1", "fields.FloatField(db_default=1.5)", [1.5, 1.5]),
    "true as integer": added("integer1", "fields.IntField(default=True)", [1, 1]),
    "unique with a constant default": added(
        "unique1",
        "fields.CharField(max_length=20, default='x', unique=True)",
        ["a", "b"],
        values={"unique1.n": "name"},
    ),
    "default that most rows do not get": added(
        "slug1",
        "fields.CharField(max_length=20, default='')",
        ["a", "b"],
        more='UPDATE "slug1" SET n = name',
    ),
    "quotes, percent, braces": added(
        "quoted1",
        """fields.CharField(max_length=30, default='it\\'s "100%" {x} \\\\ ;', description='it\\'s; "%s" {x}')""",
        ['it\'s "100%" {x} \\ ;'] * 2,
    ),
    "array": Case(
        model("Array1", name(), "tags = ArrayField('text', default=list)"),
        model(
            "Array1",
            name(),
            "tags = ArrayField('text', default=list)",
            "n = fields.IntField(default=7)",
            "more = ArrayField('int', default=[1])",
        ),
        ["INSERT INTO array1 (name, tags) VALUES ('a', ARRAY['x'])"],
        expected={"SELECT tags, n, more FROM array1": [[["x"], 7, [1]]]},
        engines=("postgresql",),
    ),
}


def converted(table: str, before: str, after: str, rows: str, **rest: Any) -> Case:
    return Case(
        model(table.title(), f"n = {before}"),
        model(table.title(), f"n = {after}"),
        [f"INSERT INTO {table} (n) VALUES {rows}"],
        **rest,
    )


CONVERTED = {
    "date to year": converted(
        "year1",
        "fields.DateField()",
        "fields.IntField()",
        "('2001-02-03')",
        values={
            "year1.n": {
                "sqlite": "CAST(strftime('%Y', n) AS INTEGER)",
                "postgresql": "EXTRACT(YEAR FROM n)",
                "mysql": "YEAR(n)",
            }
        },
        back={
            "year1.n": {
                "sqlite": "n || '-01-01'",
                "postgresql": "MAKE_DATE(n, 1, 1)",
                "mysql": "MAKEDATE(n, 1)",
            }
        },
        expected={"SELECT n FROM year1": [[2001]]},
    ),
    "date to date and time": converted(
        "date1",
        "fields.DateField()",
        "fields.DatetimeField()",
        "('2024-02-29')",
        values={
            "date1.n": {"sqlite": "n || ' 00:00:00'", "postgresql": "n::TIMESTAMPTZ", "mysql": "n"}
        },
        back={"date1.n": {"sqlite": "date(n)", "postgresql": "n::DATE", "mysql": "DATE(n)"}},
        expected={
            "SELECT n FROM date1": {
                "sqlite": [["2024-02-29 00:00:00"]],
                "postgresql": [["2024-02-29 00:00:00+00:00"]],
                "mysql": [["2024-02-29 00:00:00"]],
            }
        },
        reverted={"SELECT n FROM date1": [["2024-02-29"]]},
    ),
    "date and time to date": converted(
        "datetime1",
        "fields.DatetimeField()",
        "fields.DateField()",
        "('2024-02-29 23:59:59')",
        values={"datetime1.n": {"sqlite": "date(n)", "postgresql": "n::DATE", "mysql": "DATE(n)"}},
        back={"datetime1.n": {"sqlite": "n", "postgresql": "n::TIMESTAMPTZ", "mysql": "n"}},
        expected={"SELECT n FROM datetime1": [["2024-02-29"]]},
    ),
    "time to text": converted(
        "time1",
        "fields.TimeField()",
        "fields.TextField()",
        "('04:05:06')",
        values={"time1.n": {"sqlite": "n", "postgresql": "n::TEXT", "mysql": "CAST(n AS CHAR)"}},
        back={"time1.n": {"sqlite": "n", "postgresql": "n::TIMETZ", "mysql": "n"}},
        expected={
            "SELECT n FROM time1": {
                "sqlite": [["04:05:06"]],
                "postgresql": [["04:05:06+00"]],
                "mysql": [["04:05:06.000000"]],
            }
        },
        reverted={
            "SELECT n FROM time1": {
                "sqlite": [["04:05:06"]],
                "postgresql": [["04:05:06+00:00"]],
                "mysql": [["4:05:06"]],
            }
        },
    ),
    "time span to integer": converted(
        "span1",
        "fields.TimeDeltaField()",
        "fields.IntField()",
        "(-86400000)",
        expected={"SELECT n FROM span1": [[-86400000]]},
        reverted={"SELECT n FROM span1": [[-86400000]]},
    ),
    "integer to JSON": converted(
        "document1",
        "fields.IntField()",
        "fields.JSONField()",
        "(7)",
        values={
            "document1.n": {
                "sqlite": "json_array(n)",
                "postgresql": "TO_JSONB(n)",
                "mysql": "JSON_ARRAY(n)",
            }
        },
        back={
            "document1.n": {
                "sqlite": "json_extract(n, '$[0]')",
                "postgresql": "n::TEXT::INT",
                "mysql": "JSON_EXTRACT(n, '$[0]')",
            }
        },
        expected={
            "SELECT n FROM document1": {"sqlite": [[[7]]], "postgresql": [["7"]], "mysql": [[[7]]]}
        },
        reverted={"SELECT n FROM document1": [[7]]},
    ),
    "characters to integer": converted(
        "number1",
        "fields.CharField(max_length=9)",
        "fields.IntField()",
        "('12')",
        values={
            "number1.n": {
                "sqlite": "CAST(n AS INTEGER)",
                "postgresql": "n::INT",
                "mysql": "CAST(n AS SIGNED)",
            }
        },
        expected={"SELECT n FROM number1": [[12]]},
        reverted={"SELECT n FROM number1": [["12"]]},
    ),
    "characters to UUID": converted(
        "key1",
        "fields.CharField(max_length=36)",
        "fields.UUIDField()",
        f"('{UUIDS[1]}')",
        values={"key1.n": {"sqlite": "n", "postgresql": "n::UUID", "mysql": "n"}},
        expected={"SELECT n FROM key1": [[UUIDS[1]]]},
        reverted={"SELECT n FROM key1": [[UUIDS[1]]]},
    ),
    "text to JSON": converted(
        "document2",
        "fields.TextField()",
        "fields.JSONField()",
        "('{\"a\": 1}')",
        values={"document2.n": {"sqlite": "n", "postgresql": "n::JSONB", "mysql": "n"}},
        back={"document2.n": {"sqlite": "n", "postgresql": "n::TEXT", "mysql": "n"}},
        expected={"SELECT n FROM document2": [[{"a": 1}]]},
        reverted={"SELECT n FROM document2": [[{"a": 1}]]},
    ),
    "characters to decimal": converted(
        "price1",
        "fields.CharField(max_length=40)",
        "fields.DecimalField(max_digits=6, decimal_places=2)",
        "('12.5')",
        values={"price1.n": {"sqlite": "n", "postgresql": "n::NUMERIC", "mysql": "n"}},
        expected={
            "SELECT CAST(n AS CHAR(9)) FROM price1": {
                "sqlite": [["12.5"]],
                "postgresql": [["12.50    "]],
                "mysql": [["12.50"]],
            }
        },
    ),
    "shorter": converted(
        "short1",
        "fields.TextField()",
        "fields.CharField(max_length=5)",
        "('abcde')",
        expected={"SELECT n FROM short1": [["abcde"]]},
    ),
    "smaller": converted(
        "small1",
        "fields.BigIntField()",
        "fields.SmallIntField()",
        "(-32768)",
        expected={"SELECT n FROM small1": [[-32768]]},
    ),
    "scale": converted(
        "scale1",
        "fields.DecimalField(max_digits=8, decimal_places=4)",
        "fields.DecimalField(max_digits=5, decimal_places=1)",
        "('1234.5')",
        expected={"SELECT CAST(n AS CHAR(6)) FROM scale1": [["1234.5"]]},
    ),
    "required": converted(
        "required1",
        "fields.IntField(null=True)",
        "fields.IntField()",
        "(NULL), (5)",
        values={"required1.n": "-1"},
        expected={"SELECT n FROM required1 ORDER BY id": [[-1], [5]]},
    ),
}

NATURAL = "code = fields.CharField(max_length=9, primary_key=True)"
NUMBER = "id = fields.IntField(primary_key=True)"
UUID_KEY = "id = fields.UUIDField(primary_key=True)"
NEW_UUID = {
    "sqlite": f"'{UUIDS[0][:-1]}' || id",
    "postgresql": f"('{UUIDS[0][:-1]}' || id)::UUID",
    "mysql": f"CONCAT('{UUIDS[0][:-1]}', id)",
}


def parent(key: str) -> str:
    children = model("Child1", name(), "parent = fields.ForeignKeyField('models.Parent1')")
    return (
        model(
            "Parent1",
            name(),
            "friends = fields.ManyToManyField('models.Parent1', through='friend1', backward_key='one', forward_key='other')",
            key=key,
        )
        + children
    )


REFERRING = model("Shop1", name(), "code = fields.CharField(max_length=9, unique=True)") + model(
    "Sale1", name(), "shop = fields.ForeignKeyField('models.Shop1'{})"
)
LINKED = """
class Post1(Model):
    id = fields.IntField(primary_key=True)
    tags = fields.ManyToManyField("models.Tag1", through="post1_tag1", related_name="posts"{more})
class Tag1(Model):
    id = fields.IntField(primary_key=True)
"""
THROUGH = """
class PostTag1(Model):
    id = fields.IntField(primary_key=True)
    post1 = fields.ForeignKeyField("models.Post1")
    tag1 = fields.ForeignKeyField("models.Tag1")
    rank = fields.IntField(default=3)
    class Meta:
        table = "post1_tag1"
"""
KEYS = {
    "number beside a natural key": Case(
        model("Country1", name(), key=NATURAL),
        model("Country1", name(), "code = fields.CharField(max_length=9, unique=True)"),
        ["INSERT INTO country1 (code, name) VALUES ('de', 'a'), ('fr', 'b')"],
        expected={"SELECT COUNT(DISTINCT id) FROM country1 WHERE code IN ('de', 'fr')": [[2]]},
        reverted={"SELECT code, name FROM country1 ORDER BY code": [["de", "a"], ["fr", "b"]]},
    ),
    "relation to a model of links": Case(
        LINKED.format(more=""),
        LINKED.format(more="") + THROUGH,
        [
            "INSERT INTO post1 (id) VALUES (1), (2)",
            "INSERT INTO tag1 (id) VALUES (1), (2)",
            "INSERT INTO post1_tag1 (post1_id, tag1_id) VALUES (1, 1), (1, 2), (2, 2)",
        ],
        expected={
            'SELECT post1_id, tag1_id, "rank" FROM post1_tag1 ORDER BY 1, 2': [
                [1, 1, 3],
                [1, 2, 3],
                [2, 2, 3],
            ],
            "SELECT COUNT(DISTINCT id) FROM post1_tag1": [[3]],
        },
        reverted={
            "SELECT post1_id, tag1_id FROM post1_tag1 ORDER BY 1, 2": [[1, 1], [1, 2], [2, 2]]
        },
    ),
    "numbers given": Case(
        model("Given1", name(), key=NUMBER.replace("True", "True, generated=False")),
        model("Given1", name(), key=NUMBER),
        ["INSERT INTO given1 (id, name) VALUES (7, 'a')"],
        expected={"SELECT id, name FROM given1": [[7, "a"]]},
        reverted={"SELECT id, name FROM given1": [[7, "a"]]},
    ),
    "numbers to UUIDs": Case(
        parent(NUMBER),
        parent(UUID_KEY),
        [
            "INSERT INTO parent1 (id, name) VALUES (1, 'a'), (2, 'b')",
            "INSERT INTO child1 (name, parent_id) VALUES ('x', 2), ('y', 1), ('z', 2)",
            "INSERT INTO friend1 (one, other) VALUES (1, 2)",
        ],
        values={"parent1.id": NEW_UUID},
        back={
            "parent1.id": {
                "sqlite": "(SELECT COUNT(*) FROM parent1 o WHERE o.id <= parent1.id)",
                "postgresql": "(SELECT COUNT(*) FROM parent1 o WHERE o.id <= parent1.id)",
                "mysql": "(SELECT COUNT(*) FROM (SELECT id FROM parent1) o WHERE o.id <= parent1.id)",
            }
        },
        expected={
            "SELECT c.name, p.name, p.id FROM child1 c JOIN parent1 p ON p.id = c.parent_id ORDER BY 1": [
                ["x", "b", UUIDS[2]],
                ["y", "a", UUIDS[1]],
                ["z", "b", UUIDS[2]],
            ],
            "SELECT one, other FROM friend1": [[UUIDS[1], UUIDS[2]]],
        },
        reverted={
            "SELECT c.name, p.name FROM child1 c JOIN parent1 p ON p.id = c.parent_id ORDER BY 1": [
                ["x", "b"],
                ["y", "a"],
                ["z", "b"],
            ],
            "SELECT o.name, p.name FROM friend1 f JOIN parent1 o ON o.id = f.one JOIN parent1 p ON p.id = f.other": [
                ["a", "b"]
            ],
        },
    ),
    "another column that a reference refers to": Case(
        REFERRING.format(""),
        REFERRING.format(", to_field='code'"),
        [
            "INSERT INTO shop1 (id, name, code) VALUES (1, 'a', 'x'), (2, 'b', 'y')",
            "INSERT INTO sale1 (name, shop_id) VALUES ('s', 2), ('t', 1)",
        ],
        expected={"SELECT name, shop_id FROM sale1 ORDER BY 1": [["s", "y"], ["t", "x"]]},
        reverted={"SELECT name, shop_id FROM sale1 ORDER BY 1": [["s", 2], ["t", 1]]},
    ),
    "larger numbers with children": Case(
        parent(NUMBER).replace("1", "9"),
        parent(NUMBER.replace("Int", "BigInt")).replace("1", "9"),
        [
            "INSERT INTO parent9 (id, name) VALUES (1, 'a')",
            "INSERT INTO child9 (name, parent_id) VALUES ('x', 1)",
        ],
        expected={
            "SELECT c.name, p.name FROM child9 c JOIN parent9 p ON p.id = c.parent_id": [["x", "a"]]
        },
        reverted={
            "SELECT c.name, p.name FROM child9 c JOIN parent9 p ON p.id = c.parent_id": [["x", "a"]]
        },
    ),
}
LONG = "a_name_that_is_longer_than_the_sixty_three_bytes_of_a_server_name"
MANY = "tags = fields.ManyToManyField('models.{}', through='{}', related_name='posts')"
RENAMED = {
    "chain": Case(
        model("Chain1", "a = fields.IntField()", "b = fields.IntField()"),
        model("Chain1", "b = fields.IntField()", "c = fields.IntField()"),
        ["INSERT INTO chain1 (a, b) VALUES (1, 2)"],
        ["--rename", "chain1.b=c", "--rename", "chain1.a=b"],
        expected={"SELECT b, c FROM chain1": [[1, 2]]},
        reverted={"SELECT a, b FROM chain1": [[1, 2]]},
    ),
    "by case": Case(
        model("Cased1", name(), meta="table = 'cased1'"),
        model("Cased1", name(), meta="table = 'Cased1'"),
        ["INSERT INTO cased1 (name) VALUES ('a')"],
        expected={'SELECT name FROM "Cased1"': [["a"]]},
        reverted={"SELECT name FROM cased1": [["a"]]},
    ),
    "with a new type": Case(
        model("Typed1", "a = fields.IntField()"),
        model("Typed1", "b = fields.BigIntField()"),
        ["INSERT INTO typed1 (a) VALUES (5)"],
        ["--rename", "typed1.a=b"],
        expected={"SELECT b FROM typed1": [[5]]},
        reverted={"SELECT a FROM typed1": [[5]]},
    ),
    "end of a relation": Case(
        model("Note1", MANY.format("Mark1", "note1_mark1")) + model("Mark1", name()),
        model("Note1", MANY.format("Label1", "note1_label1")) + model("Label1", name()),
        [
            "INSERT INTO note1 (id) VALUES (1)",
            "INSERT INTO mark1 (id, name) VALUES (1, 'a')",
            "INSERT INTO note1_mark1 (note1_id, mark1_id) VALUES (1, 1)",
        ],
        ["--rename", "mark1=label1"],
        expected={"SELECT note1_id, label1_id FROM note1_label1": [[1, 1]]},
        reverted={"SELECT note1_id, mark1_id FROM note1_mark1": [[1, 1]]},
    ),
    "reserved words and other scripts": Case(
        model("Word1", "order = fields.IntField(source_field='größe 2')", meta="table = 'select'"),
        model("Word1", "order = fields.IntField(source_field='order')", meta="table = 'grüße'"),
        ['INSERT INTO "select" ("größe 2") VALUES (5)'],
        ["--rename", "select=grüße", "--rename", "grüße.größe 2=order"],
        expected={'SELECT "order" FROM "grüße"': [[5]]},
        reverted={'SELECT "größe 2" FROM "select"': [[5]]},
    ),
    "names that the server cuts": Case(
        model("Cut1", name(), meta=f"indexes = [Index(fields=['name'], name='{LONG}x'[:60])]"),
        model(
            "Cut1",
            name(30),
            "b = fields.IntField(null=True, unique=True)",
            meta=f"indexes = [Index(fields=['name'], name='{LONG}x'[:60])]",
        ),
        ["INSERT INTO cut1 (name) VALUES ('a')"],
        expected={"SELECT name, b FROM cut1": [["a", None]]},
        engines=("postgresql",),
    ),
    "foreign key's rule, one to one": Case(
        model("Boss1", name())
        + model("Staff1", "boss = fields.ForeignKeyField('models.Boss1', null=True)"),
        model("Boss1", name())
        + model(
            "Staff1",
            "boss = fields.OneToOneField('models.Boss1', null=True, on_delete=fields.SET_NULL)",
        ),
        [
            "INSERT INTO boss1 (id, name) VALUES (1, 'a')",
            "INSERT INTO staff1 (boss_id) VALUES (1), (NULL)",
        ],
        expected={"SELECT boss_id FROM staff1 ORDER BY id": [[1], [None]]},
        reverted={"SELECT boss_id FROM staff1 ORDER BY id": [[1], [None]]},
    ),
}
GROUPS = {"added": ADDED, "converted": CONVERTED, "keys": KEYS, "renamed": RENAMED}


@pytest.fixture(scope="module")
def benches(_renders: Callable[[str], tuple[Path, Path]]) -> Iterator[Callable[[str], Bench]]:
    with ExitStack() as stack:
        made: dict[str, Bench] = {}

        def bench(engine: str) -> Bench:
            if engine not in made:
                made[engine] = stack.enter_context(new_bench(engine, *_renders(engine)))
            return made[engine]

        yield bench


class User:
    """Somebody who does what the commands say."""

    def __init__(self, bench: Bench, cases: Mapping[str, Case]) -> None:
        self._bench = bench
        self._engine = bench.engine
        self._cases = {n: c for n, c in cases.items() if self._engine in c.engines}

    def do(self, *arguments: str, status: int = 0) -> str:
        answer = self._bench.run(*arguments)
        assert "Traceback" not in answer.output, answer.output
        assert answer.status == status, f"{arguments}\n{answer.output}"
        return answer.output

    def models(self, stage: str) -> None:
        sources = [getattr(case, stage) for case in self._cases.values()]
        self._bench.write_source("\n".join([HEAD, HEADS[self._engine], COLORS, *sources]))

    def write_rows(self) -> None:
        for case in self._cases.values():
            for row in case.rows:
                self._bench.database.query(self._quoted(row))

    def new(self) -> None:
        """Write the migration, and do all that `new` and `verify` say about it."""
        arguments = [part for case in self._cases.values() for part in case.arguments]
        answer = self._bench.run("new", "change", *arguments, "--no-rename")
        if drops := DROP.findall(answer.output):
            arguments += [part for drop in drops for part in drop]
            answer = self._bench.run("new", "change", *arguments, "--no-rename")
        assert "Traceback" not in answer.output
        path = self._bench.files()[-1]
        assert path.name.startswith("1_"), answer.output
        wanted = set(REPLACE.findall(answer.output))
        values = {p: v for case in self._cases.values() for p, v in case.values.items()}
        assert wanted == set(values), answer.output
        head, middle, tail = path.read_text(encoding="utf-8").partition("async def downgrade")
        head = RAISE.sub("", self._filled(head, values))
        back = {p: v for case in self._cases.values() for p, v in case.back.items()}
        more = "".join(f"{self._quoted(c.more)};" for c in self._cases.values() if c.more)
        head = re.sub(r'(?="""\s*\Z)|(?=COMMIT;)', more, head, count=1)
        tail = self._filled(tail, back)
        tail = tail if re.search(r"<\w+\.\w+>", tail) else RAISE.sub("", tail)
        path.write_text(head + middle + tail, encoding="utf-8")
        said = self.do("verify")
        if name := UNVERIFIED.search(said):
            assert name[1] == path.name
            text = path.read_text(encoding="utf-8")
            path.write_text(re.sub("^UNVERIFIED.*\n", "", text, flags=re.MULTILINE), "utf-8")
        assert "Verified: migrations match the models and are reversible" in said

    def _filled(self, text: str, values: Mapping[str, Any]) -> str:
        for place, value in values.items():
            filled = value[self._engine] if isinstance(value, Mapping) else value
            text = text.replace(f"<{place}>", filled.replace("\\", "\\\\"))
        return text

    def sees(self, stage: str) -> None:
        for name, case in self._cases.items():
            for query, rows in getattr(case, stage).items():
                wanted = rows[self._engine] if isinstance(rows, Mapping) else rows
                found = self._bench.database.query(self._quoted(query))
                assert [[_plain(v) for v in row] for row in found] == [
                    [_plain(v) for v in row] for row in wanted
                ], name

    def _quoted(self, sql: str) -> str:
        return sql.replace('"', "`") if self._engine == "mysql" and "{" not in sql else sql


def _plain(value: Any) -> Any:
    """Write JSON documents, UUIDs, dates and times as every driver could."""
    if isinstance(value, str) and value[:1] in "{[":
        return json.loads(value)
    return str(value) if type(value).__name__ in AS_TEXT else value


@pytest.mark.parametrize("group", GROUPS)
def test_advice_that_is_followed_keeps_all_rows(
    engine: str, benches: Callable[[str], Bench], group: str
) -> None:
    bench = benches(engine)
    bench.clear()
    user = User(bench, GROUPS[group])
    user.models("before")
    user.do("baseline", "--yes")
    user.do("upgrade")
    user.write_rows()
    user.models("after")
    user.new()
    user.do("check")
    user.do("upgrade")
    user.sees("expected")
    user.do("downgrade", "0", "--yes")
    user.sees("reverted")
    user.do("upgrade")
    user.sees("expected")


def test_rows_in_the_way_are_changed_as_told(engine: str, benches: Callable[[str], Bench]) -> None:
    """The second check fails: the first one has changed nothing, so there is nothing to repair."""
    bench = benches(engine)
    bench.clear()
    before = model("Item", name(), "n = fields.IntField()")
    case = Case(
        before,
        model("Item", name(5), "n = fields.IntField(unique=True)"),
        ["INSERT INTO item (name, n) VALUES ('a', 1), ('b', 1)"],
        expected={"SELECT n FROM item ORDER BY id": [[1], [2]]},
    )
    user = User(bench, {"unique": case})
    user.models("before")
    user.do("baseline", "--yes")
    user.do("upgrade")
    user.write_rows()
    user.models("after")
    user.new()

    said = user.do("upgrade", status=1)

    migration = bench.files()[-1].name
    assert said == (
        f"{migration}: item holds rows with the same n: change them first. "
        "Nothing of the migration is kept.\n"
    )
    bench.database.query("UPDATE item SET n = id")
    user.do("upgrade")
    user.sees("expected")


TWO = """
class Person1(Model):
    id = fields.IntField(primary_key=True)
class Book1(Model):
    id = fields.IntField(primary_key=True)
    authors = fields.ManyToManyField("models.Person1", related_name="written"{one})
    editors = fields.ManyToManyField("models.Person1", related_name="edited"{other})
"""
EXPRESSION = model(
    "Item", name(), meta="indexes = [Index(Lower('name'), name='lower_name')]"
).replace("class Item", "from pypika_tortoise.functions import Lower\nclass Item", 1)


def test_models_are_fixed_as_told(engine: str, benches: Callable[[str], Bench]) -> None:
    bench = benches(engine)
    bench.clear()
    user = User(bench, {"relations": Case(model("Person1"), TWO.format(one="", other=""), [])})
    user.models("before")
    user.do("baseline", "--yes")
    user.models("after")
    for command in (("check",), ("new", "relations")):
        assert "Book1.editors: set another `through`" in user.do(*command, status=1)
    fixed = TWO.format(one="", other=", through='book1_editor'")
    user = User(bench, {"relations": Case("", fixed, [])})
    user.models("after")
    user.do("new", "relations")
    user.do("check")

    swapped = TWO.format(one=", through='book1_editor'", other=", through='book1_person1'")
    user = User(bench, {"swapped": Case("", swapped, [])})
    user.models("after")
    assert "(book1_editor, book1_person1)" in user.do("check", status=1)
    user.do("new", "swapped")
    user.do("check")

    if engine == "mysql":
        user = User(bench, {"index": Case("", fixed + EXPRESSION, [])})
        user.models("after")
        assert "replace 'lower_name' in Meta.indexes: index a column" in user.do(
            "new", "index", status=1
        )


FAILS = {
    "sqlite": "SELECT CASE WHEN EXISTS (SELECT 1 FROM item WHERE name GLOB '*[^0-9]*')"
    " THEN abs(-9223372036854775807 - 1) END; UPDATE item SET n = name",
    "postgresql": "UPDATE item SET n = name::INT",
    "mysql": "UPDATE item SET n = CAST(name AS SIGNED)",
}
ROWS = re.compile(r"write INSERT statements for such rows into (\S+)\.$", re.MULTILINE)


def test_failure_in_the_scratch_database_changes_nothing_of_the_own(
    engine: str, benches: Callable[[str], Bench]
) -> None:
    """Whoever does what it says has no migration recorded that never ran."""
    bench = benches(engine)
    bench.clear()
    source = model("Item", name(), "n = fields.IntField(null=True)")
    case = Case(source, source, ["INSERT INTO item (name) VALUES ('12')"])
    user = User(bench, {"digits": case})
    user.models("before")
    user.do("baseline", "--yes")
    user.do("upgrade")
    user.write_rows()
    user.do("new", "--empty", "digits")
    path = bench.files()[-1]
    text = re.sub(r"    raise .*\n", "", path.read_text(encoding="utf-8"))
    up, down = f"{FAILS[engine]};", "UPDATE item SET n = NULL;"
    for sql in (up, down):
        text = text.replace("-- in SQL, with a semicolon after each statement", sql, 1)
    path.write_text(text, encoding="utf-8")

    said = user.do("verify", status=1)

    assert "failed in the scratch database" in said
    assert not re.search(r"\b(stamp|mark|repair|by hand)\b", said)
    assert f"pending  {path.name}" in user.do("status")
    rows = ROWS.search(said)
    assert rows, said
    samples = Path(rows[1])
    samples.parent.mkdir(exist_ok=True)
    samples.write_text("INSERT INTO item (name) VALUES ('7'), ('08');", encoding="utf-8")
    try:
        assert "Verified: migrations match the models" in user.do("verify")
    finally:
        samples.unlink()
    assert bench.database.query("SELECT n FROM item") == [(None,)]
    user.do("upgrade")
    assert bench.database.query("SELECT name, n FROM item") == [("12", 12)]


EXTENDED = """
class CITextField(fields.CharField):
    SQL_TYPE = "CITEXT"
class TreeField(fields.TextField):
    SQL_TYPE = "LTREE[]"
class Item(Model):
    id = fields.IntField(primary_key=True)
    name = CITextField(max_length=20, unique=True)
    code = fields.UUIDField(db_default=SqlDefault("uuid_generate_v4()"))
    trees = TreeField(null=True)
    n = fields.IntField()
    class Meta:
        indexes = [BloomIndex(fields=["n"])]
"""
EXTENSION = re.compile(r"write (CREATE EXTENSION [^;]*;) at the start of upgrade\(\)")


@pytest.mark.parametrize("engine", ["postgresql"])
def test_missing_extensions_are_created_as_told(
    engine: str, benches: Callable[[str], Bench]
) -> None:
    bench = benches(engine)
    bench.clear()
    user = User(bench, {"": Case(model("Other"), EXTENDED + model("Other"), [])})
    user.models("before")
    user.do("baseline", "--yes")
    user.do("upgrade")
    user.models("after")

    said = user.do("new", "extended", status=1)
    path, found = bench.files()[-1], []
    while told := EXTENSION.search(said):
        found.append(told[1].split('"')[1])
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace('return """', f'return """{told[1]}', 1), encoding="utf-8")
        said = bench.run("verify").output
        assert len(found) <= 4, said

    assert found == ["citext", "ltree", "uuid-ossp", "bloom"], said
    assert "Verified: migrations match the models and are reversible" in said, said
    name = UNVERIFIED.search(said)
    assert name
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub("^UNVERIFIED.*\n", "", text, flags=re.MULTILINE), "utf-8")
    user.do("upgrade")
    bench.database.query("INSERT INTO item (name, n) VALUES ('A', 1)")
    with pytest.raises(Exception, match="unique"):
        bench.database.query("INSERT INTO item (name, n) VALUES ('a', 1)")


@pytest.mark.parametrize("engine", ["postgresql"])
@pytest.mark.parametrize("kind", ["GinIndex", "GistIndex"])
def test_index_of_a_kind_that_the_column_cannot_have(
    engine: str, kind: str, benches: Callable[[str], Bench]
) -> None:
    bench = benches(engine)
    bench.clear()
    meta = "indexes = [{}(fields=['name'])]"
    user = User(
        bench, {"": Case(model("Other"), model("Item", name(), meta=meta.format(kind)), [])}
    )
    user.models("before")
    user.do("baseline", "--yes")
    user.models("after")

    said = user.do("new", "index", "--drop", "other", status=1)

    assert f"Use an Index: a {kind} needs a " in said
    bench.files()[-1].unlink()
    fixed = model("Item", name(), meta=meta.format("Index"))
    User(bench, {"": Case("", fixed, [])}).models("after")
    assert "Verified" in user.do("new", "index", "--drop", "other")


TABLE = "a_table_with_a_name_of_more_than_half_of_what_a_name_may_have"
COLUMN = "a_column_with_a_name_of_more_than_half_of_a_name"


def long_names(unique: str, *, index: str, key: str = "") -> str:
    return model(
        "Long",
        f"{COLUMN} = fields.CharField(max_length=9, {unique})",
        f"boss = fields.ForeignKeyField('models.Long', null=True{key})",
        f"friends = fields.ManyToManyField('models.Long', related_name='others', through='{TABLE[:-1]}s')",
        meta=f"table = '{TABLE}'\n        indexes = [Index(fields=['{COLUMN}'], name='{'i' * 62}_one'),"
        f" Index(fields=['id', '{COLUMN}'], name='{index}')]",
    )


@pytest.mark.parametrize("engine", ["postgresql"])
def test_names_that_the_server_cuts(engine: str, benches: Callable[[str], Bench]) -> None:
    bench = benches(engine)
    bench.clear()
    clash, index = "i" * 62 + "_other", "j" * 62 + "_other"
    row = f"INSERT INTO {TABLE} ({COLUMN}) VALUES ('a')"
    case = Case(
        long_names("unique=True", index=index),
        long_names("null=True", index=index, key=", on_delete=fields.RESTRICT"),
        [row],
    )
    user = User(bench, {"": case})
    user.models("before")
    user.do("baseline", "--yes")
    user.do("upgrade")
    User(bench, {"": Case(long_names("unique=True", index=clash), "", [])}).models("before")
    assert "an index of Long: rename the index" in user.do("check", status=1)
    user.models("before")  # as told
    user.do("check")
    user.write_rows()
    with pytest.raises(Exception, match="unique"):
        bench.database.query(row)
    user.models("after")
    user.new()
    user.do("upgrade")

    bench.database.query(row)  # no longer unique
    found = bench.database.query(
        "SELECT confdeltype::text FROM pg_constraint WHERE contype = 'f'"
        f" AND conrelid = '{TABLE}'::regclass"
    )
    assert found == [("r",)]  # and the former foreign key is gone
    bench.database.query(f"DELETE FROM {TABLE} WHERE id = 2 OR id = 3")
    user.do("downgrade", "0", "--yes")
    assert bench.database.query(f"SELECT {COLUMN} FROM {TABLE}") == [("a",)]
    with pytest.raises(Exception, match="unique"):
        bench.database.query(row)


SEARCH = model(
    "Page",
    "title = fields.CharField(max_length=20)",
    "body = fields.TextField()",
    "{}",
)
VECTOR = "search = TSVectorField(source_fields=('title', 'body'), config='english'{})"


@pytest.mark.parametrize("engine", ["postgresql"])
def test_generated_column_follows_its_declaration(
    engine: str, benches: Callable[[str], Bench]
) -> None:
    bench = benches(engine)
    bench.clear()
    stages = [
        SEARCH.format(""),
        SEARCH.format(VECTOR.format("")),
        SEARCH.format(VECTOR.format(", weights=('A', 'B')")),
    ]
    found = []
    for number, source in enumerate(stages):
        user = User(bench, {"": Case(source, "", [])})
        user.models("before")
        if number == 0:
            user.do("baseline", "--yes")
            user.do("upgrade")
            bench.database.query("INSERT INTO page (title, body) VALUES ('cats', 'dogs')")
            continue
        assert "(page)" in user.do("check", status=1)
        assert "Verified" in user.do("new", "search")
        user.do("upgrade")
        found.append(bench.database.query("SELECT search::text FROM page"))
    assert found == [[("'cat':1 'dog':2",)], [("'cat':1A 'dog':2B",)]]
