"""What 500 applied migrations cost a service, against one, and how long `migrate verify` takes.

Goals: the look at the start takes one query and at most 50 ms; `migrate upgrade` with nothing to do
takes at most 1.3 times as long as with a single migration; `migrate verify` of 100 migrations and 40
models takes at most 10 s on SQLite.

    python -m benchmarks.migrations [--engine postgresql] [--rounds 10]
"""

import argparse
import re
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


def verify(engine: str) -> float:
    """Return how long it takes to verify `VERIFIED` migrations of `MODELS` models, in seconds."""
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
        engines = ["--mysql"] if engine == "mysql" else []
        service.run("python", "-c", ADD_COLUMNS, str(VERIFIED), str(MODELS), *engines)
        start = time.perf_counter()
        service.run("python", "-m", "src.database.migrate", "verify")
        return time.perf_counter() - start


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
    """Measure what `MANY` applied migrations cost on an engine, in turns with a single one."""
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
    options = parser.parse_args()
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
    took = verify("sqlite")
    missed |= took > GOAL_VERIFY
    print(f"verify of {VERIFIED} migrations and {MODELS} models on SQLite: {took:.1f} s")
    print(f"goals: verify at most {GOAL_VERIFY:g} s")
    print(f"goals: look at most {GOAL_START * 1000:g} ms, ratio at most {GOAL_UPGRADE}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(str(error))
