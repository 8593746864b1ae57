"""Measure what accounts promise: `python -m benchmarks.accounts` prints each figure and its bound.

It renders and installs a service of each engine whose server answers. Times depend on the machine
and on what else it does; measurements that are compared alternate.
"""

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2

from tests.support.accounts import PASSWORD, UNTHROTTLED
from tests.support.databases import new_database
from tests.support.services import Server, Service, install
from tests.support.sockets import peak
from tools.render import ENGINES, render, snapshot

LOGINS = 40
ROUNDS = 40
PAGES = 200

ROWS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
    " INSERT INTO users (username, email, hashed_password)"
    " SELECT 'u' || i, 'u' || i || '@example.com', '-' FROM n",
    "postgresql": "INSERT INTO users (username, email, hashed_password)"
    " SELECT 'u' || i, 'u' || i || '@example.com', '-' FROM generate_series(1, {count}) i",
    "mysql": "INSERT INTO users (username, email, hashed_password)"
    " SELECT concat('u', seq), concat('u', seq, '@example.com'), '-' FROM seq_1_to_{count}",
}


async def timed(request: Awaitable[object]) -> float:
    """Measure a request, in milliseconds."""
    start = time.perf_counter()
    await request
    return (time.perf_counter() - start) * 1000


def show(engine: str, what: str, value: float, bound: str) -> None:
    print(f"{engine:10} {what:58} {value:9.2f}   {bound}", flush=True)


async def crowd(engine: str, server: Server, client: httpx2.AsyncClient) -> None:
    """Log in 40 times at once with bad passwords, and ask for /livez meanwhile."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # forget the peak
    before = peak(server)
    forms = [
        {"username": "ada" if n % 2 else f"u{n}", "password": f"wrong {n}"} for n in range(LOGINS)
    ]
    logins = asyncio.gather(*(client.post("/auth/token", data=form) for form in forms))
    probes = []
    while not logins.done():
        probes.append(await timed(client.get("/livez")))
    added = (peak(server) - before) / 1000
    show(engine, "memory that 40 bad logins at once add, MB", added, "< 200")
    show(engine, "/livez meanwhile, median, ms", statistics.median(probes), "< 250")


async def shares(engine: str, server: Server) -> None:
    """Log in from one address while another has 200 logins in flight, and three more 140 each."""

    def at(address: str) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            base_url=server.url,
            limits=httpx2.Limits(max_connections=200),
            timeout=120,
            headers={"X-Forwarded-For": address},
        )

    floods = {"one address": {"198.51.100.1": 200}}
    floods["three"] = {f"198.51.100.{number}": 140 for number in range(2, 5)}
    for what, attackers in floods.items():
        async with AsyncExitStack() as stack:
            owner = await stack.enter_async_context(at("192.0.2.1"))
            flood: list[asyncio.Future[httpx2.Response]] = []
            for address, count in attackers.items():
                client = await stack.enter_async_context(at(address))
                for number in range(count):
                    form = {"username": f"u{number}", "password": "a guess"}
                    flood.append(asyncio.ensure_future(client.post("/auth/token", data=form)))
            await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
            times: list[float] = []
            statuses: set[int] = set()
            while not all(request.done() for request in flood) and len(times) < 10:
                form = {"username": "ada", "password": PASSWORD}
                start = time.perf_counter()
                statuses.add((await owner.post("/auth/token", data=form)).status_code)
                times.append(time.perf_counter() - start)
            for request in flood:
                request.cancel()
            await asyncio.gather(*flood, return_exceptions=True)
        name = f"login while {what} sent {sum(attackers.values())} {statuses}, median, s"
        show(engine, name, statistics.median(times), "< 2")


async def likeness(engine: str, client: httpx2.AsyncClient) -> None:
    """Compare an unknown user with a wrong password, and a known with an unknown address."""
    times: dict[str, list[float]] = {"ada": [], "nobody": [], "ada@": [], "nobody@": []}
    for _, name in itertools.product(range(ROUNDS), ("ada", "nobody")):
        form = {"username": name, "password": "wrong password"}
        times[name].append(await timed(client.post("/auth/token", data=form)))
        body = {"email": f"{name}@example.com"}
        times[f"{name}@"].append(await timed(client.post("/auth/password-reset", json=body)))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for what, known, unknown in (("login", "ada", "nobody"), ("reset", "ada@", "nobody@")):
        difference = abs(medians[known] / medians[unknown] - 1) * 100
        show(
            engine,
            f"{what}: unknown ({medians[unknown]:.1f} ms) and known differ, %",
            difference,
            "< 10",
        )


async def depth(engine: str, service: Service, client: httpx2.AsyncClient, rows: int) -> None:
    """Compare the first pages of a long list with the last."""
    await asyncio.to_thread(service.database.query, ROWS[engine].format(count=rows))
    await asyncio.to_thread(
        service.database.query, "UPDATE users SET is_admin = true WHERE username = 'ada'"
    )
    login = {"username": "ada", "password": PASSWORD}
    token = (await client.post("/auth/token", data=login)).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    cursors = {"first": "0" * 16, "last": f"{rows - 10:016x}"}
    times: dict[str, list[float]] = {"first": [], "last": []}
    for _, place in itertools.product(range(PAGES), cursors):
        path = f"/users?limit=10&cursor={cursors[place]}"
        times[place].append(await timed(client.get(path, headers=headers)))
    first, last = (statistics.median(times[place]) for place in ("first", "last"))
    show(engine, f"last page of {rows} ({last:.2f} ms) / first", last / first, "<= 1.3")


async def measure(engine: str, service: Service, server: Server, rows: int) -> None:
    limits = httpx2.Limits(max_connections=100)
    async with httpx2.AsyncClient(base_url=server.url, limits=limits, timeout=120) as client:
        body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
        await client.post("/users", json=body)
        await crowd(engine, server, client)
        await shares(engine, server)
        await likeness(engine, client)
        await depth(engine, service, client, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what accounts promise.")
    parser.add_argument("engines", nargs="*", default=ENGINES)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with snapshot() as template, tempfile.TemporaryDirectory() as folder:
        for engine in options.engines:
            rendered = render(template, Path(folder) / engine, {"database": engine})
            with new_database(engine, Path(folder)) as database:
                service = Service(rendered, install(rendered, engine), database)
                service.run("aerich", "upgrade")
                environment = {"LOG_LEVEL": "ERROR", "ENVIRONMENT": "production", **UNTHROTTLED}
                environment["TRUSTED_PROXIES"] = "127.0.0.1"
                with service.serve(**environment) as server:
                    asyncio.run(measure(engine, service, server, options.rows))


if __name__ == "__main__":
    main()
