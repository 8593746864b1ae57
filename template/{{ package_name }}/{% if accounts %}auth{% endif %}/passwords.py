"""Passwords: which are good enough, and their hashes."""

import re
import secrets
from base64 import b64encode
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import (
    HashingError,
    InvalidHashError,
    VerificationError,
    VerifyMismatchError,
)
from zxcvbn_rs_py import zxcvbn

from ..api import BusyError, UnacceptableError
from ..settings import settings
from ..users.schemas import normalise
from .events import client_address
from .turns import FairQueue

# Each hash takes PASSWORD_MEMORY: so many at once, so many more in line, and no more
THREADS = 2
WAITING = 200
# A password that falls to fewer guesses is refused. At 200 log-ins a minute, the limit of one
# account, this many take three days; of a stolen hash, hours.
LEAST_GUESSES = 1_000_000
OWN_WORD = 3  # characters; what is shorter is in many words
ESTIMATED = 24  # characters; estimating many more of them takes longer than a hash

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

hasher = PasswordHasher(
    time_cost=settings.password_iterations,
    memory_cost=settings.password_memory,
    parallelism=settings.password_lanes,
)
_threads = CapacityLimiter(THREADS)
queue = FairQueue(THREADS)
# verified where there is no user, so that it takes the same time; made up, which takes none
_DUMMY_HASH = (
    f"$argon2id$v=19$m={settings.password_memory},t={settings.password_iterations}"
    f",p={settings.password_lanes}"
    f"${b64encode(secrets.token_bytes(15)).decode()}${b64encode(secrets.token_bytes(33)).decode()}"
)


def check_password(password: str, username: str, email: str) -> None:
    """Refuse a password that is among the first to be guessed.

    Raises:
        UnacceptableError: it is blank, commonly used, or made of the name or the address.
    """
    if not password.strip():
        raise UnacceptableError("The password is blank.")
    local_part, _, domain = email.partition("@")
    if normalise(password) in {username, email, local_part}:
        raise UnacceptableError("The password is the user name or the e-mail address.")
    own = re.split(r"[\W_]+", f"{username} {local_part} {domain.rpartition('.')[0]}")
    words = sorted({word for word in own if len(word) >= OWN_WORD}, key=len, reverse=True)
    rest = re.sub("|".join(map(re.escape, words)), "", password, flags=re.IGNORECASE)
    if zxcvbn(rest[:ESTIMATED]).guesses < LEAST_GUESSES:
        raise UnacceptableError(
            "The password is easy to guess. Add a word or two that have nothing to do with you."
        )


async def hash_password(password: str) -> str:
    """Hash a password.

    Raises:
        BusyError: too many hashes are being computed, or there is no memory for one.
    """
    return await _in_thread(hasher.hash, password)


async def verify_password(password: str, hashed: str | None) -> tuple[bool, str | None]:
    """Compare a password with a hash, doing the same work where there is none.

    Returns:
        Whether they match, and the new hash to store if the old one's parameters are outdated.

    Raises:
        BusyError: too many hashes are being computed, or there is no memory for one.
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
    async with queue.turn(client_address.get() or "", WAITING):
        try:
            return await to_thread.run_sync(function, *arguments, limiter=_threads)
        except (HashingError, VerificationError, MemoryError, RuntimeError):
            # argon2 gets no memory or no threads, or Python gets none
            raise BusyError("The password cannot be checked right now.") from None
