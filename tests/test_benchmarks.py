"""The benchmarks, in short forms that only verify that they work."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.accounts import ROWS
from benchmarks.serving import report
from benchmarks.serving.environments import MissingError, make_environment
from benchmarks.serving.load import Sample, pin
from tests.support.clusters import find
from tests.support.databases import require
from tools.render import REPOSITORY


def test_benchmark_of_serving_writes_its_table_and_plot(tmp_path: Path) -> None:
    require("postgresql")
    find("wrk")

    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving", "--short", "--output", tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stderr
    table = (tmp_path / "serving.md").read_text(encoding="utf-8")
    goals = (
        "`GET /users?limit=10`",
        "`GET /users/me`",
        "`GET /livez`",
        "a route behind",
        "cold start",
    )
    for goal in goals:
        assert f"\n| {goal}" in table
    assert f"\n| {report.OPEN_LIST} | {report.NAMES['dummies']} | " in table
    # the word lists are not part of the memory after the load
    password = re.search(r"\| memory that the first password adds \| [^|]* \| ([\d.]+)", table)
    assert password
    assert float(password[1]) > 4
    assert "FastAPI + Tortoise as documented" in (tmp_path / "serving.svg").read_text(
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


def test_benchmark_of_resources_compares_them_with_users() -> None:
    require("postgresql")

    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.resources", "--rounds", "1", "--requests", "1"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stderr
    for page in ("users", "resource", "resource, sorted"):
        assert f"\n{page}: " in f"\n{process.stdout}"


def test_benchmark_of_scale_prints_its_tables() -> None:
    require("postgresql")
    for command in ("wrk", "pgbouncer"):
        find(command)

    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", "--users", "1000", "2000"]
        + ["--connections", "20", "--replicas", "1", "--rounds", "1", "--seconds", "0.1"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stderr
    for line in ("last page", "search for one user, with the index", "directly", "PgBouncer, "):
        assert f"\n| {line}" in process.stdout
    assert "\n| requests on them, all answered | 40 |" in process.stdout
    assert "Left in PgBouncer's sessions: nothing\n" in process.stdout


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system pins no process")
def test_pinned_process_has_all_its_threads_on_one_core() -> None:
    code = "import threading; threading.Thread(target=input).start(); print('started', flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"

        pin(process.pid, last=True)

        threads = [thread.id for thread in psutil.Process(process.pid).threads()]
        cores = [os.sched_getaffinity(thread) for thread in threads]
        process.communicate("\n")
    assert cores == [{max(os.sched_getaffinity(0))}] * 2


def sample(server: float) -> Sample:
    return Sample(rate=1, median=1, p99=1, server=server, database=0, generator=0)


def test_a_framework_that_cannot_be_installed_is_skipped_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingError) as error:
        make_environment(tmp_path / "environment", "./missing.whl")

    results = report.Results({}, missing=[str(error.value), "another"])

    skipped = [line for line in report.markdown(results).splitlines() if "Skipped" in line]
    assert len(skipped) == 2
    assert skipped[0].startswith("Skipped: ./missing.whl: ")


def test_each_framework_has_its_goal() -> None:
    work = report.LIST
    times = {"service": 1, "fastapi_users": 3.74, "litestar": 2.75, "django_ninja": 5.5}
    results = report.Results({(work, name): [sample(time)] for name, time in times.items()})

    rows = {goal.unit: goal.met for goal in report.goals(results) if "CPU" in goal.work}

    names = report.NAMES
    assert rows == {
        f"times {names['fastapi_users']}": False,
        f"times {names['litestar']}": True,
        f"times {names['django_ninja']}": True,
    }


def test_list_of_the_generator_is_compared_with_the_same_list() -> None:
    work = report.OPEN_LIST
    times = {"dummies": 1, "generator": 1.74}
    results = report.Results({(work, name): [sample(time)] for name, time in times.items()})

    (row,) = (goal for goal in report.goals(results) if goal.unit.startswith("times fastapi_temp"))

    assert row.work.startswith(work)
    assert (row.value.median, row.met) == (1.74, False)


@pytest.mark.parametrize(("published", "is_slower"), [(0.60, False), (0.70, True)])
def test_a_ratio_that_drops_by_a_quarter_is_a_regression(
    published: float, *, is_slower: bool
) -> None:
    results = report.Results(
        {
            (report.ME, "limit"): [sample(1), sample(1)],
            (report.ME, "service"): [sample(2), sample(4)],  # the second round was disturbed
        }
    )
    (row,) = (line for line in report.goals_table(results) if "/users/me" in line)
    # a goal that changed since does not matter
    row = row.replace("≥ 0.57", "≥ 0.7").replace("0.38 (0.25 – 0.50)", f"{published} (0.1 – 0.9)")
    mark = "performance"
    table = f"<!-- {mark}: written by benchmarks/serving -->\n{row}\n<!-- /{mark} -->"

    slower = report.regressions(results, table)

    assert bool(slower) is is_slower
    assert not slower or slower[0].startswith(
        "`GET /users/me`, requests per CPU second: 0.50 times"
    )


def every_sample(engine: str) -> report.Results:
    """Return a run in which all take the same time for everything."""
    works = (report.LIST, report.ME, report.LIVEZ, report.BEHIND, report.OPEN_LIST)
    names = report.NAMES if engine == "postgresql" else ("service", "idiom")
    return report.Results(
        {(work, name): [sample(1)] for work in works for name in names}, engine=engine
    )


@pytest.mark.parametrize("engine", ROWS)
def test_each_ratio_is_compared_with_the_published_one(engine: str) -> None:
    results = every_sample(engine)
    ratios = [goal for goal in report.goals(results) if report.PER_CPU_SECOND in goal.work]
    assert ratios

    published = {goal: report.published_ratio(goal, engine) for goal in ratios}

    assert [goal for goal, ratio in published.items() if ratio is None] == []


def test_each_engine_is_compared_with_its_own_table() -> None:
    """The same rows are in three tables."""
    (goal, *_) = report.goals(every_sample("mysql"))
    page = f"| {goal.work} | ≥ 9 {goal.unit} | "
    text = "".join(
        f"<!-- {mark}: written by benchmarks/serving -->\n{page}{ratio} (0.10 – 9.00) | yes |\n"
        f"<!-- /{mark} -->\n"
        for mark, ratio in (("performance", 3.66), ("sqlite", 3.38), ("mysql", 2.44))
    )

    ratios = [report.published_ratio(goal, engine, text) for engine in ROWS]

    assert dict(zip(ROWS, ratios, strict=True)) == {
        "postgresql": 3.66,
        "sqlite": 3.38,
        "mysql": 2.44,
    }
