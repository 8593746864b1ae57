"""Random tokens of sessions and links. The database stores only their hashes."""

import secrets
from enum import StrEnum
from hashlib import sha256

SESSION_PREFIX = "session_"  # for tools that search for leaked tokens


class Purpose(StrEnum):
    """What a row of LinkToken is for; of links, also the name of the email's template."""

    VERIFICATION = "verification"
    RESET = "reset"
    NEW_ADDRESS = "new_address"
    KNOWN_ADDRESS = "known_address"  # no link: an IP address from which the user has logged in


def new_token() -> str:
    """Return a token that cannot be guessed, for a link."""
    return secrets.token_urlsafe(32)


def new_session_token() -> str:
    return SESSION_PREFIX + new_token()


def hash_token(token: str) -> str:
    return sha256(token.encode()).hexdigest()
