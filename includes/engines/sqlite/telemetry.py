"""Facts about the database engine for metrics and traces."""

from typing import Any, NamedTuple

from tortoise import connections


class PoolState(NamedTuple):
    size: int  # open connections
    idle: int  # open connections that are not in use
    maximum: int


def pool_state() -> PoolState | None:
    """Return the state of the pool, or None before the first statement."""
    client: Any = connections.get("default")
    opened = client._connection is not None  # noqa: SLF001 - no public name
    busy = client._lock.locked()  # noqa: SLF001 - no public name
    return PoolState(size=int(opened), idle=int(opened and not busy), maximum=1)
