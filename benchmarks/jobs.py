"""The throughput of a service's worker, compared with PgQueuer used plainly in the same round.

Both queue jobs that do nothing, one transaction each, and then run them with the same concurrency.
The service also writes a log line for each job.

    python -m benchmarks.jobs [--jobs 2000] [--rounds 3]
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from tests.support.databases import new_database
from tests.support.services import Service, install
from tools.render import render, snapshot

# Each prints the seconds for queueing and for running the jobs
OURS = """
import asyncio, sys, time
from tortoise.transactions import in_transaction
from src.database.orm import connect_database
from src.jobs.queue import job
from src.jobs.runner import Runner
from src.logs import configure_logging

COUNT = int(sys.argv[1])
left, empty = COUNT, asyncio.Event()

@job()
async def nothing(number: int) -> None:
    global left
    left -= 1
    if not left:
        empty.set()

async def main():
    configure_logging()
    async with connect_database():
        start = time.perf_counter()
        for number in range(COUNT):
            async with in_transaction():
                await nothing.enqueue(number)
        queued = time.perf_counter()
        runner = Runner()
        await empty.wait()
        print(queued - start, time.perf_counter() - queued)
        await runner.stop()

asyncio.run(main())
"""
PLAIN = """
import asyncio, sys, time
from datetime import timedelta
import asyncpg
from pgqueuer import AsyncpgDriver, PgQueuer, Queries
from src.jobs.queue import QUEUE, queries_on
from src.settings import settings

COUNT = int(sys.argv[1])
left = COUNT

async def main():
    connection = await asyncpg.connect(settings.database_url)
    ours = queries_on(AsyncpgDriver(connection))
    queries = Queries(ours.driver, ours.qbe, ours.qbq, ours.qbs)
    start = time.perf_counter()
    for number in range(COUNT):
        async with connection.transaction():
            await queries.enqueue("nothing", b"%d" % number)
    queued = time.perf_counter()
    manager = PgQueuer(AsyncpgDriver(connection), QUEUE.channel, queries=queries)

    @manager.entrypoint("nothing")
    async def nothing(job):
        global left
        left -= 1
        if not left:
            print(queued - start, time.perf_counter() - queued)
            manager.shutdown.set()

    concurrency = settings.jobs_concurrency
    await manager.run(
        batch_size=concurrency // 2,
        max_concurrent_tasks=concurrency,
        log_aggregation_interval=timedelta(0),
    )

asyncio.run(main())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {"the service": [], "PgQueuer": []}
    with tempfile.TemporaryDirectory() as name, snapshot() as template:
        answers = {"database": "postgresql", "jobs": "postgresql"}
        folder = render(template, Path(name) / "service", answers)
        commands = install(folder, "postgresql-jobs")
        with new_database("postgresql", Path(name)) as database:
            service = Service(folder, commands, database)
            service.upgrade()
            for _ in range(options.rounds):
                for who, script in (("the service", OURS), ("PgQueuer", PLAIN)):
                    output = service.run("python", "-c", script, str(options.jobs)).stdout
                    queueing, running = map(float, output.split())
                    times[who].append((queueing, running))
    medians = {
        who: [options.jobs / statistics.median(column) for column in zip(*rows, strict=True)]
        for who, rows in times.items()
    }
    for who, (queued, run) in medians.items():
        print(f"{who}: {queued:.0f} jobs queued per second, {run:.0f} run per second")
    ours, plain = medians["the service"], medians["PgQueuer"]
    print(f"ratio: {ours[0] / plain[0]:.2f} queued, {ours[1] / plain[1]:.2f} run")


if __name__ == "__main__":
    main()
