"""Users: signing up, finding, changing and removing them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from tortoise.exceptions import IntegrityError
from tortoise.expressions import Q
from tortoise.queryset import ValuesQuery
from tortoise.transactions import in_transaction

from ..api import ConflictError
from ..auth.passwords import check_password, hash_password
from ..database import compiled
from ..database.models import LinkToken, Session, User
from .schemas import UserRead, normalise


async def sign_up(username: str, email: str, password: str) -> User:
    """Make an account of a normalised name and address.

    Raises:
        BusyError: too many passwords are being hashed.
        ConflictError: the name or the address is taken.
        UnacceptableError: the password must not be used.
    """
    check_password(password, username, email)
    hashed = await hash_password(password)
    try:
        return await User.create(username=username, email=email, hashed_password=hashed)
    except IntegrityError:
        raise await _conflict(username) from None


async def _conflict(username: str, but: int = 0) -> ConflictError:
    """Say what stands against a name and an address, and no more of an address than it must."""
    if await User.filter(username=username).exclude(id=but).exists():
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


async def change_profile(user: User, changes: dict[str, str]) -> bool:
    """Change a user's name and address in place.

    Returns:
        Whether the address changed, which then has to be confirmed again.

    Raises:
        ConflictError: the name or the address is taken.
    """
    new_email = changes.get("email", user.email) != user.email
    user.update_from_dict({**changes, "is_verified": user.is_verified and not new_email})
    try:
        await user.save(update_fields=["username", "email", "is_verified"])
    except IntegrityError:
        raise await _conflict(user.username, but=user.id) from None
    return new_email


async def change_user(user_id: int, changes: dict[str, bool]) -> User | None:
    """Activate, deactivate, promote or demote a user; deactivation ends the sessions.

    Raises:
        ConflictError: no administrator would be left.
    """
    async with _administrator_left():
        if changes:
            await User.filter(id=user_id).update(**changes)
        user = await find_user(user_id)
        if user and not user.is_active:
            await Session.filter(user_id=user_id).delete()
            await LinkToken.filter(user_id=user_id).delete()
    return user


async def remove_user(user_id: int) -> bool:
    """Delete a user, with the sessions.

    Returns:
        Whether there was one.

    Raises:
        ConflictError: no administrator would be left.
    """
    async with _administrator_left():
        return bool(await User.filter(id=user_id).delete())


@asynccontextmanager
async def _administrator_left() -> AsyncIterator[None]:
    """Undo what is done inside if it takes the last active administrator."""
    administrators = User.filter(is_admin=True, is_active=True)
    async with in_transaction():
        # Writing locks the rows in every database: who removes another one has to wait
        await User.filter(is_admin=True).update(is_admin=True)
        before = await administrators.exists()
        yield
        if before and not await administrators.exists():
            raise ConflictError("No administrator would be left: make another one first.")
