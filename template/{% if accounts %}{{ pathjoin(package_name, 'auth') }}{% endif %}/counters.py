"""Limits of attempts, and counters of them in this process's memory or in Redis."""

import re
import time
from typing import NamedTuple, Self

MAX_COUNTERS = 100_000  # about 30 MB
REDIS_TIMEOUT = 2  # seconds
DAY = 24 * 60 * 60  # seconds
UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": DAY, "month": 30 * DAY, "year": 360 * DAY}
LIMIT = re.compile(
    r"([1-9][0-9]{0,8})\s*(?:/|per)\s*([1-9][0-9]{0,3})?\s*(" + "|".join(UNITS) + ")s?",
    re.IGNORECASE,
)
HIT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
"""


class Limit(NamedTuple):
    """A number of attempts in a time that starts with the first one."""

    attempts: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a limit such as "20/minute" or "5 per 2 hours".

        Raises:
            ValueError: the text is not a limit.
        """
        found = LIMIT.fullmatch(text.strip())
        if not found:
            raise ValueError(f"{text!r} should be a number and a time, such as 10/minute")
        return cls(int(found[1]), int(found[2] or 1) * UNITS[found[3].lower()])

    def __str__(self) -> str:
        return f"{self.attempts}/{self.seconds}"


class CountersError(Exception):
    """Attempts cannot be counted."""


class MemoryCounters:
    """Keep a limited number of counters, however many addresses and names clients send."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.ends: dict[str, float] = {}

    async def hit(self, key: str, limit: Limit) -> float:
        """Count an attempt, and return the seconds to wait if it is above the limit; otherwise 0."""
        now = time.time()
        if self.ends.get(key, 0) <= now:
            if len(self.counts) >= MAX_COUNTERS:
                self._shrink(now)
            self.counts[key], self.ends[key] = 0, now + limit.seconds
        self.counts[key] += 1
        return self.ends[key] - now if self.counts[key] > limit.attempts else 0

    def _shrink(self, now: float) -> None:
        """Forget expired counters. If more than half are left, forget those with the lowest counts.

        So a flood of new names and addresses does not reset the counter of an account under attack.
        """
        left = [key for key, end in self.ends.items() if end > now]
        left.sort(key=self.counts.__getitem__, reverse=True)
        kept = left[: MAX_COUNTERS // 2]
        self.counts = {key: self.counts[key] for key in kept}
        self.ends = {key: self.ends[key] for key in kept}


class RedisCounters:
    """Count in Redis, for all replicas, with keys that start with a prefix."""

    def __init__(self, url: str, prefix: str) -> None:
        import redis.asyncio  # noqa: PLC0415 - starts without Redis do not pay for it

        wait = dict.fromkeys(("timeout", "socket_connect_timeout", "socket_timeout"), REDIS_TIMEOUT)
        # attempts wait for a connection, where redis-py's other pool refuses those above its limit
        pool = redis.asyncio.BlockingConnectionPool.from_url(url, **wait)
        self._hit = redis.asyncio.Redis.from_pool(pool).register_script(HIT)
        self._prefix = prefix
        self._error = redis.RedisError

    async def hit(self, key: str, limit: Limit) -> float:
        """Count an attempt as `MemoryCounters` does, or raise a CountersError."""
        try:
            count, left = await self._hit([f"{self._prefix}:{key}"], [limit.seconds])  # left: ms
        except self._error as error:
            raise CountersError(str(error)) from error
        return max(left, 1) / 1000 if count > limit.attempts else 0
