"""Probes: is the process alive, and can it serve?"""

import asyncio
import logging
from typing import Literal

from fastapi import APIRouter, FastAPI, HTTPException, Request
from pydantic import BaseModel
from tortoise.connection import get_connection

from .database.engine import is_read_only, is_unavailable
from .database.migrate.recorder import State, read_state
from .errors import problems

READY_TIMEOUT = 2.0  # seconds

logger = logging.getLogger(__name__)

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"


@router.get("/livez")
async def livez() -> Alive:
    """Answer as long as the process does."""
    return Alive()


@router.get("/readyz", responses=problems(503))
async def readyz(request: Request) -> Ready:
    """Say whether the database answers, takes writes and has all migrations."""
    check = await ask_database(request.app)
    if not check.done():
        raise HTTPException(503, f"The database did not answer within {READY_TIMEOUT:g} s.")
    try:
        database, read_only = check.result()
    except Exception as error:
        if is_unavailable(error):
            raise HTTPException(503, "The database is not reachable.") from error
        logger.exception("The database cannot be used")
        raise HTTPException(503, "The database cannot be used; the log says why.") from error
    if fault := migrations_fault(database, settled=request.app.state.settled):
        raise HTTPException(503, fault)
    request.app.state.settled = True
    if read_only:
        raise HTTPException(503, "The database is read-only.")
    return Ready()


async def ask_database(app: FastAPI) -> asyncio.Task[tuple[State, bool]]:
    """Ask for the database's migrations and whether it is read-only; wait READY_TIMEOUT at most."""
    # All share one check, which is not cancelled: a database that never answers costs one task
    check: asyncio.Task[tuple[State, bool]] | None = getattr(app.state, "readiness", None)
    if check is None or check.done():
        check = app.state.readiness = asyncio.create_task(_look())
    await asyncio.wait([check], timeout=READY_TIMEOUT)
    return check


async def _look() -> tuple[State, bool]:
    return await read_state(), await is_read_only(get_connection("default"))


def migrations_fault(database: State, *, settled: bool) -> str | None:
    """Say in which way the database's migrations are not this release's.

    Args:
        database: what the database has.
        settled: whether they were this release's once. A newer release may then go on: this one
            stays ready until it is replaced.
    """
    if database.pending:
        return f"Migrations are pending: {', '.join(file.name for file in database.pending)}."
    if database.unknown and not settled:
        return f"The database has a newer release's migrations: {', '.join(database.unknown)}."
    return None
