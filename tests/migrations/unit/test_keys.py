"""Primary keys and foreign keys that change, with rows that refer to each other."""

import asyncio
from copy import deepcopy

import pytest
from migration_package import dialects
from migration_package.planning import Planner

from tests.support.changes import Bench, Change, model, on_engines, read_models
from tools.render import ENGINES

NEW_UUID = {engine: dialects.load(engine).new_uuid for engine in ("sqlite", "postgresql", "mysql")}
CODE = "code = fields.CharField(max_length=8, primary_key=True)"
KID = model("Kid", "par = fields.ForeignKeyField('models.Par')")
MANY = "friends = fields.ManyToManyField('models.Kid')"
NATURAL = model("Par", MANY, key=CODE) + KID
SURROGATE = model("Par", "code = fields.CharField(max_length=8)", MANY) + KID
UUID = (
    model(
        "Par",
        "code = fields.CharField(max_length=8)",
        MANY,
        key="id = fields.UUIDField(primary_key=True)",
    )
    + KID
)
NATURAL_ROWS = [
    "INSERT INTO par (code) VALUES ('a'), ('b')",
    "INSERT INTO kid (par_id) VALUES ('b'), ('a'), ('b')",
    "INSERT INTO par_kid (par_id, kid_id) VALUES ('a', 1), ('b', 2)",
]
SURROGATE_ROWS = [
    "INSERT INTO par (code) VALUES ('a'), ('b')",
    "INSERT INTO kid (par_id) VALUES (2), (1), (2)",
    "INSERT INTO par_kid (par_id, kid_id) VALUES (1, 1), (2, 2)",
]
NUMBERED_ROWS = [
    "INSERT INTO par (code) VALUES ('11'), ('12')",
    "INSERT INTO kid (par_id) VALUES ('12'), ('11')",
    "INSERT INTO par_kid (par_id, kid_id) VALUES ('11', 1)",
]
AS_INTEGER = {
    "sqlite": "CAST(code AS INTEGER)",
    "postgresql": "code::INT",
    "mysql": "CAST(code AS SIGNED)",
}
BY_NUMBER = {
    "SELECT par_id FROM kid ORDER BY id": [(12,), (11,)],
    "SELECT par_id FROM par_kid": [(11,)],
}
BY_ID = {
    "SELECT p.code, k.id FROM kid k JOIN par p ON p.id = k.par_id ORDER BY k.id": [
        ("b", 1),
        ("a", 2),
        ("b", 3),
    ],
    "SELECT p.code, k.kid_id FROM par_kid k JOIN par p ON p.id = k.par_id ORDER BY 2": [
        ("a", 1),
        ("b", 2),
    ],
}
BY_CODE = {
    "SELECT par_id, id FROM kid ORDER BY id": [("b", 1), ("a", 2), ("b", 3)],
    "SELECT par_id, kid_id FROM par_kid ORDER BY 2": [("a", 1), ("b", 2)],
}
EMP = model("Emp", "boss = fields.ForeignKeyField('models.Emp', null=True)", key=CODE)
EMP_ID = model(
    "Emp",
    "code = fields.CharField(max_length=8)",
    "boss = fields.ForeignKeyField('models.Emp', null=True)",
)
USR = model("Usr", key=CODE)
USR_ID = model("Usr", "code = fields.CharField(max_length=8)")
PROF = model(
    "Prof",
    "bio = fields.TextField()",
    key="usr = fields.OneToOneField('models.Usr', primary_key=True)",
)
ITEM = model("Item", "name = fields.CharField(max_length=20)")
ROWS = ["INSERT INTO item (name) VALUES ('a'), ('b')"]
FREE = ITEM.replace("primary_key=True", "primary_key=True, generated=False")

