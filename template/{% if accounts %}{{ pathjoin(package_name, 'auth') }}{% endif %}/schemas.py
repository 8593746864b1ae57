from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, Secret

from ..schemas import TEXT, Schema
from .identity import Email, NewPassword, Password

Token = Secret[
    Annotated[
        str, Field(min_length=1, max_length=100, pattern=TEXT, examples=["the-token-of-the-link"])
    ]
]


class Login(Schema):
    """The form of OAuth 2.0's password grant (RFC 6749, section 4.3.2)."""

    grant_type: Literal["password"] = "password"
    username: str = Field(
        max_length=100, description="The user name or the email address", examples=["ada"]
    )
    password: Password
    scope: str = ""
    client_id: str = ""
    client_secret: str = Field(default="", repr=False)


class AccessToken(Schema):
    """The answer to a login (RFC 6749, section 5.1)."""

    access_token: str = Field(repr=False, examples=["the-token"])
    token_type: Literal["bearer"] = Field(default="bearer")
    expires_in: int = Field(description="Seconds", examples=[2_592_000])


class SessionRead(Schema):
    id: int = Field(examples=[7])
    device: str = Field(description="Its User-Agent header", examples=["curl/8.14.1"])
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    is_current: bool = Field(description="Whether it is the session of this request")


class EmailRequest(Schema):
    email: Email


class PasswordReset(Schema):
    token: Token
    password: NewPassword


class EmailVerification(Schema):
    token: Token
