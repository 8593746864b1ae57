"""Names that engines cut, reserve, compare or quote in their own way; comments and managed tables."""

from dataclasses import replace

import pytest
from migration_package.errors import MigrationError

from tests.support.changes import Bench, Change, model, on_engines
from tools.render import ENGINES

TEXT = r"""it's "a" \ % %s {x} ; -- no /* comment */ :p ? $1 é 漢 😀 \n \' $$ """
LONG = "l" * 40
COLUMN = "c" * 45
WIDE = "é" * 30


def reserved(line: str, table: str = "order") -> str:
    return model(
        "Item",
        line,
        "kind = fields.IntField(default=1, source_field='select')",
        meta=f"table = '{table}'",
    )


LETTERS = "name = fields.CharField(max_length=20{})"
NAMES = {
    "long names, unique dropped": Change(
        model(LONG, f"{COLUMN} = fields.CharField(max_length=5, unique=True)"),
        model(LONG, f"{COLUMN} = fields.CharField(max_length=5)"),
        engines=("sqlite", "postgresql", "mysql"),
    ),
    "long names, wide characters": Change(
        model(
            "Item",
            f"x = fields.CharField(max_length=5, unique=True, source_field='{WIDE}')",
            meta=f"table = '{WIDE}'",
        ),
        model(
            "Item",
            f"x = fields.CharField(max_length=5, source_field='{WIDE}')",
            meta=f"table = '{WIDE}'",
        ),
    ),
    "long names, foreign key dropped": Change(
        model("Item") + model(LONG, f"{COLUMN} = fields.ForeignKeyField('models.Item', null=True)"),
        model("Item") + model(LONG, f"{COLUMN}_id = fields.IntField(null=True)"),
    ),
    "long names, generated": Change(
        model(LONG, key=f"{COLUMN} = fields.IntField(primary_key=True, generated=False)"),
        model(LONG, key=f"{COLUMN} = fields.IntField(primary_key=True)"),
    ),
    "reserved words": Change(
        reserved("group = fields.CharField(max_length=20)"),
        reserved("group = fields.CharField(max_length=30, unique=True)"),
        ['INSERT INTO "order" ("group", "select") VALUES (\'a\', 1)'],
        expected={'SELECT "group", "select" FROM "order"': [("a", 1)]},
    ),
    "reserved words, renamed": Change(
        reserved("group = fields.IntField()"),
        reserved("where = fields.IntField()", "table"),
        ['INSERT INTO "order" ("group", "select") VALUES (4, 1)'],
        answers=["table.group=where"],
        expected={'SELECT "where" FROM "table"': [(4,)]},
    ),
    "upper case": Change(
        model(
            "Item", "Name = fields.CharField(max_length=20, db_index=True)", meta="table = 'Items'"
        ),
        model("Item", "Name = fields.CharField(max_length=30)", meta="table = 'Items'"),
        ['INSERT INTO "Items" ("Name") VALUES (\'a\')'],
        expected={'SELECT "Name" FROM "Items"': [("a",)]},
    ),
    "column that differs by case": Change(
        model("Item", "name = fields.CharField(max_length=20)"),
        model("Item", "Name = fields.CharField(max_length=30)"),
        ["INSERT INTO item (name) VALUES ('a')"],
        answers=["item.name=Name"],
        expected={'SELECT "Name" FROM item': [("a",)]},
    ),
    "table that differs by case": Change(
        model("Item", LETTERS.format("")),
        model("Item", LETTERS.format(", null=True"), meta="table = 'Item'"),
        ["INSERT INTO item (name) VALUES ('a')"],
        expected={'SELECT name FROM "Item"': [("a",)]},
        back={"Item.name": "'x'", "item.name": "'x'"},
        losses=(),
    ),
    "beside tables that are named new_": Change(
        model("Item", LETTERS.format("")) + model("Other", meta="table = 'new_item'"),
        model("Item", LETTERS.format(", db_default='x'"))
        + model("Other", meta="table = 'new_item'"),
        ["INSERT INTO item (name) VALUES ('a')", "INSERT INTO new_item (id) VALUES (1)"],
        expected={"SELECT name FROM item": [("a",)], "SELECT id FROM new_item": [(1,)]},
    ),
    "dashes and spaces": Change(
        model(
            "Item",
            "n = fields.CharField(max_length=20, source_field='a - b')",
            meta="table = 'my items'",
        ),
        model(
            "Item",
            "n = fields.CharField(max_length=30, unique=True, source_field='a - b')",
            meta="table = 'my items'",
        ),
        ['INSERT INTO "my items" ("a - b") VALUES (\'a\')'],
    ),
    "dollars": Change(
        model("Item", "n = fields.IntField()", meta="table = 'a$$b'"),
        model(
            "Item",
            "n = fields.IntField(unique=True)",
            key="id = fields.IntField(primary_key=True, generated=False)",
            meta="table = 'x$$y'",
        ),
        ['INSERT INTO "a$$b" (n) VALUES (7)'],
        expected={'SELECT n FROM "x$$y"': [(7,)]},
    ),
    "quotes": Change(
        model("Item", "n = fields.CharField(max_length=20)", meta="table = 'it\\'s'"),
        model(
            "Item",
            "n = fields.CharField(max_length=30, unique=True, db_default='x')",
            meta="table = 'it\\'s'",
        ),
        ["INSERT INTO \"it's\" (n) VALUES ('a')"],
    ),
    "generated, quotes": Change(
        model(
            "Item",
            key="id = fields.IntField(primary_key=True, generated=False)",
            meta="table = 'it\\'s'",
        ),
        model("Item", meta="table = 'it\\'s'"),
    ),
    "generated off, quotes": Change(
        model("Item", meta="table = 'it\\'s'"),
        model("Item", key="id = fields.UUIDField(primary_key=True)", meta="table = 'it\\'s'"),
        values={"it's.id": {}},
        missing=["it's.id"],
        engines=(),
    ),
    "relation of a long name to itself": Change(
        model("Item"),
        model("Item") + model("L" * 58, f"others = fields.ManyToManyField('models.{'L' * 58}')"),
        engines=("sqlite", "postgresql"),
    ),
    "comment of a column": Change(
        model("Item", LETTERS.format("")),
        model("Item", LETTERS.format(f", description={TEXT!r}")),
        engines=("postgresql", "mysql"),
    ),
    "comment of a column changes": Change(
        model("Item", LETTERS.format(f", description={TEXT!r}")),
        model("Item", LETTERS.format(", description='q'")),
        engines=("postgresql", "mysql"),
    ),
    "comment of a table": Change(
        model("Item", LETTERS.format("")),
        model("Item", LETTERS.format(""), meta=f"table_description = {TEXT!r}"),
        engines=("postgresql", "mysql"),
    ),
    "comment and type": Change(
        model("Item", LETTERS.format("")),
        model(
            "Item",
            LETTERS.format(f", description={TEXT!r}").replace("20", "30"),
            meta=f"table_description = {TEXT!r}",
        ),
        ["INSERT INTO item (name) VALUES ('a')"],
    ),
    "comment of a new column and table": Change(
        model("Item", LETTERS.format("")),
        model("Item", LETTERS.format(""), f"n = fields.IntField(default=1, description={TEXT!r})")
        + model(
            "Other", LETTERS.format(f", description={TEXT!r}"), meta=f"table_description = {TEXT!r}"
        ),
        ["INSERT INTO item (name) VALUES ('a')"],
        by_tortoise=False,
    ),
    "comment of a required column": Change(
        model("Item", LETTERS.format("")),
        model("Item", LETTERS.format(""), f"n = fields.IntField(description={TEXT!r})"),
        ["INSERT INTO item (name) VALUES ('a')"],
        values={"item.n": "7"},
        engines=("postgresql", "mysql"),
    ),
    "comment of a primary key": Change(
        model("Item"),
        model("Item", key=f"id = fields.IntField(primary_key=True, description={TEXT!r})"),
        engines=("postgresql", "mysql"),
    ),
    "column whose old and new names the server cuts to the same": Change(
        model("Item", f"{'é' * 40} = fields.IntField()"),
        model("Item", f"{'é' * 39}x = fields.BigIntField()"),
        answers=[f"item.{'é' * 40}={'é' * 39}x"],
    ),
    "comment of a relation": Change(
        model("Item"),
        model(
            "Item", f"a = fields.ForeignKeyField('models.Item', null=True, description={TEXT!r})"
        ),
        engines=("postgresql", "mysql"),
    ),
}


