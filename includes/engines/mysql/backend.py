"""Tortoise's client for MySQL and MariaDB, its connection options and its errors."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asyncmy import errors
from tortoise import BaseDBAsyncClient
from tortoise.backends.base.client import (
    NestedTransactionContext,
    TransactionalDBClient,
    TransactionContext,
    TransactionContextPooled,
)
from tortoise.backends.mysql.client import MySQLClient, TransactionWrapper
from tortoise.exceptions import (
    DBConnectionError,
    IntegrityError,
    OperationalError,
    TransactionManagementError,
)

from .pool import BoundedPool
from .url import parse_url, tls

if TYPE_CHECKING:
    from ..settings import Settings

ENGINE = "mysql"
# Tortoise's classes and their methods that run one statement
CLIENTS = (MySQLClient, TransactionWrapper)
STATEMENTS = ("execute_insert", "execute_many", "execute_query")
# Tortoise sets the time zone on the pool's first connection only. The default isolation level also
# locks the gaps between rows, so transactions that insert into the same gap often deadlock.
INIT_COMMAND = """
    SET time_zone = '+00:00';
    SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED
"""
ACCESS_DENIED = {1044, 1045, 1698}  # ER_DBACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR
NO_SUCH_DATABASE = 1049  # ER_BAD_DB_ERROR
NO_SUCH_TABLE = 1146  # ER_NO_SUCH_TABLE
OPTION_PREVENTS = 1290  # ER_OPTION_PREVENTS_STATEMENT: read_only, secure_file_priv, ...

# MySQL's "Server Error Message Reference" and "Client Error Message Reference"
UNAVAILABLE = {
    0,  # asyncmy: the connection was already lost
    1021,  # ER_DISK_FULL
    1040,  # ER_CON_COUNT_ERROR: too many connections
    1041,  # ER_OUT_OF_RESOURCES
    1045,  # ER_ACCESS_DENIED_ERROR: such as a changed password
    1047,  # ER_UNKNOWN_COM_ERROR: a Galera node that has left its cluster
    1053,  # ER_SERVER_SHUTDOWN
    1114,  # ER_RECORD_FILE_FULL
    1129,  # ER_HOST_IS_BLOCKED: after too many failed connections
    1135,  # ER_CANT_CREATE_THREAD
    1203,  # ER_TOO_MANY_USER_CONNECTIONS
    1226,  # ER_USER_LIMIT_REACHED
    1317,  # ER_QUERY_INTERRUPTED: an administrator's KILL QUERY
    1836,  # ER_READ_ONLY_MODE
    1874,  # ER_INNODB_READ_ONLY
    1927,  # ER_CONNECTION_KILLED
    1969,  # ER_STATEMENT_TIMEOUT of MariaDB
    2003,  # CR_CONN_HOST_ERROR
    2006,  # CR_SERVER_GONE_ERROR
    2013,  # CR_SERVER_LOST
    2055,  # CR_SERVER_LOST_EXTENDED
    2061,  # CR_AUTH_PLUGIN_ERR
    3024,  # ER_QUERY_TIMEOUT
    3032,  # ER_SERVER_OFFLINE_MODE
    3118,  # ER_ACCOUNT_HAS_BEEN_LOCKED
    3168,  # ER_SERVER_ISNT_AVAILABLE: starting or stopping
    3169,  # ER_SESSION_WAS_KILLED
    4031,  # ER_CLIENT_INTERACTION_TIMEOUT: the connection was idle for too long
    4151,  # ER_ACCOUNT_HAS_BEEN_LOCKED of MariaDB
}
CONFLICTS = {
    1020,  # ER_CHECKREAD: MariaDB 11.6 and later, with snapshot isolation
    1205,  # ER_LOCK_WAIT_TIMEOUT
    1213,  # ER_LOCK_DEADLOCK
    1412,  # ER_TABLE_DEF_CHANGED: a migration ran within the transaction
    3101,  # ER_TRANSACTION_ROLLBACK_DURING_COMMIT: with group replication
}

# InnoDB cascades at most 15 levels. MySQL has an error for it, ER_FK_DEPTH_EXCEEDED; MariaDB, a text.
CASCADE_TOO_DEEP = 3008
TEXT_OF_CASCADE_TOO_DEEP = "Got error 193 "

# Syntax that only migrations of other engines contain
OTHER_ENGINES = re.compile(r'\bAUTOINCREMENT\b|\bTABLE (IF (NOT )?EXISTS )?"')


class StatementClient(MySQLClient):
    """A client that reports a cascade over too many rows like other violations of a foreign key."""

    async def execute_query(
        self, query: str, values: list[Any] | None = None
    ) -> tuple[int, list[dict[str, Any]]]:
        result: tuple[int, list[dict[str, Any]]]  # Tortoise's decorator hides it
        try:
            result = await super().execute_query(query, values)
        except OperationalError as error:
            if is_cascade_too_deep(error):
                raise IntegrityError(error) from error
            raise
        return result


def is_cascade_too_deep(error: OperationalError) -> bool:
    cause = error.args[0] if error.args else None
    if not isinstance(cause, errors.MySQLError):
        return False
    return cause.args[0] == CASCADE_TOO_DEEP or TEXT_OF_CASCADE_TOO_DEEP in str(cause)


class Transaction(StatementClient, TransactionWrapper):
    """A transaction that skips the rollback after the connection is lost.

    The server has rolled it back, and a second error would hide the one that lost the connection.
    """

    async def rollback(self) -> None:
        with self._unless_lost():
            await super().rollback()

    async def savepoint_rollback(self) -> None:
        with self._unless_lost():
            await super().savepoint_rollback()

    @contextmanager
    def _unless_lost(self) -> Iterator[None]:
        try:
            yield
        except errors.MySQLError:
            if self._connection.connected:
                raise

    def _in_transaction(self) -> TransactionContext:
        return NestedTransactionContext(Transaction(self))


class PooledTransaction(TransactionContextPooled):
    """A context that gives its connection back if the transaction cannot begin.

    Tortoise keeps it: after as many failures as the pool has connections, none would be free.
    """

    async def __aenter__(self) -> TransactionalDBClient:
        try:
            return await super().__aenter__()
        except BaseException:
            if hasattr(self, "token"):  # it has a connection
                # with this exception, nothing is rolled back
                await self.__aexit__(TransactionManagementError, None, None)
            raise


class Client(StatementClient):
    """A client that raises an error if no connection becomes free in time."""

    async def create_connection(self, with_db: bool) -> None:  # noqa: FBT001 - Tortoise's signature
        self._template = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "db": self.database if with_db else None,
            "autocommit": True,
            "charset": self.charset,
            "minsize": self.pool_minsize,
            "maxsize": self.pool_maxsize,
            **self.extra,
        }
        # in the place of asyncmy's pool, the declared type
        self._pool = BoundedPool({"password": self.password, **self._template})  # type: ignore[assignment]
        await self._post_connect()

    def _in_transaction(self) -> TransactionContext:
        return PooledTransaction(Transaction(self), self._pool_init_lock)


client_class = Client  # Tortoise reads this name


def connection(settings: "Settings") -> dict[str, Any]:
    """Return the connection pool's options for Tortoise and asyncmy."""
    url = parse_url(settings.database_url)
    return {
        "engine": __name__,
        "credentials": {
            "host": url.host,
            "port": url.port or 3306,
            "user": url.user,
            "password": url.password.encode(),  # asyncmy encodes str as Latin-1
            "database": url.database,
            "ssl": tls(url.options.get("ssl-mode", "disabled").lower()),
            "minsize": settings.database_pool_min,
            "maxsize": settings.database_pool_max,
            "connect_timeout": settings.database_connect_timeout,
            "read_timeout": settings.database_command_timeout,
            "init_command": INIT_COMMAND,
        },
    }


