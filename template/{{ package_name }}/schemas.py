"""Types that all request bodies and paths share."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Path
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    RootModel,
    StrictFloat,
    field_validator,
)

MAX_ID = 2**63 - 1  # of a BIGINT
MAX_DEPTH = 20  # of nested JSON; some servers allow 100
TEXT = r"^[^\x00]*$"

# An exclusive limit, because the OpenAPI document rounds MAX_ID up
Id = Annotated[int, Path(ge=1, lt=MAX_ID + 1)]


def refuse_text(text: str) -> None:
    """Raise a ValueError if a database cannot store a text."""
    if re.search("[\0\ud800-\udfff]", text):
        raise ValueError("Text cannot hold a NUL or half of a surrogate pair")


def _parts(value: JsonValue, depth: int = MAX_DEPTH) -> Iterator[JsonValue]:
    """List the keys and values of JSON, however nested."""
    if not depth:
        raise ValueError(f"JSON may be nested {MAX_DEPTH} times")
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _parts(item, depth - 1)
    else:
        yield value


def _refuse_unstorable(value: JsonValue) -> JsonValue:
    for part in _parts(value):
        if isinstance(part, str):
            refuse_text(part)
        elif isinstance(part, int | float) and not abs(part) <= MAX_ID:
            raise ValueError(f"Numbers in JSON are at most {MAX_ID}")  # and finite
    return value


_Text = Annotated[str, Field(pattern=TEXT)]
_Number = Annotated[float, Field(gt=-MAX_ID - 1, lt=MAX_ID + 1)]


class Json(RootModel["_Object | list[Json] | _Text | _Number | bool | None"]):
    """A part of a StorableJson, in the OpenAPI document."""

    model_config = ConfigDict(json_schema_mode_override="validation")  # not Json-Input, Json-Output


_Object = Annotated[dict[_Text, Json], Field(json_schema_extra={"additionalProperties": False})]
StorableJson = Annotated[  # for a JSONField, which takes no text and no number alone
    dict[str, JsonValue] | list[JsonValue],
    BeforeValidator(_refuse_unstorable, json_schema_input_type=_Object | list[Json]),
]

EARLIEST = datetime(1000, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)  # which every database stores, in every time zone


def _refuse_timestamp(value: object) -> object:
    if not isinstance(value, date) and not re.match("[0-9]{4}-", str(value)):
        raise ValueError("Use a date such as 2026-01-31, not a number")
    return value


def _refuse_bool(value: object) -> object:
    if value is True or value is False:
        raise ValueError("Use a number, not true or false")
    return value


NOT_BOOL = BeforeValidator(_refuse_bool)  # write it after limits, which OpenAPI would lack
StorableFloat = Annotated[StrictFloat, Field(allow_inf_nan=False)]
StorableDate = Annotated[date, BeforeValidator(_refuse_timestamp)]
_Datetime = Annotated[datetime, Field(json_schema_extra={"pattern": "^[1-9]"})]
StorableDatetime = Annotated[
    AwareDatetime,
    BeforeValidator(_refuse_timestamp, json_schema_input_type=_Datetime),
    Field(ge=EARLIEST, le=LATEST),
    AfterValidator(lambda value: value.astimezone(UTC)),  # some databases store no offset
]


def decimal_text(digits: int, places: int) -> BeforeValidator:
    """Return a validator that reads a decimal from text, because a JSON number may lose digits.

    Args:
        digits: the most digits, at most 28.
        places: how many of them are after the point.
    """
    whole = "[0-9]{1," + f"{digits - places}}}" if digits > places else "0"
    pattern = f"^-?{whole}" + (r"(\.[0-9]{1," + f"{places}}})?$" if places else "$")

    def read(value: object) -> object:
        if isinstance(value, Decimal) or (isinstance(value, str) and re.fullmatch(pattern, value)):
            return round(Decimal(value), places) + 0  # as it is stored: 1.5 is 1.50, -0 is 0
        raise ValueError(f'Use text such as "{0:.{places}f}", with at most {digits} digits')

    return BeforeValidator(read, json_schema_input_type=Annotated[str, Field(pattern=pattern)])


def _describe_text(schema: dict[str, Any]) -> None:
    """Add to the OpenAPI document what `Schema` refuses."""
    for field in schema.get("properties", {}).values():
        if field.get("type") == "string" and not field.keys() & {"const", "format", "pattern"}:
            field["pattern"] = TEXT


class Schema(BaseModel):
    """The base of request bodies: no unknown fields, and no text that a database cannot store."""

    model_config = ConfigDict(
        extra="forbid",
        from_attributes=True,
        hide_input_in_errors=True,  # it may be a password
        json_schema_extra=_describe_text,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_storable(cls, value: Any) -> Any:  # noqa: ANN401 - of any field
        if isinstance(value, str):
            refuse_text(value)
        return value
