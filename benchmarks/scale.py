"""How a service scales: ten million users, 2,000 open connections, and replicas behind PgBouncer.

    python -m benchmarks.scale [--users 10000 10000000] [--connections 2000] [--seconds 5]

It needs wrk, PgBouncer and a PostgreSQL server with 5 GB of free disk, and takes ten minutes. It
prints tables for `benchmarks/README.md`, and drops its databases at the end, also after Ctrl-C and
SIGTERM.

Measurements that are compared alternate. Password hashing has the cheapest parameters: with the
default, it takes longer than the rest of a sign-up, and would hide how the rest grows.
"""

import argparse
import asyncio
import itertools
import json
import re
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import asyncpg
import psutil

from benchmarks.accounts import timed
from benchmarks.serving.contestants import say
from benchmarks.serving.load import LoadError, Sample, load, require_wrk
from tests.support.accounts import CHEAP, PASSWORD, UNTHROTTLED, create_administrator
from tests.support.clusters import pgbouncer, pgbouncer_prepares
from tests.support.databases import Database, new_database, session
from tests.support.services import Server, Service, install
from tools.render import render, snapshot

BATCH = 500_000
FILL = (
    """
    INSERT INTO users (username, email, hashed_password)
    SELECT 'u' || i, 'u' || i || '@example.com', '-' FROM generate_series({first}, {last}) i
    """,
    """
    INSERT INTO sessions (user_id, token_hash, device, created_at, last_used_at, expires_at)
    SELECT id, md5(id::text) || md5('x' || id), '', now(), now(), now() + interval '1 day'
    FROM users WHERE id BETWEEN {first} AND {last} AND id % 10 = 0
    """,
)
# From the service's docs/accounts.md
SEARCH_INDEX = (
    "CREATE EXTENSION pg_trgm",
    "CREATE INDEX search_users ON users USING gin (username gin_trgm_ops, email gin_trgm_ops)",
    "VACUUM (ANALYZE) users",
)
QUIET = {"LOG_LEVEL": "ERROR", "ENVIRONMENT": "production", "KEEP_ALIVE": "600", **UNTHROTTLED}
UNPREPARED = "statement_cache_size=0"
CLIENTS = 8  # of each replica
NUMBERS = itertools.count()  # of users who sign up
# Connections of a replica, and of PgBouncer for all four. PostgreSQL allows 100 by default.
POOL_MAX, POOLED = 5, 10
# State of a PostgreSQL session that another request would find, except PgBouncer's own
LEFT_OVERS = """
    SELECT 'setting ' || name FROM pg_settings WHERE source = 'session'
        AND name <> 'client_encoding'
    UNION ALL SELECT 'prepared statement ' || name FROM pg_prepared_statements
        WHERE name NOT LIKE 'PGBOUNCER%'
    UNION ALL SELECT 'lock ' || objid FROM pg_locks
        WHERE locktype = 'advisory' AND pid = pg_backend_pid()
    UNION ALL SELECT 'temporary table ' || relname FROM pg_class WHERE relpersistence = 't'
        AND relnamespace = pg_my_temp_schema()
"""


