"""One process applies, reverts, stamps and lists migrations."""

import asyncio
import json
import os
import re
import signal
import socket

import pytest

from ..conftest import MakeService
from ..support.clusters import own_postgresql
from ..support.databases import session
from ..support.migrating import FIRST, MIGRATE, applied, wait_until, words, write_migration
from ..support.network import mysql_8
from ..support.services import TABLES, Service


def upgrade(service: Service, *options: str, status: int = 0) -> str:
    process = service.run(*MIGRATE, "upgrade", *options, status=status)
    assert "Traceback" not in process.stderr
    return process.stdout + process.stderr


def test_says_what_it_did(service: Service) -> None:
    write_migration(service, "1_2026_one", "CREATE TABLE one (id INT)")

    output = upgrade(service)
    again = upgrade(service)

    assert re.fullmatch(
        rf"{FIRST}: applied in \d+\.\d\d s\n1_2026_one\.py: applied in \d+\.\d\d s\n"
        r"Applied 2 migrations\n",
        output,
    )
    assert again == "Nothing to do: no migration is pending\n"


def test_aerich_goes_on_with_the_same_files_and_table(service: Service) -> None:
    upgrade(service)
    second = write_migration(
        service, "1_2026_two", "CREATE TABLE two (id INT)", down=("DROP TABLE two",)
    )

    assert second in service.run("aerich", "heads").stdout
    service.run("aerich", "upgrade")
    assert "Nothing to do" in upgrade(service)
    service.run("aerich", "downgrade", "--yes")

    assert applied(service) == [FIRST]
    assert "two" not in service.database.tables()


def test_file_is_read_anew(make_service: MakeService) -> None:
    service = make_service("sqlite")
    dry_run = (*MIGRATE, "upgrade", "--dry-run")
    name = write_migration(service, "1_2026_one", "CREATE TABLE one (id INT)")
    file = service.folder / "migrations" / "models" / name
    before = file.stat().st_mtime
    assert "CREATE TABLE one" in service.run(*dry_run).stdout
    write_migration(service, "1_2026_one", "CREATE TABLE two (id INT)")
    os.utime(file, (before, before))  # Python's cache goes by the time and the size

    assert "CREATE TABLE two" in service.run(*dry_run).stdout


@pytest.mark.in_turn
def test_to_a_number(service: Service) -> None:
    for n in (1, 2):
        write_migration(service, f"{n}_2026_t", f"CREATE TABLE t{n} (id INT)")

    upgrade(service, "--to", "1")

    assert applied(service) == [FIRST, "1_2026_t.py"]
    assert "There is no migration 7" in upgrade(service, "--to", "7", status=1)


def test_dry_run_changes_nothing(service: Service) -> None:
    write_migration(service, "1_2026_one", "CREATE TABLE one (note VARCHAR(9) DEFAULT 'a;b')")

    output = upgrade(service, "--dry-run")

    assert "CREATE TABLE one (note VARCHAR(9) DEFAULT 'a;b');" in output
    assert "nothing was changed" in output
    if service.database.engine == "sqlite":
        assert list(service.database.path.parent.glob("*.sqlite3*")) == []
    assert service.database.tables() == set()


@pytest.mark.in_turn
def test_dry_run_calls_no_python_migration(service: Service) -> None:
    upgrade(service)
    write_migration(
        service,
        "1_2026_writes",
        "SELECT 1",
        body="    await db.execute_query('CREATE TABLE sneaky (id INT)')\n",
    )

    output = upgrade(service, "--dry-run")

    assert "1_2026_writes.py\n-- Runs Python: its SQL is only known when it runs" in output
    assert "sneaky" not in service.database.tables()


