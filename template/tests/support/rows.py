"""Rows with any values, for tests that need one to refer to."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from tortoise.models import Model

_numbers = count(uuid4().int % 2**15)  # one for each row, so that short values are unique too


async def row_of(model: type[Model]) -> Model:
    """Store a row with its required fields, and the rows that it refers to."""
    fields = model._meta.fields_map
    values: dict[str, Any] = {}
    columns = set(model._meta.db_fields)
    for name in sorted(model._meta.fk_fields | model._meta.o2o_fields):
        relation: Any = fields[name]
        columns.discard(relation.source_field)
        if not relation.null:
            values[name] = await row_of(relation.related_model)
    number = next(_numbers)
    for name in sorted(columns):
        if fields[name].required:
            values[name] = _value_of(fields[name], number)
    return await model.create(**values)


def _value_of(field: Any, number: int) -> object:  # noqa: ANN401 - its type says which attributes it has
    kind = field.field_type
    if hasattr(field, "enum_type"):
        return next(iter(field.enum_type))
    if not isinstance(kind, type):
        return {}  # JSON
    if issubclass(kind, str):
        return f"{uuid4().hex}{number:04x}"[::-1][: getattr(field, "max_length", None)]
    if issubclass(kind, Decimal):
        return Decimal(number % 10**field.max_digits).scaleb(-field.decimal_places)
    values: dict[type, object] = {
        bool: True,
        int: number,
        float: number / 2,
        date: date(2026, 1, 1) + timedelta(days=number),
        datetime: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
        UUID: uuid4(),
    }
    return values[kind]
