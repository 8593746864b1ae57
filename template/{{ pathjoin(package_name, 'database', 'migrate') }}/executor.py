"""Apply and revert migrations, one process at a time. This module never prints."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tortoise import BaseDBAsyncClient
from tortoise.transactions import in_transaction

from .checks import (
    content_problems,
    database_problems,
    folder_problems,
    irreversible,
    is_replaced,
    missing_migrations,
    unfinished_problems,
)
from .context import COMMAND, ENGINE, connected, dialect
from .errors import MigrationError
from .files import Direction, Migration, find, gone, migrations, number
from .recorder import State, create_table, read_state, record
from .sessions import load

POLL = 0.2  # seconds between two attempts to take the lock
REMIND = 5.0  # seconds between two reports about its holder
ANSWER = 10.0  # seconds for connecting and for a last check of the lock

sessions = load(ENGINE)


@dataclass(frozen=True)
class Waiting:
    """Another session has the lock.

    Attributes:
        holder: the name of that session.
        waited: the seconds since the first attempt.
        timeout: the seconds after which waiting ends.
    """

    holder: str
    waited: float
    timeout: float


@dataclass(frozen=True)
class Started:
    """A migration starts to run."""

    migration: Migration


@dataclass(frozen=True)
class Done:
    """A migration was applied, reverted, or recorded because the database has what it replaces."""

    migration: Migration
    result: str  # "applied", "reverted" or "recorded"
    seconds: float


Progress = Callable[[Waiting | Started | Done], None]


def ignore(_: Waiting | Started | Done) -> None:
    """Report nothing."""


async def upgrade(
    lock_timeout: float = 60, to: int | None = None, progress: Progress = ignore
) -> int:
    """Apply the pending migrations, after waiting for another process that does.

    Args:
        lock_timeout: seconds to wait for the lock.
        to: the number of the last migration to apply; all by default.
        progress: receives the events.

    Returns:
        How many migrations were applied.

    Raises:
        MigrationError: the migrations or the database have a problem, the lock was not free in
            time, or a migration failed.
    """
    async with _locked(lock_timeout, progress) as client:
        await sessions.refuse_unfinished(client, "upgrade")
        state = await read_state(client)
        pending = _planned(state, to)
        for migration in pending:
            if is_replaced(state, migration):
                await _record_squashed(client, migration, progress)
            else:
                await _run(client, migration, "upgrade", progress)
    return len(pending)


async def pending_sql(to: int | None = None) -> list[tuple[Migration, list[str] | None]]:
    """List the pending migrations with the statements that `upgrade` would run.

    A migration that runs Python has None: its statements are only known when it runs.
    """
    async with connected(**sessions.reading_credentials()) as client:
        state = await read_state(client)
        listed: list[tuple[Migration, list[str] | None]] = []
        for migration in _planned(state, to):
            if is_replaced(state, migration):
                listed.append((migration, []))
            elif migration.function("upgrade").runs_python:
                listed.append((migration, None))
            else:
                sql = await migration.sql(client, "upgrade")
                listed.append((migration, dialect.split(sql)))
        return listed


async def planned_downgrade(to: int) -> list[Migration]:
    """List the migrations that `downgrade` would revert, without changing anything."""
    async with connected(**sessions.reading_credentials()) as client:
        await sessions.refuse_unfinished(client, "downgrade")
        return _to_revert(await read_state(client), to)


async def downgrade(to: int, lock_timeout: float = 60, progress: Progress = ignore) -> int:
    """Revert every migration after number `to`, the newest first.

    Returns:
        How many migrations were reverted.

    Raises:
        MigrationError: there is nothing to revert, or not all of it can be reverted.
    """
    async with _locked(lock_timeout, progress) as client:
        await sessions.refuse_unfinished(client, "downgrade")
        reverted = _to_revert(await read_state(client), to)
        for migration in reverted:
            await _run(client, migration, "downgrade", progress)
    return len(reverted)


async def check_name(name: str) -> None:
    """Check that `stamp` knows a migration.

    Raises:
        MigrationError: there is no such migration.
    """
    async with connected(**sessions.reading_credentials()) as client:
        await _find(client, name)


async def _find(client: BaseDBAsyncClient, name: str) -> Migration | None:
    """Return a migration; None if it is unfinished in the database, and its file is gone."""
    migration = find(name)
    if migration is None and await sessions.unfinished(client) != name:
        unknown = f"There is no file {name}: run `{COMMAND} status` to list the names"
        raise MigrationError(next(iter(missing_migrations()), unknown))
    return migration


async def stamp(
    name: str, *, applied: bool, lock_timeout: float = 60, progress: Progress = ignore
) -> None:
    """Record that a migration was applied or reverted by hand.

    Raises:
        MigrationError: there is no such migration, or it is not the next one in order.
    """
    async with _locked(lock_timeout, progress) as client:
        await sessions.refuse_others_unfinished(client, name)
        state = await read_state(client)
        recorded = name in state.applied
        if (migration := await _find(client, name)) is None:
            if applied and not recorded:
                raise MigrationError(
                    f"There is no file {name}: run this on a commit that has it, or undo its"
                    " committed statements and use --pending"
                )
            migration = gone(name)
        if applied and not recorded and state.pending[0].name != name:
            raise MigrationError(f"{state.pending[0].name} comes before {name}: apply it first")
        newest = sorted(state.applied, key=number)[-1:]
        if not applied and recorded and newest != [name]:
            raise MigrationError(f"{newest[0]} comes after {name}: revert it first")
        direction: Direction = "upgrade" if applied else "downgrade"
        if applied and not state.applied:
            await create_table(client)
        await sessions.settle(client, migration, None if recorded == applied else direction)


async def read() -> State:
    """Compare the database with the migration files, without changing anything."""
    async with connected(**sessions.reading_credentials()) as client:
        state = await read_state(client)
        return state._replace(unfinished=await sessions.unfinished(client))


async def count_rows(queries: list[str]) -> list[int | None]:
    """Count rows in the service's database; None for a query that fails.

    Args:
        queries: each selects one number, named `count`.
    """
    counts: list[int | None] = []
    async with connected(**sessions.reading_credentials()) as client:
        for query in queries:
            try:
                counts.append(int((await client.execute_query_dict(query))[0]["count"]))
            except sessions.errors:
                counts.append(None)
    return counts


@asynccontextmanager
async def _locked(lock_timeout: float, progress: Progress) -> AsyncIterator[BaseDBAsyncClient]:
    """Open a session that holds the migration lock."""
    start = time.monotonic()
    reminded = -REMIND

    async def wait(holder: str) -> None:
        nonlocal reminded
        waited = time.monotonic() - start
        if waited >= lock_timeout:
            raise MigrationError(
                f"The migration lock was not free within {lock_timeout:g} s: wait longer with "
                f"--timeout. It is held by {holder}. Nothing was changed."
            )
        if waited - reminded >= REMIND:
            reminded = waited
            progress(Waiting(holder, waited, lock_timeout))
        await asyncio.sleep(min(POLL, lock_timeout - waited))

    async with connected(**sessions.credentials()) as client, AsyncExitStack() as stack:
        # Statements have no time limit, so this ends the wait for a server that never answers
        async with asyncio.timeout(lock_timeout + ANSWER):
            await stack.enter_async_context(sessions.lock(client, wait))
        yield client


async def _run(
    client: BaseDBAsyncClient, migration: Migration, direction: Direction, progress: Progress
) -> None:
    start = time.perf_counter()
    progress(Started(migration))
    await sessions.run(client, migration, direction, locked=True)
    result = "applied" if direction == "upgrade" else "reverted"
    progress(Done(migration, result, time.perf_counter() - start))


async def _record_squashed(
    client: BaseDBAsyncClient, migration: Migration, progress: Progress
) -> None:
    async with in_transaction(client.connection_name) as db:
        await record(db, migration, "upgrade")
    progress(Done(migration, "recorded", 0))


def _planned(state: State, to: int | None) -> list[Migration]:
    pending = [migration for migration in state.pending if to is None or migration.number <= to]
    _refuse_problems(state, to, pending)
    return pending


def _to_revert(state: State, to: int) -> list[Migration]:
    """List what to revert, the newest first, and refuse what cannot be reverted."""
    _refuse_problems(state, to)
    reverted = [file for file in migrations() if file.number > to and file.name in state.applied]
    if not reverted:
        raise MigrationError(f"Nothing to revert: no migration after number {to} is applied")
    if problems := [problem for migration in reverted if (problem := irreversible(migration))]:
        fix = f"Fill in downgrade(), or undo the change with `{COMMAND} new --empty NAME`."
        raise MigrationError("\n".join([*problems, fix, "Nothing was changed."]))
    return reverted[::-1]


def _refuse_problems(state: State, to: int | None, pending: Iterable[Migration] = ()) -> None:
    numbers = {migration.number for migration in migrations()}
    if to is not None and numbers and to not in numbers:
        raise MigrationError(f"There is no migration {to}: run `{COMMAND} status` to list them")
    pending = list(pending)
    problems = folder_problems() or database_problems(state) or content_problems(pending)
    if problems := problems or unfinished_problems(pending):
        raise MigrationError("\n".join([*problems, "Nothing was changed."]))
