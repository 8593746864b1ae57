"""Read and write Aerich's table, which records applied migrations."""

from dataclasses import replace
from typing import NamedTuple

from tortoise import BaseDBAsyncClient
from tortoise.connection import get_connection
from tortoise.exceptions import OperationalError

from .context import APP, dialect, is_missing_table
from .files import Direction, Migration, migrations, number


class State(NamedTuple):
    """The state of a database.

    Attributes:
        applied: the names in Aerich's table, in the order in which they were recorded.
        pending: the files that are not applied.
        unknown: the applied names without a file, except those that a squashed migration replaces.
        unfinished: the name of a migration that was interrupted, if it is known.
    """

    applied: list[str]
    pending: list[Migration]
    unknown: list[str]
    unfinished: str | None = None

    def describe_pending(self) -> str:
        """Name the files that are not applied, in one sentence; empty if there are none."""
        names = ", ".join(migration.name for migration in self.pending)
        return f"Migrations are pending: {names}." if names else ""


async def read_state(client: BaseDBAsyncClient | None = None) -> State:
    """Compare a database with the files, in one query; by default the service's database."""
    # Without Aerich's model: importing it takes a twentieth of the service's start
    query = f"SELECT version FROM aerich WHERE app = '{APP}' ORDER BY id"
    client = client or get_connection("default")
    try:
        applied = [str(row["version"]) for row in await client.execute_query_dict(query)]
    except OperationalError as error:
        if not is_missing_table(error):
            raise
        applied = []
    files, known = migrations(), set(applied)
    names = {migration.name for migration in files}
    return State(
        applied,
        [migration for migration in files if migration.name not in known],
        [name for name in applied if name not in names and not _is_replaced(name, files)],
    )


def _is_replaced(name: str, files: list[Migration]) -> bool:
    """Return whether a squashed migration replaces another one."""
    squashed = next((migration for migration in files if migration.replaces), None)
    if squashed is None or name in squashed.replaces:
        return squashed is not None
    # One that replaces another squashed one does not list what that one replaced
    return 0 < number(squashed.replaces[0]) >= number(name)


async def create_table(client: BaseDBAsyncClient) -> None:
    """Create Aerich's table if it does not exist."""
    from .state import StateReader, aerichs_model, describe

    tables = StateReader(dialect).tables({"aerich": aerichs_model(describe(APP))})
    for table in tables.values():
        for statement in dialect.create_table(replace(table, may_exist=True)):
            await client.execute_script(statement)


async def record(client: BaseDBAsyncClient, migration: Migration, direction: Direction) -> None:
    """Record that a migration is applied or reverted."""
    from aerich.models import Aerich

    if direction == "upgrade":
        content = migration.models_state
        await Aerich.create(version=migration.name, app=APP, content=content, using_db=client)
    else:
        await Aerich.filter(app=APP, version=migration.name).using_db(client).delete()
