"""Copier's command line."""

import os
import subprocess
import sys
from pathlib import Path


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
