"""Read rows as Tortoise does, but times in UTC without its slow conversion."""

from collections.abc import Callable, Iterable
from types import LambdaType
from typing import Any

from tortoise.fields import DatetimeField
from tortoise.queryset import ValuesQuery
from tortoise.timezone import get_timezone, get_use_tz

from .backend import utc_reader

Reader = Callable[[Any], Any]


async def read_values(query: ValuesQuery[Any]) -> list[dict[str, Any]]:
    """Run a `values()` query, without Tortoise's slow conversion of times."""
    query._choose_db_if_not_chosen()
    query._make_query()
    _, rows = await query._db.execute_query(*query.query.get_parameterized_sql())
    return dictionary_reader(query)(rows)


def dictionary_reader(query: ValuesQuery[Any]) -> Callable[[Iterable[Any]], list[dict[str, Any]]]:
    """Return a function that reads the rows of a `values()` query."""
    converters = {
        alias: query.resolve_to_python_value(query.model, field)
        for alias, field in query._fields_for_select.items()
    }
    needed = [(a, converter(to)) for a, to in converters.items() if type(to) is not LambdaType]

    def read(rows: Iterable[Any]) -> list[dict[str, Any]]:
        result = [dict(row) for row in rows]
        for alias, convert in needed:
            for row in result:
                row[alias] = convert(row[alias])
        return result

    return read


def converter(convert: Reader) -> Reader:
    """Return what converts values of a field: for times in UTC, the engine's `utc_reader`."""
    is_time = getattr(convert, "__func__", None) is DatetimeField.to_python_value
    return utc_reader(convert) if is_time and get_use_tz() and get_timezone() == "UTC" else convert
