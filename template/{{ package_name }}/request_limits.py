"""Limits on requests, for all routes."""

import asyncio
import re
from collections.abc import Awaitable

from fastapi import HTTPException, Response
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .client_connections import given_up
from .problems import CLOSE, problem
from .settings import settings

MAX_DEPTH = 50  # lists and objects inside each other
MAX_HEADERS = 250
MAX_ESCAPES = 1000  # backslashes in cookies; Python 3.11.9 and 3.12.5 take seconds for 30,000
MAX_TYPE = 1000  # bytes of a Content-Type; to read parameters in 64 KiB takes more than 100 ms

# How gzip, deflate and zstd start, and JSON never does. A route that decompresses them reads JSON.
COMPRESSED = (b"\x1f", b"x", b"(")
# RFC 7578 knows no such parameter. Starlette decodes with any codec of Python, and punycode takes
# minutes for a megabyte.
OTHER_CHARSET = re.compile(rb"charset(?!\s*=\s*\"?(utf-8|us-ascii|iso-8859-))")
# RFC 9110, section 7.2: a name or an address, and perhaps a port
HOST = re.compile(rb"([\w.~!$&'()*+,;=%-]*|\[[\w.:]+\])(:\d*)?", re.ASCII)
LENGTH = re.compile(rb"0*[0-9]{1,18}[ \t]*")  # RFC 9110, section 5.5
# Count marks outside of strings. A string that continues in the next chunk ends here.
MARK = re.compile(
    rb"""(?:[^"\[\]{},]++|"(?:[^"\\]++|\\.)*+")*+"""
    rb"""(?:(?P<mark>[\[\]{},])|(?P<text>")(?:[^"\\]++|\\.)*+(?P<escape>\\?)\Z|\Z)""",
    re.DOTALL,
)

UNREADABLE = "The request is not valid HTTP/1.1, or its head is too large."
NOT_UTF8 = "JSON and forms have to be encoded in UTF-8."
TOO_MANY = (
    f"The body has more than {settings.max_body_values} values, or is nested more than "
    f"{MAX_DEPTH} levels deep."
)


class Shape:
    """The number of values and the depth of a body, counted while its chunks come in."""

    def __init__(self, content_type: bytes, start: bytes) -> None:
        if b"form-data" in content_type and OTHER_CHARSET.search(content_type):
            raise HTTPException(400, NOT_UTF8, headers=CLOSE)
        self.is_json = b"json" in content_type and not start.startswith(COMPRESSED)
        self.is_form = content_type.startswith(b"application/x-www-form-urlencoded")
        self.values, self.depth, self.rest = 1, 0, b""

    def is_too_large(self, chunk: bytes) -> bool:
        """Count a chunk. A body that is no JSON and no form is never too large."""
        if self.is_form:
            self.values += chunk.count(b"&")
        elif self.is_json:
            return self._is_too_large_json(self.rest + chunk)
        return self.values > settings.max_body_values

    def _is_too_large_json(self, data: bytes) -> bool:
        if b"\0" in data:  # UTF-16 or UTF-32, which Python would read, too
            raise HTTPException(400, NOT_UTF8, headers=CLOSE)
        place = 0
        while (found := MARK.match(data, place)) and (mark := found["mark"]):
            place = found.end()
            self.values += mark in b"[{,"
            self.depth += (mark in b"[{") - (mark in b"]}")
            if self.values > settings.max_body_values or self.depth > MAX_DEPTH:
                return True
        self.rest = (found["text"] or b"") + (found["escape"] or b"") if found else b""
        return False


