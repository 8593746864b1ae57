"""Load with wrk, which takes little of the CPU it shares with what it measures, and its count."""

import json
import os
import re
import shutil
import statistics
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

CONNECTIONS = 32
SCRIPT = Path(__file__).parent / "wrk.lua"
INSTALL = "wrk is missing: `apt install wrk` on Debian and Ubuntu, `brew install wrk` on macOS"


class Sample(NamedTuple):
    """What one round measured.

    Attributes:
        rate: requests per second.
        median, p99: times to the answer, in milliseconds.
        server, database, generator: CPU time for each request, in milliseconds.
    """

    rate: float
    median: float
    p99: float
    server: float
    database: float
    generator: float


class LoadError(Exception):
    """A measurement that cannot be made, or would mean nothing."""


def require_wrk() -> None:
    """Look for wrk.

    Raises:
        LoadError: it is not installed.
    """
    if shutil.which("wrk") is None:
        raise LoadError(INSTALL)


def pin(process: int, *, last: bool) -> None:
    """Keep a process and its threads on the first core, or on the last, where the system can.

    SQLite's statements run in a thread, which may have been started before.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        for thread in psutil.Process(process).threads():
            os.sched_setaffinity(thread.id, {cores[-1 if last else 0]})


def cpu(processes: Iterable[psutil.Process]) -> dict[int, float]:
    """Read the CPU time that each process has had, in seconds."""
    times = {}
    for process in processes:
        try:
            spent = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        times[process.pid] = spent.user + spent.system
    return times


def family(process: int) -> list[psutil.Process]:
    """List a process and all that descend from it."""
    parent = psutil.Process(process)
    return [parent, *parent.children(recursive=True)]


def workers(process: int) -> list[psutil.Process]:
    """List the workers of a server, or the server itself if it has none."""
    server = psutil.Process(process)
    children = [child for child in server.children() if "spawn_main" in " ".join(child.cmdline())]
    return children or [server]


def backends(database: str) -> list[psutil.Process]:
    """List the processes with which a PostgreSQL on this machine serves a database."""
    processes = psutil.process_iter(["name", "cmdline"])
    return [
        process
        for process in processes
        if "postgres" in (process.info["name"] or "")
        and database in " ".join(process.info["cmdline"] or ())
    ]


def _grown(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    return sum(time - before.get(process, 0) for process, time in after.items())


def load(
    url: str, token: str, *, seconds: int, server: int, database: str, shared: bool = False
) -> Sample:
    """Ask for a URL as fast as it is answered, on as many connections as `CONNECTIONS`.

    Args:
        url: what to get.
        token: the session's.
        seconds: how long.
        server: the process that answers, with those that descend from it.
        database: the name of its database.
        shared: whether the generator may use every core, as the server does.

    Raises:
        LoadError: wrk failed, or an answer was not a success.
    """
    server_before, database_before = cpu(family(server)), cpu(backends(database))
    own = psutil.Process().cpu_times()
    process = subprocess.run(
        [
            "wrk",
            "--threads=1",
            f"--connections={CONNECTIONS}",
            f"--duration={seconds}s",
            "--timeout=10s",
            f"--header=Authorization: Bearer {token}",
            f"--script={SCRIPT}",
            url,
        ],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=None if shared else lambda: pin(os.getpid(), last=True),
    )
    spent = psutil.Process().cpu_times()
    report = re.search(r"^\{.*\}$", process.stdout, re.MULTILINE)
    if process.returncode or not report:
        raise LoadError(f"wrk failed on {url}:\n{process.stdout}{process.stderr}")
    result = json.loads(report[0])
    if not result["requests"]:  # on a very busy machine
        return load(
            url, token, seconds=2 * seconds, server=server, database=database, shared=shared
        )
    if result["failures"]:
        command = " ".join(psutil.Process(server).cmdline())
        failed = f"{result['failures']} of {result['requests']} requests failed"
        raise LoadError(f"{url}, which `{command}` serves: {failed}\n{process.stdout}")
    milliseconds = 1000 / result["requests"]
    generator = spent.children_user + spent.children_system
    generator -= own.children_user + own.children_system
    return Sample(
        rate=result["requests"] / (result["duration"] / 1e6),
        median=result["median"] / 1000,
        p99=result["p99"] / 1000,
        server=_grown(server_before, cpu(family(server))) * milliseconds,
        database=_grown(database_before, cpu(backends(database))) * milliseconds,
        generator=generator * milliseconds,
    )


def median(samples: Iterable[Sample], field: str = "rate") -> float:
    return float(statistics.median(getattr(sample, field) for sample in samples))
