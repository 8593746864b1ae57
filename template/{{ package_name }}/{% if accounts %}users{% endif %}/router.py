from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, HTTPException, Query
from pydantic import Secret

from ..api import TEXT, Cursor, Id, Limit, Page, next_cursor
from ..auth import service as auth
from ..auth.dependencies import (
    Administrator,
    CurrentSession,
    CurrentUser,
    LoginThrottle,
    ResetThrottle,
    SignUpThrottle,
    Throttle,
)
from ..auth.passwords import verify_password
from ..database.models import User
from ..errors import problems
from . import service
from .schemas import Confirmation, PasswordChange, ProfileChange, SignUp, UserChange, UserRead

NO_USER = "There is no such user."
DENIED = "The password is wrong."

Search = Annotated[
    str,
    Query(max_length=100, pattern=TEXT, description="A part of the name or of the address"),
]

router = APIRouter(prefix="/users", tags=["users"], responses=problems(503))


@router.post("", status_code=201, response_model=UserRead, responses=problems(400, 409, 413, 429))
async def sign_up(body: SignUp, throttle: SignUpThrottle, background: BackgroundTasks) -> User:
    """Make an account; a link to confirm the e-mail address is mailed."""
    await throttle(body.email)
    user = await service.sign_up(body.username, body.email, body.password.get_secret_value())
    background.add_task(auth.send_link, auth.Purpose.VERIFICATION, user.email)
    return user


@router.get("/me", response_model=UserRead, responses=problems(401))
async def read_me(user: CurrentUser) -> User:
    return user


async def _confirm(user: User, password: Secret[str], throttle: Throttle) -> None:
    await throttle(user.username)
    matches, _ = await verify_password(password.get_secret_value(), user.hashed_password)
    if not matches:
        raise HTTPException(403, DENIED)


@router.patch("/me", response_model=UserRead, responses=problems(400, 401, 403, 409, 413, 429))
async def change_me(
    body: ProfileChange,
    user: CurrentUser,
    throttle: LoginThrottle,
    mail_throttle: ResetThrottle,
    background: BackgroundTasks,
) -> User:
    """Change the name or, with the password, the e-mail address, which is then to be confirmed."""
    if body.email and body.email != user.email:  # whoever has it can reset the password
        await _confirm(user, body.current_password, throttle)
        await mail_throttle(body.email)
    changes = body.model_dump(exclude_unset=True, exclude={"current_password"})
    if await service.change_profile(user, changes):
        background.add_task(auth.send_link, auth.Purpose.VERIFICATION, user.email)
    return user


@router.put("/me/password", status_code=204, responses=problems(400, 401, 403, 409, 413, 429))
async def change_my_password(
    body: PasswordChange, session: CurrentSession, throttle: LoginThrottle
) -> None:
    """Change the password and end all other sessions."""
    await throttle(session.user.username)
    current, new = body.current_password.get_secret_value(), body.new_password.get_secret_value()
    if not await auth.change_password(session, current, new):
        raise HTTPException(403, DENIED)


@router.delete("/me", status_code=204, responses=problems(400, 401, 403, 409, 413, 429))
async def remove_me(body: Confirmation, user: CurrentUser, throttle: LoginThrottle) -> None:
    """Delete the own account, with everything that belongs to it."""
    await _confirm(user, body.password, throttle)
    await service.remove_user(user.id)


@router.get("", responses=problems(401, 403))
async def list_users(
    _: Administrator, search: Search = "", limit: Limit = 20, cursor: Cursor = 0
) -> Page[UserRead]:
    """List users, oldest first."""
    users = await service.list_users(search, cursor, limit + 1)
    items = [UserRead.model_validate(user) for user in users[:limit]]
    return Page(items=items, next=next_cursor([user["id"] for user in users], limit))


@router.get("/{user_id}", response_model=UserRead, responses=problems(401, 403, 404))
async def read_user(user_id: Id, _: Administrator) -> User:
    user = await service.find_user(user_id)
    if user is None:
        raise HTTPException(404, NO_USER)
    return user


@router.patch(
    "/{user_id}", response_model=UserRead, responses=problems(400, 401, 403, 404, 409, 413)
)
async def change_user(user_id: Id, body: UserChange, _: Administrator) -> User:
    """Activate, deactivate, promote or demote a user."""
    user = await service.change_user(user_id, body.model_dump(exclude_unset=True))
    if user is None:
        raise HTTPException(404, NO_USER)
    return user


@router.delete("/{user_id}", status_code=204, responses=problems(401, 403, 404, 409))
async def remove_user(user_id: Id, _: Administrator) -> None:
    if not await service.remove_user(user_id):
        raise HTTPException(404, NO_USER)
