"""Find the changes to a table's indexes, for all engines."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import NamedTuple

from ..tables import Index, Table


class IndexChanges(NamedTuple):
    """Indexes to drop, to rename and to create, each sorted."""

    dropped: list[Index]
    renamed: list[tuple[Index, Index]]
    created: list[Index]


def index_changes(old: Table, new: Table, rebuilt: AbstractSet[str] = frozenset()) -> IndexChanges:
    """Compare the indexes of two states of a table.

    Args:
        old: the table as it is.
        new: the table as it will be.
        rebuilt: columns that others replace. Their indexes have to be created again.
    """
    gone = {nameless(index): index for index in old.indexes - new.indexes}
    added = {nameless(index): index for index in new.indexes - old.indexes}
    renamed = [(gone.pop(key), added.pop(key)) for key in [*gone] if key in added]
    dropped, created = [*gone.values()], [*added.values()]
    for index in old.indexes & new.indexes:
        if rebuilt & set(index.columns):
            dropped.append(index)
            created.append(index)
    names = {before.names[0] for before, _ in renamed}
    for before, after in [*renamed]:
        if rebuilt & set(after.columns) or after.names[0] in names:
            renamed.remove((before, after))
            dropped.append(before)
            created.append(after)
    return IndexChanges(
        sorted(dropped, key=str), sorted(renamed, key=str), sorted(created, key=str)
    )


def nameless(index: Index) -> Index:
    """Return an index without its names, for comparison."""
    return replace(index, names=())
