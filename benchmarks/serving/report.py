"""The table and the plot of a run."""

import platform
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import psutil
from matplotlib.figure import Figure

from tools.render import REPOSITORY

from .load import CONNECTIONS, Sample, median

LIST = "page of 10 users"
LAST = "last page of users"
ME = "one's own account"
LIVEZ = "/livez"
BEHIND = "a route behind 100 others"
OPEN_LIST = "list of 10 rows, without a session"
TWO_LIST = "page of 10 users, two workers"
TWO_LIVEZ = "/livez, two workers"

PLOT = Path(__file__).parent / "serving.svg"
README = REPOSITORY / "README.md"
TABLES = REPOSITORY / "benchmarks" / "README.md"
PER_CPU_SECOND = "requests per CPU second"
LEAST_SHARE = 0.75  # of a published ratio; less is a regression, not noise

NAMES = {
    "limit": "Starlette + asyncpg + orjson by hand",
    "service": "this template's service",
    "idiom": "FastAPI + Tortoise as documented",
    "fastapi_users": "fastapi-users + SQLAlchemy",
    "litestar": "Litestar + Advanced Alchemy + msgspec",
    "django_ninja": "django-ninja + orjson",
    "generator": "fastapi_template's service",
    "bare": "bare FastAPI",
    "hundred": "this template's service with 100 more routes",
    "bare_hundred": "FastAPI with the same 101 routes",
    "dummies": "this template's service with the same list",
    "two": "this template's service, two workers",
}
COLOURS = {"limit": "#9aa5b1", "service": "#0b7285", "bare": "#9aa5b1"}

Samples = Mapping[tuple[str, str], list[Sample]]


@dataclass
class Results:
    """What a run measured; times in seconds, memory in MB.

    Attributes:
        samples: of each work and who did it.
        engine: the database's.
        starts: cold starts, by who started.
        loaded: memory after the load.
        password: the memory that the first checked password adds.
        logins: the memory that 40 logins at once add.
        copies, updates: `copier copy` and `copier update`.
        from_nothing: from no folder to the first 200, by whose.
        upgrades: `migrate upgrade` with 1 and with 500 applied migrations.
        compared: the packages of the other frameworks, with versions.
        missing: what could not be compared, and why.
    """

    samples: Samples
    engine: str = "postgresql"
    starts: Mapping[str, list[float]] = field(default_factory=dict)
    loaded: float = 0
    password: float = 0
    logins: float = 0
    copies: list[float] = field(default_factory=list)
    updates: list[float] = field(default_factory=list)
    from_nothing: Mapping[str, list[float]] = field(default_factory=dict)
    upgrades: list[tuple[float, float]] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Spread(NamedTuple):
    """The median, the least and the most of some values."""

    median: float
    least: float
    most: float

    def show(self, digits: int) -> str:
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f} – {self.most:,.{digits}f})"


class Goal(NamedTuple):
    """A row of the table of goals; the goal is a bound from below or from above."""

    work: str
    unit: str
    bound: float
    at_least: bool
    value: Spread

    @property
    def met(self) -> bool:
        median = self.value.median
        return median >= self.bound if self.at_least else median <= self.bound


