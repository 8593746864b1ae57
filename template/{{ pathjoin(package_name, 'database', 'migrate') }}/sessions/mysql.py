"""Sessions on a MySQL or MariaDB server."""

import hashlib
import logging
import re
from typing import Any

from asyncmy.errors import MySQLError
from tortoise import BaseDBAsyncClient
from tortoise.exceptions import BaseORMException

from ..context import COMMAND, configuration
from ..errors import MigrationError
from ..files import Direction, Migration
from ..journal import Journal
from .servers import ServerSessions

# The driver logs notes of the server as warnings, such as that a table of CREATE TABLE IF NOT EXISTS
# exists. Problems are errors, since sessions are strict
logging.getLogger("asyncmy").setLevel(logging.ERROR)

# Without it, the server cuts what does not fit, and gives 0 or '' where a value is missing
STRICT = "SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES')"

# The lock belongs to the session that migrates, so that both end together, even while the server
# is still busy with the statement of a client that was killed
TAKE_LOCK = "SELECT GET_LOCK(%s, 0) AS taken"
LOCK_HOLDER = "SELECT IS_USED_LOCK(%s) AS holder, CONNECTION_ID() AS own"


class MysqlSessions(ServerSessions):
    """Sessions on a MySQL server, which commits each DDL statement; `Sessions` documents the methods."""

    errors = (BaseORMException, MySQLError, OSError)
    journal = Journal(
        text="LONGTEXT",
        parameters=("%s", "%s", "%s", "%s", "%s"),
        repeatable=re.compile(
            r"(CREATE\s+TABLE\s+IF\s+NOT\s+EXISTS|DROP\s+\w+\s+IF\s+EXISTS|SELECT|SET)\b",
            re.IGNORECASE,
        ),
        settings=re.compile(r"(SET|PREPARE|DEALLOCATE)\b", re.IGNORECASE),
        temporary=re.compile(
            r"(SET\s+@(?!@|migration\b)|SELECT\b.*\bINTO\s+@|CREATE\s+TEMPORARY)",
            re.IGNORECASE | re.DOTALL,
        ),
        leaves_parts=re.compile(r"DROP\s+TABLE\b.*,", re.IGNORECASE | re.DOTALL),
    )
    maintenance = "information_schema"
    databases = "SELECT schema_name AS name FROM information_schema.schemata"

    def credentials(self) -> dict[str, Any]:
        """Describe one connection that is never recycled and has no statement time limit."""
        own = configuration()["connections"]["default"]["credentials"]["init_command"]
        return {
            "init_command": f"{own}; {STRICT}",
            "maxsize": 1,
            "minsize": 1,
            "pool_recycle": -1,
            "read_timeout": None,
        }

    def reading_credentials(self) -> dict[str, Any]:
        return {"maxsize": 1, "minsize": 1, "init_command": "SET SESSION TRANSACTION READ ONLY"}

    async def lock_holder(self, client: BaseDBAsyncClient) -> str | None:
        name = await _lock_name(client)
        if (await client.execute_query_dict(TAKE_LOCK, [name]))[0]["taken"]:
            return None
        holder = (await client.execute_query_dict(LOCK_HOLDER, [name]))[0]["holder"]
        return f"connection {holder} of the server" if holder else "another session"

    async def check_lock(self, client: BaseDBAsyncClient) -> None:
        found = await client.execute_query_dict(LOCK_HOLDER, [await _lock_name(client)])
        if found[0]["holder"] != found[0]["own"]:
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
        await self.journal.run(client, migration, direction, check)
        await self.settle(client, migration, direction)


async def _lock_name(client: BaseDBAsyncClient) -> str:
    """Name the lock: a server has one name space for locks, and names of at most 64 characters."""
    rows = await client.execute_query_dict("SELECT LOWER(DATABASE()) AS name")
    return f"migrate-{hashlib.sha1(rows[0]['name'].encode(), usedforsecurity=False).hexdigest()}"


sessions = MysqlSessions()
