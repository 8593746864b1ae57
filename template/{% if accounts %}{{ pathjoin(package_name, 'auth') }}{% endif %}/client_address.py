"""The client's IP address: its normal form, and the addresses where users have logged in.

Attacks do not lock users out there, nor where they have set a new password since.
"""

from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any

from tortoise.exceptions import IntegrityError

from ..database.models import LinkToken, User
from .tokens import Purpose, hash_token

LIFETIME = timedelta(days=90)

# See `Throttling`; None in commands and background jobs
client_address: ContextVar[str | None] = ContextVar("client_address", default=None)


@lru_cache(maxsize=1024)
def normalise_address(host: str) -> str:
    """Return the address that counts for a client: an IPv6 network of 64 bits is one client's."""
    try:
        address = ip_address(host.partition("%")[0])  # without an interface, as in fe80::1%eth0
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    mapped = address.ipv4_mapped
    return mapped.exploded if mapped else f"{address.exploded[:19]}::/64"


def networks_of(address: str) -> tuple[str, str, str]:
    """Return the networks of a normalised address, the larger one first, and the address.

    They have 32 and 48 bits of IPv6, or 16 and 24 of IPv4. Whoever has such a network can send
    requests from all of its addresses.
    """
    if ":" in address:
        return address[:9], address[:14], address
    network = address.rpartition(".")[0]
    return network.rpartition(".")[0], network, address


def _identify(user_id: int) -> dict[str, Any]:
    """Return the columns that identify a user's address, which is stored as a hash."""
    token_hash = hash_token(f"{user_id} {client_address.get()}")
    return {"purpose": Purpose.KNOWN_ADDRESS, "token_hash": token_hash}


async def remember_address(user_id: int) -> None:
    """Remember that a user logged in, or set a new password, from the client's address."""
    expires_at = datetime.now(UTC) + LIFETIME
    known = _identify(user_id)
    if not await LinkToken.filter(**known).update(expires_at=expires_at):
        with suppress(IntegrityError):  # another login was faster, or the user is deleted
            await LinkToken.create(user_id=user_id, email="", expires_at=expires_at, **known)


async def is_known_address(user: User | None) -> bool:
    """Return whether a user has logged in from the client's address lately."""
    now = datetime.now(UTC)
    return user is not None and await LinkToken.exists(**_identify(user.id), expires_at__gt=now)
