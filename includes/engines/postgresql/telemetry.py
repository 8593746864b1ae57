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
    pool = client._pool  # noqa: SLF001 - no public name
    if not (pool and pool.opened):
        return None
    return PoolState(pool.opened.get_size(), pool.idle_size(), pool.opened.get_max_size())
