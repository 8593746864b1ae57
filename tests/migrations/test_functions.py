"""A migration's function runs once per apply or revert, in its transaction, if it may run at all."""

import re
import signal

import pytest

from ..conftest import MakeService
from ..support.migrating import FIRST, MIGRATE, applied, wait_until, words, write_migration
from ..support.services import Service

NOTE_CALL = "    Path('calls').open('a').write('{}\\n')\n"
INSERT = "    await db.execute_query(\"INSERT INTO notes (text) VALUES ('{}')\")\n"
NOTES = "CREATE TABLE notes (text VARCHAR(9))"


def calls(service: Service) -> list[str]:
    file = service.folder / "calls"
    return file.read_text(encoding="utf-8").split() if file.exists() else []


def notes(service: Service) -> list[str]:
    return [str(text) for (text,) in service.database.query("SELECT text FROM notes")]


@pytest.mark.parametrize("in_transaction", [True, False])
def test_python_migration_runs_once(service: Service, in_transaction: bool) -> None:
    write_migration(service, "1_2026_notes", NOTES, down=("DROP TABLE notes",))
    name = write_migration(
        service,
        "2_2026_python",
        body=NOTE_CALL.format("up") + INSERT.format("up"),
        down_body=NOTE_CALL.format("down") + INSERT.format("down"),
        in_transaction=in_transaction,
    )

    assert (
        "its SQL is only known when it runs" in service.run(*MIGRATE, "upgrade", "--dry-run").stdout
    )
    assert calls(service) == []
    service.run(*MIGRATE, "upgrade")
    assert (calls(service), notes(service)) == (["up"], ["up"])
    assert "Reverted 1 migration" in service.run(*MIGRATE, "downgrade", "1", "--yes").stdout
    assert (calls(service), notes(service)) == (["up", "down"], ["up", "down"])
    service.run(*MIGRATE, "upgrade")

    assert calls(service) == ["up", "down", "up"]
    assert applied(service)[-1] == name


def test_verify_calls_each_function_as_often_as_it_runs_it(service: Service) -> None:
    write_migration(service, "1_2026_notes", NOTES, down=("DROP TABLE notes",))
    write_migration(
        service,
        "2_2026_python",
        "DROP TABLE notes",
        body=NOTE_CALL.format("up") + INSERT.format("up"),
        down=(NOTES,),
        down_body=NOTE_CALL.format("down") + "    await db.execute_query('SELECT 1')\n",
    )

    service.run(*MIGRATE, "verify")

    assert calls(service) == ["up", "down", "up"]


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_python_is_rolled_back_with_the_sql(service: Service) -> None:
    write_migration(service, "1_2026_notes", NOTES)
    service.run(*MIGRATE, "upgrade")
    write_migration(
        service, "2_2026_python", "INSERT INTO no_such_table VALUES (1)", body=INSERT.format("up")
    )

    output = service.run(*MIGRATE, "upgrade", status=1).stderr

    assert "nothing of the migration is kept" in output
    assert notes(service) == []


def prepare_mysql(make_service: MakeService) -> Service:
    service = make_service("mysql")
    write_migration(service, "1_2026_notes", NOTES)
    service.run(*MIGRATE, "upgrade")
    return service


def test_mysql_rolls_back_rows_of_a_function_that_fails(make_service: MakeService) -> None:
    service = prepare_mysql(make_service)
    write_migration(service, "2_2026_python", body=INSERT.format("up") + "    1 / 0\n")

    output = service.run(*MIGRATE, "upgrade", status=1).stderr
    assert "ZeroDivisionError" in output
    assert "Nothing of the migration is kept" in output
    assert notes(service) == []
    assert "aerich_unfinished" not in service.database.tables()
    write_migration(service, "2_2026_python", body=INSERT.format("up"))
    service.run(*MIGRATE, "upgrade")

    assert notes(service) == ["up"]


