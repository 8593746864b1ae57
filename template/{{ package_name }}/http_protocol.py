"""uvicorn's HTTP protocol, with limits on what clients send and leave unread.

Remove a part when uvicorn does the same.
"""

import re
from collections import deque
from functools import partial
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from .client_connections import ClientConnection
from .settings import settings

MAX_HEAD = 65536  # bytes; the first line and the headers of a request are fewer
MAX_UNREAD = 4 * settings.max_body_size + 2**19  # unread bytes after a head; a read has 2**18
PIECE_COST = 128  # bytes; what a shorter piece counts as, because each takes time

# Takes the trailers that uvicorn would add to the headers, although no proxy has checked them
TRAILERS: Any = deque(maxlen=0)
# What is parsed at once. A head, and a body in chunks, can only end where a piece ends.
PIECE = re.compile(rb"\r?\n|[^\n]*+(?:\n(?!\r\n)[^\n]*+)*+(?:\n\r\n)?")


class LimitedProtocol(ClientConnection, HttpToolsProtocol):
    # Unparsed bytes; what is left of a body, -1 in a head; the bytes that may still come unread.
    rest, left, budget = memoryview(b""), -1, MAX_HEAD

    def data_received(self, data: bytes) -> None:
        # uvicorn parses all it has: 8 MB of pipelined requests become 600 MB of objects. Here,
        # a request is parsed after the answer to the one before it.
        self.rest = memoryview(b"".join((self.rest, data)))
        while self.rest and not (self._is_busy() or self.transport.is_closing()):
            end = self.left if self.left > 0 else next(PIECE.finditer(self.rest)).end()
            piece, self.rest = bytes(self.rest[:end]), self.rest[end:]
            self.budget -= max(len(piece), PIECE_COST if self.rest else 0)
            if self.budget < 0:
                self.send_400_response("Too large")
            else:
                super().data_received(piece)
        if self.rest:
            self._unset_keepalive_if_required()  # the client waits for us, not we for the client
            self.transport.pause_reading()
        elif not self.flow.read_paused:
            self.transport.resume_reading()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.left = int(dict(self.headers).get(b"content-length", b"0").rstrip()[-18:])
        self.headers, self.budget, self.waited_for = TRAILERS, MAX_UNREAD, 0
        if self.scope["http_version"] == "1.0" and not self.parser.should_upgrade():
            self.cycle.waiting_for_100_continue = False  # RFC 9110, section 10.1.1
            self.cycle.send = partial(send_until_close, self.cycle)  # type: ignore[method-assign]

    def on_body(self, body: bytes) -> None:
        # Routes have limits: what they read does not count, nor as many bytes of chunks around it.
        self.budget += 0 if self.cycle.response_complete else 2 * len(body)
        self.left, self.waited_for = max(0, self.left - len(body)), 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        # After `Connection: close`, in a trailer too, a parser ignores what another client sends.
        self.parser = httptools.HttpRequestParser(self)
        self.left, self.budget, self.waited_for = -1, MAX_HEAD, 0
        if "path" in self.scope and self.cycle.response_complete:  # the body came after the answer
            super().on_response_complete()  # for the timer of a connection that is kept

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.data_received(b"")

    def _is_busy(self) -> bool:
        answers = bool(self.cycle) and not (self.cycle.more_body or self.cycle.response_complete)
        # While a client has not read its last answer, the next one would wait in memory, too.
        return answers or (self.left < 0 and self.flow.write_paused)

    def waits_for_data(self) -> bool:
        return not (self._is_busy() or self.flow.read_paused or self.timeout_keep_alive_task)

    def _should_upgrade(self) -> bool:
        # Requests with `Upgrade` start when they are handled below; CONNECT is refused.
        return bool(self.scope["method"] != "CONNECT")

    def handle_websocket_upgrade(self) -> None:
        # After `Upgrade`, the parser reads a body as the next request, or ignores what follows. The
        # new parser reads the request again, without `Upgrade` (RFC 9110, section 7.8).
        line = f"{self.scope['method']} {self.url.decode()} HTTP/{self.scope['http_version']}"
        kept = [b"%b: %b" % pair for pair in self.scope["headers"] if pair[0] != b"upgrade"]
        self.rest = memoryview(b"\r\n".join((line.encode(), *kept, b"", self.rest)))

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the application has its own
        # uvicorn answers in plain text, and in the middle of another answer. Here, `RequestLimits`
        # refuses a request with HTTP/2.0, or what is left of the body of the current request.
        if self.left < 0:
            self.parser = httptools.HttpRequestParser(self)
            self.parser.feed_data(b"GET / HTTP/2.0\r\n\r\n")
        self.cycle.scope["state"]["unreadable"] = True
        super().on_message_complete()  # what follows is not parsed
        # Close the connection: now if there is an answer, because a proxy would give a second one
        # to another client, else after the answer.
        HttpToolsProtocol.shutdown(self)


async def send_until_close(cycle: RequestResponseCycle, message: Any) -> None:  # noqa: ANN401 - of two types
    """Send an answer that ends with the connection: HTTP/1.0 has no chunks."""
    cycle.chunked_encoding = False
    cycle.expected_content_length = len(message.get("body", b""))
    await RequestResponseCycle.send(cycle, message)
