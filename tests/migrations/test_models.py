"""`check`, `new` and `verify` refuse the same models, each with one line and no traceback."""

import re

import pytest

from tools.render import ENGINES

from ..conftest import MakeService
from ..support.migrating import FIRST, MIGRATE
from ..support.services import Service

MODELS = "src/database/models.py"
CONFIG = "src/database/config.py"

ITEM = """

class Item(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=20)
"""
TAG = """

class Tag(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=20)
"""

# What is appended to the models, and what the line says
REFUSED = {
    "schema": (f'{ITEM}\n    class Meta:\n        schema = "other"\n', "Item: remove Meta.schema"),
    "unknown relation": (
        f'{ITEM}    shop = fields.ForeignKeyField("models.Shop")\n',
        "The models have an error: .*Shop",
    ),
    "relation to an unknown app": (
        f'{ITEM}    shop = fields.ForeignKeyField("shops.Shop")\n',
        "The models have an error: .*shops",
    ),
    "SET_NULL without null": (
        f'{ITEM}    owner = fields.ForeignKeyField("models.User", on_delete=fields.SET_NULL)\n',
        "The models have an error: .*null=True",
    ),
    "two primary keys": (
        f"{ITEM}    other = fields.IntField(primary_key=True)\n",
        "The models have an error: .*Item",
    ),
    "unknown field in unique_together": (
        f'{ITEM}\n    class Meta:\n        unique_together = (("name", "size"),)\n',
        ".*Item.*size",
    ),
    "unknown field in indexes": (
        f'{ITEM}\n    class Meta:\n        indexes = (("name", "size"),)\n',
        ".*Item.*size",
    ),
    "two models on one table": (
        f'{ITEM}\n    class Meta:\n        table = "users"\n',
        "(the model )?(Item|User).*'users'",
    ),
    "key that a through model lacks": (
        f"""{TAG}{ITEM}    tags = fields.ManyToManyField("models.Tag", through="item_tag")


class ItemTag(Model):
    id = fields.IntField(primary_key=True)
    order = fields.ForeignKeyField("models.Item")
    tag = fields.ForeignKeyField("models.Tag")

    class Meta:
        table = "item_tag"
""",
        "Item.tags: set its backward_key to a column of ItemTag, which has no 'item_id'",
    ),
    "two columns of one name": (
        f'{ITEM}    title = fields.CharField(max_length=9, source_field="name")\n',
        ".*Item.*'?name'?",
    ),
    "two relations on one table": (
        TAG
        + ITEM
        + '    tags = fields.ManyToManyField("models.Tag", related_name="a")\n'
        + '    labels = fields.ManyToManyField("models.Tag", related_name="b")\n',
        "the relation Item.tags: set another `through`.*Item.labels",
    ),
    "default without a name": (
        f"import functools\n{ITEM}    size = fields.IntField(default=functools.partial(int, 3))\n",
        "Item.size: make its default a function",
    ),
    "db_default that the field refuses": (
        f'{ITEM}    size = fields.CharField(max_length=3, db_default="large")\n',
        "Item.size: change its db_default",
    ),
    "default that a column rounds": (
        f"{ITEM}    size = fields.DecimalField(5, 2, default='1.239')\n",
        "Item.size: round its default 1.239 to 2 decimal places",
    ),
    "default that the server rounds": (
        f"{ITEM}    size = fields.DecimalField(5, 0, db_default='0.5')\n",
        "Item.size: round its default 0.5 to 0 decimal places",
    ),
    "default that is too large": (
        f"{ITEM}    size = fields.SmallIntField(default=32768)\n",
        "Item.size: change its default 32768, which is too large",
    ),
    "default with too many digits": (
        f"{ITEM}    size = fields.DecimalField(5, 2, default=1000)\n",
        "Item.size: change its default 1000, which is too large",
    ),
    "text that looks like a function": (
        f"{ITEM}    size = fields.CharField(max_length=9, db_default='Now()')\n",
        "Item.size: change its db_default",
    ),
    "name of nothing": (f"{ITEM}    size = fields.NoSuchField()\n", ".*NoSuchField"),
    "syntax": ("\n\nclass Item(\n", "The models have an error: SyntaxError"),
    "import": ("\n\nimport no_such_module\n", "The models have an error: .*no_such_module"),
}


