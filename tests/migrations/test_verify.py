"""`verify` finds what is wrong with the migrations that plain Aerich makes, engine by engine."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.migrating import write_migration
from ..support.services import Service
from .support import MIGRATE, Changing
from .test_new import CHANGES, CITY, MOTTO, NICK, Change, after

AERICH = ("aerich", "migrate", "--offline", "--no-input", "--name", "aerich")

MORE = {
    "json": Change([after(NICK, "settings = fields.JSONField(default=dict)")]),
    "text": Change([after(NICK, "about = fields.TextField(default='nothing')")]),
    "uuid": Change([after(NICK, "token = fields.UUIDField(default=uuid.uuid4)")]),
    "db_default": Change([after(NICK, "level = fields.IntField(db_default=5)")]),
}

FAILS = r"aerich.py: (the first statement|statement \d of \d) failed"

# What is wrong with what Aerich makes of a change, in `verify`'s words
WRONG = {
    ("auto_now_add", "sqlite"): FAILS,
    ("auto_now_add", "postgresql"): FAILS,
    ("auto_now_add", "mysql"): FAILS,
    ("json", "sqlite"): FAILS,
    ("json", "postgresql"): FAILS,
    ("json", "mysql"): "player.settings: existing rows get ('null'|''), not its default",
    ("text", "sqlite"): FAILS,
    ("text", "postgresql"): FAILS,
    ("text", "mysql"): "player.about: existing rows get '', not its default",
    ("uuid", "sqlite"): FAILS,
    ("uuid", "postgresql"): FAILS,
    ("uuid", "mysql"): "player.token: existing rows get '', not its default",
    ("db_default", "sqlite"): FAILS,
    ("db_default", "postgresql"): FAILS,
    ("db_default", "mysql"): r"player: column level is int(\(11\))? not null by the migrations",
    (
        "many to many",
        "sqlite",
    ): r"locker_badge: unique \(locker_id, badge_id\) is made by the models",
    ("many to many", "postgresql"): r"unique \(locker_id, badge_id\) is made by the models only",
    ("many to many", "mysql"): r"unique \(locker_id, badge_id\) BTREE is made by the models only",
    (
        "on_delete",
        "sqlite",
    ): r"player: foreign key \(team_id\) is references team \(id\) on delete c",
    ("on_delete", "postgresql"): r"player: FOREIGN KEY \(team_id\) is .* CASCADE by the migrations",
    ("on_delete", "mysql"): r"player: foreign key \(team_id\) is .* on delete CASCADE by the mig",
    ("model with one to one dropped", "sqlite"): "aerich.py cannot be taken back",
    ("model with one to one dropped", "postgresql"): "aerich.py cannot be taken back",
    ("model with one to one dropped", "mysql"): "aerich.py cannot be taken back",
    (
        "wider key",
        "postgresql",
    ): "team: column id is .* auto-increment as integer by the migrations",
    ("foreign key", "sqlite"): FAILS,
    ("foreign key dropped", "sqlite"): FAILS,
    ("one to one", "sqlite"): FAILS,
    ("one to one dropped", "sqlite"): FAILS,
    ("unique column dropped", "sqlite"): FAILS,
    ("no longer unique", "sqlite"): r"team: unique \(name\) is made by the migrations only",
}


@pytest.mark.server
@pytest.mark.parametrize("name", dict.fromkeys(name for name, _ in WRONG))
def test_finds_what_aerich_writes_wrong(changing: Changing, name: str) -> None:
    expected = WRONG.get((name, changing.service.database.engine))
    if expected is None:
        pytest.skip("Aerich writes this right here, or not at all")
    changing.change(*{**CHANGES, **MORE}[name].edits)
    changing.service.run(*AERICH)

    process = changing.service.run(*MIGRATE, "verify", "--since", "1", status=1)

    assert re.search(expected, process.stdout + process.stderr)
    assert "Traceback" not in process.stderr


def databases(changing: Changing) -> list[str]:
    """List the databases whose names begin as the service's."""
    database = changing.service.database
    name = database.url.rpartition("/")[2]
    catalogue = {"postgresql": "SELECT datname::text FROM pg_database", "mysql": "SHOW DATABASES"}
    rows = database.query(catalogue[database.engine])
    return [str(other).removeprefix(name) for (other,) in rows if str(other).startswith(name)]


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_scratch_databases_are_dropped_after_a_failure(changing: Changing) -> None:
    changing.change((NICK, NICK.replace("20", "30")))
    changing.new()
    file = changing.files()[-1]
    file.write_text(file.read_text(encoding="utf-8").replace("ALTER", "ALTERED"), encoding="utf-8")

    assert "ALTERED" in changing.service.run(*MIGRATE, "verify", status=1).stderr

    assert databases(changing) == [""]


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_scratch_databases_are_dropped_after_ctrl_c(changing: Changing) -> None:
    changing.change((NICK, NICK.replace("20", "30")))
    changing.new()
    file = changing.files()[-1]
    wait = {"postgresql": "SELECT pg_sleep(60);", "mysql": "SELECT SLEEP(60);"}
    text = file.read_text(encoding="utf-8")
    text = text.replace("ALTER", f"{wait[changing.service.database.engine]} ALTER", 1)
    file.write_text(text, encoding="utf-8")
    process = changing.service.popen(*MIGRATE, "verify")
    running = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity"
        " WHERE query LIKE 'SELECT pg_sleep(60)%' AND datname LIKE '{}~_verify~_%' ESCAPE '~'",
        "mysql": "SELECT count(*) FROM information_schema.processlist"
        " WHERE info LIKE 'SELECT SLEEP(60)%' AND db LIKE '{}~_verify~_%' ESCAPE '~'",
    }[changing.service.database.engine].format(changing.service.database.url.rpartition("/")[2])
    while changing.service.database.query(running) == [(0,)]:
        assert process.poll() is None, process.communicate()[0]

    process.send_signal(signal.SIGINT)

    output = process.communicate(timeout=30)[0]
    assert process.returncode != 0
    assert "Traceback" not in output
    assert databases(changing) == [""]