def is_unavailable(error: Exception) -> bool:
    """Return whether the database is temporarily unavailable, according to an error."""
    code = _code(error)
    if code == OPTION_PREVENTS:
        return "read-only" in str(error)
    return isinstance(error, DBConnectionError) or code in UNAVAILABLE | CONFLICTS


def is_conflict(error: Exception) -> bool:
    """Return whether a statement conflicted with other transactions and had no effect."""
    return _code(error) in CONFLICTS


async def is_read_only(client: BaseDBAsyncClient) -> bool:
    """Return whether the server rejects writes: it is a replica or set to read-only."""
    names = "'read_only', 'innodb_read_only', 'transaction_read_only', 'tx_read_only'"
    which = f"Variable_name IN ({names}) AND Value <> 'OFF'"
    return bool(await client.execute_query_dict(f"SHOW GLOBAL VARIABLES WHERE {which}"))


def is_missing_table(error: OperationalError) -> bool:
    """Return whether a statement failed because its table does not exist."""
    return _code(error) == NO_SUCH_TABLE


def next_step(error: BaseException, migrate: str) -> str:
    """Say what to do about an error of connecting, or return an empty text.

    Args:
        error: the driver's error.
        migrate: the command that migrates.
    """
    code = _code(error)
    if code == NO_SUCH_DATABASE:
        return f"Run `{migrate} create-database`"
    return "Correct the user or the password in DATABASE_URL" if code in ACCESS_DENIED else ""


def _code(error: BaseException) -> int | None:
    """Return the server's error number, also from an error that Tortoise wrapped."""
    cause = error.args[0] if isinstance(error, OperationalError) and error.args else error
    if isinstance(cause, errors.MySQLError) and cause.args and isinstance(cause.args[0], int):
        return cause.args[0]
    return None