def test_mysql_reports_a_function_that_fails_after_it_committed(make_service: MakeService) -> None:
    service = prepare_mysql(make_service)
    commit = "    await db.execute_query('CREATE TABLE half (id INT)')\n"
    name = write_migration(
        service, "2_2026_python", body=INSERT.format("up") + commit + "    1 / 0\n"
    )

    failed = words(service.run(*MIGRATE, "upgrade", status=1).stderr)
    again = words(service.run(*MIGRATE, "upgrade", status=1).stderr)

    assert f"The upgrade of {name} is unfinished: failed upgrade() in Python" in failed
    assert f"The upgrade of {name} is unfinished: failed upgrade() in Python" in again
    assert notes(service) == ["up"]
    assert f"unfinished {name}" in service.run(*MIGRATE, "status").stdout
    service.database.query("DROP TABLE half")
    service.database.query("DELETE FROM notes")
    service.run(*MIGRATE, "stamp", name, "--pending", "--yes")
    write_migration(service, "2_2026_python", body=INSERT.format("up"))
    service.run(*MIGRATE, "upgrade")
    assert notes(service) == ["up"]


def kill_while(service: Service, running: str) -> None:
    """Kill an upgrade while the server runs a statement."""
    process = service.popen(*MIGRATE, "upgrade")
    wait_until(
        lambda: service.database.query(
            "SELECT 1 FROM information_schema.processlist"
            f" WHERE db = DATABASE() AND info LIKE '{running}%'"
        ),
        "the statement runs",
    )
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_mysql_does_not_repeat_a_function_after_it(make_service: MakeService) -> None:
    service = prepare_mysql(make_service)
    name = write_migration(
        service,
        "2_2026_python",
        "SELECT SLEEP(2)",
        "CREATE TABLE rest (id INT)",
        body=NOTE_CALL.format("up") + INSERT.format("up"),
    )
    kill_while(service, "SELECT SLEEP(2)")

    service.run(*MIGRATE, "upgrade")

    assert (calls(service), notes(service)) == (["up"], ["up"])
    assert applied(service)[-1] == name
    assert "rest" in service.database.tables()
    assert "aerich_unfinished" not in service.database.tables()


def test_mysql_repeats_a_function_whose_changes_were_rolled_back(
    make_service: MakeService,
) -> None:
    service = prepare_mysql(make_service)
    sleep = "    await db.execute_query('SELECT SLEEP(2)')\n"
    write_migration(service, "2_2026_python", body=INSERT.format("up") + sleep)
    kill_while(service, "SELECT SLEEP(2)")

    service.run(*MIGRATE, "upgrade")

    assert notes(service) == ["up"]


def test_mysql_does_not_repeat_a_function_that_committed(make_service: MakeService) -> None:
    service = prepare_mysql(make_service)
    commit = "    await db.execute_query('CREATE TABLE half (id INT)')\n"
    sleep = "    await db.execute_query('SELECT SLEEP(2)')\n"
    name = write_migration(
        service, "2_2026_python", body=NOTE_CALL.format("up") + INSERT.format("up") + commit + sleep
    )
    kill_while(service, "SELECT SLEEP(2)")

    output = words(service.run(*MIGRATE, "upgrade", status=1).stderr)

    assert f"The upgrade of {name} is unfinished: unknown upgrade() in Python" in output
    assert calls(service) == ["up"]


