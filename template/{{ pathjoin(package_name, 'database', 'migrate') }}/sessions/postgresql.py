"""Sessions on a PostgreSQL server."""

import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from tortoise import BaseDBAsyncClient
from tortoise.exceptions import BaseORMException
from tortoise.transactions import in_transaction

from ..context import COMMAND, dialect
from ..errors import MigrationError
from ..files import Direction, Migration
from ..journal import Journal
from ..recorder import record
from .servers import ServerSessions
from .transactions import run_all

# The lock belongs to the migrating session, so both end together. Its key is arbitrary;
# each database has its own locks (PostgreSQL's documentation, "Advisory Locks").
TAKE_LOCK = "SELECT pg_try_advisory_lock(1634038377) AS taken"
LOCK_HOLDER = """
    SELECT pid = pg_backend_pid() AS mine,
        format('%s (process %s of the server)', application_name, pid) AS name
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted
        AND (classid, objid, objsubid) = (0, 1634038377, 1)
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

# A role's search path may only have schemas that a new database lacks
ADD_PUBLIC = """
    SELECT set_config('search_path', current_setting('search_path') || ', public', false)
    WHERE current_schema() IS NULL
"""

# If a file ended its transaction, the rest would run without one
OWN_TRANSACTION = re.compile(
    r"(\s|--[^\n]*\n|/\*.*?\*/)*(BEGIN|START\s+TRANSACTION|COMMIT|END)\b",
    re.IGNORECASE | re.DOTALL,
)


class PostgresqlSessions(ServerSessions):
    """Sessions on a PostgreSQL server; `Sessions` documents the methods."""

    errors = (BaseORMException, OSError, asyncpg.InterfaceError, asyncpg.PostgresError)
    journal = Journal(
        text="TEXT",
        parameters=("$1", "$2", "$3", "$4", "$5"),
        repeatable=re.compile(
            r"(CREATE\s+TABLE\s+IF\s+NOT\s+EXISTS|DROP\s+\w+\s+IF\s+EXISTS|SET)\b", re.IGNORECASE
        ),
        settings=re.compile(r"SET\b", re.IGNORECASE),
        temporary=re.compile(r"CREATE\s+TEMP", re.IGNORECASE),
        leaves_parts=re.compile(r"\bCONCURRENTLY\b", re.IGNORECASE),
        advice="A CREATE INDEX CONCURRENTLY that failed or was interrupted leaves an invalid index.",
    )
    maintenance = "postgres"
    databases = "SELECT datname AS name FROM pg_database"
    force = " WITH (FORCE)"

    def credentials(self) -> dict[str, Any]:
        """Describe one connection that is never recycled and has no statement time limit."""

        async def keep_all(_: object) -> None:
            """Keep the session's state between statements, above all its lock."""

        return {
            "application_name": f"migration on {socket.gethostname()}, process {os.getpid()}",
            "command_timeout": None,
            "max_inactive_connection_lifetime": 0,
            "maxsize": 1,
            "minsize": 1,
            "reset": keep_all,
            "server_settings": {"timezone": "UTC"},  # or conversions depend on the server's zone
        }

    def reading_credentials(self) -> dict[str, Any]:
        read_only = {"default_transaction_read_only": "on"}
        return {"maxsize": 1, "minsize": 1, "server_settings": read_only}

    @asynccontextmanager
    async def scratch_database(self) -> AsyncIterator[BaseDBAsyncClient]:
        async with super().scratch_database() as client:
            await client.execute_query_dict(ADD_PUBLIC)
            yield client

    async def lock_holder(self, client: BaseDBAsyncClient) -> str | None:
        if (await client.execute_query_dict(TAKE_LOCK))[0]["taken"]:
            return None
        holders = await client.execute_query_dict(LOCK_HOLDER)
        return holders[0]["name"] if holders else "another session"

    async def check_lock(self, client: BaseDBAsyncClient) -> None:
        if not any(row["mine"] for row in await client.execute_query_dict(LOCK_HOLDER)):
            raise MigrationError(f"The migration lock was lost: run `{COMMAND} upgrade` again")

    async def run(
        self,
        client: BaseDBAsyncClient,
        migration: Migration,
        direction: Direction,
        *,
        locked: bool = False,
    ) -> None:
        check = self.check_lock if locked else None
        if not migration.run_in_transaction:
            await self.journal.run(client, migration, direction, check)
            await self.settle(client, migration, direction)
            return
        async with in_transaction(client.connection_name) as db:
            statements = dialect.split(await migration.sql(db, direction))
            wanted = (s for s in statements if not OWN_TRANSACTION.match(s))
            await run_all(db.execute_script, migration.name, wanted)
            if check:
                await check(db)
            await record(db, migration, direction)


sessions = PostgresqlSessions()
