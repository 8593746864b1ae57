"""Limits on how often clients may do something.

One line limits a route of your own, for each client address or for each user:

    @router.get("/export", dependencies=[throttle("export", "10/minute")], responses=problems(429))

`account_limits.py` has the limits of the account routes. Counters are in this process's memory, or in
Redis for all replicas.
"""

import logging
import math
from collections.abc import Awaitable
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from fastapi import Depends, HTTPException, params
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..problems import RETRY
from ..settings import settings
from .client_address import client_address, normalise_address
from .counters import CountersError, Limit, MemoryCounters, RedisCounters
from .dependencies import CurrentUser
from .events import Event, record
from .settings import SLUG

logger = logging.getLogger(__name__)

# Set for each request by `Throttling`
counters: ContextVar[MemoryCounters | RedisCounters] = ContextVar("counters")


def throttle(
    action: str, limit: str, *, per: Literal["address", "user"] = "address"
) -> params.Depends:
    """Create a dependency that answers 429 to requests above a limit.

    Requests per address are counted before the body is read, so that malformed ones count. Use
    `per="user"` for routes behind a login: people who share an address then do not share the limit.

    Args:
        action: the name of what is counted. Routes with the same name share a count.
        limit: a number and a time, such as "10/minute" or "100/hour".
        per: what has a count: the client's address (an IPv6 network of 64 bits), or the user.

    Raises:
        ValueError: the limit is malformed.
    """
    counter = PerAddress if per == "address" else PerUser
    dependency: params.Depends = Depends(counter(action, Limit.parse(limit)))
    return dependency


@dataclass(eq=False)
class PerAddress:
    """The dependency that counts requests per client address, each once."""

    action: str
    limit: Limit

    async def __call__(self, connection: HTTPConnection) -> None:
        counted = connection.scope.setdefault("throttled", set())
        if self not in counted:
            counted.add(self)
            refuse(await hit(self.action, "address", client_address.get() or "", self.limit))


@dataclass(eq=False)
class PerUser:
    """The dependency that counts requests per user."""

    action: str
    limit: Limit

    async def __call__(self, user: CurrentUser) -> None:
        refuse(await hit_user(self.action, user.id, self.limit))


async def hit_user(action: str, user_id: int, limit: Limit) -> int:
    """Count an attempt of a logged-in user like `hit`."""
    return await hit(action, "user", str(user_id), limit, user_id)


async def hit(action: str, kind: str, key: str, limit: Limit, user_id: int | None = None) -> int:
    """Count an attempt, and return the seconds to wait if it is above the limit; otherwise 0.

    The key is whose attempt it is, such as an address, and the kind is what it identifies.

    Raises:
        HTTPException: Redis cannot be reached.
    """
    name = sha256(key.encode()).hexdigest()  # bounded, and no personal data in Redis
    try:
        wait = await counters.get().hit(f"{action}-{kind}/{name}/{limit}", limit)
    except CountersError as error:
        logger.warning("Attempts cannot be counted: %s", error)
        raise HTTPException(503, "Attempts cannot be counted right now.", RETRY) from None
    if not wait:
        return 0
    record(Event.THROTTLED, actor=user_id, target=user_id, action=action, counter=kind)
    return min(max(1, math.ceil(wait)), limit.seconds)


def refuse(wait: int) -> None:
    """Answer 429 if an attempt has to wait."""
    if wait:
        raise HTTPException(
            429, f"Too many attempts: try again in {wait} s.", {"Retry-After": str(wait)}
        )


class Throttling:
    """Middleware that gives each request, also of mounted applications, its address and counters.

    It counts per address when a request's body is first read: FastAPI calls dependencies after it
    has parsed the body, so they never see a request whose body cannot be parsed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        url = settings.redis_url
        self.counters = RedisCounters(url, SLUG) if url else MemoryCounters()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self.app(scope, receive, send)
        client_address.set(normalise_address(scope["client"][0] if scope.get("client") else ""))
        counters.set(self.counters)

        async def count_and_receive() -> Message:
            route = scope.get("route")
            for dependency in route.dependant.dependencies if isinstance(route, APIRoute) else ():
                if isinstance(dependency.call, PerAddress):
                    await dependency.call(HTTPConnection(scope))
            return await receive()

        is_http = scope["type"] == "http"
        return self.app(scope, count_and_receive if is_http else receive, send)
