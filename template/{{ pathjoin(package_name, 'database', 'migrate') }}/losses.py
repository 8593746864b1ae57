"""Find the data that a migration destroys or may not fit into narrower columns."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .conversions import becomes_enum, misfits, removed_members
from .dialects import Dialect
from .diff import Diff, Original, unchanged
from .references import has_no_rows, is_replaced, retargeted
from .tables import Column, Tables


@dataclass(frozen=True)
class Loss:
    """A loss of data.

    Attributes:
        place: `table` or `table.column`, the value for `--drop`.
        what: what happens, without the place.
        count: a query for the number of affected rows in the current database.
        renames: renames that would keep the data, in the form of `--rename`.
        before: the place by its names before renames, which `--drop` may have as well.
    """

    place: str
    what: str
    count: str
    renames: tuple[str, ...] = ()
    before: str = ""

    def describe(self, rows: int | None) -> str:
        """Describe the loss, with the number of affected rows if it is known."""
        affected = "" if rows is None else f" ({rows} row{'' if rows == 1 else 's'})"
        return f"{self.place} {self.what}{affected}"


def losses(
    old: Tables, new: Tables, dialect: Dialect, original: Original = unchanged
) -> list[Loss]:
    """List the losses between two states.

    Args:
        old: the tables as they are, after renames.
        new: the tables as they will be.
        dialect: the engine's SQL.
        original: finds the names before renames, which the queries need.
    """
    found: list[Loss] = []
    for name, table in old.items():
        now, _ = original(name, "")
        count = f"SELECT COUNT(*) AS count FROM {dialect.quote(now)}"
        if name not in new:
            found.append(_loss_of_table(name, old, new, count))
            continue
        for column in table.columns.values():
            _, before = original(name, column.name)
            place = _Place(name, f"{now}.{before}", dialect.quote(before), count)
            found += _losses_of_column(old, new, column, place, dialect)
    return found


class _Place(NamedTuple):
    """Where a column is.

    Attributes:
        table: its table, after renames.
        before: its place by its names before renames.
        quoted: its name before renames.
        all_rows: a query that counts the table's rows.
    """

    table: str
    before: str
    quoted: str
    all_rows: str


def _loss_of_table(name: str, old: Tables, new: Tables, count: str) -> Loss:
    link = bool(old[name].link)
    renamed = [other for other in sorted(new.keys() - old.keys()) if bool(new[other].link) == link]
    what = "is dropped with its links" if link else "is dropped with its rows"
    return Loss(name, what, count, tuple(f"{name}={other}" for other in renamed))


def _losses_of_column(
    old: Tables, new: Tables, column: Column, place: _Place, dialect: Dialect
) -> Iterator[Loss]:
    table, before = place.table, place.before
    name = f"{table}.{column.name}"
    filled = f"{place.all_rows} WHERE {place.quoted} IS NOT NULL"
    after = new[table].columns.get(column.name)
    if after is None:
        if not column.computed:
            added = sorted(new[table].columns.keys() - old[table].columns.keys())
            renamed = tuple(f"{name}={other}" for other in added)
            yield Loss(name, "is dropped with its values", filled, renamed, before)
    elif after.computed:
        if not column.computed:
            yield Loss(name, "is replaced with generated values", filled, before=before)
    elif is_replaced(old, new, table, column.name):
        if after.null and (key := has_no_rows(old, new, table, column.name)):
            yield Loss(name, f"becomes NULL: {key.table} is a new table", filled, before=before)
    else:
        if moved := retargeted(old, new, table, column.name):
            what = f"keeps its values, which will refer to {moved.after.table} instead of {moved.before.table}"
            yield Loss(name, what, filled, before=before)
        if condition := misfits(column, after, place.quoted, dialect):
            what = f"cannot hold every value: {_narrowing(column, after)}"
            yield Loss(name, what, f"{place.all_rows} WHERE {condition}", before=before)


def dropped(old: Tables, new: Tables, original: Original = unchanged) -> set[str]:
    """List the tables and columns that do not remain, by their names before and after renames.

    Args:
        old: the tables as they are, after renames.
        new: the tables as they will be.
        original: finds the names before renames.
    """
    found: set[str] = set()
    for name, table in old.items():
        kept = new[name].columns if name in new else {}
        found |= {name} - new.keys()
        for column in table.columns.keys() - kept.keys():
            found |= {f"{name}.{column}", ".".join(original(name, column))}
    return found


def not_accepted(losses: Iterable[Loss], named: Collection[str]) -> list[Loss]:
    """List the losses that `--drop` does not name, by their names before or after renames."""
    losses = list(losses)
    places = {loss.place for loss in losses}
    return [
        loss
        for loss in losses
        if loss.place not in named and (loss.before in places or loss.before not in named)
    ]


def replaced_values(diff: Diff, dialect: Dialect, original: Original = unchanged) -> list[Loss]:
    """List the values that get another value: NULL gets a default, and members of enums change.

    Args:
        diff: the SQL of the migration.
        dialect: the engine's SQL.
        original: finds the names before renames, which the queries need.
    """
    found = []
    for table, column, old, new in diff.replaced:
        now, before = map(dialect.quote, original(table, column))
        is_old = f"= {old}" if old != "NULL" else "IS NULL"
        value = dialect.exact.format(column=before)
        count = f"SELECT COUNT(*) AS count FROM {now} WHERE {value} {is_old}"
        found.append(Loss(f"{table}.{column}", f"gets {new} instead of {old}", count))
    return found


def _narrowing(old: Column, new: Column) -> str:
    if removed := removed_members(old, new):
        lost = f"the enum loses {', '.join(removed)}"
        if set(new.labels) <= set(old.labels):
            return lost
        return f"{lost}; a member that keeps its name gives its rows its new value"
    if becomes_enum(old, new):
        return f"{old.meaning} becomes an enum"
    return f"{old.meaning} becomes {new.meaning}"
