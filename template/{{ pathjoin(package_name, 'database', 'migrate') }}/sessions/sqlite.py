"""Sessions on an SQLite database."""

import re
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from tortoise import BaseDBAsyncClient
from tortoise.exceptions import BaseORMException
from tortoise.transactions import in_transaction

from ..context import COMMAND, configuration, connected, dialect
from ..errors import MigrationError
from ..files import Direction, Migration
from ..recorder import record
from .transactions import run_all

# A table rebuild contains these for Aerich, which runs it without a transaction
OWN_TRANSACTION = re.compile(
    r"(\s|--[^\n]*\n|/\*.*?\*/)*(BEGIN|COMMIT|END|PRAGMA\s+foreign_keys)\b",
    re.IGNORECASE | re.DOTALL,
)


class SqliteSessions:
    """Sessions on an SQLite database; `Sessions` documents the methods."""

    errors = (BaseORMException, OSError, sqlite3.Error)

    @cached_property
    def file(self) -> Path:
        """The database file."""
        return Path(configuration()["connections"]["default"]["credentials"]["file_path"])

    @cached_property
    def lock_file(self) -> Path:
        """The lock file next to the database."""
        return self.file.with_name(f"{self.file.name}-lock")

    def credentials(self) -> dict[str, Any]:
        return {}

    def reading_credentials(self) -> dict[str, Any]:
        return {"query_only": 1} if self.file.exists() else {"file_path": ":memory:"}

    @asynccontextmanager
    async def lock(
        self, client: BaseDBAsyncClient, wait: Callable[[str], Awaitable[None]]
    ) -> AsyncIterator[None]:
        """Hold a transaction on the lock file. The operating system ends it with the process."""
        with suppress(OSError):  # SQLite reports it as well
            self.lock_file.touch(mode=0o600)  # other users must not hold the lock
        with closing(sqlite3.connect(self.lock_file, timeout=0, isolation_level=None)) as lock:
            while not _begin(lock):
                await wait("another process")
            yield

    async def check_lock(self, client: BaseDBAsyncClient) -> None:
        if not self.lock_file.exists():
            raise MigrationError(f"{self.lock_file} was deleted: run `{COMMAND} upgrade` again")

    async def unfinished(self, client: BaseDBAsyncClient) -> str | None:
        return None

    async def refuse_unfinished(self, client: BaseDBAsyncClient, direction: Direction) -> None:
        """Do nothing: SQLite leaves no migration unfinished."""

    async def refuse_others_unfinished(self, client: BaseDBAsyncClient, repaired: str) -> None:
        """Do nothing: SQLite leaves no migration unfinished."""

    async def run(
        self,
        client: BaseDBAsyncClient,
        migration: Migration,
        direction: Direction,
        *,
        locked: bool = False,
    ) -> None:
        # With foreign keys enforced, dropping a table deletes referring rows (SQLite's documentation,
        # "ALTER TABLE", section 7); the pragma does nothing inside a transaction
        await client.execute_query("PRAGMA foreign_keys = OFF")
        try:
            async with in_transaction(client.connection_name) as db:
                statements = dialect.split(await migration.sql(db, direction))
                before = await _triggers(db)
                wanted = (s for s in statements if not OWN_TRANSACTION.match(s))
                await run_all(db.execute_query, migration.name, wanted)
                await _refuse_lost_triggers(db, migration, before)
                await _refuse_orphans(db, migration)
                if locked:
                    await self.check_lock(db)
                await record(db, migration, direction)
        finally:
            await client.execute_query("PRAGMA foreign_keys = ON")

    async def settle(
        self, client: BaseDBAsyncClient, migration: Migration, direction: Direction | None
    ) -> None:
        if direction:
            await record(client, migration, direction)

    async def create_database(self) -> str:
        raise MigrationError(f"Run `{COMMAND} upgrade`: it creates a SQLite database")

    @asynccontextmanager
    async def scratch_database(self) -> AsyncIterator[BaseDBAsyncClient]:
        """Create a file in a temporary folder, and delete it afterwards."""
        with tempfile.TemporaryDirectory(prefix="verify-") as folder:
            # Nobody needs the file after a crash
            unsafe = {"journal_mode": "MEMORY", "synchronous": "OFF"}
            file = str(Path(folder) / "verify.db")
            async with connected(**self.credentials(), file_path=file, **unsafe) as client:
                yield client


def _begin(lock: sqlite3.Connection) -> bool:
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


async def _triggers(db: BaseDBAsyncClient) -> dict[str, str]:
    """List the triggers, with their tables."""
    query = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"
    return {row["name"]: row["tbl_name"] for row in await db.execute_query_dict(query)}


async def _refuse_lost_triggers(
    db: BaseDBAsyncClient, migration: Migration, before: dict[str, str]
) -> None:
    """Raise MigrationError if a rebuild of a table dropped its triggers."""
    lost = [
        name
        for name in before.keys() - await _triggers(db)
        if not re.search(rf"(?i:\bTRIGGER\b)[^;]*(?<!\w){re.escape(name)}(?!\w)", migration.text)
    ]
    query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    tables = {row["name"] for row in await db.execute_query_dict(query)}
    if lost := sorted(name for name in lost if before[name] in tables):
        raise MigrationError(
            f"{migration.name}: create the trigger {lost[0]} again at the end of upgrade() and "
            f"downgrade(): {before[lost[0]]} is rebuilt, which drops its triggers. Nothing of the "
            "migration is kept."
        )


async def _refuse_orphans(db: BaseDBAsyncClient, migration: Migration) -> None:
    orphans = (await db.execute_query("PRAGMA foreign_key_check"))[1]
    if orphans:
        rows = ", ".join(f"{row[0]} (rowid {row[1]}) to {row[2]}" for row in orphans[:10])
        raise MigrationError(
            f"{migration.name}: fix references to rows that do not exist: {rows}. Nothing of the "
            "migration is kept."
        )


sessions = SqliteSessions()
