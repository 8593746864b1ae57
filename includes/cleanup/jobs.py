"""Removal of expired sessions and links in the background."""

from datetime import UTC, datetime

from tortoise.expressions import Q

from ..database.models import LinkToken, Session
from ..jobs.queue import job
from .sessions import idle_since

# Ids that one statement looks at. No index has the times, and to read all rows can take longer than
# DATABASE_COMMAND_TIMEOUT, or hold locks for long.
BATCH = 5000


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


@job(timeout=600, schedule="47 * * * *")
async def remove_expired_rows() -> None:
    """Remove expired sessions and links every hour."""
    await remove_expired()
