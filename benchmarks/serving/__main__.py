"""Measure the rendered service, beside others that do the same work.

    python -m benchmarks.serving [--engine ENGINE] [--short] [--publish]

It needs wrk and a server of the engine, by default PostgreSQL. It takes about twelve minutes, or two
for another engine, and is best left alone meanwhile.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import httpx2
import psutil

from benchmarks import migrations
from benchmarks.accounts import ROWS
from tests.support.accounts import PASSWORD, create_administrator
from tests.support.services import Server
from tools.render import REPOSITORY, snapshot

from . import frameworks, generated, report, start
from .contestants import BARE, IDIOM, SERVICE, Contestants, prepared, running, say
from .load import LoadError, Sample, load, require_wrk


class Scale(NamedTuple):
    """How much is measured.

    Attributes:
        until_good: whether to stop after the first round without a ratio that is much worse.
        frameworks: whether to install and measure the other frameworks.
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
    frameworks: bool = True


FULL = Scale(
    rows=1_000_000, rounds=8, warm_up=1, logins=40, seconds=3, starts=10, from_nothing=3, copies=5,
    upgrades=5,
)  # fmt: skip
ENGINE = FULL._replace(rows=10_000, logins=0, starts=0, from_nothing=0, copies=0, upgrades=0)
SHORT = Scale(
    rows=1_000, rounds=3, warm_up=0, logins=2, seconds=1, starts=1, from_nothing=0, copies=0,
    upgrades=0, until_good=True, frameworks=False,
)  # fmt: skip


def fill(contestants: Contestants, servers: dict[str, Server], rows: int) -> str:
    """Create an administrator and many users.

    A command creates the administrator. A sign-up would load the word lists of the password check
    into the server, whose memory is measured without them first.

    Returns:
        The administrator's token.
    """
    say(f"create {rows:,} users")
    url, database = servers["service"].url, contestants.service.database
    create_administrator(contestants.service)
    database.query(ROWS[database.engine].format(count=rows))
    if database.engine == "postgresql":
        database.query("VACUUM (ANALYZE) users")  # not while it is measured
    login = httpx2.post(f"{url}/auth/token", data={"username": "ada", "password": PASSWORD})
    token = str(login.raise_for_status().json()["access_token"])
    if "fastapi_users" in servers:
        database.query(frameworks.ADD_TOKEN.format(token=token))
    return token


class Work(NamedTuple):
    """One thing that several do."""

    name: str
    paths: dict[str, str]
    equal: tuple[str, ...] = ()


def works(contestants: Contestants, rows: int) -> list[Work]:
    page = "/users?limit=10"
    same = ("service", "limit", "idiom")
    same_page = (*same, *contestants.frameworks)
    same_list = ("dummies", "generator") if contestants.other else ("dummies",)
    if contestants.service.database.engine != "postgresql":
        both = ("service", "idiom")
        return [
            Work(report.LIST, dict.fromkeys(both, page), both),
            Work(report.ME, dict.fromkeys(both, "/users/me"), both),
        ]
    return [
        Work(report.LIST, dict.fromkeys(same_page, page), same_page),
        Work(report.LAST, {"service": f"{page}&cursor={rows - 9:016x}"}),
        Work(report.ME, dict.fromkeys(same, "/users/me"), same),
        Work(report.LIVEZ, dict.fromkeys(("service", "bare"), "/livez"), ("service", "bare")),
        Work(
            report.BEHIND,
            dict.fromkeys(("hundred", "bare_hundred"), "/behind"),
            ("hundred", "bare_hundred"),
        ),
        Work(report.OPEN_LIST, dict.fromkeys(same_list, generated.LIST), same_list),
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
    """Measure all alternately, so that what slows the machine for a while slows all."""
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


def sign_up(server: Server) -> float:
    """Sign up, with the first password that a server checks.

    Returns:
        The memory that this added, in MB.
    """
    before = memory(server)
    person = {"username": "bea", "email": "bea@example.com", "password": PASSWORD}
    httpx2.post(f"{server.url}/users", json=person).raise_for_status()
    return memory(server) - before


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
    """Measure cold starts alternately. The first, which compiles, does not count."""
    peers = {"idiom": IDIOM, "bare": BARE}
    times: dict[str, list[float]] = {"service": [], "idiom": [], "bare": []}
    if contestants.other:
        times["generator"] = []
    for number in range(count + 1):
        say(f"start {number} of {count}" if number else "start")
        for name, values in times.items():
            if name == "generator" and contestants.other:
                value = start.time_start(contestants.other, generated.COMMAND, generated.ALIVE)
            elif name in peers:
                value = start.time_start(contestants.peers, peers[name], "/livez")
            else:
                value = start.time_start(contestants.service, SERVICE, "/livez")
            if number:
                values.append(value)
    return times


def from_nothing(
    contestants: Contestants, template: Path, folder: Path, rounds: int
) -> dict[str, list[float]]:
    """Measure alternately how long each takes from no folder to the first 200."""
    times: dict[str, list[float]] = {"service": []}
    if contestants.other:
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
        prepared(
            template, Path(name), engine, scale.rows, with_frameworks=scale.frameworks
        ) as contestants,
    ):
        cold = starts(contestants, scale.starts) if scale.starts else {}
        with running(contestants) as servers:
            token = fill(contestants, servers, scale.rows)
            samples = measure(contestants, servers, token, scale)
            loaded = memory(servers["service"])
            password = sign_up(servers["service"])
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
            password=password,
            logins=logins,
            copies=copies,
            updates=updates,
            from_nothing=nothing,
            upgrades=upgrades,
            compared=contestants.packages(),
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
