"""What requests on users send and receive."""

from datetime import datetime

from pydantic import BaseModel, Field, Secret, StrictBool

from ..auth.identity import Email, NewPassword, Password, Username
from ..schemas import Schema


class Names(Schema):
    username: Username
    email: Email


class SignUp(Names):
    password: NewPassword


class ProfileChange(Schema):
    """What a user changes. Fields that are left out stay as they are."""

    username: Username = Field(default_factory=str)
    email: Email = Field(default_factory=str, description="Takes effect when it is confirmed")
    current_password: Password = Field(
        default_factory=lambda: Secret(""), description="Needed for another email address"
    )


class PasswordChange(Schema):
    current_password: Password
    new_password: NewPassword


class Confirmation(Schema):
    """The password, required again before an irreversible action."""

    password: Password


class UserChange(Schema):
    """What an administrator changes. Fields that are left out stay as they are."""

    is_active: StrictBool = Field(default_factory=bool)
    is_admin: StrictBool = Field(default_factory=bool)


class UserRead(BaseModel, from_attributes=True):
    id: int = Field(examples=[1])
    username: str = Field(examples=["ada"])
    email: str = Field(examples=["ada@example.com"])
    is_active: bool = Field(examples=[True])
    is_admin: bool = Field(examples=[False])
    is_verified: bool = Field(
        description="Whether the email address is confirmed", examples=[False]
    )
    created_at: datetime
    last_login_at: datetime | None
