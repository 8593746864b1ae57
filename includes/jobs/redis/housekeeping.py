"""Removal of what stopped workers leave in Redis."""

from .broker import STREAM, Stream
from .queue import job

DAY = 24 * 60 * 60 * 1000  # milliseconds


@job(schedule="23 * * * *")
async def remove_stopped_workers() -> None:
    """Remove workers that have taken no message for a day from the list of the stream's readers."""
    stream = Stream()
    try:
        for consumer in await stream.redis.xinfo_consumers(STREAM, STREAM):
            if consumer["idle"] > DAY:
                await stream.redis.xgroup_delconsumer(STREAM, STREAM, consumer["name"])
    finally:
        await stream.shutdown()
