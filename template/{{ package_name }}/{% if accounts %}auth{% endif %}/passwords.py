"""Passwords: which are good enough, and their hashes."""

import secrets
from base64 import b64encode
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

from anyio import CapacityLimiter, to_thread
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from ..api import BusyError, UnacceptableError
from ..settings import settings
from ..users.schemas import normalise

# Each hash takes PASSWORD_MEMORY: so many at once, so many more in line, and no more
THREADS = 2
WAITING = 200

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_argon2 = Argon2Hasher(
    time_cost=settings.password_iterations,
    memory_cost=settings.password_memory,
    parallelism=settings.password_lanes,
)
_hasher = PasswordHash((_argon2,))
_limiter = CapacityLimiter(THREADS)
# verified where there is no user, so that it takes the same time; made up, which takes none
_nobodys_hash = (
    f"$argon2id$v=19$m={settings.password_memory},t={settings.password_iterations}"
    f",p={settings.password_lanes}"
    f"${b64encode(secrets.token_bytes(18)).decode()}${b64encode(secrets.token_bytes(33)).decode()}"
)


def check_password(password: str, username: str, email: str) -> None:
    """Refuse a password that is the first to be guessed.

    Raises:
        UnacceptableError: it is blank, or equal to the name or the address.
    """
    if not password.strip():
        raise UnacceptableError("The password is blank.")
    if normalise(password) in {username, email, email.partition("@")[0]}:
        raise UnacceptableError("The password is the user name or the e-mail address.")


async def hash_password(password: str) -> str:
    """Hash a password.

    Raises:
        BusyError: too many hashes are being computed.
    """
    return await _in_thread(_hasher.hash, password)


async def verify_password(password: str, hashed: str | None) -> tuple[bool, str | None]:
    """Compare a password with a hash, doing the same work where there is none.

    Returns:
        Whether they match, and the new hash to store if the old one's parameters are outdated.

    Raises:
        BusyError: too many hashes are being computed.
    """
    if hashed is None:
        await _in_thread(_hasher.verify, password, _nobodys_hash)
        return False, None
    try:
        return await _in_thread(_hasher.verify_and_update, password, hashed)
    except UnknownHashError:
        return await verify_password(password, None)


async def _in_thread(function: Callable[[Unpack[Arguments]], T], *arguments: *Arguments) -> T:
    if _limiter.statistics().tasks_waiting >= WAITING:
        raise BusyError("Too many passwords are being checked.")
    return await to_thread.run_sync(function, *arguments, limiter=_limiter)
