"""What happens to the indexes of a table that changes; the same on each engine."""

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
        rebuilt: columns that are replaced by others, and with them their indexes.
    """
    gone = {nameless(index): index for index in old.indexes - new.indexes}
    made = {nameless(index): index for index in new.indexes - old.indexes}
    renamed = [(gone.pop(key), made.pop(key)) for key in [*gone] if key in made]
    dropped, created = [*gone.values()], [*made.values()]
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
    """Return an index without its names, to compare what it does."""
    return replace(index, names=())
