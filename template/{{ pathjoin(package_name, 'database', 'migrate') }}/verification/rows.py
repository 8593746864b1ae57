"""Generate different sample rows of a table, with references to other tables."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..tables import ForeignKey, Index, Table, Tables, in_order_of_reference, with_referred
from .kinds import FEWEST, MOST, Kind, Sample, choose

SEVERAL = 4  # rows that others refer to, more than once
EXPLICIT_KEY = 30_001  # far from the numbers that the server gives to new rows


@dataclass(frozen=True)
class Reference:
    """The value of a column in the n-th row of a table that has a value in another one, if given."""

    table: str
    column: str
    number: int
    given: str = ""


Value = Sample | Reference | None
Row = dict[str, Value]


def in_order_to_fill(now: Tables, later: Tables) -> list[Table]:
    """Sort tables so that each comes after those that its columns refer to, now or later.

    Args:
        now: the tables.
        later: the tables after the next migration.
    """
    tables = dict(now)
    for name in sorted(now.keys() & later.keys()):
        for key in sorted(later[name].foreign_keys - now[name].foreign_keys, key=str):
            # today's references come first
            is_possible = name not in with_referred([key.table], tables)
            if key.column in now[name].columns and is_possible:
                keys = tables[name].foreign_keys | {key}
                tables[name] = replace(tables[name], foreign_keys=keys)
    return [now[table.name] for table in in_order_of_reference(tables.values())]


@dataclass
class Sampler:
    """Sample rows of one table.

    Attributes:
        table: the table.
        later: the table after the next migration, if it still exists.
        kinds: the kinds of its columns, now and later.
        available: the number of rows in each table that it refers to.
        given: columns that its columns will refer to after the next migration, by column and table.
        simple: whether to omit unusual values.
    """

    table: Table
    later: Table | None
    kinds: Mapping[str, tuple[Kind, ...]]
    available: Mapping[str, int]
    given: Mapping[tuple[str, str], str] = field(default_factory=dict)
    simple: bool = False
    _uniques: list[frozenset[str]] = field(init=False)
    _references: dict[str, ForeignKey] = field(init=False)

    def __post_init__(self) -> None:
        both = [self.table, *([self.later] if self.later else [])]
        columns = self.table.columns
        indexes: Iterable[Index] = (index for table in both for index in table.indexes)
        self._uniques = [frozenset(index.columns) for index in indexes if index.unique]
        self._uniques += [
            frozenset([c.name]) for t in both for c in t.columns.values() if c.primary
        ]
        self._uniques = [names for names in self._uniques if names <= columns.keys()]
        keys = [key for table in reversed(both) for key in table.foreign_keys]
        self._references = {
            key.column: key
            for key in keys
            if key.column in columns
            and (key.table in self.available or key.table == self.table.name)
        }

    @property
    def refers_to_itself(self) -> bool:
        return any(key.table == self.table.name for key in self._references.values())

    def missing(self) -> str | None:
        """Return why no rows are possible, or None if they are."""
        for column in self.table.columns.values():
            if column.null or column.generated or column.computed:
                continue
            key = self._references.get(column.name)
            if key and key.table != self.table.name:
                if not self.available[key.table]:
                    return f"it refers to {key.table}, which has no rows"
            elif not key and not (self._values(column.name) or column.default):
                return f"there are no sample values for {column.name} {column.type}"
        return None

    def rows(self) -> list[Row]:
        """Generate the rows."""
        columns = [c.name for c in self.table.columns.values() if not (c.generated or c.computed)]
        if not columns:
            return self._numbers()
        pools = {name: self._pool(name, place) for place, name in enumerate(columns)}
        count = self._count(pools)
        seen: list[set[tuple[Value, ...]]] = [set() for _ in self._uniques]
        rows: list[Row] = []
        for number in range(count):
            if (row := self._row(number, pools, rows)) is None:
                continue
            found = [tuple(row.get(name) for name in sorted(names)) for names in self._uniques]
            if all(key not in keys or None in key for key, keys in zip(found, seen, strict=True)):
                rows.append(row)
                for unique_values, keys in zip(found, seen, strict=True):
                    if any(value is not None for value in unique_values):
                        keys.add(unique_values)
        return rows

    def _row(self, number: int, pools: Mapping[str, list[Value]], rows: list[Row]) -> Row | None:
        """Generate one row, if there are values for all its columns."""
        row: Row = {}
        for place, (name, pool) in enumerate(pools.items()):
            if key := self._references.get(name):
                row[name] = self._reference(key, number, place, row, rows)
                if row[name] is None and not self.table.columns[name].null:
                    return None
            elif pool:
                if frozenset([name]) in self._uniques and number >= len(pool):
                    return None
                row[name] = pool[number % len(pool)]
        return row

    def _numbers(self) -> list[Row]:
        """Generate the rows of a table with only server-generated numbers."""
        numbered = [c.name for c in self.table.columns.values() if c.generated]
        return [{name: str(EXPLICIT_KEY + n) for name in numbered} for n in range(FEWEST)]

    def _count(self, pools: Mapping[str, list[Value]]) -> int:
        """Count the rows needed to use all values and all referenced rows."""
        counts = [FEWEST]
        for name, pool in pools.items():
            if key := self._references.get(name):
                counts.append(2 * min(self.available.get(key.table, 0), SEVERAL))
            elif any(name in names for names in self._uniques):
                counts.append(min(len(pool), 3 * FEWEST))
            else:
                counts.append(len(pool))
        return min(MOST, max(counts))

    def _values(self, name: str) -> tuple[Sample, ...]:
        kinds = self.kinds.get(name)
        if not kinds:
            return ()
        unique = any(name in names for names in self._uniques)
        return choose(kinds, unique=unique, simple=self.simple)

    def _pool(self, name: str, place: int) -> list[Value]:
        column = self.table.columns[name]
        pool: list[Value] = [*self._values(name)]
        if column.null and not (self.simple and pool):
            pool.insert(min(1 + place % FEWEST, len(pool)), None)
        return pool

    def _reference(
        self, key: ForeignKey, number: int, place: int, row: Row, rows: list[Row]
    ) -> Value:
        null = self.table.columns[key.column].null
        given = self.given.get((key.column, key.table), "")
        if key.table == self.table.name:
            if not null:  # if a row has to refer to its own table, it can only refer to itself
                row.setdefault(key.to, str(EXPLICIT_KEY + number))
                return row[key.to]
            return Reference(key.table, key.to, number // 2, given) if rows else None
        there = self.available[key.table]
        if not there or (null and not self.simple and number % SEVERAL == SEVERAL - 1):
            return None
        if frozenset([key.column]) in self._uniques:
            return Reference(key.table, key.to, number, given) if number < there else None
        some = min(there, SEVERAL)
        return Reference(key.table, key.to, (number + number // some * place) % some, given)
