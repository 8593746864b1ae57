"""How HTTP is served: uvicorn's protocol, with limits on what clients send and leave unread.

Each part gives its reason. Remove a part when uvicorn does the same.
"""

import asyncio
import logging
import os
import sys

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from .errors import bad_request

MAX_HEAD = 65536  # bytes; the first line and the headers of a request are fewer
MAX_HEADERS = 250
PIECE = 1024  # bytes to parse at once
CLIENT_TIMEOUT = 30.0  # seconds; a client that does nothing in two looks this far apart is cut off
STOP_CLIENT_TIMEOUT = 1.0  # the same while the service stops
SPARE_FILES = 32  # when fewer file descriptors are left, the log says so

logger = logging.getLogger(__name__)


class LimitedProtocol(HttpToolsProtocol):
    # Bytes that are not parsed yet, and how many there are of an unfinished head and of bodies.
    rest, head, body = memoryview(b""), 0, 0
    client_timeout = CLIENT_TIMEOUT
    answering: RequestResponseCycle | None = None
    before: object = None  # what `_watch` saw last

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.watch = self.loop.call_later(self.client_timeout, self._watch)
        warn_when_files_run_out(transport)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self.answering = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - see the next line
        super().connection_lost(None)  # with an error, uvicorn's timer would keep the connection
        self.watch.cancel()
        if self.answering:  # uvicorn tells the last request only, the one before it would go on
            self.answering.disconnected = True

    def data_received(self, data: bytes) -> None:
        # uvicorn parses all it has received: 8 MB of pipelined requests become 600 MB of objects.
        # Here a piece becomes requests, and the next piece is parsed when these are answered.
        self.rest = memoryview(b"".join((self.rest, data)))
        while self.rest and not self.pipeline and not self.transport.is_closing():
            piece, self.rest = self.rest[:PIECE], self.rest[PIECE:]
            self._unset_keepalive_if_required()
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                self._upgrade(piece[upgrade.args[0] :])
            except httptools.HttpParserError:
                self.send_400_response("The request is not valid HTTP.")
            self.body += len(piece) if self.cycle and self.cycle.more_body else 0
            in_head = self.scope is not None and "method" not in self.scope
            self.head = self.head + len(piece) if in_head else 0
            if self.head >= MAX_HEAD or (in_head and len(self.headers) > MAX_HEADERS):
                self.send_400_response("The head of the request is too large.")
        if self.rest:
            self.flow.read_paused = False  # else an application that reads its body resumes it
            self.transport.pause_reading()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.rest and not self.pipeline and not self.transport.is_closing():
            self.transport.resume_reading()
            self.data_received(b"")

    def _should_upgrade(self) -> bool:
        return True  # no request with `Upgrade` starts before `_upgrade` has decided

    def _upgrade(self, rest: memoryview) -> None:
        # After `Upgrade`, the parser takes a body for the next request. It gets the request again
        # without that header, which a server may ignore (RFC 9110, section 7.8).
        method, version = self.scope["method"], self.scope["http_version"]
        if method == "GET" and self._get_upgrade() == b"websocket" and self.ws_protocol_class:
            self.watch.cancel()
            self.rest = memoryview(b"")
            self.handle_websocket_upgrade()
        elif method == "CONNECT":
            self.send_400_response("This is no proxy.")
        else:
            lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
            lines.insert(0, f"{method} {self.url.decode()} HTTP/{version}\r\n".encode())
            self.rest = memoryview(b"".join((*lines, b"\r\n", rest, self.rest)))

    def send_400_response(self, msg: str) -> None:
        # uvicorn answers in plain text, and in the middle of another answer.
        self.rest = memoryview(b"")
        if self.cycle and not self.cycle.response_complete and not self.cycle.more_body:
            self.cycle.keep_alive = False  # the requests before this one are answered
        else:
            if not self.cycle or self.cycle.response_complete or not self.cycle.response_started:
                self.transport.write(bad_request(msg))
            self.transport.close()

    def _watch(self) -> None:
        # uvicorn waits without end for a first request, a head, a body, and for a client to read.
        # What it waits for must have changed at the next look.
        now: object = object()
        is_answering = self.cycle and not (self.cycle.more_body or self.cycle.response_complete)
        if self.flow.write_paused or self.transport.is_closing():
            now = self.transport.get_write_buffer_size()
        elif not (is_answering or self.flow.read_paused or self.timeout_keep_alive_task):
            now = (id(self.scope), self.body)
        if now == self.before:
            self.transport.abort()
        self.before = now
        self.watch = self.loop.call_later(self.client_timeout, self._watch)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.before = None  # the client has read

    def shutdown(self) -> None:
        super().shutdown()
        self.watch.cancel()
        self.client_timeout = STOP_CLIENT_TIMEOUT
        self._watch()


_warned_at = float("-inf")


def warn_when_files_run_out(transport: asyncio.Transport) -> None:
    """Log it when few file descriptors are left, at most once a minute.

    Once none is left, uvloop closes new connections and logs nothing.
    """
    global _warned_at  # noqa: PLW0603 - of the process, as the limit is
    if sys.platform == "win32":
        return
    used, limit = transport.get_extra_info("socket").fileno() + 1, os.sysconf("SC_OPEN_MAX")
    now = asyncio.get_running_loop().time()
    if used > limit - SPARE_FILES and now > _warned_at + 60:
        _warned_at = now
        logger.warning("%d of %d file descriptors are in use: raise the limit", used, limit)
