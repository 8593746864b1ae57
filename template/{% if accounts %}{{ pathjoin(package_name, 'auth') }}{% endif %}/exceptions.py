"""The errors of logging in; `problems.py` answers each with its status."""

from typing import ClassVar

from ..exceptions import DomainError, ForbiddenError


class UnauthenticatedError(DomainError):
    """The request has no session token."""

    status = 401
    detail = "Log in first."
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}  # RFC 6750, section 3


class LoginFailedError(UnauthenticatedError):
    """The user does not exist or is inactive, or the password is wrong."""

    detail = "The user name or the password is wrong."


class SessionEndedError(UnauthenticatedError):
    """The session of the request has ended, perhaps during the request."""

    detail = "The session has ended."
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class UnverifiedError(ForbiddenError):
    """The user has to confirm the email address before logging in."""

    detail = "Confirm your email address first."
