"""Find how a change of tables affects column values, above all foreign keys."""

from typing import NamedTuple

from .conversions import is_converted
from .tables import ForeignKey, Table, Tables


class Follows(NamedTuple):
    """A foreign key to the same rows, whose values in the referenced column change."""

    before: ForeignKey
    after: ForeignKey


def reference(table: Table, column: str) -> ForeignKey | None:
    """Return the foreign key of a column."""
    return next((key for key in table.foreign_keys if key.column == column), None)


def follows(old: Tables, new: Tables, table: str, column: str) -> Follows | None:
    """Find whether a column's values change with the column that they refer to."""
    before, after = reference(old[table], column), reference(new[table], column)
    if not (before and after and before.table == after.table):
        return None
    if not (after.table in old and after.table in new) or (after.table, after.to) == (
        table,
        column,
    ):
        return None
    if before.to == after.to and not is_replaced(old, new, after.table, after.to):
        return None
    return Follows(before, after)


def is_replaced(old: Tables, new: Tables, table: str, column: str) -> bool:
    """Return whether a column gets other values than the engine's conversion of the old ones."""
    before, after = old[table].columns.get(column), new[table].columns.get(column)
    if before is None or after is None:
        return False
    return (
        not is_converted(before, after)
        or follows(old, new, table, column) is not None
        or (before.type != after.type and retargeted(old, new, table, column) is not None)
        or has_no_rows(old, new, table, column) is not None
    )


def retargeted(old: Tables, new: Tables, table: str, column: str) -> Follows | None:
    """Find whether a column now refers to another table that existed before."""
    before, after = reference(old[table], column), reference(new[table], column)
    if not (before and after) or before.table == after.table or after.table not in old:
        return None
    return Follows(before, after)


def has_no_rows(old: Tables, new: Tables, table: str, column: str) -> ForeignKey | None:
    """Find whether a column with values refers to a new table, which has no rows."""
    key = reference(new[table], column)
    if not (key and key.enforced) or key.table in old or column not in old[table].columns:
        return None
    return key
