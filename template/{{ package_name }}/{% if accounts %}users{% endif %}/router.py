from typing import Annotated, NamedTuple

from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException, Query
from pydantic import Secret

from ..api import TEXT, Cursor, Id, Limit, Page, next_cursor
from ..auth import links
from ..auth import service as auth
from ..auth.dependencies import (
    Administrator,
    AdministratorSession,
    CurrentSession,
    CurrentUser,
)
from ..auth.schemas import AccessToken
from ..auth.throttling import (
    Attempts,
    CountedRoute,
    EmailAttempts,
    PasswordAttempts,
    RenameAttempts,
    SignUpAttempts,
    note_client,
)
from ..database.models import Session, User
from ..errors import problems
from . import service
from .schemas import Confirmation, PasswordChange, ProfileChange, SignUp, UserChange, UserRead

NO_USER = "There is no such user."
DENIED = "The password is wrong."

Search = Annotated[
    str,
    Query(max_length=100, pattern=TEXT, description="A part of the name or of the address"),
]

router = APIRouter(
    prefix="/users",
    tags=["users"],
    route_class=CountedRoute,
    dependencies=[Depends(note_client)],
    responses=problems(503),
)


@router.post("", status_code=201, response_model=UserRead, responses=problems(400, 409, 413, 429))
async def sign_up(
    body: SignUp, attempts: SignUpAttempts, emails: EmailAttempts, background: BackgroundTasks
) -> User:
    """Create an account; a link to confirm the email address is sent."""
    await attempts.count_account(body.email)
    user = await service.sign_up(body.username, body.email, body.password.get_secret_value())
    if await emails.allows(user.email):
        background.add_task(links.send_link, auth.Purpose.VERIFICATION, user.email)
    return user


@router.get("/me", response_model=UserRead, responses=problems(401))
async def read_me(user: CurrentUser) -> User:
    return user


async def _confirm(session: Session, password: Secret[str], attempts: PasswordAttempts) -> None:
    await attempts.count_user(session.user.id)
    if not await auth.confirm_password(session, password.get_secret_value()):
        raise HTTPException(403, DENIED)


class ChangeAttempts(NamedTuple):
    passwords: Attempts
    names: Attempts
    emails: Attempts


async def _change_attempts(
    passwords: PasswordAttempts, names: RenameAttempts, emails: EmailAttempts
) -> ChangeAttempts:
    return ChangeAttempts(passwords, names, emails)


@router.patch("/me", response_model=UserRead, responses=problems(400, 401, 403, 409, 413, 429))
async def change_me(
    body: ProfileChange,
    session: CurrentSession,
    attempts: Annotated[ChangeAttempts, Depends(_change_attempts)],
    background: BackgroundTasks,
) -> User:
    """Change the name or, with the password, the email address.

    A new address replaces the present one when the link that is sent to it is followed.
    """
    user = session.user
    username = body.username if body.username != user.username else ""
    email = body.email if body.email != user.email else ""
    if email:  # whoever has it can reset the password
        await _confirm(session, body.current_password, attempts.passwords)
        await attempts.emails.count_user(user.id, wide=True)
        await attempts.emails.count_account(email)
    if username:
        await attempts.names.count_user(user.id)
    if not (username or email):
        return user
    user, token = await service.change_profile(session, username, email)
    if token:
        background.add_task(links.send_email, auth.Purpose.NEW_ADDRESS, email, user.username, token)
    return user


@router.put("/me/password", responses=problems(400, 401, 403, 409, 413, 429))
async def change_my_password(
    body: PasswordChange,
    session: CurrentSession,
    attempts: PasswordAttempts,
    background: BackgroundTasks,
) -> AccessToken:
    """Change the password, end all other sessions, and replace this session's token."""
    await _confirm(session, body.current_password, attempts)
    token = await auth.change_password(session, body.new_password.get_secret_value())
    user = session.user
    background.add_task(links.send_email, links.Notice.PASSWORD, user.email, user.username)
    return AccessToken(access_token=token, expires_in=auth.seconds_left(session))


@router.delete("/me", status_code=204, responses=problems(400, 401, 403, 409, 413, 429))
async def remove_me(
    body: Confirmation, session: CurrentSession, attempts: PasswordAttempts
) -> None:
    """Delete your own account, with everything that belongs to it."""
    await _confirm(session, body.password, attempts)
    await service.remove_me(session)


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
async def change_user(user_id: Id, body: UserChange, session: AdministratorSession) -> User:
    """Activate, deactivate, promote or demote a user."""
    user = await service.change_user(session, user_id, body.model_dump(exclude_unset=True))
    if user is None:
        raise HTTPException(404, NO_USER)
    return user


@router.delete("/{user_id}", status_code=204, responses=problems(401, 403, 404, 409))
async def remove_user(user_id: Id, session: AdministratorSession) -> None:
    if not await service.remove_user(session, user_id):
        raise HTTPException(404, NO_USER)
