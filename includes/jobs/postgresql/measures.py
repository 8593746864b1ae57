"""How many jobs are in the queue, and how long they have waited."""

from tortoise.connection import get_connection

from .queue import QUEUE

STATES = {"queued": "queued", "picked": "running", "failed": "dead"}
TABLE = QUEUE.qualified.queue_table  # a constant of PgQueuer
COUNT = f"SELECT status::text, count(*) FROM {TABLE} GROUP BY 1"  # noqa: S608 - no values
LATE = f"""
    SELECT coalesce(extract(epoch FROM max(now() - execute_after)), 0)::float AS seconds
    FROM {TABLE} WHERE status = 'queued'
"""  # noqa: S608 - no values


async def count_jobs() -> dict[str, int]:
    """Count the jobs by state."""
    rows = await get_connection("default").execute_query_dict(COUNT)
    counts = {row["status"]: row["count"] for row in rows}
    return {state: counts.get(status, 0) for status, state in STATES.items()}


async def longest_wait() -> float:
    """Return the seconds that the oldest job that is due has waited; 0 or less if none is due."""
    (row,) = await get_connection("default").execute_query_dict(LATE)
    return float(row["seconds"])
