"""How long it takes until a service answers: from its start, and from nothing at all."""

import http.client
import subprocess
import sys
import time
from pathlib import Path

from tests.support.databases import new_database
from tests.support.services import Service, bare_environment, free_port
from tools.releases import history, releases
from tools.render import git

from . import generated
from .load import LoadError

DEADLINE = 120.0  # seconds


def _is_200(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def time_start(service: Service, command: tuple[str, ...], path: str) -> float:
    """Measure the seconds from the start of a service to its first answer of 200.

    Args:
        service: what to start, and to stop again.
        command: how; uvicorn is told the port, others read it from the environment.
        path: what to ask for.

    Raises:
        LoadError: it did not answer.
    """
    port = free_port()
    if command[0] == "uvicorn":
        command = (*command, "--port", str(port))
    start = time.perf_counter()
    process = service.popen(*command, PORT=str(port))
    try:
        while not _is_200(port, path):
            if process.poll() is not None or time.perf_counter() - start > DEADLINE:
                process.kill()
                raise LoadError(f"{command} does not answer:\n{process.communicate()[0]}")
            time.sleep(0.002)
        return time.perf_counter() - start
    finally:
        process.terminate()
        process.communicate()


def _copier(*arguments: str | Path, folder: Path) -> float:
    """Run Copier, and return the seconds it took."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "copier", *arguments],
        cwd=folder,
        env=bare_environment(),
        capture_output=True,
        check=True,
    )
    return time.perf_counter() - start


def time_copier(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Measure `copier copy` of this version, and `copier update` to it from the newest release.

    Returns:
        The seconds of each.
    """
    copies, updates = [], []
    with history() as template:
        newest = releases()[-1].tag
        for number in range(rounds):
            copy, update = folder / f"copy-{number}", folder / f"update-{number}"
            copies.append(_copier("copy", "--defaults", "--quiet", template, copy, folder=folder))
            _copier(
                "copy", "--defaults", "--quiet", f"--vcs-ref={newest}", template, update,
                folder=folder,
            )  # fmt: skip
            git(update, "init", "--quiet")
            git(update, "add", "--all")
            git(update, "commit", "--quiet", "--message", "Start")
            updates.append(_copier("update", "--defaults", "--quiet", folder=update))
    return copies, updates


def time_service_from_nothing(template: Path, folder: Path) -> float:
    """Measure the seconds from no folder to the first 200 of a new service."""
    with new_database("postgresql", folder) as database:
        start = time.perf_counter()
        _copier(
            "copy", "--defaults", "--quiet", "--data=database=postgresql", template, folder,
            folder=folder.parent,
        )  # fmt: skip
        subprocess.run(
            [sys.executable, "-m", "uv", "sync", "--quiet"],
            cwd=folder,
            env=bare_environment()
            | {"UV_PYTHON": sys.executable, "UV_PROJECT_ENVIRONMENT": ".venv"},
            check=True,
        )
        service = Service(folder, folder / ".venv" / "bin", database)
        service.upgrade()
        time_start(service, ("python", "-m", "src"), "/livez")
        return time.perf_counter() - start


def time_generated_from_nothing(generator: Path, folder: Path) -> float:
    """Measure the same of the best-known generator, whose table is made by hand.

    Raises:
        MissingError: it could not be generated.
    """
    with new_database("postgresql", folder) as database:
        start = time.perf_counter()
        path = generated.generate(generator, folder)
        generated.make_table(database, 0)
        service = Service(path, path / ".venv" / "bin", database, "peer")
        service.environment = generated.variables(database)
        time_start(service, generated.COMMAND, generated.ALIVE)
        return time.perf_counter() - start
