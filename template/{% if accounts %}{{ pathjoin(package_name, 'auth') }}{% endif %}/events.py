"""Security events: log lines with fixed names, for alerts and audits."""

from enum import StrEnum

import structlog

from .client_address import client_address

logger = structlog.stdlib.get_logger(__name__)


class Event(StrEnum):
    """The names of the events. Alerts match them, so they never change."""

    LOGGED_IN = "auth.logged_in"
    LOGIN_FAILED = "auth.login_failed"
    THROTTLED = "auth.throttled"
    CONFIRMATION_FAILED = "auth.confirmation_failed"
    SESSION_ENDED = "auth.session_ended"
    SESSIONS_ENDED = "auth.sessions_ended"
    LINK_SENT = "auth.link_sent"
    LINK_REFUSED = "auth.link_refused"
    PASSWORD_CHANGED = "auth.password_changed"  # noqa: S105 - the name of an event
    PASSWORD_RESET = "auth.password_reset"  # noqa: S105 - the name of an event
    USER_CREATED = "user.created"
    USER_RENAMED = "user.renamed"
    EMAIL_CONFIRMED = "user.email_confirmed"
    EMAIL_CHANGED = "user.email_changed"
    USER_PROMOTED = "user.promoted"
    USER_DEMOTED = "user.demoted"
    USER_ACTIVATED = "user.activated"
    USER_DEACTIVATED = "user.deactivated"
    USER_DELETED = "user.deleted"


def record(event: Event, *, actor: int | None, target: int | None, **details: str | int) -> None:
    """Log a security event. The line also has the request's id.

    Args:
        event: its name.
        actor: the id of the user who did it; None if nobody is logged in.
        target: the id of the user whom it affects; None if there is none.
        details: further fields of the line. Never pass a secret, nor text that a client sent.
    """
    logger.info(event.value, actor=actor, target=target, address=client_address.get(), **details)
