"""Apply migrations, and take them back, one process at a time."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import typer
from tortoise import BaseDBAsyncClient
from tortoise.context import TortoiseContext

from ..config import TORTOISE_ORM
from .dialect import (
    carry_out,
    migration_lock,
    reading_session,
    refuse_unfinished,
    session,
    settle,
    split,
)
from .files import (
    COMMAND,
    Direction,
    Migration,
    MigrationError,
    State,
    content_faults,
    database_faults,
    folder_faults,
    migrations,
    read_state,
)

POLL = 0.2  # seconds between two attempts to take the lock
REMIND = 5.0  # seconds between two messages about who has it
ANSWER = 10.0  # seconds that connecting and a last look at the lock may take


async def upgrade(lock_timeout: float = 60, to: int | None = None) -> None:
    """Apply the pending migrations, if need be after waiting for whoever else does so.

    Args:
        lock_timeout: seconds to wait for the lock.
        to: the number of the last migration to apply; all by default.

    Raises:
        MigrationError: the migrations or the database are not sound, nobody gave up the lock, or
            a migration failed; the message says which.
    """
    async with _migrating(lock_timeout) as client:
        await refuse_unfinished(client)
        pending = _planned(await read_state(client), to)
        await _carry_out_all(client, pending, "upgrade", "applied")
    typer.echo(f"Applied {_count(pending)}" if pending else "Nothing to do: none is pending")


async def print_sql(to: int | None = None) -> None:
    """Print the SQL that `upgrade` would run, and change nothing."""
    async with connected(**reading_session()) as client:
        pending = _planned(await read_state(client), to)
        for migration in pending:
            typer.echo(f"-- {migration.name}")
            for statement in split(await migration.sql(client, "upgrade")):
                typer.echo(f"{statement.rstrip(';')};")
    typer.echo(f"-- {_count(pending)} pending, nothing was changed")


async def downgrade(to: int, lock_timeout: float = 60) -> None:
    """Take back every migration after number `to`, the newest first.

    Raises:
        MigrationError: there is nothing to take back, or not all of it can be.
    """
    async with _migrating(lock_timeout) as client:
        await refuse_unfinished(client)
        state = await read_state(client)
        _refuse_unsound(state, to)
        files = reversed(migrations())
        doomed = [file for file in files if file.number > to and file.name in state.applied]
        if not doomed:
            raise MigrationError(f"Nothing to take back: no migration after number {to} is applied")
        for migration in reversed(doomed):
            if not split(await migration.sql(client, "downgrade")):
                raise MigrationError(
                    f"{migration.name} has no downgrade, nothing was changed: write its SQL into "
                    "the file's downgrade(), or undo it with a new migration"
                )
        await _carry_out_all(client, doomed, "downgrade", "taken back")
    typer.echo(f"Took back {_count(doomed)}")


async def mark(name: str, *, applied: bool, lock_timeout: float = 60) -> None:
    """Record that a migration was carried out, or taken back, by hand.

    Raises:
        MigrationError: there is no such migration, or it is not the next one to be marked.
    """
    async with _migrating(lock_timeout) as client:
        await refuse_unfinished(client, name)
        state = await read_state(client)
        migration = next((file for file in migrations() if file.name == name), None)
        if migration is None:
            raise MigrationError(f"There is no file {name}: `{COMMAND} status` lists the names")
        recorded = name in state.applied
        if applied and not recorded and state.pending[0].name != name:
            raise MigrationError(f"{state.pending[0].name} comes before {name}: apply it first")
        if not applied and recorded and state.applied[-1] != name:
            raise MigrationError(f"{state.applied[-1]} comes after {name}: take it back first")
        direction: Direction = "upgrade" if applied else "downgrade"
        await settle(client, migration, None if recorded == applied else direction)
    typer.echo(f"{name} is marked as {'applied' if applied else 'pending'}")


async def read() -> State:
    """Read what the database has of the migrations, and change nothing."""
    async with connected(**reading_session()) as client:
        return await read_state(client)


@asynccontextmanager
async def connected(**credentials: object) -> AsyncIterator[BaseDBAsyncClient]:
    """Open the service's database with other credentials than the service's where they differ."""
    default = TORTOISE_ORM["connections"]["default"]
    default = {**default, "credentials": {**default["credentials"], **credentials}}
    async with TortoiseContext() as context:
        connections = {**TORTOISE_ORM["connections"], "default": default}
        await context.init({**TORTOISE_ORM, "connections": connections})
        yield context.db("default")


@asynccontextmanager
async def _migrating(lock_timeout: float) -> AsyncIterator[BaseDBAsyncClient]:
    """Open a session that has the migration lock."""
    start = time.monotonic()
    reminded = -REMIND

    async def wait(holder: str) -> None:
        nonlocal reminded
        waited = time.monotonic() - start
        if waited >= lock_timeout:
            raise MigrationError(
                f"The migration lock was not free within {lock_timeout:g} s, and nothing was changed: "
                f"{holder} has it. See what that is doing, or wait longer with --timeout."
            )
        if waited - reminded >= REMIND:
            reminded = waited
            message = f"Waiting for the migration lock, which {holder} has"
            typer.echo(f"{message} ({waited:.0f} of {lock_timeout:g} s)", err=True)
        await asyncio.sleep(min(POLL, lock_timeout - waited))

    async with connected(**session()) as client, AsyncExitStack() as stack:
        # Statements may take any time, so that a server which accepts and never answers would too
        async with asyncio.timeout(lock_timeout + ANSWER):
            await stack.enter_async_context(migration_lock(client, wait))
        yield client


def _planned(state: State, to: int | None) -> list[Migration]:
    pending = [migration for migration in state.pending if to is None or migration.number <= to]
    _refuse_unsound(state, to, pending)
    return pending


def _refuse_unsound(state: State, to: int | None, pending: Iterable[Migration] = ()) -> None:
    if to is not None and all(migration.number != to for migration in migrations()):
        raise MigrationError(f"There is no migration {to}: `{COMMAND} status` lists them")
    if faults := folder_faults() or database_faults(state) or content_faults(pending):
        raise MigrationError("\n".join([*faults, "Nothing was changed."]))


async def _carry_out_all(
    client: BaseDBAsyncClient, files: list[Migration], direction: Direction, done: str
) -> None:
    for migration in files:
        start = time.perf_counter()
        await carry_out(client, migration, direction, locked=True)
        typer.echo(f"{migration.name}: {done} in {time.perf_counter() - start:.2f} s")


def _count(listed: list[Migration]) -> str:
    return f"{len(listed)} migration{'' if len(listed) == 1 else 's'}"
