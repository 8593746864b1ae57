from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Form, Header, HTTPException

from ..api import Cursor, Id, Limit, Page, next_cursor
from ..errors import problems
from ..settings import settings
from . import service
from .dependencies import CurrentSession, CurrentUser, LoginThrottle, ResetThrottle
from .schemas import (
    AccessToken,
    EmailVerification,
    Login,
    MailRequest,
    PasswordReset,
    SessionRead,
)
from .service import Purpose

DEVICE_LENGTH = 200
BAD_LINK = "The link has been used already or has expired: ask for a new one."

router = APIRouter(prefix="/auth", tags=["auth"], responses=problems(503))


@router.post("/token", responses=problems(400, 401, 403, 413, 429))
async def log_in(
    form: Annotated[Login, Form()],
    throttle: LoginThrottle,
    user_agent: Annotated[str, Header()] = "",
) -> AccessToken:
    """Log in with the user name or the e-mail address, and open a session."""
    await throttle(form.username)
    # what a header holds need not be text that every database stores
    device = "".join(c for c in user_agent[:DEVICE_LENGTH] if c.isprintable())
    try:
        token = await service.log_in(form.username, form.password.get_secret_value(), device)
    except service.UnverifiedError:
        raise HTTPException(403, "Confirm your e-mail address first.") from None
    if token is None:
        challenge = {"WWW-Authenticate": "Bearer"}
        raise HTTPException(401, "The user name or the password is wrong.", challenge)
    return AccessToken(access_token=token, expires_in=settings.session_days * 24 * 60 * 60)


@router.post("/logout", status_code=204, responses=problems(401))
async def log_out(session: CurrentSession) -> None:
    """End the session that is used for this request."""
    await service.end_sessions(session.user, session.id)


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


@router.delete("/sessions", status_code=204, responses=problems(401))
async def log_out_everywhere(user: CurrentUser) -> None:
    """End all sessions, the one that is used for this request included."""
    await service.end_sessions(user)


@router.delete("/sessions/{session_id}", status_code=204, responses=problems(401, 404))
async def log_out_device(session_id: Id, user: CurrentUser) -> None:
    """End the session of one device."""
    if not await service.end_sessions(user, session_id):
        raise HTTPException(404, "You have no such session.")


@router.post("/password-reset", status_code=202, responses=problems(400, 413, 429))
async def request_password_reset(
    body: MailRequest, throttle: ResetThrottle, background: BackgroundTasks
) -> None:
    """Have a link mailed that sets a new password; the answer does not tell whether it is."""
    await throttle(body.email)
    background.add_task(service.send_link, Purpose.RESET, body.email)


@router.post("/password-reset/confirm", status_code=204, responses=problems(400, 409, 413, 429))
async def reset_password(body: PasswordReset, throttle: ResetThrottle) -> None:
    """Set a new password with the token of a mailed link, and end all sessions."""
    await throttle(None)
    token, password = body.token.get_secret_value(), body.password.get_secret_value()
    if not await service.reset_password(token, password):
        raise HTTPException(409, BAD_LINK)


@router.post("/email-verification", status_code=202, responses=problems(400, 413, 429))
async def request_email_verification(
    body: MailRequest, throttle: ResetThrottle, background: BackgroundTasks
) -> None:
    """Have a link mailed that confirms the address; the answer does not tell whether it is."""
    await throttle(body.email)
    background.add_task(service.send_link, Purpose.VERIFICATION, body.email)


@router.post("/email-verification/confirm", status_code=204, responses=problems(400, 409, 413, 429))
async def verify_email(body: EmailVerification, throttle: ResetThrottle) -> None:
    """Confirm an e-mail address with the token of a mailed link."""
    await throttle(None)
    if not await service.verify_email(body.token.get_secret_value()):
        raise HTTPException(409, BAD_LINK)
