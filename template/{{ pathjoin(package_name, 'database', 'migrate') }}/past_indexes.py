"""Find in migrations the indexes of unique fields, which older descriptions of models leave out."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from .state import State

_QUOTE = '["`]?'
_MAYBE = r"(?:CONCURRENTLY\s+)?(?:IF\s+(?:NOT\s+)?EXISTS\s+)?"


def with_unique_indexes(
    old: State, read_upgrades: Callable[[], Iterable[str]], index_name: Callable[[str, str], str]
) -> State:
    """Add which unique fields also have an index. Aerich and releases before 1.2 left that out.

    Nothing is added to a model whose table the migrations do not create by its name.

    Args:
        old: the models, from the newest migration file.
        read_upgrades: reads the SQL of all upgrades, in order.
        index_name: returns the name that Tortoise generates for the index of a table's column.
    """
    lacking = {
        name: unique
        for name, model in old.items()
        if "also_indexed" not in model and (unique := _unique_columns(model))
    }
    if not lacking:
        return old
    sql = "\n;\n".join(read_upgrades())
    completed = dict(old)
    for name, unique in lacking.items():
        table = old[name]["table"]
        if re.search(rf"CREATE\s+TABLE\s+{_MAYBE}{_quoted(table)}", sql, re.IGNORECASE):
            indexed = [
                field
                for field, column in unique.items()
                if _is_indexed(sql, table, column, index_name(table, column))
            ]
            completed[name] = {**old[name], "also_indexed": indexed}
    return completed


def _unique_columns(model: dict[str, Any]) -> dict[str, str]:
    fields = model["data_fields"]
    return {f["name"]: f["db_column"] for f in fields if f["unique"] and f["indexed"]}


def _is_indexed(sql: str, table: str, column: str, generated: str) -> bool:
    """Return whether a column has an index, with its generated name or with another one."""
    place = rf"\({_quoted(column)}\s*\)"
    by_hand = (
        rf"(?<!UNIQUE )INDEX\s+{_MAYBE}{_QUOTE}(\w+){_QUOTE}\s+ON\s+{_quoted(table)}\s*{place}",
        rf"ALTER\s+TABLE\s+{_quoted(table)}[^;]*?\bADD\s+(?:INDEX|KEY)\s+{_QUOTE}(\w+){_QUOTE}\s*{place}",
    )
    names = {generated, *(m[1] for part in by_hand for m in re.finditer(part, sql, re.IGNORECASE))}
    return any(_exists(sql, table, name) for name in names)


def _exists(sql: str, table: str, index: str) -> bool:
    """Return whether the last statement about an index or its table keeps the index."""
    drops = (
        rf"DROP\s+(?:INDEX|KEY)\s+{_MAYBE}{_quoted(index)}|DROP\s+TABLE\s+{_MAYBE}{_quoted(table)}"
    )
    found = re.findall(rf"({drops})|{_quoted(index)}", sql, re.IGNORECASE)
    return bool(found) and not found[-1]


def _quoted(name: str) -> str:
    return rf"{_QUOTE}(?<!\w){re.escape(name)}(?!\w){_QUOTE}"
