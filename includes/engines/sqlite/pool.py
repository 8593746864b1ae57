"""SQLite's single connection: the lock that shares it, and its reset between uses."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import aiosqlite
from tortoise.exceptions import DBConnectionError

from .reset import SESSION_ACTIONS, is_plain

FIX = "shorten transactions, or raise DATABASE_BUSY_TIMEOUT"


class BoundedLock(asyncio.Lock):
    """A lock with a time-out, which awaits a function each time it is acquired."""

    def __init__(self, seconds: float, prepare: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._seconds = seconds
        self._prepare = prepare

    async def acquire(self) -> Literal[True]:
        try:
            async with asyncio.timeout(self._seconds if self.locked() else None):
                await super().acquire()
        except TimeoutError as error:
            message = f"No connection was free within {self._seconds:g} s: {FIX}"
            raise DBConnectionError(message) from error
        try:
            await self._prepare()
        except BaseException:
            self.release()
            raise
        return True


class Session:
    """The session of SQLite's connection: attached files, pragmas and temporary tables."""

    def __init__(self, connection: aiosqlite.Connection, pragmas: dict[str, Any]) -> None:
        self._connection = connection
        self._pragmas = pragmas
        self._is_changed = False

    async def watch(self) -> None:
        """Record whether a statement changes the session."""
        await self._connection.set_authorizer(self._note)

    def _note(
        self, action: int, name: str | None, value: str | None, database: str | None, _: str | None
    ) -> int:
        if action in SESSION_ACTIONS and not is_plain(action, name, value, database):
            self._is_changed = True
        return sqlite3.SQLITE_OK

    async def renew(self) -> None:
        """Reopen the file if the session was changed or a transaction is still open."""
        if self._is_changed or self._connection.in_transaction:
            self._is_changed = True  # until the file is open again, also if this task is cancelled
            run: Any = self._connection._execute  # noqa: SLF001 - runs in the connection's thread
            try:
                await run(self._reopen)
            except sqlite3.Error as error:
                raise DBConnectionError(str(error)) from error

    def _reopen(self) -> None:
        if not self._is_changed:
            return  # a cancelled task has started this, too
        connection: Any = self._connection
        connection._connection.close()  # noqa: SLF001 - aiosqlite cannot reopen
        opened = connection._connection = connection._connector()  # noqa: SLF001 - as above
        opened.row_factory = sqlite3.Row
        for pragma, value in self._pragmas.items():
            opened.execute(f"PRAGMA {pragma}={value}").close()
        self._is_changed = False
        opened.set_authorizer(self._note)
