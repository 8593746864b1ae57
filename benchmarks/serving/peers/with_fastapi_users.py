"""The page of users with fastapi-users and SQLAlchemy, as their documentation shows them.

Sessions are fastapi-users' own: its database strategy has a table for tokens.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from fastapi_users import BaseUserManager, FastAPIUsers, IntegerIDMixin
from fastapi_users.authentication import AuthenticationBackend, BearerTransport
from fastapi_users.authentication.strategy.db import DatabaseStrategy
from fastapi_users_db_sqlalchemy import SQLAlchemyBaseUserTable, SQLAlchemyUserDatabase
from fastapi_users_db_sqlalchemy.access_token import (
    SQLAlchemyAccessTokenDatabase,
    SQLAlchemyBaseAccessTokenTable,
)
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import BigInteger, DateTime, ForeignKey, String, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DAY = 24 * 60 * 60


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTable[int], Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    username: Mapped[str] = mapped_column(String(50), unique=True)
    is_superuser: Mapped[bool] = mapped_column("is_admin", default=False)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    last_login_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class AccessToken(SQLAlchemyBaseAccessTokenTable[int], Base):
    __tablename__ = "access_tokens"

    token: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="cascade"))


class UserRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    username: str
    email: str
    is_active: bool
    is_admin: bool = Field(validation_alias="is_superuser")
    is_verified: bool
    created_at: datetime
    last_login_at: datetime | None


class Page(BaseModel):
    items: list[UserRead]
    next: str | None


class UserManager(IntegerIDMixin, BaseUserManager[User, int]):
    pass


url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
engine = create_async_engine(url, pool_size=10, max_overflow=0)
make_session = async_sessionmaker(engine, expire_on_commit=False)


async def get_session() -> AsyncIterator[AsyncSession]:
    async with make_session() as session:
        yield session


DatabaseSession = Annotated[AsyncSession, Depends(get_session)]


async def get_user_manager(session: DatabaseSession) -> AsyncIterator[UserManager]:
    yield UserManager(SQLAlchemyUserDatabase(session, User))


def get_strategy(session: DatabaseSession) -> DatabaseStrategy[User, int, AccessToken]:
    tokens = SQLAlchemyAccessTokenDatabase(session, AccessToken)
    return DatabaseStrategy(tokens, lifetime_seconds=30 * DAY)


backend = AuthenticationBackend("session", BearerTransport("auth/token"), get_strategy)
fastapi_users = FastAPIUsers[User, int](get_user_manager, [backend])
current_administrator = fastapi_users.current_user(active=True, superuser=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/users", response_model=Page, dependencies=[Depends(current_administrator)])
async def list_users(
    session: DatabaseSession,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str, Query(pattern="^[0-9a-f]{16}$")] = "0" * 16,
) -> dict[str, Any]:
    query = select(User).where(User.id > int(cursor, 16)).order_by(User.id).limit(limit + 1)
    users = (await session.scalars(query)).all()
    following = f"{users[limit - 1].id:016x}" if len(users) > limit else None
    return {"items": users[:limit], "next": following}
