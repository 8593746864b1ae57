"""Compare the rows of tables before and after a migration, which has to keep their values."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from ..references import reference
from ..renames import Rename
from ..tables import Tables, with_names
from .kinds import NUMBERS, Kind, Kinds

Rows = list[dict[str, Any]]
Content = dict[str, Rows]

NAME = r"[`\"]?(\w+)[`\"]?"
RENAME = re.compile(
    rf"\bALTER\s+TABLE\s+{NAME}\s+(?:RENAME\s+(?:TO|AS)\s+{NAME}"
    rf"|(?:RENAME\s+COLUMN|CHANGE(?:\s+COLUMN)?)\s+{NAME}\s+(?:TO\s+)?{NAME})",
    re.IGNORECASE,
)
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)


@dataclass
class State:
    """The models after a migration.

    Attributes:
        tables: their tables.
        kinds: the values that their columns can hold.
        fields: the descriptions of their fields, by table and column.
    """

    tables: Tables
    kinds: Kinds
    fields: Mapping[tuple[str, str], Mapping[str, Any]]

    def kind(self, table: str, column: str) -> Kind:
        return self.kinds.get(table, {}).get(column, Kind(""))


@dataclass
class Places:
    """Names of tables and columns after a migration, by the names before it."""

    tables: dict[str, str]
    columns: dict[tuple[str, str], str]

    @classmethod
    def after(cls, renames: Sequence[str], sql: str, before: Tables, after: Tables) -> "Places":
        """Follow the renames that a migration lists, or those in its SQL if it lists none."""
        tables = {name: name for name in before}
        columns = {(name, column): column for name in before for column in before[name].columns}
        names = before.keys() | after.keys()
        for table, new_table, old, new in _listed(renames, names) if renames else _written(sql):
            origin = next((name for name, now in tables.items() if now == table), None)
            if origin is None:
                continue
            if new_table:
                tables[origin] = new_table
            else:
                for place, now in columns.items():
                    if place[0] == origin and now == old:
                        columns[place] = new
        # a table that gets its old name back, such as in a rebuild on SQLite, is not renamed
        tables = {old: new if new in after else old for old, new in tables.items()}
        return cls({old: new for old, new in tables.items() if new in after}, columns)

    def with_old_names(self, after: State) -> State:
        """Give the models after a migration the names before it.

        New tables and columns get unused names, since a renamed one may have had theirs.
        """
        # what is renamed comes last: something with its new name may have been dropped
        tables = {new: old for old, new in sorted(self.tables.items(), key=lambda i: i[0] != i[1])}
        columns = {
            (self.tables[table], new): old
            for (table, old), new in sorted(self.columns.items(), key=lambda i: i[0][1] != i[1])
            if table in self.tables
        }

        def table_name(name: str) -> str:
            return tables.get(name, f"new {name}" if name in after.tables else name)

        def column_name(table: str, name: str) -> str:
            return columns.get((table, name), f"new {name}" if table in after.tables else name)

        return State(
            {
                table_name(name): with_names(table, table_name, column_name)
                for name, table in after.tables.items()
            },
            {
                table_name(name): {
                    column_name(name, column): kind for column, kind in kinds.items()
                }
                for name, kinds in after.kinds.items()
            },
            {
                (table_name(table), column_name(table, column)): described
                for (table, column), described in after.fields.items()
            },
        )


def _listed(renames: Sequence[str], tables: Collection[str]) -> Iterator[tuple[str, ...]]:
    for rename in (Rename.parse(text, tables) for text in renames):
        if rename.table:
            yield rename.table, "", rename.old, rename.new
        else:
            yield rename.old, rename.new, "", ""


def _written(sql: str) -> Iterator[tuple[str, ...]]:
    for match in RENAME.finditer(sql):
        yield match.groups(default="")


def is_comparable(old: Kind, new: Kind) -> bool:
    """Return whether an engine's own conversion keeps the meaning of a value."""
    return (
        (old.family == new.family and old.family != "")
        or {old.family, new.family} <= NUMBERS
        or (new.family == "text" and old.family in NUMBERS | {"uuid"})
    )


def meaning(value: object, *, convert: bool) -> object:
    """Return a form that is equal for values with the same meaning.

    Args:
        value: the value from the driver.
        convert: whether values of different types may be equal, such as 1 and '1'.
    """
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    if isinstance(value, bool | int | float | Decimal):
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        return _digits(number) if convert else number
    if convert and isinstance(value, str):
        return _digits(Decimal(value)) if NUMBER.fullmatch(value) else value
    if isinstance(value, list):
        return repr(value)
    if convert and isinstance(value, date):
        return value.isoformat()
    return str(value) if convert and value is not None and not isinstance(value, bytes) else value


def _digits(number: Decimal) -> str:
    """Format a number so that equal numbers have equal texts."""
    digits = f"{number:f}"
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return "0" if digits == "-0" else digits


@dataclass(frozen=True)
class Survivor:
    """A column whose values a migration has to keep.

    Attributes:
        old: its name before.
        new: its name after.
        convert: whether its type changes.
        fills: whether it becomes NOT NULL, so that another value replaces NULL.
    """

    old: str
    new: str
    convert: bool
    fills: bool


@dataclass(frozen=True)
class Survivors:
    """The columns of a table whose values a migration has to keep.

    Attributes:
        columns: the columns.
        key: the primary key, if it is one of them.
    """

    columns: list[Survivor]
    key: Survivor | None

    def reverted(self) -> "Survivors":
        """Return the same columns, for the rows after a revert."""
        columns = [Survivor(s.old, s.old, convert=False, fills=s.fills) for s in self.columns]
        key = next((s for s in columns if self.key and s.old == self.key.old), None)
        return Survivors(columns, key)


