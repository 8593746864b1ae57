"""Services with the jobs of their page on jobs, and their workers."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.render import Answers, render

from .accounts import CHEAP, accounts, sign_up
from .databases import new_database
from .documentation import apply, blocks
from .network import wait_for
from .services import Server, Service, free_port, install, wait_until_answering
from .smtp import Mailbox

HEARTBEAT = {"JOBS_HEARTBEAT": "10"}  # seconds; longer than a busy machine delays one
BOOKED = "SELECT count(*) FROM booking"
PLACE = """
import asyncio, sys
from src.database.orm import connect_database
from src.orders.jobs import place_order

async def main():
    async with connect_database():
        for number in range(int(sys.argv[1])):
            await place_order(str(number))

asyncio.run(main())
"""


@contextmanager
def documented_service(
    template: Path, folder: Path, engine: str, environment: str, answers: Answers
) -> Iterator[Service]:
    """Render and migrate a service with the jobs of its page on jobs.

    Args:
        template: the template.
        folder: where it goes.
        engine: its database engine.
        environment: the name of its environment.
        answers: its other answers.
    """
    render(template, folder / "service", {"database": engine, **answers})
    commands = install(folder / "service", environment)
    with new_database(engine, folder) as database:
        service = Service(folder / "service", commands, database)
        service.upgrade()
        steps = blocks((service.folder / "docs" / "jobs.md").read_text(encoding="utf-8"))
        for step in steps:
            if step.language != "console":
                apply(step, service.folder)
        (lines,) = (step.text for step in steps if "migrate new orders" in step.text)
        for line in lines.splitlines():
            service.run(*line.removeprefix("$ uv run ").split())
        yield service


def slow_down(service: Service) -> None:
    """Make each job take 0.1 s, in the middle of its transaction."""
    service.edit(
        "src/orders/jobs.py",
        "            await Booking",
        "            await asyncio.sleep(0.1)\n            await Booking",
    )
    service.edit("src/orders/jobs.py", "from tortoise", "import asyncio\n\nfrom tortoise")


CANCEL = """
import asyncio

from .jobs.queue import job


@job()
async def cancel() -> None:
    asyncio.current_task().cancel()
    await asyncio.Event().wait()
"""
ENQUEUE = """
import asyncio

from src.database.orm import connect_database
from src.orders import cancel

async def enqueue():
    async with connect_database():
        await cancel.enqueue()

asyncio.run(enqueue())
"""
CANCELLED = '\njob_attempts_total{name="cancel",status="failed"} 1.0\n'


def queue_a_job_that_cancels_its_task(service: Service) -> None:
    """Add a job that cancels its own task, and enqueue it. Call it before the worker starts."""
    (service.folder / "src" / "orders.py").write_text(CANCEL, encoding="utf-8")
    service.edit("src/jobs/config.py", "MODULES = [\n", 'MODULES = [\n    "src.orders",\n')
    service.run("python", "-c", ENQUEUE)


@contextmanager
def worker(service: Service, **environment: str) -> Iterator[Server]:
    """Run a worker, and stop it with SIGTERM unless it was killed."""
    port = free_port()
    process = service.popen("python", "-m", "src", "worker", WORKER_PORT=str(port), **environment)
    server = Server(f"http://127.0.0.1:{port}", process)
    try:
        wait_until_answering(server)
        yield server
    finally:
        server.stop()


def number(service: Service, sql: str) -> int:
    ((found,),) = service.database.query(sql)
    return int(found)


def wait_until_booked(service: Service, count: int) -> None:
    wait_for(lambda: number(service, BOOKED) >= count)


def received(box: Mailbox) -> Counter[str]:
    """Count the emails that have arrived, by address."""
    return Counter(str(box.wait()["To"]) for _ in range(box.mails.qsize()))


def check_commands(service: Service, queued: str, dead: str) -> None:
    """List, retry and drop an email that could not be sent.

    Args:
        service: a service with an empty queue.
        queued: the statement that counts all jobs in the queue.
        dead: the condition on dead jobs.
    """

    def jobs(*arguments: str, status: int = 0) -> str:
        process = service.run("python", "-m", "src", "jobs", *arguments, status=status)
        return process.stdout + process.stderr

    assert jobs("list") == "0 queued, 0 running, 0 dead\n"
    url = f"smtp://127.0.0.1:{free_port()}"
    with accounts(service, **CHEAP) as server:
        sign_up(server)
    with worker(service, SMTP_URL=url, JOBS_ATTEMPTS="1"):
        wait_for(lambda: number(service, f"{queued} WHERE {dead}") == 1)
    summary, line = jobs("list").splitlines()
    assert summary == "0 queued, 0 running, 1 dead"
    assert "send_link" in line
    either = "add either the ids of jobs, or --all\n"
    assert jobs("retry", status=2).endswith(either)
    assert jobs("drop", line.split()[0], "--all", status=2).endswith(either)
    assert jobs("retry", "12345", status=1) == (
        "Choose ids that `jobs list` shows: job 12345 is not dead.\n"
    )
    assert jobs("retry", line.split()[0]) == "Queued again: 1\n"
    assert jobs("drop", "--all") == "Dropped: 0\n"
    with worker(service):
        wait_for(lambda: number(service, queued) == 0)


def check_dashboard(service: Service, metrics: str) -> None:
    """Check that the dashboard and the alerts use no other metrics of jobs than a worker has."""
    names = set(re.findall(r"^# TYPE (\w+)", metrics, re.MULTILINE))
    for file in ("dashboard.json", "alerts.yml"):
        text = (service.folder / "observability" / file).read_text(encoding="utf-8")
        used = set(re.findall(r"\b(jobs?(?:_[a-z]+)*)\{", text))
        assert len(used) > 2
        assert {name.removesuffix("_bucket") for name in used} <= names, file
