"""The links in emails: what they are for, how they are sent, and what happens when they are used."""

import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import structlog
from aiosmtplib import SMTPException
from tortoise.exceptions import IntegrityError
from tortoise.transactions import in_transaction

from ..api import ConflictError
from ..database.models import LinkToken, Session, User
from . import mail
from .events import Event, record
from .passwords import check_password, hash_password
from .service import Purpose, hash_token, lock_user

LINK_LIFETIME = timedelta(hours=1)
LINKS = [Purpose.VERIFICATION, Purpose.RESET, Purpose.NEW_ADDRESS]

logger = structlog.stdlib.get_logger(__name__)


class Notice(StrEnum):
    """An email without a link; the name of its template."""

    PASSWORD = "password_notice"  # noqa: S105 - the name of a template
    ADDRESS = "address_notice"


async def create_link(user: User, purpose: Purpose, email: str) -> str:
    """Store a new link for a user, whose row is locked, and return its token.

    The caller records that it is sent, once the transaction is committed.
    """
    token = secrets.token_urlsafe(32)
    await LinkToken.create(
        user_id=user.id,
        token_hash=hash_token(token),
        purpose=purpose,
        email=email,
        expires_at=datetime.now(UTC) + LINK_LIFETIME,
    )
    return token


async def send_link(purpose: Purpose, email: str) -> None:
    """Send the user with an address a link; do nothing if there is none, or no need.

    It runs after the response, whose time would show who has an account. It raises nothing, but
    logs what went wrong. Earlier links stay valid: otherwise a stranger's requests would make
    those useless that the owner has just asked for.
    """
    try:
        user = await User.get_or_none(email=email)
        if user is None:
            return
        async with in_transaction():
            user = await lock_user(user.id)
            if user is None or user.email != email or not user.is_active:
                return
            if purpose is Purpose.VERIFICATION and user.is_verified:
                return
            token = await create_link(user, purpose, email)
    except Exception:
        logger.exception("A link could not be made", purpose=purpose)
    else:
        record(Event.LINK_SENT, actor=None, target=user.id, purpose=purpose)
        await send_email(purpose, email, user.username, token)


async def send_email(template: str, email: str, username: str, token: str = "") -> None:
    """Send an email after the response; log it when that fails."""
    try:
        await mail.send(email, template, username=username, token=token)
    except (OSError, SMTPException) as error:  # the server's problem, so without a traceback
        logger.warning("A mail could not be sent", purpose=template, cause=str(error))
    except Exception:
        logger.exception("A mail could not be sent", purpose=template)


async def _find_link(purposes: Collection[Purpose], token: str) -> LinkToken | None:
    links = LinkToken.filter(
        token_hash=hash_token(token),
        purpose__in=list(purposes),
        expires_at__gt=datetime.now(UTC),
        user__is_active=True,
    )
    link = await links.select_related("user").get_or_none()
    if link is None or not _leads_to(link, link.user):
        record(Event.LINK_REFUSED, actor=None, target=link.user.id if link else None)
        return None
    return link


def _leads_to(link: LinkToken, user: User) -> bool:
    """Tell whether a link was sent to a user's address, or to the one that will replace it."""
    return link.purpose == Purpose.NEW_ADDRESS or link.email == user.email


async def _use(link: LinkToken) -> User | None:
    """Lock a link's user, and delete the link, unless what it was found with has changed."""
    user = await lock_user(link.user.id)
    unchanged = (
        user is not None
        and user.is_active
        and user.hashed_password == link.user.hashed_password
        and _leads_to(link, user)
        and await LinkToken.filter(id=link.id).delete()
    )
    if not unchanged:
        record(Event.LINK_REFUSED, actor=None, target=link.user.id, purpose=link.purpose)
        return None
    return user


async def reset_password(token: str, password: str) -> User | None:
    """Set a new password with a link's token, and end all sessions.

    Returns:
        The user; None if the token was not good. Of several that try at once, one succeeds.

    Raises:
        BusyError: too many passwords are being checked.
        UnacceptableError: the new password must not be used.
    """
    link = await _find_link([Purpose.RESET], token)
    if link is None:
        return None
    check_password(password, link.user.username, link.user.email)
    hashed = await hash_password(password)
    async with in_transaction():
        user = await _use(link)
        if user is None:
            return None
        await User.filter(id=user.id).update(hashed_password=hashed, is_verified=True)
        ended = await Session.filter(user_id=user.id).delete()
        await LinkToken.filter(user_id=user.id).delete()
    record(Event.PASSWORD_RESET, actor=None, target=user.id, ended_sessions=ended)
    return user


async def confirm_email(token: str) -> tuple[User, str] | None:
    """Confirm an address with a link's token; a new address replaces the old one.

    Returns:
        The user as before and the confirmed address; None if the token was not good. Of several
        that try at once, one succeeds.

    Raises:
        ConflictError: the new address is another user's by now.
    """
    link = await _find_link([Purpose.VERIFICATION, Purpose.NEW_ADDRESS], token)
    if link is None:
        return None
    try:
        async with in_transaction():
            user = await _use(link)
            if user is None:
                return None
            await User.filter(id=user.id).update(email=link.email, is_verified=True)
            if user.email != link.email:
                await LinkToken.filter(user_id=user.id, purpose__in=LINKS).delete()
    except IntegrityError:
        raise ConflictError("The e-mail address cannot be used.") from None
    event = Event.EMAIL_CONFIRMED if user.email == link.email else Event.EMAIL_CHANGED
    record(event, actor=None, target=user.id)
    return user, link.email
