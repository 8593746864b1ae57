"""Indexes and unique constraints."""

import asyncio
from copy import deepcopy
from typing import Any

import pytest
from migration_package import dialects
from migration_package.past_indexes import with_unique_indexes
from migration_package.planning import Planner

from tests.support.changes import Bench, Change, model, on_engines, read_models
from tools.render import ENGINES

A, B = "a = fields.CharField(max_length=20)", "b = fields.CharField(max_length=20)"
PARENT = "parent = fields.ForeignKeyField('models.Item')"
ROWS = ["INSERT INTO item (a, b) VALUES ('x', 'y'), ('y', 'x')"]


def item(meta: str = "", a: str = A, b: str = B) -> str:
    return model("Item", a, b, meta=meta)


def more(declaration: str, options: str) -> str:
    return declaration.replace("=20", f"=20, {options}")


PLAIN = item()
UNIQUE = more(A, "unique=True")
INDEXED = more(A, "db_index=True")
BOTH = more(A, "unique=True, db_index=True")
TOGETHER = "unique_together = (('a', 'b'),)"
INDEXES = {
    "unique": Change(PLAIN, item(a=UNIQUE), ROWS),
    "not unique any more": Change(item(a=UNIQUE), PLAIN, ROWS),
    "index": Change(PLAIN, item(a=INDEXED), ROWS),
    "no index any more": Change(item(a=INDEXED), PLAIN, ROWS),
    "unique with an index besides": Change(PLAIN, item(a=BOTH), ROWS),
    "index to both": Change(item(a=INDEXED), item(a=BOTH), ROWS),
    "unique to both": Change(item(a=UNIQUE), item(a=BOTH), ROWS),
    "both to unique": Change(item(a=BOTH), item(a=UNIQUE), ROWS),
    "both to index": Change(item(a=BOTH), item(a=INDEXED), ROWS),
    "both to plain": Change(item(a=BOTH), PLAIN, ROWS),
    "both in a group": Change(item(TOGETHER, a=BOTH), item(TOGETHER, a=UNIQUE), ROWS),
    "both, and a declared index": Change(
        item("indexes = [Index(fields=('a', 'b'))]", a=BOTH),
        item("indexes = [Index(fields=('a', 'b'))]", a=INDEXED),
        ROWS,
    ),
    "both renamed": Change(
        item(a=BOTH), item(a=UNIQUE.replace("a =", "c =")), ROWS, answers=["item.a=c"]
    ),
    "both with another type to unique": Change(
        item(a=BOTH), item(a=UNIQUE.replace("20", "30")), ROWS
    ),
    "index of a one-to-one field": Change(
        PLAIN + model("Kid", "item = fields.OneToOneField('models.Item', db_index=True)"),
        PLAIN + model("Kid", "item = fields.OneToOneField('models.Item')"),
        [*ROWS, "INSERT INTO kid (item_id) VALUES (1), (2)"],
    ),
    "foreign key with an index to one-to-one": Change(
        PLAIN + model("Kid", "item = fields.ForeignKeyField('models.Item', db_index=True)"),
        PLAIN + model("Kid", "item = fields.OneToOneField('models.Item')"),
        [*ROWS, "INSERT INTO kid (item_id) VALUES (1), (2)"],
    ),
    "both, longer": Change(item(a=BOTH), item(a=BOTH.replace("20", "30")), ROWS),
    "index to unique": Change(item(a=INDEXED), item(a=UNIQUE), ROWS),
    "unique moves to another column": Change(item(a=UNIQUE), item(b=more(B, "unique=True")), ROWS),
    "unique together": Change(PLAIN, item(TOGETHER), ROWS),
    "not unique together any more": Change(item(TOGETHER), PLAIN, ROWS),
    "unique together, other order": Change(
        item(TOGETHER), item("unique_together = (('b', 'a'),)"), ROWS
    ),
    "unique together to unique": Change(item(TOGETHER), item(a=UNIQUE), ROWS),
    "together and alone": Change(PLAIN, item(TOGETHER, a=UNIQUE), ROWS),
    "group of indexes": Change(PLAIN, item("indexes = (('a', 'b'),)"), ROWS),
    "declared index": Change(PLAIN, item("indexes = [Index(fields=('a', 'b'))]"), ROWS),
    "declared index on a column with another name": Change(
        item(a=more(A, "source_field='a_column'")),
        item("indexes = [Index(fields=('a', 'b'))]", a=more(A, "source_field='a_column'")),
    ),
    "declared index on a relation": Change(
        PLAIN + model("Kid", PARENT),
        PLAIN + model("Kid", PARENT, meta="indexes = [Index(fields=('parent',))]"),
    ),
    "named index": Change(PLAIN, item("indexes = [Index(fields=('a',), name='my_index')]"), ROWS),
    "name of an index": Change(
        item("indexes = [Index(fields=('a',), name='my_index')]"),
        item("indexes = [Index(fields=('a',), name='other')]"),
        ROWS,
    ),
    "columns of a named index": Change(
        item("indexes = [Index(fields=('a',), name='my_index')]"),
        item("indexes = [Index(fields=('b',), name='my_index')]"),
        ROWS,
    ),
    "names of two indexes that swap": Change(
        item("indexes = [Index(fields=('a',), name='one'), Index(fields=('b',), name='two')]"),
        item("indexes = [Index(fields=('a',), name='two'), Index(fields=('b',), name='one')]"),
        ROWS,
    ),
    "partial index": Change(
        PLAIN,
        item("indexes = [PartialIndex(fields=('a',), condition={'b': 'it'})]"),
        ROWS,
        engines=("sqlite", "postgresql"),
    ),
    "condition of a partial index": Change(
        item("indexes = [PartialIndex(fields=('a',), condition={'b': 'it'})]"),
        item("indexes = [PartialIndex(fields=('a',), condition={'b': 'at'})]"),
        ROWS,
        engines=("sqlite", "postgresql"),
    ),
    "condition on a renamed column": Change(
        item("indexes = [PartialIndex(fields=('a',), condition={'b': 'it'})]"),
        item(
            "indexes = [PartialIndex(fields=('a',), condition={'c': 'it'})]",
            b=B.replace("b =", "c ="),
        ),
        ROWS,
        answers=["item.b=c"],
        engines=("sqlite", "postgresql"),
    ),
    "hash index": Change(
        PLAIN, item("indexes = [HashIndex(fields=('a',))]"), ROWS, engines=("postgresql",)
    ),
    "gin index": Change(
        item(a="a = fields.JSONField(null=True)"),
        item("indexes = [GinIndex(fields=('a',))]", a="a = fields.JSONField(null=True)"),
        engines=("postgresql",),
    ),
    "fulltext index": Change(
        PLAIN, item("indexes = [FullTextIndex(fields=('a',))]"), ROWS, engines=("mysql",)
    ),
    "parser of a fulltext index": Change(
        item("indexes = [FullTextIndex(fields=('a',))]"),
        item("indexes = [FullTextIndex(fields=('a',), parser_name='ngram')]"),
        ROWS,
        engines=(),
    ),
    "expression": Change(
        "from tortoise.functions import Lower\n" + PLAIN,
        "from tortoise.functions import Lower\nfrom tortoise.expressions import F\n"
        + item("indexes = [Index(Lower('a'), name='low')]"),
        ROWS,
        engines=("sqlite", "postgresql"),
    ),
    "indexed column dropped": Change(
        item(a=INDEXED),
        model("Item", B),
        ROWS,
        losses=["item.a is dropped with its values"],
        back={"item.a": "'x'"},
    ),
    "column of a group dropped": Change(
        item(TOGETHER),
        model("Item", B),
        ROWS,
        losses=["item.a is dropped with its values"],
        back={"item.a": "'x'"},
    ),
    "index and type": Change(item(a=INDEXED), item(a=INDEXED.replace("20", "30")), ROWS),
    "unique and null": Change(
        item(a=UNIQUE),
        item(a=UNIQUE.replace("unique", "null=True, unique")),
        ROWS,
        back={"item.a": "id"},
    ),
    "unique foreign key": Change(
        PLAIN + model("Kid", "item = fields.ForeignKeyField('models.Item', null=True)"),
        PLAIN + model("Kid", "item = fields.OneToOneField('models.Item', null=True)"),
        [*ROWS, "INSERT INTO kid (item_id) VALUES (1), (NULL), (NULL)"],
    ),
    "index of a foreign key in a group": Change(
        PLAIN
        + model(
            "Kid",
            "item = fields.ForeignKeyField('models.Item', null=True)",
            "n = fields.IntField()",
        ),
        PLAIN
        + model(
            "Kid",
            "item = fields.ForeignKeyField('models.Item', null=True)",
            "n = fields.IntField()",
            meta="unique_together = (('item', 'n'),)",
        ),
        [*ROWS, "INSERT INTO kid (item_id, n) VALUES (1, 2)"],
    ),
    "group of a foreign key dropped": Change(
        PLAIN
        + model(
            "Kid",
            "item = fields.ForeignKeyField('models.Item', null=True)",
            "n = fields.IntField()",
            meta="unique_together = (('item', 'n'),)",
        ),
        PLAIN
        + model(
            "Kid",
            "item = fields.ForeignKeyField('models.Item', null=True)",
            "n = fields.IntField()",
        ),
        [*ROWS, "INSERT INTO kid (item_id, n) VALUES (1, 2)"],
    ),
    "foreign key dropped, index kept": Change(
        PLAIN
        + model("Kid", "item = fields.ForeignKeyField('models.Item', null=True, db_index=True)"),
        PLAIN + model("Kid", "item_id = fields.IntField(null=True, db_index=True)"),
        [*ROWS, "INSERT INTO kid (item_id) VALUES (1)"],
    ),
}


