"""The SQL that all engines share."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from ..tables import Column, ForeignKey, Index, Table


class StandardSQL(ABC):
    """The standard SQL of a dialect. `Dialect` documents the methods."""

    without_checks: tuple[str, str]
    # neither Tortoise nor SQLite escapes the first ones, and indexes take the last for an expression
    refused_characters = re.compile(r'["\0]|\A\(')
    # ABS() overflows for the smallest integer
    larger = "{column} >= {limit} OR {column} <= -{limit}"
    finer = "{column} <> ROUND({column}, {scale})"

    def quote(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def literal(self, value: object, type_: str = "") -> str | None:
        text = None
        match value:
            case None:
                text = "NULL"
            case bool() | int():
                text = str(int(value))
            case Decimal():
                text = str(value)
            case bytes():
                text = f"X'{value.hex()}'"
            case datetime():
                text = self._text(value.isoformat(" "))
            case date() | time():
                text = self._text(value.isoformat())
            case str() | UUID() if "\0" not in str(value):  # servers refuse it
                text = self._text(str(value))
        return text

    @staticmethod
    def _text(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"

    def computed(self, described: Mapping[str, Any], names: Mapping[str, str]) -> str:
        return ""

    def folded(self, name: str) -> str:
        return self.identifier(name)

    def problems(self, table: Table) -> list[str]:
        return []

    def advice(self, error: str) -> str:
        return ""

    def identifier(self, name: str) -> str:
        return name

    def foreign_key_names(
        self, table: str, column: str, own: str, number: int = 0
    ) -> tuple[str, ...]:
        return (own,)

    def drop_table(self, name: str) -> str:
        return f"DROP TABLE {self.quote(name)}"

    def drop_tables(self, names: Iterable[str]) -> list[str]:
        off, on = self.without_checks
        return [off, *(f"DROP TABLE IF EXISTS {self.quote(name)}" for name in names), on]

    def empty_tables(self, names: Iterable[str]) -> list[str]:
        off, on = self.without_checks
        return [off, *(f"DELETE FROM {self.quote(name)}" for name in names), on]

    def rename_table(self, old: str, new: str) -> list[str]:
        return [f"ALTER TABLE {self.quote(old)} RENAME TO {self.quote(new)}"]

    def rename_column(self, table: str, old: str, new: str) -> list[str]:
        rename = f"RENAME COLUMN {self.quote(old)} TO {self.quote(new)}"
        return [f"ALTER TABLE {self.quote(table)} {rename}"]

    def add_column(self, table: str, column: Column) -> list[str]:
        return [f"ALTER TABLE {self.quote(table)} ADD COLUMN {self._define(column)}"]

    @abstractmethod
    def _define(self, column: Column) -> str:
        """Write the definition of a column."""

    def _columns(self, index: Index) -> str:
        return ", ".join(c if c.startswith("(") else self.quote(c) for c in index.columns)

    def _primary_key(self, table: Table) -> list[str]:
        """Write the primary key of a table definition, if the table has one."""
        names = ", ".join(self.quote(c.name) for c in table.columns.values() if c.primary)
        return [f"PRIMARY KEY ({names})"] if names else []

    def _reference(self, key: ForeignKey) -> str:
        return (
            f"CONSTRAINT {self.quote(key.names[0])} FOREIGN KEY ({self.quote(key.column)})"
            f" REFERENCES {self.quote(key.table)} ({self.quote(key.to)}) ON DELETE {key.on_delete}"
        )

    def add_foreign_key(self, table: Table, key: ForeignKey) -> list[str]:
        return [f"ALTER TABLE {self.quote(table.name)} ADD {self._reference(key)}"]

    def attribute_guards(self, table: str, changes: Sequence[tuple[Column, Column]]) -> list[str]:
        return []

    def replacement_guards(self, table: Table, columns: Sequence[str]) -> list[str]:
        return []

    def lock(self, tables: Sequence[str]) -> list[str]:
        return []

    def in_transaction(self, statements: list[str]) -> list[str]:
        return statements
