"""The common part of sessions on servers."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from tortoise import BaseDBAsyncClient

from ..context import configuration, connected, dialect
from ..errors import MigrationError
from ..files import Direction, Migration
from ..journal import Journal


class ServerSessions(ABC):
    """Sessions on a server, with a journal for migrations without a transaction.

    Attributes:
        journal: the journal.
        maintenance: a database of every server, used to create and drop databases.
        databases: selects the names of all databases.
        force: the option that ends the sessions of a dropped database.
    """

    journal: Journal
    maintenance: str
    databases: str
    force = ""

    @abstractmethod
    def credentials(self) -> dict[str, Any]: ...

    @abstractmethod
    async def lock_holder(self, client: BaseDBAsyncClient) -> str | None:
        """Take the migration lock, or return its holder."""

    @asynccontextmanager
    async def lock(
        self, client: BaseDBAsyncClient, wait: Callable[[str], Awaitable[None]]
    ) -> AsyncIterator[None]:
        while (holder := await self.lock_holder(client)) is not None:
            await wait(holder)
        yield

    async def unfinished(self, client: BaseDBAsyncClient) -> str | None:
        return await self.journal.unfinished(client)

    async def refuse_unfinished(self, client: BaseDBAsyncClient, direction: Direction) -> None:
        await self.journal.refuse_unfinished(client, direction)

    async def refuse_others_unfinished(self, client: BaseDBAsyncClient, repaired: str) -> None:
        await self.journal.refuse_others_unfinished(client, repaired)

    async def settle(
        self, client: BaseDBAsyncClient, migration: Migration, direction: Direction | None
    ) -> None:
        await self.journal.settle(client, migration, direction)

    async def create_database(self) -> str:
        name: str = configuration()["connections"]["default"]["credentials"]["database"]
        async with connected(**self.credentials() | {"database": self.maintenance}) as server:
            if name in {row["name"] for row in await server.execute_query_dict(self.databases)}:
                raise MigrationError(f"Nothing was created: the database {name} exists")
            await server.execute_script(f"CREATE DATABASE {dialect.quote(name)}")
        return name

    @asynccontextmanager
    async def scratch_database(self) -> AsyncIterator[BaseDBAsyncClient]:
        own: str = configuration()["connections"]["default"]["credentials"]["database"]
        # A name has at most 63 bytes on PostgreSQL, and 64 characters on MySQL
        stem = own.encode()[:40].decode(errors="ignore")
        name = f"{stem}_verify_{secrets.token_hex(4)}"
        quoted = dialect.quote(name)
        async with connected(**self.credentials() | {"database": self.maintenance}) as server:
            await server.execute_script(f"CREATE DATABASE {quoted}")
            try:
                async with connected(**self.credentials() | {"database": name}) as client:
                    yield client
            finally:
                await server.execute_script(f"DROP DATABASE {quoted}{self.force}")
