"""Administration of the queue: count jobs; list, requeue and delete dead ones."""

from datetime import datetime

from pgqueuer import JobId, Queries
from tortoise.connection import get_connection

from .queue import JOBS, QUEUE, queue

BATCH = 100  # ids in one notification, which has 8000 bytes at most
STATES = {"queued": "queued", "picked": "running", "failed": "dead"}
TABLE = QUEUE.qualified.queue_table
COUNT = f"SELECT status::text, count(*) FROM {TABLE} GROUP BY 1"  # noqa: S608 - the name is a constant
COUNT_UNKNOWN = f"""
    SELECT entrypoint, count(*) FROM {TABLE}
    WHERE status = 'queued' AND entrypoint <> ALL($1::text[]) GROUP BY 1
"""  # noqa: S608 - the name is a constant
DEAD = f"SELECT id FROM {TABLE} WHERE status = 'failed' ORDER BY id"  # noqa: S608 - the name is a constant
# A scheduled job has a key, which only one queued or running job may have
RETRYABLE = f"""
    SELECT DISTINCT ON (coalesce(dedupe_key, id::text)) id FROM {TABLE} AS dead
    WHERE status = 'failed' AND id = ANY($1::bigint[]) AND NOT EXISTS (
        SELECT FROM {TABLE} WHERE dedupe_key = dead.dedupe_key AND status <> 'failed'
    )
    ORDER BY coalesce(dedupe_key, id::text), id DESC
"""  # noqa: S608 - the name is a constant


async def count_jobs() -> dict[str, int]:
    """Count the jobs by state."""
    rows = await get_connection("default").execute_query_dict(COUNT)
    counts = {row["status"]: row["count"] for row in rows}
    return {state: counts.get(status, 0) for status, state in STATES.items()}


async def count_unknown() -> dict[str, int]:
    """Count the queued jobs without a function, by name."""
    rows = await get_connection("default").execute_query_dict(COUNT_UNKNOWN, [list(JOBS)])
    return {row["entrypoint"]: row["count"] for row in rows}


async def list_dead(limit: int) -> list[tuple[int, datetime, str, str]]:
    """Return the id, the time of creation, the name and the last error of the oldest dead jobs."""
    async with queue() as queries:
        rows = await queries.list_failed_jobs(limit, "ASC")
        errors = [await _last_error(queries, row.id) for row in rows]
    return [
        (row.id, row.created, row.entrypoint, error)
        for row, error in zip(rows, errors, strict=True)
    ]


async def _last_error(queries: Queries, job_id: JobId) -> str:
    errors = [log.traceback for log in await queries.job_log_history(job_id) if log.traceback]
    return errors[-1].exception_message if errors else ""


async def dead_ids() -> list[int]:
    """Return the ids of all dead jobs, the oldest first."""
    return [row["id"] for row in await get_connection("default").execute_query_dict(DEAD)]


async def requeue(ids: list[int]) -> int:
    """Queue dead jobs again, with all their attempts, and return how many were queued.

    A scheduled job stays dead if it is queued or running. Of several, the newest is queued.
    """
    rows = await get_connection("default").execute_query_dict(RETRYABLE, [ids])
    async with queue() as queries:
        await queries.requeue_jobs([JobId(row["id"]) for row in rows])
    return len(rows)


async def delete(ids: list[int]) -> int:
    """Delete dead jobs, and return how many were deleted."""
    async with queue() as queries:
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            await queries.mark_job_as_cancelled([JobId(id_) for id_ in batch])
    return len(ids)
