"""Routes of signing up and of your own account."""

from fastapi import APIRouter
from pydantic import Secret

from ..auth import passwords
from ..auth.account_limits import LINK, PASSWORD, RENAME, SIGN_UP
from ..auth.dependencies import CurrentSession, CurrentUser
from ..auth.outbox import EmailOutbox
from ..auth.schemas import AccessToken
from ..auth.sessions import seconds_left
from ..database.models import Session, User
from ..problems import problems
from . import service
from .schemas import Confirmation, PasswordChange, ProfileChange, SignUp, UserRead

router = APIRouter(prefix="/users", tags=["users"], responses=problems(503))


@router.post(
    "",
    status_code=201,
    response_model=UserRead,
    dependencies=[SIGN_UP.per_address()],
    responses=problems(400, 409, 413, 429),
)
async def sign_up(body: SignUp, outbox: EmailOutbox) -> User:
    """Create an account; a link to confirm the email address is sent."""
    await SIGN_UP.count_account(body.email)
    password = body.password.get_secret_value()
    return await service.sign_up(body.username, body.email, password, outbox)


@router.get("/me", response_model=UserRead, responses=problems(401))
async def read_me(user: CurrentUser) -> User:
    return user


async def _confirm(session: Session, password: Secret[str]) -> None:
    await PASSWORD.count_user(session.user.id)
    await passwords.confirm_password(session, password.get_secret_value())


@router.patch("/me", response_model=UserRead, responses=problems(400, 401, 403, 409, 413, 429))
async def change_me(body: ProfileChange, session: CurrentSession, outbox: EmailOutbox) -> User:
    """Change the name or, with the password, the email address.

    A new address takes effect when the user opens the link that is sent to it.
    """
    user = session.user
    username = body.username if body.username != user.username else ""
    email = body.email if body.email != user.email else ""
    if email:  # its owner can reset the password
        await _confirm(session, body.current_password)
        await LINK.count_user(user.id, wide=True)
        await LINK.count_account(email)
    if username:
        await RENAME.count_user(user.id)
    if not (username or email):
        return user
    return await service.change_profile(session, username, email, outbox)


@router.put("/me/password", responses=problems(400, 401, 403, 409, 413, 429))
async def change_password(
    body: PasswordChange, session: CurrentSession, outbox: EmailOutbox
) -> AccessToken:
    """Change the password, end all other sessions, and replace this session's token."""
    await _confirm(session, body.current_password)
    new = body.new_password.get_secret_value()
    token = await passwords.change_password(session, new, outbox.notify)
    return AccessToken(access_token=token, expires_in=seconds_left(session))


@router.delete("/me", status_code=204, responses=problems(400, 401, 403, 409, 413, 429))
async def remove_me(body: Confirmation, session: CurrentSession) -> None:
    """Delete your own account, with everything that belongs to it."""
    await _confirm(session, body.password)
    await service.remove_me(session)
