"""How logs look in development: the line of a request first, and short tracebacks."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from traceback import FrameSummary, StackSummary, TracebackException
from typing import TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

PACKAGE = Path(__file__).parent
# Modules that requests pass on their way to a route
PASSED = {
    PACKAGE / f"{name}.py" for name in ("direct_routes", "middleware", "request_limits", "routing")
}


def renderers(*, short: bool) -> list[Processor]:
    """Return the processors that format an event; short tracebacks lack the frames of libraries."""
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        exception_formatter=print_short if short else structlog.dev.plain_traceback,
        sort_keys=False,
    )
    return [summarize_request, renderer]


def summarize_request(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Make the method, the route, the status and the duration of a request its message."""
    if event.get("event") == "Request" and "duration_ms" in event:
        where = quote(event.pop("path", "")) or event["route"]  # a path may control the terminal
        parts = (event.pop("method"), where, event.pop("status"), event.pop("duration_ms"))
        del event["route"]
        event["event"] = "{} {} {} {} ms".format(*parts)
    return event


def print_short(output: TextIO, error: ExcInfo) -> None:
    """Print a traceback with the service's frames, and the one that raised the error."""
    shown = TracebackException(*error)
    for part in _chained(shown):
        own = filter(_is_own, part.stack[:-1])
        part.stack = StackSummary.from_list([*own, *part.stack[-1:]])
    output.write("\n" + "".join(shown.format()).rstrip())


def wrap(text: str, output: TextIO) -> str:
    """Break long lines between words, if they go to a terminal."""
    if not output.isatty():
        return text
    width = os.get_terminal_size(output.fileno()).columns or 80
    return "\n".join(
        fill(line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )


def _chained(error: TracebackException) -> Iterator[TracebackException]:
    """List an error with its causes, and with the errors that it groups."""
    yield error
    for other in (error.__cause__, error.__context__, *(error.exceptions or ())):
        if other:
            yield from _chained(other)


def _is_own(frame: FrameSummary) -> bool:
    path = Path(frame.filename)
    return path.is_relative_to(PACKAGE) and path not in PASSED
