"""The command lines of Copier and update.py."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tools.render import REPOSITORY


def copier(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run Copier where nobody answers."""
    return subprocess.run(
        [sys.executable, "-m", "copier", *arguments],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def run_update(work: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run update.py with a folder for its clones and reports."""
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "update.py"), *arguments, "--work", str(work)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def add_uv(folder: Path) -> str:
    """Write a uv that runs this Copier, where uv would install the lock's.

    Returns:
        The PATH that finds it.
    """
    return write_uv(
        folder,
        'while [ "$1" != copier ]; do shift; done\nshift\n'
        f'exec {shlex.quote(sys.executable)} -m copier "$@"',
    )


def write_uv(folder: Path, script: str) -> str:
    """Write a shell script that is called uv.

    Returns:
        The PATH that finds it.
    """
    folder.mkdir(exist_ok=True)
    (folder / "uv").write_text(f"#!/bin/sh\nset -e\n{script}\n", encoding="utf-8")
    (folder / "uv").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def too_long(message: str) -> list[str]:
    """List the lines of a message over 80 columns, except commands to copy."""
    command = re.compile(" +(git|uv|cp|cd) ")
    return [line for line in message.splitlines() if len(line) > 80 and not command.match(line)]
