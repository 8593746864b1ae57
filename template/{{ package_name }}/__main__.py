"""Serve the application as the settings say: `python -m` and the package's name."""

import signal
import sys

import uvicorn

from .settings import settings


def main() -> None:
    # uvicorn shuts down on SIGTERM and raises it again: a stop that was asked for is no failure
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    uvicorn.run(
        f"{__package__}.main:app",
        host=settings.host,
        port=settings.port,
        log_config=None,  # the application configures all logs
        server_header=False,
    )


if __name__ == "__main__":
    main()
