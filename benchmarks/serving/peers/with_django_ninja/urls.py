"""The page of users.

The renderer is the one with orjson from django-ninja's documentation. The default one is slower,
and writes other bytes.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any

import orjson
from django.http import HttpRequest
from django.urls import path
from django.utils import timezone
from ninja import NinjaAPI, Query, Schema
from ninja.errors import HttpError
from ninja.renderers import BaseRenderer
from ninja.security import HttpBearer

from .models import Session, User

LAST_USE_STEP = timedelta(minutes=1)


class UserRead(Schema):
    id: int
    username: str
    email: str
    is_active: bool
    is_admin: bool
    is_verified: bool
    created_at: datetime
    last_login_at: datetime | None


class Page(Schema):
    items: list[UserRead]
    next: str | None


class ORJSONRenderer(BaseRenderer):
    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data, option=orjson.OPT_UTC_Z)


class SessionAuth(HttpBearer):
    async def authenticate(self, request: HttpRequest, token: str) -> User | None:
        now = timezone.now()
        token_hash = sha256(token.encode()).hexdigest()
        sessions = Session.objects.select_related("user").filter(
            token_hash=token_hash, expires_at__gt=now, user__is_active=True
        )
        if (session := await sessions.afirst()) is None:
            return None
        if session.last_used_at < now - LAST_USE_STEP:
            await Session.objects.filter(id=session.id).aupdate(last_used_at=now)
        return session.user


api = NinjaAPI(auth=SessionAuth(), renderer=ORJSONRenderer())


@api.get("/users", response=Page)
async def list_users(
    request: HttpRequest,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str, Query(pattern="^[0-9a-f]{16}$")] = "0" * 16,
) -> dict[str, Any]:
    if not request.auth.is_admin:
        raise HttpError(403, "Only administrators may do this.")
    query = User.objects.filter(id__gt=int(cursor, 16)).order_by("id")[: limit + 1]
    users = [user async for user in query]
    following = f"{users[limit - 1].id:016x}" if len(users) > limit else None
    return {"items": users[:limit], "next": following}


urlpatterns = [path("", api.urls)]