@pytest.mark.in_turn
def test_unverified_file_is_refused_until_someone_decides(service: Service) -> None:
    service.run(*MIGRATE, "upgrade")
    name = write_migration(
        service, "1_2026_notes", NOTES, head="UNVERIFIED = 'team: column age differs'\n"
    )

    for command in (["upgrade"], ["upgrade", "--dry-run"], ["check"]):
        process = service.run(*MIGRATE, *command, status=1)
        line = (process.stdout + process.stderr).splitlines()[0]
        assert line.startswith(f"{name} is not verified: fix it, or delete its line UNVERIFIED")
        assert line.endswith("team: column age differs")
    assert applied(service) == [FIRST]
    file = service.folder / "migrations" / "models" / name
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub("^UNVERIFIED.*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
    service.run(*MIGRATE, "upgrade")
    assert applied(service) == [FIRST, name]


@pytest.mark.in_turn
def test_unverified_file_that_verify_passes_over(service: Service) -> None:
    """Migrations up to `--since` run without rows."""
    name = write_migration(service, "1_2026_notes", "SELECT 1", head="UNVERIFIED = 'rows'\n")

    output = service.run(*MIGRATE, "verify", "--since", "1").stdout

    assert "it is verified now" not in output
    assert f"Run `python -m src migrate verify --since 0` to verify {name} with rows" in output
    again = service.run(*MIGRATE, "verify", "--since", "0").stdout
    assert f"Delete the line UNVERIFIED in {name}: it is verified now" in again


def test_unfinished_file_stops_those_before_it(service: Service) -> None:
    write_migration(service, "1_2026_notes", NOTES)
    write_migration(
        service, "2_2026_hand", "SELECT 1", body="    raise NotImplementedError('set team.age')\n"
    )

    for command in (["upgrade"], ["upgrade", "--dry-run"], ["check"]):
        process = service.run(*MIGRATE, *command, status=1)
        assert "2_2026_hand.py is unfinished: set team.age" in process.stdout + process.stderr

    assert service.database.tables() == set()


@pytest.mark.parametrize(
    ("down_body", "reason"),
    [
        ("    raise NotImplementedError('rows are gone')\n", "rows are gone"),
        ("    raise RuntimeError\n", "RuntimeError"),
        ("", "its downgrade() is empty"),
        ("    return '-- nothing;'\n", "its downgrade() is empty"),
        ("    return None\n", "its downgrade() is empty"),
    ],
)
def test_irreversible_migration_stops_those_after_it(
    make_service: MakeService, down_body: str, reason: str
) -> None:
    service = make_service("sqlite")
    name = write_migration(service, "1_2026_notes", NOTES, down_body=down_body)
    write_migration(service, "2_2026_t", "CREATE TABLE t (id INT)", down=("DROP TABLE t",))
    service.run(*MIGRATE, "upgrade")

    output = service.run(*MIGRATE, "downgrade", "0", "--yes", status=1).stderr

    assert f"{name} cannot be reverted: {reason}" in output
    assert {"notes", "t"} < service.database.tables()
    assert applied(service) == [FIRST, name, "2_2026_t.py"]


@pytest.mark.in_turn
def test_empty_migration_is_filled_in(service: Service) -> None:
    process = service.run(*MIGRATE, "new", "--empty", "fill_in")
    path = service.folder / re.findall(r"Wrote (migrations\S+\.py): fill in", process.stdout)[0]
    assert re.fullmatch(r"1_\d{14}_fill_in\.py", path.name)
    assert "fill in upgrade()" in service.run(*MIGRATE, "upgrade", status=1).stderr

    text = path.read_text(encoding="utf-8")
    for line in re.findall("    raise NotImplementedError.*\n", text):
        text = text.replace(line, "")
    up, down = re.findall(r"\n        -- in SQL, with a semicolon after each statement\n", text)
    text = text.replace(up, f"\n        {NOTES};\n", 1).replace(
        down, "\n        DROP TABLE notes;\n"
    )
    path.write_text(text, encoding="utf-8")

    assert "match the migrations" in service.run(*MIGRATE, "check").stdout
    service.run(*MIGRATE, "upgrade")
    assert "notes" in service.database.tables()
    service.run(*MIGRATE, "downgrade", "0", "--yes")
    assert "notes" not in service.database.tables()
    service.run("aerich", "upgrade")
    assert applied(service) == [FIRST, path.name]


def test_empty_migration_hides_no_change_of_the_models(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.edit(
        "src/database/models.py",
        '        table = "users"\n',
        '        table = "users"\n        indexes = (("hashed_password",),)\n',
    )
    name = re.findall(r"/(1_\w+\.py)", service.run(*MIGRATE, "new", "--empty", "fill_in").stdout)[0]
    path = service.folder / "migrations" / "models" / name
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub("    raise .*\n", "", text), encoding="utf-8")

    assert "(users)" in service.run(*MIGRATE, "check", status=1).stdout


@pytest.mark.parametrize("name", ["v1.2", "Größe", "a/b", "", "a b"])
def test_empty_migration_needs_a_name_that_aerich_reads(
    make_service: MakeService, name: str
) -> None:
    process = make_service("sqlite").run(*MIGRATE, "new", "--empty", name, status=1)

    assert process.stderr.startswith("Use only a-z, 0-9 and _ in the name")


@pytest.mark.in_turn
def test_byte_order_mark_and_crlf_are_read(service: Service) -> None:
    """Some editors write them."""
    service.upgrade()
    name = write_migration(service, "1_2026_by_hand", "SELECT 1", down=("SELECT 1",))
    path = service.folder / "migrations" / "models" / name
    content = path.read_bytes().replace(b"\n", b"\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + content)

    service.run(*MIGRATE, "upgrade")
    service.run(*MIGRATE, "check")
    assert "reverted" in service.run(*MIGRATE, "downgrade", "0", "--yes").stdout
