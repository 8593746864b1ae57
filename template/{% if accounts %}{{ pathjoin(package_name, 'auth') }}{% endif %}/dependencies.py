"""Dependencies for routes that need to know who calls.

They work in WebSocket routes as well, where a refusal is the answer to the handshake:

    @router.websocket("/notifications")
    async def notify(websocket: WebSocket, user: CurrentUser) -> None:
        await accept(websocket)

The token is never in the URL, which is logged.

A socket stays open when its session ends: close sockets that are open for long.
"""

from collections.abc import Callable
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, WebSocket
from fastapi.security import OAuth2PasswordBearer
from fastapi.security.base import SecurityBase
from fastapi.security.utils import get_authorization_scheme_param
from starlette.requests import HTTPConnection

from ..database.models import Session, User
from ..exceptions import ForbiddenError
from ..settings import settings
from .exceptions import UnauthenticatedError
from .sessions import find_session

# Absolute: relative to the path that Swagger UI knows, it would be wrong behind a ROOT_PATH
TOKEN_URL = f"{settings.root_path}{settings.api_prefix}/auth/token"

SCHEME = "bearer"

Caller = TypeVar("Caller")


def read_token(connection: HTTPConnection) -> str | None:
    """Return the token of a request or a WebSocket; None if it has none.

    It is in the header `Authorization: Bearer <token>`. Browsers cannot set that header for a
    WebSocket, so there the token may follow `bearer` in the list of subprotocols:

        new WebSocket("wss://example.com/notifications", ["bearer", token])
    """
    # `connection.headers` takes three times as long
    headers = connection.scope["headers"]
    given = next((value for name, value in headers if name == b"authorization"), b"")
    scheme, token = get_authorization_scheme_param(given.decode("latin-1"))
    if scheme.lower() == SCHEME:
        return token
    protocols: list[str] = connection.scope.get("subprotocols", [])
    return protocols[1] if protocols[:1] == [SCHEME] and len(protocols) > 1 else None


class Authentication(SecurityBase, Generic[Caller]):
    """Find the session of a request, once, and return it or a part of it.

    OAuth2PasswordBearer, which describes it in the OpenAPI document, does not take WebSockets.

    Args:
        select: returns the session or a part of it, or refuses.
        callers: who may call, for the list of routes.
    """

    model = OAuth2PasswordBearer(TOKEN_URL).model
    scheme_name = OAuth2PasswordBearer.__name__

    def __init__(self, select: Callable[[Session], Caller], callers: str = "users") -> None:
        self.select = select
        self.callers = callers

    async def __call__(self, connection: HTTPConnection) -> Caller:
        session: Session | None = connection.scope.get("current_session")
        if session is None:
            token = read_token(connection)
            if token is None:
                raise UnauthenticatedError
            session = connection.scope["current_session"] = await find_session(token)
        return self.select(session)


def _of_administrator(session: Session) -> Session:
    if not session.user.is_admin:
        raise ForbiddenError("Only administrators may do this.")
    return session


current_session = Authentication(lambda session: session)
current_user = Authentication(lambda session: session.user)
administrator_session = Authentication(_of_administrator, "admins")
administrator = Authentication(lambda session: _of_administrator(session).user, "admins")

CurrentSession = Annotated[Session, Depends(current_session)]
CurrentUser = Annotated[User, Depends(current_user)]
AdministratorSession = Annotated[Session, Depends(administrator_session)]
Administrator = Annotated[User, Depends(administrator)]


async def accept(websocket: WebSocket) -> None:
    """Accept a WebSocket, with the subprotocol `bearer` if the client has offered it.

    Browsers close the connection if the answer repeats none of the subprotocols they have offered.
    """
    offered = SCHEME in websocket.scope["subprotocols"]
    await websocket.accept(subprotocol=SCHEME if offered else None)
