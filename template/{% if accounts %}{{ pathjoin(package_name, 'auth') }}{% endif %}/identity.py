"""User names, email addresses and passwords as types of request fields."""

import re
from typing import Annotated
from unicodedata import normalize

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field, Secret

from ..schemas import TEXT

USERNAME_LENGTH = 50
EMAIL_LENGTH = 100
INVISIBLE = re.compile(  # letters and marks without a glyph: Default_Ignorable_Code_Point in Unicode
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
EXAMPLE = "correct horse battery"  # a password in the OpenAPI document
# As exact as every dialect of regular expressions allows
NAME = {"pattern": r"^[\w.-]*[^\W_][\w.-]*$"}
NOT_BLANK = {"pattern": r"^[^\x00]*[^\x00\s][^\x00]*$"}


def normalise(text: str) -> str:
    """Return the same text for texts that look the same: case-folded, in Unicode's form NFKC.

    Each step can undo another one, so they are repeated until nothing changes.
    """
    while (
        form := normalize("NFKC", INVISIBLE.sub("", normalize("NFKC", text).casefold()))
    ) != text:
        text = form
    return text


def _username(text: str) -> str:
    name = normalise(text)
    # Python's identifiers consist of letters, digits and marks (UAX 31 of Unicode)
    if not re.sub("[.-]", "_", f"_{name}").isidentifier():
        raise ValueError("A user name consists of letters, digits, and . _ -")
    if not any(character.isalnum() for character in name):
        raise ValueError("A user name has at least one letter or digit")
    if len(name) > USERNAME_LENGTH:  # form NFKC can be longer
        raise ValueError(f"A user name has at most {USERNAME_LENGTH} characters")
    return name


def _email(text: str) -> str:
    # Emails are sent to this form only: a look-alike address may be another person's. IDNA has its
    # own form of domains: case-folding would turn faß.de into fass.de, which is another domain.
    local_part, at, domain = text.rpartition("@")
    text = normalise(local_part) + at + domain
    try:
        address = validate_email(text, allow_smtputf8=False, check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    ascii_form = f"{address.local_part}@{address.ascii_domain}"
    if len(ascii_form) > EMAIL_LENGTH:
        raise ValueError(f"An email address has at most {EMAIL_LENGTH} characters")
    return ascii_form


def canonical_email(text: str) -> str | None:
    """Return the form in which an address is stored; None if the text is not an address."""
    try:
        return _email(text)
    except ValueError:
        return None


Username = Annotated[
    str,
    Field(min_length=1, max_length=USERNAME_LENGTH, examples=["ada"], json_schema_extra=NAME),
    AfterValidator(_username),
]
Email = Annotated[
    str,
    Field(
        max_length=EMAIL_LENGTH, examples=["ada@example.com"], json_schema_extra={"format": "email"}
    ),
    AfterValidator(_email),
]
Password = Secret[
    Annotated[str, Field(min_length=1, max_length=128, pattern=TEXT, examples=[EXAMPLE])]
]
NewPassword = Secret[
    Annotated[
        str, Field(min_length=8, max_length=128, examples=[EXAMPLE], json_schema_extra=NOT_BLANK)
    ]
]
