"""What HTTP and WebSocket connections share: limits of time and memory, and a warning about files."""

import asyncio
import logging
import os
import sys
from typing import Any

CLIENT_TIMEOUT = 30.0  # seconds; a client that is idle for two checks in a row is disconnected
STOP_CLIENT_TIMEOUT = 1.0  # the same while the service stops
LARGE = 2**18  # bytes; a larger answer counts as a whole until the client has read it
MAX_LARGE = 2**25  # bytes of all unread large answers but the largest one
SPARE_FILES = 32  # when fewer file descriptors are left, the log says so

logger = logging.getLogger(__name__)


class ClientConnection(asyncio.Protocol):
    """Disconnect a client that neither sends nor reads. uvicorn would wait for it without end.

    A transport keeps a message as a whole until its last byte is sent. Clients with large ones are
    disconnected sooner, if all of them together take too much memory.
    """

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    scope: Any  # of either kind
    size = 0  # bytes of the answer or message that the client has to read
    waited_for = 0  # unread bytes at the last check, or 1 for data; 0 after progress or for nothing

    def waits_for_data(self) -> bool:
        """Return whether the client has to send something."""
        return False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        warn_when_files_run_out(transport)
        self._watch(CLIENT_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - uvicorn gets None
        waiting.pop(self, None)
        given_up.discard(self)
        self.watch.cancel()
        super().connection_lost(None)  # with an error, uvicorn's timer would keep the connection

    def pause_writing(self) -> None:
        super().pause_writing()
        unread = self.transport.get_write_buffer_size()
        self.size = max(unread, self.scope["state"].get("_message_size", 0))
        if self.size > LARGE:
            waiting[self] = unread
            give_up_unread()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.waited_for = 0  # the client has read
        waiting.pop(self, None)
        self.data_received(b"")  # HTTP has waited with the next request

    def shutdown(self) -> None:
        super().shutdown()  # type: ignore[misc]  # uvicorn's class has it
        self.watch.cancel()
        self._watch(STOP_CLIENT_TIMEOUT)

    def _watch(self, delay: float) -> None:
        now = self.transport.get_write_buffer_size() or self.waits_for_data()
        if now and now == self.waited_for:
            self.transport.abort()
        self.waited_for = now
        self.watch = self.loop.call_later(delay, self._watch, delay)


# Clients with large answers, and their unread bytes at the last look. Who has read last is last.
waiting: dict[ClientConnection, int] = {}
given_up: set[ClientConnection] = set()  # disconnected, but the event loop has not freed the memory


def give_up_unread() -> None:
    """Disconnect those who have not read for the longest time while answers take too much memory."""
    largest = max(waiting, key=lambda client: client.size)
    excess = sum(client.size for client in waiting) - largest.size - MAX_LARGE
    for client in [*waiting][:-1]:  # the last one has had no time to read
        if excess <= 0:
            return
        if client is not largest:
            before, now = waiting.pop(client), client.transport.get_write_buffer_size()
            if now < before:  # it reads
                waiting[client] = now
            else:
                logger.warning("Disconnected a client: unread answers take too much memory")
                given_up.add(client)
                client.transport.abort()
                excess -= client.size


_warned_at = float("-inf")


def warn_when_files_run_out(transport: asyncio.BaseTransport) -> None:
    """Warn when few file descriptors are left: without any, uvloop drops clients silently."""
    global _warned_at  # noqa: PLW0603 - a process has one limit
    used = transport.get_extra_info("socket").fileno() + 1
    limit = os.sysconf("SC_OPEN_MAX") if sys.platform != "win32" else sys.maxsize
    now = asyncio.get_running_loop().time()
    if used > limit - SPARE_FILES and now > _warned_at + 60:
        _warned_at = now
        logger.warning("%d of %d file descriptors are in use: raise the limit", used, limit)
