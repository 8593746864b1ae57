"""The setting for error reports."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo

from ..environment import Environment, refuse_plaintext


def _check_dsn(dsn: SecretStr, info: ValidationInfo) -> SecretStr:
    if not dsn.get_secret_value():
        return dsn
    try:
        parts = urlsplit(dsn.get_secret_value())
        rest = parts._replace(scheme="", netloc="").geturl()
        place = re.fullmatch("(None|[1-9][0-9]*)(/[A-Za-z0-9._~-]+)*/[0-9]+", f"{parts.port}{rest}")
        sound = parts.scheme in {"http", "https"} and parts.username and parts.hostname and place
    except ValueError:
        sound = None
    if not sound:
        raise ValueError("Input should be a project's DSN, in the form https://key@host/number")
    if parts.scheme == "http":
        refuse_plaintext(parts.hostname or "", "Use https://", info)
    return dsn


class SentrySettings(Environment):
    sentry_dsn: Annotated[SecretStr, AfterValidator(_check_dsn)] = Field(
        default=SecretStr(""),
        description="The project in Sentry or GlitchTip that errors are reported to",
        examples=["https://key@errors.example.com/1"],
    )
