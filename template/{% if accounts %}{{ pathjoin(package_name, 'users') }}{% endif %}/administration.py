"""What administrators do with users: list, find, change and remove them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from tortoise.expressions import Q
from tortoise.queryset import ValuesQuery
from tortoise.transactions import in_transaction

from ..auth.events import Event, record
from ..auth.hashing import hash_password
from ..auth.identity import normalise
from ..auth.password_policy import check_password
from ..auth.sessions import lock_administrator, lock_user, lock_users
from ..database.models import LinkToken, Session, User
from ..database.prepared import compiled
from ..exceptions import ConflictError, NotFoundError
from ..pagination import page_query
from .schemas import UserRead

NO_USER = "There is no such user."
CHANGES = {
    ("is_active", True): Event.USER_ACTIVATED,
    ("is_active", False): Event.USER_DEACTIVATED,
    ("is_admin", True): Event.USER_PROMOTED,
    ("is_admin", False): Event.USER_DEMOTED,
}


@compiled
def _list_all(cursor: int, limit: int) -> ValuesQuery[Literal[False]]:
    return User.filter(id__gt=cursor).order_by("id").limit(limit).values(*UserRead.model_fields)


async def list_users(search: str, limit: int, cursor: int) -> list[dict[str, Any]]:
    """List the users with a text in the name or the address, oldest first, and one more.

    It reads rows, not instances of the model, which take twice as long to read.
    """
    if not search:
        return await _list_all(cursor, limit + 1)
    part = normalise(search)
    users = User.filter(Q(username__contains=part) | Q(email__contains=part))
    return await page_query(users, limit, cursor).values(*UserRead.model_fields)


async def find_user(user_id: int) -> User:
    """Find a user, or raise a NotFoundError."""
    user = await User.get_or_none(id=user_id)
    if user is None:
        raise NotFoundError(NO_USER)
    return user


async def change_user(session: Session, user_id: int, changes: dict[str, bool]) -> User:
    """Activate, deactivate, promote or demote a user, for an administrator.

    The changes are new values of `is_active` and `is_admin`. Deactivation ends all sessions.

    Raises:
        NotFoundError: there is no such user.
        ConflictError: no administrator would be left, or the administrator's password was changed.
        ForbiddenError: the session's user is no administrator any more.
        SessionEndedError: the session has ended in the meantime.
    """
    async with keep_an_administrator(session.user.id, user_id):
        administrator = await lock_administrator(session)
        before = await lock_user(user_id)
        if before is None:
            raise NotFoundError(NO_USER)
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


async def remove_user(session: Session, user_id: int) -> None:
    """Delete a user, with all sessions, for an administrator. It raises the errors of `change_user`."""
    async with keep_an_administrator(session.user.id, user_id):
        administrator = await lock_administrator(session)
        if not await User.filter(id=user_id).delete():
            raise NotFoundError(NO_USER)
    record(Event.USER_DELETED, actor=administrator.id, target=user_id)


async def promote(user: User, password: str) -> None:
    """Make a user an administrator, set a new password and end all sessions.

    Raises:
        OverloadedError: too many passwords are being hashed.
        ConflictError: the account was changed in the meantime.
        RuleViolationError: the password is refused.
    """
    check_password(password, user.username, user.email)
    hashed = await hash_password(password)
    async with in_transaction("default"):
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
async def keep_an_administrator(*user_ids: int) -> AsyncIterator[None]:
    """Roll back what is done inside and raise a ConflictError if no active administrator is left.

    All administrators and the users that the block changes are locked first, so that concurrent
    changes wait.
    """
    administrators = User.filter(is_admin=True, is_active=True)
    async with in_transaction("default"):
        await lock_users(User.filter(Q(is_admin=True) | Q(id__in=user_ids)))
        before = await administrators.exists()
        yield
        if before and not await administrators.exists():
            raise ConflictError("No administrator would be left: promote another user first.")
