"""The list of fastapi_template's service, as a team writes it in the rendered service."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query
from pydantic import BaseModel
from tortoise import fields
from tortoise.models import Model
from tortoise.queryset import ValuesQuery

from src.database.config import TORTOISE_ORM
from src.database.prepared import compiled
from src.main import create_app
from src.pagination import Limit
from src.schemas import MAX_ID


class DummyModel(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=200)


class DummyRead(BaseModel):
    id: int
    name: str


Offset = Annotated[int, Query(ge=0, le=MAX_ID)]

router = APIRouter(prefix="/api/dummy")


@compiled
def read_page(limit: int, offset: int) -> ValuesQuery[Literal[False]]:
    return DummyModel.all().offset(offset).limit(limit).values(*DummyRead.model_fields)


@router.get("/", response_model=list[DummyRead])
async def list_dummies(limit: Limit = 10, offset: Offset = 0) -> list[dict[str, Any]]:
    return await read_page(limit, offset)


def make_service() -> FastAPI:
    TORTOISE_ORM["apps"]["models"]["models"].append(__name__)
    app: FastAPI = create_app()
    app.include_router(router)
    return app
