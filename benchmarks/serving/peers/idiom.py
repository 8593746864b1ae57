"""The service's two hot routes as FastAPI's and Tortoise's documentation shows them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel, ConfigDict
from tortoise import fields
from tortoise.contrib.fastapi import RegisterTortoise
from tortoise.models import Model

LAST_USE_STEP = timedelta(minutes=1)


class User(Model):
    id = fields.BigIntField(primary_key=True)
    username = fields.CharField(max_length=50, unique=True)
    email = fields.CharField(max_length=100, unique=True)
    hashed_password = fields.CharField(max_length=255)
    is_active = fields.BooleanField(default=True)
    is_admin = fields.BooleanField(default=False)
    is_verified = fields.BooleanField(default=False)
    created_at = fields.DatetimeField(auto_now_add=True)
    last_login_at = fields.DatetimeField(null=True)

    class Meta:
        table = "users"


class Session(Model):
    id = fields.BigIntField(primary_key=True)
    user: fields.ForeignKeyRelation[User] = fields.ForeignKeyField("models.User", "sessions")
    token_hash = fields.CharField(max_length=64, unique=True)
    device = fields.CharField(max_length=200)
    created_at = fields.DatetimeField()
    last_used_at = fields.DatetimeField()
    expires_at = fields.DatetimeField()

    class Meta:
        table = "sessions"


class UserRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    username: str
    email: str
    is_active: bool
    is_admin: bool
    is_verified: bool
    created_at: datetime
    last_login_at: datetime | None


class Page(BaseModel):
    items: list[UserRead]
    next: str | None


bearer = OAuth2PasswordBearer("auth/token")


async def current_user(token: Annotated[str, Depends(bearer)]) -> User:
    now = datetime.now(UTC)
    session = await Session.get_or_none(
        token_hash=sha256(token.encode()).hexdigest(), expires_at__gt=now, user__is_active=True
    ).select_related("user")
    if session is None:
        raise HTTPException(401, "Log in.")
    if session.last_used_at < now - LAST_USE_STEP:
        await Session.filter(id=session.id).update(last_used_at=now)
    return session.user


CurrentUser = Annotated[User, Depends(current_user)]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    url = os.environ["DATABASE_URL"].replace("postgresql://", "asyncpg://")
    pool = "" if url.startswith("sqlite") else "?minsize=1&maxsize=10"
    config: dict[str, Any] = {
        "connections": {"default": f"{url}{pool}"},
        "apps": {"models": {"models": [__name__]}},
        "use_tz": True,
        "timezone": "UTC",
    }
    async with RegisterTortoise(app, config=config):
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/users/me", response_model=UserRead)
async def read_me(user: CurrentUser) -> User:
    return user


@app.get("/users", response_model=Page)
async def list_users(
    user: CurrentUser,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str, Query(pattern="^[0-9a-f]{16}$")] = "0" * 16,
) -> dict[str, Any]:
    if not user.is_admin:
        raise HTTPException(403, "Only administrators may do this.")
    users = await User.filter(id__gt=int(cursor, 16)).order_by("id").limit(limit + 1)
    following = f"{users[limit - 1].id:016x}" if len(users) > limit else None
    return {"items": users[:limit], "next": following}


@app.get("/livez")
async def livez() -> dict[str, str]:
    return {"status": "alive"}
