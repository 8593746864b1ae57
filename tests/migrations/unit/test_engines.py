"""What one engine has, or does in its own way."""

from typing import Any

import pytest
from migration_package import dialects
from migration_package.errors import MigrationError

from tests.support.changes import Bench, Change, model, on_engines

NAME = "name = fields.CharField(max_length=20)"
ROWS = ["INSERT INTO item (name) VALUES ('cats')"]
ITEM = model("Item", NAME)
POSTGRESQL = ("postgresql",)
MYSQL = ("mysql",)


def added(line: str, expected: object) -> Change:
    return Change(
        ITEM,
        model("Item", NAME, f"n = {line}"),
        ROWS,
        expected={"SELECT n FROM item": [(expected,)]},
        engines=POSTGRESQL,
    )


ARRAYS = {
    "empty": added("ArrayField(default=list)", []),
    "integers": added("ArrayField('int', default=[1, -2])", [1, -2]),
    "smallints": added("ArrayField('smallint', default=lambda: [1])", None)
    if False
    else added("ArrayField('smallint', default=[1])", [1]),
    "text": added(
        r"""ArrayField('text', default=['it\'s', '"a", {b}', '\\ % %s', None])""",
        ["it's", '"a", {b}', "\\ % %s", None],
    ),
    "empty text": added("ArrayField('text', default=[])", []),
    "null": added("ArrayField('text', null=True)", None),
    "booleans": added("ArrayField('bool', default=[True, False])", [True, False]),
    "floats": added("ArrayField('float', default=[1.5, float('inf')])", [1.5, float("inf")]),
}


