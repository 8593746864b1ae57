"""Tortoise's client for PostgreSQL, its connection options and its errors."""

import re
from typing import TYPE_CHECKING, Any

import asyncpg
from tortoise import BaseDBAsyncClient
from tortoise.backends.asyncpg.client import AsyncpgDBClient, TransactionWrapper
from tortoise.backends.base.client import (
    NestedTransactionContext,
    TransactionalDBClient,
    TransactionContext,
    TransactionContextPooled,
)
from tortoise.exceptions import DBConnectionError, OperationalError, TransactionManagementError

from .pool import AMBIGUOUS, BoundedPool, Connection, is_lost, translated
from .url import parse_url, tls

if TYPE_CHECKING:
    from ..settings import Settings

ENGINE = "postgresql"
# Tortoise's classes and their methods that run one statement
CLIENTS = (AsyncpgDBClient, TransactionWrapper)
STATEMENTS = ("execute_insert", "execute_many", "execute_query", "execute_query_dict")

# The database is unavailable
CONNECTION_ERRORS = (
    asyncpg.InsufficientResourcesError,  # out of disk, memory or connections
    asyncpg.InvalidAuthorizationSpecificationError,  # such as a changed password
    asyncpg.OperatorInterventionError,  # shut down or starting up
    asyncpg.PostgresConnectionError,
    DBConnectionError,
)

# Other transactions' locks stopped a statement, which had no effect
CONFLICTS = (
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,  # a deadlock or a serialization failure
)

# Syntax that only migrations of other engines contain
OTHER_ENGINES = re.compile(r"\bAUTO_?INCREMENT\b|\bTABLE (IF (NOT )?EXISTS )?`")


class Transaction(TransactionWrapper):
    """A transaction that skips the rollback after the connection is lost.

    The server has rolled it back, and a second error would hide the one that lost the connection.
    """

    begin = translated(TransactionWrapper.begin)
    commit = translated(TransactionWrapper.commit)

    async def rollback(self) -> None:
        try:
            await super().rollback()
        except AMBIGUOUS:
            if not is_lost(self._connection):
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


class Client(AsyncpgDBClient):
    """A client that raises an error if no connection becomes free in time."""

    async def create_pool(self, **options: Any) -> Any:  # noqa: ANN401 - Tortoise's signature
        return BoundedPool(options)

    def _in_transaction(self) -> TransactionContext:
        return PooledTransaction(Transaction(self), self._pool_init_lock)


client_class = Client  # Tortoise reads this name


def connection(settings: "Settings") -> dict[str, Any]:
    """Return the connection pool's options for Tortoise and asyncpg."""
    url = parse_url(settings.database_url)
    return {
        "engine": __name__,
        "credentials": {
            "host": url.host,
            "port": url.port or 5432,
            "user": url.user,
            "password": url.password,
            "database": url.database,
            "ssl": tls(url.options.get("sslmode", "prefer")),
            "statement_cache_size": int(url.options.get("statement_cache_size", 100)),
            "minsize": settings.database_pool_min,
            "maxsize": settings.database_pool_max,
            "connection_class": Connection,
            "timeout": settings.database_connect_timeout,
            "command_timeout": settings.database_command_timeout,
        },
    }


def is_unavailable(error: Exception) -> bool:
    """Return whether the database is temporarily unavailable, according to an error."""
    return isinstance(error, CONNECTION_ERRORS) or is_conflict(error)


def is_conflict(error: Exception) -> bool:
    """Return whether a statement conflicted with other transactions and had no effect."""
    return isinstance(error, CONFLICTS)


async def is_read_only(client: BaseDBAsyncClient) -> bool:
    """Return whether the database rejects writes: it is a standby or set to read-only."""
    rows = await client.execute_query_dict("SHOW transaction_read_only")
    return bool(rows[0]["transaction_read_only"] == "on")


def is_missing_table(error: OperationalError) -> bool:
    """Return whether a statement failed because its table does not exist."""
    return isinstance(error.__cause__, asyncpg.UndefinedTableError)


def next_step(error: BaseException, migrate: str) -> str:
    """Say what to do about an error of connecting, or return an empty text.

    Args:
        error: the driver's error.
        migrate: the command that migrates.
    """
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"Run `{migrate} create-database`"
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return "Correct the user or the password in DATABASE_URL"
    return ""
