"""Checks of the queue's tables: do they suit the installed PgQueuer, and may the role use them?"""

from typing import ClassVar

import asyncpg
from pgqueuer import Queries

from ..database.migrate.context import COMMAND, RUN
from ..exceptions import DomainError

SCHEMA = "jobs"  # a separate one: `migrate` compares only that of the models
RIGHTS = """
    SELECT has_schema_privilege($1::text, 'USAGE') AND bool_and(
        CASE relkind WHEN 'S' THEN has_sequence_privilege(oid, 'USAGE')
        ELSE has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
            AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE') END
    ) AS granted
    FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind IN ('r', 'S')
"""
OUTDATED = (
    "The queue's tables are missing or outdated. "
    f"Run `{RUN} jobs migration`, then `{COMMAND} upgrade`."
)
FORBIDDEN = "Grant the database role rights to the queue's tables: docs/jobs.md shows how."
UNUSABLE_ERRORS = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedObjectError,
    asyncpg.UndefinedTableError,
)


class UnusableTablesError(DomainError):
    """The queue cannot be used, because its tables are missing, outdated or forbidden."""

    status = 503
    detail = "The service is not ready: it cannot queue jobs."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}  # seconds


async def tables_problem(queries: Queries) -> str | None:
    """Return why the queue's tables cannot be used and what to do, in one line; None if they can."""
    if await missing_statements(queries):
        return OUTDATED
    (row,) = await queries.driver.fetch(RIGHTS, SCHEMA)
    return None if row["granted"] else FORBIDDEN


async def missing_statements(queries: Queries) -> list[str]:
    """List the statements that create what the installed PgQueuer needs and the database lacks."""
    plan = await queries.plan_upgrade()
    return [statement.strip().removesuffix(";") for statement in plan.statements]
