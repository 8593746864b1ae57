"""How long jobs have waited in the queue."""

from tortoise.connection import get_connection

from .queue import QUEUE

LONGEST_WAIT = f"""
    SELECT coalesce(extract(epoch FROM max(now() - execute_after)), 0)::float AS seconds
    FROM {QUEUE.qualified.queue_table} WHERE status = 'queued'
"""  # noqa: S608 - the name is a constant


async def longest_wait() -> float:
    """Return the seconds that the oldest job that is due has waited; 0 or less if none is due."""
    (row,) = await get_connection("default").execute_query_dict(LONGEST_WAIT)
    return float(row["seconds"])
