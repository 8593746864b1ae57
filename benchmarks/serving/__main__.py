"""Measure the rendered service, beside others that do the same work.

    python -m benchmarks.serving [--engine ENGINE] [--short] [--publish]

It needs wrk and a server of the engine, by default PostgreSQL. It takes about ten minutes, or two
for another engine, and is best left alone meanwhile.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx2
import psutil

from benchmarks import migrations
from benchmarks.accounts import PASSWORD, ROWS, UNTHROTTLED
from tests.support.databases import new_database
from tests.support.services import Server, Service, install, uv
from tools.render import REPOSITORY, render, snapshot

from . import generated, report, start
from .load import LoadError, Sample, load, pin, require_wrk

PEERS = Path(__file__).parent / "peers"
SERVICE = ("python", "-m", "src")
BARE = ("uvicorn", "bare:app", "--no-access-log")
HUNDRED = ("uvicorn", "--factory", "--no-access-log")


class Scale(NamedTuple):
    """How much is measured.

    Attributes:
        until_good: whether to stop after the first round without a ratio that is much worse.
    """

    rows: int
    rounds: int
    warm_up: int
    logins: int
    seconds: int
    starts: int
    from_nothing: int
    copies: int
    upgrades: int
    until_good: bool = False


FULL = Scale(
    rows=1_000_000, rounds=8, warm_up=1, logins=40, seconds=3, starts=10, from_nothing=3, copies=5,
    upgrades=5,
)  # fmt: skip
ENGINE = FULL._replace(rows=10_000, logins=0, starts=0, from_nothing=0, copies=0, upgrades=0)
SHORT = Scale(
    rows=1_000, rounds=3, warm_up=0, logins=2, seconds=1, starts=1, from_nothing=0, copies=0,
    upgrades=0, until_good=True,
)  # fmt: skip


@dataclass
class Contestants:
    """What is measured, each installed, with its database prepared.

    Attributes:
        service: the rendered service.
        peers: those that run in its environment, on its database.
        other: the service of the best-known generator.
        missing: why there is no `other`.
    """

    service: Service
    peers: Service
    other: Service | None = None
    generator: Path | None = None
    missing: str = ""
    running: dict[str, Server] = field(default_factory=dict)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def prepared(template: Path, folder: Path, scale: Scale, engine: str) -> Iterator[Contestants]:
    with ExitStack() as stack:
        say("render and install the service")
        rendered = render(template, folder / "service", {"database": engine})
        commands = install(rendered, "serving" if engine == "postgresql" else engine)
        database = stack.enter_context(new_database(engine, folder))
        quiet = {"LOG_LEVEL": "WARNING", "ENVIRONMENT": "production", **UNTHROTTLED}
        service = Service(rendered, commands, database, environment=quiet)
        service.upgrade()
        contestants = Contestants(service, Service(PEERS, commands, database))
        if engine != "postgresql":
            yield contestants
            return
        uv(rendered, "pip", "install", "--quiet", "--python", str(commands.parent), "orjson")
        say("render and install the best-known generator's service")
        try:
            contestants.generator = generated.install_generator(folder)
            path = generated.generate(contestants.generator, folder / "generated")
        except generated.MissingError as error:
            contestants.missing = str(error)
            say(f"skipped: {error}")
        else:
            others = stack.enter_context(new_database("postgresql", folder))
            generated.make_table(others, scale.rows)
            commands = path / ".venv" / "bin"
            contestants.other = Service(path, commands, others, "peer", generated.variables(others))
        yield contestants


@contextmanager
def running(contestants: Contestants) -> Iterator[dict[str, Server]]:
    """Start all, with one worker each, on the first core; `two` has two workers on all cores."""
    with ExitStack() as stack:
        servers: dict[str, AbstractContextManager[Server]] = {
            "service": contestants.service.serve(),
            "idiom": contestants.peers.serve("uvicorn", "idiom:app", "--no-access-log"),
        }
        if contestants.service.database.engine == "postgresql":
            servers |= _others(contestants)
        started = {name: stack.enter_context(server) for name, server in servers.items()}
        for name, server in started.items():
            if name != "two":
                pin(server.process.pid, last=False)
        yield started


def _others(contestants: Contestants) -> dict[str, AbstractContextManager[Server]]:
    """List what only runs on PostgreSQL, or is measured once."""
    others: dict[str, AbstractContextManager[Server]] = {
        "limit": contestants.peers.serve("uvicorn", "limit:app", "--no-access-log"),
        "bare": contestants.peers.serve(*BARE),
        "hundred": contestants.service.serve(
            *HUNDRED,
            "hundred:make_service",
            "--http=src.http_protocol:LimitedProtocol",
            PYTHONPATH=str(PEERS),
        ),
        "bare_hundred": contestants.peers.serve(*HUNDRED, "hundred:make_bare"),
        "two": contestants.service.serve(WEB_CONCURRENCY="2"),
    }
    if contestants.other:
        others["generator"] = contestants.other.serve(*generated.COMMAND)
    return others


def fill(contestants: Contestants, servers: dict[str, Server], rows: int) -> str:
    """Make an administrator and many users.

    Returns:
        The administrator's token.
    """
    say(f"make {rows:,} users")
    url, database = servers["service"].url, contestants.service.database
    person = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    httpx2.post(f"{url}/users", json=person).raise_for_status()
    database.query("UPDATE users SET is_admin = true")
    database.query(ROWS[database.engine].format(count=rows))
    if database.engine == "postgresql":
        database.query("VACUUM (ANALYZE) users")  # not while it is measured
    login = httpx2.post(f"{url}/auth/token", data={"username": "ada", "password": PASSWORD})
    return str(login.raise_for_status().json()["access_token"])


class Work(NamedTuple):
    """One thing that several do."""

    name: str
    paths: dict[str, str]
    equal: tuple[str, ...] = ()


def works(contestants: Contestants, rows: int) -> list[Work]:
    page = "/users?limit=10"
    page_of_users = dict.fromkeys(("service", "limit", "idiom"), page)
    if contestants.other:
        page_of_users["generator"] = generated.LIST
    same = ("service", "limit", "idiom")
    if contestants.service.database.engine != "postgresql":
        both = ("service", "idiom")
        return [
            Work(report.LIST, dict.fromkeys(both, page), both),
            Work(report.ME, dict.fromkeys(both, "/users/me"), both),
        ]
    return [
        Work(report.LIST, page_of_users, same),
        Work(report.LAST, {"service": f"{page}&cursor={rows - 9:016x}"}),
        Work(report.ME, dict.fromkeys(same, "/users/me"), same),
        Work(report.LIVEZ, dict.fromkeys(("service", "bare"), "/livez"), ("service", "bare")),
        Work(
            report.BEHIND,
            dict.fromkeys(("hundred", "bare_hundred"), "/behind"),
            ("hundred", "bare_hundred"),
        ),
        Work(report.TWO_LIST, {"two": page}),
        Work(report.TWO_LIVEZ, {"two": "/livez"}),
    ]


def check_bodies(work: Work, servers: dict[str, Server], token: str) -> None:
    """See that all who do the same work answer with the same bytes.

    Raises:
        LoadError: they do not.
    """
    headers = {"Authorization": f"Bearer {token}"}
    bodies = {}
    for name, path in work.paths.items():
        answer = httpx2.get(servers[name].url + path, headers=headers).raise_for_status()
        bodies[name] = answer.content
        if "/users?" in path and len(answer.json()["items"]) != 10:
            raise LoadError(f"{name} answers {path} with another number of users than 10")
    if len({bodies[name] for name in work.equal}) > 1:
        raise LoadError(f"Not all answer alike: {bodies}")


def measure(
    contestants: Contestants, servers: dict[str, Server], token: str, scale: Scale
) -> dict[tuple[str, str], list[Sample]]:
    """Measure in turns, so that what slows the machine for a while slows all."""
    everything = works(contestants, scale.rows)
    for work in everything:
        check_bodies(work, servers, token)
    samples: dict[tuple[str, str], list[Sample]] = {}
    for number in range(0 if scale.warm_up else 1, scale.rounds + 1):
        say(f"round {number} of {scale.rounds}" if number else "warm up")
        for work in everything:
            names = list(work.paths)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                sample = load(
                    servers[name].url + work.paths[name],
                    token,
                    seconds=scale.seconds if number else scale.warm_up,
                    server=servers[name].process.pid,
                    database=(
                        contestants.other
                        if name == "generator" and contestants.other
                        else contestants.service
                    ).database.url.rpartition("/")[2],
                    shared=name == "two",
                )
                if number:
                    samples.setdefault((work.name, name), []).append(sample)
        so_far = report.Results(samples, contestants.service.database.engine)
        if number and scale.until_good and not report.regressions(so_far):
            break
    for work in everything:
        check_bodies(work, servers, token)
    return samples


def memory(server: Server) -> float:
    """Read the memory of a server now, in MB."""
    return float(psutil.Process(server.process.pid).memory_info().rss / 1e6)


async def log_in_at_once(server: Server, count: int) -> float:
    """Log in some times at once.

    Returns:
        The memory that this added at most, in MB.
    """
    before, peak = memory(server), 0.0
    form = {"username": "ada", "password": PASSWORD}
    async with httpx2.AsyncClient(timeout=120) as client:
        url = f"{server.url}/auth/token"
        logins = asyncio.gather(*(client.post(url, data=form) for _ in range(count)))
        while not logins.done():
            peak = max(peak, memory(server))
            await asyncio.sleep(0.002)
        for login in await logins:
            login.raise_for_status()
    return peak - before


def starts(contestants: Contestants, count: int) -> dict[str, list[float]]:
    """Measure cold starts in turns; the first, which compiles, does not count."""
    times: dict[str, list[float]] = {"service": [], "bare": []}
    if contestants.other:
        times["generator"] = []
    for number in range(count + 1):
        say(f"start {number} of {count}" if number else "start")
        for name, values in times.items():
            if name == "generator" and contestants.other:
                value = start.time_start(contestants.other, generated.COMMAND, generated.ALIVE)
            elif name == "bare":
                value = start.time_start(contestants.peers, BARE, "/livez")
            else:
                value = start.time_start(contestants.service, SERVICE, "/livez")
            if number:
                values.append(value)
    return times


def from_nothing(
    contestants: Contestants, template: Path, folder: Path, rounds: int
) -> dict[str, list[float]]:
    """Measure the way from no folder to the first 200, in turns."""
    times: dict[str, list[float]] = {"service": []}
    if contestants.generator and not contestants.missing:
        times["generator"] = []
    for number in range(rounds):
        say(f"from nothing, {number + 1} of {rounds}")
        for name, values in times.items():
            path = folder / f"{name}-{number}"
            if name == "generator" and contestants.generator:
                values.append(start.time_generated_from_nothing(contestants.generator, path))
            else:
                values.append(start.time_service_from_nothing(template, path))
    return times


def run(scale: Scale, engine: str) -> report.Results:
    with (
        tempfile.TemporaryDirectory() as name,
        snapshot() as template,
        prepared(template, Path(name), scale, engine) as contestants,
    ):
        cold = starts(contestants, scale.starts) if scale.starts else {}
        with running(contestants) as servers:
            token = fill(contestants, servers, scale.rows)
            samples = measure(contestants, servers, token, scale)
            loaded = memory(servers["service"])
            logins = asyncio.run(log_in_at_once(servers["service"], scale.logins))
        if engine != "postgresql":
            return report.Results(samples, engine)
        say("copy and update")
        copies, updates = start.time_copier(Path(name), scale.copies)
        nothing = from_nothing(contestants, template, Path(name), scale.from_nothing)
        say("upgrade with many migrations")
        upgrades = (
            migrations.measure("postgresql", scale.upgrades).upgrades if scale.upgrades else []
        )
        return report.Results(
            samples=samples,
            starts=cold,
            loaded=loaded,
            logins=logins,
            copies=copies,
            updates=updates,
            from_nothing=nothing,
            upgrades=upgrades,
            missing=contestants.missing,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--engine", choices=ROWS, default="postgresql")
    parser.add_argument(
        "--short", action="store_true", help="verify that it works, and that no ratio is much worse"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=REPOSITORY / "build" / "benchmarks",
        help="the folder for serving.md and serving.svg; default: build/benchmarks",
    )
    parser.add_argument(
        "--publish", action="store_true", help="write the tables and the plot to the READMEs"
    )
    options = parser.parse_args()
    try:
        require_wrk()
        scale = FULL if options.engine == "postgresql" else ENGINE
        results = run(SHORT if options.short else scale, options.engine)
    except LoadError as error:
        sys.exit(str(error))
    options.output.mkdir(parents=True, exist_ok=True)
    text = report.markdown(results)
    (options.output / "serving.md").write_text(text, encoding="utf-8")
    report.plot(results, options.output / "serving.svg")
    if options.publish:
        report.publish(results)
    print(text)
    if options.short and (slower := report.regressions(results)):
        sys.exit("\n".join(slower))


if __name__ == "__main__":
    main()