def refuse(service: Service, line: str) -> None:
    """Run all three commands, and compare what they say."""
    for command in (["check"], ["new", "change"], ["verify"]):
        process = service.run(*MIGRATE, *command, status=1)
        output = process.stdout + process.stderr
        assert "Traceback" not in output
        assert "The database cannot be used" not in output
        assert re.match(line, output), f"{command}: {output}"
        assert len(output.splitlines()) == 1, output
    folder = service.folder / "migrations" / "models"
    assert [path.name for path in folder.glob("*.py")] == [FIRST]


@pytest.mark.parametrize("case", REFUSED)
def test_models_are_refused(make_service: MakeService, case: str) -> None:
    service = make_service("sqlite")
    appended, line = REFUSED[case]
    path = service.folder / MODELS
    path.write_text(path.read_text(encoding="utf-8") + appended, encoding="utf-8")

    refuse(service, line)


# What the line says to do, as texts and their replacements
FIXED = {
    "schema": ('        schema = "other"\n', "        pass\n"),
    "SET_NULL without null": ("SET_NULL)", "SET_NULL, null=True)"),
    "two primary keys": ("other = fields.IntField(primary_key=True)", "other = fields.IntField()"),
    "unknown field in unique_together": ('"size"', '"id"'),
    "unknown field in indexes": ('"size"', '"id"'),
    "two models on one table": ('"users"', '"items"'),
    "two columns of one name": ('source_field="name"', 'source_field="title"'),
    "two relations on one table": ('related_name="b"', 'related_name="b", through="labels"'),
    "default without a name": (
        "import functools\n",
        "def size():\n    return 3\n",
    ),
    "default that a column rounds": ("1.239", "1.240"),
    "default that the server rounds": ("0.5", "1"),
}


@pytest.mark.parametrize("case", FIXED)
def test_models_are_fixed_as_told(make_service: MakeService, case: str) -> None:
    service = make_service("sqlite")
    path = service.folder / MODELS
    appended = REFUSED[case][0].replace(*FIXED[case]).replace("functools.partial(int, 3)", "size")
    path.write_text(path.read_text(encoding="utf-8") + appended, encoding="utf-8")

    assert "Verified" in service.run(*MIGRATE, "new", "items").stdout
    service.run(*MIGRATE, "check")


@pytest.mark.in_turn
def test_unmanaged_table_is_left_alone(service: Service) -> None:
    service.run(*MIGRATE, "upgrade")
    path = service.folder / MODELS
    models = path.read_text(encoding="utf-8")
    unmanaged = "\n    class Meta:\n        managed = False\n"
    path.write_text(models + ITEM + unmanaged, encoding="utf-8")

    assert "match the migrations" in service.run(*MIGRATE, "check").stdout
    assert "Nothing changed" in service.run(*MIGRATE, "new", "items").stdout
    assert service.run(*MIGRATE, "verify").stdout.startswith("Verified")

    path.write_text(models + ITEM, encoding="utf-8")
    assert "Verified" in service.run(*MIGRATE, "new", "items").stdout
    service.run(*MIGRATE, "upgrade")
    service.database.query("INSERT INTO item (name) VALUES ('kept')")
    path.write_text(models + ITEM + unmanaged, encoding="utf-8")
    assert "match the migrations" in service.run(*MIGRATE, "check").stdout
    assert service.run(*MIGRATE, "verify").stdout.startswith("Verified")
    assert service.database.query("SELECT name FROM item") == [("kept",)]


