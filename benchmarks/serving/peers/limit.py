"""The limit: the service's two hot routes by hand, on Starlette, asyncpg and orjson alone."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import asyncpg
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

LAST_USE_STEP = timedelta(minutes=1)
CALLER = """
    SELECT s.id AS session_id, s.last_used_at, u.id, u.username, u.email, u.is_active, u.is_admin,
           u.is_verified, u.created_at, u.last_login_at
    FROM sessions s JOIN users u ON u.id = s.user_id
    WHERE s.token_hash = $1 AND s.expires_at > $2 AND u.is_active"""
USERS = """
    SELECT id, username, email, is_active, is_admin, is_verified, created_at, last_login_at
    FROM users WHERE id > $1 ORDER BY id LIMIT $2"""
FIELDS = (
    "id",
    "username",
    "email",
    "is_active",
    "is_admin",
    "is_verified",
    "created_at",
    "last_login_at",
)


def describe(user: Mapping[str, Any]) -> dict[str, Any]:
    return {name: user[name] for name in FIELDS}


def answer(body: dict[str, Any], status: int = 200) -> Response:
    json = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    return Response(json, status, media_type="application/json")


async def find_caller(connection: Any, request: Request) -> Mapping[str, Any] | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    now = datetime.now(UTC)
    token_hash = sha256(token.encode()).hexdigest()
    caller: Mapping[str, Any] | None = await connection.fetchrow(CALLER, token_hash, now)
    if caller and caller["last_used_at"] < now - LAST_USE_STEP:
        sql = "UPDATE sessions SET last_used_at = $1 WHERE id = $2"
        await connection.execute(sql, now, caller["session_id"])
    return caller


async def read_me(request: Request) -> Response:
    async with request.app.state.pool.acquire() as connection:
        caller = await find_caller(connection, request)
    return answer(describe(caller)) if caller else answer({"detail": "Log in."}, 401)


async def list_users(request: Request) -> Response:
    limit = int(request.query_params.get("limit", "20"))
    after = int(request.query_params.get("cursor", "0"), 16)
    async with request.app.state.pool.acquire() as connection:
        caller = await find_caller(connection, request)
        if caller is None or not caller["is_admin"]:
            return answer({"detail": "Log in."}, 401)
        users = await connection.fetch(USERS, after, limit + 1)
    following = f"{users[limit - 1]['id']:016x}" if len(users) > limit else None
    return answer({"items": [describe(user) for user in users[:limit]], "next": following})


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    url = os.environ["DATABASE_URL"]
    async with asyncpg.create_pool(url, min_size=1, max_size=10) as app.state.pool:
        yield


app = Starlette(
    routes=[Route("/users/me", read_me), Route("/users", list_users)], lifespan=lifespan
)
