"""`verify` finds what is wrong with the migrations that plain Aerich makes, engine by engine."""

import re
import signal
from collections.abc import Callable

import pytest

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
    ("json", "mysql"): "player.settings: existing rows get '', not its default",
    ("text", "sqlite"): FAILS,
    ("text", "postgresql"): FAILS,
    ("text", "mysql"): "player.about: existing rows get '', not its default",
    ("uuid", "sqlite"): FAILS,
    ("uuid", "postgresql"): FAILS,
    ("uuid", "mysql"): "player.token: existing rows get '', not its default",
    ("db_default", "sqlite"): FAILS,
    ("db_default", "postgresql"): FAILS,
    ("db_default", "mysql"): r"player: column level is int\(11\) not null by the migrations",
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


def test_trigger_is_not_lost_silently(make_changing: Callable[..., Changing]) -> None:
    changing = make_changing("sqlite")
    changing.change(after(MOTTO, "age = fields.IntField(null=True)"))
    changing.new()
    file = changing.files()[-1]
    trigger = "CREATE TRIGGER older AFTER UPDATE ON team BEGIN UPDATE team SET age = 1; END;"
    text = file.read_text(encoding="utf-8").replace("ALTER", f"{trigger}\n ALTER", 1)
    text = text.replace(
        'return """\n        ALTER TABLE "team" DROP',
        'return """DROP TRIGGER older; ALTER TABLE "team" DROP',
    )
    file.write_text(text, encoding="utf-8")
    changing.service.run(*MIGRATE, "verify")

    changing.change((CITY, CITY.replace("30", "31")))

    assert "team loses its trigger older" in changing.new(status=1).stderr
