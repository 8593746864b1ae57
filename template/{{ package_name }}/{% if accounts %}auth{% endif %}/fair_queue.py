"""A queue for slow work that serves clients in turn."""

from asyncio import CancelledError, Future, get_running_loop
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ..exceptions import OverloadedError

Task = Future[None]


class Group(OrderedDict[str, "Group | deque[Task]"]):
    """Waiting clients, or groups of them. The first is the next to be served."""

    def size_of(self, name: str) -> int:
        """Count the tasks of a client or of all clients of a group."""
        member = self.get(name, ())
        return member.size() if isinstance(member, Group) else len(member)

    def size(self) -> int:
        return sum(map(self.size_of, self))

    def add(self, path: Sequence[str], task: Task) -> None:
        name, *rest = path
        member = self.setdefault(name, Group() if rest else deque())
        if isinstance(member, Group):
            member.add(rest, task)
        else:
            member.append(task)

    def remove(self, path: Sequence[str], task: Task) -> None:
        """Remove a task if it still waits."""
        name, *rest = path
        member = self.get(name, deque())
        if isinstance(member, Group):
            member.remove(rest, task)
        elif task in member:
            member.remove(task)
        if not member:
            self.pop(name, None)

    def pop_next(self) -> Task:
        """Remove the next task; its client and the groups of that client move to the end."""
        name, member = self.popitem(last=False)
        task = member.pop_next() if isinstance(member, Group) else member.popleft()
        if member:
            self[name] = member
        return task

    def pop_newest(self) -> Task:
        """Remove the newest task of the client with the most, in the group with the most."""
        name = max(reversed(self), key=self.size_of)
        member = self[name]
        task = member.pop_newest() if isinstance(member, Group) else member.pop()
        if not member:
            del self[name]
        return task

    def make_room(self, path: Sequence[str]) -> Task | None:
        """Remove a task of a group or client with more tasks than this one, if there is one."""
        name, *rest = path
        if max(map(self.size_of, self), default=0) > self.size_of(name):
            return self.pop_newest()
        member = self.get(name)
        return member.make_room(rest) if isinstance(member, Group) else None


class FairQueue:
    """Run a few tasks at once. Networks take turns, and so do the clients of each network.

    200 waiting tasks of a network, of one client or of many, delay another network by one task.
    When the queue is full, a new task replaces the newest one of the network with the most tasks,
    and in it of the network or client with the most.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting = Group()

    @asynccontextmanager
    async def turn(self, path: Sequence[str], most: int) -> AsyncIterator[None]:
        """Wait for a turn.

        Args:
            path: the client's networks, the largest first, and the client. All paths are equally long.
            most: the number of tasks that may wait.

        Raises:
            OverloadedError: the queue is full, and no network or client has more tasks in it.
        """
        await self._enter(path, most)
        try:
            yield
        finally:
            self._pass_on()

    async def _enter(self, path: Sequence[str], most: int) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        if self._waiting.size() >= most:
            self._make_room(path)
        turn: Task = get_running_loop().create_future()
        self._waiting.add(path, turn)
        try:
            await turn
        except CancelledError:
            if turn.cancelled():
                self._waiting.remove(path, turn)
            elif turn.exception() is None:  # the turn was given at the same moment
                self._pass_on()
            raise

    def _make_room(self, path: Sequence[str]) -> None:
        error = OverloadedError("Too many passwords are being checked.")
        newest = self._waiting.make_room(path)
        if newest is None:
            raise error
        if not newest.done():
            newest.set_exception(error)

    def _pass_on(self) -> None:
        """Give the turn to the next client."""
        while self._waiting:
            turn = self._waiting.pop_next()
            if not turn.done():  # else it was cancelled, and its task has not yet run
                turn.set_result(None)
                return
        self._free += 1
