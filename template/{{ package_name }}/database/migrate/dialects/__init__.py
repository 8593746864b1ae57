"""The SQL of each engine, behind one interface. Nothing here connects to a database."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from ..tables import Column, ForeignKey, Index, Table

_GUARD = re.compile(r"/\* guard(?:: (.*))? \*/;?\s*\Z", re.DOTALL)


class Numbered(NamedTuple):
    """A column that the server has numbered, and what it needed for that."""

    column: Column
    indexes: frozenset[Index] = frozenset()


class Dialect(Protocol):
    """What the migration package needs to know of an engine's SQL.

    Attributes:
        name: what Tortoise calls the dialect: `sqlite`, `postgres` or `mysql`.
        new_uuid: SQL for a random UUID.
        length: SQL for the length of a column's value as text, with `{column}`.
        number: SQL for a column's value as a number, with `{column}`.
        strict: whether a column only holds values of its type.
        comments: whether the server stores comments of tables and columns.
        facts: queries for what the tables consist of, with the columns `table`, `name` and `value`.
    """

    name: str
    new_uuid: str
    length: str
    number: str
    strict: bool
    comments: bool
    facts: Sequence[str]

    def now(self, type_: str) -> str:
        """Write the current time, as Tortoise stores it in a column of a type."""
        ...

    def quote(self, name: str) -> str:
        """Quote an identifier."""
        ...

    def literal(self, value: object, type_: str = "") -> str | None:
        """Write a value, as Tortoise hands it to the driver, as SQL; None where that is not possible.

        Args:
            value: the value.
            type_: the SQL type of the column that it is for.
        """
        ...

    def described_literal(self, value: object, type_: str) -> str | None:
        """Write a default of which only the JSON form is left, as `literal`; None where it lost too much."""
        ...

    def computed(self, described: Mapping[str, Any], names: Mapping[str, str]) -> str:
        """Write what follows the type of a generated column; nothing for other columns.

        Args:
            described: the field, as Tortoise describes it.
            names: the columns of the model's fields.
        """
        ...

    def identifier(self, name: str) -> str:
        """Cut a name as the server cuts it."""
        ...

    def folded(self, name: str) -> str:
        """Return what is equal for names that the server takes for the same name."""
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
        """Tell whether no index of another table may have the name of an index."""
        ...

    def foreign_key_names(
        self, table: str, column: str, own: str, number: int = 0
    ) -> tuple[str, ...]:
        """List the names that a foreign key may have in the database.

        Args:
            table: the table.
            column: the column.
            own: the name that Tortoise computes.
            number: how many foreign keys of the table have the same name without it.
        """
        ...

    def create_table(self, table: Table, without: Collection[ForeignKey] = ()) -> list[str]:
        """Create a table with everything that belongs to it.

        Args:
            table: the table.
            without: foreign keys that `add_foreign_key` adds later.
        """
        ...

    def drop_table(self, name: str) -> str: ...

    def drop_tables(self, names: Iterable[str]) -> list[str]:
        """Drop tables that exist, whatever refers to them."""
        ...

    def empty_tables(self, names: Iterable[str]) -> list[str]:
        """Delete all rows of tables, whatever refers to them."""
        ...

    def rename_table(self, old: str, new: str) -> list[str]: ...

    def rename_column(self, table: str, old: str, new: str) -> list[str]: ...

    def add_column(self, table: str, column: Column) -> list[str]:
        """Add a column that may be NULL to a table that may have rows; they get NULL."""
        ...

    def add_numbers(self, table: str, column: Column) -> list[str]:
        """Add a column that the server numbers, and number the rows that are there."""
        ...

    def numbered(self, column: Column) -> Numbered:
        """Describe a column as `add_numbers` leaves it."""
        ...

    def alter_table(self, old: Table, new: Table, sources: Mapping[str, str]) -> list[str]:
        """Turn a table into another of its name, except for its foreign keys.

        Args:
            old: the table as it is.
            new: the table as it will be.
            sources: for columns whose values were prepared in another column of `old`, its name.
        """
        ...

    def add_foreign_key(self, table: Table, key: ForeignKey) -> list[str]: ...

    def drop_foreign_key(self, old: Table, new: Table, key: ForeignKey) -> list[str]:
        """Drop a foreign key of `old`, and what the server created for it; `new` comes next."""
        ...

    def guard(self, select: str, message: str) -> str:
        """Fail if a query has rows; `guard_message` finds the message.

        Args:
            select: the query.
            message: what is wrong with the rows that it finds.
        """
        ...

    def in_transaction(self, statements: list[str]) -> list[str]:
        """Put around a migration's statements what Aerich needs to run them safely."""
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
        message: what the guard says, where the engine's SQL cannot raise an error with a text.
    """
    text = f": {message.replace('*/', '* /')}" if message else ""
    return f"/* guard{text} */"


def is_guard(statement: str) -> bool:
    """Tell whether a statement only looks at rows, and fails if they stand in the way."""
    return _GUARD.search(statement) is not None


def guard_message(statement: str, error: Exception) -> str:
    """Return what a guard that failed says; nothing for other statements."""
    match = _GUARD.search(statement)
    return (match[1] or str(error)) if match else ""


def if_missing(creates: Iterable[str]) -> list[str]:
    """Let statements that create tables and indexes leave alone what is there."""
    return [
        re.sub("^CREATE (TABLE|INDEX) ", r"CREATE \1 IF NOT EXISTS ", create) for create in creates
    ]
