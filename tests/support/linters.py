"""Linters of this repository's environment."""

import subprocess
import sys
from pathlib import Path


def lint(name: str, *arguments: str | Path) -> None:
    """Run a linter, which must find nothing.

    Args:
        name: its command.
        arguments: its options and files.

    Raises:
        AssertionError: it found something.
    """
    done = subprocess.run(
        [Path(sys.executable).parent / name, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
