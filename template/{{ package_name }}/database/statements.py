"""What happens around each SQL statement, such as logging it, and how its rows are read."""

import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC
from functools import wraps
from types import LambdaType
from typing import Any

import structlog
from tortoise.fields import DatetimeField
from tortoise.queryset import ValuesQuery
from tortoise.timezone import get_timezone, get_use_tz

from .backend import CLIENTS, STATEMENTS

Execute = Callable[..., Awaitable[Any]]
Reader = Callable[[Any], Any]

logger = structlog.stdlib.get_logger(__name__)


def wrap_statements(wrap: Callable[[Execute], Execute]) -> None:
    """Replace the methods of Tortoise's clients and transactions that run a statement.

    Args:
        wrap: returns the method that replaces one.
    """
    for kind in CLIENTS:
        for name in STATEMENTS:
            if name in vars(kind):
                setattr(kind, name, wrap(vars(kind)[name]))


def log_statements() -> None:
    """Log each statement and its duration, without its values."""
    wrap_statements(_logged)


def _logged(execute: Execute) -> Execute:
    @wraps(execute)
    async def logged(client: Any, query: str, *values: Any) -> Any:  # noqa: ANN401 - of any
        start = time.perf_counter()
        try:
            return await execute(client, query, *values)
        finally:
            logger.info(query, duration_ms=round((time.perf_counter() - start) * 1000, 2))

    return logged


async def read_values(query: ValuesQuery[Any]) -> list[dict[str, Any]]:
    """Run a `values()` query, without Tortoise's conversion of UTC times to UTC."""
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
    """Return what converts values of a field; Tortoise would also convert times in UTC to UTC."""
    is_time = getattr(convert, "__func__", None) is DatetimeField.to_python_value
    if is_time and get_use_tz() and get_timezone() == "UTC":
        return lambda value: value if getattr(value, "tzinfo", None) is UTC else convert(value)
    return convert
