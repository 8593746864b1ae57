"""The connection pool for MySQL and MariaDB."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import asyncmy
from asyncmy import errors
from tortoise.exceptions import DBConnectionError

from .reset import is_plain

FIX = "check the server, or raise DATABASE_POOL_MAX"
# They release locks at once: the server ends a closed session some time later
UNLOCK = ("UNLOCK TABLES", "DO RELEASE_ALL_LOCKS()")


@contextmanager
def _long_password() -> Iterator[None]:
    """Raise asyncmy's error for a password that does not fit into an RSA block."""
    try:
        yield
    except ValueError as error:
        fix = "the password is too long without TLS; add ?ssl-mode=required to DATABASE_URL"
        raise errors.OperationalError(2061, fix) from error


async def _leave(connection: asyncmy.Connection) -> None:
    """Close a connection like asyncmy, but without waiting for the server."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                await type(connection).ensure_closed(connection)
    finally:
        connection.close()


def _watch(connection: Any) -> None:  # noqa: ANN401 - asyncmy's connection has no is_changed
    """Record in `is_changed` whether a statement may have changed a connection's session."""
    connection.is_changed = False

    def noted(name: str, *, harmless: Callable[[Any], bool]) -> None:
        method = getattr(connection, name)

        def run(statement: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - of any method
            connection.is_changed = connection.is_changed or not harmless(statement)
            return method(statement, *args, **options)

        setattr(connection, name, run)

    noted("query", harmless=is_plain)
    for name in ("prepare", "select_db", "set_charset", "autocommit"):
        noted(name, harmless=lambda _: False)
    # asyncmy would wait for the server again, also after a time-out
    connection.ensure_closed = partial(_leave, connection)


async def _end_session(connection: Any) -> None:  # noqa: ANN401 - asyncmy's, with is_changed
    """Close a connection whose session may have changed.

    A reset (COM_RESET_CONNECTION) would keep the database of `USE` and the role of `SET ROLE`.
    """
    try:
        for statement in UNLOCK:
            await connection.query(statement)
    except (errors.MySQLError, OSError, RuntimeError):
        pass  # the connection is lost or has an unread result
    finally:
        await connection.ensure_closed()


class BoundedPool:
    """asyncmy's pool, first come, first served, and with a time-out.

    asyncmy's own pool is unfair: a task that waits for a connection can wait forever. The first
    task opens the pool within its time-out, because Tortoise would block the others meanwhile.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._resets_sessions = options.pop("resets_sessions", False)
        self._options = options
        self._seconds = options["connect_timeout"]
        self._turns = asyncio.Semaphore(options["maxsize"])
        self._opening = asyncio.Lock()
        self.opened: Any = None  # asyncmy's

    async def acquire(self) -> Any:  # noqa: ANN401 - asyncmy's, with is_changed
        try:
            async with asyncio.timeout(self._seconds):
                await self._turns.acquire()
                try:
                    return await self._connect()
                except BaseException:
                    self._turns.release()
                    raise
        except TimeoutError as error:
            message = f"No connection was free within {self._seconds:g} s: {FIX}"
            raise DBConnectionError(message) from error
        except errors.MySQLError as error:
            raise DBConnectionError(str(error)) from error

    async def _connect(self) -> Any:  # noqa: ANN401 - asyncmy's, with is_changed
        with _long_password():
            if not self.opened:
                async with self._opening:
                    self.opened = self.opened or await asyncmy.create_pool(**self._options)
            connection = await self.opened.acquire()
        if not hasattr(connection, "is_changed"):
            _watch(connection)
        return connection

    async def release(self, connection: Any) -> None:  # noqa: ANN401 - asyncmy's, with is_changed
        try:
            if connection.is_changed and self._resets_sessions:
                await _end_session(connection)
        finally:
            await self.opened.release(connection)
            self._turns.release()

    def close(self) -> None:
        if self.opened:
            self.opened.close()

    async def wait_closed(self) -> None:
        if self.opened:
            await self.opened.wait_closed()
