"""What happens around each SQL statement, such as logging it."""

import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import structlog

from .backend import CLIENTS, STATEMENTS

Execute = Callable[..., Awaitable[Any]]

logger = structlog.stdlib.get_logger(__name__)


def wrap_statements(wrap: Callable[[Execute], Execute]) -> None:
    """Wrap the methods of Tortoise's clients and transactions that run a statement."""
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
