"""The table and the plot of a run."""

import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import psutil
from matplotlib.figure import Figure

from tools.render import REPOSITORY

from .load import CONNECTIONS, Sample

LIST = "page of 10 users"
LAST = "last page of users"
ME = "one's own account"
LIVEZ = "/livez"
TWO_LIST = "page of 10 users, two workers"
TWO_LIVEZ = "/livez, two workers"

PLOT = Path(__file__).parent / "serving.svg"
START, END = "<!-- performance: written by benchmarks/serving -->", "<!-- /performance -->"

NAMES = {
    "limit": "Starlette + asyncpg + orjson by hand",
    "service": "this template's service",
    "idiom": "FastAPI + Tortoise by the manual",
    "generator": "fastapi_template's service, without a session",
    "bare": "bare FastAPI",
    "two": "this template's service, two workers",
}
COLOURS = {"limit": "#9aa5b1", "service": "#0b7285", "idiom": "#c0c8d0", "generator": "#d8dde3"}

Samples = Mapping[tuple[str, str], list[Sample]]


@dataclass
class Results:
    """What a run measured; times in seconds, memory in MB.

    Attributes:
        samples: of each work and who did it.
        starts: cold starts, by who started.
        loaded: memory after the load.
        logins: the memory that 40 logins at once add.
        copies, updates: `copier copy` and `copier update`.
        from_nothing: from no folder to the first 200, by whose.
        upgrades: `migrate upgrade` with 1 and with 500 applied migrations.
        missing: why there is no generator's service.
    """

    samples: Samples
    starts: Mapping[str, list[float]]
    loaded: float
    logins: float
    copies: list[float]
    updates: list[float]
    from_nothing: Mapping[str, list[float]]
    upgrades: list[tuple[float, float]]
    missing: str


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

    def column(work: str, name: str, field: str = "rate") -> list[float]:
        return [getattr(sample, field) for sample in results.samples.get((work, name), ())]

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
        if values:
            rows.append(Goal(work, unit, most, at_least=False, value=spread(values)))

    for name, least in (("limit", 0.5), ("idiom", 2.0), ("generator", 1.5)):
        add(
            "`GET /users?limit=10`", f"times {NAMES[name]}", least,
            column(LIST, "service"), column(LIST, name), at_least=True,
        )  # fmt: skip
    add(
        "`GET /users/me`", f"times {NAMES['limit']}", 0.5,
        column(ME, "service"), column(ME, "limit"), at_least=True,
    )  # fmt: skip
    add(
        "`GET /livez`", f"times {NAMES['bare']}", 0.9,
        column(LIVEZ, "service"), column(LIVEZ, "bare"), at_least=True,
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
    for name, most in (("bare", 1.3), ("generator", 1.0)):
        add(
            "cold start to the first 200", f"times {NAMES[name].partition(',')[0]}", most,
            results.starts.get("service", []), results.starts.get(name, []), at_least=False,
        )  # fmt: skip
    bound("memory after the load", "MB", 70, [results.loaded])
    bound("memory that 40 logins at once add", "MB", 200, [results.logins])
    for two, one in ((TWO_LIST, LIST), (TWO_LIVEZ, LIVEZ)):
        # requests in a second of CPU time of each worker: generator and database count apart
        alone, shared = column(one, "service", "server"), column(two, "two", "server")
        add(
            f"two workers on two cores, {one}",
            "times one",
            1.7,
            [2 * time for time in alone],
            shared,
            at_least=True,
        )
    bound("`copier copy`", "s", 1.2, results.copies)
    bound("`copier update`", "s", 4, results.updates)
    add(
        "nothing to the first 200, warm cache", f"times {NAMES['generator'].partition(',')[0]}", 0.5,
        results.from_nothing.get("service", []), results.from_nothing.get("generator", []),
        at_least=False,
    )  # fmt: skip
    one_applied, many = ([row[n] for row in results.upgrades] for n in (0, 1))
    add(
        "`migrate upgrade`, 500 applied, nothing to do", "times the same with 1", 1.3,
        many, one_applied, at_least=False,
    )  # fmt: skip
    return rows


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def machine() -> str:
    """Describe the machine."""
    cores = psutil.cpu_count() or 0
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{cores} cores ({platform.machine()}, {platform.system()}), {memory:.0f} GB,"
        f" Python {platform.python_version()}"
    )


def goals_table(results: Results) -> list[str]:
    rows = []
    for goal in goals(results):
        relation = "≥" if goal.at_least else "≤"
        met = "yes" if goal.met else "**no**"
        digits = 0 if goal.unit == "MB" else 2
        rows.append(
            [goal.work, f"{relation} {goal.bound:g} {goal.unit}", goal.value.show(digits), met]
        )
    return _table(["Work", "Goal", "Median (least – most)", "Met"], rows)


def markdown(results: Results) -> str:
    """Write the tables of goals, of samples and of starts."""
    lines = [f"Measured on {machine()}; {CONNECTIONS} connections.", ""]
    lines += goals_table(results)
    if results.missing:
        lines += ["", f"Skipped: {results.missing}"]
    lines += ["", "CPU is the milliseconds that a request takes of each.", ""]
    rows = [
        [
            work,
            NAMES[name],
            spread(sample.rate for sample in samples).show(0),
            *(
                f"{statistics.median(getattr(sample, field) for sample in samples):.2f}"
                for field in ("median", "p99", "server", "database", "generator")
            ),
        ]
        for (work, name), samples in results.samples.items()
    ]
    lines += _table(
        ["Work", "Who", "Requests/s", "Median, ms", "p99, ms", "CPU: server", "database", "wrk"],
        rows,
    )
    lines += ["", "Cold starts, in seconds:", ""]
    lines += _table(
        ["Who", "To the first 200"],
        [[NAMES[name], spread(times).show(2)] for name, times in results.starts.items()],
    )
    return "\n".join(lines) + "\n"


def publish(results: Results) -> None:
    """Write the table of goals to the README, and the plot that it shows."""
    plot(results, PLOT)
    readme = REPOSITORY / "README.md"
    before, start, rest = readme.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    machine_and_goals = [f"Measured on {machine()}, one worker, {CONNECTIONS} connections.", ""]
    table = "\n".join([*machine_and_goals, *goals_table(results)])
    readme.write_text(f"{before}{start}\n{table}\n{end}{after}", encoding="utf-8")


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
        colours = [COLOURS.get(name, "#9aa5b1") for name, _ in group]
        bars = axis.barh(labels, medians, xerr=[below, above], color=colours, height=0.7)
        axis.bar_label(bars, [f"{value:,.0f}" for value in medians], padding=4)
        axis.margins(x=0.15)
        axis.set_title(f"{work}, requests per second", loc="left", fontsize=10)
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, format="svg", metadata={"Date": None})
