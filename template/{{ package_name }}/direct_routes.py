"""Answer simple routes without the parts of FastAPI that they do not use.

FastAPI prepares each request for files, generators and background tasks, which takes longer than many
routes. A route is simple if it and its dependencies are coroutines that take parameters of the path,
the query, headers and cookies, or the request. FastAPI answers all others, and every request while
dependencies are overridden or FastAPI's telemetry is on.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from inspect import isclass, iscoroutinefunction
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin
from uuid import UUID

from fastapi import Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import EndpointContext, RequestValidationError, ResponseValidationError
from fastapi.routing import APIRoute
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

# Types of parameters that need no more than validation
SCALARS = (bool, date, datetime, Decimal, float, int, NoneType, str, UUID)
# What `_Function` knows of a function and its dependencies
SOLVED = {
    "call",
    "cookie_params",
    "dependencies",
    "header_params",
    "http_connection_param_name",
    "name",
    "path",
    "path_params",
    "query_params",
    "request_param_name",
    "scope",
    "use_cache",
}


def answer_directly(routes: Iterable[BaseRoute]) -> None:
    """Replace how simple routes answer."""
    for route in routes:
        if type(route) is APIRoute and _is_simple_route(route):
            route.app = DirectAnswer(route)


def _is_simple_route(route: APIRoute) -> bool:
    return (
        not isinstance(route.app, DirectAnswer)
        and route.body_field is None
        and route.max_body_size is None
        and route.response_field is not None
        and isinstance(route.response_class, DefaultPlaceholder)  # JSON, written by pydantic
        and _is_simple(route.dependant)
    )


def _is_simple(dependant: Dependant) -> bool:
    others = {field.name for field in fields(dependant)} - SOLVED  # also those of later releases
    is_simple = _is_coroutine(dependant.call) and not any(getattr(dependant, x) for x in others)
    return is_simple and all(map(_is_simple, dependant.dependencies))


def _is_coroutine(call: object) -> bool:
    if isclass(call) or hasattr(call, "__wrapped__"):  # FastAPI looks at what is wrapped
        return False
    return iscoroutinefunction(call) or iscoroutinefunction(type(call).__call__)


class DirectAnswer:
    """The application of a simple route."""

    def __init__(self, route: APIRoute) -> None:
        self.answer_with_fastapi = route.app
        self.provider = route.dependency_overrides_provider
        self.endpoint = _Function(route.dependant)
        self.status = route.status_code or 200
        self.field = cast("Any", route.response_field)
        path = f"{'/'.join(route.methods or ())} {route.path}"
        self.context = EndpointContext(path=path)
        self.write = partial(
            self.field.serialize_json,
            include=route.response_model_include,
            exclude=route.response_model_exclude,
            by_alias=route.response_model_by_alias,
            exclude_unset=route.response_model_exclude_unset,
            exclude_defaults=route.response_model_exclude_defaults,
            exclude_none=route.response_model_exclude_none,
        )

    def needs_fastapi(self, scope: Scope) -> bool:
        overrides = getattr(self.provider, "dependency_overrides", None)
        return bool(overrides) or bool(scope.get("fastapi.telemetry"))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        answer = self.answer_with_fastapi if self.needs_fastapi(scope) else self.answer
        return answer(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        errors: list[Any] = []
        values = await self.endpoint.solve(Request(scope, receive, send), {}, errors)
        if errors:
            raise RequestValidationError(errors, endpoint_ctx=self.context)
        answer = await self.endpoint.call(**values)
        if not isinstance(answer, Response):
            value, wrong = self.field.validate(answer, {}, loc=("response",))
            if wrong:
                raise ResponseValidationError(errors=wrong, body=answer, endpoint_ctx=self.context)
            answer = Response(self.write(value), self.status, media_type="application/json")
        await answer(scope, receive, send)


class DirectRoutes:
    """The layer before FastAPI's exit stack. It answers the simple routes that `find` returns."""

    def __init__(self, app: ASGIApp, find: Callable[[Scope], Route | None]) -> None:
        self.app, self.find = app, find

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        route = self.find(scope) if scope["type"] == "http" else None
        answer = route and route.app
        if route is None or not isinstance(answer, DirectAnswer) or answer.needs_fastapi(scope):
            return self.app(scope, receive, send)
        scope.setdefault("path_params", {})
        scope.update(endpoint=route.endpoint, route=route)
        return answer.answer(scope, receive, send)


