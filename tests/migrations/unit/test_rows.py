"""Sample rows, without a database."""

from dataclasses import replace
from typing import Any

import pytest

from ...support.package import make_importable

make_importable()

from migration_package.tables import Column, ForeignKey, Index, Table
from migration_package.verification.contents import Places, State, Survivor, Survivors, changes
from migration_package.verification.kinds import (
    Kind,
    choose,
    fits,
    kind_of_field,
    kind_of_type,
    with_renamed_members,
)
from migration_package.verification.rows import Reference, Row, Sampler, in_order_to_fill


def table(*columns: Column, unique: tuple[tuple[str, ...], ...] = (), **more: Any) -> Table:
    indexes = frozenset(Index(("u",), columns, unique=True) for columns in unique)
    return Table("item", {column.name: column for column in columns}, indexes, **more)


ID = Column("id", "INT", null=False, generated=True, primary=True)


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("VARCHAR(20)", Kind("text", size=20)),
        ("LONGTEXT", Kind("text")),
        ("CITEXT", Kind("text")),
        ("INT", Kind("integer", low=-(2**31), high=2**31 - 1)),
        ("SMALLINT", Kind("integer", low=-(2**15), high=2**15 - 1)),
        ("BIGINT", Kind("integer", low=-(2**63), high=2**63 - 1)),
        ("INT UNSIGNED", Kind("integer", low=0, high=2**32 - 1)),
        ("TINYINT(1)", Kind("boolean")),
        ("BOOL", Kind("boolean")),
        ("DECIMAL(5,2)", Kind("decimal", size=5, scale=2)),
        ("DOUBLE PRECISION", Kind("float")),
        ("TIMESTAMPTZ", Kind("datetime")),
        ("DATETIME(6)", Kind("datetime")),
        ("DATE", Kind("date")),
        ("TIMETZ", Kind("time")),
        ("JSONB", Kind("json")),
        ("UUID", Kind("uuid")),
        ("LONGBLOB", Kind("binary")),
        ("BYTEA", Kind("binary")),
        ("BINARY(16)", Kind("binary", size=16)),
        ("INT[]", Kind("array", item=Kind("integer", low=-(2**31), high=2**31 - 1))),
        ("GEOMETRY", Kind("")),
    ],
)
def test_kinds_of_types(type_: str, kind: Kind) -> None:
    assert kind_of_type(type_) == kind