def spread(values: Iterable[float]) -> Spread:
    numbers = list(values)
    return Spread(statistics.median(numbers), min(numbers), max(numbers))


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Divide round by round: what slows the machine in one round slows both."""
    return spread(a / b for a, b in zip(ours, theirs, strict=True))


def goals(results: Results) -> list[Goal]:
    """Compare what was measured with what it should be."""

    def column(work: str, name: str, unit: str = "rate") -> list[float]:
        return [getattr(sample, unit) for sample in results.samples.get((work, name), ())]

    rows: list[Goal] = []

    def add(
        work: str,
        unit: str,
        bound: float,
        ours: list[float],
        theirs: list[float],
        *,
        at_least: bool,
    ) -> None:
        if ours and theirs:
            rows.append(Goal(work, unit, bound, at_least, _ratio(ours, theirs)))

    def bound(work: str, unit: str, most: float, values: list[float]) -> None:
        if any(values):
            rows.append(Goal(work, unit, most, at_least=False, value=spread(values)))

    page, own = (2.75, 2.75) if results.engine == "postgresql" else (2, 1.8)
    for path, work, name, least in (
        ("/users?limit=10", LIST, "limit", 0.52),
        ("/users?limit=10", LIST, "idiom", page),
        ("/users?limit=10", LIST, "fastapi_users", 3.75),
        ("/users?limit=10", LIST, "litestar", 2.75),
        ("/users?limit=10", LIST, "django_ninja", 5),
        ("/users/me", ME, "limit", 0.57),
        ("/users/me", ME, "idiom", own),
        ("/livez", LIVEZ, "bare", 0.85),
    ):
        # as in requests per second, but also true while the machine does something else
        add(
            f"`GET {path}`, {PER_CPU_SECOND}", f"times {NAMES[name]}", least,
            column(work, name, "server"), column(work, "service", "server"), at_least=True,
        )  # fmt: skip
    add(
        f"{BEHIND}, {PER_CPU_SECOND}", f"times {NAMES['bare_hundred']}", 0.85,
        column(BEHIND, "bare_hundred", "server"), column(BEHIND, "hundred", "server"),
        at_least=True,
    )  # fmt: skip
    add(
        f"{OPEN_LIST}, {PER_CPU_SECOND}", f"times {NAMES['generator']}", 1.75,
        column(OPEN_LIST, "generator", "server"), column(OPEN_LIST, "dummies", "server"),
        at_least=True,
    )  # fmt: skip
    add(
        "last page of the users", "times the first page's median time", 1.3,
        column(LAST, "service", "median"), column(LIST, "service", "median"), at_least=False,
    )  # fmt: skip
    for work in (LIST, ME, LIVEZ):
        add(
            f"99th percentile, {work}", "times the median", 3,
            column(work, "service", "p99"), column(work, "service", "median"), at_least=False,
        )  # fmt: skip
    for name, most in (("idiom", 1.15), ("generator", 1.0)):
        add(
            "cold start to the first 200", f"times {NAMES[name]}", most,
            results.starts.get("service", []), results.starts.get(name, []), at_least=False,
        )  # fmt: skip
    bound("memory after the load", "MB", 69, [results.loaded])
    bound("memory that the first password adds", "MB", 12, [results.password])
    bound("memory that 40 logins at once add", "MB", 200, [results.logins])
    for two, one in ((TWO_LIST, LIST), (TWO_LIVEZ, LIVEZ)):
        # requests in a second of CPU time of each worker: generator and database count apart
        alone, shared = column(one, "service", "server"), column(two, "two", "server")
        add(
            f"two workers on two cores, {one}",
            "times one",
            1.8,
            [2 * time for time in alone],
            shared,
            at_least=True,
        )
    bound("`copier copy`", "s", 1.2, results.copies)
    bound("`copier update`", "s", 4, results.updates)
    add(
        "nothing to the first 200, warm cache", f"times {NAMES['generator']}", 0.5,
        results.from_nothing.get("service", []), results.from_nothing.get("generator", []),
        at_least=False,
    )  # fmt: skip
    one_applied, many = ([row[n] for row in results.upgrades] for n in (0, 1))
    add(
        "`migrate upgrade`, 500 applied, nothing to do", "times the same with 1", 1.3,
        many, one_applied, at_least=False,
    )  # fmt: skip
    return rows


def regressions(results: Results, text: str = "") -> list[str]:
    """List the ratios of CPU time that are much less than the published ones of the same engine.

    Args:
        results: what was measured. The best round counts: other work on the machine makes rounds worse.
        text: the text with the published tables; by default, the benchmarks' README.
    """
    found = []
    for goal in goals(results):
        before = published_ratio(goal, results.engine, text)
        if before and goal.value.most < LEAST_SHARE * before:
            found.append(
                f"{goal.work}: {goal.value.most:.2f} {goal.unit}, published: {before:.2f}. "
                "Find what made it slower, or publish a new measurement."
            )
    return found


def published_ratio(goal: Goal, engine: str, text: str = "") -> float | None:
    """Return the published median of a ratio of CPU time, whatever the goal was then."""
    if PER_CPU_SECOND not in goal.work:
        return None
    _, table, _ = _split(text or TABLES.read_text(encoding="utf-8"), engine)
    row = rf"\| {re.escape(goal.work)} \| ≥ [\d.]+ {re.escape(goal.unit)} \| ([\d.]+)"
    found = re.search(row, table)
    return float(found[1]) if found else None


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def machine() -> str:
    """Describe the machine and the Python build."""
    cores = psutil.cpu_count() or 0
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{cores} cores ({platform.machine()}, {platform.system()}), {memory:.0f} GB,"
        f" {platform.python_implementation()} {platform.python_version()}"
        f" ({platform.python_compiler()})"
    )


def goals_table(results: Results) -> list[str]:
    rows = []
    for goal in goals(results):
        relation = "≥" if goal.at_least else "≤"
        met = "yes" if goal.met else "**no**"
        digits = 1 if goal.unit == "MB" else 2
        rows.append(
            [goal.work, f"{relation} {goal.bound:g} {goal.unit}", goal.value.show(digits), met]
        )
    return _table(["Work", "Goal", "Median (least – most)", "Met"], rows)


def markdown(results: Results) -> str:
    """Write the tables of goals, of samples and of starts."""
    lines = [f"Measured on {machine()}; {CONNECTIONS} connections.", ""]
    if results.compared:
        lines += [f"Compared with {', '.join(results.compared)}.", ""]
    lines += goals_table(results)
    for reason in results.missing:
        lines += ["", f"Skipped: {reason}"]
    lines += ["", "CPU is the time that a request takes of each process, in milliseconds.", ""]
    rows = [
        [
            work,
            NAMES[name],
            spread(sample.rate for sample in samples).show(0),
            *(
                f"{statistics.median(getattr(sample, field) for sample in samples):.2f}"
                for field in ("server", "database", "generator", "median", "p99")
            ),
        ]
        for (work, name), samples in results.samples.items()
    ]
    lines += _table(
        ["Work", "Who", "Requests/s", "CPU: server", "database", "wrk", "Median, ms", "p99, ms"],
        rows,
    )
    if results.starts:
        lines += ["", "Cold starts, in seconds:", ""]
        lines += _table(
            ["Who", "To the first 200"],
            [[NAMES[name], spread(times).show(2)] for name, times in results.starts.items()],
        )
    return "\n".join(lines) + "\n"


def summary(results: Results) -> list[str]:
    """Write the few figures that a user would choose by: the server's CPU time for a request."""
    works = (LIST, ME, LIVEZ)
    rows = []
    for name, description in NAMES.items():
        times = [results.samples.get((work, name)) for work in works]
        cells = [f"{1000 * median(time, 'server'):.0f}" if time else "" for time in times]
        if any(cells):
            rows.append([description, *cells])
    return _table(["CPU time for a request, µs", *works], rows)


