"""Administration of the queue: count jobs; list, requeue and delete dead ones."""

from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime

from tortoise.exceptions import IntegrityError
from tortoise.functions import Count

from .models import DEAD, QUEUED, RUNNING, SENT, QueuedJob
from .queue import JOBS

BATCH = 500  # rows in one statement, to keep each statement short


async def count_jobs() -> dict[str, int]:
    """Count the jobs by state. Jobs whose id is in Redis count as queued."""
    counts: Counter[str] = Counter({QUEUED: 0, RUNNING: 0, DEAD: 0})
    rows = QueuedJob.annotate(count=Count("id")).group_by("state").values_list("state", "count")
    for state, count in await rows:
        counts[QUEUED if state == SENT else state] += count
    return dict(counts)


async def count_unknown() -> dict[str, int]:
    """Count the queued jobs without a function, by name."""
    unknown = QueuedJob.filter(state__in=[QUEUED, SENT], name__not_in=list(JOBS))
    rows = unknown.annotate(count=Count("id")).group_by("name").values_list("name", "count")
    return dict(await rows)


async def list_dead(limit: int) -> list[tuple[int, datetime, str, str]]:
    """Return the id, the time of creation, the name and the last error of the oldest dead jobs."""
    rows = await QueuedJob.filter(state=DEAD).order_by("id").limit(limit)
    return [(row.id, row.created_at, row.name, row.error or "") for row in rows]


async def dead_ids() -> list[int]:
    """Return the ids of all dead jobs, the oldest first."""
    return [row[0] for row in await QueuedJob.filter(state=DEAD).order_by("id").values_list("id")]


async def requeue(ids: list[int]) -> int:
    """Queue dead jobs again, with all their attempts, and return how many were queued.

    A scheduled job stays dead if it is queued or running. Of several, the newest is queued.
    """
    changes = {"state": QUEUED, "attempts": 0, "due_at": datetime.now(UTC)}
    requeued = 0
    for batch in _batches(ids):
        dead = QueuedJob.filter(id__in=batch, state=DEAD, is_scheduled=False)
        requeued += await dead.update(**changes)
    scheduled = QueuedJob.filter(state=DEAD, is_scheduled=True)
    for row in await scheduled.order_by("-id"):
        if row.id in ids:
            with suppress(IntegrityError):  # `only` is unique: the job is queued or running
                requeued += await scheduled.filter(id=row.id).update(**changes, only=row.name)
    return requeued


async def delete(ids: list[int]) -> int:
    """Delete dead jobs, and return how many were deleted."""
    deleted = 0
    for batch in _batches(ids):
        deleted += await QueuedJob.filter(id__in=batch, state=DEAD).delete()
    return deleted


def _batches(ids: list[int]) -> list[list[int]]:
    return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
