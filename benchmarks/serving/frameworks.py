"""Other frameworks that answer a page of users with a session, each in its own environment."""

import sys
from pathlib import Path
from typing import NamedTuple

from .environments import make_environment

# Packages that all have in the service's version
SHARED = ("asyncpg", "fastapi", "httptools", "orjson", "pydantic", "uvicorn", "uvloop")
DJANGO = "6.1.3" if sys.version_info >= (3, 12) else "5.2.19"
ALCHEMY = "sqlalchemy[asyncio]==2.0.58"

# fastapi-users finds sessions in this table, which it creates when it starts
ADD_TOKEN = """
    INSERT INTO access_tokens (token, user_id, created_at)
    SELECT '{token}', id, now() FROM users WHERE username = 'ada'"""


class Framework(NamedTuple):
    """A framework: the application in `peers/` that uses it, and its packages."""

    app: str
    packages: tuple[str, ...]


FRAMEWORKS = {
    "fastapi_users": Framework(
        "with_fastapi_users:app",
        ("fastapi-users==15.0.5", "fastapi-users-db-sqlalchemy==7.0.0", ALCHEMY, "asyncpg"),
    ),
    "litestar": Framework(
        "with_litestar:app",
        ("litestar==2.25.0", "advanced-alchemy==1.12.0", "msgspec==0.22.0", ALCHEMY, "asyncpg"),
    ),
    "django_ninja": Framework(
        "with_django_ninja.asgi:app",
        ("django-ninja==1.7.1", f"django=={DJANGO}", "psycopg[binary,pool]==3.3.9", "orjson"),
    ),
}


def install(framework: Framework, path: Path, constraints: str) -> Path:
    """Install a framework and the server into a new environment.

    Returns:
        The folder of its commands.

    Raises:
        MissingError: it cannot be installed.
    """
    server = ("uvicorn", "uvloop", "httptools")
    return make_environment(path, *framework.packages, *server, constraints=constraints)
