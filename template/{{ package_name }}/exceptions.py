"""The errors that services raise. `problems.py` answers each with its status."""

from typing import ClassVar


class DomainError(Exception):
    """The base of the service's own errors: subclass it, or raise one of the errors below.

    Attributes:
        status: the HTTP status of the answer.
        detail: what the client reads unless the error is raised with another text.
        headers: the headers of the answer.
    """

    status: ClassVar[int] = 400
    detail: ClassVar[str | None] = None
    headers: ClassVar[dict[str, str]] = {}

    def __str__(self) -> str:
        return super().__str__() or self.detail or ""


class ForbiddenError(DomainError):
    """The user may not do this, or no longer."""

    status = 403


class NotFoundError(DomainError):
    """The object does not exist, or the user may not know that it does."""

    status = 404
    detail = "There is no such object."


class ConflictError(DomainError):
    """The request conflicts with what is stored."""

    status = 409


class RuleViolationError(DomainError):
    """The request is well-formed, but its content breaks a rule."""

    status = 422


class OverloadedError(DomainError):
    """The service has too much to do right now."""

    status = 503
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}  # seconds
