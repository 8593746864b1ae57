"""One service of one engine, with a worker that runs its commands, and two databases."""

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ...support.databases import Database, new_database, session
from ...support.services import Service
from .models import Models

MIGRATE = "src.database.migrate"


class Answer(NamedTuple):
    """What a command did: its exit status, and all that it printed."""

    status: int
    output: str


class WorkerError(Exception):
    """The models or rows are not ones that Tortoise takes."""


class Bench:
    """A service whose models change.

    Attributes:
        service: the service, and the database that its migrations change.
        twin: the database where Tortoise creates the tables of the models at once.
        commands: how many commands have run.
    """

    def __init__(self, service: Service, twin: Database, worker: "subprocess.Popen[str]") -> None:
        self.service = service
        self.database = service.database
        self.twin = twin
        self.commands = 0
        self._worker = worker

    @property
    def engine(self) -> str:
        return self.database.engine

    @property
    def migrations(self) -> Path:
        return self.service.folder / "migrations" / "models"

    def files(self) -> list[Path]:
        """List the migration files in their order."""
        found = [path for path in self.migrations.glob("*.py") if path.name[0].isdigit()]
        return sorted(found, key=lambda path: int(path.name.partition("_")[0]))

    def clear(self) -> None:
        """Delete all migrations, and empty both databases."""
        for path in self.files():
            path.unlink()
        empty(self.database)
        empty(self.twin)

    def write(self, models: Models) -> None:
        self.write_source(models.source(self.engine))

    def write_source(self, source: str) -> None:
        path = self.service.folder / "src" / "database" / "models.py"
        path.write_text(source, encoding="utf-8")

    def run(self, *arguments: str) -> Answer:
        """Run a command of the migrations."""
        self.commands += 1
        return self._ask({"command": [MIGRATE, *arguments], "url": self.database.url})

    def generate(self) -> list[dict[str, Any]]:
        """Let Tortoise create the tables in the twin, and return its description of the models.

        Raises:
            WorkerError: the models are not sound, or the engine cannot have their tables.
        """
        empty(self.twin)
        answer = self._ask({"function": "generate", "url": self.twin.url})
        if answer.status:
            raise WorkerError(answer.output)
        described: list[dict[str, Any]] = json.loads(answer.output.splitlines()[-1])
        return described

    def insert(self, rows: list[dict[str, Any]], links: list[Any]) -> list[str]:
        """Insert rows with the ORM, and return its errors."""
        request = {"function": "insert", "url": self.database.url, "rows": rows, "links": links}
        answer = self._ask(request)
        if answer.status:
            raise WorkerError(answer.output)
        errors: list[str] = json.loads(answer.output.splitlines()[-1])
        return errors

    def _ask(self, request: dict[str, Any]) -> Answer:
        assert self._worker.stdin
        assert self._worker.stdout
        request["folder"] = str(self.service.folder)
        self._worker.stdin.write(json.dumps(request) + "\n")
        self._worker.stdin.flush()
        return Answer(**json.loads(self._worker.stdout.readline()))


def empty(database: Database) -> None:
    """Delete all tables of a database."""
    if database.engine == "sqlite":
        for suffix in ("", "-wal", "-shm", "-journal"):
            database.path.with_name(database.path.name + suffix).unlink(missing_ok=True)
    else:
        asyncio.run(_empty(database))


async def _empty(database: Database) -> None:
    name = database.url.rpartition("/")[2]
    statements = {
        "postgresql": ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public"),
        "mysql": (f"DROP DATABASE {name}", f"CREATE DATABASE {name}"),
    }[database.engine]
    async with session(database.url) as query:
        for statement in statements:
            await query(statement)


@contextmanager
def new_bench(engine: str, rendered: Path, commands: Path) -> Iterator[Bench]:
    """Copy a rendered service, create its databases, and start its worker; then remove them.

    Args:
        engine: the service's engine.
        rendered: the rendered service.
        commands: the folder of its environment's commands.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="random-")))
        shutil.copytree(rendered, folder / "service", ignore=shutil.ignore_patterns(".venv"))
        databases = [stack.enter_context(new_database(engine, folder)) for _ in range(2)]
        service = Service(folder / "service", commands, databases[0])
        # the modules of the service but its models stay as they are: compile them once
        subprocess.run(
            [commands / "python", "-m", "compileall", "-q", folder / "service" / "src"], check=True
        )
        for path in (folder / "service" / "src" / "database" / "__pycache__").glob("models.*"):
            path.unlink()
        worker = subprocess.Popen(
            [commands / "python", Path(__file__).with_name("worker.py")],
            cwd=folder / "service",
            env=service.variables(),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            yield Bench(service, databases[1], worker)
        finally:
            worker.communicate()  # it ends with its standard input
