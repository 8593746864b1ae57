"""The pool of a PostgreSQL service keeps released connections, but only those that are as new."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest
from tortoise.exceptions import DBConnectionError

from .support.databases import Database, new_database, session
from .support.package import import_engine_module

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def module() -> Any:
    """The pool's module, imported without a render."""
    return import_engine_module("postgresql", "pool")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with new_database("postgresql", tmp_path) as database:
        yield database


@asynccontextmanager
async def opened(module: Any, database: Database, **options: Any) -> AsyncIterator[Any]:
    """A pool of a serving process."""
    url = urlsplit(database.url)
    settings = {
        "host": url.hostname,
        "port": url.port or 5432,
        "user": unquote(url.username or ""),
        "password": unquote(url.password or ""),
        "database": database.name,
        "min_size": 1,
        "max_size": 3,
        "timeout": 10,
        "command_timeout": 10,
        "connection_class": module.Connection,
        "resets_sessions": True,
    }
    pool = module.BoundedPool(settings | options)
    try:
        yield pool
    finally:
        await asyncio.wait_for(pool.close(), 10)


async def pid(connection: Any) -> int:
    """Run a statement that leaves the session as it is, and return the process that served it."""
    await connection.fetchval("SELECT 1")
    return int(connection.get_server_pid())


async def used(pool: Any, *statements: str) -> int:
    """Use a connection once, and return the process that served it."""
    connection = await pool.acquire()
    try:
        for statement in statements:
            await connection.execute(statement)
        return await pid(connection)
    finally:
        await pool.release(connection)


async def several(pool: Any, count: int) -> set[int]:
    """Use several connections at once, and return the processes that served them."""
    connections = [await pool.acquire() for _ in range(count)]
    pids = {await pid(connection) for connection in connections}
    for connection in connections:
        await pool.release(connection)
    return pids


def test_connection_is_used_again(module: Any, database: Database) -> None:
    async def run() -> None:
        async with opened(module, database) as pool:
            assert len({await used(pool) for _ in range(2 * module.MAX_KEPT)}) == 1
            assert (pool.opened.get_size(), pool.idle_size()) == (1, 1)

    asyncio.run(run())


def test_released_connection_cannot_be_used_by_the_task_that_had_it(
    module: Any, database: Database
) -> None:
    async def run() -> None:
        async with opened(module, database) as pool:
            mine = await pool.acquire()
            statement = await mine.prepare("SELECT 1")
            await pool.release(mine)
            other = await pool.acquire()
            for use in (lambda: mine.fetchval("SELECT 1"), statement.fetchval):
                with pytest.raises(asyncpg.InterfaceError, match="released back to the pool"):
                    await use()
            assert await other.fetchval("SELECT 1") == 1
            await pool.release(other)

    asyncio.run(run())