class LimitedBody:
    """The body of a request, and what is counted of it."""

    def __init__(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._content_type = headers.get(b"content-type", b"").lower()
        # Python reads no more than 4300 digits; all before these are zeros
        self.announced = int(headers.get(b"content-length", b"0").rstrip()[-18:])
        self._received = 0
        self._is_refused = False
        self._shape: Shape | None = None  # most requests have no body

    async def receive(self) -> Message:
        # FastAPI notes a route's own limit here before it reads the body
        limit = self._scope.get(MAX_BODY_SIZE_SCOPE_KEY, settings.max_body_size)
        if self.announced > limit:
            raise HTTPException(413, f"The body is larger than {limit} bytes.")
        message = await self._receive()
        chunk = message.get("body", b"")
        self._received += len(chunk)
        if self._received > limit:
            raise HTTPException(413, f"The body is larger than {limit} bytes.")
        if self._scope.get("state", {}).get("unreadable"):
            raise HTTPException(400, UNREADABLE, headers=CLOSE)
        if chunk:
            self._shape = self._shape or Shape(self._content_type, chunk)
            if self._shape.is_too_large(chunk):
                raise HTTPException(400, TOO_MANY, headers=CLOSE)
        return message

    async def send(self, message: Message) -> None:
        """Replace Starlette's plain text when a body is larger than its route's limit."""
        is_start = message["type"] == "http.response.start"
        if is_start and self.announced > self._scope.get(MAX_BODY_SIZE_SCOPE_KEY, self.announced):
            self._is_refused = True
            refusal = problem(413, "The body is too large.", CLOSE)
            await refusal(self._scope, self._receive, self._send)
        if not self._is_refused:
            self._scope.setdefault("state", {})["_message_size"] = len(message.get("body", b""))
            await self._send(message)


class RequestLimits:
    """Refuse requests and handshakes that other servers read differently, and bodies over the limits.

    FastAPI's own limit for all routes, `FastAPI(max_body_size=...)`, would answer some requests
    in plain text and outside of all middleware. A route's own `max_body_size` replaces this one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self.app(scope, receive, send)
        if given_up:
            return self._later(scope, receive, send)
        headers = dict(reversed(scope["headers"]))  # of repeated ones, the first counts
        if refusal := _refusal(scope, headers):
            return refusal(scope, receive, send)
        if scope["type"] == "websocket":
            return self.app(scope, receive, send)
        body = LimitedBody(scope, headers, receive, send)
        return self.app(scope, body.receive, body.send)

    async def _later(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the event loop free the answers of clients that it disconnects."""
        while given_up:  # noqa: ASYNC110 - no task says when: it takes one round of the loop
            await asyncio.sleep(0)
        await self(scope, receive, send)


def _refusal(scope: Scope, headers: dict[bytes, bytes]) -> Response | None:
    version = scope.get("http_version", "1.1")  # tests of WebSockets leave it out
    # `http_protocol.py` turns a request that it cannot parse into one for HTTP/2.0
    is_strange = version in {"0.9", "2.0"} or scope.get("method") == "CONNECT"
    content_type = headers.get(b"content-type", b"")
    is_large = len(scope["headers"]) > MAX_HEADERS or len(content_type) > MAX_TYPE
    if is_strange or is_large:
        return problem(400, UNREADABLE, CLOSE)
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    is_single = len(hosts) == 1 or (not hosts and version == "1.0")
    if not is_single or not all(map(HOST.fullmatch, hosts)):
        return problem(400, "Send one valid Host header.", CLOSE)
    if sum(v.count(b"\\") for name, v in scope["headers"] if name == b"cookie") > MAX_ESCAPES:
        return problem(400, f"Cookies may have at most {MAX_ESCAPES} backslashes.", CLOSE)
    coding = b"transfer-encoding"
    codings = coding in headers and [v.lower() for name, v in scope["headers"] if name == coding]
    if codings and (version == "1.0" or codings != [b"chunked"]):  # RFC 9112, section 6.1
        return problem(400, "Send no Transfer-Encoding but chunked, and none in HTTP/1.0.", CLOSE)
    if not LENGTH.fullmatch(headers.get(b"content-length", b"0")):
        return problem(413, "The body is too large.", CLOSE)
    return None
