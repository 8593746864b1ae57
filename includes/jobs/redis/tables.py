"""Errors of the queue: its tables are missing, or the database or Redis cannot be used."""

from typing import ClassVar

import structlog
from redis import RedisError
from tortoise.exceptions import OperationalError

from ..database.backend import is_missing_table, is_unavailable
from ..database.migrate.context import COMMAND
from ..exceptions import DomainError

MISSING = f"The queue's tables are missing. Run `{COMMAND} new jobs`, then `{COMMAND} upgrade`."

logger = structlog.stdlib.get_logger(__name__)


class UnusableTablesError(DomainError):
    """The queue cannot be used, because its tables are missing."""

    status = 503
    detail = "The service is not ready: it cannot queue jobs."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}  # seconds


def is_missing(error: Exception) -> bool:
    """Return whether a statement failed because one of the queue's tables is missing."""
    return isinstance(error, OperationalError) and is_missing_table(error)


def log_failure(error: Exception) -> None:
    """Log why the queue cannot be used; an unexpected error with its traceback."""
    if is_missing(error):
        logger.warning(MISSING)
    elif is_unavailable(error):
        logger.warning("The database cannot be used", cause=str(error))
    elif isinstance(error, (RedisError, OSError)):
        logger.warning("Redis cannot be used: start it, or correct REDIS_URL", cause=str(error))
    else:
        logger.error("The queue cannot be used", exc_info=error)
