"""Changes of models, planned without a render, and run on real engines with rows in the tables."""

import asyncio
import sqlite3
import sys
import types
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import pytest
from tortoise.backends.asyncpg.client import AsyncpgDBClient
from tortoise.backends.asyncpg.schema_generator import AsyncpgSchemaGenerator
from tortoise.backends.base.schema_generator import BaseSchemaGenerator
from tortoise.backends.mysql.client import MySQLClient
from tortoise.backends.mysql.schema_generator import MySQLSchemaGenerator
from tortoise.backends.sqlite.client import SqliteClient
from tortoise.backends.sqlite.schema_generator import SqliteSchemaGenerator
from tortoise.connection import get_connection
from tortoise.context import TortoiseContext
from tortoise.exceptions import ConfigurationError

from tools.render import ENGINES

from . import databases
from .databases import Row
from .package import make_importable

make_importable()

from aerich.utils import compress_dict, decompress_dict
from migration_package import dialects
from migration_package.dialects import Dialect
from migration_package.planning import Plan, Planner
from migration_package.server_defaults import declared_defaults
from migration_package.state import StateReader, describe, indexes_by_column, live_models
from migration_package.tables import Tables

HEAD = """
import uuid, enum, datetime
from decimal import Decimal
from tortoise import fields
from tortoise.models import Model
from tortoise.indexes import Index, PartialIndex
from tortoise.fields.db_defaults import Now, RandomHex, SqlDefault
"""
# what belongs to one engine's models alone
HEADS = {
    "sqlite": "",
    "postgresql": "from tortoise.contrib.postgres.fields import ArrayField, TSVectorField\n"
    "from tortoise.contrib.postgres.indexes import *\n",
    "mysql": "from tortoise.contrib.mysql.fields import GeometryField, UUIDField\n"
    "from tortoise.contrib.mysql.indexes import *\n",
}
_GENERATORS: dict[str, tuple[type[BaseSchemaGenerator], type[Any]]] = {
    "sqlite": (SqliteSchemaGenerator, SqliteClient),
    "postgresql": (AsyncpgSchemaGenerator, AsyncpgDBClient),
    "mysql": (MySQLSchemaGenerator, MySQLClient),
}
KEY = "id = fields.IntField(primary_key=True)"
NAME = "name = fields.CharField(max_length=20)"
_numbers = count(1)


class Run(Protocol):
    """A connection: a call runs one statement and returns its rows, `script` runs several."""

    async def __call__(self, sql: str) -> list[Row]: ...

    async def script(self, sql: str) -> None: ...


class _InMemory:
    """A database of SQLite."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("PRAGMA foreign_keys = ON")

    async def __call__(self, sql: str) -> list[Row]:
        return self.connection.execute(sql).fetchall()

    async def script(self, sql: str) -> None:
        self.connection.executescript(sql)


Facts = dict[tuple[str, str], list[str]]
Values = Mapping[str, str | Mapping[str, str]]


@dataclass(frozen=True)
class Described:
    """Models as one module declares them.

    Attributes:
        state: as a migration file has them.
        models: the models.
        schema: the SQL that Tortoise creates their tables with.
        reader: reads tables from states.
    """

    state: dict[str, Any]
    models: Any
    schema: str
    reader: StateReader


@dataclass(frozen=True)
class Change:
    """A change of models, and the rows that meet it.

    Attributes:
        before: the source of the models before.
        after: the source of the models after.
        rows: statements that write rows before it; names are in double quotes.
        answers: renames, as `--rename` has them.
        no_rename: whether nothing else was renamed, as `--no-rename` says.
        values: what is filled in for `<table.column>` in the upgrade, for all engines or by engine.
        back: the same for the downgrade.
        expected: rows of queries after the upgrade, for all engines or by engine.
        reverted: rows of queries after the downgrade.
        losses: what is announced to be lost, for all engines or by engine.
        missing: places that the user fills in in the upgrade, if not those of `values`.
        by_tortoise: whether Tortoise itself can create the tables after it.
        reversible: whether its downgrade is tried.
        engines: the engines that have it.
    """

    before: str
    after: str
    rows: Sequence[str] = ()
    answers: Sequence[str] = ()
    no_rename: bool = False
    values: Values = field(default_factory=dict)
    back: Values = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    reverted: Mapping[str, Any] = field(default_factory=dict)
    losses: Any = ()
    missing: Sequence[str] | None = None
    by_tortoise: bool = True
    reversible: bool = True
    engines: Sequence[str] = ENGINES


def model(name: str, *lines: str, meta: str = "", key: str = KEY) -> str:
    """Write a model's source, with an integer as primary key unless another is given."""
    body = [key, *lines] if key else list(lines)
    if meta:
        body += ["class Meta:", f"    {meta}"]
    return f"class {name}(Model):\n" + "".join(f"    {line}\n" for line in body)


