"""What users do themselves: sign up, change their profile, and delete the account."""

from tortoise.exceptions import IntegrityError
from tortoise.transactions import in_transaction

from ..auth.account_limits import LINK
from ..auth.events import Event, record
from ..auth.hashing import hash_password
from ..auth.outbox import Outbox
from ..auth.password_policy import check_password
from ..auth.sessions import lock_session
from ..auth.tokens import Purpose
from ..database.models import LinkToken, Session, User
from ..exceptions import ConflictError
from .administration import keep_an_administrator

ADDRESS_TAKEN = "The email address cannot be used."  # says as little as it can about others


async def sign_up(
    username: str,
    email: str,
    password: str,
    outbox: Outbox | None,
    *,
    as_administrator: bool = False,
) -> User:
    """Create an account with a normalised name and address.

    The outbox sends a link to confirm the address. It is None if no link is needed.

    Raises:
        OverloadedError: too many passwords are being hashed.
        ConflictError: the name or the address is taken.
        RuleViolationError: the password is refused.
    """
    check_password(password, username, email)
    hashed = await hash_password(password)
    try:
        async with in_transaction("default"):
            user = await User.create(
                username=username,
                email=email,
                hashed_password=hashed,
                is_admin=as_administrator,
                is_verified=as_administrator,
            )
            if outbox and await LINK.allows(email):
                await outbox.send_link(Purpose.VERIFICATION, email)
    except IntegrityError as error:
        raise await _conflict(username, email) or error from None
    record(Event.USER_CREATED, actor=None, target=user.id)
    return user


async def _conflict(username: str, email: str) -> ConflictError | None:
    """Return an error that says whether the name or the address is taken.

    None if something else is taken, such as the value of another unique column.
    """
    if await User.exists(username=username):
        return ConflictError("The user name is taken.")
    if await User.exists(email=email):
        return ConflictError(ADDRESS_TAKEN)
    return None


async def change_profile(session: Session, username: str, email: str, outbox: Outbox) -> User:
    """Change the name of a session's user, and begin to change the address, unless they are empty.

    The new address is stored when its owner follows the link that is sent to it.

    Raises:
        ConflictError: the name or the address is taken, or the account was changed meanwhile.
        SessionEndedError: the session has ended in the meantime.
    """
    try:
        async with in_transaction("default"):
            user = await lock_session(session)
            if (user.username, user.email) != (session.user.username, session.user.email):
                raise ConflictError("The account has just been changed elsewhere.")
            if username:
                await User.filter(id=user.id).update(username=username)
                user.username = username
            if email:
                if await User.exists(email=email):
                    raise ConflictError(ADDRESS_TAKEN)
                await LinkToken.filter(user_id=user.id, purpose=Purpose.NEW_ADDRESS).delete()
                await outbox.confirm_address(user, email)
    except IntegrityError as error:
        raise await _conflict(username, "") or error from None
    if username:
        record(Event.USER_RENAMED, actor=user.id, target=user.id)
    return user


async def remove_me(session: Session) -> None:
    """Delete the user of a session, with all sessions.

    Raises:
        ConflictError: no administrator would be left, or the password was changed meanwhile.
        SessionEndedError: the session has ended in the meantime.
    """
    async with keep_an_administrator(session.user.id):
        user = await lock_session(session)
        await User.filter(id=user.id).delete()
    record(Event.USER_DELETED, actor=user.id, target=user.id)
