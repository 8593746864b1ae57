"""One attempt to run a job: its time-out, its log lines and its errors."""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars

from .attempts import retry_delay
from .queue import FROM_REQUEST, Job

LONGEST_MESSAGE = 2000  # characters

logger = structlog.stdlib.get_logger(__name__)


class Attempt(NamedTuple):
    """An attempt to run a job, as the queue has stored it.

    Attributes:
        job_id: the id of its row.
        number: which attempt this is, from 1.
        payload: the arguments, as JSON.
        headers: the ids of the request and its trace.
    """

    job_id: int
    number: int
    payload: bytes | str | None
    headers: Mapping[str, object]


class RetryError(Exception):
    """A job failed, and is tried again after a delay."""

    def __init__(self, delay: timedelta, message: str) -> None:
        super().__init__(message)
        self.delay = delay


class DeadJobError(Exception):
    """A job failed for the last time."""


async def perform(job: Job[...], attempt: Attempt) -> None:
    """Run a job once, and log the result.

    The job runs in a separate task: a transaction whose connection was lost stays in the context of
    that task, and must not be used to record the result.

    Raises:
        RetryError: it failed, and is tried again.
        DeadJobError: it failed for the last time.
        asyncio.CancelledError: the worker stops.
    """
    clear_contextvars()
    from_request = {key: attempt.headers[key] for key in FROM_REQUEST if key in attempt.headers}
    bind_contextvars(job=job.name, job_id=attempt.job_id, **from_request)
    try:
        await asyncio.create_task(_run(job, attempt))
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise
        # the job cancelled its own task, or awaited a cancelled one
        raise failure(attempt, error) from None


async def _run(job: Job[...], attempt: Attempt) -> None:
    logger.debug("Job", status="started")
    start = time.perf_counter()
    try:
        async with asyncio.timeout(job.timeout):
            await job.run(attempt.payload)
    except asyncio.CancelledError:
        raise  # `perform` knows whether the worker stops
    except BaseException as error:  # noqa: BLE001 - no job may end the worker
        raise failure(attempt, error) from None  # the original message may be unprintable
    duration = round((time.perf_counter() - start) * 1000, 2)
    logger.info("Job", status="done", duration_ms=duration)


def failure(attempt: Attempt, error: BaseException) -> RetryError | DeadJobError:
    """Log a failed attempt, and return the exception that says whether to try again."""
    delay = retry_delay(attempt.number)
    message = _message(error)
    cause = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if delay is None:
        logger.error("Job", status="dead", attempt=attempt.number, exc_info=error)
        return DeadJobError(cause)
    logger.warning(
        "Job",
        status="failed",
        attempt=attempt.number,
        retry_in=delay.total_seconds(),
        cause=cause,
        exc_info=error if attempt.number == 1 else None,  # later attempts rarely add anything
    )
    return RetryError(delay, message)


def _message(error: BaseException) -> str:
    """Return an error's message, shortened, without characters that the database cannot store."""
    try:
        text = str(error)[:LONGEST_MESSAGE]
    except Exception:  # noqa: BLE001 - the error's class has a bug
        return ""
    return "".join(character if character.isprintable() else " " for character in text)
