"""Removal of expired sessions and links in the background."""

from datetime import UTC, datetime

from tortoise.expressions import Q

from ..database.models import LinkToken, Session
from ..jobs.queue import job
from .sessions import idle_since

BATCH = 500  # rows in one statement, so that none holds its locks for long


async def remove_expired() -> int:
    """Delete expired sessions and links, and return their number.

    Several processes may run it at once.
    """
    now = datetime.now(UTC)
    expired = Q(expires_at__lte=now)
    idle = Q(last_used_at__lte=idle_since(now))
    removed = 0
    for rows in (Session.filter(expired | idle), LinkToken.filter(expired)):
        while ids := [row[0] for row in await rows.limit(BATCH).values_list("id")]:
            removed += await rows.filter(id__in=ids).delete()
    return removed


@job(timeout=600, schedule="47 * * * *")
async def remove_expired_rows() -> None:
    """Remove expired sessions and links every hour."""
    await remove_expired()
