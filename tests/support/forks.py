"""Python commands of services, run in forks of processes that have imported the libraries."""

import atexit
import json
import os
import select
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

SCRIPT = Path(__file__).with_name("fork_server.py")
# what the interpreter or its libraries read when they start; a fork comes too late for them
AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
# The libraries that each migration command imports: with more, a command would not show that it
# lacks an import
IMPORTED = """
import sys
from pathlib import Path
known = {*sys.modules}
import PACKAGE.database.migrate.__main__
for name, module in sys.modules.items():
    file = getattr(module, "__file__", None)
    if name not in known and not (file and Path(file).is_relative_to(Path.cwd())):
        print(name)
"""


class ForkServer:
    """A process of a service's environment that forks for each command."""

    def __init__(self, python: Path, libraries: list[str], environment: Mapping[str, str]) -> None:
        self.environment = at_start(environment)
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            [python, SCRIPT, *libraries],
            env={**environment},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # so that it ends with its forks
        )
        atexit.register(self.process.communicate)  # it ends with its standard input

    def run(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Run a command and return its status and what it printed.

        Raises:
            subprocess.TimeoutExpired: it did not end.
        """
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            os.killpg(self.process.pid, signal.SIGKILL)
            for commands in [commands for commands, server in SERVERS.items() if server is self]:
                del SERVERS[commands]
            raise subprocess.TimeoutExpired(request["arguments"], timeout)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


SERVERS: dict[Path, ForkServer] = {}


def at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Select the variables that decide how a process starts."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(AT_START) and name != NO_BYTECODE
    }


def fork_server(
    commands: Path, folder: Path, package: str, environment: Mapping[str, str]
) -> ForkServer | None:
    """Return the process of an environment.

    It is None for variables that change how Python starts, and if the service's modules are broken.
    """
    if any(name.startswith("PYTHON") for name in at_start(environment)):
        return None
    if commands not in SERVERS:
        python = commands / "python"
        found = subprocess.run(
            [python, "-c", IMPORTED.replace("PACKAGE", package)],
            cwd=folder,
            env={**environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode:
            return None
        SERVERS[commands] = ForkServer(python, found.stdout.split(), environment)
    return SERVERS[commands]


def run_in_fork(
    server: ForkServer | None,
    arguments: tuple[str, ...],
    folder: Path,
    environment: Mapping[str, str],
    given: str,
    timeout: float,
) -> "CompletedProcess[str] | None":
    """Run `python -m` with arguments, or return None if that needs a new process.

    It does for other options of Python, if another thread runs a command, and for variables that
    are read only at the start.
    """
    if (
        not server
        or arguments[0] != "-m"
        or at_start(environment) != server.environment
        or not server.lock.acquire(blocking=False)
    ):
        return None
    request = {
        "arguments": arguments,
        "folder": str(folder),
        "environment": environment,
        "input": given,
    }
    try:
        answer = server.run(request, timeout)
    finally:
        server.lock.release()
    return CompletedProcess(arguments, answer["status"], answer["output"], answer["errors"])
