"""The settings of the database."""

from typing import Annotated

from pydantic import AfterValidator, Field, FiniteFloat, ValidationInfo

from ..environment import Environment
from .url import DATABASE_URL_EXAMPLE, parse_url


def _check_url(url: str) -> str:
    parse_url(url)
    return url


def _check_log_sql(value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - as pydantic calls it
    if value and info.data.get("environment") == "production":
        raise ValueError("Use it in development only")
    return value


class DatabaseSettings(Environment):
    database_url: Annotated[str, AfterValidator(_check_url)] = Field(
        default="sqlite://db.sqlite3",
        description="The database's file; a relative path starts at the project folder",
        examples=[DATABASE_URL_EXAMPLE],
        repr=False,
    )
    database_busy_timeout: FiniteFloat = Field(
        default=5, ge=0, le=60, description="Seconds to wait for another writer before giving up"
    )
    log_sql: Annotated[bool, AfterValidator(_check_log_sql)] = Field(
        default=False,
        description="Whether to log SQL statements, without their values; in development only",
        examples=["false"],
    )
