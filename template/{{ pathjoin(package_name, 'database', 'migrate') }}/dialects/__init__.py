"""The SQL of each engine, with one interface. This package never connects to a database."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from ..tables import Column, ForeignKey, Index, Table

_GUARD = re.compile(r"/\* guard(?:: (.*))? \*/;?\s*\Z", re.DOTALL)
# The errors of guards whose engine cannot raise one with a text: SQLite's and MySQL's
_REFUSED = re.compile(r"integer overflow|\b1242\b")


class Numbered(NamedTuple):
    """A column that the server numbered, and the indexes that it needed for that."""

    column: Column
    indexes: frozenset[Index] = frozenset()


class Dialect(Protocol):
    """The interface to an engine's SQL.

    Attributes:
        name: Tortoise's name of the dialect: `sqlite`, `postgres` or `mysql`.
        new_uuid: SQL for a random UUID.
        length: SQL for the length of a column's value as text, with `{column}`.
        larger: a condition that finds numbers with more than `{digits}` digits before the point,
            which are those from `{limit}` on, with `{column}`.
        finer: a condition that finds decimals with more places than `{scale}`, with `{column}`.
        text: SQL for a column's value as text, with `{column}`.
        exact: SQL for a column's text that compares case and trailing spaces, with `{column}`.
        strict: whether a column only holds values of its type.
        comments: whether the server stores comments of tables and columns.
        isolated: whether others can be kept from writing while a migration runs.
        refused_characters: finds the characters that names of tables and columns must not have.
        facts: queries for the schema, with the columns `table`, `name` and `value`.
        objects: the same for views, triggers and others that models cannot express.
    """

    name: str
    new_uuid: str
    length: str
    larger: str
    finer: str
    text: str
    exact: str
    strict: bool
    comments: bool
    isolated: bool
    refused_characters: re.Pattern[str]
    facts: Sequence[str]
    objects: Sequence[str]

    def now(self, type_: str) -> str:
        """Write the current time in the form that Tortoise stores in a column of a type."""
        ...

    def quote(self, name: str) -> str:
        """Quote an identifier."""
        ...

    def literal(self, value: object, type_: str = "") -> str | None:
        """Write a value, as Tortoise passes it to the driver, as SQL; None if that is impossible.

        Args:
            value: the value.
            type_: the SQL type of the column that it is for.
        """
        ...

    def described_literal(self, value: object, type_: str) -> str | None:
        """Write a default from its JSON form as SQL; None if the JSON form is incomplete."""
        ...

    def computed(self, described: Mapping[str, Any], names: Mapping[str, str]) -> str:
        """Write the clause of a generated column; nothing for other columns.

        Args:
            described: Tortoise's description of the field.
            names: the columns of the model's fields.
        """
        ...

    def identifier(self, name: str) -> str:
        """Cut a name like the server."""
        ...

    def folded(self, name: str) -> str:
        """Return a key that is equal for names that the server treats as the same."""
        ...

    def problems(self, table: Table) -> list[str]:
        """List what no server accepts in a table. Each problem is one line with its fix."""
        ...

    def index_problem(self, kind: str, extra: str, *, expression: bool) -> str:
        """Write what the models have to use instead of an index; nothing if the engine has it.

        Args:
            kind: the kind of index, such as `GIN`; empty for an ordinary one.
            extra: what follows its columns, such as a condition.
            expression: whether it is on an expression.
        """
        ...

    def advice(self, error: str) -> str:
        """Write how to fix the models after an error of the server; nothing if it is unknown."""
        ...

    def unique_names(self, table: str, column: str, own: str) -> tuple[str, ...]:
        """List the names that the unique constraint of one column may have in the database.

        Args:
            table: the table.
            column: the column.
            own: the name that Tortoise generates.
        """
        ...

    def has_global_name(self, index: Index) -> bool:
        """Return whether the name of an index must be unique among all tables."""
        ...

    def foreign_key_names(
        self, table: str, column: str, own: str, number: int = 0
    ) -> tuple[str, ...]:
        """List the names that a foreign key may have in the database.

        Args:
            table: the table.
            column: the column.
            own: the name that Tortoise computes.
            number: how many earlier foreign keys of the table would have the same name.
        """
        ...

    def create_table(self, table: Table, without: Collection[ForeignKey] = ()) -> list[str]:
        """Create a table with its indexes, foreign keys and comments.

        Args:
            table: the table.
            without: foreign keys that `add_foreign_key` adds later.
        """
        ...

    def drop_table(self, name: str) -> str: ...

    def drop_tables(self, names: Iterable[str]) -> list[str]:
        """Drop tables if they exist, even if others refer to them."""
        ...

    def empty_tables(self, names: Iterable[str]) -> list[str]:
        """Delete all rows of tables, even if others refer to them."""
        ...

    def rename_table(self, old: str, new: str) -> list[str]: ...

    def rename_column(self, table: str, old: str, new: str) -> list[str]: ...

    def add_column(self, table: str, column: Column) -> list[str]:
        """Add a nullable column. Existing rows get NULL."""
        ...

    def add_numbers(self, table: Table, column: Column) -> list[str]:
        """Add a column that the server numbers, and number the existing rows."""
        ...

    def numbered(self, column: Column) -> Numbered:
        """Describe a column after `add_numbers`."""
        ...

    def alter_table(self, old: Table, new: Table, sources: Mapping[str, str]) -> list[str]:
        """Change a table to a new state, except its foreign keys.

        Args:
            old: the table as it is.
            new: the table as it will be.
            sources: by new column, the column of `old` that holds its prepared values.
        """
        ...

    def add_foreign_key(self, table: Table, key: ForeignKey) -> list[str]: ...

    def drop_foreign_key(self, old: Table, new: Table, key: ForeignKey) -> list[str]:
        """Drop a foreign key of `old`, and what the server created for it, before `new`."""
        ...

    def guard(self, select: str, message: str) -> str:
        """Fail if a query returns rows. `guard_message` finds the message.

        Args:
            select: the query.
            message: what is wrong with the rows that it finds.
        """
        ...

    def attribute_guards(self, table: str, changes: Sequence[tuple[Column, Column]]) -> list[str]:
        """Fail if changes of columns would drop attributes that only the database has.

        Args:
            table: the table.
            changes: columns of the table, and what they become.
        """
        ...

    def replacement_guards(self, table: Table, columns: Sequence[str]) -> list[str]:
        """Fail if columns have indexes or constraints that only the database has.

        Args:
            table: the table.
            columns: the columns, which others replace. Their indexes are dropped with them.
        """
        ...

    def lock(self, tables: Sequence[str]) -> list[str]:
        """Keep others from writing to tables until the migration ends, if that needs a statement."""
        ...

    def in_transaction(self, statements: list[str]) -> list[str]:
        """Add the statements that Aerich needs to run a migration safely."""
        ...

    def split(self, sql: str) -> list[str]:
        """Split SQL into statements, without those that are only comments."""
        ...


def load(engine: str) -> Dialect:
    """Return the dialect of an engine.

    Args:
        engine: the name of a module of this package.
    """
    dialect: Dialect = import_module(f".{engine}", __name__).dialect
    return dialect


def guard_comment(message: str = "") -> str:
    """Mark a guard.

    Args:
        message: the message, if the engine's SQL cannot raise an error with a text.
    """
    text = f": {message.replace('*/', '* /')}" if message else ""
    return f"/* guard{text} */"


def replaced_message(table: str) -> str:
    """Say what to do about an index or a constraint that only the database has."""
    return (
        f"{table} has an index or a constraint that its model lacks, on a column that is replaced, and"
        " DROP COLUMN drops it: add it at the end of the SQL, and delete this check"
    )


def is_guard(statement: str) -> bool:
    """Return whether a statement is a guard, which only checks rows."""
    return _GUARD.search(statement) is not None


def guard_message(statement: str, error: Exception) -> str:
    """Return the message of a guard that failed; nothing for other statements."""
    match = _GUARD.search(statement)
    if match is None or (match[1] and not _REFUSED.search(str(error))):
        return ""  # the guard could not run, for example because a column is missing
    return match[1] or str(error)


def if_missing(creates: Iterable[str]) -> list[str]:
    """Add IF NOT EXISTS to statements that create tables and indexes."""
    return [
        re.sub("^CREATE (TABLE|INDEX) ", r"CREATE \1 IF NOT EXISTS ", create) for create in creates
    ]
