"""Tables and columns that are renamed, alone and together with other changes."""

from dataclasses import replace

import pytest
from migration_package.errors import MigrationError
from migration_package.planning import Plan
from migration_package.renames import original

from tests.support.changes import Bench, Change, model, on_engines
from tools.render import ENGINES

TAG = model("Tag", "name = fields.CharField(max_length=20)")
POST = model(
    "Post",
    "tags = fields.ManyToManyField('models.Tag')",
    "parent = fields.ForeignKeyField('models.Tag', null=True, related_name='kids')",
)
BLOG = TAG + POST
BLOG_ROWS = [
    "INSERT INTO tag (name) VALUES ('a'), ('b')",
    "INSERT INTO post (parent_id) VALUES (1), (NULL)",
    "INSERT INTO post_tag (post_id, tag_id) VALUES (1, 1), (2, 2), (1, 2)",
]
LINKS = [(1, 1), (1, 2), (2, 2)]
SELF = model("Tag", "friends = fields.ManyToManyField('models.Tag')")
TWO = model("Item", "a = fields.CharField(max_length=20)", "b = fields.CharField(max_length=20)")
TWO_UNIQUE = TWO.replace("max_length=20", "max_length=20, unique=True", 1)
TWO_INDEXED = TWO.replace("max_length=20", "max_length=20, db_index=True", 1)
TWO_ROWS = ["INSERT INTO item (a, b) VALUES ('x', 'y')"]
NAMES = "class Aaa(Model):\n    id = fields.IntField(primary_key=True)\n    x = fields.CharField(max_length=5)\n{}class Bbb(Model):\n    id = fields.IntField(primary_key=True)\n    y = fields.IntField()\n    aaa = fields.ForeignKeyField('models.Aaa', null=True)\n{}class Ccc(Model):\n    id = fields.IntField(primary_key=True)\n    z = fields.IntField()\n{}"


def named(*tables: str) -> str:
    return NAMES.format(*(f"    class Meta:\n        table = '{name}'\n" for name in tables))


