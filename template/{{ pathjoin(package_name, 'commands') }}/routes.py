"""The command that lists the routes."""

import argparse
import sys
from collections.abc import Iterator

from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts
from fastapi.security.base import SecurityBase

from ..main import app

HEAD = ("METHOD", "PATH", "NAME", "CALLERS")


def list_routes() -> list[tuple[str, str, str, str]]:
    """List the method, the path, the name and the callers of each route."""
    rows = []
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        callers = " and ".join(sorted(set(_callers(dependant)))) if dependant else ""
        rows.append((_method(route), route.path or "/", route.name or "", callers or "anyone"))
    return sorted(rows, key=lambda row: (row[1], row[0]))


def _method(route: RouteContext) -> str:
    if route.methods:
        return ",".join(sorted(route.methods - {"HEAD"}))
    return "WEBSOCKET" if hasattr(route, "dependant") else "MOUNT"


def _callers(dependant: Dependant) -> Iterator[str]:
    """Name who may call a route: the callers of its security dependencies, at any depth."""
    call: object = dependant.call
    if isinstance(call, SecurityBase):
        yield getattr(call, "callers", call.scheme_name)
    for dependency in dependant.dependencies:
        yield from _callers(dependency)


def main() -> None:
    """Print the table of routes."""
    description = "List the routes, and who may call them."
    argparse.ArgumentParser(prog=sys.argv[0], description=description).parse_args()
    rows = [HEAD, *list_routes()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{'  '.join(cells).rstrip()}\n")
