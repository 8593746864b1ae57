"""Run the first commands of the README, and write what a terminal shows into the README."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .render import REPOSITORY, snapshot

README = REPOSITORY / "README.md"
MARKS = re.compile(
    r"(<!-- recording: written by tools/recording.py -->\n```text\n)(.*?)(```\n<!-- /recording -->)",
    re.DOTALL,
)
QUICKSTART = ("python3", "quickstart.py", "../my-service")
FIELD = '    full_name = fields.CharField(max_length=100, default="")\n'
ANCHOR = "    email = fields.CharField(max_length=100, unique=True)\n"
COMMANDS = (
    ("uv", "run", "python", "-m", "src", "migrate", "new", "add_full_name"),
    ("uv", "run", "python", "-m", "src", "migrate", "upgrade"),
    ("uv", "run", "pytest", "--quiet"),
)


def environment() -> dict[str, str]:
    """Return this process's environment variables, without its own Python environment."""
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}


@contextmanager
def quickstart(clone: Path, port: int) -> Iterator[str]:
    """Run the first command until it serves, and stop it afterwards.

    Yields:
        What it printed before the logs.

    Raises:
        RuntimeError: it failed.
    """
    process = subprocess.Popen(
        [*QUICKSTART, "--port", str(port)],
        cwd=clone,
        env={**environment(), "PIP_QUIET": "1"},  # no warnings about this machine's package index
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    try:
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if "Application startup complete" in line:
                break
        else:
            raise RuntimeError("".join(lines))
        yield "".join(lines).rpartition("\n\n")[0]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def run(command: tuple[str, ...], folder: Path, path: str) -> str:
    """Run a command in the service, and return what it printed."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**environment(), "PATH": path, "COLUMNS": "80"},
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout


def record(commands: Iterable[tuple[str, ...]] = COMMANDS) -> str:
    """Return what a terminal shows of the quickstart and of commands in the service.

    The paths and the port are those that a user has: this run's own are replaced.
    """
    with tempfile.TemporaryDirectory() as temporary, snapshot() as template:
        folder = Path(temporary).resolve()
        clone, service = folder / template.name, folder / "my-service"
        shutil.copytree(template, clone)
        port = free_port()
        with quickstart(clone, port) as output:
            parts = [f"$ {' '.join(QUICKSTART)}\n{output}\n"]
        models = service / "src" / "database" / "models.py"
        text = models.read_text(encoding="utf-8")
        models.write_text(text.replace(ANCHOR, ANCHOR + FIELD, 1), encoding="utf-8")
        parts.append(f"# src/database/models.py, in the class User:\n+{FIELD}")
        path = os.pathsep.join((str(clone / ".venv" / "bin"), os.environ["PATH"]))
        for command in commands:
            parts.append(f"$ {' '.join(command)}\n{run(command, service, path)}")
    recording = "\n".join(parts)
    recording = re.sub(r"passed in .*", "passed", recording)  # it depends on what else runs
    return recording.replace(f"{service}/", "").replace(f":{port}", ":8000")


def without_times(recording: str) -> str:
    """Replace what differs between two runs: times and dates."""
    return re.sub(r"\d[.\d]*", "0", recording)


def recorded(readme: str) -> str:
    """Return the recording in the text of a README."""
    found = MARKS.search(readme)
    return found[2] if found else ""


def main() -> None:
    recording = record()
    text = README.read_text(encoding="utf-8")
    README.write_text(MARKS.sub(lambda found: found[1] + recording + found[3], text), "utf-8")
    print(recording)


if __name__ == "__main__":
    main()
