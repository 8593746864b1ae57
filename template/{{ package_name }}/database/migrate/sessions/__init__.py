"""Sessions on each engine's server, behind one interface: locks, transactions, scratch databases."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any, Protocol

from tortoise import BaseDBAsyncClient

from ..files import Direction, Migration


class Sessions(Protocol):
    """What the migration package needs of an engine's server.

    Attributes:
        errors: what a broken or misused database raises, the driver's own errors included.
    """

    errors: tuple[type[Exception], ...]

    def credentials(self) -> dict[str, Any]:
        """Return the credentials of a session that migrates, where they are not the service's."""
        ...

    def reading_credentials(self) -> dict[str, Any]:
        """Return the credentials of a session that changes nothing."""
        ...

    def lock(
        self, client: BaseDBAsyncClient, wait: Callable[[str], Awaitable[None]]
    ) -> AbstractAsyncContextManager[None]:
        """Hold the migration lock, which is freed when the session ends.

        Args:
            client: the session that migrates.
            wait: is called with the holder's name as long as somebody else has the lock.
        """
        ...

    async def check_lock(self, client: BaseDBAsyncClient) -> None:
        """Raise MigrationError if the session lost its lock."""
        ...

    async def refuse_unfinished(self, client: BaseDBAsyncClient, direction: Direction) -> None:
        """Raise MigrationError if a migration was interrupted and cannot simply continue.

        Args:
            client: the session that migrates.
            direction: the direction in which it would continue.
        """
        ...

    async def refuse_others_unfinished(self, client: BaseDBAsyncClient, repaired: str) -> None:
        """Raise MigrationError if a migration was interrupted, and it is not the repaired one."""
        ...

    async def run(
        self,
        client: BaseDBAsyncClient,
        migration: Migration,
        direction: Direction,
        *,
        locked: bool = False,
    ) -> None:
        """Run one migration and record it, in one transaction where the engine allows that.

        The migration's function is called exactly once.

        Args:
            client: a session of the database.
            migration: the migration.
            direction: whether it is applied or reverted.
            locked: whether the session has the migration lock, and continues only while it has.

        Raises:
            MigrationError: a statement failed; the message says what of the migration is kept.
        """
        ...

    async def settle(
        self, client: BaseDBAsyncClient, migration: Migration, direction: Direction | None
    ) -> None:
        """Record a migration that was run by hand, if needed, and that none is unfinished."""
        ...

    def scratch_database(self) -> AbstractAsyncContextManager[BaseDBAsyncClient]:
        """Create an empty database beside the configured one, and drop it afterwards."""
        ...


def load(engine: str) -> Sessions:
    """Return the sessions of an engine.

    Args:
        engine: the name of a module of this package.
    """
    sessions: Sessions = import_module(f".{engine}", __name__).sessions
    return sessions
