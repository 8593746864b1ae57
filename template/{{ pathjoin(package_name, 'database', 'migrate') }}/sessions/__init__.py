"""Sessions on each engine: locks, transactions and scratch databases, with one interface."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any, Protocol

from tortoise import BaseDBAsyncClient

from ..files import Direction, Migration


class Sessions(Protocol):
    """The interface to sessions on an engine.

    Attributes:
        errors: the errors of a broken or misused database, including those of the driver.
    """

    errors: tuple[type[Exception], ...]

    def credentials(self) -> dict[str, Any]:
        """Return the credentials of a migrating session that differ from the service's."""
        ...

    def reading_credentials(self) -> dict[str, Any]:
        """Return the credentials of a read-only session that differ from the service's."""
        ...

    def lock(
        self, client: BaseDBAsyncClient, wait: Callable[[str], Awaitable[None]]
    ) -> AbstractAsyncContextManager[None]:
        """Hold the migration lock, which is freed when the session ends.

        Args:
            client: the session that migrates.
            wait: is called with the holder's name while another session holds the lock.
        """
        ...

    async def check_lock(self, client: BaseDBAsyncClient) -> None:
        """Raise MigrationError if the session lost its lock."""
        ...

    async def unfinished(self, client: BaseDBAsyncClient) -> str | None:
        """Return the name of the migration that was interrupted, if any."""
        ...

    async def refuse_unfinished(self, client: BaseDBAsyncClient, direction: Direction) -> None:
        """Raise MigrationError if a migration was interrupted and cannot simply continue.

        Args:
            client: the session that migrates.
            direction: the direction in which it would continue.
        """
        ...

    async def refuse_others_unfinished(self, client: BaseDBAsyncClient, repaired: str) -> None:
        """Raise MigrationError if another migration than the repaired one was interrupted."""
        ...

    async def run(
        self,
        client: BaseDBAsyncClient,
        migration: Migration,
        direction: Direction,
        *,
        locked: bool = False,
    ) -> None:
        """Run a migration and record it, in one transaction if the engine allows that.

        The migration's function is called exactly once.

        Args:
            client: a session of the database.
            migration: the migration.
            direction: whether it is applied or reverted.
            locked: whether the session holds the migration lock, and must not continue without it.

        Raises:
            MigrationError: a statement failed. The message lists what is kept of the migration.
        """
        ...

    async def settle(
        self, client: BaseDBAsyncClient, migration: Migration, direction: Direction | None
    ) -> None:
        """Record a migration that was run by hand if needed, and clear the journal."""
        ...

    async def create_database(self) -> str:
        """Create the configured database, and return its name.

        Raises:
            MigrationError: it exists, or the engine creates it by itself.
        """
        ...

    def scratch_database(self) -> AbstractAsyncContextManager[BaseDBAsyncClient]:
        """Create an empty database next to the configured one, and drop it afterwards."""
        ...


def load(engine: str) -> Sessions:
    """Return the sessions of an engine.

    Args:
        engine: the name of a module of this package.
    """
    sessions: Sessions = import_module(f".{engine}", __name__).sessions
    return sessions
