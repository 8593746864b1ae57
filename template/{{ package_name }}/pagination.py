"""Lists in pages, with a cursor: a page takes the same time however far down the list it is."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, create_model
from tortoise.expressions import Q
from tortoise.models import Model
from tortoise.queryset import QuerySet

from .database.rows import read_values
from .exceptions import NotFoundError
from .schemas import EARLIEST, LATEST, MAX_ID, refuse_text
from .settings import settings

Item = TypeVar("Item", bound=BaseModel)
Row = TypeVar("Row", bound=Model)

_json: TypeAdapter[Any] = TypeAdapter(Any)
CURSOR = "^[0-7][0-9a-f]{15}$"  # an id, in hexadecimal digits


class Page(BaseModel, Generic[Item]):
    """Some items, and the cursor of the next page unless this is the last."""

    items: list[Item]
    next: str | None = Field(
        description="Pass it as `cursor` to get the next page", examples=["0000000000000014"]
    )


def _read_cursor(cursor: str) -> int:
    if not re.fullmatch(CURSOR, cursor, re.ASCII):
        raise ValueError("This is not a cursor: use `next` of the previous page")
    return int(cursor, 16)


Limit = Annotated[int, Query(ge=1, le=settings.page_size_max, description="Items on a page")]
Cursor = Annotated[
    int,
    BeforeValidator(_read_cursor, json_schema_input_type=Annotated[str, Field(pattern=CURSOR)]),
    Query(description="`next` of the previous page"),
]

SortCursor = Annotated[str, Query(max_length=4000, description="`next` of the previous page")]


def page_query(
    query: QuerySet[Row], limit: int, cursor: int, *, newest_first: bool = False
) -> QuerySet[Row]:
    """Restrict a query to the rows of a page and the one after them, like `paginate`."""
    if cursor:
        query = query.filter(**{"id__lt" if newest_first else "id__gt": cursor})
    return query.order_by("-id" if newest_first else "id").limit(limit + 1)


def make_page(schema: type[Item], rows: Sequence[Any], limit: int) -> Page[Item]:
    """Build a page from at most `limit` + 1 rows, which are models or dictionaries."""
    items = [schema.model_validate(row, from_attributes=True) for row in rows[:limit]]
    return Page(items=items, next=_next_cursor(rows, limit))


def answer_page(rows: Sequence[dict[str, Any]], limit: int) -> Response:
    """Answer with a page of at most `limit` + 1 rows, which contain a schema's fields and no others.

    The database has checked their types: without a second check, a page costs 4 % less.
    """
    return _answer(rows[:limit], _next_cursor(rows, limit))


def _answer(items: Sequence[dict[str, Any]], cursor: str | None) -> Response:
    body = _json.dump_json({"items": items, "next": cursor})
    return Response(body, media_type="application/json")


def _next_cursor(rows: Sequence[Any], limit: int) -> str | None:
    if len(rows) <= limit:
        return None
    last = rows[limit - 1]
    return f"{last['id'] if isinstance(last, dict) else last.id:016x}"


async def paginate(
    schema: type[Item], query: QuerySet[Any], limit: int, cursor: int, *, newest_first: bool = False
) -> Page[Item]:
    """Run a query for one page.

    Args:
        schema: what each row becomes.
        query: the query, without an order. Its model has an integer primary key `id`.
        limit: the number of items on the page.
        cursor: the cursor of the request.
        newest_first: whether the highest ids come first.
    """
    rows = await page_query(query, limit, cursor, newest_first=newest_first)
    return make_page(schema, rows, limit)


async def answer_list(
    schema: type[BaseModel],
    query: QuerySet[Any],
    limit: int,
    cursor: int,
    *,
    newest_first: bool = False,
) -> Response:
    """Run a query for one page, like `paginate`, and answer with it.

    It reads rows, not instances of the model, which takes less time. So the schema's fields are
    columns, and its aliases, computed fields, validators and serializers have no effect.
    """
    page = page_query(query, limit, cursor, newest_first=newest_first)
    return answer_page(await read_values(page.values(*schema.model_fields)), limit)


async def paginate_sorted(
    schema: type[Item], query: QuerySet[Any], limit: int, cursor: str, sort: str
) -> Page[Item]:
    """Run a query for one page, like `paginate`, in the order of a field and then of the id.

    The field is never null; "-" before it puts the highest first. The first cursor is empty.

    Raises:
        NotFoundError: the cursor is not one of this order.
    """
    rows = await _sorted_query(schema, query, limit, cursor, sort)
    page = make_page(schema, rows, limit)
    page.next = _next_sort_cursor(schema, rows, limit, sort)
    return page


async def answer_sorted_list(
    schema: type[BaseModel], query: QuerySet[Any], limit: int, cursor: str, sort: str
) -> Response:
    """Run a query for one page, like `paginate_sorted`, and answer with it, like `answer_list`."""
    page = _sorted_query(schema, query, limit, cursor, sort)
    rows = await read_values(page.values(*schema.model_fields))
    return _answer(rows[:limit], _next_sort_cursor(schema, rows, limit, sort))


def _sorted_query(
    schema: type[BaseModel], query: QuerySet[Row], limit: int, cursor: str, sort: str
) -> QuerySet[Row]:
    """Restrict a query to the rows of a page and the one after them, in an order."""
    field, sign = sort.removeprefix("-"), "-" if sort.startswith("-") else ""
    if cursor:
        column = query.model._meta.fields_map.get(field)  # none, if the query computes it
        limits = column.constraints if column else {}
        value, last_id = _read_position(schema, field, limits, cursor)
        beyond = "lt" if sign else "gt"
        after: dict[str, Any] = {f"{field}__{beyond}": value}
        after_equal: dict[str, Any] = {f"id__{beyond}": last_id}
        query = query.filter(Q(**after) | Q(**after_equal), **{f"{field}__{beyond}e": value})
    order = dict.fromkeys([field, "id"])
    return query.order_by(*(f"{sign}{name}" for name in order)).limit(limit + 1)


def _next_sort_cursor(
    schema: type[BaseModel], rows: Sequence[Any], limit: int, sort: str
) -> str | None:
    if len(rows) <= limit:
        return None
    position = _position(schema, sort.removeprefix("-"))
    last = position.model_validate(rows[limit - 1], from_attributes=True, extra="ignore")
    return urlsafe_b64encode(last.model_dump_json().encode()).decode().rstrip("=")


@cache
def _position(schema: type[BaseModel], field: str) -> type[BaseModel]:
    """Create the schema of a cursor: what the last row of a page has in the columns of the order."""
    declared = schema.model_fields[field]
    columns: dict[str, Any] = {field: (declared.annotation, declared)}
    columns["id"] = (int, Field(ge=1, le=MAX_ID))
    return create_model("Position", __config__=ConfigDict(extra="forbid"), **columns)


def _read_position(
    schema: type[BaseModel], field: str, limits: dict[str, Any], cursor: str
) -> tuple[Any, int]:
    try:
        text = urlsafe_b64decode(f"{cursor}==")
        position = _position(schema, field).model_validate_json(text).model_dump()
        _refuse_impossible(position[field], limits)
    except ValueError:
        raise NotFoundError("There is no such page: use `next` of the previous page.") from None
    return position[field], position["id"]


def _refuse_impossible(value: object, limits: dict[str, Any]) -> None:
    """Refuse what no row has: to compare a column with it can fail in the database."""
    is_possible = True
    if isinstance(value, str):
        refuse_text(value)
        is_possible = len(value) <= limits.get("max_length", len(value))
    elif isinstance(value, int):
        is_possible = limits.get("ge", value) <= value <= limits.get("le", value)
    elif isinstance(value, datetime) and value.tzinfo:
        is_possible = EARLIEST <= value <= LATEST
    if not is_possible:
        raise ValueError("The column cannot have this value")
