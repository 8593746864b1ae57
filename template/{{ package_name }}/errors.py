"""One shape for every error that a client sees: problem details, RFC 9457."""

from collections.abc import Mapping
from http.client import responses
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from tortoise.exceptions import DoesNotExist, IntegrityError, ObjectDoesNotExistError

from .database.engine import CONNECTION_ERRORS, is_unavailable

MEDIA_TYPE = "application/problem+json"


class Fault(BaseModel):
    """What is wrong with one part of the request."""

    location: list[str | int]
    message: str


class Problem(BaseModel):
    """Problem details (RFC 9457, section 3.1), with the faults of a malformed request."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    faults: list[Fault] | None = None


def problem(
    status: int,
    detail: str | None = None,
    faults: list[Fault] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    title = responses.get(status, "Error")
    body = Problem(title=title, status=status, detail=detail, faults=faults)
    return Response(body.model_dump_json(exclude_none=True), status, headers, MEDIA_TYPE)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declare the errors that a route answers with, for its `responses`."""
    return {status: {"model": Problem} for status in statuses}


class DocumentedAPI(FastAPI):
    """FastAPI whose document describes errors as they are: problems, of their own media type."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema:
            return self.openapi_schema
        document = super().openapi()
        for path in document["paths"].values():
            for operation in path.values():
                for response in operation["responses"].values():
                    _describe(response)
        schemas = document.get("components", {}).get("schemas", {})
        for replaced in ("HTTPValidationError", "ValidationError"):
            schemas.pop(replaced, None)
        return document


def _describe(response: dict[str, Any]) -> None:
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    if schema.get("$ref", "").endswith(("/Problem", "/HTTPValidationError")):
        reference = {"$ref": "#/components/schemas/Problem"}
        response["content"] = {MEDIA_TYPE: {"schema": reference}}


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error with a problem, and none with the database's own words."""

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        faults = [Fault(location=list(e["loc"]), message=e["msg"]) for e in error.errors()]
        return problem(422, "The request is malformed.", faults)

    @app.exception_handler(DoesNotExist)
    @app.exception_handler(ObjectDoesNotExistError)
    async def not_found(_: Request, _error: Exception) -> Response:
        return problem(404, "There is no such object.")

    @app.exception_handler(IntegrityError)
    async def conflict(_: Request, _error: IntegrityError) -> Response:
        return problem(409, "The request conflicts with what is stored already.")

    async def unavailable(_: Request, error: Exception) -> Response:
        if not is_unavailable(error):
            raise error
        return problem(503, "The database is not reachable.", headers={"Retry-After": "5"})

    for kind in CONNECTION_ERRORS:
        app.add_exception_handler(kind, unavailable)

    @app.exception_handler(Exception)
    async def failed(_: Request, _error: Exception) -> Response:
        return problem(500)
