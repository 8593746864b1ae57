"""Probes: is the process alive, and can it serve?"""

import asyncio
import logging
from typing import Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel

from .database.engine import is_unavailable
from .database.migrate.files import State, read_state
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
    """Say whether the database answers and has all migrations."""
    # All probes share one check, and none awaits its end: a database that accepts and never
    # answers costs one task, however often it is asked.
    state = request.app.state
    check: asyncio.Task[State] | None = getattr(state, "readiness", None)
    if check is None or check.done():
        check = state.readiness = asyncio.create_task(read_state())
    done, _ = await asyncio.wait([check], timeout=READY_TIMEOUT)
    if not done:
        raise HTTPException(503, f"The database did not answer within {READY_TIMEOUT:g} s.")
    try:
        fault = migrations_fault(check.result(), settled=state.settled)
    except Exception as error:
        if is_unavailable(error):
            raise HTTPException(503, "The database is not reachable.") from error
        logger.exception("The database cannot be used")
        raise HTTPException(503, "The database cannot be used; the log says why.") from error
    if fault:
        raise HTTPException(503, fault)
    state.settled = True
    return Ready()


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
