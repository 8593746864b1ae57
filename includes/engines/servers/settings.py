"""The settings of the database."""

from typing import Annotated

from pydantic import AfterValidator, Field, FiniteFloat, ValidationInfo

from ..environment import Environment, refuse_plaintext
from .url import DATABASE_URL_EXAMPLE, TLS_OPTION, parse_url, uses_tls


def _check_url(url: str, info: ValidationInfo) -> str:
    parts = parse_url(url)
    if not uses_tls(parts):
        refuse_plaintext(parts.host, f"Add ?{TLS_OPTION}", info)
    return url


def _check_pool(maximum: int, info: ValidationInfo) -> int:
    minimum = info.data.get("database_pool_min", 0)
    if maximum < minimum:
        raise ValueError(f"Input should be at least DATABASE_POOL_MIN, which is {minimum}")
    return maximum


def _check_log_sql(value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - as pydantic calls it
    if value and info.data.get("environment") == "production":
        raise ValueError("Use it in development only")
    return value


class DatabaseSettings(Environment):
    database_url: Annotated[str, AfterValidator(_check_url)] = Field(
        description="Where the database is; `%` in a password is written as `%25`",
        examples=[DATABASE_URL_EXAMPLE],
        repr=False,
    )
    database_pool_min: int = Field(
        default=1, ge=0, le=1000, description="Connections kept open by each process"
    )
    database_pool_max: Annotated[int, AfterValidator(_check_pool)] = Field(
        default=10, ge=1, le=1000, description="Connections opened at most by each process"
    )
    database_connect_timeout: FiniteFloat = Field(
        default=5, gt=0, le=60, description="Seconds to wait for a new or released connection"
    )
    database_command_timeout: FiniteFloat = Field(
        default=30, gt=0, le=3600, description="Seconds to wait for the answer to a statement"
    )
    log_sql: Annotated[bool, AfterValidator(_check_log_sql)] = Field(
        default=False,
        description="Whether to log SQL statements, without their values; in development only",
        examples=["false"],
    )
