"""The session of a SQLite service is reopened if a statement or a transaction was left in it."""

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from .support.package import import_engine_module


@pytest.fixture(scope="module")
def module() -> Any:
    """The pool's module, imported without a render."""
    return import_engine_module("sqlite", "pool")


def test_cancelled_renewals_are_finished_once(module: Any, tmp_path: Path) -> None:
    """The thread still reopens the file when the next tasks get the connection."""

    async def run() -> None:
        closed, may_open = threading.Event(), threading.Event()
        opened = []

        def open_slowly() -> sqlite3.Connection:
            closed.set()
            may_open.wait(10)
            opened.append(sqlite3.connect(tmp_path / "database", isolation_level=None))
            return opened[-1]

        async with aiosqlite.connect(tmp_path / "database", isolation_level=None) as connection:
            session: Any = module.Session(connection, {})
            await session.watch()
            await connection.execute("BEGIN")
            connection._connector = open_slowly
            for _ in range(2):
                task = asyncio.create_task(session.renew())
                await asyncio.to_thread(closed.wait, 10)
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
            may_open.set()

            await session.renew()

            assert not connection.in_transaction
            assert len(opened) == 1  # the second one would close a connection that is in use

    asyncio.run(run())


def test_renewal_is_tried_again_until_the_file_opens(module: Any, tmp_path: Path) -> None:
    async def run() -> None:
        async with aiosqlite.connect(tmp_path / "database", isolation_level=None) as connection:
            session: Any = module.Session(connection, {})
            await session.watch()
            await connection.execute("BEGIN")
            connector = connection._connector
            connection._connector = lambda: sqlite3.connect(tmp_path)  # it is a folder
            for _ in range(2):
                with pytest.raises(module.DBConnectionError):
                    await session.renew()
            connection._connector = connector

            await session.renew()

            assert not connection.in_transaction

    asyncio.run(run())