def test_finds_what_hand_written_sql_leaves_out(changing: Changing) -> None:
    changing.change((CITY, CITY.replace("30", "31")), after(MOTTO, "age = fields.IntField()"))
    changing.new(status=1)
    file = changing.files()[-1]
    text = file.read_text(encoding="utf-8")
    empty = re.sub(r'(?s)(?<=return """).*?(?=""")', "SELECT 1;", text)
    file.write_text(re.sub(r"\n.*NotImplementedError.*", "", empty), encoding="utf-8")

    faults = changing.service.run(*MIGRATE, "verify", status=1).stderr.splitlines()

    assert any(re.match("team: column age .*made by the models only", fault) for fault in faults)
    if changing.service.database.engine == "mysql":
        assert any(re.match(r"team: column city is varchar\(30\)", fault) for fault in faults)


# What models cannot say, and in `verify`'s words: its SQL, and the SQL that takes it back
BY_HAND = {
    "sqlite": (
        "CREATE UNIQUE INDEX once ON users (lower(username))",
        "DROP INDEX once",
        "users: unique (an expression) is made by the migrations only",
    ),
    "postgresql": (
        "ALTER TABLE users ADD CONSTRAINT named CHECK (length(username) > 1)",
        "ALTER TABLE users DROP CONSTRAINT named",
        "users: CHECK ((length((username)::text) > 1)) is made by the migrations only",
    ),
    "mysql": (
        "CREATE INDEX short ON users (email(3))",
        "DROP INDEX short ON users",
        "users: index (email(3)) BTREE is made by the migrations only",
    ),
}


def test_what_models_cannot_say_is_accepted_as_long_as_it_is_there(service: Service) -> None:
    there, back, line = BY_HAND[service.database.engine]
    readme = (service.folder / "README.md").read_text(encoding="utf-8")
    service.run(*re.findall("`uv run (aerich migrate --empty [^`]*)`", readme)[0].split())
    (file,) = (service.folder / "migrations" / "models").glob("1_*_backfill.py")
    head, _, between, _, tail = file.read_text(encoding="utf-8").split('"""')
    file.write_text(f'{head}"""{there}"""{between}"""{back}"""{tail}', encoding="utf-8")
    found = service.run(*MIGRATE, "verify", status=1).stderr.splitlines()
    accepted = Path(found[-1].partition(" its line in ")[2])

    accepted.write_text(f"# Names are long.\n\n{line} \n", encoding="utf-8")
    proven = service.run(*MIGRATE, "verify").stdout
    file.unlink()
    lost = service.run(*MIGRATE, "verify", status=1).stderr.splitlines()

    assert found[:-1] == [line]
    assert proven.startswith("Proven")
    assert lost == [f"accepted.txt: make it again, or delete its line: {line}"]