NAMED_ROWS = [
    "INSERT INTO aaa (x) VALUES ('q')",
    "INSERT INTO bbb (y, aaa_id) VALUES (3, 1)",
    "INSERT INTO ccc (z) VALUES (5)",
]
NAME_FIELD = "name = fields.CharField(max_length=20)"
INDEXED = "n = fields.IntField(db_index=True)\n    u = fields.IntField(unique=True)"
OTHERS = ("a = fields.IntField()", "b = fields.IntField()")
NAMED = "indexes = [Index(fields=('n',), name='my_index')]"
LONG_NAMES = ["A" * 60, "A" * 59 + "B"]
ALIKE = "".join(model(name, "n = fields.IntField()", meta="table = '{}'") for name in ("A", "B"))
MANY = "fields.ManyToManyField('models.Tag', through='{{}}', related_name='{}')"
TWICE = TAG + model("Post", f"a = {MANY.format('a')}", f"b = {MANY.format('b')}")
TWICE_ROWS = [
    "INSERT INTO tag (name) VALUES ('a'), ('b')",
    "INSERT INTO post (id) VALUES (1)",
    "INSERT INTO one (post_id, tag_id) VALUES (1, 1)",
    "INSERT INTO two (post_id, tag_id) VALUES (1, 2)",
]
CLASS_RENAMED = (
    TAG.replace("Tag", "Label")
    + "    class Meta:\n        table = 'tag'\n"
    + TWICE.removeprefix(TAG).replace("Tag',", "Label', forward_key='tag_id',")
)
TWO_ENDS = (
    TAG
    + model("Cat")
    + model("Post", f"a = {MANY.format('a')}", f"b = {MANY.format('b').replace('Tag', 'Cat')}")
)
OWNED = model("Owner") + model("Post", "owner = fields.ForeignKeyField('models.Owner')")
POSTS_AGAIN = model(
    "Post", "owner = fields.ForeignKeyField('models.Owner', related_name='more')"
) + model("Later", "post = fields.ForeignKeyField('models.Post')")
RENAMES = {
    "model at the end of a relation": Change(
        BLOG,
        BLOG.replace("Tag", "Label"),
        rows=BLOG_ROWS,
        answers=["tag=label"],
        expected={
            "SELECT post_id, label_id FROM post_label ORDER BY 1, 2": LINKS,
            "SELECT parent_id FROM post ORDER BY id": [(1,), (None,)],
        },
        reverted={"SELECT post_id, tag_id FROM post_tag ORDER BY 1, 2": LINKS},
    ),
    "model that has a relation": Change(
        BLOG,
        BLOG.replace("Post", "Page"),
        rows=BLOG_ROWS,
        answers=["post=page"],
        expected={"SELECT page_id, tag_id FROM page_tag ORDER BY 1, 2": LINKS},
    ),
    "both ends": Change(
        BLOG,
        BLOG.replace("Post", "Page").replace("Tag", "Label"),
        rows=BLOG_ROWS,
        answers=["post=page", "tag=label"],
        expected={"SELECT page_id, label_id FROM page_label ORDER BY 1, 2": LINKS},
    ),
    "relation to itself": Change(
        SELF,
        SELF.replace("Tag", "Label"),
        rows=[
            "INSERT INTO tag (id) VALUES (1), (2)",
            "INSERT INTO tag_tag (tag_rel_id, tag_id) VALUES (1, 2)",
        ],
        answers=["tag=label"],
        expected={"SELECT label_rel_id, label_id FROM label_label": [(1, 2)]},
    ),
    "relation declared at the other end": Change(
        BLOG,
        model(
            "Tag",
            "name = fields.CharField(max_length=20)",
            "posts = fields.ManyToManyField('models.Post')",
        )
        + model(
            "Post", "parent = fields.ForeignKeyField('models.Tag', null=True, related_name='kids')"
        ),
        rows=BLOG_ROWS,
        expected={"SELECT post_id, tag_id FROM tag_post ORDER BY 1, 2": LINKS},
    ),
    "model with a new column": Change(
        BLOG,
        BLOG.replace("Tag", "Label").replace(
            "max_length=20)", "max_length=20)\n    n = fields.IntField(default=4)"
        ),
        rows=BLOG_ROWS,
        answers=["tag=label"],
        expected={
            "SELECT n FROM label": [(4,), (4,)],
            "SELECT post_id, label_id FROM post_label ORDER BY 1, 2": LINKS,
        },
    ),
    "model with a dropped column": Change(
        BLOG,
        BLOG.replace("Tag", "Label").replace("    name = fields.CharField(max_length=20)\n", ""),
        rows=BLOG_ROWS,
        answers=["tag=label"],
        losses=["label.name is dropped with its values"],
        back={"label.name": "id"},
    ),
    "model whose old name a new model gets": Change(
        OWNED,
        OWNED.replace("Post", "Page") + POSTS_AGAIN,
        rows=["INSERT INTO owner (id) VALUES (1)", "INSERT INTO post (owner_id) VALUES (1)"],
        answers=["post=page"],
        expected={"SELECT owner_id FROM page": [(1,)], "SELECT owner_id FROM post": []},
        reverted={"SELECT owner_id FROM post": [(1,)]},
    ),
    "model with a relation, whose old name a new model gets": Change(
        BLOG,
        BLOG.replace("Post", "Page")
        + POST.replace("Tag'", "Tag', related_name='posts'", 1).replace("kids", "more"),
        rows=BLOG_ROWS,
        answers=["post=page"],
        expected={
            "SELECT page_id, tag_id FROM page_tag ORDER BY 1, 2": LINKS,
            "SELECT post_id, tag_id FROM post_tag": [],
        },
        reverted={"SELECT post_id, tag_id FROM post_tag ORDER BY 1, 2": LINKS},
    ),
    "model at the end of a relation, whose old name a new model gets": Change(
        BLOG,
        TAG
        + BLOG.replace("Tag", "Label").replace("tags =", "labels =")
        + "    tags = fields.ManyToManyField('models.Tag')\n",
        rows=BLOG_ROWS,
        answers=["tag=label"],
        expected={
            "SELECT post_id, label_id FROM post_label ORDER BY 1, 2": LINKS,
            "SELECT post_id, tag_id FROM post_tag": [],
        },
        reverted={"SELECT post_id, tag_id FROM post_tag ORDER BY 1, 2": LINKS},
    ),
    "table of a model": Change(
        BLOG,
        BLOG.replace(
            "max_length=20)\n", "max_length=20)\n    class Meta:\n        table = 'labels'\n"
        ),
        rows=BLOG_ROWS,
        expected={"SELECT name FROM labels ORDER BY id": [("a",), ("b",)]},
    ),
    "column and its type": Change(
        TWO,
        TWO.replace("a = fields.CharField(max_length=20)", "c = fields.CharField(max_length=30)"),
        rows=TWO_ROWS,
        answers=["item.a=c"],
        expected={"SELECT c FROM item": [("x",)]},
    ),
    "column and its type, by hand": Change(
        TWO,
        TWO.replace("a = fields.CharField(max_length=20)", "c = fields.IntField()"),
        rows=TWO_ROWS,
        answers=["item.a=c"],
        values={"item.c": "7"},
        expected={"SELECT c FROM item": [(7,)]},
    ),
    "column and its index": Change(
        TWO,
        TWO.replace(
            "a = fields.CharField(max_length=20)",
            "c = fields.CharField(max_length=20, unique=True)",
        ).replace(
            "b = fields.CharField(max_length=20)",
            "b = fields.CharField(max_length=20, db_index=True)",
        ),
        rows=TWO_ROWS,
        answers=["item.a=c"],
        expected={"SELECT c FROM item": [("x",)]},
    ),
    "unique column": Change(
        TWO_UNIQUE,
        TWO.replace(
            "a = fields.CharField(max_length=20)",
            "c = fields.CharField(max_length=20, unique=True)",
        ),
        rows=TWO_ROWS,
        answers=["item.a=c"],
    ),
    "unique column, no longer unique": Change(
        TWO_UNIQUE,
        TWO.replace("a = fields.CharField(max_length=20)", "c = fields.CharField(max_length=20)"),
        rows=TWO_ROWS,
        answers=["item.a=c"],
    ),
    "indexed column, no longer indexed": Change(
        TWO_INDEXED,
        TWO.replace("a = fields.CharField(max_length=20)", "c = fields.CharField(max_length=20)"),
        rows=TWO_ROWS,
        answers=["item.a=c"],
    ),
    "unique column and its table": Change(
        TWO_UNIQUE,
        TWO.replace(
            "a = fields.CharField(max_length=20)",
            "c = fields.CharField(max_length=20, unique=True)",
        ).replace("Item", "Thing"),
        rows=TWO_ROWS,
        answers=["item=thing", "thing.a=c"],
    ),
    "column of a renamed table, by the table's name before": Change(
        TWO,
        TWO.replace("Item", "Thing").replace("    a =", "    c ="),
        rows=TWO_ROWS,
        answers=["item=thing", "item.a=c"],
        expected={"SELECT c, b FROM thing": [("x", "y")]},
    ),
    "unique column of a renamed table, no longer unique": Change(
        TWO_UNIQUE,
        TWO.replace(
            "a = fields.CharField(max_length=20)", "c = fields.CharField(max_length=20)"
        ).replace("Item", "Thing"),
        rows=TWO_ROWS,
        answers=["item=thing", "thing.a=c"],
    ),
    "column, null and default": Change(
        TWO,
        TWO.replace(
            "a = fields.CharField(max_length=20)",
            "c = fields.CharField(max_length=20, null=True, db_default='q', description='d')",
        ),
        rows=TWO_ROWS,
        answers=["item.a=c"],
        back={"item.c": "'x'"},
    ),
    "chain of columns": Change(
        TWO,
        TWO.replace("    b =", "    c =").replace("    a =", "    b ="),
        rows=TWO_ROWS,
        answers=["item.a=b", "item.b=c"],
        expected={"SELECT b, c FROM item": [("x", "y")]},
    ),
    "columns that swap": Change(
        TWO.replace("b = fields.CharField(max_length=20)", "b = fields.CharField(max_length=9)"),
        TWO.replace("a = fields.CharField(max_length=20)", "a = fields.CharField(max_length=9)"),
        rows=TWO_ROWS,
        answers=["item.a=b", "item.b=a"],
        expected={"SELECT a, b FROM item": [("y", "x")]},
    ),
    "indexed columns that swap": Change(
        TWO.replace(
            "a = fields.CharField(max_length=20)",
            "a = fields.CharField(max_length=20, unique=True)",
        ).replace(
            "b = fields.CharField(max_length=20)",
            "b = fields.CharField(max_length=9, db_index=True)",
        ),
        TWO.replace(
            "b = fields.CharField(max_length=20)",
            "b = fields.CharField(max_length=20, unique=True)",
        ).replace(
            "a = fields.CharField(max_length=20)",
            "a = fields.CharField(max_length=9, db_index=True)",
        ),
        rows=TWO_ROWS,
        answers=["item.a=b", "item.b=a"],
        expected={"SELECT a, b FROM item": [("y", "x")]},
    ),
    "three columns in a circle": Change(
        model("Item", *(f"{n} = fields.IntField()" for n in "abc")),
        model("Item", *(f"{n} = fields.BigIntField()" for n in "abc")),
        rows=["INSERT INTO item (a, b, c) VALUES (1, 2, 3)"],
        answers=["item.a=b", "item.b=c", "item.c=a"],
        expected={"SELECT a, b, c FROM item": [(3, 1, 2)]},
    ),
    "foreign keys that swap": Change(
        BLOG.replace(
            "parent =", "other = fields.ForeignKeyField('models.Post', null=True)\n    parent ="
        ),
        BLOG.replace(
            "parent =", "parent = fields.ForeignKeyField('models.Post', null=True)\n    other ="
        ),
        rows=[*BLOG_ROWS, "UPDATE post SET other_id = 2"],
        answers=["post.other_id=parent_id", "post.parent_id=other_id"],
        expected={"SELECT parent_id, other_id FROM post ORDER BY id": [(2, 1), (2, None)]},
    ),
    "chain of tables": Change(
        named("aaa", "bbb", "ccc"),
        named("bbb", "ccc", "ddd"),
        rows=NAMED_ROWS,
        expected={
            "SELECT x FROM bbb": [("q",)],
            "SELECT y, aaa_id FROM ccc": [(3, 1)],
            "SELECT z FROM ddd": [(5,)],
        },
    ),
    "tables that swap": Change(
        named("aaa", "bbb", "ccc"),
        named("bbb", "aaa", "ccc"),
        rows=NAMED_ROWS,
        expected={"SELECT x FROM bbb": [("q",)], "SELECT y, aaa_id FROM aaa": [(3, 1)]},
    ),
    "tables in a circle": Change(
        named("aaa", "bbb", "ccc"),
        named("bbb", "ccc", "aaa"),
        rows=NAMED_ROWS,
        expected={"SELECT x FROM bbb": [("q",)], "SELECT z FROM aaa": [(5,)]},
    ),
    "foreign key and what it refers to": Change(
        BLOG,
        BLOG.replace("Tag", "Label").replace("parent =", "label ="),
        rows=BLOG_ROWS,
        answers=["tag=label", "post.parent_id=label_id"],
        expected={"SELECT label_id FROM post ORDER BY id": [(1,), (None,)]},
    ),
    "relation that becomes a model": Change(
        BLOG,
        TAG
        + POST.replace(
            "models.Tag'",
            "models.Tag', through='post_tag', forward_key='tag_id', backward_key='post_id'",
            1,
        )
        + model(
            "PostTag",
            "post = fields.ForeignKeyField('models.Post')",
            "tag = fields.ForeignKeyField('models.Tag', related_name='links')",
            "note = fields.CharField(max_length=5, default='x')",
            meta="table = 'post_tag'",
        ),
        rows=BLOG_ROWS,
        expected={
            "SELECT post_id, tag_id, note FROM post_tag ORDER BY 1, 2": [
                (*pair, "x") for pair in LINKS
            ]
        },
        losses={},
        back={},
    ),
    "relation that becomes a model with another name": Change(
        BLOG,
        TAG
        + POST.replace(
            "models.Tag'",
            "models.Tag', through='tagging', forward_key='tag_id', backward_key='post_id'",
            1,
        )
        + model(
            "Tagging",
            "post = fields.ForeignKeyField('models.Post')",
            "tag = fields.ForeignKeyField('models.Tag', related_name='links')",
            meta="table = 'tagging'",
        ),
        rows=BLOG_ROWS,
        answers=["post_tag=tagging"],
        expected={"SELECT post_id, tag_id FROM tagging ORDER BY 1, 2": LINKS},
    ),
    "primary key": Change(
        BLOG,
        BLOG.replace("    id =", "    key ="),
        rows=BLOG_ROWS,
        answers=["tag.id=key", "post.id=key"],
        expected={"SELECT post_id, tag_id FROM post_tag ORDER BY 1, 2": LINKS},
    ),
    "primary key and its type": Change(
        BLOG,
        BLOG.replace("    id = fields.IntField", "    key = fields.BigIntField"),
        rows=BLOG_ROWS,
        answers=["tag.id=key", "post.id=key"],
        expected={"SELECT post_id, tag_id FROM post_tag ORDER BY 1, 2": LINKS},
    ),
    "primary key, its type and the tables": Change(
        BLOG,
        BLOG.replace("    id = fields.IntField", "    key = fields.BigIntField")
        .replace("Tag", "Label")
        .replace("Post", "Page"),
        rows=BLOG_ROWS,
        answers=["tag=label", "post=page", "label.id=key", "page.id=key"],
        expected={"SELECT page_id, label_id FROM page_label ORDER BY 1, 2": LINKS},
    ),
    "tables with the same indexes that swap their names": Change(
        model("Aaa", INDEXED, "a = fields.IntField()")
        + model("Bbb", INDEXED, "b = fields.IntField()"),
        model("Bbb", INDEXED, "a = fields.IntField()")
        + model("Aaa", INDEXED, "b = fields.IntField()"),
        rows=["INSERT INTO aaa (n, u, a) VALUES (1, 2, 3)"],
        answers=["aaa=bbb", "bbb=aaa"],
        expected={"SELECT n, u, a FROM bbb": [(1, 2, 3)]},
    ),
    "table renamed, and another created under its name": Change(
        model("Aaa", INDEXED),
        model("Bbb", INDEXED, "a = fields.IntField(null=True)") + model("Aaa", INDEXED),
        rows=["INSERT INTO aaa (n, u) VALUES (1, 2)"],
        answers=["aaa=bbb"],
        expected={"SELECT n, u FROM bbb": [(1, 2)], "SELECT n FROM aaa": []},
    ),
    "index that moves to another table": Change(
        model("Aaa", "n = fields.IntField()", meta=NAMED) + model("Kept"),
        model("Bbb", "n = fields.IntField()", *OTHERS, meta=NAMED) + model("Kept"),
        losses=["aaa is dropped with its rows"],
    ),
    "tables with the same columns that swap their names": Change(
        ALIKE.format("aaa", "bbb"),
        ALIKE.format("bbb", "aaa"),
        rows=["INSERT INTO aaa (n) VALUES (1)"],
        expected={"SELECT n FROM bbb": [(1,)], "SELECT n FROM aaa": []},
        reverted={"SELECT n FROM aaa": [(1,)]},
    ),
    "relations that swap their tables": Change(
        TWICE.format("one", "two"),
        TWICE.format("two", "one"),
        rows=TWICE_ROWS,
        expected={"SELECT tag_id FROM two": [(1,)], "SELECT tag_id FROM one": [(2,)]},
        reverted={"SELECT tag_id FROM one": [(1,)]},
    ),
    "relations that pass on a table": Change(
        TWICE.format("one", "two"),
        TWICE.format("two", "three"),
        rows=TWICE_ROWS,
        expected={"SELECT tag_id FROM two": [(1,)], "SELECT tag_id FROM three": [(2,)]},
        reverted={"SELECT tag_id FROM one": [(1,)]},
    ),
    "relations that swap their tables while a model is renamed": Change(
        TWICE.format("one", "two"),
        TWICE.format("two", "one").replace("Tag", "Label"),
        rows=TWICE_ROWS,
        answers=["tag=label"],
        expected={"SELECT label_id FROM two": [(1,)], "SELECT label_id FROM one": [(2,)]},
        reverted={"SELECT tag_id FROM one": [(1,)]},
    ),
    "relations that pass on a table while their model is renamed": Change(
        TWICE.format("one", "two"),
        TWICE.format("two", "three").replace("Post", "Page"),
        rows=TWICE_ROWS,
        answers=["post=page"],
        expected={"SELECT page_id, tag_id FROM two": [(1, 1)], "SELECT tag_id FROM three": [(2,)]},
        reverted={"SELECT tag_id FROM one": [(1,)]},
    ),
    "relations that swap their tables while the class of a model is renamed": Change(
        TWICE.format("one", "two"),
        CLASS_RENAMED.format("two", "one"),
        rows=TWICE_ROWS,
        expected={"SELECT tag_id FROM two": [(1,)], "SELECT tag_id FROM one": [(2,)]},
        reverted={"SELECT tag_id FROM one": [(1,)]},
    ),
    "relations to two models that swap their tables while one is renamed": Change(
        TWO_ENDS.format("one", "two"),
        TWO_ENDS.format("two", "one").replace("Tag", "Label"),
        rows=[
            *TWICE_ROWS[:3],
            "INSERT INTO cat (id) VALUES (5)",
            "INSERT INTO two (post_id, cat_id) VALUES (1, 5)",
        ],
        answers=["tag=label"],
        expected={"SELECT label_id FROM two": [(1,)], "SELECT cat_id FROM one": [(5,)]},
        reverted={"SELECT tag_id FROM one": [(1,)]},
    ),
    "tables with long names that swap them": Change(
        model(LONG_NAMES[0], "a = fields.IntField()")
        + model(LONG_NAMES[1], "b = fields.IntField()"),
        model(LONG_NAMES[0], "b = fields.IntField()")
        + model(LONG_NAMES[1], "a = fields.IntField()"),
        rows=[f"INSERT INTO {LONG_NAMES[0].lower()} (a) VALUES (1)"],
        answers=[
            f"{LONG_NAMES[0].lower()}={LONG_NAMES[1].lower()}",
            f"{LONG_NAMES[1].lower()}={LONG_NAMES[0].lower()}",
        ],
        expected={f"SELECT a FROM {LONG_NAMES[1].lower()}": [(1,)]},
    ),
    "dropped and created under one name": Change(
        TAG + model("Item", "n = fields.IntField()"),
        model("Item", "name = fields.CharField(max_length=20)"),
        rows=["INSERT INTO tag (name) VALUES ('a')"],
        answers=["item=tag"],
        engines=(),
    ),
}


