"""After Ctrl-C and SIGTERM, the commands report the true state of the database."""

import signal
import subprocess

import pytest

from ..conftest import MakeService
from ..support.migrating import (
    FIRST,
    MIGRATE,
    applied,
    wait_until,
    write_holding_migration,
    write_migration,
)
from ..support.services import Service

INTERRUPTED = 130
STATUS = "Run `python -m src migrate status` to list what is applied"
ENDINGS = pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
AGAIN = "may be partly done: run the same command again to continue it, or to see how to repair it"
SLEEP = "SELECT SLEEP(3)"
RUNNING = {
    "mysql": "SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND info",
    "postgresql": "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query",
}


def stop(process: "subprocess.Popen[str]", ending: signal.Signals) -> list[str]:
    """Interrupt a process, and return the lines that it printed."""
    process.send_signal(ending)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == INTERRUPTED, output
    return output.splitlines()


def stop_in_function(service: Service, ending: signal.Signals, *command: str) -> list[str]:
    """Interrupt a command while a migration's function waits."""
    process = service.popen(*MIGRATE, *command)
    wait_until((service.folder / "reached").exists, "the migration waits")
    return stop(process, ending)


def stop_in_statement(
    service: Service, statement: str, ending: signal.Signals, *command: str
) -> list[str]:
    """Interrupt a command while the server runs a statement."""
    process = service.popen(*MIGRATE, *command)
    running = RUNNING[service.database.engine] + f" = '{statement}'"
    wait_until(lambda: service.database.query(running), "the statement runs")
    return stop(process, ending)


@ENDINGS
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_upgrade_in_a_transaction(service: Service, ending: signal.Signals) -> None:
    name = write_holding_migration(service, "1_2026_hold")

    output = stop_in_function(service, ending, "upgrade")

    assert output[0].startswith(f"{FIRST}: applied in")
    assert output[1:] == [
        f"Interrupted: nothing is partly done, and {name} is pending",
        STATUS,
    ]
    assert applied(service) == [FIRST]
    assert not service.database.tables() & {"half", "whole"}
    (service.folder / "halt").unlink()
    service.run(*MIGRATE, "upgrade")
    assert {"half", "whole"} <= service.database.tables()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_downgrade_in_a_transaction(service: Service) -> None:
    hold = "    while Path('halt').exists():\n        await asyncio.sleep(0.02)\n"
    drop = "    await db.execute_query('DROP TABLE half')\n    Path('reached').touch()\n"
    name = write_migration(
        service, "1_2026_t", "CREATE TABLE half (id INT)", down=("SELECT 1",), down_body=drop + hold
    )
    service.run(*MIGRATE, "upgrade")
    (service.folder / "halt").touch()

    output = stop_in_function(service, signal.SIGINT, "downgrade", "0", "--yes")

    assert output == [f"Interrupted: nothing is partly done, and {name} is applied", STATUS]
    assert "half" in service.database.tables()
    assert applied(service) == [FIRST, name]


@pytest.mark.server
@ENDINGS
def test_upgrade_on_mysql(make_service: MakeService, ending: signal.Signals) -> None:
    service = make_service("mysql")
    name = write_migration(
        service, "1_2026_t", "CREATE TABLE one (id INT)", SLEEP, "CREATE TABLE two (id INT)"
    )

    output = stop_in_statement(service, SLEEP, ending, "upgrade")

    assert output[1:] == [f"Interrupted: {name} {AGAIN}", STATUS]
    assert "one" in service.database.tables()
    assert f"unfinished {name}" in service.run(*MIGRATE, "status").stdout
    # The same command continues it
    service.run(*MIGRATE, "upgrade")
    assert {"one", "two"} <= service.database.tables()
    assert applied(service) == [FIRST, name]


@pytest.mark.server
def test_upgrade_on_mysql_that_has_to_be_repaired(make_service: MakeService) -> None:
    service = make_service("mysql")
    insert = f"INSERT INTO one {SLEEP}"
    name = write_migration(service, "1_2026_t", "CREATE TABLE one (id INT)", insert)

    output = stop_in_statement(service, insert, signal.SIGINT, "upgrade")

    assert output[1:] == [f"Interrupted: {name} {AGAIN}", STATUS]
    told = service.run(*MIGRATE, "upgrade", status=1).stderr
    assert f"The upgrade of {name} is unfinished" in told
    assert f"`python -m src migrate stamp {name} --pending`" in told
    service.database.query("DROP TABLE one")
    service.run(*MIGRATE, "stamp", name, "--pending", "--yes")
    service.run(*MIGRATE, "upgrade")
    assert applied(service) == [FIRST, name]


@pytest.mark.server
def test_downgrade_on_mysql(make_service: MakeService) -> None:
    service = make_service("mysql")
    name = write_migration(
        service, "1_2026_t", "CREATE TABLE one (id INT)", down=("DROP TABLE one", SLEEP)
    )
    service.run(*MIGRATE, "upgrade")

    output = stop_in_statement(service, SLEEP, signal.SIGTERM, "downgrade", "0", "--yes")

    assert output == [f"Interrupted: {name} {AGAIN}", STATUS]
    service.run(*MIGRATE, "downgrade", "0", "--yes")
    assert applied(service) == [FIRST]
    assert "one" not in service.database.tables()


@pytest.mark.server
def test_postgresql_without_a_transaction(make_service: MakeService) -> None:
    service = make_service("postgresql")
    wait = "SELECT pg_sleep(60)"
    name = write_migration(
        service, "1_2026_t", "CREATE TABLE one (id INT)", wait, in_transaction=False
    )

    output = stop_in_statement(service, wait, signal.SIGINT, "upgrade")

    assert output[1:] == [f"Interrupted: {name} {AGAIN}", STATUS]
    assert f"unfinished {name}" in service.run(*MIGRATE, "status").stdout


def test_while_another_process_migrates(service: Service) -> None:
    write_holding_migration(service, "1_2026_hold")
    holder = service.popen(*MIGRATE, "upgrade")
    wait_until((service.folder / "reached").exists, "the migration waits")
    waiting = service.popen(*MIGRATE, "upgrade")
    assert waiting.stdout
    assert waiting.stdout.readline().startswith("Waiting for the migration lock")

    output = stop(waiting, signal.SIGINT)

    assert output == ["Interrupted: no migration was running", STATUS]
    (service.folder / "halt").unlink()
    assert "Applied 2 migrations" in holder.communicate(timeout=30)[0]
