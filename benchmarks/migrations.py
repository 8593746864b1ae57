"""What 500 applied migrations cost a service, against one, and how long `migrate verify` takes.

Goals: the look at the start takes one query and at most 50 ms; `migrate upgrade` with nothing to do
takes at most 1.3 times as long as with a single migration; with 40 models on SQLite, `migrate new`
takes at most 1.5 s, and `migrate verify` of 100 migrations at most 10 s. The times of these two are
CPU time of the process, which other processes of the machine do not change; wall time is printed, too.

    python -m benchmarks.migrations [--engine postgresql] [--rounds 10] [--commands-only]
"""

import argparse
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.support.databases import new_database
from tests.support.services import Service, install
from tools.render import ENGINES, render, snapshot

MANY = 500
GOAL_START = 0.050  # seconds
GOAL_UPGRADE = 1.3  # times as long

# Measures the service's own look at the database, on a connection that is open
LOOK = """
import asyncio, statistics, time
from tortoise import Tortoise
from src.database.config import TORTOISE_ORM
from src.database.migrate.recorder import read_state

async def main():
    await Tortoise.init(TORTOISE_ORM)
    state = await read_state()
    assert not state.pending and not state.unknown, state
    times = []
    for _ in range(20):
        start = time.perf_counter()
        await read_state()
        times.append(time.perf_counter() - start)
    print(statistics.median(times))
    await Tortoise.close_connections()

asyncio.run(main())
"""

VERIFIED = 100  # migrations
MODELS = 40
GOAL_VERIFY = 10.0  # seconds
GOAL_NEW = 1.5  # seconds

MODEL = """

class Model{number}(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=40, unique=True)
    price = fields.DecimalField(max_digits=8, decimal_places=2)
    created_at = fields.DatetimeField(auto_now_add=True)
    active = fields.BooleanField(default=True)
    {parent}

    class Meta:
        table = "model{number}"
"""

# Writes migrations, each with one more column, and runs in the service
ADD_COLUMNS = """
import copy, sys
from pathlib import Path
from aerich.migrate import Migrate
from src.database.migrate.files import migrations

count, models = map(int, sys.argv[1:])
newest = migrations()[-1]
state, path = newest.models_state, Path("src/database/models.py")
text = path.read_text()
for number in range(newest.number + 1, count):
    model = f"model{number % models}"
    described = next(m for m in state.values() if m["table"] == model)
    field = copy.deepcopy(next(f for f in described["data_fields"] if f["name"] == "name"))
    column = f"extra{number}"
    field |= {"name": column, "db_column": column, "nullable": True, "unique": False}
    field |= {"indexed": False, "constraints": {"max_length": 40}}
    described["data_fields"].append(field)
    quote = "`" if "--mysql" in sys.argv else '"'
    up = f'ALTER TABLE {quote}{model}{quote} ADD COLUMN {quote}{column}{quote} VARCHAR(40);'
    down = f'ALTER TABLE {quote}{model}{quote} DROP COLUMN {quote}{column}{quote};'
    migration = newest.path.with_name(f"{number}_20270101000000_column.py")
    migration.write_text(Migrate.build_migration_file_text(up, state, down))
    meta = f'\\n    class Meta:\\n        table = "{model}"\\n'
    line = f"    {column} = fields.CharField(max_length=40, null=True)\\n"
    text = text.replace(meta, line + meta)
path.write_text(text)
"""


def add_migrations(service: Service, count: int) -> None:
    """Add migrations to a service until it has as many, each of one harmless statement."""
    folder = service.folder / "migrations" / "models"
    first = next(folder.glob("0_*.py")).read_text(encoding="utf-8")
    empty = re.sub(r'return """.*?"""', 'return """\n        SELECT 1;"""', first, flags=re.DOTALL)
    for number in range(1, count):
        file = folder / f"{number}_20270101000000_step.py"
        file.write_text(empty, encoding="utf-8")


def look(service: Service) -> float:
    """Return how long the service's look at its database takes, in seconds."""
    return float(service.run("python", "-c", LOOK).stdout)


def upgrade(service: Service) -> float:
    """Run `migrate upgrade` and return how long it took, in seconds."""
    start = time.perf_counter()
    service.run("python", "-m", "src.database.migrate", "upgrade")
    return time.perf_counter() - start


class Took(NamedTuple):
    """How long a command took, in seconds."""

    cpu: float
    wall: float


