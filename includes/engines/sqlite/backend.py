"""Tortoise's client for SQLite, its connection options and its errors."""

import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tortoise import BaseDBAsyncClient
from tortoise.backends.base.client import TransactionalDBClient
from tortoise.backends.sqlite.client import (
    SqliteClient,
    SqliteTransactionContext,
    SqliteTransactionWrapper,
)
from tortoise.exceptions import DBConnectionError, OperationalError

from .pool import BoundedLock, Session
from .url import parse_url

if TYPE_CHECKING:
    from ..settings import Settings

ENGINE = "sqlite"
# Tortoise's classes and their methods that run one statement
CLIENTS = (SqliteClient, SqliteTransactionWrapper)
STATEMENTS = ("execute_insert", "execute_many", "execute_query", "execute_query_dict")

# Codes in SQLite's "Result and Error Codes" that pass, or that an administrator can resolve
UNAVAILABLE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
# Another connection's lock stopped a statement, which had no effect
CONFLICTS = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

# Syntax that only migrations of other engines contain
OTHER_ENGINES = re.compile(
    r'\bAUTO_INCREMENT\b|\bTABLE (IF (NOT )?EXISTS )?`|" (BIG|SMALL)?SERIAL\b|\bTIMESTAMPTZ\b'
)


class Transaction(SqliteTransactionWrapper):
    """A transaction that rolls back if its commit fails, for example on a full disk.

    Tortoise's transaction would stay open, and the connection's next user would commit it.
    """

    async def commit(self) -> None:
        try:
            await super().commit()
        except sqlite3.OperationalError as error:
            await self.rollback()
            raise OperationalError(error) from error


class Context(SqliteTransactionContext):
    """A context that gives the connection back if the transaction cannot begin.

    Tortoise keeps its lock, and every later statement would wait for it.
    """

    async def ensure_connection(self) -> None:
        try:
            await super().ensure_connection()
        except BaseException:
            self._trxlock.release()
            raise

    async def __aenter__(self) -> TransactionalDBClient:
        try:
            return await super().__aenter__()
        except BaseException as error:
            if hasattr(self, "token"):  # it has the connection
                await self.__aexit__(type(error), error, None)
            raise


def _create_file(file: Path) -> None:
    """Create the database's file if it is missing, readable by this user only."""
    if file.name != ":memory:" and not file.exists():
        with suppress(OSError):  # SQLite reports it
            file.touch(mode=0o600)


class Client(SqliteClient):
    """A client that raises an error if its connection does not become free in time."""

    def __init__(self, file_path: str, *, resets_sessions: bool = False, **pragmas: Any) -> None:  # noqa: ANN401 - Tortoise's signature
        super().__init__(file_path, **pragmas)
        self._resets_sessions = resets_sessions
        self._session: Session | None = None
        self._lock = BoundedLock(pragmas["busy_timeout"] / 1000, self._renew)

    async def create_connection(self, with_db: bool) -> None:  # noqa: FBT001 - Tortoise's signature
        _create_file(Path(self.filename))
        await super().create_connection(with_db)
        if self._connection and self._resets_sessions:
            self._session = Session(self._connection, self.pragmas)
            await self._session.watch()

    async def close(self) -> None:
        self._session = None
        await super().close()

    async def _renew(self) -> None:
        if self._session:
            await self._session.renew()

    def _in_transaction(self) -> Context:
        return Context(Transaction(self), self._lock)


client_class = Client  # Tortoise reads this name


def connection(settings: "Settings") -> dict[str, Any]:
    """Return the connection's options for Tortoise."""
    return {
        "engine": __name__,
        "credentials": {
            "file_path": str(parse_url(settings.database_url)),
            "busy_timeout": round(settings.database_busy_timeout * 1000),  # milliseconds
            "synchronous": "NORMAL",  # safe with the write-ahead log, Tortoise's default
        },
    }


def is_unavailable(error: Exception) -> bool:
    """Return whether the database is temporarily unavailable, according to an error."""
    return isinstance(error, DBConnectionError) or _code(error) in UNAVAILABLE | CONFLICTS


def is_conflict(error: Exception) -> bool:
    """Return whether a statement conflicted with another connection and had no effect."""
    return _code(error) in CONFLICTS


async def is_read_only(client: BaseDBAsyncClient) -> bool:
    """Return whether this process may not write to the database's files or their folder."""
    file = Path((await client.execute_query_dict("PRAGMA database_list"))[0]["file"])
    paths = [file.parent, *(Path(f"{file}{end}") for end in ("", "-wal", "-shm"))]
    return not all(os.access(path, os.W_OK) for path in paths if path.exists())


def is_missing_table(error: OperationalError) -> bool:
    """Return whether a statement failed because its table does not exist."""
    return str(error).startswith("no such table")


def utc_reader(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what reads times from text, as UTC; `convert` takes twenty times as long."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return convert(value)
        try:
            time = datetime.fromisoformat(value)
        except ValueError:  # Tortoise knows more forms
            return convert(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)

    return read


def next_step(_: BaseException, __: str) -> str:
    """Return an empty text: the message and the path of the file say enough."""
    return ""


def _code(error: Exception) -> int:
    """Return SQLite's primary result code from an error that Tortoise wrapped."""
    cause = error.args[0] if isinstance(error, OperationalError) and error.args else None
    return cause.sqlite_errorcode & 0xFF if isinstance(cause, sqlite3.Error) else sqlite3.SQLITE_OK
