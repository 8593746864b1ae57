"""Random changes of models, with rows: see `changes`.

The short run repeats the same few sequences. `pytest tests/migrations/test_random.py --long` runs
other ones for an hour, and lists all that it finds.
"""

import re
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, Verbosity, strategies

from tools.render import REPOSITORY

from .changes.bench import Bench, new_bench
from .changes.generate import Generator
from .changes.sequence import Failure, Sequence, Tally

BUILD = REPOSITORY / "build" / "random"
SEEDS = range(1, 6)  # of the short run, the same each time: a pipeline never fails by chance
STEPS = 3
PROGRESS = 60.0  # seconds


@pytest.fixture
def bench(engine: str, _renders: Callable[[str], tuple[Path, Path]]) -> Iterator[Bench]:
    with new_bench(engine, *_renders(engine)) as made:
        yield made


def run(
    bench: Bench,
    tally: Tally,
    seed: int,
    *phases: Phase,
    report: Callable[[Failure], None] | None = None,
) -> None:
    """Let Hypothesis draw one sequence of changes, and carry it out.

    One at a time: Hypothesis would follow it with others that repeat parts of it.

    Args:
        bench: the service.
        tally: what counts the sequences.
        seed: the seed of this sequence.
        phases: Hypothesis's phases besides the drawing.
        report: what is told of a failure, instead of raising it.

    Raises:
        Failure: something does not hold.
    """

    @hypothesis.seed(seed)
    @hypothesis.settings(
        database=None,
        deadline=None,
        max_examples=1,
        phases=(Phase.generate, *phases),
        print_blob=False,  # the seed is enough
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,  # the report has the models instead of what was drawn
    )
    @hypothesis.given(strategies.data())
    def changes(data: strategies.DataObject) -> None:
        hypothesis.assume(
            data.draw(strategies.booleans())
        )  # without the simplest of all, the first
        try:
            Sequence(bench, Generator(data.draw, bench.engine), tally).run(STEPS)
        except Failure as failure:
            if report is None:
                raise
            report(failure)

    changes()


def test_random_changes_keep_rows_and_match_the_models(
    bench: Bench, pytestconfig: pytest.Config, capfd: pytest.CaptureFixture[str]
) -> None:
    given = pytestconfig.getoption("random_seed")
    tally = Tally()
    if pytestconfig.getoption("long"):
        first = secrets.randbelow(2**32) if given is None else given
        minutes = pytestconfig.getoption("minutes")
        failures = _run_long(bench, tally, first, 60 * minutes, capfd)
        assert not failures, "\n".join(f"{path}: {kind}" for kind, path in failures.items())
        return
    phases = [Phase.shrink] if pytestconfig.getoption("shrink") else []
    seeds = SEEDS if given is None else range(given, given + len(SEEDS))
    for seed in seeds:
        print(f"--random-seed {seed}")
        run(bench, tally, seed, *phases)


def _run_long(
    bench: Bench, tally: Tally, seed: int, seconds: float, capfd: pytest.CaptureFixture[str]
) -> dict[str, Path]:
    """Run sequences until the time is over, and write the first failure of each kind to a file."""
    started = said = time.monotonic()
    found: Counter[str] = Counter()
    failures: dict[str, Path] = {}
    BUILD.mkdir(parents=True, exist_ok=True)

    def report(seed: int, failure: Failure) -> None:
        found[failure.kind] += 1
        if failure.kind not in failures:
            path = BUILD / f"{re.sub(r'[^0-9A-Za-z]+', '-', failure.kind)[:100]}.txt"
            text = f"pytest {Path(__file__).name} -k {bench.engine} --random-seed {seed}"
            path.write_text(f"{text}\n{failure}\n", encoding="utf-8")
            failures[failure.kind] = path

    while (now := time.monotonic()) < started + seconds:
        if now > said + PROGRESS:
            said = now
            _say(
                f"{(now - started) / 60:.0f} min: {tally}; failures: {found.total()}", bench, capfd
            )
        run(bench, tally, seed, report=partial(report, seed))
        seed += 1
    _say(f"all: {tally}", bench, capfd)
    for kind, count in found.most_common():
        _say(f"{count} times: {kind}", bench, capfd)
    return failures


def _say(text: str, bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled():
        print(f"{bench.engine}: {text}", file=sys.stderr, flush=True)
