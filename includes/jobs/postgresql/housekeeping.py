"""Removal of old entries from the queue's log."""

from tortoise.connection import get_connection

from .queue import QUEUE, job

BATCH = 1000  # rows in one statement, to keep each statement short
REMOVE_OLDEST = f"""
    DELETE FROM {QUEUE.qualified.queue_table_log} WHERE id IN (
        SELECT id FROM {QUEUE.qualified.queue_table_log}
        WHERE created < now() - interval '7 days' LIMIT {BATCH}
    )
"""  # noqa: S608 - no values


@job(timeout=600, schedule="23 * * * *")
async def remove_old_log_entries() -> None:
    """Delete what the queue logged more than a week ago."""
    while (await get_connection("default").execute_query(REMOVE_OLDEST))[0] == BATCH:
        pass