TRIGGERS = {
    "sqlite": [
        """CREATE TRIGGER t AFTER INSERT ON one BEGIN
            UPDATE one SET note = 'x;y' WHERE note = CASE WHEN 1 THEN 'a' ELSE 'b' END;
            DELETE FROM one WHERE note = 'END;';
        END""",
    ],
    "postgresql": [
        """CREATE FUNCTION f() RETURNS trigger AS $body$ BEGIN
            IF NEW.note = 'a' THEN NEW.note := 'x;y'; END IF;
            RETURN NEW;
        END; $body$ LANGUAGE plpgsql""",
        "CREATE TRIGGER t BEFORE INSERT ON one FOR EACH ROW EXECUTE FUNCTION f()",
    ],
    "mysql": [
        """CREATE TRIGGER t BEFORE INSERT ON one FOR EACH ROW BEGIN
            IF NEW.note = 'a' THEN SET NEW.note = CASE WHEN 1 THEN 'x;y' ELSE 'z' END; END IF;
        END""",
    ],
}


@pytest.mark.server
@pytest.mark.parametrize("in_transaction", [True, False])
def test_strings_comments_and_triggers(service: Service, in_transaction: bool) -> None:
    write_migration(
        service,
        "1_2026_trigger",
        "-- it's; a comment\nCREATE TABLE one (note VARCHAR(9)) /* ; */",
        *TRIGGERS[service.database.engine],
        "INSERT INTO one VALUES ('a')",
        "INSERT INTO one VALUES ('--;/*')",
        "-- the end;",
        in_transaction=in_transaction,
    )

    upgrade(service)

    assert service.database.query("SELECT note FROM one") == [("x;y",), ("--;/*",)]


@pytest.mark.server
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_failure_leaves_nothing(service: Service) -> None:
    upgrade(service)
    service.database.query("CREATE TABLE obstacle (id INT)")
    name = write_migration(
        service,
        "1_2026_fails",
        "CREATE TABLE half (id INT)",
        "INSERT INTO half VALUES (1)",
        "CREATE TABLE obstacle (id INT)",
    )

    output = upgrade(service, status=1)

    assert f"{name}: statement 3 of 3 failed, and nothing of the migration is kept" in output
    assert service.database.tables() == TABLES | {"obstacle"}
    assert applied(service) == [FIRST]
    service.database.query("DROP TABLE obstacle")
    assert "Applied 1 migration" in upgrade(service)
    assert service.database.query("SELECT id FROM half") == [(1,)]


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_failure_at_commit_leaves_nothing(service: Service) -> None:
    write_migration(
        service,
        "1_2026_deferred",
        "CREATE TABLE a (id INT PRIMARY KEY)",
        "CREATE TABLE b (id INT REFERENCES a DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO b VALUES (1)",
    )

    output = upgrade(service, status=1)

    assert "foreign key" in output
    assert applied(service) == [FIRST]
    assert "a" not in service.database.tables()


REBUILD = (
    "PRAGMA foreign_keys=OFF",
    "BEGIN",
    "CREATE TABLE new_parent (id INTEGER PRIMARY KEY, note TEXT)",
    "INSERT INTO new_parent (id) SELECT id FROM parent{where}",
    "DROP TABLE parent",
    "ALTER TABLE new_parent RENAME TO parent",
    "COMMIT",
    "PRAGMA foreign_keys=ON",
)


@pytest.mark.parametrize("where", ["", " WHERE id = 1", "; SELECT no_such_function()"])
def test_sqlite_rebuild(make_service: MakeService, where: str) -> None:
    service = make_service("sqlite")
    upgrade(service)
    for statement in (
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "CREATE TABLE child (id INTEGER, parent INTEGER REFERENCES parent ON DELETE CASCADE)",
        "INSERT INTO parent VALUES (1), (2)",
        "INSERT INTO child VALUES (1, 1), (2, 2)",
    ):
        service.database.query(statement)
    write_migration(
        service, "1_2026_rebuild", *(s.format(where=where) for s in REBUILD), in_transaction=False
    )

    output = upgrade(service, status=1 if where else 0)

    assert service.database.query("SELECT id FROM child") == [(1,), (2,)]
    assert service.database.query("SELECT id FROM parent") == [(1,), (2,)]
    assert len(applied(service)) == (1 if where else 2)
    assert service.database.columns("parent") == (["id"] if where else ["id", "note"])
    if "WHERE" in where:
        assert "child (rowid 2) to parent" in output


