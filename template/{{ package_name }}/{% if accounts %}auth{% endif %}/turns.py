"""Turns at work that takes long, shared fairly between clients."""

from asyncio import CancelledError, Future, get_running_loop
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..api import BusyError


class FairQueue:
    """Let a few tasks work at once, and give turns to clients one after the other.

    A client with 200 tasks in line delays another client by one task, not by 200. When the line is
    full, a new client takes the place of the newest task of the client with the most tasks.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._lines: dict[str, deque[Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, client: str, most: int) -> AsyncIterator[None]:
        """Wait for a turn.

        Args:
            client: who waits.
            most: how many tasks may wait.

        Raises:
            BusyError: the line is full, and this client's share of it is the largest.
        """
        await self._enter(client, most)
        try:
            yield
        finally:
            self._pass_on()

    async def _enter(self, client: str, most: int) -> None:
        if self._free and not self._lines:
            self._free -= 1
            return
        if sum(map(len, self._lines.values())) >= most:
            self._make_room(client)
        turn: Future[None] = get_running_loop().create_future()
        self._lines.setdefault(client, deque()).append(turn)
        try:
            await turn
        except CancelledError:
            if turn.cancelled():
                self._remove(client, turn)
            else:  # the turn came at the same moment
                self._pass_on()
            raise

    def _make_room(self, client: str) -> None:
        error = BusyError("Too many passwords are being checked.")
        longest = max(self._lines, key=lambda name: len(self._lines[name]), default=client)
        if len(self._lines.get(longest, ())) <= len(self._lines.get(client, ())):
            raise error
        newest = self._lines[longest][-1]
        self._remove(longest, newest)
        if not newest.done():
            newest.set_exception(error)

    def _remove(self, client: str, turn: Future[None]) -> None:
        line = self._lines.get(client)
        if line and turn in line:
            line.remove(turn)
            if not line:
                del self._lines[client]

    def _pass_on(self) -> None:
        """Give the turn to the next client, who then goes to the end of the line."""
        while self._lines:
            client = next(iter(self._lines))
            line = self._lines.pop(client)
            turn = line.popleft()
            if line:
                self._lines[client] = line
            if not turn.done():  # else it was cancelled, and its task has not yet run
                turn.set_result(None)
                return
        self._free += 1