class Connection:
    """A connection to a server. Any HTTP library would take more time than the service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.token = ""

    @classmethod
    @asynccontextmanager
    async def open(cls, server: Server) -> AsyncIterator["Connection"]:
        address = urlsplit(server.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def send(self, request: str, body: dict[str, Any] | str = "", status: int = 200) -> Any:
        """Send a request, such as `GET /users`, and return the JSON of the response.

        Raises:
            LoadError: the response has another status.
        """
        is_form = isinstance(body, str)
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        kind = "application/x-www-form-urlencoded" if is_form else "application/json"
        head = (
            f"{request} HTTP/1.1\r\nHost: service\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", answer)
        text = await self._reader.readexactly(int(length[1]) if length else 0)
        if not answer.startswith(f"HTTP/1.1 {status} "):
            raise LoadError(f"{request}: {answer}{text.decode()}")
        return json.loads(text)

    async def sign_up(self, name: str) -> None:
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        user = await self.send("POST /users", body, 201)
        if user["username"] != name:
            raise LoadError(f"{name} was answered with {user}")

    async def log_in(self, name: str) -> None:
        form = urlencode({"username": name, "password": PASSWORD})
        self.token = (await self.send("POST /auth/token", form))["access_token"]

    async def check_me(self, name: str) -> None:
        user = await self.send("GET /users/me")
        if user["username"] != name:
            raise LoadError(f"{name} was answered with {user}")

    async def check_page(self, after: int, limit: int = 10) -> None:
        page = await self.send(f"GET /users?limit={limit}&cursor={after:016x}")
        ids = [user["id"] for user in page["items"]]
        if ids != [*range(after + 1, after + limit + 1)]:
            raise LoadError(f"the page after {after} has {ids}")


class Site(NamedTuple):
    """A service with few or many users. The first, ada, is the administrator."""

    users: int
    database: Database
    connection: Connection


Request = Callable[[Site, int], Awaitable[Any]]


def prepare(service: Service, users: int) -> None:
    """Create the tables, and users with the ids from 1 to `users`."""
    service.upgrade()
    create_administrator(service)
    for first in range(2, users + 1, BATCH):
        last = min(first + BATCH - 1, users)
        for statement in FILL:
            service.database.query(statement.format(first=first, last=last))
        say(f"{last:,} of {users:,} users")
    for table in ("users", "sessions"):
        service.database.query(f"VACUUM (ANALYZE) {table}")


async def _search(site: Site, text: str) -> None:
    await site.connection.send(f"GET /users?limit=100&search={text}")


async def _sign_up(site: Site, _: int) -> None:
    await site.connection.sign_up(f"new{next(NUMBERS)}")


SEARCHES: dict[str, Request] = {
    "search for a frequent text": lambda site, _: _search(site, "example"),
    "search for one user": lambda site, _: _search(site, f"u{site.users}"),
    "search for nobody": lambda site, _: _search(site, "nobody"),
}
REQUESTS: dict[str, Request] = {
    "first page": lambda site, _: site.connection.check_page(0),
    "page in the middle": lambda site, _: site.connection.check_page(site.users // 2),
    "last page": lambda site, _: site.connection.check_page(site.users - 10),
    "session check (`/users/me`)": lambda site, _: site.connection.check_me("ada"),
    "sign-up": _sign_up,
    "log-in": lambda site, _: site.connection.log_in("ada"),
    "change of a user": lambda site, number: site.connection.send(
        f"PATCH /users/{site.users // 2 + number}", {"is_active": False}
    ),
}


async def time_requests(
    sites: tuple[Site, Site], requests: dict[str, Request], seconds: float, suffix: str = ""
) -> None:
    """Send each request alternately to both services, and print the medians."""
    for name, request in requests.items():
        times: tuple[list[float], list[float]] = [], []
        end = time.monotonic() + seconds
        while len(times[0]) < 3 or time.monotonic() < end:
            for site, own in zip(sites, times, strict=True):
                own.append(await timed(request(site, len(own))))
        few, many = (statistics.median(own) for own in times)
        print(f"| {name}{suffix} | {few:,.2f} | {many:,.2f} | {many / few:,.2f} |", flush=True)


async def measure_users(
    services: tuple[Service, Service], users: list[int], seconds: float
) -> None:
    """Compare the time of requests with few and with many users."""
    print("| Request | " + " | ".join(f"{count:,} users, ms" for count in users) + " | Ratio |")
    print("| --- | --- | --- | --- |")
    with services[0].serve(**CHEAP) as small, services[1].serve(**CHEAP) as large:
        async with Connection.open(small) as first, Connection.open(large) as second:
            few, many = (
                Site(count, service.database, connection)
                for count, service, connection in zip(users, services, (first, second), strict=True)
            )
            for site in (few, many):
                await site.connection.log_in("ada")
            say("requests")
            await time_requests((few, many), REQUESTS | SEARCHES, seconds)
            say("create the index for searches")
            for site in (few, many):
                async with session(site.database.url) as execute:  # Ctrl-C ends a statement
                    for statement in SEARCH_INDEX:
                        await execute(statement)
            with_index = SEARCHES | {"sign-up": _sign_up}
            await time_requests((few, many), with_index, seconds, ", with the index")


def memory(server: Server) -> float:
    """Read a server's resident memory, in kB."""
    return float(psutil.Process(server.process.pid).memory_info().rss) / 1000


