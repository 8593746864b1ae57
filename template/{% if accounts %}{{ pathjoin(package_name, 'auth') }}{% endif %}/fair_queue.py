"""A queue for slow work that serves clients in turn."""

from asyncio import CancelledError, Future, get_running_loop
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain, count

from ..exceptions import OverloadedError

Task = Future[None]
Group = tuple[str, ...]  # a network or a client, after the larger networks it belongs to
FULL = "Too many passwords are being checked."


class FairQueue:
    """Run a few tasks at once. Networks take turns, and so do the clients of each network.

    200 waiting tasks of a network, of one client or of many, delay another network by one task.
    When the queue is full, a new task replaces the newest one of the network with the most tasks,
    and in it of the network or client with the most.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: dict[Task, list[Group]] = {}  # the oldest task first
        self._places: dict[Group, int] = {}  # a group with a lower number has its turn earlier
        self._numbers = count()

    @asynccontextmanager
    async def turn(self, path: Sequence[str], most: int) -> AsyncIterator[None]:
        """Wait for a turn.

        Args:
            path: the client's networks, the largest first, and the client. All paths are equally long.
            most: the number of tasks that may wait.

        Raises:
            OverloadedError: the queue is full, and no network or client has more tasks in it.
        """
        await self._enter([tuple(path[:length]) for length in range(1, len(path) + 1)], most)
        try:
            yield
        finally:
            self._pass_on()

    async def _enter(self, groups: list[Group], most: int) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        replaced = self._find_replaced(groups) if len(self._waiting) >= most else None
        turn: Task = get_running_loop().create_future()
        self._waiting[turn] = groups
        for group in groups:
            self._places.setdefault(group, next(self._numbers))
        if replaced:
            self._remove(replaced)
            if not replaced.done():
                replaced.set_exception(OverloadedError(FULL))
        try:
            await turn
        except CancelledError:
            if turn.cancelled():
                self._remove(turn)
            elif turn.exception() is None:  # the turn was given at the same moment
                self._pass_on()
            raise

    def _find_replaced(self, groups: list[Group]) -> Task:
        """Return the newest task of a network or client with more tasks, or refuse this one."""
        sizes = Counter(chain.from_iterable(self._waiting.values()))

        def rank(task: Task) -> list[tuple[int, int]]:
            return [(sizes[group], self._places[group]) for group in self._waiting[task]]

        for depth, group in enumerate(groups):
            rivals = [task for task, own in self._waiting.items() if own[:depth] == groups[:depth]]
            newest = max(reversed(rivals), key=rank, default=None)
            if newest and rank(newest)[depth][0] > sizes[group]:
                return newest
        raise OverloadedError(FULL)

    def _pass_on(self) -> None:
        """Give the turn to the next client."""
        while self._waiting:
            turn = min(self._waiting, key=self._place)
            # Its client and the networks of that client move to the end
            self._places.update(zip(self._waiting[turn], self._numbers, strict=False))
            self._remove(turn)
            if not turn.done():  # else it was cancelled, and its task has not yet run
                turn.set_result(None)
                return
        self._free += 1

    def _place(self, task: Task) -> list[int]:
        return [self._places[group] for group in self._waiting[task]]

    def _remove(self, task: Task) -> None:
        """Remove a task if it still waits."""
        for group in self._waiting.pop(task, []):
            if not any(group in others for others in self._waiting.values()):
                del self._places[group]
