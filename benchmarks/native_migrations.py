"""How far Tortoise's own migrations get with the changes that `new` is tested with.

Each change is made to models whose tables have rows. `tortoise makemigrations` and `tortoise migrate`
then have to give the schema that the models generate, and to keep the rows.

    python -m benchmarks.native_migrations [--engine sqlite] [--change longer] [--write]
"""

import argparse
import asyncio
import platform
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from shutil import copytree
from typing import NamedTuple

from tortoise.context import TortoiseContext
from tortoise.utils import generate_schema_for_client

from tests.support.databases import Database, new_database
from tests.support.model_changes import BEFORE, CHANGES, COUNTS, ROWS, Change
from tests.support.package import make_importable
from tests.support.services import bare_environment
from tools.render import ENGINES, REPOSITORY

RECORD = REPOSITORY / "docs" / "decisions" / "0001-aerich.md"
MARKED = re.compile(r"(<!-- matrix: .* -->\n).*(<!-- /matrix -->)", re.DOTALL)
PASSED = "Every change is right on every engine."
DEADLINE = 120.0  # seconds

CONFIG = """\
import os

TORTOISE_ORM = {
    "connections": {"default": os.environ["DATABASE_URL"]},
    "apps": {"models": {"models": ["app.models"], "migrations": "app.migrations"}},
}
"""
RIGHT, FAILS, DIFFERS, LOSES = "right", "fails", "differs", "loses data"
MEANINGS = {
    RIGHT: "right: the models' schema, with all rows",
    FAILS: "fails: a command ends with an error",
    DIFFERS: "differs: no error, but not the models' schema",
    LOSES: "loses data: rows are gone, or values are wrong",
}
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL"}

Schema = dict[tuple[str, str], list[str]]


class RunnerError(Exception):
    """The matrix cannot be measured, whatever Tortoise does with the changes."""


class Result(NamedTuple):
    """What became of one change on one engine.

    Attributes:
        verdict: `RIGHT`, `FAILS`, `DIFFERS` or `LOSES`.
        detail: the error, or what is wrong.
    """

    verdict: str
    detail: str = ""


Matrix = Mapping[str, Mapping[str, Result]]  # results by engine and change