async def measure_connections(service: Service, count: int, rounds: int) -> None:
    """Open many connections. Send requests on one of them alone, and on all others at once."""
    with service.serve() as server:
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(Connection.open(server))
            await first.log_in("ada")
            for _ in range(rounds * count):
                await first.check_me("ada")
            before = memory(server)
            alone = [await timed(first.check_me("ada")) for _ in range(rounds * 100)]
            others = []
            for _ in range(count):
                other = await stack.enter_async_context(Connection.open(server))
                other.token = first.token
                await other.check_me("ada")
                others.append(other)
            idle = memory(server)
            beside = [await timed(first.check_me("ada")) for _ in range(rounds * 100)]
            at_once = [
                time
                for _ in range(rounds)
                for time in await asyncio.gather(*(timed(c.check_me("ada")) for c in others))
            ]
            used = memory(server)
    print(f"\n| {count:,} open connections | |\n| --- | --- |")
    print(f"| requests on them, all answered | {len(at_once) + len(others):,} |")
    print(f"| memory per idle connection | {(idle - before) / count:.1f} kB |")
    print(f"| memory per connection, after requests at once | {(used - before) / count:.1f} kB |")
    print_times("request on all at once", at_once, 0)
    print_times("request on one, no other is open", alone, 2)
    print_times("request on one, the others are idle", beside, 2)


def print_times(name: str, times: list[float], digits: int) -> None:
    p99 = sorted(times)[int(len(times) * 0.99)]
    print(f"| {name}: median | {statistics.median(times):,.{digits}f} ms |")
    print(f"| {name}: p99 | {p99:,.{digits}f} ms |", flush=True)


async def use(server: Server, name: str, seconds: float) -> int:
    """Sign up, log in and read repeatedly, and return the number of requests."""
    end = time.monotonic() + seconds
    users = 0
    async with Connection.open(server) as own, Connection.open(server) as administrator:
        await administrator.log_in("ada")
        while not users or time.monotonic() <= end:
            users += 1
            user = f"{name}n{users}"
            await own.sign_up(user)
            await own.log_in(user)
            await own.check_me(user)
            await administrator.check_page(users % 100)
            await administrator.check_me("ada")
    return 5 * users


async def check_answers(replicas: list[Server], seconds: float) -> int:
    """Use all replicas at once, and return the number of answers, which are all correct."""
    clients = (
        use(server, f"p{server.process.pid}c{client}", seconds)
        for server in replicas
        for client in range(CLIENTS)
    )
    return sum(await asyncio.gather(*clients))


async def find_left_overs(url: str) -> set[str]:
    """Return what requests left in PgBouncer's sessions on the server."""
    async with AsyncExitStack() as stack:
        found: set[str] = set()
        for _ in range(POOLED):  # a transaction keeps a connection, so each gets another
            connection = await asyncpg.connect(url, statement_cache_size=0)
            stack.push_async_callback(connection.close)
            await stack.enter_async_context(connection.transaction())
            found |= {row[0] for row in await connection.fetch(LEFT_OVERS)}
        return found


def measure_throughput(
    servers: list[Server], token: str, database: str, seconds: int
) -> list[Sample]:
    """Request pages from all replicas at once."""
    with ThreadPoolExecutor(len(servers)) as threads:
        running = [
            threads.submit(
                load,
                f"{server.url}/users?limit=10",
                token,
                seconds=seconds,
                server=server.process.pid,
                database=database,
                shared=True,
            )
            for server in servers
        ]
        return [one.result() for one in running]


