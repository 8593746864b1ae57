"""Routes that are found at once.

FastAPI compares a request with one route after another, and with those of included routers twice: with
a hundred routes, that takes longer than most answers. Remove this module when FastAPI has solved this.
"""

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from operator import attrgetter
from typing import Any

from fastapi import APIRouter
from starlette._utils import get_route_path
from starlette.routing import BaseRoute, Match, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

VERSION = attrgetter("_routes_version")  # of a router: FastAPI counts its changes


def flatten(routes: Iterable[BaseRoute], routers: list[APIRouter]) -> Iterator[BaseRoute]:
    """Replace each included router with its routes, with prefix and dependencies applied.

    The replaced routers are added to a list. Others stay: those with a frontend, or with limits on
    forms or bodies, which FastAPI applies when it enters the router.
    """
    for route in routes:
        included: Any = route
        if not hasattr(included, "effective_candidates") or _is_entered(included):
            yield route
            continue
        routers.append(included.original_router)
        for candidate in included.effective_candidates():
            if hasattr(candidate, "effective_candidates"):  # a router in a router
                yield from flatten([candidate], routers)
            else:
                yield candidate.starlette_route or _merge(candidate)


def _is_entered(included: Any) -> bool:  # noqa: ANN401 - FastAPI's internals
    context, router = included.include_context, included.original_router
    has_frontend = bool(router._low_priority_routes)  # noqa: SLF001 - no public name
    return has_frontend or bool(context.form_limits) or context.max_body_size is not None


def _merge(context: Any) -> BaseRoute:  # noqa: ANN401 - FastAPI's internals
    """Return a route with the prefix, dependencies and other options of its inclusion."""
    route: BaseRoute = copy(context.original_route)
    vars(route).update(vars(context))
    return route


def answers(routes: Iterable[BaseRoute], scope: Scope) -> bool:
    """Return whether a route or something mounted answers a request with its method."""
    for route in routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            mounted = getattr(route, "routes", None)
            return not mounted or answers(mounted, {**scope, **child})
    return False


class DirectRouter:
    """Find routes without path parameters in a dictionary.

    The router itself answers, but with the routes that can match the path only, in the same order.
    `prepare` gets the routes, with those of included routers, before they answer.
    """

    def __init__(self, router: APIRouter, prepare: Callable[[list[BaseRoute]], object]) -> None:
        self.router, self.prepare = router, prepare
        self._sort()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.router.app(scope, receive, send)
            return
        if scope["type"] == "websocket":  # before other requests, `find` was called
            self.update()
        scope.setdefault("router", self.router)  # it knows the URLs of all routes
        router = self.by_path.get(get_route_path(scope), self.others)
        await router.app(scope, receive, send)

    def find(self, scope: Scope) -> Route | None:
        """Return the route that answers a request, if its method and its path alone determine it."""
        self.update()
        scope.setdefault("router", self.router)
        return self.certain.get((scope["method"], get_route_path(scope)))

    def update(self) -> list[BaseRoute]:
        """Return the routes. Sort them again if any were added, removed or replaced."""
        routes, count, known, routers, changes = self.seen
        if len(routes) != count:  # the list that the application shows was changed
            self.router.routes[:] = routes
        if self.router.routes != known or sum(map(VERSION, routers)) != changes:
            self._sort()
        return self.seen[0]

    def _sort(self) -> None:
        known, routers = [*self.router.routes], [self.router]
        routes = [*flatten(known, routers)]
        self.prepare(routes)
        self.by_path = {
            path: self._only(route for route in routes if _can_match(route, path))
            for path in filter(None, map(_fixed_path, routes))
        }
        self.certain = {
            (method, path): route
            for route in routes
            if isinstance(route, Route) and (path := _fixed_path(route))
            for method in route.methods or ()
            if route is _find_first(self.by_path[path].routes, method)
        }
        # A redirect to another path looks for that path in all routes
        redirects = self.router.redirect_slashes
        self.others = self._only(r for r in routes if redirects or not _fixed_path(r))
        # At last and at once: threads with other event loops look at it first
        self.seen = routes, len(routes), known, routers, sum(map(VERSION, routers))

    def _only(self, routes: Iterable[BaseRoute]) -> APIRouter:
        router = copy(self.router)
        router.routes = list(routes)
        return router


def _fixed_path(route: BaseRoute) -> str | None:
    """Return the path of a route without path parameters; None for other routes."""
    if isinstance(route, Route | WebSocketRoute) and not route.param_convertors:
        return str(route.path)
    return None


def _find_first(routes: Iterable[BaseRoute], method: str) -> BaseRoute | None:
    """Return the first of the routes of a path that answers requests with a method."""
    for route in routes:
        is_other = isinstance(route, Route) and route.methods and method not in route.methods
        if not (is_other or isinstance(route, WebSocketRoute)):
            return route
    return None


def _can_match(route: BaseRoute, path: str) -> bool:
    pattern: Any = getattr(route, "path_regex", None)
    return pattern is None or bool(pattern.match(path))
