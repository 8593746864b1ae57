"""How many jobs are in the queue, and how long they have waited."""

from collections import Counter
from datetime import UTC, datetime

from tortoise.functions import Count

from .models import DEAD, QUEUED, RUNNING, SENT, QueuedJob


async def count_jobs() -> dict[str, int]:
    """Count the jobs by state. Those that Redis has wait as well."""
    counts: Counter[str] = Counter({QUEUED: 0, RUNNING: 0, DEAD: 0})
    rows = QueuedJob.annotate(count=Count("id")).group_by("state").values_list("state", "count")
    for state, count in await rows:
        counts[QUEUED if state == SENT else state] += count
    return dict(counts)


async def longest_wait() -> float:
    """Return the seconds that the oldest job that is due has waited; 0 or less if none is due."""
    waiting = QueuedJob.filter(state__in=[QUEUED, SENT]).order_by("due_at")
    oldest = await waiting.first()
    return (datetime.now(UTC) - oldest.due_at).total_seconds() if oldest else 0.0
