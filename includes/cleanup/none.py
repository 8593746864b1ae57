"""Removal of expired sessions and links in the background."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from tortoise.expressions import Q

from ..database.models import LinkToken, Session
from .sessions import idle_since

PAUSE = 60 * 60  # seconds between two removals, plus or minus a half
# Ids that one statement looks at. No index has the times, and to read all rows can take longer than
# DATABASE_COMMAND_TIMEOUT, or hold locks for long.
BATCH = 5000

logger = structlog.stdlib.get_logger(__name__)


async def remove_expired() -> int:
    """Delete expired sessions and links, and return their number.

    Several processes may run it at once.
    """
    now = datetime.now(UTC)
    expired = Q(expires_at__lte=now)
    idle = Q(last_used_at__lte=idle_since(now))
    removed = 0
    for model, condition in ((Session, expired | idle), (LinkToken, expired)):
        first, last = [await model.all().order_by(order).first() for order in ("id", "-id")]
        for start in range(first.id, last.id + 1, BATCH) if first and last else ():
            rows = model.filter(condition, id__gte=start, id__lt=start + BATCH)
            if ids := [row[0] for row in await rows.values_list("id")]:
                removed += await rows.filter(id__in=ids).delete()
    return removed


async def _remove_periodically() -> None:
    while True:
        await asyncio.sleep(PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - spreads the replicas
        try:
            removed = await remove_expired()
        except Exception as error:  # noqa: BLE001 - the next removal may succeed
            logger.warning("Expired sessions could not be removed", cause=str(error))
        else:
            logger.debug("Expired sessions were removed", count=removed)


@asynccontextmanager
async def periodic_cleanup() -> AsyncIterator[None]:
    """Remove expired sessions and links about once an hour, until the service stops."""
    task = asyncio.create_task(_remove_periodically())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
