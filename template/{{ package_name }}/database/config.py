"""The database configuration of the service, Aerich and the tests."""

from typing import Any

from ..settings import settings
from .backend import connection

# The modules with your models: add others here, such as "my_package.orders.models"
MODELS = [
    f"{__package__}.models",
]

TORTOISE_ORM: dict[str, Any] = {
    "connections": {"default": connection(settings)},
    "apps": {
        "models": {
            "models": [*MODELS, "aerich.models"],
            "default_connection": "default",
        },
    },
    "use_tz": True,
    "timezone": "UTC",
}
