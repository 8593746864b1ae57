"""Emails: requests queue them as jobs, and a worker sends them."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends
from tortoise.transactions import in_transaction

from ..database.models import LinkToken, User
from ..jobs.queue import job
from .emails import Notice, send_email
from .events import Event, record
from .links import create_link, create_requested_link
from .sessions import lock_user
from .tokens import Purpose


class Outbox:
    """Queues emails, in the transaction that causes them.

    Jobs contain no tokens: each attempt to send a link creates a new one.
    """

    async def notify(self, notice: Notice, user: User) -> None:
        """Send a notice to a user's address."""
        await send_notice.enqueue(notice, user.email, user.username)

    async def send_link(self, purpose: Purpose, email: str) -> None:
        """Send a link to the user with an address, if there is one who needs it."""
        await send_link.enqueue(purpose, email)

    async def confirm_address(self, user: User, email: str) -> None:
        """Send a link to the new address of a user, whose row is locked."""
        link, _ = await create_link(user, Purpose.NEW_ADDRESS, email)
        await send_address_link.enqueue(link.id)


EmailOutbox = Annotated[Outbox, Depends()]


@job()
async def send_notice(notice: Notice, email: str, username: str) -> None:
    """Send an email without a link."""
    await send_email(notice, email, username)


@job()
async def send_link(purpose: Purpose, email: str) -> None:
    """Send a link that was requested for an address, if a user has it and needs the link."""
    if created := await create_requested_link(purpose, email):
        user, token = created
        await _deliver(purpose, email, user, token)


@job()
async def send_address_link(link_id: int) -> None:
    """Send a link to a new address, unless a later request has replaced it or it has expired.

    Args:
        link_id: the link of the request. Its token was not kept, so the email gets a new one.
    """
    async with in_transaction("default"):
        links = LinkToken.filter(id=link_id, expires_at__gt=datetime.now(UTC))
        link = await links.select_related("user").get_or_none()
        user = await lock_user(link.user.id) if link else None
        if link is None or user is None or not await links.exists():
            return
        _, token = await create_link(user, Purpose.NEW_ADDRESS, link.email)
    await _deliver(Purpose.NEW_ADDRESS, link.email, user, token)


async def _deliver(purpose: Purpose, email: str, user: User, token: str) -> None:
    await send_email(purpose, email, user.username, token)
    record(Event.LINK_SENT, actor=None, target=user.id, purpose=purpose)