@on_engines(NAMES)
def test_name(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


@pytest.mark.parametrize("engine", ENGINES)
def test_comments_do_not_change_sqlite(changes: Bench, engine: str) -> None:
    change = Change(
        model("Item"), model("Item", key="id = fields.IntField(primary_key=True, description='x')")
    )
    assert (changes.plan_or_none(engine, change) is None) == (engine == "sqlite")


def test_identifier_too_long_for_mysql(changes: Bench) -> None:
    for source in (model("Item", f"{'x' * 65} = fields.IntField(default=1)"), model("X" * 65)):
        with pytest.raises(MigrationError, match="64 characters"):
            changes.plan("mysql", Change(model("Item"), source))


UNMANAGED = model("Old", LETTERS.format(""), meta="managed = False")
MANAGED = model("Old", LETTERS.format(""))
LINKED = model("Old", "items = fields.ManyToManyField('models.Item')", meta="managed = False")


@pytest.mark.parametrize("engine", ENGINES)
def test_unmanaged_tables_are_left_alone(changes: Bench, engine: str) -> None:
    item = model("Item")
    assert changes.plan_or_none(engine, Change(item, item + UNMANAGED)) is None
    assert changes.plan_or_none(engine, Change(item + UNMANAGED, item)) is None
    assert changes.plan_or_none(engine, Change(item + MANAGED, item + UNMANAGED)) is None
    changed = UNMANAGED.replace("20", "30")
    assert changes.plan_or_none(engine, Change(item + UNMANAGED, item + changed)) is None
    linked = LINKED.replace("managed = False", "table = 'old'")
    assert changes.plan_or_none(engine, Change(item + linked, item + LINKED)) is None


@pytest.mark.parametrize("engine", ENGINES)
def test_table_that_is_managed_again(changes: Bench, engine: str) -> None:
    """It may be in the database: the upgrade creates it only if it is not, the downgrade keeps it."""
    item = model("Item")
    linked = LINKED.replace("managed = False", "table = 'old'")
    plans = (
        changes.plan(
            engine, Change(item + UNMANAGED, item + MANAGED.replace("=20", "=20, db_index=True"))
        ),
        changes.plan(engine, Change(item + LINKED, item + linked)),
    )
    assert all(" IF NOT EXISTS " in sql for plan in plans for sql in plan.upgrade.statements)
    assert [plan.downgrade.statements for plan in plans] == [[], []]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("before", "after", "answer"),
    [
        (UNMANAGED, UNMANAGED.replace("managed", "table = 'other'; managed"), "old=other"),
        (UNMANAGED, UNMANAGED.replace("name", "title"), "old.name=title"),
        (UNMANAGED, model("Other", LETTERS.format("")), "old=other"),
        (MANAGED, UNMANAGED.replace("Old", "Other"), "old=other"),
    ],
    ids=["table", "column", "managed again", "no longer managed"],
)
def test_rename_of_an_unmanaged_table(
    changes: Bench, engine: str, before: str, after: str, answer: str
) -> None:
    name = "other" if "class Other(Model):" in after and before == MANAGED else "old"
    words = f"^Remove --rename {answer}: migrations leave {name} alone.* managed = False"
    for more in ("", model("Item")):  # also if nothing else changed
        with pytest.raises(MigrationError, match=words):
            changes.plan(engine, Change(before, after + more, answers=[answer]))


def test_rename_to_the_name_of_an_unmanaged_table(changes: Bench) -> None:
    """The unmanaged model is gone, so the name is free."""
    change = Change(MANAGED + model("New", meta="managed = False"), MANAGED.replace("Old", "New"))
    changes.plan("sqlite", replace(change, answers=["old=new"]))
