"""Logging in: finding the account, checking the password, opening a session."""

from datetime import UTC, datetime, timedelta

from tortoise.transactions import in_transaction

from ..database.models import Session, User
from ..settings import settings
from .client_address import remember_address
from .events import Event, record
from .exceptions import LoginFailedError, UnverifiedError
from .hashing import verify_password
from .identity import EMAIL_LENGTH, USERNAME_LENGTH, canonical_email, normalise
from .sessions import live_sessions
from .tokens import hash_token, new_session_token


def canonical_name(login: str) -> str:
    """Return the form in which a user name or an email address is stored, for one as entered."""
    name = normalise(login)
    return (canonical_email(login) or name) if "@" in name else name


async def find_account(login: str) -> User | None:
    """Find a user by the user name or the email address that was entered."""
    name = canonical_name(login)
    field, length = ("email", EMAIL_LENGTH) if "@" in name else ("username", USERNAME_LENGTH)
    if len(name) > length:  # Tortoise raises an error
        return None
    user = await User.filter(**{field: name}).get_or_none()
    # Some databases ignore spaces at the end when they compare
    return user if user and getattr(user, field) == name else None


async def log_in(user: User | None, password: str, device: str) -> str:
    """Open a session, and return its token.

    Args:
        user: the user with the name that was entered; None if there is none.
        password: what was entered.
        device: how the session is listed for its user.

    Raises:
        LoginFailedError: there is no such active user, or the password is wrong.
        OverloadedError: too many passwords are being checked.
        UnverifiedError: the settings require a confirmed address, and this one is not.
    """
    matches, rehashed = await verify_password(password, user.hashed_password if user else None)
    if user is None or not matches or not user.is_active:
        reason = "wrong password" if user and not matches else "inactive" if user else "no user"
        record(Event.LOGIN_FAILED, actor=None, target=user.id if user else None, reason=reason)
        raise LoginFailedError
    if settings.login_needs_verification and not user.is_verified:
        record(Event.LOGIN_FAILED, actor=None, target=user.id, reason="unconfirmed address")
        raise UnverifiedError
    token = new_session_token()
    session = await _open_session(user, rehashed, token, device)
    if session is None:  # the account has changed in the meantime: check everything again
        return await log_in(await User.get_or_none(id=user.id), password, device)
    await remember_address(user.id)
    record(Event.LOGGED_IN, actor=user.id, target=user.id, session=session.id)
    return token


async def _open_session(
    user: User, rehashed: str | None, token: str, device: str
) -> Session | None:
    """Store a session, unless the user was deactivated or has another password by now."""
    now = datetime.now(UTC)
    async with in_transaction("default"):
        # This locks the row: a change of the password revokes the session, or prevents it
        unchanged = User.filter(id=user.id, hashed_password=user.hashed_password, is_active=True)
        hashed = rehashed or user.hashed_password
        if not await unchanged.update(last_login_at=now, hashed_password=hashed):
            return None
        session = await Session.create(
            user_id=user.id,
            token_hash=hash_token(token),
            device=device,
            created_at=now,
            last_used_at=now,
            expires_at=now + timedelta(days=settings.session_days),
        )
        ended = await _end_surplus(user.id, now)
    for id_ in ended:
        reason = "too many sessions"
        record(Event.SESSION_ENDED, actor=user.id, target=user.id, session=id_, reason=reason)
    return session


async def _end_surplus(user_id: int, now: datetime) -> list[int]:
    """End a user's least recently used sessions above the maximum, and return their ids."""
    sessions = live_sessions(now).filter(user_id=user_id).order_by("-last_used_at", "-id")
    surplus = await sessions.offset(settings.sessions_per_user).limit(1000).values_list("id")
    ids = [int(row[0]) for row in surplus]
    if ids:
        await Session.filter(id__in=ids).delete()
    return ids
