"""Hashes of passwords, computed in threads."""

import secrets
from base64 import b64encode
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError

from ..exceptions import OverloadedError
from ..settings import settings
from .client_address import client_address, networks_of
from .fair_queue import FairQueue

# Each hash takes PASSWORD_MEMORY, so few are computed at once, and a bounded number waits
THREADS = 2
WAITING = 200

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

hasher = PasswordHasher(
    time_cost=settings.password_iterations,
    memory_cost=settings.password_memory,
    parallelism=settings.password_lanes,
)
_threads = CapacityLimiter(THREADS)
queue = FairQueue(THREADS)
# A made-up hash, verified if there is no such user, so that the answer takes the same time.
# Computing one would delay the start.
_DUMMY_HASH = (
    f"$argon2id$v=19$m={settings.password_memory},t={settings.password_iterations}"
    f",p={settings.password_lanes}"
    f"${b64encode(secrets.token_bytes(15)).decode()}${b64encode(secrets.token_bytes(33)).decode()}"
)


async def hash_password(password: str) -> str:
    """Hash a password, or raise an OverloadedError as `verify_password` does."""
    return await _in_thread(hasher.hash, password)


async def verify_password(password: str, hashed: str | None) -> tuple[bool, str | None]:
    """Compare a password with a hash. Without a hash, it takes the same time.

    Return whether they match, and a new hash to store if the old one's parameters are outdated.

    Raises:
        OverloadedError: too many hashes are being computed, or there is no memory for one.
    """
    known = _usable(hashed)
    matches = await _in_thread(_matches, password, known or _DUMMY_HASH)
    if not (known and matches):
        return False, None
    outdated = hasher.check_needs_rehash(known)
    return True, await hash_password(password) if outdated else None


def _usable(hashed: str | None) -> str | None:
    try:
        extract_parameters(hashed or "")
    except InvalidHashError:
        return None
    return hashed


def _matches(password: str, hashed: str) -> bool:
    try:
        return hasher.verify(hashed, password)
    except VerifyMismatchError:
        return False


async def _in_thread(function: Callable[[Unpack[Arguments]], T], *arguments: *Arguments) -> T:
    async with queue.turn(networks_of(client_address.get() or ""), WAITING):
        try:
            return await to_thread.run_sync(function, *arguments, limiter=_threads)
        except (HashingError, VerificationError, MemoryError, RuntimeError):
            # argon2 gets no memory or no threads, or Python gets none
            raise OverloadedError("The password cannot be checked right now.") from None
