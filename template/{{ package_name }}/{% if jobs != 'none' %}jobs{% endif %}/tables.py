"""Whether the service can use the queue's tables: are they those of the installed PgQueuer?"""

from typing import ClassVar

import asyncpg
from pgqueuer import Queries

from ..database.migrate.context import COMMAND, RUN
from ..exceptions import DomainError

OUTDATED = (
    "The queue's tables are missing or outdated. "
    f"Run `{RUN} jobs migration`, then `{COMMAND} upgrade`."
)
FORBIDDEN = "Grant the database role rights to the queue's tables: docs/jobs.md shows how."
OUTDATED_ERRORS = (
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedObjectError,
    asyncpg.UndefinedTableError,
)


class UnusableTablesError(DomainError):
    """The queue cannot be used, because its tables are missing, outdated or forbidden."""

    status = 503
    detail = "The service is not ready: a migration is missing."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}  # seconds


async def tables_problem(queries: Queries) -> str | None:
    """Return why the queue's tables cannot be used and what to do, in one line; None if they can."""
    if await missing_statements(queries):
        return OUTDATED
    try:
        table = queries.qbq.qualified.queue_table
        await queries.driver.fetch(f"SELECT FROM {table} LIMIT 0")
    except asyncpg.InsufficientPrivilegeError:
        return FORBIDDEN
    return None


async def missing_statements(queries: Queries) -> list[str]:
    """List the statements that create what the installed PgQueuer needs and the database lacks."""
    plan = await queries.plan_upgrade()
    return [statement.strip().removesuffix(";") for statement in plan.statements]
