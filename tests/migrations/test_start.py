"""The service starts on a database that has its migrations, and on no other."""

import json
import re

import pytest

from ..conftest import MakeService
from ..support.migrating import FIRST, MIGRATE, applied, write_migration
from ..support.services import Service, free_port

COMMANDS = (
    ("python", "-m", "src"),
    ("uvicorn", "src.main:app", "--port", "0", "--log-level", "warning"),
)


def refuse(service: Service, *command: str, **environment: str) -> str:
    """Start the service and return what it says on its refusal, which is one line of its own."""
    process = service.run(
        *command, status=3, PORT=str(free_port()), LOG_LEVEL="ERROR", **environment
    )
    output = process.stdout + process.stderr
    assert "Traceback" not in output
    own = [line for line in output.splitlines() if "startup failed" not in line]
    assert len(own) == 1, output
    return own[0]


@pytest.mark.in_turn
@pytest.mark.parametrize("command", COMMANDS)
def test_pending_migrations_stop_it(service: Service, command: tuple[str, ...]) -> None:
    line = refuse(service, *command)

    assert f"Migrations are pending: {FIRST}. Run `python -m src migrate upgrade`." in line
    assert applied(service) == []


def test_messages_name_the_command_with_uv_run(make_service: MakeService) -> None:
    line = refuse(make_service("sqlite"), *COMMANDS[0], UV="/usr/bin/uv")

    assert "Run `uv run python -m src migrate upgrade`." in line


@pytest.mark.in_turn
@pytest.mark.parametrize("command", COMMANDS)
def test_newer_migrations_stop_it(service: Service, command: tuple[str, ...]) -> None:
    name = write_migration(service, "1_2026_newer", "CREATE TABLE newer (id INT)")
    service.run(*MIGRATE, "upgrade")
    (service.folder / "migrations" / "models" / name).unlink()

    refusal = refuse(service, *command)
    assert f"The database has a newer release's migrations: {name}." in refusal
    assert "Start that release, or revert them with it (docs/migrations.md)." in refusal


def test_pending_migrations_stop_all_workers(make_service: MakeService) -> None:
    """uvicorn by itself exits with 0 then, and whoever watches it takes that for a stop."""
    variables = {"PORT": str(free_port()), "ENVIRONMENT": "production", "WEB_CONCURRENCY": "2"}
    process = make_service("sqlite").run("python", "-m", "src", status=3, **variables)

    lines = [json.loads(line) for line in (process.stdout + process.stderr).splitlines()]
    assert any(f"Migrations are pending: {FIRST}." in line["event"] for line in lines)


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
@pytest.mark.parametrize("command", COMMANDS)
def test_unreachable_database_stops_it(service: Service, command: tuple[str, ...]) -> None:
    url = re.sub(r"//[^@]*@([^:]*):\d+/", r"//nobody:secret@\1:1/", service.database.url)

    line = refuse(service, *command, DATABASE_URL=url)

    assert "The database cannot be used: " in line
    assert "secret" not in line


def test_unreachable_sqlite_stops_it(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.database.path.write_text("This is no database, and longer than SQLite's header is.")

    assert "The database cannot be used: file is not a database" in refuse(service, *COMMANDS[0])


@pytest.mark.server
def test_starts_unready_and_becomes_ready(service: Service) -> None:
    with service.serve(START_UNREADY="true") as server:
        behind = server.get("/readyz")
        assert server.get("/livez").status_code == 200
        newer = write_migration(service, "1_2026_newer", "CREATE TABLE newer (id INT)")
        service.run(*MIGRATE, "upgrade")
        (service.folder / "migrations" / "models" / newer).unlink()
        ahead = server.get("/readyz")
        service.database.query(f"DELETE FROM aerich WHERE version = '{newer}'")
        ready = server.get("/readyz")

    assert (behind.status_code, ahead.status_code, ready.status_code) == (503, 503, 200)
    assert behind.json()["detail"] == f"Migrations are pending: {FIRST}."
    assert ahead.json()["detail"] == f"The database has a newer release's migrations: {newer}."
    assert "Migrations are pending" in server.output


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_starts_unready_without_a_database(service: Service) -> None:
    url = re.sub(r":\d+/", ":1/", service.database.url)
    with service.serve(START_UNREADY="true", DATABASE_URL=url) as server:
        response = server.get("/readyz")

    assert response.status_code == 503
    assert response.json()["detail"] == "The database is not reachable."
    assert "The database cannot be used: " in server.output


@pytest.mark.server
def test_old_replica_stays_ready_while_a_newer_release_migrates(service: Service) -> None:
    service.run(*MIGRATE, "upgrade")
    with service.serve() as server:
        assert server.get("/readyz").status_code == 200
        newer = write_migration(service, "1_2026_newer", "CREATE TABLE newer (id INT)")
        service.run(*MIGRATE, "upgrade")
        (service.folder / "migrations" / "models" / newer).unlink()
        assert server.get("/readyz").status_code == 200


COUNT = """
import asyncio, logging
from src.main import app

queries = []
class Handler(logging.Handler):
    def emit(self, record):
        if record.getMessage().lstrip().upper().startswith(("SELECT", "PRAGMA", "WITH", "SHOW")):
            queries.append(record.getMessage())
logger = logging.getLogger("tortoise.db_client")
logger.setLevel("DEBUG")
logger.addHandler(Handler())
logger.propagate = False

async def main():
    from src.health import check_at_start
    async with app.router.lifespan_context(app):
        queries.clear()
        await check_at_start(app)
    print(len(queries))

asyncio.run(main())
"""


def test_500_applied_migrations_cost_one_query(service: Service) -> None:
    folder = service.folder / "migrations" / "models"
    text = (folder / FIRST).read_text(encoding="utf-8")
    for n in range(1, 500):
        (folder / f"{n}_2026_step.py").write_text(text, encoding="utf-8")
    service.run(*MIGRATE, "upgrade", "--to", "0")
    rows = ", ".join(f"('{n}_2026_step.py', 'models', '{{}}')" for n in range(1, 500))
    service.database.query(f"INSERT INTO aerich (version, app, content) VALUES {rows}")

    assert service.run("python", "-c", COUNT, LOG_LEVEL="ERROR").stdout == "1\n"
    assert "Nothing to do" in service.run(*MIGRATE, "upgrade").stdout
