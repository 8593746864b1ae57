"""Whether the queue's tables are those of the installed PgQueuer."""

from typing import ClassVar

import asyncpg
from pgqueuer import Queries

from ..database.migrate.context import COMMAND, RUN
from ..exceptions import DomainError

OUTDATED = (
    "The queue's tables are missing or outdated. "
    f"Run `{RUN} jobs migration`, then `{COMMAND} upgrade`."
)
OUTDATED_ERRORS = (
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedObjectError,
    asyncpg.UndefinedTableError,
)


class OutdatedTablesError(DomainError):
    """A job cannot be queued, because the queue's tables are missing or outdated."""

    status = 503
    detail = "The service is not ready: a migration is missing."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}  # seconds


async def missing_statements(queries: Queries) -> list[str]:
    """List the statements that create what the installed PgQueuer needs and the database lacks."""
    plan = await queries.plan_upgrade()
    return [statement.strip().removesuffix(";") for statement in plan.statements]
