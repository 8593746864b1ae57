"""Sessions: finding, locking, listing and ending them.

A session ends after SESSION_DAYS, or after SESSION_IDLE_DAYS without use.

Locks make sure that what a request has checked still holds when it writes. Transactions lock users
first, then their sessions, then their links: another order can end in a deadlock.
"""

from datetime import UTC, datetime, timedelta

from tortoise.expressions import F
from tortoise.queryset import QuerySet
from tortoise.transactions import in_transaction

from ..database.models import Session, User
from ..database.prepared import compiled
from ..exceptions import ConflictError, ForbiddenError, NotFoundError
from ..pagination import Page, make_page, page_query
from ..settings import settings
from .events import Event, record
from .exceptions import SessionEndedError
from .schemas import SessionRead
from .tokens import SESSION_PREFIX, hash_token

LAST_USE_STEP = timedelta(minutes=1)
SESSION_FIELDS = [name for name in SessionRead.model_fields if name != "is_current"]


def idle_since(now: datetime) -> datetime:
    """Return the time after which a live session was last used."""
    return now - timedelta(days=settings.session_idle_days)


def live_sessions(now: datetime) -> QuerySet[Session]:
    """Return a query for the sessions that have not expired."""
    return Session.filter(expires_at__gt=now, last_used_at__gt=idle_since(now))


def seconds_left(session: Session) -> int:
    """Return the seconds until a session expires, however much it is used."""
    return int((session.expires_at - datetime.now(UTC)).total_seconds())


@compiled
def _find_live(token_hash: str, now: datetime, idle: datetime) -> QuerySet[Session]:
    live = Session.filter(
        token_hash=token_hash, expires_at__gt=now, last_used_at__gt=idle, user__is_active=True
    )
    return live.select_related("user")


async def find_session(token: str) -> Session:
    """Find the session of a token together with its active user, with one query.

    Raises:
        SessionEndedError: there is no such session, or it has ended.
    """
    if not token.startswith(SESSION_PREFIX):
        raise SessionEndedError
    now = datetime.now(UTC)
    session = next(iter(await _find_live(hash_token(token), now, idle_since(now))), None)
    if session is None:
        raise SessionEndedError
    if session.last_used_at < now - LAST_USE_STEP:
        await Session.filter(id=session.id).update(last_used_at=now)
    return session


async def lock_user(user_id: int) -> User | None:
    """Lock a user's row until the transaction ends, and read it.

    It writes a value that the row has already, which locks the row in every database.
    """
    await User.filter(id=user_id).update(is_active=F("is_active"))
    return await User.get_or_none(id=user_id)


async def lock_session(session: Session) -> User:
    """Lock a session and its user until the transaction ends.

    Returns:
        The user as stored now.

    Raises:
        SessionEndedError: the session has ended, or its user is inactive or deleted.
        ConflictError: the password was changed in the meantime.
    """
    now = datetime.now(UTC)
    user = await lock_user(session.user.id)
    alive = live_sessions(now).filter(id=session.id, token_hash=session.token_hash)
    if user is None or not user.is_active or not await alive.update(last_used_at=now):
        raise SessionEndedError
    if user.hashed_password != session.user.hashed_password:
        raise ConflictError("The password has just been changed elsewhere.")
    return user


async def lock_administrator(session: Session) -> User:
    """Lock an administrator's session and user until the transaction ends.

    Returns:
        The user as stored now.

    Raises:
        SessionEndedError: the session has ended, or its user is inactive or deleted.
        ConflictError: the password was changed in the meantime.
        ForbiddenError: the user is no administrator any more.
    """
    user = await lock_session(session)
    if not user.is_admin:
        raise ForbiddenError("Only administrators may do this.")
    return user


async def list_sessions(current: Session, limit: int, cursor: int) -> Page[SessionRead]:
    """List the live sessions of the user of a session, oldest first."""
    own = live_sessions(datetime.now(UTC)).filter(user_id=current.user.id)
    rows = await page_query(own, limit, cursor).values(*SESSION_FIELDS)
    marked = [{**row, "is_current": row["id"] == current.id} for row in rows]
    return make_page(SessionRead, marked, limit)


async def log_out(session: Session) -> None:
    """End a session.

    Raises:
        SessionEndedError: it has ended already.
    """
    if not await Session.filter(id=session.id, token_hash=session.token_hash).delete():
        raise SessionEndedError
    user = session.user.id
    record(Event.SESSION_ENDED, actor=user, target=user, session=session.id, reason="log-out")


async def end_session(session: Session, session_id: int) -> None:
    """End a session of the user of a session.

    Raises:
        NotFoundError: the user has no such session.
        SessionEndedError: the session of the request has ended.
        ConflictError: the password was changed in the meantime.
    """
    async with in_transaction():
        user = await lock_session(session)
        if not await Session.filter(user_id=user.id, id=session_id).delete():
            raise NotFoundError("You have no such session.")
    reason = "by the user"
    record(Event.SESSION_ENDED, actor=user.id, target=user.id, session=session_id, reason=reason)


async def end_all_sessions(session: Session) -> None:
    """End all sessions of the user of a session, including that one.

    Raises:
        SessionEndedError: the session of the request has ended.
        ConflictError: the password was changed in the meantime.
    """
    async with in_transaction():
        user = await lock_session(session)
        ended = await Session.filter(user_id=user.id).delete()
    record(Event.SESSIONS_ENDED, actor=user.id, target=user.id, count=ended, reason="by the user")
