"""The connection pool for PostgreSQL."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from tortoise.backends.asyncpg.client import TransactionWrapper
from tortoise.exceptions import DBConnectionError

from .reset import LONGEST_PLAIN, RESET, is_plain

FIX = "check the server, or raise DATABASE_POOL_MAX"
# asyncpg raises these for a lost connection and for errors in the calling code
AMBIGUOUS = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# Seconds for asking the server to cancel a statement that timed out
CANCEL_TIMEOUT = 1.0
MAX_IDLE = 300.0  # seconds until an unused connection is closed, like in asyncpg's pool
IDLE_CHECK = 60.0  # seconds between looking for unused connections
MAX_KEPT = 100  # uses of a connection until asyncpg's pool checks it again

Function = TypeVar("Function", bound=Callable[..., Any])
Method = TypeVar("Method", bound=Callable[..., Awaitable[Any]])


class NotResetError(Exception):
    """A session could not be reset: the pool closes its connection."""


async def keep(_: "Connection") -> None:
    """Keep a session as it is."""


async def reset(connection: "Connection") -> None:
    """Reset a session if a statement may have changed it.

    asyncpg's own reset costs a round trip for each query and keeps temporary tables.
    """
    if connection.is_changed:
        try:
            await connection.execute(RESET)
        except (*AMBIGUOUS, asyncpg.PostgresError, DBConnectionError) as error:
            raise NotResetError from error
        connection.is_changed = False


def translated(method: Method) -> Method:
    """Raise a DBConnectionError if the database is the cause, not the calling code."""

    @wraps(method)
    async def run(self: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - of any method
        try:
            return await method(self, *args, **options)
        except (*AMBIGUOUS, asyncpg.ReadOnlySQLTransactionError) as error:
            connection = self._connection if isinstance(self, TransactionWrapper) else self
            if isinstance(error, TimeoutError):
                with suppress(*AMBIGUOUS):
                    await connection.close(timeout=CANCEL_TIMEOUT)  # it cancels the statement
                message = "A statement timed out: speed it up, or raise DATABASE_COMMAND_TIMEOUT"
                raise DBConnectionError(message) from error
            if not (is_lost(connection) or _is_refused_write(connection, error)):
                raise
            raise DBConnectionError(str(error)) from error

    return cast("Method", run)


def _noted(method: Function) -> Function:
    """Record in `is_changed` whether a statement may change the session."""

    @wraps(method)
    def run(self: "Connection", *args: Any, **options: Any) -> Any:  # noqa: ANN401 - of any method
        statement = args[0] if args else ""
        if len(statement) > LONGEST_PLAIN or not is_plain(statement):
            self.is_changed = True
        return method(self, *args, **options)

    return cast("Function", run)


def is_lost(connection: asyncpg.Connection) -> bool:
    """Return whether a connection is closed."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # it was closed and returned to the pool
        return True


def _is_refused_write(connection: asyncpg.Connection, error: Exception) -> bool:
    """Return whether the database is read-only, not only the transaction."""
    settings: Any = connection.get_settings()  # reported by the server, without a query
    return isinstance(error, asyncpg.ReadOnlySQLTransactionError) and (
        settings.default_transaction_read_only == "on" or settings.in_hot_standby == "on"
    )


class Connection(asyncpg.Connection):
    """A connection whose errors distinguish a lost database from errors in the calling code.

    asyncpg raises TimeoutError, OSError and InterfaceError for both. A time-out also closes the
    connection, because the next statement would wait for the server again.
    """

    is_changed = False  # whether a statement may have changed the session
    uses = 0
    released_at = 0.0  # the event loop's time

    copy_from_query = _noted(asyncpg.Connection.copy_from_query)
    cursor = _noted(asyncpg.Connection.cursor)
    execute = _noted(translated(asyncpg.Connection.execute))
    executemany = _noted(translated(asyncpg.Connection.executemany))
    fetch = _noted(translated(asyncpg.Connection.fetch))
    fetchmany = _noted(translated(asyncpg.Connection.fetchmany))
    fetchrow = _noted(translated(asyncpg.Connection.fetchrow))
    fetchval = _noted(translated(asyncpg.Connection.fetchval))
    prepare = _noted(asyncpg.Connection.prepare)

    def add_log_listener(self, callback: Callable[..., Any]) -> None:
        self.is_changed = True
        super().add_log_listener(callback)

    def is_as_new(self) -> bool:
        """Return whether the next task can use the connection as it is."""
        protocol: Any = self._protocol  # type: ignore[attr-defined]
        return not (
            self.is_changed
            or self.is_closed()
            or protocol.is_in_transaction()
            or self._top_xact  # type: ignore[attr-defined] # a transaction that was not ended
            or protocol._is_cancelling()  # noqa: SLF001 - no public name
        )