@on_engines(ARRAYS)
def test_array(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


BODY = "body = fields.TextField()"
VECTOR = "v = TSVectorField(source_fields=('name', 'body'), config='english', weights=('A', 'B'), null=True)"
VECTORS = model("Item", NAME, BODY, VECTOR)
PLAIN = "v = TSVectorField(null=True)"
GENERATED_VALUE = {"SELECT v::text FROM item": [("'cat':1A 'dog':2B",)]}
FILLED = ["INSERT INTO item (name, body) VALUES ('cats', 'dogs')"]


def vectors(before: str, after: str, **rest: Any) -> Change:
    arguments: dict[str, Any] = {"rows": FILLED, "engines": POSTGRESQL, **rest}
    return Change(before, after, **arguments)


GENERATED = {
    "added": vectors(
        model("Item", NAME, BODY),
        VECTORS,
        expected={"SELECT v::TEXT FROM item": [("'cat':1A 'dog':2B",)]},
    ),
    "dropped": vectors(VECTORS, model("Item", NAME, BODY)),
    "weights": vectors(
        VECTORS,
        VECTORS.replace("'A', 'B'", "'B', 'C'"),
        expected={"SELECT v::TEXT FROM item": [("'cat':1B 'dog':2C",)]},
    ),
    "configuration": vectors(
        VECTORS,
        VECTORS.replace("'english'", "'simple'"),
        expected={"SELECT v::TEXT FROM item": [("'cats':1A 'dogs':2B",)]},
    ),
    "type of a source": vectors(VECTORS, VECTORS.replace("=20", "=30")),
    "source renamed": vectors(
        VECTORS, VECTORS.replace("name", "title"), answers=["item.name=title"]
    ),
    "source dropped": vectors(
        VECTORS,
        model("Item", BODY, VECTOR.replace("'name', ", "").replace("'A', ", "")),
        losses=["item.name is dropped with its values"],
        back={"item.name": "'cats'"},
    ),
    "source added": vectors(
        model("Item", NAME, BODY),
        model(
            "Item",
            NAME,
            BODY,
            "more = fields.TextField(default='')",
            VECTOR.replace("'body'", "'more'"),
        ),
    ),
    "not generated any more": vectors(
        VECTORS,
        model("Item", NAME, BODY, PLAIN),
        expected=GENERATED_VALUE,
    ),
    "not generated any more, without its source": vectors(
        VECTORS,
        model("Item", NAME, PLAIN),
        expected=GENERATED_VALUE,
        losses=["item.body is dropped with its values"],
        reversible=False,
    ),
    "not generated any more, and never NULL": vectors(
        VECTORS,
        model("Item", NAME, BODY, "v = TSVectorField()"),
        values={"item.v": "to_tsvector('')"},
        expected=GENERATED_VALUE,
    ),
    "text instead of generated": vectors(
        VECTORS,
        model("Item", NAME, BODY, "v = fields.TextField(null=True)"),
        values={"item.v": "\"v\"::text || '!'"},
        expected={"SELECT v FROM item": [("'cat':1A 'dog':2B!",)]},
    ),
    "generated from now on": vectors(
        model("Item", NAME, BODY, PLAIN),
        VECTORS,
        rows=["INSERT INTO item (name, body, v) VALUES ('cats', 'dogs', 'old')"],
        expected=GENERATED_VALUE,
        reverted=GENERATED_VALUE,
        losses=["item.v is replaced with generated values"],
    ),
    "generated instead of text": vectors(
        model("Item", NAME, BODY, "v = fields.TextField(null=True)"),
        VECTORS,
        rows=["INSERT INTO item (name, body, v) VALUES ('cats', 'dogs', 'old')"],
        back={"item.v": '"v"::text'},
        expected=GENERATED_VALUE,
        reverted=GENERATED_VALUE,
        losses=["item.v is replaced with generated values"],
    ),
    "indexed": vectors(
        VECTORS, model("Item", NAME, BODY, VECTOR, meta="indexes = [GinIndex(fields=('v',))]")
    ),
    "index kept while it changes": vectors(
        model("Item", NAME, BODY, VECTOR, meta="indexes = [GinIndex(fields=('v',))]"),
        model(
            "Item",
            NAME,
            BODY,
            VECTOR.replace("'A', 'B'", "'B', 'C'"),
            meta="indexes = [GinIndex(fields=('v',))]",
        ),
    ),
}


@on_engines(GENERATED)
def test_generated_column(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


EXACT = """
class ExactCharField(fields.CharField):
    class _db_mysql:
        def __init__(self, field):
            self.field = field
        @property
        def SQL_TYPE(self):
            return f"VARCHAR({self.field.max_length}) COLLATE utf8mb4_bin"
"""
MYSQL_ONLY = {
    "collation": Change(
        EXACT + ITEM,
        EXACT + model("Item", NAME.replace("fields.Char", "ExactChar")),
        ROWS,
        engines=MYSQL,
    ),
    "collation and length": Change(
        EXACT + ITEM,
        EXACT + model("Item", NAME.replace("fields.Char", "ExactChar").replace("20", "30")),
        ROWS,
        engines=MYSQL,
    ),
    "new column with a collation": Change(
        EXACT + ITEM,
        EXACT
        + model(
            "Item",
            NAME,
            "n = ExactCharField(max_length=5, unique=True, null=True, description='d')",
        ),
        ROWS,
        engines=MYSQL,
    ),
    "uuid": Change(
        ITEM,
        model(
            "Item",
            NAME,
            "n = fields.UUIDField(default=uuid.uuid4)",
            "m = UUIDField(binary_compressed=False, default=uuid.UUID(int=1))",
        ),
        ROWS,
        engines=MYSQL,
    ),
    "geometry": Change(
        ITEM, model("Item", NAME, "n = GeometryField(null=True)"), ROWS, engines=MYSQL
    ),
}


@on_engines(MYSQL_ONLY)
def test_mysql(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


PASSES = {
    "columns": (
        model(
            "Item",
            NAME,
            "a = fields.IntField(null=True)",
            "b = fields.BigIntField(db_index=True, null=True)",
        ),
        1,
    ),
    "columns with defaults": (
        model("Item", NAME, "a = fields.IntField(default=1)", "b = fields.TextField(default='x')"),
        2,
    ),
    "length, comment, index": (
        model(
            "Item",
            "name = fields.CharField(max_length=30, db_index=True, description='d')",
            meta="table_description = 'd'",
        ),
        1,
    ),
    "null": (model("Item", "name = fields.CharField(max_length=20, null=True)"), 1),
    "foreign key": (model("Item", NAME, "a = fields.ForeignKeyField('models.Item', null=True)"), 2),
}


@pytest.mark.parametrize(("after", "count"), PASSES.values(), ids=PASSES)
def test_passes_over_a_table_on_mysql(changes: Bench, after: str, count: int) -> None:
    """One ALTER TABLE per table; dropping a default is not a pass, and a reference needs its column."""
    plan = changes.plan("mysql", Change(ITEM, after))
    statements = [sql for sql in plan.upgrade.statements if not dialects.is_guard(sql)]
    assert len(statements) == count
    assert "DROP DEFAULT" in statements[1] if "default" in after else True


def test_guards_come_first_on_mysql(changes: Bench) -> None:
    after = model(
        "Item",
        "title = fields.CharField(max_length=5, unique=True)",
        "n = fields.IntField(null=True)",
    )
    plan = changes.plan("mysql", Change(ITEM, after, answers=["item.name=title"]))
    kinds = [statement.split()[0] for statement in plan.upgrade.statements]
    assert kinds == ["SELECT", "SELECT", "SELECT", "ALTER", "ALTER"]
    rows = ["INSERT INTO item (name) VALUES ('a'), ('a')"]
    changes.fail("mysql", Change(ITEM, after, rows, answers=["item.name=title"]))


def test_text_search_without_a_configuration(changes: Bench) -> None:
    """PostgreSQL refuses such a column, as it depends on the session."""
    after = model("Item", NAME, "v = TSVectorField(source_fields=('name',))")
    with pytest.raises(MigrationError, match="config='english'.*'v'"):
        changes.plan("postgresql", Change(ITEM, after))


LONGER = model("Item", NAME.replace("20", "30"), "n = fields.IntField()")
VIEW = "CREATE VIEW v AS SELECT name, n FROM item WHERE name <> ''"
WITH_NUMBER = model("Item", NAME, "n = fields.IntField()")


def test_view_of_a_table_that_is_rebuilt(changes: Bench) -> None:
    rows = [VIEW, "INSERT INTO item (name, n) VALUES ('a', 1)"]
    expected = {"SELECT * FROM v": [("a", 1)]}
    changes.apply("sqlite", Change(WITH_NUMBER, LONGER, rows, expected=expected, reverted=expected))


WITH_INDEX = model("Item", NAME, "n = fields.IntField(db_index=True)")
BY_HAND = {
    "column": "ALTER TABLE item ADD COLUMN extra TEXT",
    "generated column": "ALTER TABLE item ADD COLUMN extra TEXT AS (upper(name)) VIRTUAL",
    "index": "CREATE INDEX by_hand ON item (n, name)",
    "index on an expression": "CREATE INDEX by_hand ON item (lower(name))",
    "unique index": "CREATE UNIQUE INDEX by_hand ON item (n)",
    "partial index": "CREATE INDEX by_hand ON item (n) WHERE n > 0",
    "index with a collation": "CREATE INDEX by_hand ON item (n COLLATE NOCASE)",
}


@pytest.mark.parametrize("statement", BY_HAND.values(), ids=BY_HAND)
def test_rebuild_refuses_to_drop_what_only_the_database_has(changes: Bench, statement: str) -> None:
    message = changes.fail(
        "sqlite", Change(WITH_INDEX, WITH_INDEX.replace("20", "30"), [statement])
    )
    assert message.startswith("item has columns or indexes that its model lacks")


ID, TEXT = "id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL", "name VARCHAR(20) NOT NULL"
CLAUSES = {
    "check": f"{ID}, {TEXT} CHECK (name <> ''), n INT NOT NULL)",
    "check of the table": f"{ID}, {TEXT}, n INT NOT NULL,\n  CONSTRAINT c\nCHECK\n(n > 0))",
    "collation": f"{ID}, {TEXT}\nCOLLATE NOCASE, n INT NOT NULL)",
    "conflict": f"{ID}, {TEXT} ON CONFLICT REPLACE, n INT NOT NULL)",
    "default": f"{ID}, {TEXT} DEFAULT (lower('A')), n INT NOT NULL)",
    "default without a function": f"{ID}, {TEXT} DEFAULT (1 + 2), n INT NOT NULL)",
    "constant default": f"{ID}, {TEXT}, n INT NOT NULL DEFAULT 5)",
    "text as default": f"{ID}, {TEXT} DEFAULT 'a', n INT NOT NULL)",
    "foreign key": f"{ID}, {TEXT}, n INT NOT NULL REFERENCES item (id))",
    "strict table": "id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, n INT) STRICT",
    "table without row ids": f"id INT PRIMARY KEY, {TEXT}, n INT NOT NULL) WITHOUT ROWID",
}
BY_KEY = (
    "{} = fields.ForeignKeyField('models.Item', null=True, related_name=False, on_delete=fields.{})"
)
LONGER_KEY = model("Item", NAME.replace("20", "30"), BY_KEY.format("parent", "CASCADE"))


@pytest.mark.parametrize("body", CLAUSES.values(), ids=CLAUSES)
def test_rebuild_refuses_to_drop_clauses(changes: Bench, body: str) -> None:
    rows = ["DROP TABLE item", f"CREATE TABLE item ({body}"]
    message = changes.fail("sqlite", Change(WITH_NUMBER, LONGER, rows))
    assert message.startswith("item has constraints, defaults or options that its model lacks")


@pytest.mark.parametrize("rule", ["ON DELETE SET NULL", "ON DELETE CASCADE ON UPDATE CASCADE"])
def test_rebuild_refuses_to_change_rules(changes: Bench, rule: str) -> None:
    key = f"parent_id INT REFERENCES item (id) {rule}"
    rows = ["DROP TABLE item", f"CREATE TABLE item ({ID}, {TEXT}, {key})"]
    message = changes.fail("sqlite", Change(LONGER_KEY.replace("30", "20"), LONGER_KEY, rows))
    assert message.startswith("item has constraints, defaults or options that its model lacks")


INDEXED = model(
    "Item",
    NAME,
    "n = fields.IntField(unique=True)",
    'other = fields.ForeignKeyField("models.Item", db_index=True, null=True)',
    BY_KEY.format("owner", "SET_NULL"),
    "code = fields.CharField(max_length=9, db_default=SqlDefault('(lower(1))'))",
    "checks = fields.CharField(max_length=9, default='CHECK (', description='to check (twice)')",
    meta="indexes = [('n', 'name'), Index(fields=('name',), name='Named'),"
    " PartialIndex(fields=('name',), condition={'n': 1})]",
)


def test_rebuild_knows_the_indexes_of_the_model(changes: Bench) -> None:
    changes.apply("sqlite", Change(INDEXED, INDEXED.replace("20", "30")))


def test_rebuild_drops_defaults_that_the_model_has(changes: Bench) -> None:
    """Aerich writes them, and Tortoise before 1.0 did."""
    before = model(
        "Item",
        NAME.replace("20", "20, default='a(b)'"),
        "n = fields.IntField(default=5)",
        "on = fields.BooleanField(default=True)",
        "at = fields.DatetimeField(auto_now_add=True)",
        "m = fields.IntField(null=True)",
    )
    body = (
        f"{ID}, {TEXT} DEFAULT 'a(b)', n INT NOT NULL DEFAULT 5, \"on\" INT NOT NULL DEFAULT 1,"
        " at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, m INT DEFAULT NULL)"
    )
    rows = ["DROP TABLE item", f"CREATE TABLE item ({body}", "INSERT INTO item (m) VALUES (7)"]
    expected = {'SELECT name, n, "on", m FROM item': [("a(b)", 5, 1, 7)]}
    change = Change(before, before.replace("20", "30"), rows, expected=expected, reversible=False)
    changes.apply("sqlite", change)


def test_rebuild_drops_the_default_of_a_column_that_is_dropped(changes: Bench) -> None:
    rows = ["DROP TABLE item", f"CREATE TABLE item ({ID}, {TEXT}, n INT NOT NULL DEFAULT 5)"]
    change = Change(
        WITH_NUMBER,
        model("Item", NAME.replace("20", "30")),
        [*rows, "INSERT INTO item (name) VALUES ('a')"],
        expected={"SELECT name FROM item": [("a",)]},
        losses=["item.n is dropped with its values"],
        reversible=False,
    )
    changes.apply("sqlite", change)


OTHERS = model("Other", "m = fields.IntField()")
USERS = {
    "view": VIEW,
    "trigger": "CREATE TRIGGER t AFTER INSERT ON other BEGIN SELECT n FROM item; END",
}


@pytest.mark.parametrize("statement", USERS.values(), ids=USERS)
def test_view_or_trigger_that_uses_what_is_dropped(changes: Bench, statement: str) -> None:
    after = model("Item", NAME.replace("20", "30"))
    rows = [statement, "INSERT INTO item (name, n) VALUES ('a', 1)"]
    change = Change(WITH_NUMBER + OTHERS, after + OTHERS, rows)
    assert "no such column: n" in changes.fail("sqlite", change)
