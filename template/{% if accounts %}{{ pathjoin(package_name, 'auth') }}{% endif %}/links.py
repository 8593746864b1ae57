"""Links in emails: creating, sending and consuming them. Each works once, for an hour."""

from datetime import UTC, datetime, timedelta

from tortoise.exceptions import IntegrityError
from tortoise.transactions import in_transaction

from ..database.models import LinkToken, User
from ..exceptions import ConflictError
from .emails import Notice, Notify
from .events import Event, record
from .sessions import lock_user
from .tokens import Purpose, hash_token, new_token

LINK_LIFETIME = timedelta(hours=1)
LINKS = [Purpose.VERIFICATION, Purpose.RESET, Purpose.NEW_ADDRESS]


class LinkRefusedError(ConflictError):
    """The token of a link is unknown, used or expired."""

    detail = "The link has been used already or has expired: ask for a new one."


async def create_link(user: User, purpose: Purpose, email: str) -> tuple[LinkToken, str]:
    """Store a new link for a user, whose row is locked. Return it with its token."""
    token = new_token()
    link = await LinkToken.create(
        user_id=user.id,
        token_hash=hash_token(token),
        purpose=purpose,
        email=email,
        expires_at=datetime.now(UTC) + LINK_LIFETIME,
    )
    return link, token


async def create_requested_link(purpose: Purpose, email: str) -> tuple[User, str] | None:
    """Store a link that was requested for an address, and return its user and its token.

    Return None if nobody has the address or needs the link. Run it after the response, whose time
    would show who has an account. Earlier links stay valid: otherwise requests of strangers would
    invalidate the link that the owner has just asked for.
    """
    user = await User.get_or_none(email=email)
    if user is None:
        return None
    async with in_transaction("default"):
        user = await lock_user(user.id)
        if user is None or user.email != email or not user.is_active:
            return None
        if purpose is Purpose.VERIFICATION and user.is_verified:
            return None
        _, token = await create_link(user, purpose, email)
    return user, token


async def find_link(purposes: list[Purpose], token: str) -> LinkToken:
    """Find the link of a token, with its user.

    Raises:
        LinkRefusedError: there is no such link, or it has expired.
    """
    links = LinkToken.filter(
        token_hash=hash_token(token),
        purpose__in=purposes,
        expires_at__gt=datetime.now(UTC),
        user__is_active=True,
    )
    link = await links.select_related("user").get_or_none()
    if link is None or not _leads_to(link, link.user):
        record(Event.LINK_REFUSED, actor=None, target=link.user.id if link else None)
        raise LinkRefusedError
    return link


def _leads_to(link: LinkToken, user: User) -> bool:
    """Return whether a link was sent to a user's address, or to the one that will replace it."""
    return link.purpose == Purpose.NEW_ADDRESS or link.email == user.email


async def consume_link(link: LinkToken) -> User:
    """Delete a link, lock its user, and return the user as stored now.

    Raises:
        LinkRefusedError: the link was used, or its user has changed, since the link was found.
    """
    user = await lock_user(link.user.id)
    if (
        user is None
        or not user.is_active
        or user.hashed_password != link.user.hashed_password
        or not _leads_to(link, user)
        or not await LinkToken.filter(id=link.id).delete()
    ):
        record(Event.LINK_REFUSED, actor=None, target=link.user.id, purpose=link.purpose)
        raise LinkRefusedError
    return user


async def confirm_email(token: str, notify: Notify) -> None:
    """Confirm an address with a link's token.

    A new address replaces the old one, which gets a notice.

    Raises:
        LinkRefusedError: the token is not valid. Of several concurrent attempts, one succeeds.
        ConflictError: another user has taken the new address in the meantime.
    """
    link = await find_link([Purpose.VERIFICATION, Purpose.NEW_ADDRESS], token)
    try:
        async with in_transaction("default"):
            user = await consume_link(link)
            await User.filter(id=user.id).update(email=link.email, is_verified=True)
            if user.email != link.email:
                await LinkToken.filter(user_id=user.id, purpose__in=LINKS).delete()
                await notify(Notice.ADDRESS, user)
    except IntegrityError:
        raise ConflictError("The email address cannot be used.") from None
    event = Event.EMAIL_CONFIRMED if user.email == link.email else Event.EMAIL_CHANGED
    record(event, actor=None, target=user.id)
