"""How the application is served: uvicorn, as the settings say."""

import argparse
import errno
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from .fast_imports import collector_paused, import_fastapi
from .logs import configure_logging
from .settings import list_unread, settings

STOP_TIMEOUT = 30  # seconds that requests have to end in when the service stops

logger = logging.getLogger(__name__)


class Config(uvicorn.Config):
    """uvicorn's configuration, which each worker loads for itself."""

    def load(self) -> None:
        """Import the application."""
        with collector_paused():
            import_fastapi()
            super().load()


def stop_without_terminal(*_: object) -> None:
    """Handle SIGHUP: stop when the terminal is closed, and do nothing without a terminal."""
    if sys.stdin is not None and sys.stdin.isatty():
        signal.raise_signal(signal.SIGTERM)


def main() -> None:
    """Serve the application."""
    description = "Serve the application; see the settings."
    argparse.ArgumentParser(prog=sys.argv[0], description=description).parse_args()
    serve(f"{__package__}.main:app", settings.port)


@contextmanager
def _explained(port: int, setting: str) -> Iterator[None]:
    """Log the fix if the server cannot listen. uvicorn itself logs the error, and exits."""
    try:
        yield
    except SystemExit as stop:
        if fix := _fix(stop.__context__, port, setting):
            logger.error(fix)  # noqa: TRY400 - uvicorn has logged the error
        raise


def _fix(cause: BaseException | None, port: int, setting: str) -> str:
    """Return what to change so that the server can listen, or nothing."""
    number = cause.errno if isinstance(cause, OSError) else None
    if number == errno.EADDRINUSE:
        return f"Set {setting} to a free port, or stop what uses port {port}"
    if number == errno.EACCES:
        return f"Set {setting} to 1024 or more: this user may not listen on port {port}"
    if number == errno.EADDRNOTAVAIL or isinstance(cause, socket.gaierror):
        return f"Set HOST to an address of this machine: {settings.host} is none"
    return ""


def serve(application: str, port: int, setting: str = "PORT") -> None:
    """Serve an application until a signal stops it. Exit if it could not start; the log says why.

    Args:
        application: the module and the name in it.
        port: the port to listen on.
        setting: the name of the port's setting, for error messages.
    """
    # uvicorn shuts down on SIGTERM and raises it again: a requested stop is not a failure
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if hasattr(signal, "SIGHUP"):  # by default, it ends the process amid requests
        signal.signal(signal.SIGHUP, stop_without_terminal)
    configure_logging()  # also for the process that supervises workers
    for line in list_unread() if settings.environment == "development" else ():
        logger.warning(line)
    has_websockets = find_spec("websockets") is not None
    upgradable = "websocket_protocol:UpgradableProtocol"
    http = upgradable if has_websockets else "http_protocol:LimitedProtocol"
    config = Config(
        application,
        host=settings.host,
        port=port,
        http=f"{__package__}.{http}",  # by name, for workers to find it
        ws=f"{__package__}.websocket_protocol:LimitedWebSocket" if has_websockets else "none",
        ws_max_size=settings.max_body_size,
        ws_per_message_deflate=False,  # 16 kB can become a message of 16 MB
        log_config=None,  # the application configures all logs
        server_header=False,
        timeout_graceful_shutdown=STOP_TIMEOUT,
        timeout_keep_alive=settings.keep_alive,
        proxy_headers=False,  # `proxies.py` reads them
    )
    if config.workers > 1:
        with _explained(port, setting):
            listener = config.bind_socket()
        workers = Multiprocess(config, [listener])
        workers.run()
        started = all(worker.exitcode != STARTUP_FAILURE for worker in workers.processes)
    else:
        server = uvicorn.Server(config)
        with suppress(KeyboardInterrupt), _explained(port, setting):
            config.load()
            server.run()
        started = server.started
    if not started:
        sys.exit(STARTUP_FAILURE)
