"""Health: the probes, and the check of the database when the service starts."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, FastAPI, HTTPException, Request
from pydantic import BaseModel
from tortoise.connection import get_connection

from .database.backend import is_read_only, is_unavailable
from .database.migrate.context import COMMAND, unusable
from .database.migrate.recorder import State, read_state
from .problems import problems
from .settings import settings

READY_TIMEOUT = 2.0  # seconds
START_TIMEOUT = 10.0  # seconds

logger = logging.getLogger(__name__)

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"


class StartError(Exception):
    """Why the service does not start, in one line."""


@dataclass
class Health:
    """What the application knows of its database, in `app.state.health`."""

    was_ready: bool = False
    check: asyncio.Task[tuple[State, bool]] | None = None


@router.get("/livez")
async def livez() -> Alive:
    """Answer as long as the process runs."""
    return Alive()


@router.get("/readyz", responses=problems(503))
async def readyz(request: Request) -> Ready:
    """Report whether the database answers, accepts writes and has all migrations."""
    health = _health(request.app)
    check = await check_readiness(request.app)
    if not check.done():
        raise HTTPException(503, f"The database did not answer within {READY_TIMEOUT:g} s.")
    try:
        state, read_only = check.result()
    except Exception as error:
        if is_unavailable(error):
            raise HTTPException(503, "The database is not reachable.") from error
        logger.exception("The database cannot be used")
        raise HTTPException(503, "The database cannot be used; the log says why.") from error
    if problem := _migrations_problem(state, was_ready=health.was_ready):
        raise HTTPException(503, problem)
    health.was_ready = True
    if read_only:
        raise HTTPException(503, "The database is read-only.")
    return Ready()


async def check_at_start(app: FastAPI) -> None:
    """Check once that the database answers and has this release's migrations.

    Raises:
        StartError: it does not, and the setting START_UNREADY is off.
    """
    app.state.health = Health()
    try:
        async with asyncio.timeout(START_TIMEOUT):
            state = await read_state()
    except Exception as error:  # noqa: BLE001 - without a database there is nothing to serve
        problem = unusable(error)
    else:
        problem = _migrations_problem(state, was_ready=False) or ""
        if problem:
            upgrade = f"Run `{COMMAND} upgrade`."
            problem += f" {upgrade if state.pending else 'Start the newer release instead'}"
    app.state.health.was_ready = not problem
    if problem and not settings.start_unready:
        raise StartError(problem)
    if problem:
        logger.warning(problem)


async def check_readiness(app: FastAPI) -> asyncio.Task[tuple[State, bool]]:
    """Read the database's migrations and whether it is read-only; wait READY_TIMEOUT at most.

    All callers share one check, which is never cancelled: a database that does not answer costs
    one task.
    """
    health = _health(app)
    check = health.check
    if check is None or check.done():
        check = health.check = asyncio.create_task(_check())
    await asyncio.wait([check], timeout=READY_TIMEOUT)
    return check


async def _check() -> tuple[State, bool]:
    return await read_state(), await is_read_only(get_connection("default"))


def _health(app: FastAPI) -> Health:
    health: Health = app.state.health
    return health


def _migrations_problem(state: State, *, was_ready: bool) -> str | None:
    """Compare the database's migrations with this release's.

    Args:
        state: what the database has.
        was_ready: whether they matched once. A newer release may then migrate: this one stays
            ready until it is replaced.
    """
    if state.pending:
        return f"Migrations are pending: {', '.join(file.name for file in state.pending)}."
    if state.unknown and not was_ready:
        return f"The database has a newer release's migrations: {', '.join(state.unknown)}."
    return None