PRIMARY = {
    "numbered key beside a numbered key": Change(
        ITEM.replace("id =", "number ="),
        model("Item", "name = fields.CharField(max_length=20)", "old = fields.IntField()"),
        ["INSERT INTO item (number, name) VALUES (7, 'a')"],
        answers=["item.number=old"],
        expected={"SELECT old, name FROM item": [(7, "a")]},
        reverted={"SELECT name FROM item": [("a",)]},
        losses={},
    ),
    "natural to surrogate": Change(
        NATURAL, SURROGATE, NATURAL_ROWS, expected=BY_ID, reverted=BY_CODE
    ),
    "surrogate to natural": Change(
        SURROGATE,
        NATURAL,
        SURROGATE_ROWS,
        expected=BY_CODE,
        reverted=BY_ID,
        losses=["par.id is dropped with its values"],
        back={},
    ),
    "integer to uuid": Change(
        SURROGATE,
        UUID,
        SURROGATE_ROWS,
        values={"par.id": NEW_UUID},
        back={"par.id": "CASE code WHEN 'a' THEN 1 ELSE 2 END"},
        expected=BY_ID,
        reverted=BY_ID,
    ),
    "uuid to integer": Change(
        UUID,
        SURROGATE,
        [
            "INSERT INTO par (id, code) VALUES ('00000000-0000-4000-8000-000000000001', 'a'), ('00000000-0000-4000-8000-000000000002', 'b')",
            "INSERT INTO kid (par_id) VALUES ('00000000-0000-4000-8000-000000000002'), ('00000000-0000-4000-8000-000000000001'), ('00000000-0000-4000-8000-000000000002')",
            "INSERT INTO par_kid (par_id, kid_id) VALUES ('00000000-0000-4000-8000-000000000001', 1), ('00000000-0000-4000-8000-000000000002', 2)",
        ],
        values={"par.id": "CASE code WHEN 'a' THEN 1 ELSE 2 END"},
        back={"par.id": NEW_UUID},
        expected=BY_ID,
        reverted=BY_ID,
    ),
    "integer to bigint": Change(
        SURROGATE,
        SURROGATE.replace("id = fields.IntField", "id = fields.BigIntField"),
        SURROGATE_ROWS,
        expected=BY_ID,
    ),
    "bigint to integer": Change(
        SURROGATE.replace("id = fields.IntField", "id = fields.BigIntField"),
        SURROGATE,
        SURROGATE_ROWS,
        expected=BY_ID,
        losses={
            e: [
                "par.id cannot hold every value: BIGINT becomes INT",
                "kid.id cannot hold every value: BIGINT becomes INT",
                "kid.par_id cannot hold every value: BIGINT becomes INT",
                "par_kid.par_id cannot hold every value: BIGINT becomes INT",
                "par_kid.kid_id cannot hold every value: BIGINT becomes INT",
            ]
            for e in ("sqlite", "postgresql", "mysql")
        },
    ),
    "one end to smallint": Change(
        SURROGATE,
        SURROGATE.replace("id = fields.IntField", "id = fields.BigIntField", 1),
        SURROGATE_ROWS,
        expected=BY_ID,
    ),
    "not generated any more": Change(
        ITEM, FREE, ROWS, expected={"SELECT id FROM item": [(1,), (2,)]}
    ),
    "generated": Change(
        FREE,
        ITEM,
        ["INSERT INTO item (id, name) VALUES (7, 'a')"],
        expected={"SELECT id FROM item": [(7,)]},
    ),
    "generated with children": Change(
        SURROGATE.replace("primary_key=True", "primary_key=True, generated=False", 1),
        SURROGATE,
        ["INSERT INTO par (id, code) VALUES (1, 'a'), (2, 'b')", *SURROGATE_ROWS[1:]],
        expected=BY_ID,
    ),
    "generated and wider with children": Change(
        SURROGATE.replace("primary_key=True", "primary_key=True, generated=False", 1),
        SURROGATE.replace("fields.IntField", "fields.BigIntField", 1),
        ["INSERT INTO par (id, code) VALUES (1, 'a'), (2, 'b')", *SURROGATE_ROWS[1:]],
        expected=BY_ID,
    ),
    "wider and not generated any more": Change(
        SURROGATE,
        SURROGATE.replace(
            "fields.IntField(primary_key=True",
            "fields.BigIntField(primary_key=True, generated=False",
            1,
        ),
        SURROGATE_ROWS,
        expected=BY_ID,
    ),
    "text to a longer text": Change(
        NATURAL, NATURAL.replace("max_length=8", "max_length=30"), NATURAL_ROWS, expected=BY_CODE
    ),
    "text to an integer": Change(
        NATURAL,
        NATURAL.replace(
            "CharField(max_length=8, primary_key=True)",
            "IntField(primary_key=True, generated=False)",
        ),
        NUMBERED_ROWS,
        values={"par.code": AS_INTEGER},
        expected=BY_NUMBER,
    ),
    "text to a generated integer": Change(
        NATURAL,
        NATURAL.replace("CharField(max_length=8, primary_key=True)", "IntField(primary_key=True)"),
        NUMBERED_ROWS,
        values={"par.code": AS_INTEGER},
        expected=BY_NUMBER,
    ),
    "text to a generated integer with a new name": Change(
        NATURAL,
        NATURAL.replace(
            "code = fields.CharField(max_length=8, primary_key=True)",
            "key = fields.IntField(primary_key=True)",
        ),
        [
            "INSERT INTO par (code) VALUES ('11'), ('12')",
            "INSERT INTO kid (par_id) VALUES ('12'), ('11')",
        ],
        answers=["par.code=key"],
        values={
            "par.key": {
                "sqlite": "CAST(key AS INTEGER)",
                "postgresql": "key::INT",
                "mysql": "CAST(`key` AS SIGNED)",
            }
        },
        expected={"SELECT par_id FROM kid ORDER BY id": [(12,), (11,)]},
    ),
    "of a table that refers to itself": Change(
        EMP,
        EMP_ID,
        [
            "INSERT INTO emp (code, boss_id) VALUES ('a', NULL)",
            "INSERT INTO emp (code, boss_id) VALUES ('b', 'a')",
        ],
        expected={"SELECT b.code FROM emp e JOIN emp b ON b.id = e.boss_id": [("a",)]},
    ),
    "of a table that refers to itself, to natural": Change(
        EMP_ID,
        EMP,
        [
            "INSERT INTO emp (code, boss_id) VALUES ('a', NULL)",
            "INSERT INTO emp (code, boss_id) VALUES ('b', 1)",
        ],
        losses=["emp.id is dropped with its values"],
        expected={"SELECT boss_id FROM emp WHERE code = 'b'": [("a",)]},
    ),
    "behind a one to one relation": Change(
        USR + PROF,
        USR_ID + PROF,
        [
            "INSERT INTO usr (code) VALUES ('a'), ('b')",
            "INSERT INTO prof (usr_id, bio) VALUES ('b', 'B')",
        ],
        expected={"SELECT u.code FROM prof JOIN usr u ON u.id = usr_id": [("b",)]},
    ),
    "one to one relation to an id": Change(
        USR + PROF,
        USR + model("Prof", "bio = fields.TextField()", "usr = fields.OneToOneField('models.Usr')"),
        [
            "INSERT INTO usr (code) VALUES ('a'), ('b')",
            "INSERT INTO prof (usr_id, bio) VALUES ('b', 'B')",
        ],
        expected={"SELECT id, usr_id FROM prof": [(1, "b")]},
    ),
    "id to a one to one relation": Change(
        USR + model("Prof", "bio = fields.TextField()", "usr = fields.OneToOneField('models.Usr')"),
        USR + PROF,
        [
            "INSERT INTO usr (code) VALUES ('a'), ('b')",
            "INSERT INTO prof (usr_id, bio) VALUES ('b', 'B')",
        ],
        losses=["prof.id is dropped with its values"],
        expected={"SELECT usr_id FROM prof": [("b",)]},
    ),
    "column name": Change(
        SURROGATE,
        SURROGATE.replace("primary_key=True", "primary_key=True, source_field='key'", 1),
        SURROGATE_ROWS,
        answers=["par.id=key"],
        expected={"SELECT par_id FROM kid ORDER BY id": [(2,), (1,), (2,)]},
    ),
    "new beside a unique code": Change(
        model("Par", key=CODE),
        model("Par", "code = fields.CharField(max_length=8, unique=True)"),
        ["INSERT INTO par (code) VALUES ('a'), ('b')"],
        expected={"SELECT code FROM par ORDER BY code": [("a",), ("b",)]},
    ),
    "random uuid instead of a code": Change(
        NATURAL, UUID, NATURAL_ROWS, expected=BY_ID, reverted=BY_CODE
    ),
    "of an unenforced reference": Change(
        NATURAL.replace("'models.Par')", "'models.Par', db_constraint=False)"),
        SURROGATE.replace("'models.Par')", "'models.Par', db_constraint=False)"),
        NATURAL_ROWS,
        expected=BY_ID,
    ),
}


