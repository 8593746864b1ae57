"""Tortoise's own migrations are measured as the decision record says, and services can switch to them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from benchmarks.native_migrations import (
    DIFFERS,
    FAILS,
    LOSES,
    MARKED,
    PASSED,
    RECORD,
    RIGHT,
    Result,
    attempt,
    judge,
    passes,
    prepare,
    read_schema,
)
from tools.render import ENGINES, REPOSITORY

from .support.databases import new_database
from .support.model_changes import CHANGES, CITY, COUNTS, Change
from .support.services import Service

MODELS = "src/database/models.py"
CONFIG = "src/database/config.py"
BACKENDS = {"sqlite": "sqlite", "postgresql": "asyncpg", "mysql": "mysql"}


def test_runner_prints_tables() -> None:
    arguments = ("--engine", "sqlite", "--change", "auto_now")
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.native_migrations", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stderr
    assert re.match(
        r"Measured on [\d-]+ with Tortoise ORM [\d.]+, Python .*, SQLite", process.stdout
    )
    assert "\n| auto_now | right |\n" in process.stdout
    assert "SQLite, auto_now: right" in process.stderr
    assert PASSED not in process.stdout  # one engine is not every engine


def test_runner_reports_a_failing_migration(tmp_path: Path) -> None:
    # a row has no city
    required = Change([(CITY, CITY.replace("null=True, ", ""))])

    with prepare("sqlite", tmp_path) as engine:
        result = attempt(engine, required)

    assert result.verdict == FAILS
    assert result.detail.startswith("`migrate`: ")


@pytest.mark.parametrize(
    ("statement", "verdict", "detail"),
    [
        ("SELECT 1", RIGHT, ""),
        ("DELETE FROM team WHERE id = 1", LOSES, "team has 1 of 2 rows"),
        ("UPDATE team SET name = 'x' WHERE id = 1", LOSES, "values are [['x'], ['blues']]"),
        ("CREATE INDEX i ON team (name)", DIFFERS, "team: index (name) remains"),
        ("ALTER TABLE team DROP COLUMN city", DIFFERS, "team: column city"),
        ("CREATE TABLE other (id INT)", DIFFERS, "table other remains"),
        ("DROP TABLE users", DIFFERS, "table users is missing"),
        ("DROP TABLE team", LOSES, "team has 0 of 2 rows"),
    ],
)
def test_verdict_follows_schema_and_rows(
    statement: str, verdict: str, detail: str, tmp_path: Path
) -> None:
    rows = ("SELECT name FROM team ORDER BY id", [["reds"], ["blues"]])
    change = Change([], rows=rows, gone=tuple(COUNTS.keys() - {"team"}))
    with new_database("sqlite", tmp_path) as database:
        database.query("CREATE TABLE users (id INTEGER PRIMARY KEY)")
        database.query(
            "CREATE TABLE team (id INTEGER PRIMARY KEY, name VARCHAR(40), city VARCHAR(30))"
        )
        database.query("INSERT INTO team VALUES (1, 'reds', 'Rome'), (2, 'blues', NULL)")
        wanted = read_schema(database)
        database.query(statement)

        result = judge(database, wanted, change)

    assert result.verdict == verdict
    assert result.detail.startswith(detail)


def test_everything_passes_only_with_every_engine() -> None:
    right = {"longer": Result(RIGHT)}

    assert passes(dict.fromkeys(ENGINES, right))
    assert not passes({"sqlite": right})
    assert not passes({**dict.fromkeys(ENGINES, right), "mysql": {"longer": Result(DIFFERS)}})


def test_weekly_job_finds_the_line_that_says_that_everything_passes() -> None:
    workflow = (REPOSITORY / ".github" / "workflows" / "weekly.yml").read_text(encoding="utf-8")

    (pattern,) = re.findall(r'grep --quiet "\^(.*)" matrix.md', workflow)

    assert PASSED.startswith(pattern)


def test_record_has_every_change() -> None:
    marked = MARKED.search(RECORD.read_text(encoding="utf-8"))

    assert marked
    found = re.findall(r"^\| ([^|]+) \| (?:\**[a-z ]+\** \| ?){3}$", marked[0], re.MULTILINE)
    assert found == [*CHANGES]


def test_service_can_leave_aerich_as_the_record_says(engine: str, service: Service) -> None:
    steps = RECORD.read_text(encoding="utf-8").partition(
        "## Switch a service from Aerich to Tortoise's migrations"
    )[2]
    (upgrade,) = re.findall(r"`uv run (.* upgrade)`", steps)
    models, connection = map(dedent, re.findall(r" *```python\n(.*?)```", steps, re.DOTALL))
    commands = re.findall(r"^ *\$ uv run (.*)$", steps, re.MULTILINE)
    service.run(*shlex.split(upgrade))
    service.database.query(
        "INSERT INTO users (username, email, hashed_password) VALUES ('ada', 'ada@example.com', '-')"
    )

    service.edit(CONFIG, '"models": [*MODELS, "aerich.models"],', models)
    with (service.folder / CONFIG).open("a", encoding="utf-8") as config:
        config.write(connection.replace("backends.sqlite", f"backends.{BACKENDS[engine]}"))
    for command in commands:
        service.run(*shlex.split(command))

    assert [command.split()[-1] for command in commands] == ["init", "makemigrations", "--fake"]
    tortoise = commands[0].split()[:-1]
    assert "No changes detected" in service.run(*tortoise, "makemigrations").stdout
    service.edit(
        MODELS,
        "    hashed_password = fields.CharField(max_length=255)\n",
        "    hashed_password = fields.CharField(max_length=255)\n"
        "    nickname = fields.CharField(max_length=30, null=True)\n",
    )
    service.run(*tortoise, "makemigrations", PYTHONDONTWRITEBYTECODE="1")
    service.run(*tortoise, "migrate")
    assert service.database.query("SELECT username, nickname FROM users") == [("ada", None)]