# Tables that go with others, and views
TABLES_BY_HAND = {
    "sqlite": (
        (
            "CREATE VIRTUAL TABLE found USING fts5(body)",
            "CREATE VIEW names AS SELECT id FROM users",
        ),
        ("DROP VIEW names", "DROP TABLE found"),
    ),
    "postgresql": (
        (
            "CREATE TABLE events (id INT, day DATE) PARTITION BY RANGE (day)",
            "CREATE TABLE events_now PARTITION OF events DEFAULT",
            "CREATE VIEW names AS SELECT id FROM users",
        ),
        ("DROP VIEW names", "DROP TABLE events"),
    ),
    "mysql": (
        (
            "CREATE TABLE one (id INT PRIMARY KEY)",
            "CREATE TABLE two (one INT, FOREIGN KEY (one) REFERENCES one (id))",
            "CREATE VIEW names AS SELECT id FROM users",
        ),
        ("DROP VIEW names", "DROP TABLE two", "DROP TABLE one"),
    ),
}


def test_tables_without_models_are_accepted(service: Service) -> None:
    there, back = TABLES_BY_HAND[service.database.engine]
    write_migration(service, "1_2026_by_hand", *there, down=back)
    *found, _ = service.run(*MIGRATE, "verify", status=1).stderr.splitlines()

    accepted = service.folder / "migrations" / "accepted.txt"
    accepted.write_text("\n".join(found), encoding="utf-8")

    assert all(re.fullmatch("table .* is made by the migrations only", line) for line in found)
    assert service.run(*MIGRATE, "verify").stdout.startswith("Proven")


def test_models_may_need_what_a_migration_makes(make_changing: Callable[..., Changing]) -> None:
    changing = make_changing("postgresql")
    of_any_case = "class AnyCase(fields.TextField):\n    SQL_TYPE = 'CITEXT'\n\n\nclass Team("
    changing.change(("class Team(", of_any_case), after(MOTTO, "slogan = AnyCase(null=True)"))
    assert 'type "citext" does not exist' in changing.new(status=1).stderr
    file = changing.files()[-1]
    text = file.read_text(encoding="utf-8")
    extension = 'return """CREATE EXTENSION IF NOT EXISTS citext;'
    file.write_text(text.replace('return """', extension, 1), encoding="utf-8")

    assert changing.service.run(*MIGRATE, "verify").stdout.startswith("Proven")


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_made_up_rows_stand_in_no_checks_way(service: Service) -> None:
    add = "ALTER TABLE users ADD CONSTRAINT named CHECK (length(username) > 1)"
    back = ("ALTER TABLE users DROP CONSTRAINT named", "DROP TABLE notes")
    write_migration(service, "1_2026_check", "CREATE TABLE notes (id INT)", add, down=back)

    output = service.run(*MIGRATE, "verify", status=1).stderr

    assert "table notes is made by the migrations only" in output
    assert "failed" not in output


@pytest.mark.parametrize(
    ("column", "trigger", "lost"),
    [
        ("INT CHECK (age > 0)", "", "checks 1"),
        ("INT", "CREATE TRIGGER older AFTER UPDATE ON team BEGIN SELECT 1; END;", "trigger older"),
    ],
)
def test_rebuild_loses_nothing_silently(
    column: str, trigger: str, lost: str, make_changing: Callable[..., Changing]
) -> None:
    changing = make_changing("sqlite")
    changing.change(after(MOTTO, "age = fields.IntField(null=True)"))
    changing.new()
    file = changing.files()[-1]
    text = file.read_text(encoding="utf-8").replace('"age" INT;', f'"age" {column};{trigger}', 1)
    drop = "DROP TRIGGER older; ALTER" if trigger else "ALTER"
    head, _, tail = text.partition("async def downgrade")
    file.write_text(f"{head}async def downgrade{tail.replace('ALTER', drop, 1)}", encoding="utf-8")
    line = f"team: {lost} is made by the migrations only"
    accepted = changing.service.folder / "migrations" / "accepted.txt"
    accepted.write_text(line, encoding="utf-8")
    changing.service.run(*MIGRATE, "verify")

    changing.change((CITY, CITY.replace("30", "31")))

    assert f"make it again, or delete its line: {line}" in changing.new(status=1).stderr