@on_engines(RENAMES)
def test_renamed(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


def net_renames(plan: Plan) -> set[tuple[str, str, str, str]]:
    """List the new table, the old table and column, and the new name of each rename of a plan."""
    find_original = original(plan.renames)
    found = set()
    for rename in plan.renames:
        name = (rename.table, rename.new) if rename.table else (rename.new, "")
        found.add((rename.table, *find_original(*name), rename.new))
    return {rename for rename in found if "_renamed_" not in rename[-1]}


@on_engines(RENAMES)
def test_what_follows_from_a_rename_can_be_named_as_well(
    changes: Bench, engine: str, change: Change
) -> None:
    planned = net_renames(changes.plan(engine, change))
    answers: list[str] = []
    for table, old_table, old, new in planned:
        places = {f"{table}.", f"{old_table}.", ""} if table else ()
        answers += [f"{place}{old}={new}" for place in places] or [f"{old_table}={new}"]

    for more in (*([answer] for answer in answers), answers):
        named = replace(change, answers=[*change.answers, *more])
        assert net_renames(changes.plan(engine, named)) == planned, more


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "answers",
    [
        ["post_tag=post_label", "post_label.tag_id=label_id"],
        ["post_tag=post_label"],
        ["post_tag.tag_id=label_id"],
        ["tag_id=label_id"],
    ],
)
def test_links_are_kept_if_what_follows_is_named(
    changes: Bench, engine: str, answers: list[str]
) -> None:
    change = RENAMES["model at the end of a relation"]
    changes.apply(engine, replace(change, answers=[*change.answers, *answers]))


