"""The throughput of a service's worker, compared with its library used plainly in the same round.

`jobs=postgresql` is compared with PgQueuer, and `jobs=redis` with taskiq and its stream in Redis. All
queue jobs that do nothing, and then run them with the same concurrency. The service and PgQueuer
queue each job in a transaction. The service also writes a log line for each job.

    python -m benchmarks.jobs [--jobs 2000] [--rounds 3]
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from tests.support.clusters import own_redis
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

TASKIQ = """
import asyncio, sys, time
from concurrent.futures import ThreadPoolExecutor
from taskiq.receiver import Receiver
from taskiq_redis import RedisStreamBroker
from src.settings import settings

COUNT = int(sys.argv[1])
left, empty = COUNT, asyncio.Event()
broker = RedisStreamBroker(settings.redis_url, queue_name="plain", consumer_id="0")

@broker.task
async def nothing(number: int) -> None:
    global left
    left -= 1
    if not left:
        empty.set()

async def main():
    await broker.startup()
    start = time.perf_counter()
    for number in range(COUNT):
        await nothing.kiq(number)
    queued = time.perf_counter()
    stop = asyncio.Event()
    executor = ThreadPoolExecutor(1)
    receiver = Receiver(broker, executor, max_async_tasks=settings.jobs_concurrency)
    listening = asyncio.create_task(receiver.listen(stop))
    await empty.wait()
    print(queued - start, time.perf_counter() - queued)
    stop.set()
    await listening
    await broker.shutdown()

asyncio.run(main())
"""
REDIS = ["redis-server", "--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for jobs, library, plain in (("postgresql", "PgQueuer", PLAIN), ("redis", "taskiq", TASKIQ)):
        compare(jobs, library, plain, options.jobs, options.rounds)


def compare(jobs: str, library: str, plain: str, count: int, rounds: int) -> None:
    """Print the throughput of a service with an answer to `jobs`, and that of its library.

    Args:
        jobs: the answer.
        library: the library's name.
        plain: the script that uses it.
        count: how many jobs run.
        rounds: how often.
    """
    environment = {"postgresql": "postgresql-jobs", "redis": "postgresql-redis"}[jobs]
    times: dict[str, list[tuple[float, float]]] = {"the service": [], library: []}
    with (
        tempfile.TemporaryDirectory() as name,
        snapshot() as template,
        own_redis(REDIS) as redis,
        new_database("postgresql", Path(name)) as database,
    ):
        folder = render(template, Path(name) / "service", {"database": "postgresql", "jobs": jobs})
        service = Service(folder, install(folder, environment), database)
        service.environment = {"REDIS_URL": redis.url}
        service.upgrade()
        for _ in range(rounds):
            for who, script in (("the service", OURS), (library, plain)):
                output = service.run("python", "-c", script, str(count)).stdout
                queueing, running = map(float, output.split()[-2:])
                times[who].append((queueing, running))
    medians = {
        who: [count / statistics.median(column) for column in zip(*rows, strict=True)]
        for who, rows in times.items()
    }
    for who, (queued, run) in medians.items():
        print(f"{who}, jobs={jobs}: {queued:.0f} jobs queued per second, {run:.0f} run per second")
    ours, theirs = medians["the service"], medians[library]
    print(f"ratio: {ours[0] / theirs[0]:.2f} queued, {ours[1] / theirs[1]:.2f} run")


if __name__ == "__main__":
    main()