KINDS = [
    *(Kind("text", size=size) for size in (1, 2, 3, 8, 255)),
    Kind("text"),
    *(kind_of_type(f"DECIMAL({sizes})") for sizes in ("1,0", "2,2", "5,2", "30,10")),
    Kind("text", size=9, members=("low", "high")),
    Kind("integer", low=0, high=255, members=("1", "7")),
    *map(
        kind_of_type,
        ("SMALLINT", "BIGINT", "BOOL", "DOUBLE", "TIMESTAMP", "DATE", "TIME", "JSON", "UUID"),
    ),
    *map(kind_of_type, ("BYTEA", "BINARY(16)", "INT[]", "TEXT[]", "INET")),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_values_fit_their_kind(kind: Kind) -> None:
    found = choose((kind,))

    assert len(found) >= 2
    assert len(set(found)) == len(found)
    assert all(fits(value, kind) for value in found)
    assert all(fits(value, kind) for value in choose((kind,), simple=True))


@pytest.mark.parametrize(
    ("old", "new", "there"),
    [
        ("VARCHAR(30)", "VARCHAR(5)", "é" * 5),
        ("VARCHAR(5)", "VARCHAR(30)", "é" * 5),
        ("TEXT", "VARCHAR(5)", "é" * 5),
        ("INT", "VARCHAR(3)", "42"),
        ("BIGINT", "SMALLINT", "-32768"),
        ("INT", "SMALLINT", "32767"),
        ("DECIMAL(9,4)", "DECIMAL(5,2)", "-999.99"),
        ("DECIMAL(9,4)", "INT", "1"),
        ("INT", "BOOL", "1"),
        ("VARCHAR(20)", "INT", "-2147483648"),
        ("TEXT", "UUID", "a3bb189e-8bf9-4888-9912-ace4e6543002"),
        ("TEXT", "JSON", "[]"),
        ("BIGINT", "DOUBLE", "42"),
    ],
)
def test_values_fit_before_and_after_a_change(old: str, new: str, there: str) -> None:
    kinds = (kind_of_type(old), kind_of_type(new))

    found = choose(kinds)

    assert there in found
    assert all(fits(value, kind) for value in found for kind in kinds)


def test_values_fit_the_old_type_where_none_fits_both() -> None:
    assert "2024-02-29" in choose((Kind("date"), kind_of_type("INT")))


def test_values_are_empty_longest_and_of_any_language() -> None:
    found = [value for value in choose((Kind("text", size=20),)) if isinstance(value, str)]

    assert "" in found
    assert max(map(len, found)) == 20
    assert any(not value.isascii() for value in found)
    assert any("'" in value for value in found)


def described(**field: Any) -> dict[str, Any]:
    basics = {"field_type": "CharEnumFieldInstance", "python_type": "str", "description": None}
    return {**basics, "db_column": "level", "db_field_types": {"": "VARCHAR(9)"}, **field}


def test_members_are_read_from_the_description() -> None:
    assert kind_of_field(described(description="low: l\nhigh: h: h")).members == ("l", "h: h")
    assert kind_of_field(described(description="How high it is")).members == ()
    assert kind_of_field(described(description="a: b", field_type="CharField")).members == ()
    assert kind_of_field(described(), members=("x",)).members == ("x",)


def test_rows_have_members_that_get_new_values() -> None:
    old = Column("c", "VARCHAR(7)", null=False, members=("reddish", "b"), labels=("red", "blue"))
    new = replace(old, type="VARCHAR(1)", members=("r", "b"))
    before, after = (
        Kind("text", size=int(column.type[8]), members=column.members) for column in (old, new)
    )

    assert choose((before, with_renamed_members(after, old, new))) == ("reddish", "b")
    assert with_renamed_members(after, new, new) == after


def test_rows_have_no_members_whose_values_others_take() -> None:
    old = Column("c", "SMALLINT", null=False, members=("1", "2", "3"), labels=("s", "m", "l"))
    new = replace(old, members=("1", "2"), labels=("s", "l"))
    before, after = (
        replace(kind_of_type("SMALLINT"), members=column.members) for column in (old, new)
    )

    assert choose((before, with_renamed_members(after, old, new))) == ("1", "3")


def test_sqlite_types_are_those_of_the_field() -> None:
    types = {"": "DECIMAL(5,2)", "sqlite": "VARCHAR(40)"}
    decimal = described(field_type="DecimalField", db_field_types=types)

    assert kind_of_field(decimal, "sqlite") == Kind("decimal", size=5, scale=2)


def test_rows_use_every_member_and_null() -> None:
    columns = (ID, Column("level", "VARCHAR(9)", null=True))
    kinds = {"level": (Kind("text", size=9, members=tuple("abcdefghijkl")),)}

    found = Sampler(table(*columns), None, kinds, {}).rows()

    assert {row["level"] for row in found} == {*"abcdefghijkl", None}
    assert all("id" not in row for row in found)


def test_unique_columns_have_distinct_values() -> None:
    columns = (ID, Column("name", "VARCHAR(3)", null=False), Column("flag", "BOOL", null=False))
    kinds = {"name": (Kind("text", size=3),), "flag": (Kind("boolean"),)}

    found = Sampler(table(*columns, unique=(("name",),)), None, kinds, {}).rows()
    flags = Sampler(table(*columns, unique=(("flag",),)), None, kinds, {}).rows()
    pairs = Sampler(table(*columns, unique=(("name", "flag"),)), None, kinds, {}).rows()

    assert len(found) >= 3
    assert len({row["name"] for row in found}) == len(found)
    assert len(flags) == 2
    assert len({(row["name"], row["flag"]) for row in pairs}) == len(pairs)


def test_rows_fit_a_unique_constraint_that_comes_later() -> None:
    columns = (ID, Column("flag", "BOOL", null=False))
    later = table(*columns, unique=(("flag",),))

    assert len(Sampler(table(*columns), later, {"flag": (Kind("boolean"),)}, {}).rows()) == 2


def link(available: int, *, unique: bool = False) -> list[Row]:
    columns = (Column("post_id", "INT", null=False), Column("tag_id", "INT", null=False))
    keys = frozenset(
        ForeignKey(("f",), column.name, column.name[:-3], "id", "CASCADE") for column in columns
    )
    linked = table(*columns, unique=(("post_id", "tag_id"),), foreign_keys=keys)
    counts = {"post": available, "tag": available}
    found: list[Row] = Sampler(linked, None, {}, counts).rows()
    return found


def test_links_are_many_to_many() -> None:
    found = [(row["post_id"], row["tag_id"]) for row in link(9)]

    assert len(set(found)) == len(found) > 4
    assert len({post for post, _ in found}) < len(found)
    assert len({tag for _, tag in found}) < len(found)
    assert link(1) == [{"post_id": Reference("post", "id", 0), "tag_id": Reference("tag", "id", 0)}]


def test_one_to_one_rows_refer_to_different_rows() -> None:
    column = Column("owner_id", "INT", null=False)
    key = ForeignKey(("f",), "owner_id", "owner", "id", "CASCADE")
    one = table(ID, column, unique=(("owner_id",),), foreign_keys=frozenset([key]))

    found = Sampler(one, None, {}, {"owner": 2}).rows()

    assert [row["owner_id"] for row in found] == [Reference("owner", "id", n) for n in (0, 1)]


def test_rows_refer_to_rows_with_a_value_that_they_refer_to_later() -> None:
    key = ForeignKey(("f",), "owner_id", "owner", "id", "CASCADE")
    item = table(ID, Column("owner_id", "INT", null=False), foreign_keys=frozenset([key]))
    given = {("owner_id", "owner"): "code"}

    found = Sampler(item, None, {}, {"owner": 1}, given).rows()

    assert found[0]["owner_id"] == Reference("owner", "id", 0, "code")


def test_rows_refer_to_rows_of_their_own_table() -> None:
    key = ForeignKey(("f",), "parent_id", "item", "id", "CASCADE")
    keys = frozenset([key])
    may = table(ID, Column("parent_id", "INT", null=True), foreign_keys=keys)
    must = table(ID, Column("parent_id", "INT", null=False), foreign_keys=keys)

    first, *others = Sampler(may, None, {}, {}).rows()

    assert first["parent_id"] is None
    assert all(isinstance(row["parent_id"], Reference) for row in others)
    assert all(row["parent_id"] == row["id"] for row in Sampler(must, None, {}, {}).rows())


def test_says_why_there_can_be_no_rows() -> None:
    key = ForeignKey(("f",), "owner_id", "owner", "id", "CASCADE")
    owned = table(ID, Column("owner_id", "INT", null=False), foreign_keys=frozenset([key]))
    place = Column("place", "GEOMETRY", null=False)

    assert Sampler(owned, None, {}, {"owner": 0}).missing() == (
        "it refers to owner, which has no rows"
    )
    assert Sampler(table(ID, place), None, {"place": (Kind(""),)}, {}).missing() == (
        "there are no sample values for place GEOMETRY"
    )
    assert Sampler(table(ID), None, {}, {}).missing() is None


def test_rows_of_a_table_with_nothing_but_a_number() -> None:
    rows = Sampler(table(ID), None, {}, {}).rows()
    assert len({row["id"] for row in rows}) == len(rows) > 1


def state(*tables: Table) -> State:
    kinds = {t.name: {c.name: kind_of_type(c.type) for c in t.columns.values()} for t in tables}
    return State({t.name: t for t in tables}, kinds, {})


def named(name: str, *columns: Column, **more: Any) -> Table:
    return replace(table(*columns, **more), name=name)


def with_old_names(before: State, after: State, *renames: str) -> State:
    return Places.after(renames, "", before.tables, after.tables).with_old_names(after)


def test_rows_fit_a_column_that_is_renamed_and_narrowed() -> None:
    before = state(table(ID, Column("a", "VARCHAR(10)", null=False)))
    after = state(
        named("thing", ID, Column("b", "VARCHAR(5)", null=False), unique=(("b",),)),
    )

    later = with_old_names(before, after, "item=thing", "thing.a=b")

    assert later.kinds["item"]["a"] == Kind("text", size=5)
    (index,) = later.tables["item"].indexes
    assert index.columns == ("a",)
    assert later.tables["item"].columns["a"].type == "VARCHAR(5)"


def test_rows_fit_a_reference_to_a_renamed_table() -> None:
    before = state(named("owner", ID), table(ID, Column("o_id", "INT", null=False)))
    key = ForeignKey(("f",), "p_id", "person", "key", "CASCADE")
    column = Column("p_id", "INT", null=False)
    renamed = named("person", replace(ID, name="key"))
    after = state(renamed, table(ID, column, foreign_keys=frozenset([key])))

    later = with_old_names(before, after, "owner=person", "person.id=key", "item.o_id=p_id")

    (found,) = later.tables["item"].foreign_keys
    assert found == ForeignKey(("f",), "o_id", "owner", "id", "CASCADE")


def test_new_tables_and_columns_do_not_replace_renamed_ones() -> None:
    before = state(table(ID, Column("a", "INT", null=False)))
    moved = named(
        "article", ID, Column("b", "SMALLINT", null=False), Column("a", "TEXT", null=True)
    )
    after = state(moved, table(ID, Column("a", "BOOL", null=True)))

    later = with_old_names(before, after, "item=article", "article.a=b")

    assert later.kinds["item"] == {
        "id": kind_of_type("INT"),
        "a": kind_of_type("SMALLINT"),
        "new a": Kind("text"),
    }
    assert later.tables.keys() == {"item", "new item"}


def test_a_rename_wins_over_what_had_the_new_name_and_is_dropped() -> None:
    before = state(table(ID, Column("a", "INT", null=False), Column("b", "TEXT", null=False)))
    after = state(table(ID, Column("b", "SMALLINT", null=False)))

    assert with_old_names(before, after, "item.a=b").kinds["item"]["a"] == kind_of_type("SMALLINT")


def test_tables_that_do_not_change_keep_their_names() -> None:
    key = ForeignKey(("f",), "o_id", "unmanaged", "id", "CASCADE")
    same = state(table(ID, Column("o_id", "INT", null=False), foreign_keys=frozenset([key])))

    assert with_old_names(same, same) == same


def referring(name: str, *others: str, column: str = "{}_id") -> Table:
    columns = [Column(column.format(other), "INT", null=False) for other in others]
    keys = [ForeignKey(("f",), column.format(o), o, "id", "CASCADE") for o in others]
    return named(name, ID, *columns, foreign_keys=frozenset(keys))


def order(now: list[Table], later: list[Table]) -> list[str]:
    tables = ({table.name: table for table in some} for some in (now, later))
    return [table.name for table in in_order_to_fill(*tables)]


def test_tables_that_a_column_will_refer_to_are_filled_first() -> None:
    later = [referring("item", "other"), referring("other", "root"), referring("root")]
    number = replace(later[0], foreign_keys=frozenset())

    assert order([number, *later[1:]], later) == ["root", "other", "item"]


def test_references_of_today_decide_the_order_if_tables_will_refer_to_each_other() -> None:
    later = [referring("a", "b"), referring("b", "a")]
    number = replace(later[1], foreign_keys=frozenset())

    assert order([later[0], number], later) == ["b", "a"]
    assert order([referring("a", "b"), referring("b")], later) == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "is_same"), [("0.300000000000000044", True), ("0.3", False), ("0.3x", False)]
)
def test_text_of_a_float_may_have_more_digits(text: str, is_same: bool) -> None:
    columns = [Survivor(name, name, convert=name == "n", fills=False) for name in ("id", "n")]
    before, after = [{"id": 1, "n": 0.1 + 0.2}], [{"id": 1, "n": text}]

    assert (changes(before, after, Survivors(columns, columns[0])) == {}) == is_same


def test_renames_of_names_with_dots() -> None:
    before = state(named("my.item", ID, Column("a.b", "INT", null=False)), named("my", ID))
    after = state(named("my.thing", ID, Column("c", "TEXT", null=False)), named("my", ID))

    later = with_old_names(before, after, "my.item=my.thing", "my.thing.a.b=c")

    assert later.kinds["my.item"]["a.b"] == Kind("text")