@on_engines(PRIMARY)
def test_primary_key(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


TAG = model("Tag", "name = fields.CharField(max_length=20)")
OTHER = model("Other", "name = fields.CharField(max_length=20)")


def post(reference: str, more: str = "") -> str:
    return model("Post", f"tag = fields.ForeignKeyField({reference})", *more.splitlines())


TAGGED = ["INSERT INTO tag (name) VALUES ('a'), ('b')", "INSERT INTO post (tag_id) VALUES (1), (2)"]
OPTIONAL = "'models.Tag', null=True"
USERS = model("User", "code = fields.CharField(max_length=10, unique=True)", meta="table = 'users'")
ORDERS = model("Orders", "user = fields.ForeignKeyField('models.User', to_field='code')")
ORDERED = [
    "INSERT INTO users (code) VALUES ('a'), ('b')",
    "INSERT INTO orders (user_id) VALUES ('b')",
]
NULLABLE = USERS.replace("unique", "null=True, unique")
OPTIONAL_ORDERS = model("Orders", "user = fields.ForeignKeyField('models.User', null=True)")
CYCLE = model(
    "Aaa", "b = fields.ForeignKeyField('models.Bbb', null=True, related_name='as_')"
) + model("Bbb", "a = fields.ForeignKeyField('models.Aaa', null=True, related_name='bs')")
FOREIGN = {
    "to another column": Change(
        USERS + ORDERS,
        USERS + ORDERS.replace(", to_field='code'", ""),
        ORDERED,
        expected={"SELECT user_id FROM orders": [(2,)]},
        reverted={"SELECT user_id FROM orders": [("b",)]},
    ),
    "to a column without a value where nothing refers to it": Change(
        NULLABLE + OPTIONAL_ORDERS,
        NULLABLE + OPTIONAL_ORDERS.replace("null", "to_field='code', null"),
        [
            "INSERT INTO users (code) VALUES ('a'), (NULL)",
            "INSERT INTO orders (user_id) VALUES (1), (NULL)",
        ],
        expected={"SELECT user_id FROM orders ORDER BY id": [("a",), (None,)]},
        reverted={"SELECT user_id FROM orders ORDER BY id": [(1,), (None,)]},
    ),
    "to a column that gets a value": Change(
        NULLABLE + OPTIONAL_ORDERS,
        USERS + OPTIONAL_ORDERS.replace("null", "to_field='code', null"),
        ["INSERT INTO users (code) VALUES (NULL)", "INSERT INTO orders (user_id) VALUES (1)"],
        values={"users.code": "'a'"},
        expected={"SELECT user_id FROM orders": [("a",)]},
    ),
    "to a new column": Change(
        NULLABLE.replace("code =", "nick =").replace("null=True, unique=True", "")
        + OPTIONAL_ORDERS,
        NULLABLE.replace("code =", "nick = fields.CharField(max_length=10)\n    code =")
        + OPTIONAL_ORDERS.replace("null", "to_field='code', null"),
        ["INSERT INTO users (nick) VALUES ('a')", "INSERT INTO orders (user_id) VALUES (1)"],
        values={"users.code": "nick"},
        expected={"SELECT user_id FROM orders": [("a",)]},
    ),
    "column that it refers to, renamed": Change(
        USERS + ORDERS,
        (USERS + ORDERS).replace("code", "label"),
        ORDERED,
        answers=["users.code=label"],
        expected={"SELECT user_id FROM orders": [("b",)]},
    ),
    "column that it refers to, longer": Change(
        USERS + ORDERS,
        USERS.replace("10", "30") + ORDERS,
        ORDERED,
        expected={"SELECT user_id FROM orders": [("b",)]},
    ),
    "on delete": Change(
        TAG + post(OPTIONAL), TAG + post(OPTIONAL + ", on_delete=fields.SET_NULL"), TAGGED
    ),
    "required": Change(
        TAG + post(OPTIONAL),
        TAG + post("'models.Tag'"),
        TAGGED + ["INSERT INTO post (tag_id) VALUES (NULL)"],
        values={"post.tag_id": "1"},
        expected={"SELECT tag_id FROM post ORDER BY id": [(1,), (2,), (1,)]},
    ),
    "not required any more": Change(
        TAG + post("'models.Tag'"), TAG + post(OPTIONAL), TAGGED, back={"post.tag_id": "1"}
    ),
    "not enforced any more": Change(
        TAG + post(OPTIONAL), TAG + post(OPTIONAL + ", db_constraint=False"), TAGGED
    ),
    "indexed": Change(TAG + post(OPTIONAL), TAG + post(OPTIONAL + ", db_index=True"), TAGGED),
    "unique": Change(
        TAG + post(OPTIONAL),
        TAG + model("Post", "tag = fields.OneToOneField('models.Tag', null=True)"),
        TAGGED,
    ),
    "an integer": Change(
        TAG + post(OPTIONAL),
        TAG + model("Post", "tag_id = fields.IntField(null=True)"),
        TAGGED,
        expected={"SELECT tag_id FROM post ORDER BY id": [(1,), (2,)]},
    ),
    "of an integer": Change(
        TAG + model("Post", "tag_id = fields.IntField(null=True)"), TAG + post(OPTIONAL), TAGGED
    ),
    "target": Change(
        TAG + OTHER + post(OPTIONAL),
        TAG + OTHER + post("'models.Other', null=True"),
        [*TAGGED, "INSERT INTO other (name) VALUES ('x'), ('y')"],
        expected={"SELECT tag_id FROM post ORDER BY id": [(1,), (2,)]},
        losses=["post.tag_id keeps its values, which will refer to other instead of tag"],
    ),
    "target of another type": Change(
        TAG + model("Other", key=CODE) + post(OPTIONAL),
        TAG + model("Other", key=CODE) + post("'models.Other', null=True"),
        [*TAGGED, "INSERT INTO other (code) VALUES ('x')"],
        values={"post.tag_id": "'x'"},
        back={"post.tag_id": "1"},
        expected={"SELECT tag_id FROM post": [("x",), ("x",)]},
    ),
    "target is dropped": Change(
        TAG + OTHER + post(OPTIONAL),
        OTHER + post("'models.Other', null=True"),
        [*TAGGED, "INSERT INTO other (name) VALUES ('x'), ('y')"],
        answers=[],
        losses=[
            "tag is dropped with its rows",
            "post.tag_id keeps its values, which will refer to other instead of tag",
        ],
        reverted={"SELECT tag_id FROM post": [(None,), (None,)]},
    ),
    "target is new": Change(
        TAG + post(OPTIONAL),
        TAG + OTHER + post("'models.Other', null=True"),
        TAGGED,
        expected={"SELECT tag_id FROM post": [(None,), (None,)]},
        losses=["post.tag_id becomes NULL: other is a new table"],
    ),
    "required target is new": Change(
        TAG + post("'models.Tag'"),
        TAG + OTHER + post("'models.Other'"),
        TAGGED,
        values={
            "post.tag_id": {
                "sqlite": "7; INSERT INTO other (id, name) VALUES (7, 'x')",
                "postgresql": "7; INSERT INTO other (id, name) VALUES (7, 'x')",
                "mysql": "7; INSERT INTO other (id, name) VALUES (7, 'x')",
            }
        },
        reversible=False,
    ),
    "to a new table, required": Change(
        TAG,
        TAG.replace(
            "max_length=20)", "max_length=20)\n    other = fields.ForeignKeyField('models.Other')"
        )
        + OTHER,
        ["INSERT INTO tag (name) VALUES ('a')"],
        values={"tag.other_id": "1; INSERT INTO other (id, name) VALUES (1, 'x')"},
        expected={"SELECT other_id FROM tag": [(1,)]},
    ),
    "to a new table": Change(
        TAG,
        TAG.replace(
            "max_length=20)",
            "max_length=20)\n    other = fields.ForeignKeyField('models.Other', null=True)",
        )
        + OTHER,
        ["INSERT INTO tag (name) VALUES ('a')"],
    ),
    "renamed column, target changed": Change(
        TAG + OTHER + post(OPTIONAL),
        TAG + OTHER + model("Post", "other = fields.ForeignKeyField('models.Other', null=True)"),
        [*TAGGED, "INSERT INTO other (name) VALUES ('x'), ('y')"],
        answers=["post.tag_id=other_id"],
        losses=["post.other_id keeps its values, which will refer to other instead of tag"],
    ),
    "cycle of new tables": Change(TAG, TAG + CYCLE, by_tortoise=False),
    "cycle of dropped tables": Change(
        TAG + CYCLE,
        TAG,
        [
            "INSERT INTO aaa (b_id) VALUES (NULL)",
            "INSERT INTO bbb (a_id) VALUES (1)",
            "UPDATE aaa SET b_id = 1",
        ],
        losses=["aaa is dropped with its rows", "bbb is dropped with its rows"],
    ),
    "cycle that begins": Change(
        CYCLE.replace(
            "    b = fields.ForeignKeyField('models.Bbb', null=True, related_name='as_')\n", ""
        ),
        CYCLE,
        by_tortoise=False,
    ),
    "cycle whose keys become surrogates": Change(
        CYCLE.replace(
            "    id = fields.IntField(primary_key=True)",
            "    code = fields.CharField(max_length=8, primary_key=True)",
        ),
        CYCLE.replace(
            "    id = fields.IntField(primary_key=True)",
            "    id = fields.IntField(primary_key=True)\n    code = fields.CharField(max_length=8)",
        ),
        [
            "INSERT INTO aaa (code, b_id) VALUES ('x', NULL)",
            "INSERT INTO bbb (code, a_id) VALUES ('y', 'x')",
            "UPDATE aaa SET b_id = 'y'",
        ],
        expected={"SELECT a_id FROM bbb": [(1,)], "SELECT b_id FROM aaa": [(1,)]},
        by_tortoise=False,
    ),
    "cycle whose keys get wider": Change(
        CYCLE,
        CYCLE.replace("id = fields.IntField", "id = fields.BigIntField"),
        [
            "INSERT INTO aaa (b_id) VALUES (NULL)",
            "INSERT INTO bbb (a_id) VALUES (1)",
            "UPDATE aaa SET b_id = 1",
        ],
        expected={"SELECT a_id FROM bbb": [(1,)], "SELECT b_id FROM aaa": [(1,)]},
        by_tortoise=False,
    ),
    "parent rebuilt, children kept": Change(
        TAG + post("'models.Tag'"),
        TAG.replace("max_length=20", "max_length=30, unique=True") + post("'models.Tag'"),
        TAGGED,
        expected={"SELECT tag_id FROM post ORDER BY id": [(1,), (2,)]},
    ),
    "longer, and its children and links dropped": Change(
        model("Par", MANY, key=CODE) + KID,
        model("Par", key=CODE.replace("8", "30")),
        NATURAL_ROWS,
        expected={"SELECT code FROM par ORDER BY 1": [("a",), ("b",)]},
        losses=["kid is dropped with its rows", "par_kid is dropped with its links"],
    ),
    "dropped with its children": Change(
        TAG + OTHER + post("'models.Tag'"),
        OTHER,
        TAGGED,
        losses=["post is dropped with its rows", "tag is dropped with its rows"],
    ),
}


@on_engines(FOREIGN)
def test_foreign_key(changes: Bench, engine: str, change: Change) -> None:
    changes.apply(engine, change)


@pytest.mark.parametrize("engine", ENGINES)
def test_states_without_the_field_that_a_relation_refers_to(engine: str) -> None:
    """Aerich and releases before 0.7 left it out."""
    source = USERS + ORDERS
    described = asyncio.run(read_models(source, engine))
    old = deepcopy(described.state)
    for found in old.values():
        for relation in (*found["fk_fields"], *found["o2o_fields"]):
            del relation["to_field"]
    planner = Planner(dialects.load(engine), described.reader)
    assert planner.plan(old, described.state, described.models, [], None) is None

    changed = asyncio.run(read_models(source.replace(", to_field='code'", ""), engine))
    plan = planner.plan(described.state, changed.state, changed.models, [], None)
    assert plan is not None


UNNUMBERED = model(
    "Item",
    "name = fields.CharField(max_length=5)",
    key="id = fields.IntField(primary_key=True, generated=False)",
)
NUMBERS = {
    "none": (),
    "negative": (-992, -1),
    "zero": (0,),
    "zero and one": (0, 1),
    "largest": (2**31 - 1,),
}


@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("engine", ENGINES)
def test_server_numbers_rows_from_now_on(
    changes: Bench, engine: str, numbers: tuple[int, ...]
) -> None:
    change = Change(
        UNNUMBERED,
        UNNUMBERED.replace(", generated=False", ""),
        [f"INSERT INTO item (id, name) VALUES ({number}, 'a')" for number in numbers],
        expected={"SELECT id FROM item ORDER BY id": [(number,) for number in numbers]},
        reverted={"SELECT id FROM item ORDER BY id": [(number,) for number in numbers]},
    )
    changes.apply(engine, change)
