"""Prove the migrations: on scratch databases, against the models, and there and back again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tortoise import BaseDBAsyncClient
from tortoise.context import TortoiseContext

from ..config import TORTOISE_ORM
from . import schema
from .apply import apply, revert
from .files import migrations

Schema = dict[tuple[str, str], list[str]]


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
        if row["table"] != "aerich":
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
    tables = {table for table, _ in actual}, {table for table, _ in wanted}
    for side, other, whose in ((0, 1, made_by), (1, 0, wanted_by)):
        for table in sorted(tables[side] - tables[other]):
            differences.append(f"table {table} is made by {whose} only")
    for table, name in sorted(actual.keys() | wanted.keys()):
        if table not in tables[0] & tables[1]:
            continue
        one, two = actual.get((table, name)), wanted.get((table, name))
        if one is None or two is None:
            values, whose = (one, made_by) if two is None else (two, wanted_by)
            what = " ".join([name, " and ".join(filter(None, values or []))]).strip()
            differences.append(f"{table}: {what} is made by {whose} only")
        elif one != two:
            ours, theirs = (" and ".join(value or "none" for value in v) for v in (one, two))
            differences.append(f"{table}: {name} is {ours} by {made_by}, {theirs} by {wanted_by}")
    return differences


async def verify(since: int = 0) -> list[str]:
    """Prove that the migrations make what the models want, and that they can be taken back.

    Args:
        since: the number of the newest released migration; those above it are taken back and
            applied again, one by one.

    Returns:
        What is wrong, in words.

    Raises:
        MigrationError: a migration or its downgrade fails.
    """
    async with scratch_database() as context:
        await context.generate_schemas(safe=False)
        models = await read(context.connections.get("default"))
    async with scratch_database() as context:
        client = context.connections.get("default")
        stages = [await read(client)]
        known = migrations()
        for migration in known:
            await apply(client, migration)
            stages.append(await read(client))
        faults = compare(stages[-1], models, "the migrations", "the models")
        taken_back = []
        for number in range(len(known), 0, -1):
            migration = known[number - 1]
            if migration.number <= since or not (await migration.downgrade_sql(client)).strip():
                break
            await revert(client, migration)
            taken_back.append(number)
            way = f"{migration.name}, taken back"
            faults += compare(await read(client), stages[number - 1], way, "those before it")
        for number in reversed(taken_back):
            migration = known[number - 1]
            await apply(client, migration)
            way = f"{migration.name}, applied again"
            faults += compare(await read(client), stages[number], way, "its first run")
    return faults
