"""The relay: it sends jobs that are due from the database to the workers, through Redis.

Each worker contains one, and a lock in Redis lets one at a time work. Nothing depends on the lock
but load: of two relays, one statement in the database decides who queues a scheduled job, and a
job that is sent twice is started once.
"""

import asyncio
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

PAUSE = 0.25  # seconds between two looks at the database
RECONNECT_DELAY = 2.0  # seconds
LOCK_TIMEOUT = 5.0  # seconds, after which another relay takes over
BATCH = 100  # jobs that are sent at once
WINDOW = 1000  # messages that wait in Redis
LATE = 5.0  # seconds after which a message that was not delivered or claimed is lost

logger = structlog.stdlib.get_logger(__name__)


class Relay:
    """Sends what is due until its task is cancelled.

    Args:
        stream: where it sends it.
        running: the jobs that this worker runs.
    """

    def __init__(self, stream: Stream, running: Container[int]) -> None:
        self._stream = stream
        self._running = running
        self._lock: Lock = stream.redis.lock(f"{STREAM}:relay", timeout=LOCK_TIMEOUT)
        self._next_check = 0.0

    async def run(self) -> None:
        while True:
            try:
                # in a separate task: the next round starts without its context, such as a transaction
                is_busy = await asyncio.create_task(self._work())
            except Exception as error:  # noqa: BLE001 - it is logged, and the relay goes on
                log_failure(error)
                await asyncio.sleep(RECONNECT_DELAY)
            else:
                await asyncio.sleep(0 if is_busy else PAUSE)

    async def stop(self) -> None:
        """Let another relay take over at once."""
        if await self._lock.owned():
            await self._lock.release()

    async def _work(self) -> bool:
        """Do what is due, and return whether there may be more."""
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
        """Find what is lost: jobs whose worker was killed, and messages that Redis has lost."""
        self._next_check = time.monotonic() + 1
        await end_killed(self._running)
        lost = QueuedJob.filter(state=SENT, expires_at__lt=datetime.now(UTC))
        if rows := await lost.values_list("id"):
            waiting = await self._stream.waiting(last)
            if missing := [id_ for (id_,) in rows if id_ not in waiting]:
                await lost.filter(id__in=missing).update(state=QUEUED)

    async def _send(self, count: int) -> int:
        """Send jobs that are due, and return their number.

        Their rows are changed first: if this process is killed in between, the messages are lost,
        which `_check` finds.
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
        for id_ in ids:
            await self._stream.send(id_)
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
        elif stored.expression != job.schedule:
            await schedule.update(expression=job.schedule, next_at=upcoming)
        elif stored.next_at <= now:
            async with in_transaction():
                if await schedule.filter(next_at=stored.next_at).update(next_at=upcoming):
                    await job.enqueue_once()
                    logger.debug("Scheduled", job=job.name, due=stored.next_at.isoformat())
    except IntegrityError:
        logger.debug("A scheduled job is queued already", job=job.name)
