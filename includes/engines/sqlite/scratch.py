"""The tests' database: a file in a temporary folder."""

import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from tortoise.connection import get_connection

_folder = tempfile.TemporaryDirectory(prefix="test-")
URL = f"sqlite://{Path(_folder.name).as_posix()}/test.sqlite3"


@asynccontextmanager
async def scratch_database() -> AsyncIterator[None]:
    """Delete the database at `URL` afterwards; SQLite creates it on first use."""
    with _folder:
        yield


async def empty(tables: Iterable[str]) -> None:
    """Delete all rows of the tables, in any order of their foreign keys."""
    deletes = "".join(f'DELETE FROM "{table}";' for table in tables)  # noqa: S608 - from the models
    await get_connection("default").execute_script(
        f"PRAGMA foreign_keys = OFF;{deletes}PRAGMA foreign_keys = ON;"
    )