def publish(results: Results) -> None:
    """Write all tables to the benchmarks' README; of PostgreSQL, also the summary and the plot."""
    _replace(TABLES, results.engine, markdown(results).rstrip())
    if results.engine == "postgresql":
        plot(results, PLOT)
        measured = f"Measured on {machine()}, one worker, {CONNECTIONS} connections."
        _replace(README, results.engine, "\n".join([measured, "", *summary(results)]))


def _split(text: str, engine: str) -> tuple[str, str, str]:
    """Split a text into what is before, between and after the marks of an engine."""
    mark = "performance" if engine == "postgresql" else engine
    start, end = f"<!-- {mark}: written by benchmarks/serving -->", f"<!-- /{mark} -->"
    before, _, rest = text.partition(start)
    between, _, after = rest.partition(end)
    return f"{before}{start}", between, f"{end}{after}"


def _replace(file: Path, engine: str, text: str) -> None:
    """Write a text between the marks of an engine in a file."""
    before, _, after = _split(file.read_text(encoding="utf-8"), engine)
    file.write_text(f"{before}\n{text}\n{after}", encoding="utf-8")


def plot(results: Results, file: Path) -> None:
    """Draw the requests per second of each work, with the least and the most, as SVG."""
    mpl.rcParams["svg.hashsalt"] = "benchmarks"  # the same figures are the same file
    mpl.rcParams["svg.fonttype"] = "none"  # text, not outlines
    works = [work for work in (LIST, ME, LIVEZ) if (work, "service") in results.samples]
    groups = [
        [
            (name, results.samples[key])
            for key in results.samples
            for name in key[1:]
            if key[0] == work
        ]
        for work in works
    ]
    figure = Figure(figsize=(8, 0.5 + 0.42 * sum(len(group) + 1 for group in groups)))
    axes = figure.subplots(
        len(works), 1, squeeze=False, gridspec_kw={"height_ratios": [len(g) for g in groups]}
    )[:, 0]
    for axis, work, group in zip(axes, works, groups, strict=True):
        rates = [spread(sample.rate for sample in samples) for _, samples in group]
        medians = [rate.median for rate in rates]
        below = [rate.median - rate.least for rate in rates]
        above = [rate.most - rate.median for rate in rates]
        labels = [NAMES[name].replace(", ", ",\n") for name, _ in group]
        colours = [COLOURS.get(name, "#c0c8d0") for name, _ in group]
        bars = axis.barh(labels, medians, xerr=[below, above], color=colours, height=0.7)
        axis.bar_label(bars, [f"{value:,.0f}" for value in medians], padding=4)
        axis.margins(x=0.15)
        axis.set_title(f"{work}, requests per second", loc="left", fontsize=10)
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, format="svg", metadata={"Date": None})
