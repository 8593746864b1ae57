"""What HTTP and WebSocket connections share: time limits, and a warning about their files."""

import asyncio
import logging
import os
import sys
from abc import abstractmethod

CLIENT_TIMEOUT = 30.0  # seconds; a client that is idle for two checks in a row is disconnected
STOP_CLIENT_TIMEOUT = 1.0  # the same while the service stops
SPARE_FILES = 32  # when fewer file descriptors are left, the log says so

logger = logging.getLogger(__name__)


class ClientConnection(asyncio.Protocol):
    """Disconnect a client that neither sends nor reads. uvicorn would wait for it without end."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    waited_for = 0  # the number at the last check; 0 after the client has sent or read

    @abstractmethod
    def waits_for(self) -> int:
        """Return 0 if nothing is awaited from the client, else a number that progress changes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        warn_when_files_run_out(transport)
        self._watch(CLIENT_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - uvicorn gets None
        super().connection_lost(None)  # with an error, uvicorn's timer would keep the connection
        self.watch.cancel()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.waited_for = 0  # the client has read

    def shutdown(self) -> None:
        super().shutdown()  # type: ignore[misc]  # uvicorn's class has it
        self.watch.cancel()
        self._watch(STOP_CLIENT_TIMEOUT)

    def _watch(self, delay: float) -> None:
        now = self.waits_for()
        if now and now == self.waited_for:
            self.transport.abort()
        self.waited_for = now
        self.watch = self.loop.call_later(delay, self._watch, delay)


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
