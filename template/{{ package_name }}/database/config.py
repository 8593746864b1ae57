"""The database configuration, the one source for the service, Aerich and the tests."""

from typing import Any

from ..settings import settings
from .engine import connection

TORTOISE_ORM: dict[str, Any] = {
    "connections": {"default": connection(settings)},
    "apps": {
        "models": {
            "models": [f"{__package__}.models", "aerich.models"],
            "default_connection": "default",
        },
    },
    "use_tz": True,
    "timezone": "UTC",
}
