"""Prove the migrations: on scratch databases, against the models, and there and back again."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tortoise import BaseDBAsyncClient
from tortoise.context import TortoiseContext
from tortoise.exceptions import ConfigurationError, IntegrityError, OperationalError

from ..config import TORTOISE_ORM
from . import schema
from .apply import apply, revert, split
from .files import Migration, MigrationError, migrations
from .write import NUMBER, TEXT, Tables, ordered, tables

Schema = dict[tuple[str, str], list[str]]

# a value for each type of column
VALUES = (
    (r".*BOOL", "TRUE"),
    (NUMBER, "1"),
    (r"TIMESTAMP|DATETIME", "'2000-01-01 00:00:00'"),
    (r"DATE", "'2000-01-01'"),
    (r"TIME", "'00:00:00'"),
    (r"JSON", "'{}'"),
    (r"UUID", "'00000000-0000-4000-8000-000000000000'"),
    (r"", "'x'"),
)


@asynccontextmanager
async def scratch_database() -> AsyncIterator[TortoiseContext]:
    """Make an empty database beside the configured one, and drop it afterwards."""
    async with schema.scratch() as connection, TortoiseContext() as context:
        await context.init({**TORTOISE_ORM, "connections": {"default": connection}})
        yield context


async def read(client: BaseDBAsyncClient) -> Schema:
    """Read what each table is made of, Aerich's own left out: values by table and name."""
    found: Schema = {}
    for row in await schema.facts(client):
        if not row["table"].startswith("aerich"):
            found.setdefault((row["table"], row["name"]), []).append(row["value"] or "")
    return {place: sorted(values) for place, values in found.items()}


def compare(actual: Schema, wanted: Schema, made_by: str, wanted_by: str) -> list[str]:
    """Say in words where two schemas differ.

    Args:
        actual: one schema.
        wanted: the other.
        made_by: who makes the one, as "the migrations".
        wanted_by: who wants the other, as "the models".
    """
    differences = []
    made, want = {table for table, _ in actual}, {table for table, _ in wanted}
    differences += [f"table {table} is made by {made_by} only" for table in sorted(made - want)]
    differences += [f"table {table} is made by {wanted_by} only" for table in sorted(want - made)]
    for table, name in sorted(actual.keys() | wanted.keys()):
        if table not in made & want:
            continue
        one, two = actual.get((table, name)), wanted.get((table, name))
        if one is None or two is None:
            values, whose = (one, made_by) if two is None else (two, wanted_by)
            what = " ".join([name, " and ".join(filter(None, values or []))]).strip()
            differences.append(f"{table}: {what} is made by {whose} only")
        elif one != two:
            ours, theirs = (" and ".join(filter(None, v)) or f"{len(v)}-fold" for v in (one, two))
            differences.append(f"{table}: {name} is {ours} by {made_by}, {theirs} by {wanted_by}")
    return differences


async def verify(since: int = 0) -> list[str]:
    """Prove that the migrations make what the models want, and that they can be taken back.

    Args:
        since: the number of the newest released migration; those above it are applied to tables
            with a row, taken back from empty ones, and applied again.

    Returns:
        What is wrong, in words.

    Raises:
        MigrationError: a migration or its downgrade fails.
    """
    async with scratch_database() as context:
        try:
            await context.generate_schemas(safe=False)
        except (ConfigurationError, OperationalError) as error:
            raise MigrationError(f"Tortoise cannot make the models' tables: {error}") from error
        models = await read(context.connections.get("default"))
    async with scratch_database() as context:
        client = context.connections.get("default")
        faults, stages, before = [], [await read(client)], Tables()
        known = migrations()
        for migration in known:
            if migration.number > since:
                await _populate(client, before)
            await apply(client, migration)
            stages.append(await read(client))
            after = tables(migration.models_state or {})
            if migration.number > since:
                faults += await _unfilled(client, before, after)
                faults += _lost_triggers(migration, await migration.upgrade_sql(client), stages)
            before = after
        made = {fact: value for fact, value in stages[-1].items() if not _is_trigger(fact)}
        faults += compare(made, models, "the migrations", "the models")
        for table in reversed(ordered(before.values())):
            await client.execute_query(f"DELETE FROM {schema.quote(table.name)}")
        return faults + await _there_and_back(
            client, [m for m in known if m.number > since], stages
        )


async def _there_and_back(
    client: BaseDBAsyncClient, new: list[Migration], stages: list[Schema]
) -> list[str]:
    faults, taken_back = [], []
    for migration, before in zip(reversed(new), reversed(stages[:-1]), strict=False):
        if not split(await migration.downgrade_sql(client)):
            if migration.number:
                faults.append(f"{migration.name} cannot be taken back: its downgrade is empty")
            break
        await revert(client, migration)
        taken_back.append(migration)
        way = f"{migration.name}, taken back"
        faults += compare(await read(client), before, way, "those before it")
    for migration, after in zip(reversed(taken_back), stages[-len(taken_back) :], strict=False):
        await apply(client, migration)
        way = f"{migration.name}, applied again"
        faults += compare(await read(client), after, way, "its first run")
    return faults


async def _populate(client: BaseDBAsyncClient, some: Tables) -> None:
    """Put a row into each empty table: what works without rows may fail with them."""
    for table in ordered(some.values()):
        # each value follows from its column's type, so that foreign keys find what they refer to
        row = {
            schema.quote(column.name): next(v for t, v in VALUES if re.match(t, column.type))
            for column in table.columns.values()
            if not (column.null or column.default)
        }
        name = schema.quote(table.name)
        with suppress(IntegrityError, OperationalError):
            rows = await client.execute_query_dict(f"SELECT 1 FROM {name} LIMIT 1")
            if row and not rows:
                values = f"({', '.join(row)}) VALUES ({', '.join(row.values())})"
                await client.execute_query(f"INSERT INTO {name} {values}")


def _is_trigger(fact: tuple[str, str]) -> bool:
    return fact[1].startswith("trigger ")  # which the models know nothing of


def _lost_triggers(migration: Migration, sql: str, stages: list[Schema]) -> list[str]:
    """Find triggers that went with a table that was built anew, as SQLite needs it."""
    lost = filter(_is_trigger, stages[-2].keys() - stages[-1].keys())
    return [
        f"{migration.name}: {table} loses its {name}; write at the end of the file what makes it"
        for table, name in sorted(lost)
        if name.removeprefix("trigger ") not in sql and any(t == table for t, _ in stages[-1])
    ]


async def _unfilled(client: BaseDBAsyncClient, before: Tables, after: Tables) -> list[str]:
    """Find new columns whose default existing rows lack: MySQL gives them '' without a word."""
    faults = []
    for name in before.keys() & after.keys():
        for column in after[name].columns.values():
            if column.name in before[name].columns or not column.fill or column.fill == "''":
                continue
            if TEXT.match(column.type) or column.type == "JSON":
                place = f"{schema.quote(name)} WHERE {schema.quote(column.name)} = ''"
                if await client.execute_query_dict(f"SELECT 1 FROM {place} LIMIT 1"):
                    faults.append(f"{name}.{column.name}: existing rows get '', not its default")
    return faults
