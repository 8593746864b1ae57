"""The ORM outside the application, for scripts and shells."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tortoise.context import TortoiseContext

from ..settings import settings
from .config import TORTOISE_ORM
from .migrate.context import COMMAND, unusable
from .migrate.recorder import read_state
from .statements import log_statements

if settings.log_sql:
    log_statements()


class UnusableDatabaseError(Exception):
    """The database cannot be used; the message is one line."""


def serving(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration for the application, which resets database sessions after each use.

    What one request sets, such as a time zone or a search path, is then not there for the next one.
    Aerich and the migration commands must keep sessions: a migration may switch foreign keys off.
    They also need Aerich's models, whose import takes a twentieth of the service's start.
    """
    default = config["connections"]["default"]
    credentials = {**default["credentials"], "resets_sessions": True}
    connections = {**config["connections"], "default": {**default, "credentials": credentials}}
    apps = {
        name: {**app, "models": [module for module in app["models"] if module != "aerich.models"]}
        for name, app in config["apps"].items()
    }
    return {**config, "connections": connections, "apps": apps}


@asynccontextmanager
async def connect_database() -> AsyncIterator[TortoiseContext]:
    """Connect the models to the service's database, and close the connections at the end.

    It yields Tortoise's context. Use the models in the same task, and in tasks that it starts:

        async with connect_database():
            users = await User.all()

    Raises:
        UnusableDatabaseError: the database does not answer, or migrations are pending.
    """
    async with TortoiseContext() as context:
        await context.init(TORTOISE_ORM)
        try:
            pending = (await read_state()).describe_pending()
        except Exception as error:  # noqa: BLE001 - each becomes one line
            raise UnusableDatabaseError(unusable(error)) from None
        if pending:
            raise UnusableDatabaseError(f"{pending} Run `{COMMAND} upgrade`.")
        yield context
