"""Fill the tables of a scratch database with generated or hand-written sample rows."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tortoise import BaseDBAsyncClient
from tortoise.exceptions import OperationalError

from ..context import ENGINE, dialect, reason
from ..errors import MigrationError
from ..files import Migration, read_text
from ..sessions import load
from ..tables import Table, in_order_of_reference, with_referred
from .contents import NAME, Content, Places, State
from .kinds import Kind, with_renamed_members
from .rows import Row, Sampler, Value, in_order_to_fill

INSERT = re.compile(rf"\bINSERT\s+(?:OR\s+\w+\s+|IGNORE\s+)?INTO\s+{NAME}", re.IGNORECASE)

sessions = load(ENGINE)


@dataclass(frozen=True)
class Filled:
    """A table at the time when it was filled."""

    table: Table
    kinds: dict[str, Kind]
    simple: bool


@dataclass
class Filler:
    """Fills tables, and records their content.

    Attributes:
        client: the scratch database.
        counts: how many rows the tables have.
        filled: the tables that were filled.
        kept: the tables with rows that migrations inserted.
        unfilled: why tables have no rows.
    """

    client: BaseDBAsyncClient
    counts: dict[str, int] = field(default_factory=dict)
    filled: dict[str, Filled] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    unfilled: dict[str, str] = field(default_factory=dict)

    async def fill(
        self, now: State, later: State, migration: Migration, *, simple: bool = False
    ) -> set[str]:
        """Fill the tables whose rows are not enough to verify the next migration.

        Args:
            now: the models.
            later: the models after the next migration, with the names before it.
            migration: the next migration.
            simple: whether to omit unusual values.

        Returns:
            The tables whose rows may have changed.

        Raises:
            MigrationError: the team's rows cannot be inserted.
        """
        path = migration.samples
        sql = read_text(path) if path.exists() else ""
        by_team = {match[1] for match in INSERT.finditer(sql)} & now.tables.keys()
        tables = in_order_to_fill(now.tables, later.tables)
        stale = {t.name for t in tables if not self._is_current(t, now, later, simple=simple)}
        stale = _with_referring(stale | by_team, now, later) - with_referred(self.kept, now.tables)
        await self._empty(stale)
        waiting = _with_referring(by_team, now, later)
        for table in tables:
            if table.name in stale - waiting:
                await self._fill_table(table, now, later, simple=simple)
        await self._insert_samples(path, sql)
        for table in tables:
            if table.name in waiting and await self._count(table.name):
                self._remember(table, now, simple=simple)
            elif table.name in waiting:
                await self._fill_table(table, now, later, simple=simple)
        return set(now.tables) if sql else stale

    async def fill_new(self, state: State) -> None:
        """Fill the tables that a migration has created."""
        for table in in_order_of_reference(state.tables.values()):
            if table.name not in self.filled:
                await self._fill_table(table, state, state, simple=False)

    def follow(self, places: Places, content: Content) -> None:
        """Update the names of tables after a migration."""
        moved = places.tables.items()
        self.filled = {new: self.filled[old] for old, new in moved if old in self.filled}
        self.unfilled = {new: self.unfilled[old] for old, new in moved if old in self.unfilled}
        known = {new: self.counts.get(old, 0) for old, new in moved}
        self.kept = {new for old, new in moved if old in self.kept}
        self.kept |= {name for name, rows in content.items() if len(rows) > known.get(name, 0)}
        self.count(content)

    def count(self, content: Content) -> None:
        """Record the number of rows."""
        filled = {name for name, rows in content.items() if rows or name in self.unfilled}
        self.counts = {name: len(content[name]) for name in filled}
        self.filled = {name: self.filled[name] for name in self.filled if name in filled}

    def _is_current(self, table: Table, now: State, later: State, *, simple: bool) -> bool:
        """Return whether a table has values in each column that fit the next migration."""
        filled = self.filled.get(table.name)
        if filled is None or (simple and not filled.simple):
            return False
        kinds = now.kinds.get(table.name, {})
        is_as_filled = (filled.table, filled.kinds) == (table, kinds)
        if table.name not in later.tables:
            return is_as_filled
        next_kinds = later.kinds.get(table.name, {})
        return is_as_filled and (later.tables[table.name], next_kinds) == (table, kinds)

    def _remember(self, table: Table, now: State, *, simple: bool) -> None:
        self.filled[table.name] = Filled(table, now.kinds.get(table.name, {}), simple)
        self.unfilled.pop(table.name, None)

    async def _empty(self, names: Iterable[str]) -> None:
        full = sorted(name for name in names if self.counts.get(name))
        if not full:
            return
        for statement in dialect.empty_tables(full):
            await self.client.execute_script(statement)
        for name in full:
            self.counts[name] = 0
            self.filled.pop(name, None)

    async def _count(self, name: str) -> int:
        query = f"SELECT count(*) AS total FROM {dialect.quote(name)}"
        self.counts[name] = int((await self.client.execute_query_dict(query))[0]["total"])
        return self.counts[name]

    async def _insert_samples(self, path: Path, sql: str) -> None:
        for number, statement in enumerate(dialect.split(sql), 1):
            try:
                await self.client.execute_script(statement)
            except sessions.errors as error:
                raise MigrationError(
                    f"{path}: statement {number} failed in the scratch database of `verify`:"
                    f" {reason(error)}\n\n{statement}"
                ) from error

    async def _fill_table(self, table: Table, now: State, later: State, *, simple: bool) -> None:
        """Fill a table with rows that fit its current and its next state."""
        name = table.name
        try:
            if name not in self.counts and await self._count(name):
                self.kept.add(name)
        except OperationalError:  # the schema comparison reports it as missing
            return
        next_kinds = later.kinds.get(name, {})
        next_columns = later.tables[name].columns if name in later.tables else {}
        both = {
            column: with_renamed_members(next_kinds[column], table.columns[column], after)
            for column, after in next_columns.items()
            if column in next_kinds and column in table.columns
        }
        kinds = {
            column: (kind, *([both[column]] if column in both else []))
            for column, kind in now.kinds.get(name, {}).items()
        }
        keys = later.tables[name].foreign_keys if name in later.tables else ()
        given = {(k.column, k.table): k.to for k in keys if _has(now, k.table, k.to)}
        why: str | None = None
        for plain in (True,) if simple else (False, True):
            sampler = Sampler(
                table, later.tables.get(name), kinds, self.counts, given, simple=plain
            )
            if why := sampler.missing():
                break
            why = await self._insert(sampler)
            if await self._count(name) > 1:
                break
        self._remember(table, now, simple=simple)
        if not self.counts.get(name):
            self.unfilled[name] = why or "it rejects all sample rows"

    async def _insert(self, sampler: Sampler) -> str | None:
        """Insert the sample rows that a table accepts, and return why it rejects the others."""
        rows, why = sampler.rows(), None
        if not rows or not rows[0]:
            return "no sample row fits its columns"
        if not sampler.refers_to_itself and len({tuple(row) for row in rows}) == 1:
            with suppress(*sessions.errors):
                await self.client.execute_query(_insert(sampler.table.name, rows))
                return None
        for row in rows:
            try:
                await self.client.execute_query(_insert(sampler.table.name, [row]))
            except sessions.errors as error:
                why = why or reason(error)
        return why


def _has(state: State, table: str, column: str) -> bool:
    return table in state.tables and column in state.tables[table].columns


def _with_referring(names: set[str], now: State, later: State) -> set[str]:
    """Add the tables that refer to some of the tables, directly or not."""
    found = set(names)
    tables = [*now.tables.values(), *later.tables.values()]
    while more := {
        table.name
        for table in tables
        if table.name not in found and any(key.table in found for key in table.foreign_keys)
    }:
        found |= more
    return found & now.tables.keys()


def _insert(table: str, rows: list[Row]) -> str:
    names = ", ".join(map(dialect.quote, rows[0]))
    listed = ", ".join(f"({', '.join(map(_sql, row.values()))})" for row in rows)
    return f"INSERT INTO {dialect.quote(table)} ({names}) VALUES {listed}"


def _sql(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str | bytes):
        return dialect.literal(value) or "NULL"
    name, column = dialect.quote(value.table), dialect.quote(value.column)
    # MySQL cannot select from the table that it inserts into, except through a derived table
    given = f" AND {dialect.quote(value.given)} IS NOT NULL" if value.given else ""
    return (
        f"(SELECT chosen FROM (SELECT {column} AS chosen FROM {name} WHERE {column} IS NOT NULL{given}"
        f" ORDER BY {column} LIMIT 1 OFFSET {value.number}) AS candidates)"
    )
