"""Passwords: confirming, changing and resetting them."""

from tortoise.transactions import in_transaction

from ..database.models import LinkToken, Session, User
from ..exceptions import ForbiddenError
from .client_address import remember_address
from .emails import Notice, Notify
from .events import Event, record
from .hashing import hash_password, verify_password
from .links import consume_link, find_link
from .password_policy import check_password
from .sessions import lock_session
from .tokens import Purpose, hash_token, new_session_token


async def confirm_password(session: Session, password: str) -> None:
    """Check the password of a session's user before a change that needs it.

    Raises:
        ForbiddenError: the password is wrong.
        OverloadedError: too many passwords are being checked.
    """
    user = session.user
    matches, _ = await verify_password(password, user.hashed_password)
    if not matches:
        record(Event.CONFIRMATION_FAILED, actor=user.id, target=user.id)
        raise ForbiddenError("The password is wrong.")


async def change_password(session: Session, new: str, notify: Notify) -> str:
    """Change the password of a session's user, who has confirmed the current one.

    All other sessions end. This one gets a new token, which is returned; the old one ends.

    Raises:
        OverloadedError: too many passwords are being checked.
        ConflictError: the password was changed in the meantime.
        SessionEndedError: the session has ended in the meantime.
        RuleViolationError: the new password is refused.
    """
    check_password(new, session.user.username, session.user.email)
    hashed = await hash_password(new)
    token = new_session_token()
    async with in_transaction("default"):
        user = await lock_session(session)
        await User.filter(id=user.id).update(hashed_password=hashed)
        await Session.filter(id=session.id).update(token_hash=hash_token(token))
        ended = await Session.filter(user_id=user.id).exclude(id=session.id).delete()
        await LinkToken.filter(user_id=user.id).exclude(purpose=Purpose.VERIFICATION).delete()
        await notify(Notice.PASSWORD, user)
    await remember_address(user.id)
    record(Event.PASSWORD_CHANGED, actor=user.id, target=user.id, ended_sessions=ended)
    return token


async def reset_password(token: str, password: str, notify: Notify) -> None:
    """Set a new password with a link's token, and end all sessions.

    Raises:
        LinkRefusedError: the token is not valid. Of several concurrent attempts, one succeeds.
        OverloadedError: too many passwords are being checked.
        RuleViolationError: the new password is refused.
    """
    link = await find_link([Purpose.RESET], token)
    check_password(password, link.user.username, link.user.email)
    hashed = await hash_password(password)
    async with in_transaction("default"):
        user = await consume_link(link)
        await User.filter(id=user.id).update(hashed_password=hashed, is_verified=True)
        ended = await Session.filter(user_id=user.id).delete()
        await LinkToken.filter(user_id=user.id).delete()
        await notify(Notice.PASSWORD, user)
    await remember_address(user.id)
    record(Event.PASSWORD_RESET, actor=None, target=user.id, ended_sessions=ended)
