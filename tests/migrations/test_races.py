"""Many processes upgrade at once: each migration is applied and recorded exactly once."""

import signal
import subprocess
from pathlib import Path

import pytest

from ..conftest import Renders, new_services
from ..support.migrating import (
    FIRST,
    MIGRATE,
    applied,
    wait_until,
    words,
    write_holding_migration,
    write_migration,
)
from ..support.services import DEADLINE, Service

Popen = subprocess.Popen[str]


def start(service: Service, count: int, *options: str) -> list[Popen]:
    return [service.popen(*MIGRATE, "upgrade", *options) for _ in range(count)]


def finish(processes: list[Popen]) -> tuple[list[int], list[str]]:
    outputs = [process.communicate(timeout=5 * DEADLINE)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def start_holder(service: Service) -> Popen:
    """Start an upgrade that halts in the middle of a migration, with the lock in its hand."""
    (holder,) = start(service, 1)
    wait_until(lambda: (service.folder / "reached").exists(), "the holder is in its migration")
    return holder


@pytest.mark.server
def test_8_on_an_empty_database(service: Service) -> None:
    codes, outputs = finish(start(service, 8))

    assert codes == [0] * 8, outputs
    assert applied(service) == [FIRST]
    assert sum("Applied 1 migration" in output for output in outputs) == 1
    assert sum("Nothing to do" in output for output in outputs) == 7


@pytest.mark.in_turn
def test_32_with_3_pending_migrations(service: Service) -> None:
    service.run(*MIGRATE, "upgrade")
    names = [
        write_migration(
            service,
            f"{n}_2026_step",
            f"CREATE TABLE t{n} (id INT)",
            f"INSERT INTO t{n} VALUES ({n})",
        )
        for n in (1, 2, 3)
    ]

    codes, outputs = finish(start(service, 32, "--timeout", "240"))

    assert codes == [0] * 32, outputs
    assert applied(service) == [FIRST, *names]
    for n in (1, 2, 3):
        assert service.database.query(f"SELECT id FROM t{n}") == [(n,)]
    assert sum("Applied" in output for output in outputs) == 1


@pytest.mark.server
def test_holder_is_killed(service: Service) -> None:
    service.run(*MIGRATE, "upgrade")
    name = write_holding_migration(service, "1_2026_hold")
    holder = start_holder(service)
    others = start(service, 8)
    assert others[0].stdout
    assert "Waiting for the migration lock" in others[0].stdout.readline()

    holder.send_signal(signal.SIGKILL)
    (service.folder / "halt").unlink()
    codes, outputs = finish(others)

    assert codes == [0] * 8, outputs
    assert applied(service) == [FIRST, name]
    assert {"half", "whole"} <= service.database.tables()
    finish([holder])


def test_failing_test_leaves_no_process(
    engine: str, _renders: Renders, template: Path, tmp_path: Path
) -> None:
    with (
        pytest.raises(AssertionError, match="^fails$"),
        new_services(_renders, template, tmp_path) as make,
    ):
        service = make(engine)
        write_holding_migration(service, "1_2026_hold")
        processes = [start_holder(service), *start(service, 2)]
        raise AssertionError("fails")

    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 3


@pytest.mark.server
def test_killed_process_leaves_nothing(service: Service) -> None:
    service.run(*MIGRATE, "upgrade")
    name = write_holding_migration(service, "1_2026_hold")
    holder = start_holder(service)

    holder.send_signal(signal.SIGKILL)
    finish([holder])

    wait_until(lambda: applied(service) == [FIRST], "the database is free again")
    assert not {"half", "whole"} & service.database.tables()
    (service.folder / "halt").unlink()
    service.run(*MIGRATE, "upgrade")
    assert applied(service) == [FIRST, name]


@pytest.mark.server
def test_holder_is_stopped_longer_than_others_wait(service: Service) -> None:
    service.run(*MIGRATE, "upgrade")
    name = write_holding_migration(service, "1_2026_hold")
    holder = start_holder(service)
    holder.send_signal(signal.SIGSTOP)
    try:
        codes, outputs = finish(start(service, 4, "--timeout", "1"))
        tables, recorded = service.database.tables(), applied(service)
    finally:
        holder.send_signal(signal.SIGCONT)

    assert codes == [1] * 4
    for output in outputs:
        assert "was not free within 1 s: wait longer with --timeout" in words(output)
        assert "Traceback" not in output
    assert recorded == [FIRST]
    assert not {"half", "whole"} & tables
    (service.folder / "halt").unlink()
    assert finish([holder])[0] == [0]
    assert applied(service) == [FIRST, name]


@pytest.mark.server
@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_holder_loses_its_connection(service: Service) -> None:
    service.run(*MIGRATE, "upgrade")
    write_holding_migration(service, "1_2026_hold")
    holder = start_holder(service)
    database = service.database
    if database.engine == "postgresql":
        database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    else:
        ((connection,),) = database.query(
            "SELECT id FROM information_schema.processlist"
            " WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        database.query(f"KILL {connection}")
    (service.folder / "halt").unlink()
    (code,), (output,) = finish([holder])

    assert code == 1, output
    assert "Traceback" not in output
    assert applied(service) == [FIRST]
    service.run(*MIGRATE, "upgrade")
    assert {"half", "whole"} <= database.tables()
