"""One shape for every error that a client sees: problem details, RFC 9457."""

import logging
import re
from asyncio import CancelledError
from collections.abc import Mapping
from http.client import responses
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect
from structlog.contextvars import get_contextvars
from tortoise.exceptions import DoesNotExist, IntegrityError, ObjectDoesNotExistError

from .database.engine import is_unavailable
from .settings import settings

MEDIA_TYPE = "application/problem+json"
RETRY = {"Retry-After": "5"}  # seconds
MAX_LISTED = 20  # problems of a malformed request
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

logger = logging.getLogger(__name__)


class Fault(BaseModel):
    """What is wrong with one part of the request."""

    location: list[str | int]
    message: str


class Problem(BaseModel):
    """Problem details (RFC 9457, section 3.1), and what helps to find the fault."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    faults: list[Fault] | None = None
    request_id: str | None = None


def problem(
    status: int,
    detail: str | None = None,
    faults: list[Fault] | None = None,
    headers: Mapping[str, str] | None = None,
    request_id: str | None = None,
) -> Response:
    title = responses.get(status, "Error")
    body = Problem(title=title, status=status, detail=detail, faults=faults, request_id=request_id)
    return Response(body.model_dump_json(exclude_none=True), status, headers, MEDIA_TYPE)


PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declare the errors that a route answers with, for its `responses`."""
    return {status: {"description": responses[status], "content": PROBLEM} for status in statuses}


class DocumentedAPI(FastAPI):
    """FastAPI whose document describes errors as they are: problems, of their own media type.

    The document, and the pages that show it, are served only if the settings say so.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - FastAPI's
        if not settings.serves_docs:
            options["openapi_url"] = None
        super().__init__(**options)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema:
            return self.openapi_schema
        document = super().openapi()
        for path in document["paths"].values():
            for operation in path.values():
                for response in operation["responses"].values():
                    if re.search("/(HTTPValidationError|Problem)'", str(response.get("content"))):
                        response["content"] = PROBLEM
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for replaced in ("HTTPValidationError", "ValidationError"):
            schemas.pop(replaced, None)
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {**schema.pop("$defs"), "Problem": schema}
        return document


def _allowed_methods(request: Request) -> str:
    """List the methods of all routes of a path (RFC 9110, section 10.2.1)."""
    scope, routes = request.scope, request.app.routes
    return ", ".join(
        method
        for method in METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    )


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error with a problem, and none with the database's own words."""
    app.add_middleware(AnswerFailures)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(405)
    async def wrong_method(request: Request, error: HTTPException) -> Response:
        # Starlette's own header lists the methods of one route only
        return problem(405, error.detail, headers={"Allow": _allowed_methods(request)})

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        errors = error.errors()
        listed = [Fault(location=list(e["loc"]), message=e["msg"]) for e in errors[:MAX_LISTED]]
        if len(errors) == len(listed):
            return problem(422, "The request is malformed.", listed)
        rest = f"{len(errors) - MAX_LISTED} more problems are not listed."
        return problem(422, f"The request is malformed. {rest}", listed)

    @app.exception_handler(DoesNotExist)
    @app.exception_handler(ObjectDoesNotExistError)
    async def not_found(_: Request, _error: Exception) -> Response:
        return problem(404, "There is no such object.")

    @app.exception_handler(IntegrityError)
    async def conflict(_: Request, _error: IntegrityError) -> Response:
        return problem(409, "The request conflicts with what is stored already.")


class AnswerFailures:
    """Middleware that logs what nothing else answers, and answers it.

    Starlette would answer it outside all other middleware, whose headers it then lacks, and hand
    it on to the server, which would log it again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            refused = message["type"] == "websocket.close" and not started
            started = True
            await (problem(403)(scope, receive, send) if refused else send(message))

        try:
            await self.app(scope, receive, noted)
        except (ClientDisconnect, WebSocketDisconnect):
            return  # who would read an answer is gone
        except CancelledError:  # by the server, which stops and has waited
            logger.warning("The request took longer than the service waits when it stops")
            answer = problem(503, "The service is stopping. Try again.", headers=RETRY)
        except Exception as error:
            if is_unavailable(error):
                logger.warning("The database cannot serve: %s", str(error) or type(error).__name__)
                answer = problem(503, "The database cannot serve this. Try again.", headers=RETRY)
            else:
                logger.exception("The request failed")
                answer = problem(500, request_id=get_contextvars().get("request_id"))
        else:
            return
        if not started:  # else the server cuts the connection
            await answer(scope, receive, send)
