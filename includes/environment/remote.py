"""The environment that the service runs in: the base of its settings."""

import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo
from pydantic_settings import BaseSettings

PROJECT = Path(__file__).parent.parent


def read_version() -> str:
    """Return the version in `pyproject.toml`, or 0 in an image without that file."""
    file = PROJECT / "pyproject.toml"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return str(tomllib.loads(text).get("project", {}).get("version", "0"))


class Environment(BaseSettings):
    """What other settings depend on. `Settings` reads them."""

    environment: Literal["development", "production"] = Field(
        default="development",
        description="Where the service runs: logs are readable in development, JSON in production",
        examples=["production"],
    )
    require_tls: bool = Field(
        default=True,
        description="Whether connections to other machines need TLS in production",
        examples=["false"],
    )


def refuse_plaintext(host: str, fix: str, info: ValidationInfo) -> None:
    """Refuse a connection without TLS in production, unless it stays on this machine.

    Raises:
        ValueError: it is refused.
    """
    try:
        local = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        local = False
    if info.data.get("environment") == "production" and info.data.get("require_tls") and not local:
        raise ValueError(f"{fix} for TLS, or set REQUIRE_TLS=false to allow plain connections")
