"""The benchmarks, in short forms that prove only that they work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.databases import REQUIRED, require
from tools.render import REPOSITORY


def test_benchmark_of_serving_writes_its_table_and_plot(tmp_path: Path) -> None:
    require("postgresql")
    if shutil.which("wrk") is None:
        (pytest.fail if REQUIRED else pytest.skip)("wrk is not installed")

    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving", "--short", "--output", tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stderr
    table = (tmp_path / "serving.md").read_text(encoding="utf-8")
    for goal in ("`GET /users?limit=10`", "`GET /users/me`", "`GET /livez`", "cold start"):
        assert f"\n| {goal}" in table
    assert "FastAPI + Tortoise by the manual" in (tmp_path / "serving.svg").read_text(
        encoding="utf-8"
    )


def test_benchmark_of_serving_asks_for_wrk() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving", "--short"],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 1
    assert process.stderr.startswith("wrk is missing: `apt install wrk`")