def timed(service: Service, *arguments: str) -> Took:
    """Run a migration command, and return how long it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    service.run("python", "-m", "src.database.migrate", *arguments)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def new_and_verify(engine: str) -> dict[str, Took]:
    """Measure `new` with `MODELS` models, and `verify` of `VERIFIED` migrations of them.

    `new` finds one more column, and verifies what it wrote.
    """
    took = {}
    with snapshot() as template, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = render(template, Path(folder) / "verified", {"database": engine})
        database = stack.enter_context(new_database(engine, path.parent))
        service = Service(path, install(path, engine), database)
        models = path / "src" / "database" / "models.py"
        text = models.read_text(encoding="utf-8")
        for number in range(MODELS):
            parent = f"parent = fields.ForeignKeyField('models.Model{number // 2}', null=True)"
            text += MODEL.format(number=number, parent=parent)
        models.write_text(text, encoding="utf-8")
        service.run("python", "-m", "src.database.migrate", "new", "models")
        price = "price = fields.DecimalField(max_digits=8, decimal_places=2)"
        text = models.read_text(encoding="utf-8")
        changed = text.replace(price, f"{price}\n    note = fields.TextField(null=True)", 1)
        models.write_text(changed, encoding="utf-8")
        took["new"] = timed(service, "new", "note")
        next((path / "migrations" / "models").glob("2_*.py")).unlink()
        models.write_text(text, encoding="utf-8")
        engines = ["--mysql"] if engine == "mysql" else []
        service.run("python", "-c", ADD_COLUMNS, str(VERIFIED), str(MODELS), *engines)
        took["verify"] = timed(service, "verify")
    return took


class Costs(NamedTuple):
    """What applied migrations cost, in seconds.

    Attributes:
        looks: the service's look at the database, with one migration and with `MANY`.
        upgrades: `migrate upgrade` with nothing to do, with one and with `MANY`, for each round.
    """

    looks: tuple[float, float]
    upgrades: list[tuple[float, float]]

    def medians(self) -> tuple[float, float]:
        one, many = zip(*self.upgrades, strict=True)
        return statistics.median(one), statistics.median(many)


def measure(engine: str, rounds: int) -> Costs:
    """Compare what `MANY` applied migrations cost on an engine with a single one, alternately."""
    with snapshot() as template, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        services = []
        for name, count in (("one", 1), ("many", MANY)):
            path = render(template, Path(folder) / name, {"database": engine})
            database = stack.enter_context(new_database(engine, path.parent))
            services.append(Service(path, install(path, engine), database))
            add_migrations(services[-1], count)
            upgrade(services[-1])
        one, many = services
        return Costs(
            (look(one), look(many)), [(upgrade(one), upgrade(many)) for _ in range(rounds)]
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", choices=ENGINES, action="append", help="default: all")
    parser.add_argument("--rounds", type=int, default=10, help="default: 10")
    parser.add_argument(
        "--commands-only", action="store_true", help="measure only `new` and `verify` on SQLite"
    )
    options = parser.parse_args()
    missed = False if options.commands_only else measure_engines(options)
    took = new_and_verify("sqlite")
    for command, goal in (("new", GOAL_NEW), ("verify", GOAL_VERIFY)):
        cpu, wall = took[command]
        missed |= cpu > goal
        print(f"{command:<8}{cpu:>6.2f} s of CPU time (goal {goal:g} s), {wall:.2f} s of wall time")
    print(f"on SQLite: new with {MODELS} models, verify of {VERIFIED} migrations of them")
    sys.exit(1 if missed else 0)


def measure_engines(options: argparse.Namespace) -> bool:
    """Measure what applied migrations cost on each engine, and tell whether a goal was missed."""
    print(
        f"{'engine':<12}{'look, 1':>10}{f'look, {MANY}':>12}{'upgrade, 1':>12}"
        f"{f'upgrade, {MANY}':>14}{'ratio':>8}"
    )
    missed = False
    for engine in options.engine or ENGINES:
        costs = measure(engine, options.rounds)
        one, many = costs.medians()
        missed |= costs.looks[1] > GOAL_START or many / one > GOAL_UPGRADE
        print(
            f"{engine:<12}{costs.looks[0] * 1000:>8.1f}ms{costs.looks[1] * 1000:>10.1f}ms"
            f"{one:>11.2f}s{many:>13.2f}s{many / one:>8.2f}",
            flush=True,
        )
    print(f"goals: look at most {GOAL_START * 1000:g} ms, ratio at most {GOAL_UPGRADE}")
    return missed


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(str(error))