@on_engines(INDEXES)
def test_index(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


@pytest.mark.parametrize("engine", ENGINES)
def test_states_without_the_indexes_of_unique_fields(engine: str) -> None:
    """Aerich and releases before 1.2 left them out, so they count as unchanged."""
    described = asyncio.run(read_models(item(a=BOTH), engine))
    old = deepcopy(described.state)
    del old["models.Item"]["also_indexed"]
    planner = Planner(dialects.load(engine), described.reader)
    assert planner.plan(old, described.state, described.models, [], None) is None

    moved = asyncio.run(read_models(item("table = 'things'", a=BOTH), engine))
    plan = planner.plan(old, moved.state, moved.models, [], None)
    assert plan is not None
    # it gets another name, for which SQLite drops and creates it
    assert any("idx_item_a_" in statement for statement in plan.upgrade.statements)


@pytest.mark.parametrize(
    ("sql", "indexed"),
    [
        ('CREATE TABLE "item" ("a" INT UNIQUE); CREATE UNIQUE INDEX "one" ON "item" ("a");', False),
        ('CREATE TABLE IF NOT EXISTS "item" ("a" INT); CREATE INDEX "gen" ON "item" ("a");', True),
        ("CREATE TABLE `item` (`a` INT, KEY `gen` (`a`))", True),
        (
            "CREATE TABLE `item` (`a` INT, KEY `gen` (`a`)); ALTER TABLE `item` DROP KEY `gen`",
            False,
        ),
        ("CREATE TABLE item (a INT); CREATE INDEX by_hand ON item (a)", True),
        ("CREATE TABLE item (a INT); CREATE INDEX hand ON item (a); DROP INDEX hand", False),
        ("CREATE TABLE item (a INT); ALTER TABLE item ADD INDEX by_hand (a)", True),
        ("CREATE TABLE item (a INT); CREATE INDEX gen ON item (a); DROP TABLE item", False),
        ("CREATE TABLE other (a INT); CREATE INDEX gen ON other (a)", None),
    ],
)
def test_indexes_of_unique_fields_in_the_sql_of_migrations(sql: str, indexed: bool | None) -> None:
    field = {"name": "a", "db_column": "a", "unique": True, "indexed": True}
    old: dict[str, Any] = {"models.Item": {"table": "item", "data_fields": [field]}}

    found = with_unique_indexes(old, lambda: sql.split("; "), lambda _table, _column: "gen")

    wanted = None if indexed is None else ["a"] * indexed
    assert found["models.Item"].get("also_indexed") == wanted


@pytest.mark.parametrize("engine", ENGINES)
def test_values_that_are_not_unique(changes: Bench, engine: str) -> None:
    rows = ["INSERT INTO item (a, b) VALUES ('x', 'x'), ('x', 'x')"]
    changes.fail(engine, Change(PLAIN, item(a=UNIQUE), rows))
    changes.fail(engine, Change(PLAIN, item(TOGETHER), rows))
    changes.fail(engine, Change(PLAIN, item(a=UNIQUE, b=B.replace("20", "30")), rows))
