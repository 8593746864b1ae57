"""Which passwords are refused."""

import re
from math import prod

from ..exceptions import RuleViolationError
from .identity import normalise

# A password that falls to fewer guesses is refused. At 200 logins a minute, the limit of one
# account, these take three days; against a stolen hash, hours.
LEAST_GUESSES = 1_000_000
OWN_WORD = 3  # characters; shorter words are part of many others
ESTIMATED = 24  # characters; to estimate many more takes longer than a hash
# The letters that zxcvbn reads from several symbols, such as @ and 4 for a. It looks for words in
# each combination of them, and blocks the event loop meanwhile: 576 combinations take 70 ms.
SYMBOLS = ("4@", "({[<", "69", "1!|", "17|", "$5", "+7")
COMBINATIONS = 32


def check_password(password: str, username: str, email: str) -> None:
    """Refuse a password that is easy to guess.

    Raises:
        RuleViolationError: it is blank, commonly used, or contains little but the name or address.
    """
    from zxcvbn_rs_py import zxcvbn  # noqa: PLC0415 - its word lists take 9 MB of memory

    if not password.strip():
        raise RuleViolationError("The password is blank.")
    local_part, _, domain = email.partition("@")
    text = normalise(password)
    if text in {username, email, local_part}:
        raise RuleViolationError("The password is the user name or the email address.")
    own = re.split(r"[\W_]+", f"{username} {local_part} {domain.rpartition('.')[0]}")
    words = sorted({word for word in own if len(word) >= OWN_WORD}, key=len, reverse=True)
    rest = re.sub("|".join(map(re.escape, words)), "", text)
    if zxcvbn(_estimated(rest), words).guesses < LEAST_GUESSES:  # finds words in disguise, too
        raise RuleViolationError(
            "The password is easy to guess. Add a word or two that have nothing to do with you."
        )


def _estimated(text: str) -> str:
    """Return the start of a text, as much as can be estimated in a few milliseconds."""
    text = text[:ESTIMATED]
    while prod(len({*symbols} & {*text}) or 1 for symbols in SYMBOLS) > COMBINATIONS:
        text = text[:-1]
    return text