@pytest.mark.parametrize("answer", ["post_label.tag_id=post_id", "post_tag=post", "post_tag.x=y"])
def test_what_contradicts_a_rename_is_refused(changes: Bench, answer: str) -> None:
    change = RENAMES["model at the end of a relation"]
    with pytest.raises(MigrationError, match=f"^--rename {answer}"):
        changes.plan("sqlite", replace(change, answers=[*change.answers, answer]))


@pytest.mark.parametrize("engine", ENGINES)
def test_links_of_a_renamed_model_that_become_a_model(changes: Bench, engine: str) -> None:
    """The table of the links is not dropped without a question whether it was renamed."""
    before = model("Group", NAME_FIELD) + model(
        "Member", "groups = fields.ManyToManyField('models.Group')"
    )
    after = (
        model("Group", NAME_FIELD)
        + model(
            "Post",
            "groups = fields.ManyToManyField('models.Group', through='post_group',"
            " backward_key='post_id', forward_key='group_id')",
        )
        + model(
            "PostGroup",
            "post = fields.ForeignKeyField('models.Post', related_name='a')",
            "group = fields.ForeignKeyField('models.Group', related_name='b')",
            "note = fields.CharField(max_length=5, null=True)",
            meta="table = 'post_group'",
        )
    )
    with pytest.raises(MigrationError, match="member_group to post_group"):
        changes.plan(engine, Change(before, after, answers=["member=post"]))

    answers = [
        "member=post",
        "member_group=post_group",
        "post_group.member_id=post_id",
    ]
    rows = [
        "INSERT INTO \"group\" (name) VALUES ('a')",
        "INSERT INTO member (id) VALUES (7)",
        "INSERT INTO member_group (member_id, group_id) VALUES (7, 1)",
    ]
    expected = {"SELECT post_id, group_id FROM post_group": [(7, 1)]}
    changes.apply(engine, Change(before, after, rows, answers, expected=expected))


