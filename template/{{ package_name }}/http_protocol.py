"""uvicorn's HTTP protocol, with limits on what clients send and leave unread.

Remove a part when uvicorn does the same.
"""

import asyncio
import logging
import os
import re
import sys
from functools import partial

import httptools
from uvicorn._types import ASGI3Application, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from .settings import settings

MAX_HEAD = 65536  # bytes; the first line and the headers of a request are fewer
MAX_UNREAD = 4 * settings.max_body_size + MAX_HEAD  # unread bytes of a request
PIECE_COST = 128  # bytes; what a shorter piece counts as, because each takes time
CLIENT_TIMEOUT = 30.0  # seconds; a client that is idle for two checks in a row is cut off
STOP_CLIENT_TIMEOUT = 1.0  # the same while the service stops
SPARE_FILES = 32  # when fewer file descriptors are left, the log says so

# What is parsed at once. A head, and a body in chunks, can only end where a piece ends.
PIECE = re.compile(rb"\r?\n|[^\n]*+(?:\n(?!\r\n)[^\n]*+)*+(?:\n\r)?")
UNREADABLE = b"GET / HTTP/2.0\r\n\r\n"  # for what cannot be parsed; `RequestLimits` refuses it

logger = logging.getLogger(__name__)


class LimitedProtocol(HttpToolsProtocol):
    # Unparsed bytes; those of this request, and of its body still to come; what `_watch` saw last.
    rest, size, left, in_head, before = memoryview(b""), 0, 0, True, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        warn_when_files_run_out(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - see the next line
        super().connection_lost(None)  # with an error, uvicorn's timer would keep the connection
        self.watch.cancel()

    def data_received(self, data: bytes) -> None:
        # uvicorn parses all it has: 8 MB of pipelined requests become 600 MB of objects. Here,
        # a request is parsed after the answer to the one before it.
        self.rest = memoryview(b"".join((self.rest, data)))
        while self.rest and not (self._is_answering() or self.transport.is_closing()):
            end = self.left or next(PIECE.finditer(self.rest)).end()
            piece, self.rest, was_in_head = bytes(self.rest[:end]), self.rest[end:], self.in_head
            super().data_received(piece)
            self.in_head = not (self.scope and "method" in self.scope)
            if self.in_head and not was_in_head:
                self.size = 0  # the next request begins
            self.size += max(len(piece), PIECE_COST if self.rest else 0)
            # uvicorn would add trailers to the headers, behind what a proxy has checked.
            self.headers = self.headers if self.in_head else []
            if self.size > (MAX_HEAD if self.in_head else MAX_UNREAD):
                self.send_400_response("Too large")
        if self.rest:
            self.flow.read_paused = False  # else an application that reads its body resumes it
            self.transport.pause_reading()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.left = int(dict(self.headers).get(b"content-length", b"0").rstrip()[-18:])

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if cycle.scope["http_version"] == "1.0":
            cycle.waiting_for_100_continue = False  # RFC 9110, section 10.1.1
            cycle.send = partial(send_until_close, cycle)  # type: ignore[method-assign]
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        # Routes may take larger bodies than others: what the application reads does not count.
        self.size -= 0 if self.cycle.response_complete else len(body)
        self.left, self.before = max(0, self.left - len(body)), 0  # the client has sent
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        # After `Connection: close`, in a trailer too, a parser ignores what another client sends.
        self.parser = httptools.HttpRequestParser(self)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.size = self.before = 0
        if self.rest:
            self.transport.resume_reading()
            self.data_received(b"")

    def _is_answering(self) -> bool:
        return bool(self.cycle) and not (self.cycle.more_body or self.cycle.response_complete)

    def _should_upgrade(self) -> bool:
        # Requests with `Upgrade` start when they are handled below; CONNECT is refused.
        return self.scope["method"] != "CONNECT"

    def handle_websocket_upgrade(self) -> None:
        # After `Upgrade`, the parser reads a body as the next request, or ignores what follows.
        # The application gets other requests without it (RFC 9110, section 7.8), such as those of
        # HTTP/1.0, where it has no meaning.
        method, version = self.scope["method"], self.scope["http_version"]
        has_body = {b"content-length", b"transfer-encoding"} & dict(self.scope["headers"]).keys()
        is_sound = (method, version) == ("GET", "1.1") and not has_body
        if is_sound and super()._should_upgrade():
            self.watch.cancel()
            self.rest = memoryview(b"")  # a client waits for the answer before it sends more
            tasks = len(self.tasks)
            super().handle_websocket_upgrade()
            if len(self.tasks) == tasks:  # websockets refuses some heads, which uvicorn forgets
                self.transport.close()
        else:
            self.parser = httptools.HttpRequestParser(self)
            line = f"{method} {self.url.decode()} HTTP/{version}"
            kept = [b"%b: %b" % pair for pair in self.scope["headers"] if pair[0] != b"upgrade"]
            self.rest = memoryview(b"\r\n".join((line.encode(), *kept, b"", self.rest)))

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the application has its own
        # uvicorn answers in plain text, and in the middle of another answer.
        if self.cycle is None or self.cycle.response_complete:
            self.parser = httptools.HttpRequestParser(self)
            self.parser.feed_data(UNREADABLE)
        self.cycle.scope["state"]["unreadable"] = True  # `RequestLimits` ends the body
        self.cycle.message_event.set()

    def _watch(self, delay: float = CLIENT_TIMEOUT) -> None:
        # uvicorn waits without end for a head, a body, and for a client to read. Close the
        # connection if nothing changed since the last check.
        is_idle = self._is_answering() or self.flow.read_paused or self.timeout_keep_alive_task
        sent = 0 if is_idle else -1 if self.in_head else -2
        now = self.transport.get_write_buffer_size() or sent
        if now and now == self.before:
            self.transport.abort()
        self.before = now
        self.watch = self.loop.call_later(delay, self._watch, delay)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.before = 0  # the client has read

    def shutdown(self) -> None:
        super().shutdown()
        self.watch.cancel()
        self._watch(STOP_CLIENT_TIMEOUT)


async def send_until_close(cycle: RequestResponseCycle, message: ASGISendEvent) -> None:
    """Send an answer that ends with the connection: HTTP/1.0 has no chunks."""
    cycle.chunked_encoding = False
    if message["type"] == "http.response.body":
        cycle.expected_content_length = len(message.get("body", b""))
    await RequestResponseCycle.send(cycle, message)


_warned_at = float("-inf")


def warn_when_files_run_out(transport: asyncio.Transport) -> None:
    """Log it when few file descriptors are left: without any, uvloop drops clients silently."""
    global _warned_at  # noqa: PLW0603 - of the process, as the limit is
    used = transport.get_extra_info("socket").fileno() + 1
    limit = os.sysconf("SC_OPEN_MAX") if sys.platform != "win32" else sys.maxsize
    now = asyncio.get_running_loop().time()
    if used > limit - SPARE_FILES and now > _warned_at + 60:
        _warned_at = now
        logger.warning("%d of %d file descriptors are in use: raise the limit", used, limit)
