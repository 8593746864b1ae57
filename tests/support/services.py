"""Rendered services, and what one does with them."""

import compileall
import os
import py_compile
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2

from tools.render import REPOSITORY

from .databases import SERVERS, Database
from .forks import fork_server, run_in_fork

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
ENVIRONMENTS = REPOSITORY / "build" / "environments" / PYTHON
# what a service inherits: nothing of the user's that could configure it
INHERITED = ("HOME", "LANG", "PATH", "TMPDIR", "SYSTEMROOT")
DEADLINE = 60.0  # seconds
TABLES = {"users", "sessions", "link_tokens", "aerich"}  # of a service with accounts

Process = subprocess.CompletedProcess[str]


def bare_environment() -> dict[str, str]:
    """The environment of a process that shall know nothing of the one running the tests."""
    names = [*INHERITED, *(name for name in os.environ if name.startswith(("PIP_", "UV_", "SSL_")))]
    own = {"UV_PROJECT_ENVIRONMENT", "UV_PYTHON"}  # those of the tests
    return {name: os.environ[name] for name in names if name in os.environ and name not in own}


def uv(folder: Path, *arguments: str, **environment: str) -> Process:
    """Run uv on the project in a folder.

    Raises:
        subprocess.CalledProcessError: uv failed; its output is in the test's.
    """
    return subprocess.run(
        [sys.executable, "-m", "uv", *arguments],
        cwd=folder,
        env={**bare_environment(), "UV_PYTHON": sys.executable, **environment},
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )


def install(folder: Path, name: str) -> Path:
    """Install a rendered service's dependencies into an environment kept between runs.

    Args:
        folder: the rendered service.
        name: the environment's name; services with the same dependencies share one.

    Returns:
        The folder of the environment's commands.
    """
    environment = ENVIRONMENTS / name
    uv(folder, "sync", "--quiet", UV_PROJECT_ENVIRONMENT=str(environment))
    return environment / "bin"


def mypy_cache() -> Path:
    """Return the folder in which mypy remembers packages, for this worker.

    All environments share it: most packages are the same, and mypy compares their content.
    """
    return ENVIRONMENTS / "mypy" / os.environ.get("PYTEST_XDIST_WORKER", "gw0")


def compile_modules(folder: Path) -> None:
    """Compile a service's modules. Python checks them by hash, so copies need no compilation."""
    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(folder, quiet=1, invalidation_mode=mode)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Service:
    """A rendered and installed service.

    Attributes:
        folder: where it was rendered.
        commands: the folder of its environment's commands.
        database: the database in its `DATABASE_URL`.
        package: its package's name.
        environment: its other environment variables.
        forks: whether `run` forks a process that has imported the libraries, which takes less time.
    """

    folder: Path
    commands: Path
    database: Database
    package: str = "src"
    environment: dict[str, str] = field(default_factory=dict)
    forks: bool = False
    _processes: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def variables(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        variables = {
            **bare_environment(),
            "PATH": f"{self.commands}{os.pathsep}{os.environ['PATH']}",
            "AERICH_NO_TORTOISE_V1_WARNING": "1",
            "DATABASE_URL": self.database.url,
            "TEST_DATABASE_URL": SERVERS.get(self.database.engine, ""),
            "MYPY_CACHE_DIR": str(mypy_cache()),
            **self.environment,
            **(extra or {}),
        }
        return {name: value for name, value in variables.items() if value}

    def run(
        self, *command: str, status: int | None = 0, input: str | None = None, **environment: str
    ) -> Process:
        """Run a command of the service's environment in its folder.

        Args:
            command: the command and its arguments.
            status: the expected exit status, or None for any.
            input: what the command reads from standard input; nothing by default.
            environment: environment variables beside the service's.
        """
        variables = self.variables(environment)
        process = None
        if self.forks and command[0] == "python":
            server = fork_server(self.commands, self.folder, self.package, variables)
            process = run_in_fork(
                server, command[1:], self.folder, variables, input or "", 10 * DEADLINE
            )
        process = process or subprocess.run(
            [self.commands / command[0], *command[1:]],
            cwd=self.folder,
            env=variables,
            text=True,
            capture_output=True,
            input=input if input is not None else "",
            timeout=10 * DEADLINE,
            check=False,
        )
        if status is not None:
            assert process.returncode == status, f"{command}\n{process.stdout}\n{process.stderr}"
        return process

    def upgrade(self, url: str = "") -> Process:
        """Apply all migrations, to the service's database or to the one at a URL."""
        command = ("python", "-m", f"{self.package}.database.migrate", "upgrade")
        return replace(self, forks=True).run(*command, DATABASE_URL=url or self.database.url)

    def popen(self, *command: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a command of the service's environment in its folder."""
        process = subprocess.Popen(
            [self.commands / command[0], *command[1:]],
            cwd=self.folder,
            env=self.variables(environment),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._processes.append(process)
        return process

    def kill(self) -> None:
        """Kill what a test has started and not awaited, such as one that failed."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that stands exactly once in a file."""
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    @contextmanager
    def serve(self, *command: str, **environment: str) -> Iterator["Server"]:
        """Start the service in a process of its own and stop it with SIGTERM.

        Args:
            command: how to start it, unless as its README says.
            environment: environment variables beside the service's.
        """
        port = free_port()
        command = command or ("python", "-m", self.package)
        if command[0] == "uvicorn":
            command = (*command, "--port", str(port))
        process = self.popen(*command, PORT=str(port), WORKER_PORT=str(port), **environment)
        server = Server(f"http://127.0.0.1:{port}", process)
        try:
            wait_until_answering(server)
            yield server
        finally:
            server.stop()


class Server:
    """A service's process, whose output is read all the time: a full pipe would stop it."""

    def __init__(self, url: str, process: "subprocess.Popen[str]") -> None:
        self.url = url
        self.process = process
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            self._lines.extend(lines)

    @property
    def output(self) -> str:
        """What the process has printed so far; all of it, once it has been stopped."""
        return "".join(self._lines)

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=DEADLINE)

    def stop(self) -> int:
        """Stop the process with SIGTERM and return its exit status.

        Raises:
            subprocess.TimeoutExpired: it did not end, and was killed.
        """
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE)
        finally:
            self.process.kill()  # which does nothing to one that has ended
            self._reader.join(DEADLINE)


def wait_until_answering(server: Server) -> None:
    """Wait for the first answer to `/livez`.

    Raises:
        AssertionError: the process ended first, or the deadline passed.
    """
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            server.stop()
            raise AssertionError(f"the service ended:\n{server.output}")
        try:
            server.get("/livez")
        except httpx2.TransportError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the service does not answer")
