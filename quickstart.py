#!/usr/bin/env python3
"""Render the default service, install it, create its database, commit it, and serve it.

This needs git and Python 3.11 or newer, with venv and pip. If the folder already holds a rendered
service, it is reused.
"""

import argparse
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent
TOOLS = REPOSITORY / ".venv"
COMMANDS = TOOLS / ("Scripts" if os.name == "nt" else "bin")
ANSWERS = ".copier-answers.yml"
HOST = "127.0.0.1"
LONGEST_WAIT = 3600  # seconds


def say(line: str) -> None:
    print(line, flush=True)


def say_step(number: int, what: str) -> None:
    say(f"[{number}/5] {what}")


@contextmanager
def show_progress(seconds: float = 2) -> Iterator[None]:
    """In a terminal, print a dot every few seconds of a long step."""
    has_ended = threading.Event()

    def print_dots() -> None:
        end = ""
        while not has_ended.wait(seconds):
            print("." if end else "      .", end="", flush=True)
            end = "\n"
        print(end=end, flush=True)

    if not sys.stdout.isatty():
        yield
        return
    thread = threading.Thread(target=print_dots)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


def run(*command: "str | Path", folder: Path) -> None:
    """Run a command, and exit with an error if it fails."""
    environment = {**os.environ, "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("VIRTUAL_ENV", None)  # the service has a separate environment
    status = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    if status:
        sys.exit(f"stopped: {' '.join(str(part) for part in command)} failed with status {status}")


@contextmanager
def only_one() -> Iterator[None]:
    """Wait until no other run in this clone installs or renders."""
    TOOLS.mkdir(exist_ok=True)
    # SQLite's lock works on every system, and is released when the process ends
    lock = sqlite3.connect(TOOLS / "quickstart.lock", timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        say("Waiting for the other quickstart.py in this clone")
        lock.execute(f"PRAGMA busy_timeout = {LONGEST_WAIT * 1000}")
        lock.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        lock.close()


def install_tools() -> None:
    """Install Copier and uv for this clone, unless they are installed."""
    python = COMMANDS / "python"
    if (COMMANDS / "copier").exists() and (COMMANDS / "uv").exists():
        say_step(1, "Copier and uv are installed")
    else:
        say_step(1, "Install Copier and uv into this clone's .venv")
        packages = ("copier>=9.19.1", "uv>=0.9")
        with show_progress():
            venv.create(TOOLS, with_pip=True)
            run(python, "-m", "pip", "install", "--quiet", *packages, folder=REPOSITORY)


def check_folder(folder: Path) -> None:
    """Create the folder, and exit if that fails or it holds something other than a service."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_other = any(folder.iterdir()) and not (folder / ANSWERS).is_file()
    except OSError as error:
        sys.exit(f"Choose another folder: {folder} cannot be used\n({error.strerror})")
    if is_other:
        sys.exit(f"Choose another folder: {folder} is not empty")
    if not os.access(folder, os.W_OK):
        sys.exit(f"Choose another folder: {folder} cannot be written")


def render(folder: Path) -> None:
    """Render the default service, unless the folder already holds one."""
    if (folder / ANSWERS).is_file():
        say_step(2, f"Reuse the service in {folder.name}")
    else:
        say_step(2, f"Render the default service into {folder.name}")
        run(
            *(COMMANDS / "copier", "copy", "--quiet", "--defaults"),
            *("--vcs-ref", "HEAD", REPOSITORY, folder),
            folder=REPOSITORY,
        )


def git(folder: Path, *arguments: str) -> "str | None":
    """Return what a git command prints, or None if it fails."""
    process = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return None if process.returncode else process.stdout.strip()


def find_repository(folder: Path) -> "Path | None":
    """Find the git repository that tracks a folder, unless it ignores the folder."""
    root = git(folder, "rev-parse", "--show-toplevel")
    if root is None or git(folder, "check-ignore", str(folder)) is not None:
        return None
    return Path(root)


def commit(folder: Path) -> None:
    """Commit a new service, because `copier update` merges into committed files."""
    repository = find_repository(folder)
    if repository and not repository.samefile(folder):
        say_step(5, "Commit the service yourself, so that updates from the template work:")
        say(f"      it is inside the repository {repository}")
        return
    if repository and git(folder, "rev-parse", "HEAD"):
        say_step(5, "The service is in git already: commit what you changed")
        return
    say_step(5, "Commit it to git, so that updates from the template work")
    author = []
    if git(folder, "var", "GIT_COMMITTER_IDENT") is None:
        author = ["-c", "user.name=quickstart", "-c", "user.email=quickstart@localhost"]
        say("      by 'quickstart', because git's user.name and user.email are not set")
    run("git", "-c", "init.defaultBranch=main", "init", "--quiet", folder=folder)
    run("git", "add", "--all", folder=folder)
    run(
        *("git", *author, "commit", "--quiet", "--no-gpg-sign", "--no-verify"),
        *("--message", "Start from copier-fastapi-tortoise"),
        folder=folder,
    )


def read_package(folder: Path) -> str:
    """Read the name of a service's package from its answers."""
    answers = (folder / ANSWERS).read_text("utf-8")
    package = re.search(r"^package_name: (\w+)$", answers, re.MULTILINE)
    return package[1] if package else "src"


def say_what_is_next(folder: Path, package: str, url: str) -> None:
    """Print the first things to do with the service."""
    python = Path(".venv", COMMANDS.name, "python")
    say(f"\nStarting on {url} (press Ctrl-C to stop)\n")
    say(f"  Read the API documentation:   {url}/docs")
    if (folder / package / "users" / "create_admin.py").is_file():
        say(f"  Create an administrator, from another terminal in {folder.name}:")
        say(f"      {python} -m {package} create-admin boss boss@example.com")
    say("  Make the first change, then stop and run this command again:")
    say(f"      {package}/main.py has the greeting of {url}")
    if (folder / "docs" / "first-resource.md").is_file():
        say("      docs/first-resource.md adds a table, its migration, routes and tests")
    say("")


def check_port(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            sys.exit(
                f"{HOST}:{port} is in use: add --port {port + 1}, or stop the other program.\n"
                f"If it is this service, open http://{HOST}:{port}"
            )


def prepare(folder: Path, port: int) -> str:
    """Render, install, migrate and commit the service, and return the name of its package."""
    check_port(port)
    check_folder(folder)
    install_tools()
    render(folder)
    package = read_package(folder)
    uv = COMMANDS / "uv"
    say_step(3, "Install its packages into .venv")
    with show_progress():
        run(uv, "sync", "--quiet", folder=folder)
    say_step(4, "Create or migrate its database")
    migrate = (uv, "run", "--quiet", "python", "-m", f"{package}.database.migrate")
    run(*migrate, "upgrade", folder=folder)
    commit(folder)  # with the lock file
    return package


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

    with only_one():
        package = prepare(folder, options.port)
    say_what_is_next(folder, package, f"http://{HOST}:{options.port}")
    os.environ.update(HOST=HOST, PORT=str(options.port))
    os.chdir(folder)
    python = folder / ".venv" / COMMANDS.name / "python"
    os.execv(python, [python, "-m", package])  # a signal to this process then reaches the service


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