def test_table_that_is_managed_again_stays_after_a_revert(service: Service) -> None:
    path = service.folder / MODELS
    models = path.read_text(encoding="utf-8")
    unmanaged = "\n    class Meta:\n        managed = False\n"
    path.write_text(models + ITEM + unmanaged + TAG, encoding="utf-8")
    service.run(*MIGRATE, "new", "tags")
    service.run(*MIGRATE, "upgrade")
    key = {"sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT", "postgresql": "SERIAL PRIMARY KEY"}.get(
        service.database.engine, "INT PRIMARY KEY AUTO_INCREMENT"
    )
    service.database.query(f"CREATE TABLE item (id {key}, name VARCHAR(20) NOT NULL)")
    service.database.query("INSERT INTO item (name) VALUES ('kept')")

    path.write_text(models + ITEM + TAG, encoding="utf-8")
    output = service.run(*MIGRATE, "new", "items").stdout
    assert output.splitlines()[-1] == "Verified: migrations match the models and are reversible"
    (file,) = (service.folder / "migrations" / "models").glob("2_*.py")
    assert "# downgrade() keeps item: " in file.read_text(encoding="utf-8")

    for command in (["upgrade"], ["downgrade", "1", "--yes"], ["upgrade"]):
        service.run(*MIGRATE, *command)
        assert service.database.query("SELECT name FROM item") == [("kept",)]
    service.run(*MIGRATE, "check")

    more = "    size = fields.IntField(null=True)\n"
    path.write_text(models + ITEM + unmanaged + TAG + more, encoding="utf-8")
    output = service.run(*MIGRATE, "new", "sizes").stdout
    assert output.splitlines()[-1] == "Verified: migrations match the models and are reversible"
    (file,) = (service.folder / "migrations" / "models").glob("3_*.py")
    assert "# item stays as it is: " in file.read_text(encoding="utf-8")
    for command in (["upgrade"], ["downgrade", "2", "--yes"], ["upgrade"]):
        service.run(*MIGRATE, *command)
        assert service.database.query("SELECT name FROM item") == [("kept",)]


def test_reference_to_an_unmanaged_table(service: Service) -> None:
    """SQLite creates the reference without its table, but no row can have one."""
    path = service.folder / MODELS
    models = path.read_text(encoding="utf-8")
    unmanaged = f"{TAG}\n    class Meta:\n        managed = False\n"
    relation = '    tag = fields.ForeignKeyField("models.Tag", null=True)\n'
    path.write_text(models + unmanaged + ITEM + relation, encoding="utf-8")

    refused = service.run(*MIGRATE, "new", "items", status=1).stderr
    assert "item.tag_id refers to tag, which no migration creates" in refused

    (file,) = (service.folder / "migrations" / "models").glob("1_*.py")
    file.unlink()
    relation = relation.replace("null=True", "null=True, db_constraint=False")
    path.write_text(models + unmanaged + ITEM + relation, encoding="utf-8")
    assert "Verified" in service.run(*MIGRATE, "new", "items").stdout


INDEXES = "\n".join(f"from tortoise.contrib.{c}.indexes import *" for c in ("mysql", "postgres"))
INDEXES += "\nfrom tortoise.indexes import Index, PartialIndex\n"
INDEXES += "from pypika_tortoise.functions import Lower\n"


def indexed(number: int, index: str) -> str:
    return f"{ITEM}\n    class Meta:\n        indexes = [{index}]\n".replace(
        "Item", f"Item{number}"
    )


# Indexes that an engine does not have, what the line says, and what it says to use
OTHER_INDEXES = {
    "sqlite": {
        **{
            f"{name}(fields=['name'])": (f"use an Index: SQLite .* {name[:-5].upper()}", "Index")
            for name in (
                *("BloomIndex", "BrinIndex", "GinIndex", "GistIndex", "HashIndex", "SpGistIndex"),
                *("FullTextIndex", "SpatialIndex"),
            )
        },
        "PartialIndex(fields=['name'], condition={'size': 1})": (
            "its condition has 'size'",
            "Index",
        ),
    },
    "postgresql": {
        "FullTextIndex(fields=['name'])": ("use a GinIndex on a TSVectorField", "HashIndex"),
        "SpatialIndex(fields=['name'])": ("use a GistIndex: PostgreSQL .* SPATIAL", "BrinIndex"),
        "PartialIndex(fields=['name'], condition={'size': 1})": (
            "its condition has 'size'",
            "Index",
        ),
    },
    "mysql": {
        **{
            f"{name}(fields=['name'])": (
                f"use an Index or a FullTextIndex: MySQL .* {name[:-5].upper()}",
                "FullTextIndex",
            )
            for name in (
                *("BloomIndex", "BrinIndex", "GinIndex", "GistIndex", "HashIndex", "SpGistIndex"),
            )
        },
        "PartialIndex(fields=['name'], condition={'id': 1})": ("use an Index: indexes", "Index"),
        "Index(Lower('name'), name='lower_name')": ("index a column: Tortoise", ""),
    },
}


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_indexes_that_the_engine_does_not_have(engine: str, service: Service) -> None:
    path = service.folder / MODELS
    models = path.read_text(encoding="utf-8") + INDEXES
    cases = list(OTHER_INDEXES[engine].items())
    items = [indexed(number, index) for number, (index, _) in enumerate(cases)]
    path.write_text(models + "".join(items), encoding="utf-8")

    for command in (["check"], ["new", "change"], ["verify"]):
        process = service.run(*MIGRATE, *command, status=1)
        lines = (process.stdout + process.stderr).splitlines()
        for number, (line, (index, (words, _))) in enumerate(zip(lines, cases, strict=True)):
            declared = "'lower_name'" if "Lower" in index else re.sub(", cond.*}", "", index)
            expected = rf"Item{number}: replace {re.escape(declared)} in Meta.indexes: {words}"
            assert re.match(expected, line), line

    fixed = [
        indexed(number, f"{name}(fields=['name'])" if name else "('name',)")
        for number, (_, (_, name)) in enumerate(cases)
    ]
    path.write_text(models + "".join(fixed), encoding="utf-8")
    assert "Verified" in service.run(*MIGRATE, "new", "items").stdout