def start_replicas(
    stack: ExitStack, service: Service, count: int, pooled: str
) -> dict[str, list[Server]]:
    """Start replicas for each way to connect: directly, or through PgBouncer at the URL `pooled`."""
    urls = {
        "directly": service.database.url,
        f"directly, `{UNPREPARED}`": f"{service.database.url}?{UNPREPARED}",
        f"PgBouncer, `{UNPREPARED}`": f"{pooled}?{UNPREPARED}",
    }
    if pgbouncer_prepares():
        urls["PgBouncer"] = pooled
    replicas = {}
    for way, url in urls.items():
        say(f"start replicas: {way}")
        one = partial(service.serve, DATABASE_URL=url, DATABASE_POOL_MAX=str(POOL_MAX))
        replicas[way] = [stack.enter_context(one(**CHEAP)) for _ in range(count)]
    return replicas


async def measure_replicas(service: Service, count: int, seconds: float, rounds: int) -> None:
    """Compare replicas behind PgBouncer with others that connect to the server directly."""
    with ExitStack() as stack:
        pooled = stack.enter_context(pgbouncer(service.database.url, POOLED))
        replicas = start_replicas(stack, service, count, pooled)
        counts = {}
        for way, servers in replicas.items():
            say(f"sign-ups, log-ins and pages: {way}")
            counts[way] = await check_answers(servers, seconds)
        left_overs = await find_left_overs(pooled)
        async with Connection.open(replicas["directly"][0]) as connection:
            await connection.log_in("ada")
            token = connection.token
        samples: dict[str, list[list[Sample]]] = {way: [] for way in replicas}
        for number in range(rounds):
            say(f"throughput of the replicas, round {number + 1} of {rounds}")
            for way, servers in replicas.items():
                measure = partial(measure_throughput, servers, token, service.database.name)
                samples[way].append(await asyncio.to_thread(measure, max(1, int(seconds))))
        for server in itertools.chain(*replicas.values()):
            server.stop()
            if server.output:
                raise LoadError(server.output)
    print(f"\n| {count} replicas | Correct answers | Pages/s, to the first | CPU of a page, ms |")
    print("| --- | --- | --- | --- |")
    rates = {way: [sum(s.rate for s in one) for one in samples[way]] for way in samples}
    for way, own in rates.items():
        ratios = [rate / first for rate, first in zip(own, rates["directly"], strict=True)]
        cpu = statistics.median(sample.server for one in samples[way] for sample in one)
        print(
            f"| {way} | {counts[way]:,} | {statistics.median(own):,.0f}, "
            f"{statistics.median(ratios):.2f} | {cpu:.2f} |"
        )
    print(f"\nLeft in PgBouncer's sessions: {', '.join(sorted(left_overs)) or 'nothing'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--users", type=int, nargs=2, default=(10_000, 10_000_000), metavar=("FEW", "MANY")
    )
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="for each figure and round")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background
    try:
        require_wrk()
        run(options)
    except LoadError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped.")


def run(options: argparse.Namespace) -> None:
    """Measure everything in one service, with a database of few and one of many users."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # servers inherit it
    rounds, seconds = options.rounds, options.seconds
    with ExitStack() as stack:
        template = stack.enter_context(snapshot())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rendered = render(template, folder / "service", {"database": "postgresql"})
        commands = install(rendered, "postgresql")
        small, large = (
            Service(rendered, commands, stack.enter_context(new_database("postgresql", folder)))
            for _ in options.users
        )
        small.environment = large.environment = QUIET
        for service, count in zip((small, large), options.users, strict=True):
            prepare(service, count)
        asyncio.run(measure_users((small, large), options.users, seconds))
        large.database.drop()
        asyncio.run(measure_connections(small, options.connections, rounds))
        asyncio.run(measure_replicas(small, options.replicas, seconds, rounds))


if __name__ == "__main__":
    main()
