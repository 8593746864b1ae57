"""Removal of what has expired, whether or not its owner ever comes back."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from tortoise.expressions import Q

from ..database.models import LinkToken, Session
from .service import idle_since

PAUSE = 60 * 60  # seconds between two removals, half as much more or less
BATCH = 500  # rows in one statement, so that none holds its locks for long

logger = structlog.stdlib.get_logger(__name__)


async def remove_expired() -> int:
    """Delete the sessions and links that have expired, and return how many there were.

    Several processes may do it at once.
    """
    now = datetime.now(UTC)
    gone = Q(expires_at__lte=now)
    idle = Q(last_used_at__lte=idle_since(now))
    removed = 0
    for expired in (Session.filter(gone | idle), LinkToken.filter(gone)):
        while ids := [row[0] for row in await expired.limit(BATCH).values_list("id")]:
            removed += await expired.filter(id__in=ids).delete()
    return removed


async def _remove_again_and_again() -> None:
    while True:
        await asyncio.sleep(PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - spreads the replicas
        try:
            removed = await remove_expired()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next time may go better
            logger.warning("Expired sessions could not be removed", cause=str(error))
        else:
            logger.debug("Expired sessions were removed", count=removed)


@asynccontextmanager
async def periodic_cleanup() -> AsyncIterator[None]:
    """Remove what has expired about once an hour, until the service stops."""
    task = asyncio.create_task(_remove_again_and_again())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