@pytest.mark.server
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_index_concurrently(service: Service) -> None:
    name = write_migration(
        service,
        "1_2026_index",
        "CREATE INDEX CONCURRENTLY one ON users (hashed_password)",
        "CREATE UNIQUE INDEX CONCURRENTLY two ON users (lower(username))",
        in_transaction=False,
    )
    upgrade(service, "--to", "0")
    for username in ("ada", "Ada"):
        service.database.query(
            f"INSERT INTO users (username, email, hashed_password) VALUES ('{username}', '{username}', '')"
        )

    output = upgrade(service, status=1)

    assert "committed CREATE INDEX CONCURRENTLY one" in words(output)
    assert "failed CREATE UNIQUE INDEX CONCURRENTLY two" in words(output)
    assert "leaves an invalid index" in output
    assert applied(service) == [FIRST]
    service.database.query("DROP INDEX one, two")
    service.database.query("DELETE FROM users WHERE username = 'Ada'")
    service.run(*MIGRATE, "stamp", name, "--pending", "--yes")
    upgrade(service)
    assert applied(service) == [FIRST, name]
    assert service.database.query("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]


@pytest.fixture
def broken(make_service: MakeService) -> Service:
    """A service on MySQL whose migration 1 failed in its third of four statements."""
    service = make_service("mysql")
    upgrade(service)
    service.database.query("CREATE TABLE obstacle (id INT)")
    write_migration(
        service,
        "1_2026_fails",
        "CREATE TABLE half (id INT)",
        "INSERT INTO half VALUES (1)",
        "CREATE TABLE obstacle (id INT)",
        "CREATE TABLE rest (id INT)",
    )
    output = upgrade(service, status=1)
    assert "Table 'obstacle' already exists" in output
    assert REPORT in words(output)
    return service


REPORT = (
    "The upgrade of 1_2026_fails.py is unfinished: "
    "committed CREATE TABLE half (id INT); committed INSERT INTO half VALUES (1); "
    "failed CREATE TABLE obstacle (id INT); not run CREATE TABLE rest (id INT) "
    "Check in the database whether unknown steps are done. Then do one of these: "
    "- run the uncommitted statements by hand, then "
    "`python -m src migrate stamp 1_2026_fails.py --applied` "
    "- undo the committed statements by hand, then "
    "`python -m src migrate stamp 1_2026_fails.py --pending`"
)


@pytest.mark.server
def test_mysql_reports_until_it_is_repaired(broken: Service) -> None:
    write_migration(broken, "2_2026_next", "CREATE TABLE next (id INT)")
    broken.database.query("DROP TABLE obstacle")

    for command in (["upgrade"], ["downgrade", "0", "--yes"]):
        process = broken.run(*MIGRATE, *command, status=1)
        assert REPORT in words(process.stderr)

    assert broken.run(*MIGRATE, "status").stdout.splitlines() == [
        f"applied    {FIRST}",
        "unfinished 1_2026_fails.py",
        "pending    2_2026_next.py",
    ]
    assert applied(broken) == [FIRST]
    assert broken.database.query("SELECT id FROM half") == [(1,)]
    assert not {"rest", "next"} & broken.database.tables()


@pytest.mark.server
def test_mysql_finished_by_hand(broken: Service) -> None:
    broken.database.query("CREATE TABLE rest (id INT)")

    broken.run(*MIGRATE, "stamp", "1_2026_fails.py", "--applied", "--yes")

    assert upgrade(broken) == "Nothing to do: no migration is pending\n"
    assert applied(broken) == [FIRST, "1_2026_fails.py"]
    assert broken.database.tables() == TABLES | {"half", "rest", "obstacle"}


@pytest.mark.server
def test_mysql_undone_by_hand(broken: Service) -> None:
    broken.database.query("DROP TABLE half")
    broken.database.query("DROP TABLE obstacle")

    broken.run(*MIGRATE, "stamp", "1_2026_fails.py", "--pending", "--yes")

    assert "Applied 1 migration" in upgrade(broken)
    assert broken.database.query("SELECT id FROM half") == [(1,)]
    assert broken.database.tables() == TABLES | {"half", "rest", "obstacle"}


@pytest.mark.server
def test_mysql_undone_by_hand_after_its_file_got_another_name(broken: Service) -> None:
    folder = broken.folder / "migrations" / "models"
    (folder / "1_2026_fails.py").rename(folder / "1_2027_fails.py")
    broken.database.query("DROP TABLE half")
    broken.database.query("DROP TABLE obstacle")

    stamp = (*MIGRATE, "stamp", "1_2026_fails.py", "--yes")
    process = broken.run(*stamp, "--applied", status=1)
    assert "run this on a commit that has it" in process.stderr
    broken.run(*stamp, "--pending")

    assert "Applied 1 migration" in upgrade(broken)
    assert applied(broken) == [FIRST, "1_2027_fails.py"]


@pytest.mark.server
@pytest.mark.parametrize("finished", [True, False])
def test_mysql_downgrade_repaired_after_its_file_is_gone(
    make_service: MakeService, *, finished: bool
) -> None:
    service = make_service("mysql")
    up, down = ["CREATE TABLE one (id INT)"], ("DROP TABLE one", "DROP TABLE two")
    name = write_migration(service, "1_2026_tables", *up, down=down)
    upgrade(service)
    process = service.run(*MIGRATE, "downgrade", "0", "--yes", status=1)
    assert f"The downgrade of {name} is unfinished" in process.stderr
    (service.folder / "migrations" / "models" / name).unlink()
    if not finished:
        service.database.query("CREATE TABLE one (id INT)")

    service.run(*MIGRATE, "stamp", name, "--pending" if finished else "--applied", "--yes")

    assert applied(service) == ([FIRST] if finished else [FIRST, name])
    state = "unknown" if not finished else ""
    assert state in service.run(*MIGRATE, "status").stdout
    assert "aerich_unfinished" not in service.database.tables()


def test_mysql_stamps_nothing_beside_what_is_unfinished(broken: Service) -> None:
    write_migration(broken, "2_2026_next", "CREATE TABLE next (id INT)")

    for name, state in ((FIRST, "--applied"), ("2_2026_next.py", "--pending")):
        assert REPORT in words(broken.run(*MIGRATE, "stamp", name, state, "--yes", status=1).stderr)

    assert REPORT in words(upgrade(broken, status=1))


@pytest.mark.in_turn
def test_stamp_keeps_the_order(service: Service) -> None:
    for n in (1, 2):
        write_migration(service, f"{n}_2026_t", f"CREATE TABLE t{n} (id INT)")
    upgrade(service, "--to", "1")

    def stamp(*arguments: str) -> str:
        process = service.run(*MIGRATE, "stamp", *arguments, status=None)
        return process.stdout + process.stderr

    assert "There is no file 3_2026_t.py" in stamp("3_2026_t.py", "--applied", "--yes")
    assert "Add --yes" in stamp("2_2026_t.py", "--applied")
    assert f"1_2026_t.py comes after {FIRST}" in stamp(FIRST, "--pending", "--yes")
    assert "is recorded as applied" in stamp("2_2026_t.py", "--applied", "--yes")
    assert "is recorded as applied" in stamp("2_2026_t.py", "--applied", "--yes")
    assert applied(service) == [FIRST, "1_2026_t.py", "2_2026_t.py"]
    assert "is recorded as pending" in stamp("2_2026_t.py", "--pending", "--yes")
    assert applied(service) == [FIRST, "1_2026_t.py"]


@pytest.mark.in_turn
def test_stamp_creates_the_table_of_aerich(service: Service) -> None:
    upgrade(service)
    service.database.query("DROP TABLE aerich")  # such as a database of another tool

    service.run(*MIGRATE, "stamp", FIRST, "--applied", "--yes")

    assert applied(service) == [FIRST]
    assert "Nothing to do" in upgrade(service)
    assert "Verified" in service.run(*MIGRATE, "verify").stdout
    write_migration(service, "1_2026_one", "CREATE TABLE one (id INT)")
    assert "Success" in service.run("aerich", "upgrade").stdout


def test_failing_function_is_named(service: Service) -> None:
    write_migration(service, "1_2026_bug", "SELECT 1", body="    1 / 0\n")

    assert "1_2026_bug.py: upgrade() failed: ZeroDivisionError" in upgrade(service, status=1)


@pytest.mark.server
def test_mysql_first_statement_fails(make_service: MakeService) -> None:
    service = make_service("mysql")
    write_migration(service, "1_2026_fails", "CREATE TABLE users (id INT)", "SELECT 1")

    output = upgrade(service, status=1)

    assert "failed, and nothing of the migration is kept" in output
    assert service.database.tables() == TABLES


GUARD = "SELECT {} /* guard: a holds b: change them first */"


@pytest.mark.server
def test_mysql_says_what_is_kept_if_a_guard_follows_other_statements(
    make_service: MakeService,
) -> None:
    service = make_service("mysql")
    guard = GUARD.format("(SELECT 1 UNION ALL SELECT 2)")
    write_migration(service, "1_2026_guarded", "CREATE TABLE early (id INT)", guard)

    output = upgrade(service, status=1)

    assert "a holds b: change them first\n" in output
    assert "committed  CREATE TABLE early" in output
    assert "Nothing of the migration is kept" not in output


@pytest.mark.server
@pytest.mark.parametrize("engine", ["sqlite", "mysql"], indirect=True)
def test_guard_that_cannot_run_found_no_rows(service: Service) -> None:
    write_migration(service, "1_2026_guarded", GUARD.format("missing FROM users"))

    output = upgrade(service, status=1)

    assert re.search("1_2026_guarded.py: statement 1 of 1 failed, .*column", output)


@pytest.mark.server
def test_mysql_statement_that_waits_in_vain_for_a_lock_has_failed(
    make_service: MakeService,
) -> None:
    service = make_service("mysql")
    upgrade(service)
    service.database.query(
        "INSERT INTO users (username, email, hashed_password) VALUES ('a', 'a', '')"
    )
    write_migration(
        service,
        "1_2026_waits",
        "SET SESSION innodb_lock_wait_timeout = 1",
        "UPDATE users SET email = 'b'",
        "CREATE TABLE rest (id INT)",
    )

    async def upgrade_beside_a_transaction() -> str:
        async with session(service.database.url) as query:
            await query("BEGIN")
            await query("SELECT id FROM users FOR UPDATE")
            return await asyncio.to_thread(upgrade, service, status=1)

    output = words(asyncio.run(upgrade_beside_a_transaction()))

    assert "failed UPDATE users SET email = 'b'; not run CREATE TABLE rest (id INT)" in output


def kill_within(service: Service, slow: str) -> None:
    """Kill an upgrade while the server runs the second statement of three, which takes 2 s."""
    upgrade(service)
    service.database.query("CREATE TABLE slow (id INT)")
    service.database.query("CREATE TABLE once (id INT)")
    write_migration(
        service,
        "1_2026_slow",
        "INSERT INTO once VALUES (1)",
        slow,
        "CREATE TABLE rest (id INT)",
    )
    kill_while(service, slow, "upgrade")


def kill_while(service: Service, slow: str, *command: str) -> None:
    """Kill a command while the server runs a statement."""
    process = service.popen(*MIGRATE, *command)
    wait_until(
        lambda: service.database.query(
            "SELECT 1 FROM information_schema.processlist"
            f" WHERE db = DATABASE() AND info LIKE '{slow}%'"
        ),
        "the slow statement runs",
    )
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.server
def test_mysql_killed_within_a_statement(make_service: MakeService) -> None:
    service = make_service("mysql")
    kill_within(service, "INSERT INTO slow SELECT SLEEP(2)")

    output = words(upgrade(service, status=1))

    assert "committed INSERT INTO once VALUES (1); unknown INSERT INTO slow" in output
    assert "not run CREATE TABLE rest (id INT)" in output
    assert applied(service) == [FIRST]
    # the server went on with it, and the lock was free only afterwards
    assert service.database.query("SELECT count(*) FROM slow") == [(1,)]


@pytest.mark.server
def test_mysql_killed_within_a_statement_that_may_run_again(make_service: MakeService) -> None:
    service = make_service("mysql")
    kill_within(service, "SELECT SLEEP(2)")

    assert "Applied 1 migration" in upgrade(service)

    assert service.database.query("SELECT id FROM once") == [(1,)]
    assert service.database.tables() == TABLES | {"slow", "once", "rest"}


KEEP_ZERO = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')"


@pytest.mark.server
def test_mysql_killed_after_a_setting_of_the_session(make_service: MakeService) -> None:
    service = make_service("mysql")
    upgrade(service)
    service.database.query("CREATE TABLE numbered (id INT AUTO_INCREMENT PRIMARY KEY)")
    steps = (KEEP_ZERO, "SELECT SLEEP(2)", "INSERT INTO numbered VALUES (0)")
    write_migration(service, "1_2026_t", *steps)
    kill_while(service, "SELECT SLEEP(2)", "upgrade")

    upgrade(service)

    assert service.database.query("SELECT id FROM numbered") == [(0,)]


@pytest.mark.server
@pytest.mark.parametrize(
    "variable",
    ["SET @name = 'reds'", "SELECT 'reds' INTO @name", "CREATE TEMPORARY TABLE t (id INT)"],
)
def test_mysql_killed_after_what_another_session_lacks(
    make_service: MakeService, variable: str
) -> None:
    service = make_service("mysql")
    upgrade(service)
    service.database.query("CREATE TABLE named (name VARCHAR(9))")
    name = write_migration(
        service, "1_2026_t", variable, "SELECT SLEEP(2)", "INSERT INTO named VALUES (@name)"
    )
    kill_while(service, "SELECT SLEEP(2)", "upgrade")

    output = words(upgrade(service, status=1))

    assert f"committed {variable}; unknown SELECT SLEEP(2)" in output
    assert "First repeat committed SET statements and temporary tables" in output
    assert service.database.query("SELECT name FROM named") == []
    # as told
    service.database.query("INSERT INTO named VALUES ('reds')")
    service.run(*MIGRATE, "stamp", name, "--applied", "--yes")
    assert applied(service) == [FIRST, name]


@pytest.mark.server
def test_mysql_killed_within_a_downgrade(make_service: MakeService) -> None:
    service = make_service("mysql")
    name = write_migration(
        service,
        "1_2026_t",
        "CREATE TABLE one (id INT)",
        "CREATE TABLE two (id INT)",
        down=("DROP TABLE one", "SELECT SLEEP(2)", "DROP TABLE two"),
    )
    upgrade(service)
    kill_while(service, "SELECT SLEEP(2)", "downgrade", "0", "--yes")

    output = words(upgrade(service, status=1))
    assert f"The downgrade of {name} is unfinished: committed DROP TABLE one" in output
    assert "two" in service.database.tables()
    service.run(*MIGRATE, "downgrade", "0", "--yes")

    assert applied(service) == [FIRST]
    assert service.database.tables() == TABLES


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_commit_within_a_migration_keeps_nothing_of_a_failure(service: Service) -> None:
    upgrade(service)
    write_migration(
        service,
        "1_2026_fails",
        "CREATE TABLE half (id INT)",
        "-- all is well\n/* so far */ COMMIT",
        "CREATE TABLE users (id INT)",
    )

    assert "nothing of the migration is kept" in upgrade(service, status=1)

    assert service.database.tables() == TABLES


@pytest.mark.in_turn
def test_status(service: Service) -> None:
    second = write_migration(service, "1_2026_two", "CREATE TABLE two (id INT)")
    third = write_migration(service, "2_2026_three", "CREATE TABLE three (id INT)")
    upgrade(service, "--to", "1")
    (service.folder / "migrations" / "models" / second).unlink()

    table = service.run(*MIGRATE, "status").stdout
    rows = json.loads(service.run(*MIGRATE, "status", "--json").stdout)

    assert table == f"applied  {FIRST}\npending  {third}\nunknown  {second}\n"
    assert rows == [
        {"name": FIRST, "status": "applied"},
        {"name": third, "status": "pending"},
        {"name": second, "status": "unknown"},
    ]


def test_status_of_no_database_makes_none(make_service: MakeService) -> None:
    service = make_service("sqlite")

    assert service.run(*MIGRATE, "status").stdout == f"pending  {FIRST}\n"
    assert not service.database.path.exists()


def test_downgrade(service: Service) -> None:
    for n in (1, 2, 3):
        write_migration(
            service,
            f"{n}_2026_t",
            f"CREATE TABLE t{n} (id INT)",
            down=(f"DROP TABLE t{n}",) if n > 1 else (),
        )
    upgrade(service)

    refused = service.run(*MIGRATE, "downgrade", "1", status=1).stderr
    empty = service.run(*MIGRATE, "downgrade", "0", "--yes", status=1).stderr
    assert applied(service)[-1] == "3_2026_t.py"
    done = service.run(*MIGRATE, "downgrade", "1", "--yes").stdout
    nothing = service.run(*MIGRATE, "downgrade", "1", "--yes", status=1).stderr

    assert "Add --yes" in refused
    assert "1_2026_t.py cannot be reverted: its downgrade() is empty" in empty
    assert "Nothing was changed" in empty
    assert re.search(r"3_2026_t\.py: reverted .*\n2_2026_t\.py: reverted .*\nReverted 2", done)
    assert "Nothing to revert" in nothing
    assert applied(service) == [FIRST, "1_2026_t.py"]
    assert service.database.tables() == TABLES | {"t1"}


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_failed_downgrade_changes_nothing(service: Service) -> None:
    write_migration(
        service,
        "1_2026_t",
        "CREATE TABLE t (id INT)",
        down=("DROP TABLE t", "DROP TABLE no_such_table"),
    )
    upgrade(service)

    process = service.run(*MIGRATE, "downgrade", "0", "--yes", status=1)

    assert "statement 2 of 2 failed, and nothing of the migration is kept" in process.stderr
    assert "t" in service.database.tables()
    assert applied(service) == [FIRST, "1_2026_t.py"]


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
@pytest.mark.parametrize("fault", ["port", "password"])
def test_unusable_server_is_one_line(service: Service, fault: str) -> None:
    url = re.sub(r"//[^@]*@", "//nobody:secret@", service.database.url)
    if fault == "port":
        url = re.sub(r":\d+/", ":1/", url)

    for command in (["upgrade"], ["upgrade", "--dry-run"], ["status"], ["downgrade", "0", "--yes"]):
        process = service.run(*MIGRATE, *command, status=1, DATABASE_URL=url)
        assert re.fullmatch(r"The database cannot be used: .*\n", process.stderr)
        step = (
            "Start the server, or correct"
            if fault == "port"
            else "Correct the user or the password in"
        )
        assert process.stderr.endswith(
            f", database {service.database.name}). {step} DATABASE_URL\n"
        )
        cause = "Connection refused (" if fault == "port" else ""
        assert process.stderr.startswith(f"The database cannot be used: {cause}")
        assert process.stderr.count("(host 127.0.0.1, port ") == 1
        assert "Errno" not in process.stderr
        assert '"' not in process.stderr.replace('"nobody"', "")
        assert "user nobody" in process.stderr
        assert "secret" not in process.stderr


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_host_that_nobody_knows_is_named_once(service: Service) -> None:
    url = re.sub(r"@.*/", "@nowhere.invalid/", service.database.url)

    error = service.run(*MIGRATE, "status", status=1, DATABASE_URL=url).stderr

    assert error.count("nowhere.invalid") == 1
    assert "Errno" not in error


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_creates_the_database(service: Service) -> None:
    service.database.drop()
    missing = service.run(*MIGRATE, "upgrade", status=1)

    created = service.run(*MIGRATE, "create-database")
    again = service.run(*MIGRATE, "create-database", status=1)
    service.run(*MIGRATE, "upgrade")

    assert missing.stderr.endswith(". Run `python -m src migrate create-database`\n")
    assert created.stdout.startswith(f"Created the database {service.database.name}. Run `")
    assert again.stderr == f"Nothing was created: the database {service.database.name} exists\n"
    assert applied(service) == [FIRST]


def test_sqlite_database_is_created_by_upgrade(make_service: MakeService) -> None:
    process = make_service("sqlite").run(*MIGRATE, "create-database", status=1)

    assert process.stderr == "Run `python -m src migrate upgrade`: it creates a SQLite database\n"


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_server_that_never_answers(service: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        url = re.sub(r"@.*/", f"@127.0.0.1:{port}/", service.database.url)

        process = service.run(*MIGRATE, "upgrade", "--timeout", "1", status=1, DATABASE_URL=url)

    assert re.fullmatch(
        rf"The database cannot be used: it does not answer \(host 127.0.0.1, port {port}, user \w+, "
        r"database \w+\)\. Start the server, or correct DATABASE_URL\n",
        process.stderr,
    )


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_certificate_is_the_systems_matter(mode: str, make_service: MakeService) -> None:
    service = make_service("postgresql")
    with own_postgresql() as server:
        certificate = str(server.encrypt())

        def ask(status: int = 0, host: str = "127.0.0.1", **variables: str) -> str:
            url = f"{server.url}?sslmode={mode}".replace("127.0.0.1", host)
            variables |= {"DATABASE_URL": url, "HOME": str(service.folder)}
            process = service.run(*MIGRATE, "status", status=status, **variables)
            return process.stdout + process.stderr

        refused = ask(1)
        known = ask(SSL_CERT_FILE=certificate)
        if mode == "verify-full":
            other = ask(1, "localhost", SSL_CERT_FILE=certificate)
            assert re.search("certificate verify failed.*mismatch", other)

    assert re.search("The database cannot be used: .*certificate verify failed", refused)
    assert known.startswith("pending")


def test_password_of_mysql_8_is_sent(make_service: MakeService) -> None:
    service = make_service("mysql")
    with mysql_8() as port:
        url = f"mysql://ada:secret@127.0.0.1:{port}/test"
        process = service.run(*MIGRATE, "upgrade", status=1, DATABASE_URL=url)

    assert re.fullmatch("The database cannot be used: .*Access denied.*\n", process.stderr)


def test_password_too_long_for_mysql_8_without_tls(make_service: MakeService) -> None:
    service = make_service("mysql")
    with mysql_8() as port:
        url = f"mysql://ada:{'x' * 240}@127.0.0.1:{port}/test"
        process = service.run(*MIGRATE, "upgrade", status=1, DATABASE_URL=url)

    assert process.stderr.startswith("The database cannot be used: ")
    assert "add ?ssl-mode=required to DATABASE_URL" in process.stderr
    assert process.stderr.count("\n") == 1
    assert "xxx" not in process.stderr


def test_commands_that_only_read_create_no_files(make_service: MakeService) -> None:
    service = make_service("sqlite")
    before = {file for file in service.folder.rglob("*") if "__pycache__" not in file.parts}

    service.run(*MIGRATE, "status", status=None)
    service.run(*MIGRATE, "upgrade", "--dry-run", status=None)
    service.run(*MIGRATE, "renumber", status=None)

    after = {file for file in service.folder.rglob("*") if "__pycache__" not in file.parts}
    assert after == before


def test_help(make_service: MakeService) -> None:
    service = make_service("sqlite")
    commands = service.run(*MIGRATE, "--help", COLUMNS="200").stdout
    listed = dict(re.findall(r"^  (\w+) +(.*)$", commands.partition("Commands:")[2], re.MULTILINE))

    assert set(listed) == {
        *("upgrade", "downgrade", "stamp", "status", "verify", "check"),
        *("new", "renumber", "squash", "baseline"),
    }
    assert all(len(summary) <= 60 for summary in listed.values())
    for command in (*listed, "mark"):
        assert service.run(*MIGRATE, command, "--help").stdout.startswith("Usage:")
    assert service.run(*MIGRATE, "upgrade", "--no-such-option", status=2).stderr


@pytest.mark.server
def test_postgresql_converts_dates_in_utc(make_service: MakeService) -> None:
    service = make_service("postgresql")
    name = service.database.url.rpartition("/")[2]
    service.database.query(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'")
    write_migration(
        service, "1_2026_t", "CREATE TABLE day AS SELECT DATE '2024-02-29'::TIMESTAMPTZ AS n"
    )

    upgrade(service)

    found = service.database.query("SELECT (n AT TIME ZONE 'UTC')::TEXT FROM day")
    assert found == [("2024-02-29 00:00:00",)]