NAMED = """

class Item(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=20, source_field="{0}")
    n = fields.IntField(db_index=True, source_field="n{0}")
    tags = fields.ManyToManyField("models.Tag", through="link{0}", forward_key="tag{0}")

    class Meta:
        table = "item{0}"
        indexes = [Index(fields=["name", "n"]), Index(fields=["n"], name="index{0}")]
"""
# What no name may have, and what names of these models may have
CHARACTERS = {
    "sqlite": (["'\"'"], "100%s. ':`{}[]($1)?é😀--"),
    "postgresql": (["'\"'"], "100%s. ':`{}[]($1)?é😀--"),
    "mysql": (["'%'", "'`'", "'😀'"], "100. ':\"{}[]($1)?é--"),
}


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_characters_of_names(engine: str, service: Service) -> None:
    path = service.folder / MODELS
    models = path.read_text(encoding="utf-8") + INDEXES + TAG
    refused, allowed = CHARACTERS[engine]
    for character in refused:
        part = character[1:-1].replace('"', '\\"')
        path.write_text(models + NAMED.format(part), encoding="utf-8")
        for command in (["check"], ["new", "change"], ["verify"]):
            process = service.run(*MIGRATE, *command, status=1)
            lines = (process.stdout + process.stderr).splitlines()
            assert [line.partition(" '")[0] for line in lines] == [
                "Item: rename the table",
                "Item.name: rename the column",
                "Item.n: rename the column",
                "Item.tags: rename its through",
                "Item.tags: rename its forward_key",
                "Item: rename the index",
            ], lines
            assert all(
                line.endswith(f": migrations do not support names with {character}")
                for line in lines
            ), lines

    path.write_text(models + NAMED.format(allowed.replace('"', '\\"')), encoding="utf-8")
    assert "Verified" in service.run(*MIGRATE, "new", "items").stdout
    service.run(*MIGRATE, "upgrade")
    service.run(*MIGRATE, "check")


def add(service: Service, path: str, text: str) -> None:
    file = service.folder / path
    file.parent.mkdir(exist_ok=True)
    (file.parent / "__init__.py").touch()
    file.write_text(text, encoding="utf-8")


HEAD = "from tortoise import fields\nfrom tortoise.models import Model\n"


@pytest.mark.parametrize(
    "text",
    [
        HEAD + ITEM,
        f"from tortoise import Model, fields\n{ITEM}",
        f"import tortoise\nfrom tortoise import fields\n{ITEM}".replace(
            "(Model)", "(tortoise.Model)"
        ),
        f"from tortoise import fields, models as m\n{ITEM}".replace("(Model)", "(m.Model)"),
        f"from tortoise import fields\nfrom .base import Base\n{ITEM}".replace("(Model)", "(Base)"),
    ],
)
def test_module_that_is_not_listed(make_service: MakeService, text: str) -> None:
    service = make_service("sqlite")
    base = "class Base(Model):\n    class Meta:\n        abstract = True\n"
    add(service, "src/shop/base.py", HEAD + base)
    service.run(*MIGRATE, "check")
    add(service, "src/shop/models.py", text)

    refuse(service, f"{CONFIG}: add 'src.shop.models' to MODELS: it defines the model Item")

    service.edit(
        CONFIG,
        '    f"{__package__}.models",\n',
        '    f"{__package__}.models",\n    "src.shop.models",\n',
    )
    assert "(item)" in service.run(*MIGRATE, "check", status=1).stdout
    assert "Verified" in service.run(*MIGRATE, "new", "items").stdout
    service.run(*MIGRATE, "upgrade")
    assert "item" in service.database.tables()


