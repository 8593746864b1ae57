from functools import partial
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Form, Header, HTTPException

from ..api import Cursor, Id, Limit, Page, next_cursor
from ..errors import problems
from ..settings import settings
from ..users.schemas import normalise
from . import links, service
from .dependencies import CurrentSession
from .schemas import (
    AccessToken,
    EmailVerification,
    Login,
    MailRequest,
    PasswordReset,
    SessionRead,
)
from .service import Purpose
from .throttling import CountedRoute, LinkAttempts, LoginAttempts, note_client

DEVICE_LENGTH = 200
BAD_LINK = "The link has been used already or has expired: ask for a new one."

router = APIRouter(
    prefix="/auth",
    tags=["auth"],
    route_class=CountedRoute,
    dependencies=[Depends(note_client)],
    responses=problems(503),
)


@router.post("/token", responses=problems(400, 401, 403, 413, 429))
async def log_in(
    form: Annotated[Login, Form()],
    attempts: LoginAttempts,
    user_agent: Annotated[str, Header()] = "",
) -> AccessToken:
    """Log in with the user name or the email address, and open a session."""
    user = await service.find_account(form.username)
    # a user's name and address share one count, which another name does not reset
    account = f"user {user.id}" if user else f"name {normalise(form.username)}"
    await attempts.count_account(account, partial(service.is_known_address, user))
    # what a header holds need not be text that every database stores
    device = "".join(c for c in user_agent[:DEVICE_LENGTH] if c.isprintable())
    try:
        token = await service.log_in(user, form.password.get_secret_value(), device)
    except service.UnverifiedError:
        raise HTTPException(403, "Confirm your e-mail address first.") from None
    if token is None:
        challenge = {"WWW-Authenticate": "Bearer"}
        raise HTTPException(401, "The user name or the password is wrong.", challenge)
    return AccessToken(access_token=token, expires_in=settings.session_days * 24 * 60 * 60)


@router.post("/logout", status_code=204, responses=problems(401))
async def log_out(session: CurrentSession) -> None:
    """End the session that is used for this request."""
    await service.log_out(session)


@router.get("/sessions", responses=problems(401))
async def list_sessions(
    current: CurrentSession, limit: Limit = 20, cursor: Cursor = 0
) -> Page[SessionRead]:
    """List the devices that are logged in."""
    sessions = await service.list_sessions(current.user, cursor, limit + 1)
    items = [
        SessionRead(
            id=session.id,
            device=session.device,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            expires_at=session.expires_at,
            is_current=session.id == current.id,
        )
        for session in sessions[:limit]
    ]
    return Page(items=items, next=next_cursor([session.id for session in sessions], limit))


@router.delete("/sessions", status_code=204, responses=problems(401, 409))
async def log_out_everywhere(session: CurrentSession) -> None:
    """End all sessions, the one that is used for this request included."""
    await service.end_all_sessions(session)


@router.delete("/sessions/{session_id}", status_code=204, responses=problems(401, 404, 409))
async def log_out_device(session_id: Id, session: CurrentSession) -> None:
    """End the session of one device."""
    if not await service.end_session(session, session_id):
        raise HTTPException(404, "You have no such session.")


async def _count_link(attempts: LinkAttempts, email: str) -> None:
    async def is_known() -> bool:
        return await service.is_known_address(await service.find_account(email))

    await attempts.count_account(email, is_known)


@router.post("/password-reset", status_code=202, responses=problems(400, 413, 429))
async def request_password_reset(
    body: MailRequest, attempts: LinkAttempts, background: BackgroundTasks
) -> None:
    """Send a link that sets a new password; the answer does not tell whether it is sent."""
    await _count_link(attempts, body.email)
    background.add_task(links.send_link, Purpose.RESET, body.email)


@router.post("/password-reset/confirm", status_code=204, responses=problems(400, 409, 413, 429))
async def reset_password(body: PasswordReset, _: LinkAttempts, background: BackgroundTasks) -> None:
    """Set a new password with the token of a link, and end all sessions."""
    token, password = body.token.get_secret_value(), body.password.get_secret_value()
    user = await links.reset_password(token, password)
    if user is None:
        raise HTTPException(409, BAD_LINK)
    background.add_task(links.send_email, links.Notice.PASSWORD, user.email, user.username)


@router.post("/email-verification", status_code=202, responses=problems(400, 413, 429))
async def request_email_verification(
    body: MailRequest, attempts: LinkAttempts, background: BackgroundTasks
) -> None:
    """Send a link that confirms the address; the answer does not tell whether it is sent."""
    await _count_link(attempts, body.email)
    background.add_task(links.send_link, Purpose.VERIFICATION, body.email)


@router.post("/email-verification/confirm", status_code=204, responses=problems(400, 409, 413, 429))
async def verify_email(
    body: EmailVerification, _: LinkAttempts, background: BackgroundTasks
) -> None:
    """Confirm an email address with the token of a link; a new address then replaces the old."""
    confirmed = await links.confirm_email(body.token.get_secret_value())
    if confirmed is None:
        raise HTTPException(409, BAD_LINK)
    user, email = confirmed
    if user.email != email:
        background.add_task(links.send_email, links.Notice.ADDRESS, user.email, user.username)
