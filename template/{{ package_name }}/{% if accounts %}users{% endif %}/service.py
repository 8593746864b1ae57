"""Users: signing up, finding, changing and removing them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from tortoise.exceptions import IntegrityError
from tortoise.expressions import Q
from tortoise.queryset import ValuesQuery
from tortoise.transactions import in_transaction

from ..api import ConflictError
from ..auth.events import Event, record
from ..auth.links import create_link
from ..auth.passwords import check_password, hash_password
from ..auth.service import Purpose, hold, hold_administrator, lock_user
from ..database import compiled
from ..database.models import LinkToken, Session, User
from .schemas import UserRead, normalise

CHANGES = {
    ("is_active", True): Event.USER_ACTIVATED,
    ("is_active", False): Event.USER_DEACTIVATED,
    ("is_admin", True): Event.USER_PROMOTED,
    ("is_admin", False): Event.USER_DEMOTED,
}


async def sign_up(
    username: str, email: str, password: str, *, as_administrator: bool = False
) -> User:
    """Create an account with a normalised name and address.

    Raises:
        BusyError: too many passwords are being hashed.
        ConflictError: the name or the address is taken.
        UnacceptableError: the password must not be used.
    """
    check_password(password, username, email)
    hashed = await hash_password(password)
    try:
        user = await User.create(
            username=username,
            email=email,
            hashed_password=hashed,
            is_admin=as_administrator,
            is_verified=as_administrator,
        )
    except IntegrityError:
        raise await _conflict(username) from None
    record(Event.USER_CREATED, actor=None, target=user.id)
    return user


async def _conflict(username: str) -> ConflictError:
    """Say whether a name is taken; of an address, no more than has to be said."""
    if await User.exists(username=username):
        return ConflictError("The user name is taken.")
    return ConflictError("The e-mail address cannot be used.")


@compiled
def _list_users(after: int, limit: int) -> ValuesQuery[Literal[False]]:
    return User.filter(id__gt=after).order_by("id").limit(limit).values(*UserRead.model_fields)


async def list_users(search: str, after: int, limit: int) -> list[dict[str, Any]]:
    """List at most `limit` users with a text in name or address, oldest first, from `after` on.

    They are rows: instances of the model, which nothing changes here, take six times as long.
    """
    if not search:
        return await _list_users(after, limit)
    part = normalise(search)
    users = User.filter(Q(username__contains=part) | Q(email__contains=part), id__gt=after)
    return await users.order_by("id").limit(limit).values(*UserRead.model_fields)


async def find_user(user_id: int) -> User | None:
    return await User.get_or_none(id=user_id)


async def change_profile(session: Session, username: str, email: str) -> tuple[User, str]:
    """Change the name of a session's user, and begin to change the address.

    Args:
        session: the session.
        username: the new name, or nothing.
        email: the new address, or nothing. It counts when its owner has confirmed it.

    Returns:
        The user, and the token of the link that confirms the new address, or nothing.

    Raises:
        ConflictError: the name or the address is taken, or something was changed meanwhile.
        SessionEndedError: the session has ended meanwhile.
    """
    token = ""
    try:
        async with in_transaction():
            user = await hold(session)
            if (user.username, user.email) != (session.user.username, session.user.email):
                raise ConflictError("The account has just been changed elsewhere.")
            if email:
                if await User.exists(email=email):
                    raise await _conflict("")
                await LinkToken.filter(user_id=user.id, purpose=Purpose.NEW_ADDRESS).delete()
                token = await create_link(user, Purpose.NEW_ADDRESS, email)
            if username:
                await User.filter(id=user.id).update(username=username)
                user.username = username
    except IntegrityError:
        raise await _conflict(username) from None
    if token:
        record(Event.LINK_SENT, actor=None, target=user.id, purpose=Purpose.NEW_ADDRESS)
    if username:
        record(Event.USER_RENAMED, actor=user.id, target=user.id)
    return user, token


async def change_user(session: Session, user_id: int, changes: dict[str, bool]) -> User | None:
    """Activate, deactivate, promote or demote a user; deactivation ends the sessions.

    Args:
        session: an administrator's.
        user_id: whose account changes.
        changes: the new values of `is_active` and `is_admin`; what is absent stays.

    Returns:
        The user; None if there is none.

    Raises:
        ConflictError: no administrator would be left, or the administrator's password was changed.
        ForbiddenError: the session's user is no administrator any more.
        SessionEndedError: the session has ended meanwhile.
    """
    async with _keep_an_administrator():
        administrator = await hold_administrator(session)
        before = await lock_user(user_id)
        if before is None:
            return None
        if changes:
            await User.filter(id=user_id).update(**changes)
        if not changes.get("is_active", before.is_active):
            await Session.filter(user_id=user_id).delete()
            await LinkToken.filter(user_id=user_id).delete()
        user = await find_user(user_id)
    for name, value in changes.items():
        if value != getattr(before, name):
            record(CHANGES[name, value], actor=administrator.id, target=user_id)
    return user


async def remove_user(session: Session, user_id: int) -> bool:
    """Delete a user, with the sessions, for an administrator.

    Returns:
        Whether there was one.

    Raises:
        ConflictError: no administrator would be left, or the administrator's password was changed.
        ForbiddenError: the session's user is no administrator any more.
        SessionEndedError: the session has ended meanwhile.
    """
    async with _keep_an_administrator():
        administrator = await hold_administrator(session)
        removed = await User.filter(id=user_id).delete()
    if removed:
        record(Event.USER_DELETED, actor=administrator.id, target=user_id)
    return bool(removed)


async def remove_me(session: Session) -> None:
    """Delete the user of a session, with all sessions.

    Raises:
        ConflictError: no administrator would be left, or the password was changed meanwhile.
        SessionEndedError: the session has ended meanwhile.
    """
    async with _keep_an_administrator():
        user = await hold(session)
        await User.filter(id=user.id).delete()
    record(Event.USER_DELETED, actor=user.id, target=user.id)


async def promote(user: User, password: str) -> None:
    """Make an existing account an administrator's, with a new password and without its sessions.

    Raises:
        BusyError: too many passwords are being hashed.
        ConflictError: the account was changed meanwhile.
        UnacceptableError: the password must not be used.
    """
    check_password(password, user.username, user.email)
    hashed = await hash_password(password)
    async with in_transaction():
        now = await lock_user(user.id)
        if now is None or (now.username, now.email) != (user.username, user.email):
            raise ConflictError("The account has just been changed.")
        await User.filter(id=user.id).update(
            hashed_password=hashed, is_admin=True, is_active=True, is_verified=True
        )
        ended = await Session.filter(user_id=user.id).delete()
        await LinkToken.filter(user_id=user.id).delete()
    record(Event.USER_PROMOTED, actor=None, target=user.id, ended_sessions=ended)


@asynccontextmanager
async def _keep_an_administrator() -> AsyncIterator[None]:
    """Undo what is done inside if it removes the last active administrator."""
    administrators = User.filter(is_admin=True, is_active=True)
    async with in_transaction():
        # This UPDATE locks all administrators' rows, so concurrent removals wait
        await User.filter(is_admin=True).update(is_admin=True)
        before = await administrators.exists()
        yield
        if before and not await administrators.exists():
            raise ConflictError("No administrator would be left: make another one first.")
