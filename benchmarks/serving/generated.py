"""The best-known generator with Tortoise, s3rius/FastAPI-template, and the service it renders."""

import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.support.databases import Database
from tests.support.services import bare_environment

from .environments import MissingError, make_environment

GENERATOR = "fastapi_template==6.1.2"
PYTHON = (3, 12)  # that its services need at least
LIST = "/api/dummy/?limit=10"
ALIVE = "/api/health"
COMMAND = ("uvicorn", "--factory", "peer.web.application:get_app", "--no-access-log")

ANSWERS = (
    "--name=peer",
    "--db=postgresql",
    "--orm=tortoise",
    "--api-type=rest",
    "--ci=none",
    "--migrations",
    "--dummy",
    "--routers",
    "--quiet",
    "--force",
)
TABLE = "CREATE TABLE dummymodel (id SERIAL PRIMARY KEY, name VARCHAR(200) NOT NULL)"


def install_generator(folder: Path) -> Path:
    """Install the generator into a new environment.

    Returns:
        The folder of its commands.

    Raises:
        MissingError: it could not be installed, or its services could not run.
    """
    if sys.version_info < PYTHON:
        raise MissingError(
            f"{GENERATOR} needs Python 3.12: `uv run --python 3.13 -m benchmarks.serving`"
        )
    return make_environment(folder / "generator", GENERATOR)


def generate(generator: Path, folder: Path) -> Path:
    """Generate and install a service, as the generator does in one command.

    Args:
        generator: the folder of the generator's commands.
        folder: where to put it.

    Returns:
        The service's folder.

    Raises:
        MissingError: it could not be generated.
    """
    folder.mkdir(parents=True)
    uv = Path(shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv").parent
    inherited = bare_environment()
    environment = inherited | {
        "PATH": f"{uv}:{inherited['PATH']}",
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_PROJECT_ENVIRONMENT": ".venv",  # not the one that this runs in
    }
    process = subprocess.run(
        [generator / "fastapi_template", *ANSWERS],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    service = folder / "peer"
    if process.returncode or not (service / ".venv").is_dir():
        last = (process.stdout.strip().splitlines() or [""])[-1]
        raise MissingError(f"{GENERATOR} made no service: {last}")
    return service


def variables(database: Database) -> dict[str, str]:
    """The settings with which the service uses a database, and logs no requests."""
    parts = urlsplit(database.url)
    return {
        "PEER_DB_HOST": parts.hostname or "",
        "PEER_DB_PORT": str(parts.port or 5432),
        "PEER_DB_USER": unquote(parts.username or ""),
        "PEER_DB_PASS": unquote(parts.password or ""),
        "PEER_DB_BASE": parts.path[1:],
        "PEER_LOG_LEVEL": "WARNING",
        "PEER_RELOAD": "false",
    }


def make_table(database: Database, rows: int) -> None:
    """Create its table, which `aerich upgrade` does not, and fill it."""
    database.query(TABLE)
    database.query(
        f"INSERT INTO dummymodel (name) SELECT 'd' || i FROM generate_series(1, {rows}) i"
    )
