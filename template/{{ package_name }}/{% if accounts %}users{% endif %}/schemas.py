import re
from datetime import datetime
from typing import Annotated
from unicodedata import normalize

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, Field, Secret, StrictBool

from ..api import TEXT, Schema

USERNAME_LENGTH = 50
EMAIL_LENGTH = 100
INVISIBLE = re.compile(  # letters and marks that nobody sees: Unicode's Default_Ignorable_Code_Point
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# As far as every dialect of regular expressions can say it
NAME = {"pattern": r"^[\w.-]*[^\W_][\w.-]*$"}
NOT_BLANK = {"pattern": r"^[^\x00]*[^\x00\s][^\x00]*$"}


def normalise(text: str) -> str:
    """Make equal what people take for equal: case-folded, in Unicode's form NFKC.

    Each step can undo another, so they are repeated until nothing changes.
    """
    while (
        form := normalize("NFKC", INVISIBLE.sub("", normalize("NFKC", text).casefold()))
    ) != text:
        text = form
    return text


def _username(text: str) -> str:
    name = normalise(text)
    # Python's identifiers consist of letters, digits and marks (Unicode's UAX 31)
    if not re.sub("[.-]", "_", f"_{name}").isidentifier():
        raise ValueError("A user name consists of letters, digits, and . _ -")
    if not any(character.isalnum() for character in name):
        raise ValueError("A user name has at least one letter or digit")
    if len(name) > USERNAME_LENGTH:  # form NFKC can be longer
        raise ValueError(f"A user name has at most {USERNAME_LENGTH} characters")
    return name


def _email(text: str) -> str:
    # Mail goes to this form and to no other, or look-alikes would get other people's
    try:
        address = validate_email(normalise(text), allow_smtputf8=False, check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    ascii_form = f"{address.local_part}@{address.ascii_domain}"
    if len(ascii_form) > EMAIL_LENGTH:
        raise ValueError(f"An e-mail address has at most {EMAIL_LENGTH} characters")
    return ascii_form


def canonical_email(text: str) -> str | None:
    """Return the form in which an address is stored; None if it cannot be one."""
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
Password = Secret[Annotated[str, Field(min_length=1, max_length=128, pattern=TEXT)]]
NewPassword = Secret[
    Annotated[str, Field(min_length=8, max_length=128, json_schema_extra=NOT_BLANK)]
]


class SignUp(Schema):
    username: Username
    email: Email
    password: NewPassword


class ProfileChange(Schema):
    """What a user changes; what is absent stays."""

    username: Username = Field(default_factory=str)
    email: Email = Field(
        default_factory=str, description="Replaces the present one when it is confirmed"
    )
    current_password: Password = Field(
        default_factory=lambda: Secret(""), description="Needed for another email address"
    )


class PasswordChange(Schema):
    current_password: Password
    new_password: NewPassword


class Confirmation(Schema):
    """The password, asked for again before what cannot be undone."""

    password: Password


class UserChange(Schema):
    """What an administrator changes; what is absent stays."""

    is_active: StrictBool = Field(default_factory=bool)
    is_admin: StrictBool = Field(default_factory=bool)


class UserRead(BaseModel, from_attributes=True):
    id: int
    username: str
    email: str
    is_active: bool
    is_admin: bool
    is_verified: bool
    created_at: datetime
    last_login_at: datetime | None
