"""Use views and triggers, to find those that fail after a migration."""

from collections.abc import Iterator

from tortoise import BaseDBAsyncClient
from tortoise.exceptions import IntegrityError
from tortoise.transactions import in_transaction

from ..context import ENGINE, dialect
from ..sessions import load
from ..tables import Table, Tables
from .schemas import read_objects

sessions = load(ENGINE)

# What fails, by a view or a table with triggers, and what was done with it
Failures = dict[tuple[str, str], str]


async def failures(client: BaseDBAsyncClient, tables: Tables) -> Failures:
    """Read each view, and write to the rows of each table with triggers. Nothing is kept.

    Args:
        client: a scratch database.
        tables: the tables of the models.
    """
    found: Failures = {}
    for name, kind in await read_objects(client):
        for action, statement in _statements(name, kind, tables):
            try:
                async with in_transaction(client.connection_name) as db:
                    await db.execute_query(statement)
                    await db.rollback()
            except IntegrityError:
                continue  # a constraint may refuse these rows
            except sessions.errors as error:
                found[name, action] = str(error)
    return found


def _statements(name: str, kind: str, tables: Tables) -> Iterator[tuple[str, str]]:
    if kind.endswith("view"):
        yield "SELECT", f"SELECT * FROM {dialect.quote(name)} LIMIT 0"
    elif kind.startswith("trigger ") and name in tables:
        yield from _writes(tables[name])


def _writes(table: Table) -> Iterator[tuple[str, str]]:
    """Write to rows with the values that they have, since triggers run for existing rows only."""
    name = dialect.quote(table.name)
    stored = [column for column in table.columns.values() if not column.computed]
    same = ", ".join(f"{dialect.quote(c.name)} = {dialect.quote(c.name)}" for c in stored)
    copied = ", ".join(dialect.quote(c.name) for c in stored if not c.generated)
    yield "UPDATE", f"UPDATE {name} SET {same}"
    yield "INSERT", f"INSERT INTO {name} ({copied}) SELECT {copied} FROM {name}"
    yield "DELETE", f"DELETE FROM {name}"
