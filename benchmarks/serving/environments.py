"""Environments with packages from the index, for what the service is compared with."""

import subprocess
import sys
from pathlib import Path

from tests.support.services import bare_environment


class MissingError(Exception):
    """Why something cannot be compared here, in one line."""


def _uv(*arguments: str | Path, folder: Path) -> str:
    process = subprocess.run(
        [sys.executable, "-m", "uv", *arguments],
        cwd=folder,
        env=bare_environment() | {"UV_PYTHON_DOWNLOADS": "never"},
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise MissingError(process.stderr.strip().splitlines()[-1])
    return process.stdout


def make_environment(path: Path, *packages: str, constraints: str = "") -> Path:
    """Install packages into a new environment.

    Args:
        path: where to put it.
        packages: what to install, with versions. The first one names the others in an error.
        constraints: versions of other packages, one per line.

    Returns:
        The folder of its commands.

    Raises:
        MissingError: a package cannot be installed.
    """
    file = path / "constraints.txt"
    try:
        _uv("venv", "--quiet", "--python", sys.executable, path, folder=path.parent)
        file.write_text(constraints, encoding="utf-8")
        options = ("--quiet", "--python", path, "--constraint", file)
        _uv("pip", "install", *options, *packages, folder=path)
    except MissingError as error:
        raise MissingError(f"{packages[0]}: {error}") from error
    return path / "bin"


def frozen(commands: Path, *names: str) -> str:
    """List the versions of packages in an environment, one per line."""
    lines = _uv("pip", "freeze", "--python", commands / "python", folder=commands).splitlines()
    return "\n".join(line for line in lines if line.partition("==")[0] in names)
