"""Install and run the service and what it is compared with, with their databases."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.accounts import UNTHROTTLED
from tests.support.databases import new_database
from tests.support.services import Server, Service, install, uv
from tools.render import render

from . import frameworks, generated
from .environments import MissingError, frozen
from .load import pin, workers

PEERS = Path(__file__).parent / "peers"
SERVICE = ("python", "-m", "src")
IDIOM = ("uvicorn", "idiom:app", "--no-access-log")
BARE = ("uvicorn", "bare:app", "--no-access-log")
FACTORY = ("uvicorn", "--factory", "--no-access-log")


@dataclass
class Contestants:
    """What is measured, each installed, with its database prepared.

    Attributes:
        service: the rendered service.
        peers: those that run in its environment, on its database.
        frameworks: those that run in their own environments, on its database.
        other: the service of the best-known generator.
        generator: the folder of the generator's commands.
        missing: what could not be installed, and why.
    """

    service: Service
    peers: Service
    frameworks: dict[str, Service] = field(default_factory=dict)
    other: Service | None = None
    generator: Path | None = None
    missing: list[str] = field(default_factory=list)

    def packages(self) -> list[str]:
        """List the pinned packages of what the service is compared with."""
        generator = [generated.GENERATOR] if self.other else []
        return [
            *dict.fromkeys(
                package
                for name in self.frameworks
                for package in frameworks.FRAMEWORKS[name].packages
                if "==" in package
            ),
            *generator,
        ]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def prepared(
    template: Path, folder: Path, engine: str, rows: int, *, with_frameworks: bool
) -> Iterator[Contestants]:
    with ExitStack() as stack:
        say("render and install the service")
        rendered = render(template, folder / "service", {"database": engine})
        commands = install(rendered, "serving" if engine == "postgresql" else engine)
        database = stack.enter_context(new_database(engine, folder))
        quiet = {"LOG_LEVEL": "WARNING", "ENVIRONMENT": "production", **UNTHROTTLED}
        service = Service(rendered, commands, database, environment=quiet)
        service.upgrade()
        contestants = Contestants(service, Service(PEERS, commands, database))
        if engine == "postgresql":
            uv(rendered, "pip", "install", "--quiet", "--python", str(commands.parent), "orjson")
            generated.make_table(database, rows)
            if with_frameworks:
                _add_frameworks(contestants, folder)
            _add_generated(contestants, folder, stack, rows)
        yield contestants


def _add_frameworks(contestants: Contestants, folder: Path) -> None:
    say("install other frameworks")
    constraints = frozen(contestants.peers.commands, *frameworks.SHARED)
    for name, framework in frameworks.FRAMEWORKS.items():
        try:
            commands = frameworks.install(framework, folder / name, constraints)
        except MissingError as error:
            _skip(contestants, error)
        else:
            contestants.frameworks[name] = Service(PEERS, commands, contestants.service.database)


def _add_generated(contestants: Contestants, folder: Path, stack: ExitStack, rows: int) -> None:
    say("render and install the best-known generator's service")
    try:
        contestants.generator = generated.install_generator(folder)
        path = generated.generate(contestants.generator, folder / "generated")
    except MissingError as error:
        _skip(contestants, error)
        return
    database = stack.enter_context(new_database("postgresql", folder))
    generated.make_table(database, rows)
    commands, environment = path / ".venv" / "bin", generated.variables(database)
    contestants.other = Service(path, commands, database, "peer", environment)


def _skip(contestants: Contestants, error: MissingError) -> None:
    contestants.missing.append(str(error))
    say(f"skipped: {error}")


@contextmanager
def running(contestants: Contestants) -> Iterator[dict[str, Server]]:
    """Start all, with one worker each, on the first core; `two` has one worker on each core."""
    with ExitStack() as stack:
        servers: dict[str, AbstractContextManager[Server]] = {
            "service": contestants.service.serve(),
            "idiom": contestants.peers.serve(*IDIOM),
        }
        if contestants.service.database.engine == "postgresql":
            servers |= _others(contestants)
        started = {name: stack.enter_context(server) for name, server in servers.items()}
        for server in started.values():
            for number, worker in enumerate(workers(server.process.pid)):
                pin(worker.pid, last=number > 0)
        yield started


def _others(contestants: Contestants) -> dict[str, AbstractContextManager[Server]]:
    """List what only runs on PostgreSQL, or is measured once."""

    def serve_factory(name: str) -> AbstractContextManager[Server]:
        protocol = "--http=src.http_protocol:LimitedProtocol"
        return contestants.service.serve(*FACTORY, name, protocol, PYTHONPATH=str(PEERS))

    others: dict[str, AbstractContextManager[Server]] = {
        "limit": contestants.peers.serve("uvicorn", "limit:app", "--no-access-log"),
        "bare": contestants.peers.serve(*BARE),
        "hundred": serve_factory("hundred:make_service"),
        "bare_hundred": contestants.peers.serve(*FACTORY, "hundred:make_bare"),
        "dummies": serve_factory("dummies:make_service"),
        "two": contestants.service.serve(WEB_CONCURRENCY="2"),
    }
    for name, service in contestants.frameworks.items():
        app = frameworks.FRAMEWORKS[name].app
        others[name] = service.serve("uvicorn", app, "--no-access-log")
    if contestants.other:
        others["generator"] = contestants.other.serve(*generated.COMMAND)
    return others