def test_model_that_moved_to_a_module_that_is_not_listed(make_service: MakeService) -> None:
    service = make_service("sqlite")
    add(service, "src/shop/models.py", f"{HEAD}{ITEM}")
    with (service.folder / MODELS).open("a", encoding="utf-8") as models:
        models.write(OWNED.format("models"))

    refuse(service, f"{CONFIG}: add 'src.shop.models' to MODELS: it defines the model Item")

    service.edit(CONFIG, LISTED, f'{LISTED}    "src.shop.models",\n')
    assert "Verified" in service.run(*MIGRATE, "new", "owned").stdout


SHOP = '        "shop": {"models": ["src.shop.models"], "default_connection": "default"},\n'
LISTED = '    f"{__package__}.models",\n'
OWNER = """

class Owner(Model):
    id = fields.IntField(primary_key=True)
    user = fields.ForeignKeyField("{}.User")
"""
OWNED = """

class Owned(Model):
    id = fields.IntField(primary_key=True)
    item = fields.ForeignKeyField("{}.Item")
"""


def test_second_app(make_service: MakeService) -> None:
    service = make_service("sqlite")
    add(service, "src/shop/models.py", HEAD + ITEM)
    service.edit(
        CONFIG,
        '            "default_connection": "default",\n        },\n',
        f'            "default_connection": "default",\n        }},\n{SHOP}',
    )

    refuse(service, f"{CONFIG}: move the modules of the app 'shop' to MODELS")

    add(service, "src/shop/models.py", HEAD + ITEM + OWNER.format("models"))
    path = service.folder / MODELS
    path.write_text(path.read_text(encoding="utf-8") + OWNED.format("shop"), encoding="utf-8")
    problems = service.run(*MIGRATE, "check", status=1).stdout
    assert "Owned.item refers to the app 'shop': use only models of the app 'models'" in problems
    assert "Owner.user refers to the app 'models'" not in problems
    # as told
    service.edit(CONFIG, SHOP, "")
    service.edit(CONFIG, LISTED, f'{LISTED}    "src.shop.models",\n')
    service.edit(MODELS, '"shop.Item"', '"models.Item"')
    service.run(*MIGRATE, "upgrade")
    assert "Verified" in service.run(*MIGRATE, "new", "items").stdout
    service.run(*MIGRATE, "check")
    service.run(*MIGRATE, "upgrade")
    assert {"item", "owner", "owned"} <= service.database.tables()


def test_rival_migrations(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.run("tortoise", "-c", "src.database.config.TORTOISE_ORM", "makemigrations")
    assert (service.folder / "src/database/migrations").exists()

    refuse(service, "src/database/migrations has migrations of the `tortoise` command: delete it")


def test_configuration_with_an_error(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.edit(CONFIG, '"apps": {', '"apps": nothing, "x": {')

    refuse(service, r"src/database/config\.py cannot be imported: NameError.*nothing")


LONG = "a" * 63


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_names_that_the_server_cuts(engine: str, service: Service) -> None:
    models = "".join(
        f"\n\nclass {name}(Model):\n    id = fields.IntField(primary_key=True)\n\n"
        f'    class Meta:\n        table = "{LONG}{name[-1].lower()}"\n'
        for name in ("ItemX", "ItemY")
    )
    path = service.folder / MODELS
    path.write_text(path.read_text(encoding="utf-8") + models, encoding="utf-8")

    if engine == "postgresql":
        refuse(
            service, f"the model ItemY: set another Meta.table, since the model ItemX uses '{LONG}"
        )
    else:
        assert "Verified" in service.run(*MIGRATE, "new", "items").stdout


def test_tables_whose_names_differ_by_case(make_service: MakeService) -> None:
    service = make_service("sqlite")
    path = service.folder / MODELS
    table = '\n    class Meta:\n        table = "USERS"\n'
    path.write_text(path.read_text(encoding="utf-8") + ITEM + table, encoding="utf-8")

    refuse(service, "the model User: set another Meta.table, since the model Item uses 'USERS'")
