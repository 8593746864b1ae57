"""The command lines of Copier and update.py."""

import os
import re
import shlex
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from copier._cli import CopierApp
from plumbum import colors, local

import update as script
from tools.render import REPOSITORY


def capture(command: Callable[[], int], *arguments: str) -> "CompletedProcess[str]":
    """Call what a command calls, and return what its process would."""
    output, errors = StringIO(), StringIO()
    status: object
    with (
        redirect_stdout(output),
        redirect_stderr(errors),
        pytest.MonkeyPatch.context() as patch,
        Path(os.devnull).open(encoding="utf-8") as nothing,
    ):
        patch.setattr(sys, "argv", [*arguments])
        patch.setattr(sys, "stdin", nothing)
        try:
            status = command()
        except SystemExit as end:
            status = end.code or 0
            if not isinstance(status, int):
                print(status, file=sys.stderr)
        except Exception:  # noqa: BLE001 - the interpreter prints and ends so
            traceback.print_exc()
            status = 1
    code = status if isinstance(status, int) else 1
    return CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())


def copier(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> "CompletedProcess[str]":
    """Run Copier's command line where nobody answers, in this process.

    A new process takes three times as long: it has nothing of what makes Copier faster in these
    tests. `copier_process` starts one.
    """

    def run() -> int:
        return CopierApp.run(["copier", *arguments], exit=False)[1]

    with (
        warnings.catch_warnings(),
        local.cwd(cwd),
        local.env(**(environment or os.environ)),
        pytest.MonkeyPatch.context() as patch,
    ):
        warnings.simplefilter("ignore")  # not an error, which they are in tests
        patch.setattr(colors, "use_color", 0)
        return capture(run, "copier", *arguments)


def copier_process(*arguments: str, cwd: Path) -> "CompletedProcess[str]":
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


def update_service(work: Path, service: Path, *options: str) -> "CompletedProcess[str]":
    """Run update.py for one service in this process, with its Copier: see `copier`."""
    run = script.run

    def run_here(*command: str, folder: Path) -> str:
        if command[:3] != (sys.executable, "-m", "copier"):
            return run(*command, folder=folder)
        process = copier(*command[3:], cwd=folder, environment=script.git_environment())
        if process.returncode:
            raise script.UpdateError(script.find_reason(process.stderr))
        return process.stdout

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "run", run_here)
        patch.setattr(script, "FETCHED", set())
        return capture(script.main, "update.py", str(service), *options, "--work", str(work))


def run_update(work: Path, *arguments: str) -> "CompletedProcess[str]":
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
