"""The page of users with Litestar, Advanced Alchemy and msgspec, as their documentation shows them."""

import os
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any

from advanced_alchemy.base import BigIntBase
from advanced_alchemy.extensions.litestar import (
    AsyncSessionConfig,
    EngineConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyPlugin,
    providers,
    repository,
    service,
)
from advanced_alchemy.filters import LimitOffset, OrderBy
from litestar import Litestar, get
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.params import Parameter
from msgspec import Struct
from sqlalchemy import DateTime, ForeignKey, String, select
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship

LAST_USE_STEP = timedelta(minutes=1)


class User(BigIntBase):
    __tablename__ = "users"

    username: Mapped[str] = mapped_column(String(50), unique=True)
    email: Mapped[str] = mapped_column(String(100), unique=True)
    hashed_password: Mapped[str] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(default=True)
    is_admin: Mapped[bool] = mapped_column(default=False)
    is_verified: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    last_login_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Session(BigIntBase):
    __tablename__ = "sessions"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="cascade"))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    device: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    user: Mapped[User] = relationship()


class UserRead(Struct):
    id: int
    username: str
    email: str
    is_active: bool
    is_admin: bool
    is_verified: bool
    created_at: datetime
    last_login_at: datetime | None


class Page(Struct):
    items: list[UserRead]
    next: str | None


class UserService(service.SQLAlchemyAsyncRepositoryService[User]):
    class Repository(repository.SQLAlchemyAsyncRepository[User]):
        model_type = User

    repository_type = Repository


alchemy = SQLAlchemyAsyncConfig(
    connection_string=os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"),
    engine_config=EngineConfig(pool_size=10, max_overflow=0),
    session_config=AsyncSessionConfig(expire_on_commit=False),
)


class SessionMiddleware(AbstractAuthenticationMiddleware):
    async def authenticate_request(
        self, connection: ASGIConnection[Any, Any, Any, Any]
    ) -> AuthenticationResult:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise NotAuthorizedException
        now = datetime.now(UTC)
        database = alchemy.provide_session(connection.app.state, connection.scope)
        query = (
            select(Session)
            .join(Session.user)
            .where(
                Session.token_hash == sha256(token.encode()).hexdigest(),
                Session.expires_at > now,
                User.is_active,
            )
            .options(joinedload(Session.user, innerjoin=True))
        )
        session = await database.scalar(query)
        if session is None:
            raise NotAuthorizedException
        if session.last_used_at < now - LAST_USE_STEP:
            session.last_used_at = now
            await database.commit()
        return AuthenticationResult(user=session.user, auth=session)


def require_administrator(
    connection: ASGIConnection[Any, User, Any, Any], _: BaseRouteHandler
) -> None:
    if not connection.user.is_admin:
        raise PermissionDeniedException


@get(
    "/users",
    guards=[require_administrator],
    dependencies=providers.create_service_dependencies(UserService, "users"),
)
async def list_users(
    users: UserService,
    limit: Annotated[int, Parameter(ge=1, le=100)] = 20,
    cursor: Annotated[str, Parameter(pattern="^[0-9a-f]{16}$")] = "0" * 16,
) -> Page:
    found = await users.list(
        User.id > int(cursor, 16), OrderBy("id", "asc"), LimitOffset(limit + 1, 0)
    )
    following = f"{found[limit - 1].id:016x}" if len(found) > limit else None
    items = users.to_schema(found[:limit], schema_type=UserRead).items
    return Page(items=list(items), next=following)


app = Litestar(
    route_handlers=[list_users],
    middleware=[SessionMiddleware],
    plugins=[SQLAlchemyPlugin(config=alchemy)],
)
