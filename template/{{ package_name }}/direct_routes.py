"""Answer simple routes without the parts of FastAPI that they do not use.

FastAPI prepares each request for files, generators and background tasks, which takes longer than many
routes. A route is simple if it and its dependencies are coroutines that take parameters of the path,
the query, headers and cookies, or the request. FastAPI answers all others, and every request while
dependencies are overridden or FastAPI's telemetry is on.
"""

from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from inspect import isclass, iscoroutinefunction
from typing import Any

from fastapi import Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import EndpointContext, RequestValidationError
from fastapi.routing import APIRoute, serialize_response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

# What `_solve` knows of a function and its dependencies
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
        self.dependant = route.dependant
        self.endpoint: Callable[..., Any] = route.endpoint
        self.status = route.status_code or 200
        self.serialize = partial(
            serialize_response,
            field=route.response_field,
            include=route.response_model_include,
            exclude=route.response_model_exclude,
            by_alias=route.response_model_by_alias,
            exclude_unset=route.response_model_exclude_unset,
            exclude_defaults=route.response_model_exclude_defaults,
            exclude_none=route.response_model_exclude_none,
            endpoint_ctx=EndpointContext(path=f"{'/'.join(route.methods or ())} {route.path}"),
            dump_json=True,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        overrides = getattr(self.provider, "dependency_overrides", None)
        if overrides or scope.get("fastapi.telemetry"):
            await self.answer_with_fastapi(scope, receive, send)
            return
        errors: list[Any] = []
        values = await _solve(self.dependant, Request(scope, receive, send), {}, errors)
        if errors:
            raise RequestValidationError(errors)
        answer = await self.endpoint(**values)
        if not isinstance(answer, Response):
            body = await self.serialize(response_content=answer)
            answer = Response(body, self.status, media_type="application/json")
        await answer(scope, receive, send)


async def _solve(
    dependant: Dependant, request: Request, solved: dict[Any, Any], errors: list[Any]
) -> dict[str, Any]:
    """Return a function's arguments.

    Args:
        dependant: the function and its dependencies.
        request: the request.
        solved: the results of dependencies, which are called once for each request.
        errors: receives the errors of parameters. A dependency with errors is not called.
    """
    values: dict[str, Any] = {}
    for dependency in dependant.dependencies:
        before = len(errors)
        arguments = await _solve(dependency, request, solved, errors)
        if len(errors) > before:
            continue
        call: Any = dependency.call
        key = (call, dependency.scope)
        if key in solved and dependency.use_cache:
            result = solved[key]
        else:
            result = await call(**arguments)
            solved.setdefault(key, result)
        if dependency.name is not None:
            values[dependency.name] = result
    for parameters, received in (
        (dependant.path_params, "path_params"),
        (dependant.query_params, "query_params"),
        (dependant.header_params, "headers"),
        (dependant.cookie_params, "cookies"),
    ):
        if parameters:
            found, wrong = request_params_to_args(parameters, getattr(request, received))
            values |= found
            errors += wrong
    for name in (dependant.request_param_name, dependant.http_connection_param_name):
        if name:
            values[name] = request
    return values
