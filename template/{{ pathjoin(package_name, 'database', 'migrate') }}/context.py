"""The service's configuration, engine and folders, for the migration package."""

import os
import re
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tortoise import BaseDBAsyncClient
from tortoise.context import TortoiseContext
from tortoise.exceptions import DBConnectionError

from ..backend import (
    ENGINE,
    OTHER_ENGINES,
    is_conflict,
    is_missing_table,
    is_unavailable,
    next_step,
)
from ..url import DATABASE_URL_EXAMPLE
from .dialects import load
from .errors import MigrationError
from .modules import models_in

__all__ = [
    "APP",
    "COMMAND",
    "CONFIG",
    "DATABASE_URL_EXAMPLE",
    "ENGINE",
    "FOLDER",
    "OTHER_ENGINES",
    "PACKAGE",
    "RUN",
    "configuration",
    "connected",
    "dialect",
    "is_conflict",
    "is_missing_table",
    "is_unavailable",
    "is_unreachable",
    "reason",
    "unusable",
]

APP = "models"  # of `TORTOISE_ORM`
PACKAGE = Path(__file__).parents[2]  # the service's
CONFIG = f"{PACKAGE.name}/database/config.py"
# as it can be pasted: `uv run` sets UV
RUN = f"{'uv run ' if 'UV' in os.environ else ''}python -m {PACKAGE.name}"
COMMAND = f"{RUN} migrate"
dialect = load(ENGINE)
FOLDER = PACKAGE.parent / "migrations" / APP


def configuration() -> dict[str, Any]:
    """Return the service's `TORTOISE_ORM`, which needs valid settings.

    Raises:
        MigrationError: the file has an error.
    """
    try:
        from ..config import TORTOISE_ORM
    except Exception as error:
        raise MigrationError(f"{CONFIG} cannot be imported: {reason(error)}") from error
    return TORTOISE_ORM


@asynccontextmanager
async def connected(**credentials: object) -> AsyncIterator[BaseDBAsyncClient]:
    """Load the models and open the service's database. The first query connects.

    Args:
        credentials: changes to the service's credentials.

    Raises:
        MigrationError: the models have an error.
    """
    config = configuration()
    default = config["connections"]["default"]
    default = {**default, "credentials": {**default["credentials"], **credentials}}
    async with TortoiseContext() as context:
        connections = {**config["connections"], "default": default}
        try:
            await context.init({**config, "connections": connections})
        except Exception as error:
            # Tortoise only reports which module of the list it could not import
            cause = error.__context__ if isinstance(error.__context__, ImportError) else error
            found = f"The models have an error: {reason(cause)}{_place(cause)}"
            raise MigrationError(_unlisted(str(error), config) or found) from error
        yield context.db("default")


def _unlisted(error: str, config: dict[str, Any]) -> str:
    """Explain that a model which another refers to is in a module that MODELS lacks."""
    missing = re.search(r"No model with name '(\w+)'", error)
    listed = [module for app in config["apps"].values() for module in app["models"]]
    found = [
        f"{CONFIG}: add {module!r} to MODELS: it defines the model {name}"
        for module, name in models_in(PACKAGE)
        if missing and name == missing[1] and module not in listed
    ]
    return "\n".join(found)


def _place(error: BaseException) -> str:
    """Return the service's file and line that raised an error, if any."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(PACKAGE) and not path.is_relative_to(Path(__file__).parent):
            return f" ({path.relative_to(PACKAGE.parent).as_posix()}, line {frame.lineno})"
    return ""


def unusable(error: BaseException) -> str:
    """Say in one line why and where the database cannot be used, and what to do next."""
    credentials = configuration()["connections"]["default"]["credentials"]
    names = [name for name in ("host", "port", "user", "database") if name in credentials]
    place = ", ".join(f"{name} {credentials[name]}" for name in names)
    if isinstance(_unwrapped(error), TimeoutError) or is_unreachable(error):
        step = "Start the server, or correct DATABASE_URL"
    else:
        step = next_step(_unwrapped(error), COMMAND)
    line = f"The database cannot be used: {_refusal(error)} ({place or credentials['file_path']})"
    return f"{line}. {step}" if step else line


def _refusal(error: BaseException) -> str:
    """Describe why a database cannot be used, without the address and numbers around the text."""
    error = _unwrapped(error)
    if is_unreachable(error):
        cause = error.__cause__ or error
        # asyncio adds the address, once for each address of a host
        failed = re.search(r"\[Errno (\d+)\] Connect call failed", str(cause))
        text = os.strerror(int(failed[1])) if failed else getattr(cause, "strerror", None)
        return text or reason(cause)
    match error.args:
        case (int(), str() as text) if not isinstance(error, OSError):  # of a MySQL driver
            return " ".join(text.split())
    return reason(error)


def _unwrapped(error: BaseException) -> BaseException:
    """Return the error that Tortoise wrapped: its message contains its whole configuration."""
    return (isinstance(error, DBConnectionError) and error.__context__) or error


def is_unreachable(error: BaseException) -> bool:
    """Return whether no database server answered."""
    error = _unwrapped(error)
    cause = error.__cause__ or error
    # An unusable file and a rejected certificate are OSErrors as well
    is_local = isinstance(cause, ssl.SSLError) or getattr(cause, "filename", None) is not None
    return isinstance(cause, OSError) and not is_local


def reason(error: BaseException) -> str:
    """Describe an error in one line."""
    error = _unwrapped(error)
    if isinstance(error, TimeoutError):
        return "it does not answer"
    text = " ".join(str(error).split())
    if isinstance(error, (KeyError, NameError, SyntaxError, TypeError, AttributeError)):
        return f"{type(error).__name__}: {text}"
    return text or type(error).__name__
