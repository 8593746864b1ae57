"""What a route asks for in its signature: who calls."""

from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import OAuth2PasswordBearer

from ..api import SessionEndedError
from ..database.models import Session, User
from . import service

_token = OAuth2PasswordBearer("auth/token", auto_error=False)


async def _current_session(token: Annotated[str | None, Depends(_token)]) -> Session:
    """Find who calls; the challenges are those of RFC 6750, section 3."""
    if token is None:
        raise HTTPException(401, "Log in first.", {"WWW-Authenticate": "Bearer"})
    session = await service.find_session(token)
    if session is None:
        raise SessionEndedError
    return session


CurrentSession = Annotated[Session, Depends(_current_session)]


async def _current_user(session: CurrentSession) -> User:
    return session.user


CurrentUser = Annotated[User, Depends(_current_user)]


async def _administrator_session(session: CurrentSession) -> Session:
    if not session.user.is_admin:
        raise HTTPException(403, "Only administrators may do this.")
    return session


AdministratorSession = Annotated[Session, Depends(_administrator_session)]


async def _administrator(session: AdministratorSession) -> User:
    return session.user


Administrator = Annotated[User, Depends(_administrator)]
