"""One form for every error that a client sees: problem details, RFC 9457."""

from collections.abc import Mapping
from http import HTTPStatus
from http.client import responses
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.utils import is_body_allowed_for_status_code
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from structlog.contextvars import get_contextvars
from tortoise.exceptions import DoesNotExist, IntegrityError, ObjectDoesNotExistError

from .database.backend import is_unavailable
from .exceptions import DomainError, NotFoundError
from .routing import answers

MEDIA_TYPE = "application/problem+json"
MAX_LISTED = 20  # errors of a malformed request
MAX_NAME = 100  # characters of an unknown field's name, which can be as long as the body
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
RETRY = {"Retry-After": "5"}  # seconds
CLOSE = {"Connection": "close"}  # the rest of the body is not read


class FieldError(BaseModel):
    """What is wrong with one part of the request."""

    location: list[str | int]
    message: str


class Problem(BaseModel):
    """Problem details (RFC 9457, section 3.1), and what helps to find the error."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldError] | None = None
    request_id: str | None = None


def problem(
    status: int,
    detail: str | None = None,
    headers: Mapping[str, str] | None = None,
    **members: Any,  # noqa: ANN401 - any JSON
) -> Response:
    """Build an answer with problem details. Further members are `errors`, or your own."""
    if not is_body_allowed_for_status_code(status):
        return Response(status_code=status, headers=headers)
    title = responses.get(status, "Error")
    body = Problem(**{"title": title, "detail": detail, **members, "status": status})
    return Response(body.model_dump_json(exclude_none=True), status, headers, MEDIA_TYPE)


MALFORMED = "The request is malformed."
MALFORMED_EXAMPLE = {
    "detail": MALFORMED,
    "errors": [
        {"location": ["query", "limit"], "message": "Input should be greater than or equal to 1"}
    ],
}


def problem_content(status: int | str, name: str = "Problem") -> dict[str, Any]:
    """Describe the body of a problem for the OpenAPI document, with an example for one status."""
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{name}"}}
    if str(status).isdigit():  # not 4XX or default
        title = responses[int(status)]
        content["example"] = {"type": "about:blank", "title": title, "status": int(status)}
        if int(status) == HTTPStatus.UNPROCESSABLE_ENTITY:
            content["example"] |= MALFORMED_EXAMPLE
    return {MEDIA_TYPE: content}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declare the errors that a route answers with, for its `responses`."""
    return {
        status: {"description": responses[status], "content": problem_content(status)}
        for status in statuses
    }


def add_error_handlers(app: FastAPI) -> None:
    """Answer the errors of an application with problems, and hide the database's own messages.

    A mounted FastAPI application has its own handlers: call this function for it as well.
    """

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # Starlette's own header lists the methods of one route only
            return problem(405, error.detail, {"Allow": _allowed_methods(request)})
        return http_problem(error)

    @app.exception_handler(DomainError)
    async def domain_error(_: Request, error: DomainError) -> Response:
        return problem(error.status, str(error) or None, error.headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        errors = error.errors()
        listed = [
            FieldError(
                location=[part[:MAX_NAME] if isinstance(part, str) else part for part in e["loc"]],
                message=e["msg"].removeprefix("Value error, "),
            )
            for e in errors[:MAX_LISTED]
        ]
        detail = MALFORMED
        if isinstance(error.body, bytes):
            detail += " Send JSON with `Content-Type: application/json`."
        if len(errors) > MAX_LISTED:
            detail += f" {len(errors) - MAX_LISTED} more errors are not listed."
        return problem(422, detail, errors=listed)

    @app.exception_handler(DoesNotExist)
    @app.exception_handler(ObjectDoesNotExistError)
    async def not_found(_: Request, _error: Exception) -> Response:
        return problem(404, NotFoundError.detail)

    @app.exception_handler(IntegrityError)
    async def conflict(_: Request, _error: IntegrityError) -> Response:
        return problem(409, "The request conflicts with what is stored.")

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return failure_problem(error)


def http_problem(error: HTTPException) -> Response:
    """Answer an HTTPException. A dictionary as its detail becomes members of the problem."""
    detail: Any = error.detail  # FastAPI's own class takes any JSON
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        headers = CLOSE | headers
    if isinstance(detail, str) or detail is None:
        return problem(error.status_code, detail, headers)
    members = detail if isinstance(detail, Mapping) else {"details": detail}
    return problem(error.status_code, headers=headers, **jsonable_encoder(members))


def failure_problem(error: Exception) -> Response:
    """Answer an error that no other handler answers; the log has its cause."""
    if is_unavailable(error):
        return problem(503, "The database cannot serve this. Try again.", RETRY)
    return problem(500, request_id=get_contextvars().get("request_id"))


def _allowed_methods(request: Request) -> str:
    """List the methods of all routes of a path (RFC 9110, section 10.2.1)."""
    routes, scope = request.app.routes, request.scope
    allowed = {method for method in METHODS if answers(routes, {**scope, "method": method})}
    return ", ".join(m for m in METHODS if m in allowed or (m == "HEAD" and "GET" in allowed))
