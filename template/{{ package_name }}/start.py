"""The look at the database with which the service starts."""

import asyncio
import logging
import sys
from collections.abc import Awaitable

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .database.migrate.context import COMMAND, reason
from .database.migrate.recorder import read_state
from .health import migrations_fault
from .settings import settings

START_TIMEOUT = 10.0  # seconds

logger = logging.getLogger(__name__)


class StartError(Exception):
    """Why the service does not start, in one line."""


async def check_database(app: FastAPI) -> None:
    """Look once whether the database answers and has this release's migrations.

    Raises:
        StartError: it does not, and the setting START_UNREADY is off.
    """
    try:
        async with asyncio.timeout(START_TIMEOUT):
            database = await read_state()
    except Exception as error:  # noqa: BLE001 - whatever it is, there is nothing to serve from
        fault = f"The database cannot be used: {reason(error)}"
    else:
        fault = migrations_fault(database, settled=False) or ""
        if fault:
            upgrade = f"Run `{COMMAND} upgrade`."
            fault += f" {upgrade if database.pending else 'Start the newer release instead'}"
    app.state.settled = not fault
    if fault and not settings.start_unready:
        raise StartError(fault)
    if fault:
        logger.warning(fault)


class BriefStartError:
    """Middleware that lets the server print a StartError as the line it is, without a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        async def send_briefly(message: Message) -> None:
            error = sys.exception()  # Starlette sends the message while it handles the error
            if message["type"] == "lifespan.startup.failed" and isinstance(error, StartError):
                message = {**message, "message": str(error)}
            await send(message)

        return self.app(scope, receive, send_briefly if scope["type"] == "lifespan" else send)
