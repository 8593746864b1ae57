"""How long jobs have waited in the queue."""

from datetime import UTC, datetime

from .models import QUEUED, SENT, QueuedJob


async def longest_wait() -> float:
    """Return the seconds that the oldest job that is due has waited; 0 or less if none is due."""
    oldest = await QueuedJob.filter(state__in=[QUEUED, SENT]).order_by("due_at").first()
    return (datetime.now(UTC) - oldest.due_at).total_seconds() if oldest else 0.0