def answer_early(stack: Any, find: Callable[[Scope], Route | None]) -> None:  # noqa: ANN401 - ASGI
    """Put `DirectRoutes` into a stack of middleware, behind the layer that handles exceptions."""
    while stack and not isinstance(stack, ExceptionMiddleware):
        stack = getattr(stack, "app", None)
    if stack:
        stack.app = DirectRoutes(stack.app, find)


class _Function:
    """A function whose arguments are in a request, or are the results of dependencies."""

    def __init__(self, dependant: Dependant) -> None:
        self.call: Any = dependant.call
        self.name = dependant.name
        self.key = (dependant.call, dependant.scope)
        self.use_cache = dependant.use_cache
        self.dependencies = [_Function(dependency) for dependency in dependant.dependencies]
        fields = {
            "path_params": dependant.path_params,
            "query_params": dependant.query_params,
            "headers": dependant.header_params,
            "cookies": dependant.cookie_params,
        }
        self.parameters = [_Parameters(part, found) for part, found in fields.items() if found]
        names = (dependant.request_param_name, dependant.http_connection_param_name)
        self.request_names = [name for name in names if name]

    async def solve(
        self, request: Request, solved: dict[Any, Any], errors: list[Any]
    ) -> dict[str, Any]:
        """Return the arguments, and add what is wrong with parameters to `errors`.

        A dependency with errors is not called. The results of dependencies are in `solved`: each is
        called once for a request.
        """
        values: dict[str, Any] = {}
        for dependency in self.dependencies:
            before = len(errors)
            arguments = await dependency.solve(request, solved, errors)
            if len(errors) > before:
                continue
            if dependency.key in solved and dependency.use_cache:
                result = solved[dependency.key]
            else:
                result = await dependency.call(**arguments)
                solved.setdefault(dependency.key, result)
            if dependency.name is not None:
                values[dependency.name] = result
        for parameters in self.parameters:
            errors += parameters.read(request, values)
        for name in self.request_names:
            values[name] = request
        return values


class _Parameters:
    """Parameters from one part of a request, such as its query.

    FastAPI examines their annotations again for each request, which takes ten times as long as to
    validate them. Here, this is done once for those of simple types.
    """

    def __init__(self, part: str, fields: Sequence[Any]) -> None:
        self.part, self.fields = part, fields
        self.scalars = [*map(_as_scalar, fields)] if all(map(_is_scalar, fields)) else None

    def read(self, request: Request, values: dict[str, Any]) -> list[Any]:
        """Add the values of a request to others, and return the errors of parameters."""
        received = getattr(request, self.part)
        found = self._read_scalars(received)
        errors: list[Any] = []
        if found is None:
            found, errors = request_params_to_args(self.fields, received)
        values |= found
        return errors

    def _read_scalars(self, received: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the values; None if FastAPI has to read them, or to describe what is wrong."""
        if self.scalars is None:
            return None
        found = {}
        for name, key, is_required, default, validate in self.scalars:
            text = received.get(key)
            if text is None and not is_required:
                found[name] = default
                continue
            value, errors = validate(text) if text is not None else (None, ["missing"])
            if errors:
                return None
            found[name] = value
        return found


def _as_scalar(field: Any) -> tuple[str, str, bool, Any, Any]:  # noqa: ANN401 - FastAPI's ModelField
    name = field.validation_alias or field.alias
    return field.name, name, field.field_info.is_required(), field.default, field.validate


def _is_scalar(field: Any) -> bool:  # noqa: ANN401 - FastAPI's ModelField
    """Return whether a parameter has one name, one value and a default that needs no copy."""
    info = field.field_info
    kind = info.annotation
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return (
        all(kind in SCALARS or get_origin(kind) is Literal for kind in kinds)
        and not field.config
        and isinstance(info.validation_alias, str | None)
        and not info.validate_default
        and (info.is_required() or isinstance(info.default, SCALARS))
    )