def survivors(name: str, before: State, after: State, places: Places) -> Survivors:
    """Find the columns of a table whose values a migration has to keep."""
    new_name = places.tables[name]
    found, key = [], None
    for column in before.tables[name].columns.values():
        now = places.columns[name, column.name]
        other = after.tables[new_name].columns.get(now)
        if (
            other is None
            or column.computed
            or other.computed
            or _is_retargeted(name, column.name, before, after, places)
        ):
            continue
        converts = column.type != other.type
        kinds = before.kind(name, column.name), after.kind(new_name, now)
        if converts and not is_comparable(*kinds):
            continue
        found.append(
            Survivor(column.name, now, convert=converts, fills=column.null and not other.null)
        )
        if column.primary and other.primary:
            key = found[-1]
    return Survivors(found, key)


def _is_retargeted(name: str, column: str, before: State, after: State, places: Places) -> bool:
    """Return whether a column refers to the same rows by another column, and so by other values."""
    old = reference(before.tables[name], column)
    new = reference(after.tables[places.tables[name]], places.columns[name, column])
    return (
        old is not None
        and new is not None
        and places.tables.get(old.table) == new.table
        and places.columns[old.table, old.to] != new.to
    )


def links(
    name: str,
    states: tuple[State, State],
    places: Places,
    rows: tuple[Content, Content],
    *,
    is_revert: bool,
) -> dict[Survivor, dict[object, object]]:
    """Find the columns of a table that have to refer to the same rows by other values.

    Args:
        name: the table before the migration.
        states: the models before and after it.
        places: the names after it.
        rows: the rows before it, and those after it or after its revert.
        is_revert: whether it was reverted.

    Returns:
        By column, the expected values by the meaning of the old ones. Columns are left out if no
        other column tells which row is which.
    """
    before, after = states
    found: dict[Survivor, dict[object, object]] = {}
    compared = {s.old for s in survivors(name, before, after, places).columns}
    table = after.tables[places.tables[name]]
    for column in before.tables[name].columns.values():
        now = places.columns[name, column.name]
        old, new = reference(before.tables[name], column.name), reference(table, now)
        if column.name in compared or old is None or new is None:
            continue
        if places.tables.get(old.table) != new.table:
            continue
        kept = survivors(old.table, before, after, places)
        kept, key = (kept.reverted(), old) if is_revert else (kept, new)
        one, two = rows[0].get(old.table, []), rows[1].get(key.table, [])
        for s in ([kept.key] if kept.key else []) + kept.columns:
            known = [meaning(row.get(s.old), convert=True) for row in one]
            if None in known or len({*known}) < len(known):
                continue
            values = {meaning(row.get(s.new), convert=True): row.get(key.to) for row in two}
            fills = column.null and not table.columns[now].null
            link = Survivor(column.name, key.column, convert=True, fills=fills)
            found[link] = {
                meaning(row.get(old.to), convert=True): values.get(value)
                for row, value in zip(one, known, strict=True)
            }
            break
    return found


def changes(
    before: list[dict[str, Any]], after: list[dict[str, Any]], kept: Survivors
) -> dict[str, str]:
    """Compare the rows of a table before and after a migration.

    Returns:
        An example for each column whose values changed; under an empty name, how many rows were
        lost or added.
    """
    if before == after:
        return {}
    if len(before) != len(after):
        return {"": f"it had {len(before)} rows and has {len(after)}"}
    if not before:
        return {}
    columns = [s for s in kept.columns if s.old in before[0] and s.new in after[0]]
    if kept.key and kept.key in columns:
        return _changes_by_key(before, after, columns, kept.key)
    whole = [s for s in columns if not s.fills]
    changed: dict[str, str] = {}
    for some in [[s] for s in whole] + [whole]:
        lost = _counted(before, {s.old: s.convert for s in some})
        gained = _counted(after, {s.new: s.convert for s in some})
        if lost != gained and not changed:
            name = " and ".join(s.old for s in some)
            changed[name] = f"{_short(lost - gained)} becomes {_short(gained - lost)}"
    return changed


def _changes_by_key(
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    columns: list[Survivor],
    key: Survivor,
) -> dict[str, str]:
    changed: dict[str, str] = {}
    found = {meaning(row[key.new], convert=True): row for row in after}
    for row in before:
        other = found.get(meaning(row[key.old], convert=True))
        if other is None:
            changed.setdefault(key.old, f"{row[key.old]!r} is gone")
            continue
        for s in columns:
            old, new = row[s.old], other[s.new]
            fills = s.fills and old is None
            if not fills and not _is_same(old, new, convert=s.convert):
                changed.setdefault(s.old, f"{old!r} becomes {new!r}")
    return changed


def _is_same(old: object, new: object, *, convert: bool) -> bool:
    """Return whether a value is kept; the text of a float may have more digits than it needs."""
    if convert and isinstance(old, float) and isinstance(new, str) and NUMBER.fullmatch(new):
        return float(new) == old
    return meaning(old, convert=convert) == meaning(new, convert=convert)


def _counted(
    rows: list[dict[str, Any]], columns: Mapping[str, bool]
) -> Counter[tuple[object, ...]]:
    return Counter(
        tuple(meaning(row[name], convert=convert) for name, convert in columns.items())
        for row in rows
    )


def _short(counted: Counter[tuple[object, ...]]) -> str:
    return ", ".join(map(str, next(iter(counted))))
