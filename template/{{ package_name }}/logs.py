"""Logs: one line for each event on standard error, from the service and its libraries alike."""

import logging
import sys

import structlog
from structlog.typing import Processor

from .settings import settings


def configure_logging() -> None:
    """Log readable lines in development and JSON in production."""
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor]
    if settings.environment == "production":
        # without the variables, which may hold secrets
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        last = [
            structlog.processors.ExceptionRenderer(tracebacks),
            structlog.processors.JSONRenderer(),
        ]
    else:
        last = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    formatter = structlog.stdlib.ProcessorFormatter
    handler = logging.StreamHandler()
    handler.setFormatter(
        formatter(
            foreign_pre_chain=before,
            processors=[formatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=settings.log_level, handlers=[handler])
    if settings.log_level == "DEBUG":
        # Only the service's own: libraries show the values of statements, which may be secrets
        logging.getLogger().setLevel("INFO")
        logging.getLogger(__package__).setLevel("DEBUG")
    for name in ("uvicorn", "uvicorn.access", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    structlog.configure(
        processors=[*before, formatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
