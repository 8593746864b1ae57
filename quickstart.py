#!/usr/bin/env python3
"""Render the default service, install it, create its database, and serve it.

This needs git and Python 3.11 or newer, with venv and pip. If the folder already holds a rendered
service, it is reused.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent
TOOLS = REPOSITORY / ".venv"
COMMANDS = TOOLS / ("Scripts" if os.name == "nt" else "bin")
HOST = "127.0.0.1"


def say(line: str) -> None:
    print(line, flush=True)


def run(*command: "str | Path", folder: Path) -> None:
    """Run a command, and exit with an error if it fails."""
    environment = {**os.environ, "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("VIRTUAL_ENV", None)  # the service has a separate environment
    status = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    if status:
        sys.exit(f"stopped: {' '.join(str(part) for part in command)} failed with status {status}")


def install_tools() -> None:
    """Install Copier and uv for this clone, unless they are installed."""
    python = COMMANDS / "python"
    if not (COMMANDS / "copier").exists() or not (COMMANDS / "uv").exists():
        say(f"Installing Copier and uv into {TOOLS}")
        venv.create(TOOLS, with_pip=True)
        run(python, "-m", "pip", "install", "--quiet", "copier>=9.11", "uv>=0.9", folder=REPOSITORY)


def render(folder: Path) -> str:
    """Render the default service, unless the folder already holds one.

    Returns:
        The name of the service's package.

    Raises:
        SystemExit: the folder holds something else.
    """
    answers = folder / ".copier-answers.yml"
    if answers.is_file():
        say(f"{folder} already holds a rendered service: reusing it")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        sys.exit(f"{folder} is not an empty folder: choose another one")
    else:
        say(f"Rendering the default service to {folder}")
        run(
            *(COMMANDS / "copier", "copy", "--quiet", "--defaults"),
            *("--vcs-ref", "HEAD", REPOSITORY, folder),
            folder=REPOSITORY,
        )
    package = re.search(r"^package_name: (\w+)$", answers.read_text("utf-8"), re.MULTILINE)
    return package[1] if package else "src"


def check_port(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            sys.exit(
                f"{HOST}:{port} is in use: add --port {port + 1}, or stop the other program."
                f" If it is this service, open http://{HOST}:{port}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of the service")
    parser.add_argument("--port", type=int, default=8000, help="port to serve on (default: 8000)")
    options = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 - nothing is installed yet, so nothing else checks it
        parser.exit(1, f"Install Python 3.11 or newer: this is {sys.version.split()[0]}\n")
    if not 0 < options.port < 65536:
        parser.error("--port takes a number from 1 to 65535")
    folder = options.folder.resolve()

    check_port(options.port)
    install_tools()
    package = render(folder)
    uv = COMMANDS / "uv"
    say("Installing the service")
    run(uv, "sync", "--quiet", folder=folder)
    say("Migrating its database")
    migrate = (uv, "run", "--quiet", "python", "-m", f"{package}.database.migrate")
    run(*migrate, "upgrade", folder=folder)
    say(f"Serving on http://{HOST}:{options.port} (press Ctrl-C to stop)")
    os.environ.update(HOST=HOST, PORT=str(options.port))
    os.chdir(folder)
    python = folder / ".venv" / COMMANDS.name / "python"
    os.execv(python, [python, "-m", package])  # a signal to this process then reaches the service


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
