"""The look at the database with which the service starts."""

import asyncio
import logging
import sys
from collections.abc import Awaitable

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .database.migrate.files import COMMAND, read_state, reason
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
    app.state.settled = False
    try:
        async with asyncio.timeout(START_TIMEOUT):
            database = await read_state()
    except Exception as error:
        if not settings.start_unready:
            raise StartError(f"The database cannot be used: {reason(error)}") from error
        logger.warning("The database cannot be used: %s", reason(error))
        return
    fault = migrations_fault(database, settled=False)
    app.state.settled = fault is None
    if not fault:
        return
    way_out = f"Type: {COMMAND} upgrade" if database.pending else "Start the newer release instead"
    if not settings.start_unready:
        raise StartError(f"{fault} {way_out}")
    logger.warning("%s %s", fault, way_out)


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
