"""Find the data that a migration destroys or may not fit into narrower columns."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

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
    found = []
    for name, table in old.items():
        now, _ = original(name, "")
        count = f"SELECT COUNT(*) AS count FROM {dialect.quote(now)}"
        if name not in new:
            what = "is dropped with its links" if table.link else "is dropped with its rows"
            renamed = tuple(
                f"{name}={other}"
                for other in sorted(new.keys() - old.keys())
                if bool(table.link) == bool(new[other].link)
            )
            found.append(Loss(name, what, count, renamed))
            continue
        added = sorted(new[name].columns.keys() - table.columns.keys())
        for column in table.columns.values():
            _, before = original(name, column.name)
            quoted = dialect.quote(before)
            place, old_place = f"{name}.{column.name}", f"{now}.{before}"
            after = new[name].columns.get(column.name)
            if after is None:
                if not column.computed:
                    where = f"{count} WHERE {quoted} IS NOT NULL"
                    renamed = tuple(f"{place}={other}" for other in added)
                    found.append(Loss(place, "is dropped with its values", where, renamed, old_place))
                continue
            where = f"{count} WHERE {quoted} IS NOT NULL"
            if after.computed:
                if not column.computed:
                    found.append(Loss(place, "is replaced with generated values", where))
                continue
            if is_replaced(old, new, name, column.name):
                if after.null and (key := has_no_rows(old, new, name, column.name)):
                    what = f"becomes NULL: {key.table} is a new table"
                    found.append(Loss(place, what, where, before=old_place))
                continue
            if moved := retargeted(old, new, name, column.name):
                what = f"keeps its values, which will refer to {moved.after.table} instead of {moved.before.table}"
                found.append(Loss(place, what, where, before=old_place))
            if condition := misfits(column, after, quoted, dialect):
                where = f"{count} WHERE {condition}"
                what = f"cannot hold every value: {_narrowing(column, after)}"
                found.append(Loss(place, what, where, before=old_place))
    return found


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