def item(*lines: str) -> str:
    """Write the source of a model `Item` that has a name."""
    return model("Item", NAME, *lines)


def on_engines(cases: Mapping[str, Change]) -> pytest.MarkDecorator:
    """Try each case on each of its engines."""
    parameters = [
        pytest.param(engine, change, id=f"{name}-{engine}")
        for name, change in cases.items()
        for engine in change.engines
    ]
    return pytest.mark.parametrize(("engine", "change"), parameters)


class Outcome(NamedTuple):
    """What a change did.

    Attributes:
        plan: what was planned.
        upgrade: the statements of the upgrade that ran.
        downgrade: the statements of the downgrade.
    """

    plan: Plan
    upgrade: list[str]
    downgrade: list[str]

    @property
    def losses(self) -> list[str]:
        return [loss.describe(None) for loss in self.plan.losses]


async def read_models(source: str, engine: str) -> Described:
    """Describe the models of a module's source, as Tortoise knows them on an engine."""
    module = types.ModuleType(f"models_{next(_numbers)}")
    sys.modules[module.__name__] = module
    exec(compile(HEAD + HEADS[engine] + source, module.__name__, "exec"), module.__dict__)  # noqa: S102 - the tests' own
    for name, value in list(vars(module).items()):
        if (
            getattr(value, "__module__", module.__name__).startswith("tortoise.")
            and name != "Model"
        ):
            delattr(module, name)
    try:
        async with TortoiseContext() as context:
            await context.init(
                {
                    "connections": {"default": "sqlite://:memory:"},
                    "apps": {"models": {"models": [module.__name__]}},
                    "use_tz": True,
                    "timezone": "UTC",
                }
            )
            state = decompress_dict(compress_dict(describe("models")))
            reader = StateReader(dialects.load(engine), _generator(engine))
            schema = _schema(_generator(engine), reader.tables(state))
            return Described(state, live_models("models"), schema, reader)
    finally:
        del sys.modules[module.__name__]


def _schema(generator: BaseSchemaGenerator, tables: Tables) -> str:
    client = SimpleNamespace(schema_generator=type(generator))
    try:
        with indexes_by_column("models"), declared_defaults(client, tables):
            sql: str = client.schema_generator(generator.client).get_create_schema_sql(safe=False)
            return sql
    except ConfigurationError as error:  # Tortoise cannot create tables that refer to each other
        return f"SELECT '{error}'"


def _generator(engine: str) -> BaseSchemaGenerator:
    """Return an engine's generator, with a client that is equal to the connected one."""
    generator, client = _GENERATORS[engine]

    class Client:
        capabilities = client.capabilities
        charset = "utf8mb4"

        def __eq__(self, other: object) -> bool:
            return other is get_connection("default")

        __hash__ = object.__hash__

    made: Any = generator
    result: BaseSchemaGenerator = made(Client())
    return result


async def plan_change(engine: str, change: Change) -> tuple[Plan | None, Described, Described]:
    """Plan the migration for a change."""
    before = await read_models(change.before, engine)
    after = await read_models(change.after, engine)
    planner = Planner(dialects.load(engine), after.reader)
    answers = list(change.answers)
    ask = (lambda _: False) if change.no_rename else None
    return planner.plan(before.state, after.state, after.models, answers, ask), before, after


async def facts(run: Run, dialect: Dialect) -> Facts:
    """Describe the tables of a database, as verification compares them."""
    found: Facts = {}
    for query in dialect.facts:
        for table, name, value in await run(query):
            found.setdefault((table, name), []).append(value or "")
    return {key: sorted(values) for key, values in found.items()}


