"""Probes: is the process alive, and can it serve?"""

import asyncio
from typing import Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel

from .database.engine import is_unavailable
from .database.migrations import pending_migrations
from .errors import problems

READY_TIMEOUT = 2.0  # seconds

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
    check: asyncio.Task[list[str]] | None = getattr(state, "readiness", None)
    if check is None or check.done():
        check = state.readiness = asyncio.create_task(pending_migrations())
    done, _ = await asyncio.wait([check], timeout=READY_TIMEOUT)
    if not done:
        raise HTTPException(503, f"The database did not answer within {READY_TIMEOUT:g} s.")
    try:
        pending = check.result()
    except Exception as error:
        if is_unavailable(error):
            raise HTTPException(503, "The database is not reachable.") from error
        raise
    if pending:
        raise HTTPException(503, f"Migrations are pending: {', '.join(pending)}.")
    return Ready()
