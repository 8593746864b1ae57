"""Removal of stopped workers from Redis."""

from .broker import STREAM, Stream
from .queue import job

DAY = 24 * 60 * 60 * 1000  # milliseconds


@job(schedule="23 * * * *")
async def remove_stopped_workers() -> None:
    """Delete the stream's consumers that have been idle for a day: their workers have stopped."""
    stream = Stream()
    try:
        for consumer in await stream.redis.xinfo_consumers(STREAM, STREAM):
            if consumer["idle"] > DAY:
                await stream.redis.xgroup_delconsumer(STREAM, STREAM, consumer["name"])
    finally:
        await stream.shutdown()
