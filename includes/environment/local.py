"""The environment that the service runs in: the base of its settings."""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field
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
