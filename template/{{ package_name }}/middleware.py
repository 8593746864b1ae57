"""Middleware of all routes; `main.py` puts it in order."""

import logging
import sys
from asyncio import CancelledError
from collections.abc import Awaitable
from contextlib import suppress
from http import HTTPStatus
from inspect import iscoroutinefunction
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from .database.backend import is_unavailable
from .health import StartError
from .problems import RETRY, failure_problem, http_problem, problem
from .routing import answers

ALREADY_STARTED = "Caught handled exception, but response already started."  # Starlette's
OPEN = ("websocket.accept", "websocket.send")  # the last message to a WebSocket that is open
INTERNAL_ERROR = 1011  # RFC 6455, section 7.4.1
TRACE_HEADERS = ("traceparent", "tracestate")
PAGES = b"text/html"  # they load scripts and styles that only their routes know
SECURITY_HEADERS = {
    b"cache-control": b"no-store",
    b"content-security-policy": (
        b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}
FOR_PAGES = {k: v for k, v in SECURITY_HEADERS.items() if k != b"content-security-policy"}
STRICT_TRANSPORT = {b"strict-transport-security": b"max-age=31536000"}

logger = logging.getLogger(__name__)


class SecurityHeaders:
    """Keep browsers from guessing types, from framing and from storing answers.

    A header that a route sets itself stays.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        def secured(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                given = dict(headers)
                is_page = given.get(b"content-type", b"").startswith(PAGES)
                wanted = FOR_PAGES if is_page else SECURITY_HEADERS
                if scope["scheme"] == "https":
                    wanted = wanted | STRICT_TRANSPORT
                added = [header for header in wanted.items() if header[0] not in given]
                message["headers"] = [*headers, *added]
            return send(message)

        return self.app(scope, receive, secured)


class ProblemCORS(CORSMiddleware):
    """CORS that answers refused preflights with problems. Commas separate the origins."""

    def __init__(self, app: ASGIApp, origins: str) -> None:
        super().__init__(
            app,
            allow_origins=[origin.strip() for origin in origins.split(",") if origin],
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID", *TRACE_HEADERS],
            expose_headers=["X-Request-ID", "Retry-After", "WWW-Authenticate"],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if b"origin" in dict(scope.get("headers", ())):
            await super().__call__(scope, receive, send)
            return

        def send_varying(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"vary", b"Origin")]
            return send(message)

        # Starlette copies all headers twice, which takes as long as a tenth of a simple request
        await self.app(scope, receive, send_varying)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code == HTTPStatus.OK:
            return response
        headers = {k: v for k, v in response.headers.items() if not k.startswith("content-")}
        return problem(response.status_code, bytes(response.body).decode(), headers)


class HeadAsGet:
    """Answer HEAD as GET without the body (RFC 9110, section 9.3.2), which FastAPI does not."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        if is_head and not answers(scope["app"].routes, scope):
            return self._get(scope, receive, send)
        return self.app(scope, receive, send)

    async def _get(self, scope: Scope, receive: Receive, send: Send) -> None:
        ended = False

        async def send_without_body(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                scope.update(as_get, method="HEAD")  # with the route, for the log
                await send(message)
            elif not ended:
                ended = True
                await send({"type": "http.response.body"})

        as_get = {**scope, "method": "GET"}
        await self.app(as_get, receive, send_without_body)


class AnswerFailures:
    """Log errors that no handler answers, and answer them with a problem.

    Starlette would answer them outside of all middleware, without their headers, and raise them
    again for the server to log a second time. A handler for Exception is called here instead.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        app: FastAPI = scope["app"]  # a mounted application replaces it
        sent = ""

        def noted(message: Message) -> Awaitable[None]:
            nonlocal sent
            error = sys.exception()  # which a handler answers
            if error and sent and message["type"] == "websocket.http.response.start":
                raise error  # only a handshake can have such an answer
            refused = message["type"] == "websocket.close" and not sent
            sent = message["type"]
            return problem(403)(scope, receive, send) if refused else send(message)

        try:
            await self.app(scope, receive, noted)
        except (ClientDisconnect, WebSocketDisconnect):
            return  # nobody reads an answer
        except CancelledError:  # by the server, when it stops
            logger.warning("The request took longer than the service waits when it stops")
            answer = problem(503, "The service is stopping. Try again.", RETRY)
        except Exception as error:  # noqa: BLE001 - it is logged
            answer = await _answer_failure(app, scope, receive, _unwrap(error), sent)
            if sent in OPEN:
                with suppress(OSError, RuntimeError):  # the client or the server has closed it
                    await send({"type": "websocket.close", "code": INTERNAL_ERROR})
        else:
            return
        if not sent:  # otherwise the server closes the connection
            await answer(scope, receive, send)


def _unwrap(error: Exception) -> Exception:
    """Return the error that Starlette has wrapped, because the answer had begun."""
    if isinstance(error, ExceptionGroup) and not error.split(HTTPException)[1]:
        return error.exceptions[0]  # it was raised to each reader of the body
    cause = error.__cause__ if str(error) == ALREADY_STARTED else None
    return cause if isinstance(cause, Exception) else error


async def _answer_failure(
    app: FastAPI, scope: Scope, receive: Receive, error: Exception, sent: str
) -> Response:
    """Log an error, and return its answer, with the application's handler for Exception."""
    if isinstance(error, HTTPException) and not (sent and scope["type"] == "websocket"):
        # of middleware, which no handler sees, or of a body that is read during the answer
        if sent:
            logger.warning("The request failed during its answer: %s", error)
        return http_problem(error)
    if is_unavailable(error):
        logger.warning("The database cannot serve: %s", str(error) or type(error).__name__)
        return failure_problem(error)
    logger.error("The request failed", exc_info=error)
    handler: Any = app.exception_handlers.get(500) or app.exception_handlers.get(Exception)
    if handler is None or scope["type"] != "http":
        return failure_problem(error)
    request = Request(scope, receive)
    if app.debug:
        return ServerErrorMiddleware(app).debug_response(request, error)
    if iscoroutinefunction(handler):
        answer: Response = await handler(request, error)
    else:
        answer = await run_in_threadpool(handler, request, error)
    return answer


class BriefStartError:
    """Print a StartError as one line, without a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        async def send_briefly(message: Message) -> None:
            error = sys.exception()  # Starlette sends the message while it handles the error
            if message["type"] == "lifespan.startup.failed" and isinstance(error, StartError):
                message = {**message, "message": str(error)}
            await send(message)

        return self.app(scope, receive, send_briefly if scope["type"] == "lifespan" else send)