def differences(one: Facts, other: Facts) -> list[str]:
    """List what two descriptions of databases do not have in common."""
    return [
        f"{key}: {one.get(key)} != {other.get(key)}"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


class Bench:
    """Runs changes on databases that it empties in between."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._servers: dict[tuple[str, str], Run] = {}

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def plan(self, engine: str, change: Change) -> Plan:
        """Plan a change, which has to change something."""
        plan = self.plan_or_none(engine, change)
        assert plan is not None, "nothing changed"
        return plan

    def plan_or_none(self, engine: str, change: Change) -> Plan | None:
        """Plan a change, if it changes something."""
        return self._runner.run(plan_change(engine, change))[0]

    def apply(self, engine: str, change: Change) -> Outcome:
        """Run a change up, down and up again, and check the tables and rows at each stage."""
        databases.require(engine)
        return self._runner.run(self._apply(engine, change))

    def fail(self, engine: str, change: Change, error: type[Exception] = Exception) -> str:
        """Run a change whose upgrade has to fail, with the tables left as they were; say how."""
        databases.require(engine)
        return self._runner.run(self._fail(engine, change, error))

    async def _fail(self, engine: str, change: Change, error: type[Exception]) -> str:
        plan, before, _ = await plan_change(engine, change)
        assert plan
        dialect = dialects.load(engine)
        async with self._database(engine, "work") as run:
            await self._start(run, engine, before)
            for row in change.rows:
                await run(_quoted(row, engine))
            found = await facts(run, dialect), await _rows(run, engine, before)
            up = _filled(plan.upgrade.statements, plan.upgrade.missing, change.values, engine)
            if engine == "postgresql":
                await run("BEGIN")
            message = ""
            statement = ""
            try:
                for statement in dialect.split(script(dialect.in_transaction(up))):
                    await run(statement)
            except error as problem:
                message = dialects.guard_message(statement, problem) or str(problem)
            assert message, "it did not fail"
            if engine != "mysql":
                await run("ROLLBACK")
            assert found == (await facts(run, dialect), await _rows(run, engine, before))
        return message

    async def _apply(self, engine: str, change: Change) -> Outcome:
        plan, before, after = await plan_change(engine, change)
        assert plan is not None, "nothing changed"
        dialect = dialects.load(engine)
        up = _filled(plan.upgrade.statements, plan.upgrade.missing, change.values, engine)
        down = _filled(plan.downgrade.statements, plan.downgrade.missing, change.back, engine)
        up_sql, down_sql = script(dialect.in_transaction(up)), script(dialect.in_transaction(down))
        async with self._database(engine, "fresh") as run:
            if change.by_tortoise:
                await run.script(after.schema)
            else:
                await self._start(run, engine, after)
            wanted = await facts(run, dialect)
        async with self._database(engine, "work") as run:
            await self._start(run, engine, before)
            start = await facts(run, dialect)
            for row in change.rows:
                await run(_quoted(row, engine))
            rows = await _rows(run, engine, before)
            await _run_all(run, engine, up_sql)
            assert differences(await facts(run, dialect), wanted) == [], up_sql
            await _check(run, engine, change.expected, up_sql)
            if change.reversible and plan.downgrade.missing.keys() <= change.back.keys():
                await _run_all(run, engine, down_sql)
                assert differences(await facts(run, dialect), start) == [], down_sql
                tables = before.reader.tables(before.state)
                _same_rows(rows, await _rows(run, engine, before), tables, plan, change)
                await _check(run, engine, change.reverted, down_sql)
                await run.script(up_sql)
                assert differences(await facts(run, dialect), wanted) == [], up_sql
                await run.script(down_sql)
                assert differences(await facts(run, dialect), start) == [], down_sql
        missing = change.values.keys() if change.missing is None else change.missing
        assert plan.upgrade.missing.keys() == set(missing), plan.upgrade.missing
        outcome = Outcome(plan, up, down)
        losses = change.losses
        losses = losses.get(engine, ()) if isinstance(losses, Mapping) else losses
        assert sorted(outcome.losses) == sorted(losses)
        return outcome

    @staticmethod
    async def _start(run: Run, engine: str, models: Described) -> None:
        dialect = dialects.load(engine)
        plan = Planner(dialect, models.reader).plan({}, models.state, models.models, [], None)
        for statement in plan.upgrade.statements if plan else []:
            await _run(run, statement)

    @asynccontextmanager
    async def _database(self, engine: str, purpose: str) -> AsyncIterator[Run]:
        if engine == "sqlite":
            memory = _InMemory()
            with closing(memory.connection):
                yield memory
            return
        if (engine, purpose) not in self._servers:
            self._servers[engine, purpose] = await self._connect(engine)
        server = self._servers[engine, purpose]
        await _empty(server, engine)
        yield server

    async def _connect(self, engine: str) -> Run:
        name = f"test_{next(_numbers)}_{id(self)}"
        url = databases.SERVERS[engine]
        server = await self._stack.enter_async_context(databases.session(url))
        await server(f"CREATE DATABASE {name}")
        force = " WITH (FORCE)" if engine == "postgresql" else ""
        self._stack.push_async_callback(server, f"DROP DATABASE {name}{force}")
        session = databases.session(url.rpartition("/")[0] + f"/{name}")
        run = await self._stack.enter_async_context(session)
        await run(
            {"postgresql": "SET TIME ZONE 'UTC'", "mysql": "SET time_zone = '+00:00'"}[engine]
        )
        return run


@contextmanager
def bench() -> Iterator[Bench]:
    """Open databases to run changes on, and drop them afterwards."""
    made = Bench()
    try:
        yield made
    finally:
        made.close()


def script(statements: Sequence[str]) -> str:
    """Join statements as a migration file has them."""
    return "".join(f"{statement};\n        " for statement in statements)


async def _run_all(run: Run, engine: str, sql: str) -> None:
    """Run statements one by one, in a transaction as PostgreSQL's migrations are."""
    if engine == "postgresql":
        await run("BEGIN")
    try:
        for statement in dialects.load(engine).split(sql):
            await _run(run, statement)
    except BaseException:
        if engine == "postgresql":
            await run("ROLLBACK")
        raise
    if engine == "postgresql":
        await run("COMMIT")


async def _run(run: Run, statement: str) -> None:
    try:
        await run(statement)
    except Exception as error:
        error.add_note(statement)
        raise


async def _empty(run: Run, engine: str) -> None:
    if engine == "postgresql":
        await run.script("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return
    await run("SET FOREIGN_KEY_CHECKS = 0")
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    names = [f"`{name.replace('`', '``')}`" for (name,) in await run(tables)]
    if names:
        await run(f"DROP TABLE {', '.join(names)}")
    await run("SET FOREIGN_KEY_CHECKS = 1")


def _quoted(sql: str, engine: str) -> str:
    return sql.replace('"', "`") if engine == "mysql" else sql


def _filled(
    statements: Sequence[str], missing: Mapping[str, str], values: Values, engine: str
) -> list[str]:
    """Put values where a migration file has `<table.column>`."""
    filled = list(statements)
    for place in missing:
        value = values.get(place)
        if isinstance(value, Mapping):
            value = value.get(engine)
        assert any(f"<{place}>" in statement for statement in statements), place
        if value is not None:
            filled = [statement.replace(f"<{place}>", value) for statement in filled]
    return filled


async def _rows(run: Run, engine: str, models: Described) -> dict[str, dict[str, list[str]]]:
    """Read each table's columns, sorted by their values."""
    dialect = dialects.load(engine)
    found: dict[str, dict[str, list[str]]] = {}
    for name, table in models.reader.tables(models.state).items():
        found[name] = {}
        for column in table.columns:
            select = f"SELECT {dialect.quote(column)} FROM {dialect.quote(name)}"
            found[name][column] = sorted(str(value) for (value,) in await run(select))
    return found


def _same_rows(
    before: dict[str, dict[str, list[str]]],
    after: dict[str, dict[str, list[str]]],
    tables: Tables,
    plan: Plan,
    change: Change,
) -> None:
    """Check that a downgrade has kept what the upgrade did not announce to destroy."""
    from migration_package.renames import original

    find = original(plan.renames)
    lost = {
        find(*loss.place.split(".")) if "." in loss.place else (find(loss.place, "")[0], "*")
        for loss in plan.losses
    }
    lost |= {find(*place.split(".")) for place in {*change.back, *plan.upgrade.missing}}
    references = {
        (table.name, key.column): (key.table, key.to)
        for table in tables.values()
        for key in table.foreign_keys
    }
    for table, columns in before.items():
        if (table, "*") in lost:
            continue
        for column, values in columns.items():
            if (table, column) in lost or references.get((table, column)) in lost:
                continue
            if "None" not in values:  # may not be NULL any more
                assert after[table][column] == values, f"{table}.{column}"


async def _check(run: Run, engine: str, expected: Mapping[str, Any], sql: str) -> None:
    for query, rows in expected.items():
        wanted = rows[engine] if isinstance(rows, Mapping) else rows
        assert await run(_quoted(query, engine)) == wanted, f"{query}\n{sql}"
