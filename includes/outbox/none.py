"""Emails that requests send after their responses."""

import asyncio
from typing import Annotated

import structlog
from fastapi import BackgroundTasks, Depends

from ..database.backend import is_unavailable
from ..database.models import User
from .emails import Notice, UndeliveredError, send_email
from .events import Event, record
from .links import create_link, create_requested_link
from .tokens import Purpose

RETRY_DELAYS = (2, 10, 60, 300)  # seconds between attempts to send an email
MAX_WAITING = 1000  # emails; while the mail server is down, more are not sent again
MAX_CONNECTIONS = 10  # to the mail server, for emails that are sent again

logger = structlog.stdlib.get_logger(__name__)

# Emails that wait for another attempt. asyncio itself keeps no reference to tasks
_waiting: set[asyncio.Task[None]] = set()
_connections = asyncio.Semaphore(MAX_CONNECTIONS)


class Outbox:
    """Sends emails after the response, unless the request fails.

    If the mail server fails, this process tries again later. Emails that wait for that are lost
    when the process ends.
    """

    def __init__(self, background: BackgroundTasks) -> None:
        self._background = background

    async def notify(self, notice: Notice, user: User) -> None:
        """Send a notice to a user's address."""
        self._background.add_task(_send, notice, user.email, user.username)

    async def send_link(self, purpose: Purpose, email: str) -> None:
        """Send a link to the user with an address, if there is one who needs it."""
        self._background.add_task(_send_link, purpose, email)

    async def confirm_address(self, user: User, email: str) -> None:
        """Send a link to the new address of a user, whose row is locked."""
        _, token = await create_link(user, Purpose.NEW_ADDRESS, email)
        values = (email, user.username, token)
        self._background.add_task(_send, Purpose.NEW_ADDRESS, *values, linked=user.id)


EmailOutbox = Annotated[Outbox, Depends()]


async def _send_link(purpose: Purpose, email: str) -> None:
    try:
        created = await create_requested_link(purpose, email)
    except Exception as error:
        if is_unavailable(error):
            logger.warning("A link could not be created", purpose=purpose, cause=str(error))
        else:
            logger.exception("A link could not be created", purpose=purpose)
    else:
        if created:
            user, token = created
            await _send(purpose, email, user.username, token, linked=user.id)


async def _send(template: str, *values: str, linked: int | None = None, attempt: int = 0) -> None:
    """Send an email; if the mail server fails, try again in a separate task.

    It runs after the response: it raises nothing, but logs errors. `linked` is the id of the user
    whose link the email has.
    """
    try:
        await send_email(template, *values)
    except UndeliveredError as error:
        is_last = attempt == len(RETRY_DELAYS) or len(_waiting) > MAX_WAITING
        delay = None if is_last else RETRY_DELAYS[attempt]
        about = {"purpose": template, "cause": str(error), "retry_in": delay}
        logger.warning("An email could not be sent", **about)
        if delay is not None:
            later = _send_later(delay, template, *values, linked=linked, attempt=attempt + 1)
            task = asyncio.create_task(later)
            _waiting.add(task)
            task.add_done_callback(_waiting.discard)
    except Exception:
        logger.exception("An email could not be sent", purpose=template)
    else:
        if linked is not None:
            record(Event.LINK_SENT, actor=None, target=linked, purpose=template)


async def _send_later(
    delay: float, template: str, *values: str, linked: int | None, attempt: int
) -> None:
    await asyncio.sleep(delay)
    async with _connections:
        await _send(template, *values, linked=linked, attempt=attempt)
