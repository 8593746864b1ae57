"""Attempts to run a job: the pauses between them, and those whose worker was killed."""

import math
import time
from datetime import timedelta

import structlog
from pgqueuer import Job, Queries
from pgqueuer.queries import EntrypointExecutionParameter
from pgqueuer.types import QueueEntrypoint, QueueManagerId

from ..settings import settings

LONGEST_DELAY = 300.0  # seconds
KILLED = "The worker was killed, or blocked for too long"
NEVER = timedelta(days=36500)

logger = structlog.stdlib.get_logger(__name__)


def retry_delay(attempts: int) -> timedelta | None:
    """Return the pause after so many failed attempts; None if that was the last one."""
    if attempts >= settings.jobs_attempts:
        return None
    return timedelta(seconds=min(2.0 ** (attempts - 1), LONGEST_DELAY))


class CountingQueries(Queries):
    """PgQueuer's queries, except that an attempt whose worker was killed counts as a failed one.

    PgQueuer itself starts such a job again at once, without a limit.
    """

    _next_check = -math.inf

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[Job]:
        if (now := time.monotonic()) >= self._next_check:
            self._next_check = now + heartbeat_timeout.total_seconds() / 3
            await self._end_killed(queue_manager_id, heartbeat_timeout)
        return await super().dequeue(
            batch_size, entrypoints, queue_manager_id, global_concurrency_limit, NEVER
        )

    async def _end_killed(self, own: QueueManagerId, longest: timedelta) -> None:
        """Queue or hold the jobs of other workers that send no heartbeats.

        Part of each pause is random: one of these jobs may have killed the worker, and would
        otherwise run beside the same jobs again.
        """
        tables = self.qbq.qualified
        statement = f"""
            WITH killed AS (
                SELECT id AS job_id, ($3::interval[])[attempts + 1] AS delay
                FROM {tables.queue_table}
                WHERE status = 'picked' AND heartbeat < now() - $2::interval
                    AND queue_manager_id <> $1
                FOR UPDATE SKIP LOCKED
            ), ended AS (
                UPDATE {tables.queue_table} SET
                    status = CASE WHEN delay IS NULL THEN 'failed' ELSE 'queued' END
                        ::{tables.queue_status_type},
                    attempts = attempts + 1,
                    execute_after = now() + coalesce(delay * (0.5 + random()), '0'),
                    updated = now(),
                    queue_manager_id = NULL
                FROM killed WHERE id = job_id
                RETURNING id, status, entrypoint, priority, attempts
            ), logged AS (
                INSERT INTO {tables.queue_table_log} (job_id, status, entrypoint, priority, traceback)
                SELECT id, status, entrypoint, priority, jsonb_build_object(
                    'job_id', id, 'timestamp', now(), 'exception_type', '', 'traceback', '',
                    'exception_message', $4::text, 'additional_context', NULL
                ) FROM ended
            )
            SELECT CASE status WHEN 'failed' THEN 'dead' ELSE 'failed' END AS status,
                attempts AS attempt, entrypoint AS job, id AS job_id
            FROM ended
        """  # noqa: S608 - no values
        delays = [retry_delay(attempt) for attempt in range(1, settings.jobs_attempts)]
        for row in await self.driver.fetch(statement, own, longest, delays, KILLED):
            log = logger.error if row["status"] == "dead" else logger.warning
            log("Job", cause=KILLED, **row)
