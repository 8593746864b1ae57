"""What a route asks for in its signature: who calls, and how often they may."""

import logging
import math
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Literal

from fastapi import Depends, HTTPException, Request
from fastapi.security import OAuth2PasswordBearer
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError

from ..api import BusyError
from ..database.models import Session, User
from ..settings import settings
from ..users.schemas import normalise
from . import service

ADDRESS_FACTOR = 10  # one address may stand for many people
REDIS_TIMEOUT = 2  # seconds

logger = logging.getLogger(__name__)

_token = OAuth2PasswordBearer("auth/token", auto_error=False)


async def _current_session(token: Annotated[str | None, Depends(_token)]) -> Session:
    """Find who calls; the challenges are those of RFC 6750, section 3."""
    if token is None:
        raise HTTPException(401, "Log in first.", {"WWW-Authenticate": "Bearer"})
    session = await service.find_session(token)
    if session is None:
        challenge = 'Bearer error="invalid_token"'
        raise HTTPException(401, "The session has ended.", {"WWW-Authenticate": challenge})
    return session


CurrentSession = Annotated[Session, Depends(_current_session)]


async def _current_user(session: CurrentSession) -> User:
    return session.user


CurrentUser = Annotated[User, Depends(_current_user)]


async def _administrator(session: CurrentSession) -> User:
    if not session.user.is_admin:
        raise HTTPException(403, "Only administrators may do this.")
    return session.user


Administrator = Annotated[User, Depends(_administrator)]

# Counts an attempt from the client's address, and on an account if there is one to name
Throttle = Callable[[str | None], Awaitable[None]]


def make_limiter() -> FixedWindowRateLimiter:
    """Count attempts in this process's memory, or in Redis, for all replicas."""
    if not settings.redis_url:
        return FixedWindowRateLimiter(MemoryStorage())
    storage = RedisStorage(
        f"async+{settings.redis_url}",
        wrap_exceptions=True,
        implementation="redispy",
        socket_connect_timeout=REDIS_TIMEOUT,
        socket_timeout=REDIS_TIMEOUT,
    )
    return FixedWindowRateLimiter(storage)


def _address(request: Request) -> str:
    """Name the client's address; an IPv6 network of 64 bits is one client's."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped.exploded if address.ipv4_mapped else address.exploded[:19]
    return host


async def _count(
    limiter: FixedWindowRateLimiter, limit: RateLimitItem, action: str, key: str
) -> None:
    key = sha256(key.encode()).hexdigest()  # bounded, and no personal data in Redis
    try:
        allowed = await limiter.hit(limit, action, key)
        window = None if allowed else await limiter.get_window_stats(limit, action, key)
    except StorageError as error:
        logger.warning("Attempts cannot be counted: %s", error)
        raise BusyError("Attempts cannot be counted right now.") from None
    if window:
        seconds = max(1, math.ceil(window.reset_time - time.time()))
        raise HTTPException(
            429, f"Too many attempts: try again in {seconds} s.", {"Retry-After": str(seconds)}
        )


def _throttle(
    action: Literal["login", "sign_up", "reset"],
) -> Callable[[Request], Awaitable[Throttle]]:
    limit = parse(getattr(settings, f"throttle_{action}"))
    address_limit = type(limit)(limit.amount * ADDRESS_FACTOR, limit.multiples)

    async def dependency(request: Request) -> Throttle:
        limiter: FixedWindowRateLimiter = request.app.state.limiter

        async def count(account: str | None) -> None:
            await _count(limiter, address_limit, f"{action}-address", _address(request))
            if account is not None:
                await _count(limiter, limit, action, normalise(account))

        return count

    return dependency


LoginThrottle = Annotated[Throttle, Depends(_throttle("login"))]
SignUpThrottle = Annotated[Throttle, Depends(_throttle("sign_up"))]
ResetThrottle = Annotated[Throttle, Depends(_throttle("reset"))]
