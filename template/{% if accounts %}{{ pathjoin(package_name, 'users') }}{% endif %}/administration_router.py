"""Routes of administrators."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from ..auth.dependencies import Administrator, AdministratorSession
from ..database.models import User
from ..pagination import Cursor, Limit, Page, answer_page
from ..problems import problems
from ..schemas import TEXT, Id
from ..settings import settings
from . import administration
from .schemas import UserChange, UserRead

Search = Annotated[
    str, Query(max_length=100, pattern=TEXT, description="A part of the name or of the address")
]

router = APIRouter(prefix="/users", tags=["users"], responses=problems(401, 403, 503))


@router.get("", response_model=Page[UserRead])
async def list_users(
    _: Administrator, search: Search = "", limit: Limit = settings.page_size, cursor: Cursor = 0
) -> Response:
    """List users, oldest first."""
    return answer_page(await administration.list_users(search, limit, cursor), limit)


@router.get("/{user_id}", response_model=UserRead, responses=problems(404))
async def read_user(user_id: Id, _: Administrator) -> User:
    return await administration.find_user(user_id)


@router.patch("/{user_id}", response_model=UserRead, responses=problems(400, 404, 409, 413))
async def change_user(user_id: Id, body: UserChange, session: AdministratorSession) -> User:
    """Activate, deactivate, promote or demote a user."""
    changes = body.model_dump(exclude_unset=True)
    return await administration.change_user(session, user_id, changes)


@router.delete("/{user_id}", status_code=204, responses=problems(404, 409))
async def remove_user(user_id: Id, session: AdministratorSession) -> None:
    await administration.remove_user(session, user_id)
