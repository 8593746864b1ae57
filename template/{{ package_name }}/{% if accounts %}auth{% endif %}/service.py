"""Log-ins and their sessions."""

import secrets
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from tortoise.exceptions import IntegrityError
from tortoise.expressions import F
from tortoise.queryset import QuerySet
from tortoise.transactions import in_transaction

from ..api import ConflictError, ForbiddenError, SessionEndedError
from ..database import compiled
from ..database.models import LinkToken, Session, User
from ..settings import settings
from ..users.schemas import EMAIL_LENGTH, USERNAME_LENGTH, canonical_email, normalise
from .events import Event, client_address, record
from .passwords import check_password, hash_password, verify_password

PREFIX = "session_"  # for those who look for leaked tokens
LAST_USE_STEP = timedelta(minutes=1)
KNOWN_LIFETIME = timedelta(days=90)


class Purpose(StrEnum):
    """What a row of LinkToken is for; of links, also the name of the email's template."""

    VERIFICATION = "verification"
    RESET = "reset"
    NEW_ADDRESS = "new_address"
    KNOWN_ADDRESS = "known_address"  # no link: an IP address from which the user has logged in


class UnverifiedError(Exception):
    """The user has to confirm the e-mail address first."""


def hash_token(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _new_token() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def idle_since(now: datetime) -> datetime:
    """Return the time after which a session must have been used to be alive."""
    return now - timedelta(days=settings.session_idle_days)


async def find_account(login: str) -> User | None:
    """Find a user by what was typed as the user name or the e-mail address."""
    name = normalise(login)
    field, length = ("email", EMAIL_LENGTH) if "@" in name else ("username", USERNAME_LENGTH)
    if field == "email":
        name = canonical_email(name) or name
    if len(name) > length:  # Tortoise raises an error
        return None
    user = await User.filter(**{field: name}).get_or_none()
    # some databases find a name without the spaces behind it
    return user if user and getattr(user, field) == name else None


async def lock_user(user_id: int) -> User | None:
    """Lock a user's row until the transaction ends, and read it.

    It writes what the row holds already, which locks it in every database. Transactions lock users
    first, then their sessions, then their links: another order can end in a deadlock.
    """
    await User.filter(id=user_id).update(is_active=F("is_active"))
    return await User.get_or_none(id=user_id)


async def hold(session: Session) -> User:
    """Lock a session and its user until the transaction ends.

    What the request has checked before is true as well when it writes.

    Returns:
        The user as stored now.

    Raises:
        SessionEndedError: the session has ended, or its user is inactive or deleted.
        ConflictError: the password was changed meanwhile.
    """
    now = datetime.now(UTC)
    user = await lock_user(session.user.id)
    alive = Session.filter(
        id=session.id,
        token_hash=session.token_hash,
        expires_at__gt=now,
        last_used_at__gt=idle_since(now),
    )
    if user is None or not user.is_active or not await alive.update(last_used_at=now):
        raise SessionEndedError
    if user.hashed_password != session.user.hashed_password:
        raise ConflictError("The password has just been changed elsewhere.")
    return user


async def hold_administrator(session: Session) -> User:
    """Do the same for an administrator's session.

    Raises:
        SessionEndedError: the session has ended, or its user is inactive or deleted.
        ConflictError: the password was changed meanwhile.
        ForbiddenError: the user is no administrator any more.
    """
    user = await hold(session)
    if not user.is_admin:
        raise ForbiddenError("Only administrators may do this.")
    return user


async def log_in(user: User | None, password: str, device: str) -> str | None:
    """Open a session.

    Args:
        user: who was named; None if there is no such user.
        password: the password.
        device: what the session is known by to its user.

    Returns:
        The session's token, or None if that is no active user's password.

    Raises:
        BusyError: too many passwords are being checked.
        UnverifiedError: the settings ask for a confirmed address, and this one is not.
    """
    matches, rehashed = await verify_password(password, user.hashed_password if user else None)
    if user is None or not matches or not user.is_active:
        reason = "wrong password" if user and not matches else "inactive" if user else "no user"
        record(Event.LOGIN_FAILED, actor=None, target=user.id if user else None, reason=reason)
        return None
    if settings.login_needs_verification and not user.is_verified:
        record(Event.LOGIN_FAILED, actor=None, target=user.id, reason="unconfirmed address")
        raise UnverifiedError
    token = _new_token()
    session = await _open_session(user, rehashed, token, device)
    if session is None:  # the account has changed meanwhile, so what was checked counts no more
        return await log_in(await User.get_or_none(id=user.id), password, device)
    await _remember_address(user.id)
    record(Event.LOGGED_IN, actor=user.id, target=user.id, session=session.id)
    return token


async def _open_session(
    user: User, rehashed: str | None, token: str, device: str
) -> Session | None:
    now = datetime.now(UTC)
    async with in_transaction():
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
        ended = await _end_surplus(user.id)
    for id_ in ended:
        reason = "too many sessions"
        record(Event.SESSION_ENDED, actor=user.id, target=user.id, session=id_, reason=reason)
    return session


async def _end_surplus(user_id: int) -> list[int]:
    """End a user's least recently used sessions above the maximum, and return their ids."""
    sessions = Session.filter(user_id=user_id).order_by("-last_used_at", "-id")
    surplus = await sessions.offset(settings.sessions_per_user).limit(1000).values_list("id")
    ids = [int(row[0]) for row in surplus]
    if ids:
        await Session.filter(id__in=ids).delete()
    return ids


def _address_hash(user_id: int) -> str:
    return hash_token(f"{user_id} {client_address.get()}")


async def _remember_address(user_id: int) -> None:
    """Remember that a user logged in from the client's address."""
    expires_at = datetime.now(UTC) + KNOWN_LIFETIME
    known = LinkToken.filter(purpose=Purpose.KNOWN_ADDRESS, token_hash=_address_hash(user_id))
    if not await known.update(expires_at=expires_at):
        try:
            await LinkToken.create(
                user_id=user_id,
                token_hash=_address_hash(user_id),
                purpose=Purpose.KNOWN_ADDRESS,
                email="",
                expires_at=expires_at,
            )
        except IntegrityError:  # another log-in was faster, or the user is deleted
            return


async def is_known_address(user: User | None) -> bool:
    """Tell whether a user has logged in from the client's address lately."""
    return user is not None and await LinkToken.exists(
        purpose=Purpose.KNOWN_ADDRESS,
        token_hash=_address_hash(user.id),
        expires_at__gt=datetime.now(UTC),
    )


@compiled
def _live_session(token_hash: str, now: datetime, idle: datetime) -> QuerySet[Session]:
    live = Session.filter(
        token_hash=token_hash, expires_at__gt=now, last_used_at__gt=idle, user__is_active=True
    )
    return live.select_related("user")


async def find_session(token: str) -> Session | None:
    """Find the session of a token together with its active user, with one query."""
    if not token.startswith(PREFIX):
        return None
    now = datetime.now(UTC)
    session = next(iter(await _live_session(hash_token(token), now, idle_since(now))), None)
    if session and session.last_used_at < now - LAST_USE_STEP:
        await Session.filter(id=session.id).update(last_used_at=now)
    return session


def seconds_left(session: Session) -> int:
    """Return the time after which a session ends, however much it is used."""
    return int((session.expires_at - datetime.now(UTC)).total_seconds())


async def list_sessions(user: User, after: int, limit: int) -> list[Session]:
    """List at most `limit` of a user's sessions, oldest first, from the id `after` on."""
    now = datetime.now(UTC)
    sessions = Session.filter(
        user_id=user.id, id__gt=after, expires_at__gt=now, last_used_at__gt=idle_since(now)
    )
    return await sessions.order_by("id").limit(limit)


async def log_out(session: Session) -> None:
    """End a session.

    Raises:
        SessionEndedError: it has ended already.
    """
    if not await Session.filter(id=session.id, token_hash=session.token_hash).delete():
        raise SessionEndedError
    user = session.user.id
    record(Event.SESSION_ENDED, actor=user, target=user, session=session.id, reason="log-out")


async def end_session(session: Session, session_id: int) -> bool:
    """End a session of the user of a session.

    Returns:
        Whether there was one.

    Raises:
        SessionEndedError: the session that asks for it has ended.
        ConflictError: the password was changed meanwhile.
    """
    async with in_transaction():
        user = await hold(session)
        ended = await Session.filter(user_id=user.id, id=session_id).delete()
    if ended:
        reason = "by the user"
        record(
            Event.SESSION_ENDED, actor=user.id, target=user.id, session=session_id, reason=reason
        )
    return bool(ended)


async def end_all_sessions(session: Session) -> None:
    """End all sessions of the user of a session, that one included.

    Raises:
        SessionEndedError: the session that asks for it has ended.
        ConflictError: the password was changed meanwhile.
    """
    async with in_transaction():
        user = await hold(session)
        ended = await Session.filter(user_id=user.id).delete()
    record(Event.SESSIONS_ENDED, actor=user.id, target=user.id, count=ended, reason="by the user")


async def confirm_password(session: Session, password: str) -> bool:
    """Tell whether a password is that of a session's user.

    Raises:
        BusyError: too many passwords are being checked.
    """
    user = session.user
    matches, _ = await verify_password(password, user.hashed_password)
    if not matches:
        record(Event.CONFIRMATION_FAILED, actor=user.id, target=user.id)
    return matches


async def change_password(session: Session, new: str) -> str:
    """Change the password of a session's user, end all other sessions, and rotate the token.

    Args:
        session: the session, whose user has confirmed the current password.
        new: the new password.

    Returns:
        The session's new token; the old one ends.

    Raises:
        BusyError: too many passwords are being checked.
        ConflictError: the password was changed meanwhile.
        SessionEndedError: the session has ended meanwhile.
        UnacceptableError: the new password must not be used.
    """
    check_password(new, session.user.username, session.user.email)
    hashed = await hash_password(new)
    token = _new_token()
    async with in_transaction():
        user = await hold(session)
        await User.filter(id=user.id).update(hashed_password=hashed)
        await Session.filter(id=session.id).update(token_hash=hash_token(token))
        ended = await Session.filter(user_id=user.id).exclude(id=session.id).delete()
        await LinkToken.filter(user_id=user.id).exclude(purpose=Purpose.VERIFICATION).delete()
    await _remember_address(user.id)
    record(Event.PASSWORD_CHANGED, actor=user.id, target=user.id, ended_sessions=ended)
    return token
