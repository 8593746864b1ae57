"""Counters of attempts in this process's memory."""

import time
from collections import Counter

from limits.aio.storage import MemoryStorage

MAX_COUNTERS = 100_000  # about 30 MB


class BoundedStorage(MemoryStorage):
    """Keep a limited number of counters, however many addresses and names clients send.

    limits keeps all counters, and looks at each of them for every attempt: 100,000 counters delay
    every other request by 20 ms. Remove this class when it does neither.
    """

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = time.time()
        if self.expirations.get(key, 0) <= now:
            if len(self.storage) >= MAX_COUNTERS:
                self._shrink(now)
            self.storage[key], self.expirations[key] = 0, now + expiry
        self.storage[key] += amount
        return self.storage[key]

    def _shrink(self, now: float) -> None:
        """Forget expired counters. If more than half are left, forget those with the lowest counts.

        So a flood of new names and addresses does not reset the counter of an account under attack.
        """
        left = [key for key, expiry in self.expirations.items() if expiry > now]
        left.sort(key=self.storage.__getitem__, reverse=True)
        kept = left[: MAX_COUNTERS // 2]
        self.storage = Counter({key: self.storage[key] for key in kept})
        self.expirations = {key: self.expirations[key] for key in kept}
