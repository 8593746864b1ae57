"""The relay: it sends the ids of jobs that are due to Redis, and queues scheduled jobs.

Each worker has a relay. A lock in Redis lets one at a time work, to spare the database. If two work
at once, an UPDATE decides which of them queues a scheduled job, and a job that is sent twice starts
once.
"""

import asyncio
import math
import time
from collections.abc import Container
from datetime import UTC, datetime, timedelta

import structlog
from redis.asyncio.lock import Lock
from tortoise.exceptions import IntegrityError
from tortoise.transactions import in_transaction

from .attempts import end_killed
from .broker import STREAM, Stream
from .models import QUEUED, SENT, JobSchedule, QueuedJob
from .queue import JOBS, Job
from .tables import log_failure

PAUSE = 0.25  # seconds between two polls of the database
RECONNECT_DELAY = 2.0  # seconds
LOCK_TIMEOUT = 5.0  # seconds, after which another relay takes over
BATCH = 100  # jobs that one round sends
MESSAGES = 20  # that one round writes at most: the fewer, the fewer workers share its jobs
WINDOW = 1000  # messages that may wait in the stream
LATE = 5.0  # seconds in which a worker has to claim a sent job; then its message may be lost

logger = structlog.stdlib.get_logger(__name__)


class Relay:
    """Sends jobs that are due to the stream.

    Args:
        stream: the stream that workers read.
        running: the ids of the jobs that this worker runs.
    """

    def __init__(self, stream: Stream, running: Container[int]) -> None:
        self._stream = stream
        self._running = running
        self._lock: Lock = stream.redis.lock(f"{STREAM}:relay", timeout=LOCK_TIMEOUT)
        self._next_check = 0.0

    async def run(self) -> None:
        """Send jobs until the task is cancelled."""
        while True:
            try:
                # in a separate task: a transaction that broke stays in its context
                is_busy = await asyncio.create_task(self._work())
            except Exception as error:  # noqa: BLE001 - it is logged, and the relay goes on
                log_failure(error)
                await asyncio.sleep(RECONNECT_DELAY)
            else:
                await asyncio.sleep(0 if is_busy else PAUSE)

    async def stop(self) -> None:
        """Release the lock, so that another relay can take over immediately."""
        if await self._lock.owned():
            await self._lock.release()

    async def _work(self) -> bool:
        """Run one round if this relay has the lock. Return whether more jobs may be due."""
        if await self._lock.owned():
            await self._lock.reacquire()
        elif not await self._lock.acquire(blocking=False):
            return False
        last = await self._stream.trim()
        if time.monotonic() >= self._next_check:
            await self._check(last)
        await queue_scheduled()
        room = min(BATCH, WINDOW - await self._stream.length())
        return room > 0 and await self._send(room) == BATCH

    async def _check(self, last: str) -> None:
        """Retry the jobs of killed workers, and queue jobs again whose messages are lost.

        Args:
            last: the id of the last delivered message.
        """
        self._next_check = time.monotonic() + 1
        await end_killed(self._running)
        lost = QueuedJob.filter(state=SENT, expires_at__lt=datetime.now(UTC))
        if rows := await lost.values_list("id"):
            waiting = await self._stream.waiting(last)
            if missing := [id_ for (id_,) in rows if id_ not in waiting]:
                await lost.filter(id__in=missing).update(state=QUEUED)

    async def _send(self, count: int) -> int:
        """Send at most `count` jobs that are due, and return how many were sent.

        Their rows are changed first. If this process is killed before it sends the messages,
        `_check` finds the rows.
        """
        now = datetime.now(UTC)
        due = QueuedJob.filter(state=QUEUED, due_at__lte=now, name__in=list(JOBS))
        rows = await due.order_by("due_at", "id").limit(count).values_list("id")
        ids = [row[0] for row in rows]
        if ids:
            expires_at = now + timedelta(seconds=LATE)
            await QueuedJob.filter(id__in=ids, state=QUEUED).update(
                state=SENT, expires_at=expires_at
            )
            size = math.ceil(len(ids) / MESSAGES)
            for start in range(0, len(ids), size):
                await self._stream.send(ids[start : start + size])
        return len(ids)


async def queue_scheduled() -> None:
    """Queue the scheduled jobs whose time has come."""
    stored = {row.name: row for row in await JobSchedule.all()}
    now = datetime.now(UTC)
    for job in JOBS.values():
        if job.schedule:
            await _queue_if_due(job, stored.get(job.name), now)


async def _queue_if_due(job: Job[...], stored: JobSchedule | None, now: datetime) -> None:
    schedule = JobSchedule.filter(name=job.name)
    upcoming = job.next_time(now)
    try:
        if stored is None:
            await JobSchedule.create(name=job.name, expression=job.schedule, next_at=upcoming)
        # a time after the next two was stored by a worker whose clock was wrong
        elif stored.expression != job.schedule or stored.next_at > job.next_time(upcoming):
            await schedule.update(expression=job.schedule, next_at=upcoming)
        elif stored.next_at <= now:
            async with in_transaction("default"):
                if await schedule.filter(next_at=stored.next_at).update(next_at=upcoming):
                    await job.enqueue_once()
                    logger.debug("Scheduled", job=job.name, due=stored.next_at.isoformat())
    except IntegrityError:
        logger.debug("A scheduled job is queued already", job=job.name)
