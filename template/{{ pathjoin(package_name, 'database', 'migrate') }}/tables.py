"""Describe the tables that the models declare, without a database."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Column:
    """A column. All SQL is in the dialect of the service's engine.

    Attributes:
        name: the column's name.
        type: its SQL type.
        null: whether it may be NULL.
        default: the server's default as SQL, or nothing.
        generated: whether the server numbers new rows.
        primary: whether it is the primary key.
        comment: the comment, escaped by Tortoise.
        declared: the type in the model, if the engine stores another one. SQLite stores decimals
            as text and booleans as integers.
        enum: whether it is the column of an enum.
        members: the values of its enum, if the description has them.
        labels: the names of these members, in the same order.
        computed: the clause of a generated column, such as `GENERATED ALWAYS AS (...) STORED`.
        backfill: the SQL value for existing rows when the column is new or becomes NOT NULL; None
            if only the user knows it.
    """

    name: str
    type: str
    null: bool
    default: str = ""
    generated: bool = False
    primary: bool = False
    comment: str = ""
    declared: str = ""
    members: tuple[str, ...] = ()
    computed: str = ""
    labels: tuple[str, ...] = ()
    enum: bool = field(default=False, compare=False)
    backfill: str | None = field(default=None, compare=False)

    @property
    def meaning(self) -> str:
        """The type that its values have for the model."""
        return self.declared or self.type


@dataclass(frozen=True)
class Index:
    """A unique constraint or an index.

    Attributes:
        names: its name, then other names that it may have in the database.
        columns: names of columns, or expressions in parentheses.
        unique: whether it is a unique constraint.
        kind: the access method, such as `gin`, or the kind of index, such as `FULLTEXT`.
        extra: what follows the columns, such as a condition.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    unique: bool
    kind: str = ""
    extra: str = ""


@dataclass(frozen=True)
class ForeignKey:
    """A reference to a row of another table or of the same one.

    Attributes:
        names: its name, then other names that it may have in the database.
        column: the column that refers.
        table: the table that it refers to.
        to: the column that it refers to.
        on_delete: what happens to the row, such as `CASCADE`.
        enforced: whether the server checks it.
    """

    names: tuple[str, ...]
    column: str
    table: str
    to: str
    on_delete: str
    enforced: bool = True


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: the table's name.
        columns: its columns by name, in order.
        indexes: its unique constraints and indexes.
        foreign_keys: its references.
        comment: the comment, escaped by Tortoise.
        link: the two columns of an automatic many-to-many table, in order; empty elsewhere.
        may_exist: whether it may already exist, although no migration created it.
    """

    name: str
    columns: dict[str, Column]
    indexes: frozenset[Index] = frozenset()
    foreign_keys: frozenset[ForeignKey] = frozenset()
    comment: str = ""
    link: tuple[str, ...] = field(default=(), compare=False)
    may_exist: bool = field(default=False, compare=False)

    def indexes_on(self, column: str) -> frozenset[Index]:
        """List the indexes that start with a column."""
        return frozenset(index for index in self.indexes if index.columns[0] == column)


Tables = dict[str, Table]


def with_names(
    table: Table, table_name: Callable[[str], str], column_name: Callable[[str, str], str]
) -> Table:
    """Give a table and its columns other names. Indexes and foreign keys keep theirs.

    Args:
        table: the table.
        table_name: returns the new name of a table.
        column_name: returns the new name of a column, after the old name of its table.
    """
    names = {name: column_name(table.name, name) for name in table.columns}
    return replace(
        table,
        name=table_name(table.name),
        columns={names[old]: replace(c, name=names[old]) for old, c in table.columns.items()},
        indexes=frozenset(
            replace(index, columns=tuple(names.get(column, column) for column in index.columns))
            for index in table.indexes
        ),
        foreign_keys=frozenset(
            replace(
                key,
                column=column_name(table.name, key.column),
                table=table_name(key.table),
                to=column_name(key.table, key.to),
            )
            for key in table.foreign_keys
        ),
        link=tuple(column_name(table.name, column) for column in table.link),
    )


def in_order_of_reference(some: Iterable[Table]) -> list[Table]:
    """Sort tables so that each comes after the tables that it refers to."""
    waiting = {table.name: table for table in some}
    done: list[Table] = []
    while waiting:
        ready = [
            table
            for table in waiting.values()
            if not ({key.table for key in table.foreign_keys} - {table.name}) & waiting.keys()
        ]
        done += [waiting.pop(table.name) for table in ready or list(waiting.values())]
    return done


def with_referred(names: Iterable[str], tables: Tables) -> set[str]:
    """Add the tables that some tables refer to, directly or not."""
    found, waiting = set[str](), set(names)
    while waiting:
        found |= waiting
        keys = (key for name in waiting & tables.keys() for key in tables[name].foreign_keys)
        waiting = {key.table for key in keys} - found
    return found


def in_circles(tables: Tables) -> list[str]:
    """List the tables that refer to other tables which refer back, directly or not."""
    targets = {n: {key.table for key in t.foreign_keys} - {n} for n, t in tables.items()}
    return sorted(name for name in tables if name in with_referred(targets[name], tables))
