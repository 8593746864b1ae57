"""Routes of logging in and out, sessions, and links in emails."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Form, Header

from ..pagination import Cursor, Limit, Page
from ..problems import problems
from ..schemas import Id
from ..settings import settings
from . import links, login, passwords, sessions
from .account_limits import LINK, LOGIN
from .client_address import is_known_address
from .dependencies import CurrentSession
from .outbox import EmailOutbox
from .schemas import AccessToken, EmailRequest, EmailVerification, Login, PasswordReset, SessionRead
from .tokens import Purpose

DEVICE_LENGTH = 200
FORM_SIZE = 16_384  # bytes; to parse a megabyte can take more than a second

router = APIRouter(prefix="/auth", tags=["auth"], responses=problems(503))
link_router = APIRouter(dependencies=[LINK.per_address()], responses=problems(400, 413, 429))


@router.post(
    "/token",
    max_body_size=FORM_SIZE,
    dependencies=[LOGIN.per_address()],
    responses=problems(400, 401, 403, 413, 429),
)
async def log_in(
    form: Annotated[Login, Form()], user_agent: Annotated[str, Header()] = ""
) -> AccessToken:
    """Log in with the user name or the email address, and open a session."""
    user = await login.find_account(form.username)
    await LOGIN.count_account(login.canonical_name(form.username), partial(is_known_address, user))
    # A header need not be text that every database can store
    device = "".join(c for c in user_agent[:DEVICE_LENGTH] if c.isprintable())
    token = await login.log_in(user, form.password.get_secret_value(), device)
    return AccessToken(access_token=token, expires_in=settings.session_days * 24 * 60 * 60)


@router.post("/logout", status_code=204, responses=problems(401))
async def log_out(session: CurrentSession) -> None:
    """End the session that is used for this request."""
    await sessions.log_out(session)


@router.get("/sessions", responses=problems(401))
async def list_sessions(
    session: CurrentSession, limit: Limit = settings.page_size, cursor: Cursor = 0
) -> Page[SessionRead]:
    """List the devices that are logged in."""
    return await sessions.list_sessions(session, limit, cursor)


@router.delete("/sessions", status_code=204, responses=problems(401, 409))
async def log_out_everywhere(session: CurrentSession) -> None:
    """End all sessions, including the one that is used for this request."""
    await sessions.end_all_sessions(session)


@router.delete("/sessions/{session_id}", status_code=204, responses=problems(401, 404, 409))
async def log_out_device(session_id: Id, session: CurrentSession) -> None:
    """End the session of one device."""
    await sessions.end_session(session, session_id)


async def _count_link(email: str) -> None:
    async def is_known() -> bool:
        return await is_known_address(await login.find_account(email))

    await LINK.count_account(email, is_known)


@link_router.post("/password-reset", status_code=202)
async def request_password_reset(body: EmailRequest, outbox: EmailOutbox) -> None:
    """Send a link that sets a new password; the answer does not show whether it is sent."""
    await _count_link(body.email)
    await outbox.send_link(Purpose.RESET, body.email)


@link_router.post("/password-reset/confirm", status_code=204, responses=problems(409))
async def reset_password(body: PasswordReset, outbox: EmailOutbox) -> None:
    """Set a new password with the token of a link, and end all sessions."""
    token, password = body.token.get_secret_value(), body.password.get_secret_value()
    await passwords.reset_password(token, password, outbox.notify)


@link_router.post("/email-verification", status_code=202)
async def request_email_verification(body: EmailRequest, outbox: EmailOutbox) -> None:
    """Send a link that confirms the address; the answer does not show whether it is sent."""
    await _count_link(body.email)
    await outbox.send_link(Purpose.VERIFICATION, body.email)


@link_router.post("/email-verification/confirm", status_code=204, responses=problems(409))
async def verify_email(body: EmailVerification, outbox: EmailOutbox) -> None:
    """Confirm an email address with the token of a link; a new address then replaces the old."""
    await links.confirm_email(body.token.get_secret_value(), outbox.notify)


router.include_router(link_router)
