"""Limits on what comes in, for all routes."""

import re
from collections.abc import Awaitable

from fastapi import HTTPException, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import problem
from .settings import settings

MAX_DEPTH = 50  # lists and objects inside each other
MAX_HEADERS = 250
CLOSE = {"Connection": "close"}

# RFC 9110, section 7.2: a name or an address, and perhaps a port
HOST = re.compile(rb"([\w.~!$&'()*+,;=%-]*|\[[\w.:]+\])(:\d*)?", re.ASCII)
# What counts in JSON stands outside of its texts. A text that goes on in the next chunk ends here.
MARK = re.compile(
    rb"""(?:[^"\[\]{},]++|"(?:[^"\\]++|\\.)*+")*+"""
    rb"""(?:(?P<mark>[\[\]{},])|(?P<text>")(?:[^"\\]++|\\.)*+(?P<escape>\\?)\Z|\Z)""",
    re.DOTALL,
)


class Shape:
    """The number of values and the depth of a body, counted while its chunks come in."""

    def __init__(self, content_type: bytes) -> None:
        self.is_json = b"json" in content_type
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


class RequestLimits:
    """Refuse requests that other servers read differently, and bodies over the limits."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        headers = dict(reversed(scope["headers"]))  # of repeated ones, the first counts
        if refusal := _refusal(scope, headers):
            return refusal(scope, receive, send)
        shape = Shape(headers.get(b"content-type", b"").lower())
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            chunk = message.get("body", b"")
            received += len(chunk)
            if received > settings.max_body_size:
                raise HTTPException(413, TOO_LARGE, headers=CLOSE)
            if message.get("more_body") and scope.get("state", {}).get("unreadable"):
                raise HTTPException(400, UNREADABLE, headers=CLOSE)
            if chunk and shape.is_too_large(chunk):
                raise HTTPException(400, TOO_MANY, headers=CLOSE)
            return message

        return self.app(scope, limited, send)


UNREADABLE = "The request is not valid HTTP/1.1, or its head is too large."
NOT_UTF8 = "JSON has to be encoded in UTF-8."
TOO_LARGE = f"The body is larger than {settings.max_body_size} bytes."
TOO_MANY = (
    f"The body has more than {settings.max_body_values} values, or is nested more than "
    f"{MAX_DEPTH} levels deep."
)


def _refusal(scope: Scope, headers: dict[bytes, bytes]) -> Response | None:
    version = scope["http_version"]
    is_strange = version in {"0.9", "2.0"} or scope["method"] == "CONNECT"  # see `server.py`
    if is_strange or len(scope["headers"]) > MAX_HEADERS:
        return problem(400, UNREADABLE, headers=CLOSE)
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1 or (not hosts and version != "1.0"):
        return problem(400, "Send one Host header.", headers=CLOSE)
    if hosts and not HOST.fullmatch(hosts[0]):
        return problem(400, "The Host header is not valid.", headers=CLOSE)
    if version == "1.0" and b"transfer-encoding" in headers:  # RFC 9112, section 6.1
        return problem(400, "HTTP/1.0 has no Transfer-Encoding.", headers=CLOSE)
    length = headers.get(b"content-length", b"0").lstrip(b"0") or b"0"
    if not length.isdigit() or int(length) > settings.max_body_size:
        return problem(413, TOO_LARGE, headers=CLOSE)
    return None