@dataclass
class Project:
    """A project that uses Tortoise's own migrations.

    Attributes:
        folder: where its package `app` is.
        database: its database.
    """

    folder: Path
    database: Database

    def tortoise(self, *arguments: str) -> str:
        """Run a command of Tortoise, and return its error, or nothing."""
        try:
            process = subprocess.run(
                [sys.executable, "-m", "tortoise", "-c", "app.config.TORTOISE_ORM", *arguments],
                cwd=self.folder,
                env={
                    **bare_environment(),
                    "DATABASE_URL": self.database.url,
                    # Python would take a file that was edited within a second for unchanged
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"no end within {DEADLINE:.0f} s"
        if process.returncode == 0:
            return ""
        return self.error(process.stderr or process.stdout or f"status {process.returncode}")

    def error(self, output: str) -> str:
        """Extract the error from the output of a command, in one line."""
        lines = [line for line in output.splitlines() if line.strip()]
        raised = [line for line in lines if re.match(r"[\w.]+(: |$)", line)]
        line = re.sub(r"^[\w.]*\.(?=\w+: )", "", (raised or lines)[-1])
        return line.replace(self.database.name, "database")

    @property
    def models(self) -> Path:
        return self.folder / "app" / "models.py"


@dataclass
class Engine:
    """An engine, with a project whose migration created the tables, and rows in them.

    Attributes:
        project: this project, which each change gets a copy of.
        schema: the schema of its database.
        server: the name and version of the server.
    """

    project: Project
    schema: Schema
    server: str


def read_schema(database: Database) -> Schema:
    """Read a database's schema as `verify` does: facts by table and name."""
    make_importable()
    dialect = import_module("migration_package.dialects").load(database.engine)
    schema: Schema = {}
    for query in dialect.facts:
        for table, name, value in database.query(query):
            if table != "tortoise_migrations":
                schema.setdefault((table, name), []).append(value or "")
    return {place: sorted(values) for place, values in schema.items()}


async def _generate(url: str, models: str) -> None:
    async with TortoiseContext() as context:
        await context.init(db_url=url, modules={"models": [models]})
        await generate_schema_for_client(context.connections.get("default"), safe=False)


def wanted_schema(project: Project) -> Schema:
    """Create the tables of a project's models without migrations, and read their schema."""
    spec = spec_from_file_location("wanted_models", project.models)
    assert spec and spec.loader
    models = module_from_spec(spec)
    sys.modules[models.__name__] = models  # Tortoise imports it by its name
    spec.loader.exec_module(models)
    with new_database(project.database.engine, project.folder) as database:
        asyncio.run(_generate(database.url, models.__name__))
        return read_schema(database)


def differences(found: Schema, wanted: Schema) -> list[str]:
    """List the differences between two schemas, a table that only one has once."""
    there, needed = ({table for table, _ in schema} for schema in (found, wanted))
    lines = [f"table {table} remains" for table in sorted(there - needed)]
    lines += [f"table {table} is missing" for table in sorted(needed - there)]
    for table, name in sorted(found.keys() | wanted.keys()):
        if table in there & needed and found.get((table, name)) != wanted.get((table, name)):
            is_, should = found.get((table, name)), wanted.get((table, name))
            if should is None:
                lines.append(f"{table}: {name} remains")
            elif is_ is None:
                lines.append(f"{table}: {name} is missing")
            else:
                texts = (" and ".join(filter(None, v)) or f"{len(v)} times" for v in (is_, should))
                lines.append("{}: {} is {}, not {}".format(table, name, *texts))
    return lines


def lost_rows(database: Database, schema: Schema, change: Change) -> list[str]:
    """List the tables that have fewer rows than before the change, and should not.

    Args:
        database: the database.
        schema: its schema now.
        change: the change.
    """
    tables = {table for table, _ in schema}
    lost = []
    for table, number in COUNTS.items():
        if table not in change.gone:
            query = f"SELECT count(*) FROM {table}"
            count = database.query(query)[0][0] if table in tables else 0
            if count < number:
                lost.append(f"{table} has {count} of {number} rows")
    return lost


def judge(database: Database, wanted: Schema, change: Change) -> Result:
    """Compare a migrated database with what the change asks for."""
    schema = read_schema(database)
    wrong = differences(schema, wanted)
    lost = lost_rows(database, schema, change)
    if change.rows and not wrong:
        query, answer = change.rows
        values = [list(row) for row in database.query(query)]
        lost += [f"values are {values}, not {answer}"] if values != answer else []
    if lost:
        return Result(LOSES, "; ".join(lost))
    more = f"; and {len(wrong) - 2} more" if len(wrong) > 2 else ""
    return Result(DIFFERS, "; ".join(wrong[:2]) + more) if wrong else Result(RIGHT)


@contextmanager
def prepare(name: str, folder: Path) -> Iterator[Engine]:
    """Create the project of an engine, and fill its tables.

    Raises:
        RunnerError: Tortoise's commands do not get that far, or not to the models' schema.
    """
    app = folder / "app"
    app.mkdir(parents=True)
    (app / "__init__.py").touch()
    (app / "config.py").write_text(CONFIG, encoding="utf-8")
    with new_database(name, folder) as database:
        project = Project(folder, database)
        project.models.write_text(BEFORE, encoding="utf-8")
        for command in ("init", "makemigrations", "migrate"):
            if error := project.tortoise(command):
                raise RunnerError(f"{name}: `tortoise {command}` fails: {error}")
        engine = Engine(project, read_schema(database), server(database))
        if wrong := differences(engine.schema, wanted_schema(project)):
            raise RunnerError(f"{name}: the first migration is wrong: {'; '.join(wrong)}")
        for row in ROWS:
            database.query(row)
        yield engine


def attempt(engine: Engine, change: Change) -> Result:
    """Make a change to the models, and migrate."""
    name = engine.project.database.engine
    with (
        tempfile.TemporaryDirectory() as folder,
        new_database(name, Path(folder), template=engine.project.database) as database,
    ):
        project = Project(Path(folder) / "project", database)
        copytree(engine.project.folder / "app", project.folder / "app")
        source = BEFORE
        for old, new in change.edits:
            if source.count(old) != 1:
                raise RunnerError(f"the models have {source.count(old)} times {old!r}")
            source = source.replace(old, new)
        project.models.write_text(source, encoding="utf-8")
        wanted = wanted_schema(project)
        for command in ("makemigrations", "migrate"):
            if error := project.tortoise(command):
                schema = read_schema(database)
                if lost := lost_rows(database, schema, change):
                    return Result(LOSES, "; ".join([f"`{command}` fails: {error}", *lost]))
                half = ", half done" if schema != engine.schema else ""
                return Result(FAILS, f"`{command}`{half}: {error}")
        return judge(database, wanted, change)


def server(database: Database) -> str:
    """Return the name and version of a database's server."""
    if database.engine == "sqlite":
        return f"SQLite {sqlite3.sqlite_version}"
    text = str(database.query("SELECT version()")[0][0])
    name = "MariaDB" if "MariaDB" in text else TITLES[database.engine]
    number = re.search(r"\d+(\.\d+)+", text)
    return f"{name} {number[0] if number else text}"


def totals(matrix: Matrix) -> str:
    """Write a Markdown table of how many changes got which verdict on each engine."""
    lines = [f"| Result | {' | '.join(TITLES[engine] for engine in matrix)} |"]
    lines.append("|---|" + "---:|" * len(matrix))
    for verdict, title in MEANINGS.items():
        counts = [
            str(sum(result.verdict == verdict for result in results.values()))
            for results in matrix.values()
        ]
        lines.append(f"| {title} | {' | '.join(counts)} |")
    return "\n".join(lines)


def verdicts(matrix: Matrix) -> str:
    """Write a Markdown table of the verdict on each change and engine."""
    lines = [f"| Change | {' | '.join(TITLES[engine] for engine in matrix)} |"]
    lines.append("|---|" + "---|" * len(matrix))
    for change in dict.fromkeys(change for results in matrix.values() for change in results):
        cells = [results[change].verdict for results in matrix.values()]
        cells = [cell if cell == RIGHT else f"**{cell}**" for cell in cells]
        lines.append(f"| {change} | {' | '.join(cells)} |")
    return "\n".join(lines)


def reasons(matrix: Matrix) -> str:
    """Write a Markdown list of what is wrong, with the engines and changes that share a reason."""
    groups: dict[str, dict[str, list[str]]] = {}
    for engine, results in matrix.items():
        for change, result in results.items():
            if result.verdict != RIGHT:
                reason = f"{result.verdict}: {result.detail}"
                groups.setdefault(reason, {}).setdefault(TITLES[engine], []).append(change)
    lines = []
    for reason, places in groups.items():
        listed = [f"{engine}: {', '.join(changes)}" for engine, changes in places.items()]
        lines.append(f"- {'; '.join(listed)} — {reason}")
    return "\n".join(lines)


def report(matrix: Matrix, servers: Mapping[str, str]) -> str:
    """Write the whole result as Markdown.

    Args:
        matrix: the results.
        servers: the name and version of each engine's server.
    """
    versions = [f"Tortoise ORM {version('tortoise-orm')}", f"Python {platform.python_version()}"]
    versions += servers.values()
    measured = f"Measured on {datetime.now(UTC):%Y-%m-%d} with {', '.join(versions)}."
    parts = [measured, totals(matrix), verdicts(matrix)]
    if listed := reasons(matrix):
        parts += ["<details>\n<summary>What is wrong</summary>", listed, "</details>"]
    if passes(matrix):
        parts.insert(0, f"{PASSED} Review {RECORD.relative_to(REPOSITORY)}.")
    return "\n\n".join(parts) + "\n"


def passes(matrix: Matrix) -> bool:
    """Return whether every change is right on every engine."""
    return matrix.keys() == {*ENGINES} and all(
        result.verdict == RIGHT for results in matrix.values() for result in results.values()
    )


def write(text: str) -> None:
    """Put the result between the comments that mark its place in the decision record."""
    record = RECORD.read_text(encoding="utf-8")
    RECORD.write_text(
        MARKED.sub(lambda marks: f"{marks[1]}{text}{marks[2]}", record), encoding="utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Try Tortoise's own migrations with changes of models, and print the results.",
    )
    parser.add_argument("--engine", action="append", choices=ENGINES, help="try only this engine")
    parser.add_argument("--change", action="append", choices=CHANGES, help="try only this change")
    parser.add_argument(
        "--write", action="store_true", help=f"update {RECORD.relative_to(REPOSITORY)}"
    )
    options = parser.parse_args()
    if options.write and (options.engine or options.change):
        parser.error("--write needs every engine and every change: leave --engine and --change out")

    matrix: dict[str, dict[str, Result]] = {}
    servers = {}
    try:
        for name in options.engine or ENGINES:
            with tempfile.TemporaryDirectory() as folder, prepare(name, Path(folder)) as engine:
                servers[name] = engine.server
                results = matrix[name] = {}
                for change in options.change or CHANGES:
                    results[change] = attempt(engine, CHANGES[change])
                    progress = f"{TITLES[name]}, {change}: {results[change].verdict}"
                    print(progress, file=sys.stderr, flush=True)
            if not options.change and all(r.verdict != RIGHT for r in results.values()):
                raise RunnerError(f"{name}: no change is right, so the runner is likely wrong")
    except RunnerError as error:
        parser.exit(1, f"{error}\n")
    text = report(matrix, servers)
    if options.write:
        write(text)
    print(text, end="")


if __name__ == "__main__":
    main()
