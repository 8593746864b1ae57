"""Logins, their sessions, and the tokens of the links in mails."""

import secrets
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256

import structlog
from aiosmtplib import SMTPException
from tortoise.queryset import QuerySet
from tortoise.transactions import in_transaction

from ..api import ConflictError
from ..database import compiled
from ..database.models import LinkToken, Session, User
from ..settings import settings
from ..users.schemas import EMAIL_LENGTH, USERNAME_LENGTH, normalise
from . import mail
from .passwords import check_password, hash_password, verify_password

PREFIX = "session_"  # for those who look for leaked tokens
LAST_USE_STEP = timedelta(minutes=1)
LINK_LIFETIME = timedelta(hours=1)

logger = structlog.stdlib.get_logger(__name__)


class Purpose(StrEnum):
    """What a link is for; also the name of the mail's template."""

    VERIFICATION = "verification"
    RESET = "reset"


class UnverifiedError(Exception):
    """The user has to confirm the e-mail address first."""


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()


async def _find_user(name: str) -> User | None:
    field, length = ("email", EMAIL_LENGTH) if "@" in name else ("username", USERNAME_LENGTH)
    if len(name) > length:  # Tortoise raises an error
        return None
    user = await User.filter(**{field: name}).get_or_none()
    # Some databases find a name without the spaces behind it, whose attempts count apart
    return user if user and getattr(user, field) == name else None


async def log_in(login: str, password: str, device: str) -> str | None:
    """Open a session.

    Args:
        login: the user name or the e-mail address.
        password: the password.
        device: what the session is known by to its user.

    Returns:
        The session's token, or None if that is no active user's name and password.

    Raises:
        BusyError: too many passwords are being checked.
        UnverifiedError: the settings ask for a confirmed address, and this one is not.
    """
    user = await _find_user(normalise(login))
    hashed = user.hashed_password if user else None
    matches, rehashed = await verify_password(password, hashed)
    if user is None or not matches or not user.is_active:
        return None
    if settings.login_needs_verification and not user.is_verified:
        raise UnverifiedError
    token = PREFIX + secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    await Session.filter(user_id=user.id, expires_at__lte=now).delete()
    async with in_transaction():
        # This locks the row: a change of the password revokes the session, or prevents it
        unchanged = User.filter(id=user.id, hashed_password=hashed, is_active=True)
        if not await unchanged.update(last_login_at=now, hashed_password=rehashed or hashed):
            return None
        await Session.create(
            user_id=user.id,
            token_hash=_hash(token),
            device=device,
            created_at=now,
            last_used_at=now,
            expires_at=now + timedelta(days=settings.session_days),
        )
    return token


@compiled
def _live_session(token_hash: str, now: datetime) -> QuerySet[Session]:
    live = Session.filter(token_hash=token_hash, expires_at__gt=now, user__is_active=True)
    return live.select_related("user")


async def find_session(token: str) -> Session | None:
    """Find the session of a token together with its active user, with one query."""
    if not token.startswith(PREFIX):
        return None
    now = datetime.now(UTC)
    session = next(iter(await _live_session(_hash(token), now)), None)
    if session and session.last_used_at < now - LAST_USE_STEP:
        await Session.filter(id=session.id).update(last_used_at=now)
    return session


async def list_sessions(user: User, after: int, limit: int) -> list[Session]:
    """List at most `limit` of a user's sessions, oldest first, from the id `after` on."""
    now = datetime.now(UTC)
    sessions = Session.filter(user_id=user.id, id__gt=after, expires_at__gt=now)
    return await sessions.order_by("id").limit(limit)


async def end_sessions(user: User, session_id: int | None = None) -> bool:
    """End one of a user's sessions, or all.

    Returns:
        Whether there was one.
    """
    sessions = Session.filter(user_id=user.id)
    if session_id is not None:
        sessions = sessions.filter(id=session_id)
    return bool(await sessions.delete())


async def change_password(session: Session, current: str, new: str) -> bool:
    """Change the password of a session's user and end all other sessions.

    Returns:
        Whether the current password was right.

    Raises:
        BusyError: too many passwords are being checked.
        ConflictError: the password was changed meanwhile.
        UnacceptableError: the new password must not be used.
    """
    user = session.user
    check_password(new, user.username, user.email)
    matches, _ = await verify_password(current, user.hashed_password)
    if not matches:
        return False
    hashed = await hash_password(new)
    async with in_transaction():
        unchanged = User.filter(id=user.id, hashed_password=user.hashed_password)
        if not await unchanged.update(hashed_password=hashed):
            raise ConflictError("The password has just been changed elsewhere.")
        await LinkToken.filter(user_id=user.id, purpose=Purpose.RESET).delete()
        await Session.filter(user_id=user.id).exclude(id=session.id).delete()
    return True


async def send_link(purpose: Purpose, email: str) -> None:
    """Send the user with an address a link; do nothing if there is none, or no need.

    It is for after the response, which would tell by its time who has an account; it raises
    nothing, but logs what went wrong.
    """
    try:
        user = await User.get_or_none(email=email, is_active=True)
        if user is None or (purpose is Purpose.VERIFICATION and user.is_verified):
            return
        token = secrets.token_urlsafe(32)
        link = await LinkToken.create(
            user_id=user.id,
            token_hash=_hash(token),
            purpose=purpose,
            email=email,
            expires_at=datetime.now(UTC) + LINK_LIFETIME,
        )
        await mail.send(email, purpose, username=user.username, token=token)
        await LinkToken.filter(user_id=user.id, purpose=purpose, id__lt=link.id).delete()
    except (OSError, SMTPException) as error:  # the server's fault, and so without a traceback
        logger.warning("A mail could not be sent", purpose=purpose, cause=str(error))
    except Exception:
        logger.exception("A mail could not be sent", purpose=purpose)


async def _find_link(purpose: Purpose, token: str) -> LinkToken | None:
    """Find a link's token and its user, whose address must still be the one it was sent to."""
    links = LinkToken.filter(
        token_hash=_hash(token),
        purpose=purpose,
        expires_at__gt=datetime.now(UTC),
        user__is_active=True,
    )
    link = await links.select_related("user").get_or_none()
    return link if link and link.email == link.user.email else None


async def reset_password(token: str, password: str) -> bool:
    """Set a new password with a link's token, and end all sessions.

    Returns:
        Whether the token was good. Of several that try at once, one succeeds.

    Raises:
        BusyError: too many passwords are being checked.
        UnacceptableError: the new password must not be used.
    """
    link = await _find_link(Purpose.RESET, token)
    if link is None:
        return False
    check_password(password, link.user.username, link.user.email)
    hashed = await hash_password(password)
    return await _spend(link, hashed_password=hashed)


async def verify_email(token: str) -> bool:
    """Confirm an e-mail address with a link's token.

    Returns:
        Whether the token was good. Of several that try at once, one succeeds.
    """
    link = await _find_link(Purpose.VERIFICATION, token)
    if link is None:
        return False
    return await _spend(link)


async def _spend(link: LinkToken, **changes: str) -> bool:
    """Change a link's user, whose address is thereby confirmed; a new password ends all sessions."""
    async with in_transaction() as transaction:
        # the user first, as everywhere: locks taken in another order wait for each other
        user = User.filter(id=link.user.id, email=link.email)
        await user.update(is_verified=True, **changes)
        if not (await user.exists() and await LinkToken.filter(id=link.id).delete()):
            await transaction.rollback()
            return False
        if changes:
            await Session.filter(user_id=link.user.id).delete()
    return True