class Turns:
    """A semaphore, first come, first served, whose tasks all wait for the same time.

    So one timer is enough: `asyncio.timeout` starts one for each task, which takes longer than
    everything else here.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self, deadline: float) -> None:
        """Wait for a turn.

        Args:
            deadline: when the wait ends, in the event loop's time. Later calls have later ones.

        Raises:
            TimeoutError: there was none until then.
        """
        if self._free:
            self._free -= 1
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append((deadline, turn))
        if self._timer is None:
            self._timer = loop.call_at(deadline, self._end_waits)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self.release()  # it had just got its turn
            raise

    def release(self) -> None:
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _end_waits(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0][0] <= loop.time():
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(TimeoutError())
        following = self._waiting[0][0] if self._waiting else None
        self._timer = loop.call_at(following, self._end_waits) if following else None


class BoundedPool:
    """asyncpg's pool, first come, first served, and with a time-out.

    asyncpg's own pool is unfair: a task that waits for a connection can wait forever. The first
    task opens the pool within its time-out, because Tortoise would block the others meanwhile.

    Released connections are kept for the next task: asyncpg's pool starts a task for each release,
    which takes as long as a short query.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        resets_sessions = options.pop("resets_sessions", False)
        self._options = {**options, "reset": reset if resets_sessions else keep}
        self._seconds = options["timeout"]
        self._turns = Turns(options["max_size"])
        self._opening = asyncio.Lock()
        self._kept: list[Any] = []  # the last released one is last
        self._idle_check: asyncio.TimerHandle | None = None
        self.opened: Any = None  # asyncpg's

    async def acquire(self) -> Any:  # noqa: ANN401 - asyncpg's proxy of a connection
        deadline = asyncio.get_running_loop().time() + self._seconds
        try:
            await self._turns.acquire(deadline)
            try:
                return self._take() or await self._connect(deadline)
            except BaseException:
                self._turns.release()
                raise
        except TimeoutError as error:
            message = f"No connection was free within {self._seconds:g} s: {FIX}"
            raise DBConnectionError(message) from error
        except (*AMBIGUOUS, asyncpg.InvalidCatalogNameError) as error:
            raise DBConnectionError(str(error)) from error

    async def _connect(self, deadline: float) -> Any:  # noqa: ANN401 - asyncpg's proxy of a connection
        async with asyncio.timeout_at(deadline):
            return await (self.opened or await self._open()).acquire()

    async def _open(self) -> Any:  # noqa: ANN401 - asyncpg's pool
        async with self._opening:
            if not self.opened:
                self.opened = await asyncpg.create_pool(None, **self._options)
                self.close_idle()
            return self.opened

    def _take(self) -> Any:  # noqa: ANN401 - asyncpg's proxy of a connection
        """Return a kept connection that is open; None if there is none."""
        while self._kept:
            connection = self._kept.pop()
            if not is_lost(connection):
                return connection
            with suppress(asyncpg.InterfaceError):  # asyncpg's pool has it already
                connection.terminate()  # it returns to asyncpg's pool, which opens another
        return None

    async def release(self, connection: Any) -> None:  # noqa: ANN401 - asyncpg's proxy of a connection
        try:
            if not self._keep(connection):
                # the statements before it succeeded, and asyncpg's pool closes the connection
                with suppress(NotResetError, *AMBIGUOUS):
                    await self.opened.release(connection)
        finally:
            self._turns.release()

    def _keep(self, proxy: Any) -> bool:  # noqa: ANN401 - asyncpg's proxy of a connection
        """Keep a released connection for the next task, if it needs nothing from asyncpg's pool."""
        connection, holder = proxy._con, proxy._holder  # noqa: SLF001 - no public names
        if connection is None or not connection.is_as_new() or self.opened.is_closing():
            return False
        connection.uses += 1
        if connection.uses % MAX_KEPT == 0:
            return False
        connection.released_at = asyncio.get_running_loop().time()
        # The task that released it cannot use it any more, as after a release by asyncpg
        connection._on_release()  # noqa: SLF001 - no public name
        proxy._detach()  # noqa: SLF001 - no public name
        holder._proxy = PoolConnectionProxy(holder, connection)  # noqa: SLF001 - no public name
        self._kept.append(holder._proxy)  # noqa: SLF001 - no public name
        return True

    def close_idle(self) -> None:
        """Close connections that are unused for MAX_IDLE, now and every IDLE_CHECK seconds."""
        self._forget_lost()
        loop = asyncio.get_running_loop()
        since = loop.time() - MAX_IDLE
        while self._kept and self._kept[0].released_at <= since and self._is_above_minimum():
            self._kept.pop(0).terminate()
        if self._idle_check:
            self._idle_check.cancel()
        self._idle_check = loop.call_later(IDLE_CHECK, self.close_idle)

    def _forget_lost(self) -> None:
        """Drop connections that the server has closed: asyncpg's pool has them already."""
        self._kept[:] = [connection for connection in self._kept if not is_lost(connection)]

    def _is_above_minimum(self) -> bool:
        return bool(self.opened.get_size() > self.opened.get_min_size())

    def idle_size(self) -> int:
        """Return the number of open connections that are not in use."""
        self._forget_lost()
        return int(self.opened.get_idle_size()) + len(self._kept)

    async def close(self) -> None:
        if self._idle_check:
            self._idle_check.cancel()
        while self._kept:
            await self.opened.release(self._kept.pop())
        if self.opened:
            await self.opened.close()

    def terminate(self) -> None:
        if self._idle_check:
            self._idle_check.cancel()
        self._kept.clear()
        if self.opened:
            self.opened.terminate()