@pytest.mark.parametrize(
    "statements",
    [
        ["SET app.tenant = 'acme'"],
        ["BEGIN"],
        ["BEGIN", "SET LOCAL app.tenant = 'acme'"],
        ["BEGIN", "CREATE TEMPORARY TABLE left_there (id int)"],
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_session_and_transaction_end_with_the_release(
    module: Any, database: Database, statements: list[str]
) -> None:
    async def run() -> None:
        async with opened(module, database) as pool:
            await used(pool, *statements)
            connection = await pool.acquire()
            assert not connection.is_in_transaction()
            tenant = await connection.fetchval("SELECT current_setting('app.tenant', true)")
            assert not tenant
            assert await connection.fetchval("SELECT to_regclass('left_there')") is None
            await pool.release(connection)

    asyncio.run(run())


def test_abandoned_transaction_is_not_the_next_ones_outer_transaction(
    module: Any, database: Database
) -> None:
    async def run() -> None:
        async with opened(module, database) as pool:
            connection = await pool.acquire()
            await connection.transaction().start()
            await connection.execute("COMMIT")  # which asyncpg does not notice
            await pool.release(connection)
            connection = await pool.acquire()
            async with connection.transaction():  # otherwise a savepoint, which is an error here
                await connection.execute("CREATE TABLE kept (id int)")
            await pool.release(connection)

    asyncio.run(run())
    assert database.tables() == {"kept"}


def test_log_listener_ends_with_the_release(module: Any, database: Database) -> None:
    async def run() -> None:
        heard: list[str] = []
        async with opened(module, database) as pool:
            connection = await pool.acquire()
            connection.add_log_listener(lambda *_: heard.append("mine"))
            with pytest.warns(asyncpg.InterfaceWarning, match="log"):
                await pool.release(connection)
            await used(pool, "DO $$ BEGIN RAISE NOTICE 'of another request'; END $$")
        assert heard == []

    asyncio.run(run())


def test_cancelled_statement_does_not_reach_the_next_task(module: Any, database: Database) -> None:
    async def run() -> None:
        async with opened(module, database, max_size=1) as pool:
            started = asyncio.Event()

            async def wait_for_ever() -> None:
                connection = await pool.acquire()
                try:
                    started.set()
                    await connection.execute("SELECT pg_sleep(600)")
                finally:
                    await pool.release(connection)

            for _ in range(5):
                started.clear()
                task = asyncio.create_task(wait_for_ever())
                await started.wait()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert task.cancelled()
                connection = await pool.acquire()
                assert [await connection.fetchval(f"SELECT {n}") for n in range(5)] == [*range(5)]
                await pool.release(connection)

    asyncio.run(run())


def test_cancelled_wait_leaves_its_turn_to_others(module: Any, database: Database) -> None:
    async def run() -> None:
        async with opened(module, database, max_size=1) as pool:
            connection = await pool.acquire()
            waiting = [asyncio.create_task(used(pool)) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            await pool.release(connection)
            waiting[1].cancel()  # it has just got its turn, or is about to
            await asyncio.gather(*waiting, return_exceptions=True)
            assert waiting[2].result()
            assert await used(pool)

    asyncio.run(run())


def test_each_wait_has_its_own_end(module: Any, database: Database) -> None:
    async def run() -> None:
        async with opened(module, database, max_size=1, timeout=0.2) as pool:
            for _ in range(2):  # also after all waits have ended
                connection = await pool.acquire()
                waits = [asyncio.create_task(used(pool)) for _ in range(2)]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                waits.append(asyncio.create_task(used(pool)))
                for error in await asyncio.gather(*waits, return_exceptions=True):
                    assert isinstance(error, DBConnectionError)
                    assert "No connection was free within 0.2 s" in str(error)
                await pool.release(connection)
                assert await used(pool)

    asyncio.run(run())


def test_tasks_get_their_turns_in_order(module: Any, database: Database) -> None:
    async def run() -> None:
        order: list[int] = []

        async def take(number: int) -> None:
            await used(pool)
            order.append(number)

        async with opened(module, database, max_size=1) as pool:
            connection = await pool.acquire()
            waits = [asyncio.create_task(take(number)) for number in range(5)]
            await asyncio.sleep(0)
            await pool.release(connection)
            late = asyncio.create_task(take(5))
            await asyncio.gather(*waits, late)
        assert order == [0, 1, 2, 3, 4, 5]

    asyncio.run(run())


@pytest.mark.parametrize("ends", ["with a turn", "without a turn"])
def test_wait_that_is_cancelled_when_it_ends_leaves_the_count(module: Any, ends: str) -> None:
    async def run() -> None:
        turns = module.Turns(1)
        now = asyncio.get_running_loop().time()
        await turns.acquire(now)
        wait = asyncio.create_task(turns.acquire(now))
        await asyncio.sleep(0)
        if ends == "with a turn":
            turns.release()
        else:
            turns._end_waits()
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)
        if ends == "without a turn":
            turns.release()
        await turns.acquire(now)
        with pytest.raises(TimeoutError):
            await turns.acquire(now)

    asyncio.run(run())


@pytest.mark.parametrize("while_used", [True, False])
def test_lost_connections_are_replaced(
    module: Any, database: Database, *, while_used: bool
) -> None:
    async def run() -> None:
        async with opened(module, database) as pool, session(database.url) as administer:
            connections = [await pool.acquire() for _ in range(3)]
            lost = {await pid(connection) for connection in connections}
            if not while_used:
                for connection in connections:
                    await pool.release(connection)
            for process in lost:
                await administer(f"SELECT pg_terminate_backend({process}, 10000)")
            while not all(map(module.is_lost, connections)):  # the event loop reads this
                await asyncio.sleep(0)
            if while_used:
                for connection in connections:
                    await pool.release(connection)
            assert lost.isdisjoint(await several(pool, 3))
            assert (pool.opened.get_size(), pool.idle_size()) == (3, 3)

    asyncio.run(run())


def test_connection_lost_during_its_release_is_replaced(module: Any, database: Database) -> None:
    """The statements before the release succeeded, so it raises no error."""

    async def run() -> None:
        async with opened(module, database, max_size=1) as pool:
            connection = await pool.acquire()
            await connection.execute("SET search_path TO 'elsewhere'")  # asyncpg's pool resets it
            lost = await pid(connection)
            asyncio.get_running_loop().call_soon(connection._con.terminate)
            await pool.release(connection)
            assert await used(pool) != lost

    asyncio.run(run())


def test_lost_connections_do_not_end_the_look_for_unused_ones(
    module: Any, database: Database
) -> None:
    async def run() -> None:
        async with opened(module, database) as pool, session(database.url) as administer:
            for process in await several(pool, 3):
                await administer(f"SELECT pg_terminate_backend({process}, 10000)")
            while not all(map(module.is_lost, pool._kept)):
                await asyncio.sleep(0)
            assert pool.idle_size() <= pool.opened.get_size()
            pool.close_idle()
            assert len(await several(pool, 3)) == 3

    asyncio.run(run())


def test_unused_connections_are_closed_down_to_the_minimum(
    module: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with opened(module, database, max_size=5, min_size=2) as pool:
            pids = await several(pool, 5)
            pool.close_idle()
            assert pool.opened.get_size() == 5  # they were used just now
            monkeypatch.setattr(module, "MAX_IDLE", 0.0)
            pool.close_idle()
            assert (pool.opened.get_size(), pool.idle_size()) == (2, 2)
            assert await several(pool, 2) < pids

    asyncio.run(run())


def test_unused_connections_are_looked_for_again_and_again(
    module: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_IDLE", 0.0)
    monkeypatch.setattr(module, "IDLE_CHECK", 0.0)

    async def run() -> None:
        async with opened(module, database) as pool:
            for _ in range(2):
                assert len(await several(pool, 3)) == 3
                while pool.opened.get_size() > 1:
                    await asyncio.sleep(0)

    asyncio.run(run())


def test_connection_is_replaced_after_many_queries(module: Any, database: Database) -> None:
    async def run() -> None:
        async with opened(module, database, max_queries=module.MAX_KEPT // 2) as pool:
            pids = [await used(pool) for _ in range(module.MAX_KEPT + 1)]
            assert len(set(pids)) == 2
            assert pids[-1] != pids[0]

    asyncio.run(run())


def test_close_waits_for_connections_in_use_and_closes_all(module: Any, database: Database) -> None:
    async def run() -> None:
        async with opened(module, database) as pool:
            await several(pool, 3)
            connection = await pool.acquire()
            closing = asyncio.create_task(pool.close())
            await asyncio.sleep(0)
            assert await connection.fetchval("SELECT 1") == 1
            await pool.release(connection)
            await closing
            assert (pool.opened.get_size(), pool.idle_size()) == (0, 0)

    asyncio.run(run())


def test_terminate_closes_kept_connections_at_once(module: Any, database: Database) -> None:
    async def run() -> None:
        async with opened(module, database) as pool:
            await several(pool, 3)
            pool.terminate()
            assert (pool.opened.get_size(), pool.idle_size()) == (0, 0)

    asyncio.run(run())


def test_migrations_keep_their_session(module: Any, database: Database) -> None:
    async def run() -> None:
        async with opened(module, database, max_size=1, resets_sessions=False) as pool:
            await used(pool, "SET app.tenant = 'acme'")
            connection = await pool.acquire()
            assert await connection.fetchval("SELECT current_setting('app.tenant')") == "acme"
            await pool.release(connection)

    asyncio.run(run())
