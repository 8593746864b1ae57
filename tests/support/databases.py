"""Databases for the tests, each new, on real servers, and dropped afterwards."""

import asyncio
import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import asyncmy
import asyncpg
import pytest

SERVERS = {
    "postgresql": os.environ.get(
        "TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres"
    ),
    "mysql": os.environ.get("TEST_MYSQL_URL", "mysql://root@127.0.0.1:3306/mysql"),
}
REQUIRED = bool(os.environ.get("REQUIRE_ENGINES"))

Row = tuple[Any, ...]


class Database(NamedTuple):
    """A database of a test."""

    engine: str
    url: str

    def query(self, sql: str) -> list[Row]:
        """Run one statement in autocommit and return its rows."""
        if self.engine == "sqlite":
            with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
                return connection.execute(sql).fetchall()
        return asyncio.run(_on_server(self.url, sql))

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix("sqlite://"))

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def drop(self) -> None:
        """Drop a database on a server, whoever is still connected."""
        force = " WITH (FORCE)" if self.engine == "postgresql" else ""
        asyncio.run(_on_server(SERVERS[self.engine], f"DROP DATABASE IF EXISTS {self.name}{force}"))

    def tables(self) -> set[str]:
        sql = {
            "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
            "postgresql": "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'",
            "mysql": "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = database()",
        }[self.engine]
        return {str(name) for (name,) in self.query(sql)} - {"sqlite_sequence"}

    def columns(self, table: str) -> list[str]:
        """List the columns of a table, in the order of the table."""
        sql = {
            "sqlite": f"SELECT name FROM pragma_table_info('{table}') ORDER BY cid",
            "postgresql": "SELECT column_name::text FROM information_schema.columns"
            f" WHERE table_name = '{table}' AND table_schema = 'public' ORDER BY ordinal_position",
            "mysql": "SELECT column_name FROM information_schema.columns"
            f" WHERE table_name = '{table}' AND table_schema = database()"
            " ORDER BY ordinal_position",
        }[self.engine]
        return [str(name) for (name,) in self.query(sql)]


class Session:
    """A connection to a server, in autocommit; a call runs one statement and returns its rows."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def __call__(self, sql: str) -> list[Row]:
        if isinstance(self._connection, asyncpg.Connection):
            return [tuple(row) for row in await self._connection.fetch(sql)]
        async with self._connection.cursor() as cursor:
            await cursor.execute(sql)
            return list(await cursor.fetchall())

    async def script(self, sql: str) -> None:
        """Run several statements in one call."""
        if isinstance(self._connection, asyncpg.Connection):
            await self._connection.execute(sql)
            return
        async with self._connection.cursor() as cursor:
            await cursor.execute(sql)


@asynccontextmanager
async def session(url: str) -> AsyncIterator[Session]:
    """Connect to a server, in autocommit."""
    parts = urlsplit(url)
    login: dict[str, Any] = {
        "host": parts.hostname,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path[1:]),
    }
    if parts.scheme == "postgresql":
        connection = await asyncpg.connect(port=parts.port or 5432, timeout=5, **login)
        try:
            yield Session(connection)
        finally:
            await connection.close()
        return
    login["password"] = login["password"].encode()  # asyncmy would encode it as Latin-1
    other = await asyncmy.connect(
        port=parts.port or 3306, connect_timeout=5, autocommit=True, **login
    )
    try:
        yield Session(other)
    finally:
        other.close()


async def _on_server(url: str, sql: str) -> list[Row]:
    async with session(url) as run:
        return await run(sql)


def _fault(engine: str) -> str:
    """Say why an engine's server cannot be used, or nothing."""
    try:
        asyncio.run(_on_server(SERVERS[engine], "SELECT 1"))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncmy.errors.Error):
        variable = {"postgresql": "TEST_POSTGRES_URL", "mysql": "TEST_MYSQL_URL"}[engine]
        server = re.sub(r"//[^@]*@", "//", SERVERS[engine])
        return f"no {engine} answers at {server}; {variable} names another server"
    return ""


FAULTS: dict[str, str] = {}


def require(engine: str) -> None:
    """Skip the test where the engine's server does not answer; fail if REQUIRE_ENGINES is set."""
    if engine == "sqlite":
        return
    if engine not in FAULTS:
        FAULTS[engine] = _fault(engine)
    if FAULTS[engine]:
        (pytest.fail if REQUIRED else pytest.skip)(FAULTS[engine])


async def _copy_tables(names: set[str], source: Database, target: Database) -> None:
    """Copy tables of a MySQL database to another one, with their rows."""
    async with session(target.url) as run:
        await run("SET FOREIGN_KEY_CHECKS = 0")
        for table in sorted(names):
            ((_, statement),) = await run(f"SHOW CREATE TABLE {source.name}.`{table}`")
            await run(statement)
            await run(f"INSERT INTO `{table}` SELECT * FROM {source.name}.`{table}`")


@contextmanager
def new_database(engine: str, folder: Path, template: Database | None = None) -> Iterator[Database]:
    """Create a database and drop it afterwards, whoever is still connected.

    Args:
        engine: `sqlite`, `postgresql` or `mysql`.
        folder: where a SQLite database goes.
        template: a database of the engine that nobody uses now, to copy with its rows.
    """
    require(engine)
    name = f"test_{secrets.token_hex(6)}"
    if engine == "sqlite":
        database = Database(engine, f"sqlite://{folder / name}.sqlite3")
        if template:
            shutil.copy(template.path, database.path)
        yield database
        return
    server = SERVERS[engine]
    database = Database(engine, server.rpartition("/")[0] + f"/{name}")
    copied = f" TEMPLATE {template.name}" if template and engine == "postgresql" else ""
    asyncio.run(_on_server(server, f"CREATE DATABASE {name}{copied}"))
    try:
        if template and engine == "mysql":
            asyncio.run(_copy_tables(template.tables(), template, database))
        yield database
    finally:
        database.drop()


@contextmanager
def new_user(database: Database, password: str, name: str = "") -> Iterator[str]:
    """Create a MySQL user who may do everything in a database, and drop it afterwards.

    Yields:
        The database's URL with the user's name and password.
    """
    name = f"{name}_{secrets.token_hex(4)}"
    place = database.url.rpartition("@")[2]
    schema = unquote(place.rpartition("/")[2])
    url = f"mysql://{quote(name)}:{quote(password, safe='')}@{place}"
    user = account(url)
    database.query(f"CREATE USER {user} IDENTIFIED BY '{password}'")
    try:
        database.query(f"GRANT ALL ON `{schema}`.* TO {user}")
        yield url
    finally:
        database.query(f"DROP USER {user}")


def account(url: str) -> str:
    """Return a MySQL URL's user as SQL writes it."""
    return f"'{unquote(urlsplit(url).username or '')}'@'%'"


def is_mariadb(database: Database) -> bool:
    return "MariaDB" in database.query("SELECT VERSION()")[0][0]


def offers_tls(database: Database) -> bool:
    """Return whether a MySQL server takes TLS connections. MySQL always does, MariaDB may."""
    variable = database.query("SHOW GLOBAL VARIABLES LIKE 'have_ssl'")
    return not variable or variable[0][1] == "YES"