INTO_DROPPED = {
    "model": (
        ALIKE.format("one", "two"),
        model("A", "n = fields.IntField()", meta="table = 'two'"),
    ),
    "relation": (
        TWICE.format("one", "two"),
        TAG + model("Post", f"a = {MANY.format('a').format('two')}"),
    ),
    "relation to a model whose class is renamed": (
        TWICE.format("one", "two"),
        "".join(
            line for line in CLASS_RENAMED.format("two", "x").splitlines(True) if " b =" not in line
        ),
    ),
}


@pytest.mark.parametrize(("before", "after"), INTO_DROPPED.values(), ids=INTO_DROPPED)
def test_table_with_the_name_of_one_that_is_dropped(
    changes: Bench, before: str, after: str
) -> None:
    with pytest.raises(MigrationError, match="^two already exists.*--rename two=NEW"):
        changes.plan("sqlite", Change(before, after))


def test_losses_say_what_could_be_a_rename(changes: Bench) -> None:
    """Nothing that they have in common lets `new` ask."""
    before = model("Item", "name = fields.CharField(max_length=20)") + TAG
    after = model("Thing", "title = fields.CharField(max_length=20)") + model(
        "Tag", "data = fields.JSONField(null=True)"
    )

    plan = changes.plan("sqlite", Change(before, after))

    assert {loss.place: loss.renames for loss in plan.losses} == {
        "item": ("item=thing",),
        "tag.name": ("tag.name=data",),
    }


