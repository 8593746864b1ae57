"""The OpenAPI document, and the pages that show it: `/docs` and `/redoc`.

The pages load nothing from other hosts: the package fastapi-offline has their scripts.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.openapi.docs import (
    get_redoc_html,
    get_swagger_ui_html,
    get_swagger_ui_oauth2_redirect_html,
)
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from .direct_routes import answer_directly, answer_early
from .pages import with_policy
from .problems import MEDIA_TYPE, Problem, problem_content
from .routing import DirectRouter

ASSETS = "/docs/assets"
# Swagger UI and ReDoc write styles into the page; ReDoc searches in a worker
POLICY = (
    "default-src 'none'; base-uri 'none'; connect-src 'self'; form-action 'none'; "
    "frame-ancestors 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "worker-src blob:"
)


class DocumentedAPI(FastAPI):
    """FastAPI with pages that work offline, and a document that describes errors as problems.

    FastAPI's own `responses` cannot: they describe a model as `application/json` only.
    """

    def setup(self) -> None:
        self.router.middleware_stack = self.direct = DirectRouter(self.router, answer_directly)
        docs_url, redoc_url = self.docs_url, self.redoc_url
        self.docs_url = self.redoc_url = None  # FastAPI's pages load scripts from another host
        super().setup()
        self.docs_url, self.redoc_url = docs_url, redoc_url
        if self.openapi_url:
            assets = StaticFiles(packages=[("fastapi_offline", "static")])
            self.mount(ASSETS, assets, name="docs_assets")
            for url, page in (
                (docs_url, self.swagger_ui_html),
                (docs_url and self.swagger_ui_oauth2_redirect_url, self.swagger_ui_redirect),
                (redoc_url, self.redoc_html),
            ):
                if url:
                    self.add_route(url, page, include_in_schema=False)

    async def swagger_ui_html(self, request: Request) -> Response:
        root = request.scope["root_path"]
        page = get_swagger_ui_html(
            openapi_url=f"{root}{self.openapi_url}",
            title=f"{self.title} - Swagger UI",
            swagger_js_url=f"{root}{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root}{ASSETS}/favicon.png",
            oauth2_redirect_url=f"{root}{self.swagger_ui_oauth2_redirect_url}",
            init_oauth=self.swagger_ui_init_oauth,
            swagger_ui_parameters=self.swagger_ui_parameters,
        )
        return with_policy(page, POLICY, "'self'")

    async def swagger_ui_redirect(self, _: Request) -> Response:
        return with_policy(get_swagger_ui_oauth2_redirect_html(), POLICY)

    async def redoc_html(self, request: Request) -> Response:
        root = request.scope["root_path"]
        page = get_redoc_html(
            openapi_url=f"{root}{self.openapi_url}",
            title=f"{self.title} - ReDoc",
            redoc_js_url=f"{root}{ASSETS}/redoc.standalone.js",
            redoc_favicon_url=f"{root}{ASSETS}/favicon.png",
            with_google_fonts=False,
        )
        return with_policy(page, POLICY, "'self'")

    @property
    def routes(self) -> list[BaseRoute]:
        """List the routes; once started, with those of included routers, as libraries expect."""
        return self.direct.update() if self.middleware_stack else self.router.routes

    def build_middleware_stack(self) -> ASGIApp:
        """Prepare for the first request."""
        self.direct.update()
        stack = super().build_middleware_stack()
        answer_early(stack, self.direct.find)
        return stack

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema:
            return self.openapi_schema
        document = super().openapi()
        self._name_operations(document["paths"])
        paths = [*document["paths"].values(), *document.get("webhooks", {}).values()]
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for replaced in ("HTTPValidationError", "ValidationError"):
            schemas.pop(replaced, None)
        prefix = _add_problem(schemas)
        for operation in _list_operations(paths):
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                model = re.search("/(HTTPValidationError|Problem)'", str(content))
                is_yours = prefix and model and model[1] == "Problem" and MEDIA_TYPE not in content
                if model and not is_yours:
                    response["content"] = problem_content(status, f"{prefix}Problem")
        # FastAPI writes limits as floats: in JSON, that of a BIGINT would be rounded
        exact: dict[str, Any] = json.loads(json.dumps(document), parse_float=_read_number)
        self.openapi_schema = exact
        return exact

    def _name_operations(self, paths: dict[str, Any]) -> None:
        """Name operations as their functions, unless several functions have the same name.

        FastAPI's names also have the path and the method. Generated clients use them for functions.
        """
        operations = [
            (_operation_name(route), paths[str(route.path_format)][method.lower()])
            for route in iter_route_contexts(self.routes)
            if getattr(route, "dependant", None) and getattr(route, "include_in_schema", False)
            for method in route.methods or ()
        ]
        counts = Counter(name for name, _ in operations)
        for name, operation in operations:
            if counts[name] == 1:
                operation["operationId"] = name


def _add_problem(schemas: dict[str, Any]) -> str:
    """Describe problems, and return what their names start with if models have the same names."""
    for prefix in ("", "Service"):
        references = "#/components/schemas/" + prefix + "{model}"
        problem = Problem.model_json_schema(ref_template=references)
        models = {**problem.pop("$defs"), "Problem": problem}
        added = {f"{prefix}{name}": schema for name, schema in models.items()}
        known = [schemas.get(name, schema) for name, schema in added.items()]
        if [*map(_members, known)] == [*map(_members, added.values())]:
            break
    schemas |= added
    return prefix


def _members(schema: dict[str, Any]) -> list[str]:
    return list(schema.get("properties", ()))


def _operation_name(route: Any) -> str:  # noqa: ANN401 - FastAPI's RouteContext has any attribute
    is_free = isinstance(route.generate_unique_id_function, DefaultPlaceholder)
    return str(route.name if is_free and not route.operation_id else route.unique_id)


def _list_operations(paths: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """List the operations of paths, and those of their callbacks."""
    for path in paths:
        for operation in path.values():
            yield operation
            for callback in operation.get("callbacks", {}).values():
                yield from _list_operations(callback.values())


def _read_number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number