ORDERS = model("Order", "x = fields.IntField()", meta="table = 'orders'") + model(
    "Line", "o = fields.ForeignKeyField('models.Order')"
)
SUCCEEDED = ORDERS.replace("Order", "LegacyOrder") + model(
    "Order", "x = fields.IntField()", "z = fields.IntField(null=True)", meta="table = 'orders_v2'"
)
ORDER_ROWS = ["INSERT INTO orders (x) VALUES (5)", "INSERT INTO line (o_id) VALUES (1)"]
SUCCESSORS = {
    "table that stays": Change(
        ORDERS,
        SUCCEEDED,
        rows=ORDER_ROWS,
        no_rename=True,
        expected={"SELECT x FROM orders": [(5,)], "SELECT x FROM orders_v2": []},
    ),
    "table that moves": Change(
        ORDERS,
        SUCCEEDED.replace("LegacyOrder'", "Order'"),
        rows=ORDER_ROWS,
        answers=["orders=orders_v2"],
        expected={"SELECT x FROM orders": [], "SELECT x, z FROM orders_v2": [(5, None)]},
    ),
}


@on_engines(SUCCESSORS)
def test_model_with_the_old_name_of_another(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


def test_asks_whether_a_table_moved_that_another_model_has_now(changes: Bench) -> None:
    """The name of a class alone does not tell what happened to its table."""
    with pytest.raises(MigrationError, match="If so, add --rename orders=orders_v2"):
        changes.plan("sqlite", Change(ORDERS, SUCCEEDED))
