"""`verify` finds what is wrong with the migrations that plain Aerich makes, engine by engine."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.migrating import wait_until, write_migration
from ..support.model_changes import CHANGES, CITY, MOTTO, NICK, NUMBER, SCORE, Change, after
from ..support.services import Service
from .support import MIGRATE, MODELS, Changing

AERICH = ("aerich", "migrate", "--offline", "--no-input", "--name", "aerich")

MORE = {
    "json": Change([after(NICK, "settings = fields.JSONField(default=dict)")]),
    "text": Change([after(NICK, "about = fields.TextField(default='nothing')")]),
    "uuid": Change([after(NICK, "token = fields.UUIDField(default=uuid.uuid4)")]),
    "db_default": Change([after(NICK, "level = fields.IntField(db_default=5)")]),
}

FAILS = r"aerich.py: upgrade\(\) failed in the scratch database"

# What is wrong with what Aerich makes of a change, in `verify`'s words
WRONG = {
    ("auto_now_add", "sqlite"): FAILS,
    ("auto_now_add", "postgresql"): FAILS,
    ("auto_now_add", "mysql"): FAILS,
    ("json", "sqlite"): FAILS,
    ("json", "postgresql"): FAILS,
    (
        "json",
        "mysql",
    ): "player.settings: existing rows get ('', which the model cannot read|'null')",
    ("text", "sqlite"): FAILS,
    ("text", "postgresql"): FAILS,
    ("text", "mysql"): "player.about: existing rows get '' instead of the default nothing",
    ("uuid", "sqlite"): FAILS,
    ("uuid", "postgresql"): FAILS,
    ("uuid", "mysql"): "player.token: existing rows get '', which the model cannot read",
    ("db_default", "sqlite"): FAILS,
    ("db_default", "postgresql"): FAILS,
    ("db_default", "mysql"): r"player: column level is int(\(11\))? not null by the migrations",
    (
        "many to many",
        "sqlite",
    ): r"locker_badge: unique \(locker_id, badge_id\) is created by the models",
    ("many to many", "postgresql"): r"unique \(locker_id, badge_id\) is created by the models only",
    (
        "many to many",
        "mysql",
    ): r"unique \(locker_id, badge_id\) BTREE is created by the models only",
    (
        "on_delete",
        "sqlite",
    ): r"player: foreign key \(team_id\) is references team \(id\) on delete c",
    ("on_delete", "postgresql"): r"player: FOREIGN KEY \(team_id\) is .* CASCADE by the migrations",
    ("on_delete", "mysql"): r"player: foreign key \(team_id\) is .* on delete CASCADE by the mig",
    (
        "wider key",
        "postgresql",
    ): "team: column id is .* auto-increment as integer by the migrations",
    ("foreign key", "sqlite"): FAILS,
    ("foreign key dropped", "sqlite"): FAILS,
    ("one to one", "sqlite"): FAILS,
    ("one to one dropped", "sqlite"): FAILS,
    ("unique column dropped", "sqlite"): FAILS,
    ("no longer unique", "sqlite"): r"team: unique \(name\) is created by the migrations only",
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
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_scratch_databases_are_dropped_after_an_interruption(
    changing: Changing, ending: signal.Signals
) -> None:
    changing.change((NICK, NICK.replace("20", "30")))
    changing.new()
    file = changing.files()[-1]
    wait = {"postgresql": "SELECT pg_sleep(60);", "mysql": "SELECT SLEEP(60);"}
    text = file.read_text(encoding="utf-8")
    text = text.replace("ALTER TABLE", f"{wait[changing.service.database.engine]} ALTER TABLE", 1)
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

    process.send_signal(ending)

    output = process.communicate(timeout=30)[0]
    assert process.returncode != 0
    assert "Traceback" not in output
    assert databases(changing) == [""]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_new_migration_stays_unverified_after_an_interruption(
    make_service: Callable[..., Service], tmp_path: Path, ending: signal.Signals
) -> None:
    service = make_service("sqlite")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (service.folder / "halt").touch()
    hold = "    while Path('halt').exists():\n        await asyncio.sleep(0.02)\n"
    body = f"    Path('reached').touch()\n{hold}"
    write_migration(service, "1_2026_hold", "SELECT 1", down=("SELECT 1",), body=body)
    models = service.folder / MODELS
    item = "\n\nclass Item(Model):\n    id = fields.IntField(primary_key=True)\n"
    models.write_text(models.read_text(encoding="utf-8") + item, encoding="utf-8")
    process = service.popen(*MIGRATE, "new", "items", TMPDIR=str(scratch))
    wait_until((service.folder / "reached").exists, "the migration runs")

    process.send_signal(ending)

    assert process.communicate(timeout=30)[0].count("Traceback") == 0
    assert process.returncode != 0
    assert ending == signal.SIGKILL or not [*scratch.iterdir()]
    (service.folder / "halt").unlink()
    (file,) = (service.folder / "migrations" / "models").glob("2_*_items.py")
    refused = service.run(*MIGRATE, "upgrade", status=1).stderr
    assert f"{file.name} is not verified" in refused
    assert "it was interrupted, so run `python -m src migrate verify`" in refused
    assert not service.database.tables() - {"aerich"}
    # as told
    told = f"Delete the line UNVERIFIED in {file.name}: it is verified now"
    assert told in service.run(*MIGRATE, "verify").stdout
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub("UNVERIFIED = .*\n", "", text), encoding="utf-8")
    service.run(*MIGRATE, "upgrade")
    assert "item" in service.database.tables()


def test_finds_what_hand_written_sql_leaves_out(changing: Changing) -> None:
    changing.change((CITY, CITY.replace("30", "31")), after(MOTTO, "age = fields.IntField()"))
    changing.new(status=1)
    file = changing.files()[-1]
    text = file.read_text(encoding="utf-8")
    empty = re.sub(r'(?s)(?<=return """).*?(?=""")', "SELECT 1;", text)
    file.write_text(re.sub(r"\n.*NotImplementedError.*", "", empty), encoding="utf-8")

    faults = changing.service.run(*MIGRATE, "verify", status=1).stderr.splitlines()

    assert any(re.match("team: column age .*created by the models only", fault) for fault in faults)
    if changing.service.database.engine == "mysql":
        assert any(re.match(r"team: column city is varchar\(30\)", fault) for fault in faults)


# What models cannot say, and in `verify`'s words: its SQL, and the SQL that takes it back
BY_HAND = {
    "sqlite": (
        "CREATE UNIQUE INDEX once ON users (lower(username))",
        "DROP INDEX once",
        "users: unique (an expression) is created by the migrations only",
    ),
    "postgresql": (
        "ALTER TABLE users ADD CONSTRAINT named CHECK (length(username) > 1)",
        "ALTER TABLE users DROP CONSTRAINT named",
        "users: CHECK ((length((username)::text) > 1)) is created by the migrations only",
    ),
    "mysql": (
        "CREATE INDEX short ON users (email(3))",
        "DROP INDEX short ON users",
        "users: index (email(3)) BTREE is created by the migrations only",
    ),
}


def test_what_models_cannot_express_is_accepted_while_it_exists(service: Service) -> None:
    there, back, line = BY_HAND[service.database.engine]
    service.run(*MIGRATE, "new", "--empty", "backfill")
    (file,) = (service.folder / "migrations" / "models").glob("1_*_backfill.py")
    lines = file.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if "NotImplementedError" not in line)
    head, _, between, _, tail = text.split('"""')
    file.write_text(f'{head}"""{there}"""{between}"""{back}"""{tail}', encoding="utf-8")
    found = service.run(*MIGRATE, "verify", status=1).stderr.splitlines()
    accepted = Path(found[-1].partition("copy its line to ")[2])

    accepted.write_text(f"# Names are long.\n\n{line} \n", encoding="utf-8")
    verified = service.run(*MIGRATE, "verify").stdout
    file.unlink()
    lost = service.run(*MIGRATE, "verify", status=1).stderr.splitlines()

    assert found[:-1] == [line]
    assert verified.startswith("Verified")
    assert lost == [f"accepted.txt: create it, or delete its line: {line}"]


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

    assert all(re.fullmatch("table .* is created by the migrations only", line) for line in found)
    assert service.run(*MIGRATE, "verify").stdout.startswith("Verified")


def test_models_may_need_what_a_migration_makes(make_changing: Callable[..., Changing]) -> None:
    changing = make_changing("postgresql")
    of_any_case = "class AnyCase(fields.TextField):\n    SQL_TYPE = 'CITEXT'\n\n\nclass Team("
    changing.change(("class Team(", of_any_case), after(MOTTO, "slogan = AnyCase(null=True)"))
    assert 'type "citext" does not exist' in changing.new(status=1).stderr
    file = changing.files()[-1]
    text = file.read_text(encoding="utf-8")
    extension = 'return """CREATE EXTENSION IF NOT EXISTS citext;'
    file.write_text(text.replace('return """', extension, 1), encoding="utf-8")

    assert changing.service.run(*MIGRATE, "verify").stdout.startswith("Verified")


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_simple_rows_meet_a_new_check(service: Service) -> None:
    add = "ALTER TABLE users ADD CONSTRAINT named CHECK (length(username) > 1)"
    back = ("ALTER TABLE users DROP CONSTRAINT named", "DROP TABLE notes")
    write_migration(service, "1_2026_check", "CREATE TABLE notes (id INT)", add, down=back)

    output = service.run(*MIGRATE, "verify", status=1).stderr

    assert "table notes is created by the migrations only" in output
    assert "failed" not in output


def test_default_that_the_model_lacks_is_accepted(changing: Changing) -> None:
    changing.change(after(SCORE, "bonus = fields.IntField(default=3)"))
    changing.new()
    path = changing.files()[-1]
    text = re.sub(r"\n[^\n]* DROP DEFAULT;", "", path.read_text(encoding="utf-8"))
    path.write_text(text.replace('"bonus" INT NOT NULL,', '"bonus" INT NOT NULL DEFAULT 3,', 1))

    difference, advice = changing.service.run(*MIGRATE, "verify", status=1).stderr.splitlines()

    assert re.fullmatch("player: column bonus is .* default .* by the models", difference)
    assert advice.startswith("To keep a DEFAULT that the model lacks, copy its line to ")
    accepted = Path(advice.partition("copy its line to ")[2])
    accepted.write_text(difference, encoding="utf-8")
    assert "Verified" in changing.service.run(*MIGRATE, "verify").stdout


@pytest.mark.parametrize(
    ("engine", "up", "down", "kept"),
    [
        (
            "mysql",
            "ALTER TABLE player ALTER nick SET DEFAULT 'x'",
            "ALTER TABLE player ALTER nick DROP DEFAULT",
            (r"(MODIFY COLUMN `nick` VARCHAR\(\d+\) NOT NULL)", r"\1 DEFAULT 'x'"),
        ),
        (
            "mysql",
            "ALTER TABLE player MODIFY nick VARCHAR(20) COLLATE utf8mb4_bin NOT NULL",
            "ALTER TABLE player MODIFY nick VARCHAR(20) NOT NULL",
            (r"(MODIFY COLUMN `nick` VARCHAR\(\d+\))", r"\1 COLLATE utf8mb4_bin"),
        ),
        (
            "postgresql",
            'ALTER TABLE player ALTER nick TYPE VARCHAR(20) COLLATE "C"',
            "ALTER TABLE player ALTER nick TYPE VARCHAR(20)",
            (r'(ALTER COLUMN "nick" TYPE VARCHAR\(\d+\))', r'\1 COLLATE "C"'),
        ),
    ],
)
def test_change_of_a_column_loses_no_attribute_silently(
    engine: str,
    up: str,
    down: str,
    kept: tuple[str, str],
    make_changing: Callable[..., Changing],
) -> None:
    changing = make_changing(engine)
    write_migration(changing.service, "2_2026_by_hand", up, down=(down,))
    path = changing.files()[-1]
    newest = changing.files()[-2].read_text(encoding="utf-8")
    text = path.read_text(encoding="utf-8").partition("MODELS_STATE")[0]
    path.write_text(text + newest[newest.index("MODELS_STATE") :], encoding="utf-8")
    difference, advice = changing.service.run(*MIGRATE, "verify", status=1).stderr.splitlines()
    accepted = Path(advice.partition("copy its line to ")[2])
    accepted.write_text(difference, encoding="utf-8")
    changing.service.run(*MIGRATE, "verify")

    changing.change((NICK, NICK.replace("20", "30")))

    assert "after this check, and delete the check" in changing.new(status=1).stderr
    path = changing.files()[-1]
    text = re.sub(r"UNVERIFIED = [^\n]*\n", "", path.read_text(encoding="utf-8"))
    text = re.sub(r"(DO|SELECT) [^\n]*its model lacks[^\n]*;\n *", "", text)
    path.write_text(re.sub(*kept, text), encoding="utf-8")
    accepted.write_text(difference.replace("(20)", "(30)"), encoding="utf-8")
    assert "are reversible" in changing.service.run(*MIGRATE, "verify").stdout


@pytest.mark.parametrize(
    ("column", "trigger", "lost", "advice"),
    [
        (
            "INT CHECK (age > 0)",
            "",
            "checks 1",
            "keep them in the CREATE TABLE after this check, and delete the check",
        ),
        (
            "INT",
            "CREATE TRIGGER older AFTER UPDATE ON team BEGIN SELECT 1; END;",
            "trigger older",
            "create the trigger older again at the end of upgrade() and downgrade()",
        ),
        (
            "INT",
            "CREATE TRIGGER tr AFTER UPDATE ON team BEGIN SELECT 1; END;",  # a part of other words
            "trigger tr",
            "create the trigger tr again at the end of upgrade() and downgrade()",
        ),
    ],
)
def test_rebuild_loses_nothing_silently(
    column: str, trigger: str, lost: str, advice: str, make_changing: Callable[..., Changing]
) -> None:
    changing = make_changing("sqlite")
    changing.change(after(MOTTO, "age = fields.IntField(null=True)"))
    changing.new()
    file = changing.files()[-1]
    text = file.read_text(encoding="utf-8").replace('"age" INT;', f'"age" {column};{trigger}', 1)
    drop = f"DROP {lost}; ALTER" if trigger else "ALTER"
    head, _, tail = text.partition("async def downgrade")
    file.write_text(f"{head}async def downgrade{tail.replace('ALTER', drop, 1)}", encoding="utf-8")
    line = f"team: {lost} is created by the migrations only"
    accepted = changing.service.folder / "migrations" / "accepted.txt"
    accepted.write_text(line, encoding="utf-8")
    changing.service.run(*MIGRATE, "verify")

    changing.change((CITY, CITY.replace("30", "31")))

    assert advice in changing.new(status=1).stderr
    if not trigger:
        file = changing.files()[-1]
        kept = file.read_text(encoding="utf-8").replace('"age" INT', f'"age" {column}')
        kept = re.sub(r"\n *SELECT [^\n]*guard: team has constraints[^\n]*", "", kept)
        file.write_text(re.sub(r"UNVERIFIED = [^\n]*\n", "", kept), encoding="utf-8")
        assert changing.service.run(*MIGRATE, "verify").stdout.startswith("Verified")


TRIGGERS = {
    "postgresql": (
        "CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql"
        + " AS $$ BEGIN NEW.motto = NEW.city; RETURN NEW; END $$",
        "CREATE TRIGGER touch BEFORE UPDATE ON team FOR EACH ROW EXECUTE FUNCTION touched()",
    ),
    "mysql": (
        "CREATE TRIGGER touch BEFORE UPDATE ON team FOR EACH ROW SET NEW.motto = NEW.city",
        "CREATE VIEW cities AS SELECT city FROM team",
    ),
}


@pytest.mark.parametrize("engine", TRIGGERS)
def test_triggers_and_views_that_use_an_old_name(changing: Changing) -> None:
    """Servers accept the change, and fail when the table or view is used."""
    engine = changing.service.database.engine
    file = changing.files()[-1]
    text = file.read_text(encoding="utf-8")
    end = text.index('"""', text.index('return """') + 12)
    created = ";\n        ".join(TRIGGERS[engine])
    file.write_text(f"{text[:end]}{created};{text[end:]}", encoding="utf-8")
    changing.change(after(NICK, "size = fields.IntField(null=True)"))
    assert "Verified" in changing.new().stdout
    changing.change((CITY, CITY.replace("city", "town")))

    output = changing.new("--rename", "team.city=town", status=1).stderr

    assert "UPDATE team, which has triggers, fails after upgrade(): " in output
    assert ("view cities fails after upgrade(): " in output) == (engine == "mysql")
    assert "fails after downgrade()" not in output


KINDS = """\
class Color(Enum):
    red = "red"
    blue = "blue"


class Size(IntEnum):
    small = 1
    large = 2


class Sample(Model):
    id = fields.UUIDField(primary_key=True)
    key = fields.BigIntField(unique=True)
    color = fields.CharEnumField(Color, default=Color.blue)
    size = fields.IntEnumField(Size)
    text = fields.TextField()
    flag = fields.BooleanField()
    ratio = fields.FloatField(null=True)
    price = fields.DecimalField(max_digits=30, decimal_places=10)
    took = fields.TimeDeltaField()
    at = fields.DatetimeField()
    on = fields.DateField(null=True)
    daily = fields.TimeField(null=True)
    document = fields.JSONField()
    content = fields.BinaryField()
    before = fields.OneToOneField("models.Sample", null=True, related_name="next")
    alike = fields.ManyToManyField("models.Sample", through="sample_sample")

    class Meta:
        unique_together = (("size", "key"),)


class Team("""
KINDS_OF_FIELDS = (
    ("from enum import Enum", "from enum import Enum, IntEnum"),
    ("class Team(", KINDS),
)


def rewrite(
    changing: Changing, up: str | None = None, down: str | None = None, body: str = ""
) -> str:
    """Replace the SQL in the newest migration, and return its name.

    Args:
        changing: the service.
        up: the SQL of upgrade(), if it is replaced.
        down: the SQL of downgrade(), if it is replaced.
        body: what both functions do first.
    """
    file = changing.files()[-1]
    head, there, between, back, tail = file.read_text(encoding="utf-8").split('"""')
    there, back = (there if up is None else up), (back if down is None else down)
    text = f'{head}"""{there}"""{between}"""{back}"""{tail}'
    text = re.sub(r"\n.*NotImplementedError.*", "", text)
    file.write_text(re.sub("(?=    return )", body, text), encoding="utf-8")
    return file.name


def rewrite_start(changing: Changing, sql: str) -> None:
    """Let the newest migration's upgrade() begin with SQL."""
    file = changing.files()[-1]
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('return """', f'return """{sql};', 1), encoding="utf-8")


def verify(changing: Changing, *, status: int = 0) -> str:
    """Verify the migrations after the first two, and return the output."""
    process = changing.service.run(*MIGRATE, "verify", "--since", "1", status=status)
    assert "Traceback" not in process.stderr
    return process.stderr + process.stdout


REVERSIBLE = "Verified: migrations match the models and are reversible\n"


def test_rows_of_every_kind_of_field(changing: Changing) -> None:
    changing.change(*KINDS_OF_FIELDS)
    changing.new()
    changing.change(after("at = fields.DatetimeField()", "extra = fields.IntField(null=True)"))
    changing.new()

    assert verify(changing) == REVERSIBLE


ARRAYS = "from tortoise.contrib.postgres.fields import ArrayField"


def test_arrays_are_filled(make_changing: Callable[..., Changing]) -> None:
    changing = make_changing("postgresql")
    arrays = "numbers = ArrayField('int')\n    words = ArrayField('text', null=True)"
    changing.change(
        ("from tortoise import fields", f"from tortoise import fields\n{ARRAYS}"),
        after(
            MOTTO, f"mascot = fields.TextField(null=True)\n\n\nclass Sample(Model):\n    {arrays}"
        ),
    )
    changing.new()
    changing.change(("(max_length=20)\n    team", "(max_length=30)\n    team"))
    changing.new()

    assert verify(changing) == REVERSIBLE


@pytest.mark.in_turn
def test_table_without_sample_values_is_not_verified(changing: Changing) -> None:
    place = "class Place(fields.Field[str], str):\n    SQL_TYPE = {!r}\n\n\nclass Site(Model):\n"
    type_ = {"sqlite": "GEOMETRY", "postgresql": "POINT", "mysql": "POINT"}
    place = place.format(type_[changing.service.database.engine])
    place += "    place = Place()\n\n\nclass Team("
    changing.change(("class Team(", place))
    changing.new()

    output = verify(changing)

    assert "site could not be filled with rows: there are no sample values for place" in output
    assert "Verified: migrations match the models; not verified with rows: site\n" in output
    assert "reversible" not in output


def test_finds_values_that_are_cut(changing: Changing) -> None:
    changing.change((CITY, CITY.replace("30", "31")))
    changing.new()
    rewrite_start(changing, "UPDATE team SET city = substr(city, 1, 2)")

    output = verify(changing, status=1)

    assert re.search(r"upgrade\(\) changes team.city: '.*' becomes '.{1,2}'", output)


def test_finds_rows_that_are_lost(changing: Changing) -> None:
    changing.change((NUMBER, NUMBER.replace("SmallInt", "Int")))
    changing.new()
    if changing.service.database.engine == "sqlite":
        file = changing.files()[-1]
        text = file.read_text(encoding="utf-8")
        text = text.replace('FROM "locker";', 'FROM "locker" WHERE number > 1;', 1)
        file.write_text(text, encoding="utf-8")
    else:
        rewrite_start(changing, "DELETE FROM player WHERE id > 1")  # lockers refer to them

    assert "upgrade() changes locker: it had" in verify(changing, status=1)


@pytest.mark.parametrize("wrong", ["NULL", "(SELECT MIN(id) FROM team)"])
def test_finds_links_that_are_lost(changing: Changing, wrong: str) -> None:
    field = 'fan = fields.ForeignKeyField("models.Team", null=True, to_field="name")'
    changing.change(after(NUMBER, field))
    changing.new()
    changing.change((', to_field="name")', ")"))
    assert REVERSIBLE in changing.new().stdout
    file = changing.files()[-1]
    text = file.read_text(encoding="utf-8")
    update = re.search(r"""SET ["`]new_fan_id["`] = (.*?);""", text, re.DOTALL)
    assert update
    file.write_text(text.replace(update[1], wrong, 1), encoding="utf-8")

    output = verify(changing, status=1)

    assert re.search(r"upgrade\(\) changes locker.fan_id: \d+ becomes (None|1)\n", output)


@pytest.mark.parametrize(
    ("field", "wrong", "right"),
    [
        ("age = fields.IntField(default=41)", "41", "0"),
        ("size = fields.CharEnumField(Level, default=Level.high)", "'high'", "'Level.high'"),
        ("about = fields.CharField(max_length=20, default='nothing')", "'nothing'", "''"),
        ("extra = fields.JSONField(default={'a': [1]})", "[1]", "[2]"),
    ],
)
def test_finds_wrong_values_in_new_columns(
    changing: Changing, field: str, wrong: str, right: str
) -> None:
    changing.change(after(NICK, field))
    changing.new()
    file = changing.files()[-1]
    up, down, tail = file.read_text(encoding="utf-8").partition("async def downgrade")
    if wrong == "'high'":
        up = up.replace("VARCHAR(4)", "VARCHAR(40)")
    assert wrong in up
    file.write_text(up.replace(wrong, right) + down + tail, encoding="utf-8")

    output = verify(changing, status=1)

    assert f"player.{field.split()[0]}: existing rows get " in output


def test_unique_column_with_a_constant_default_fails(changing: Changing) -> None:
    changing.change(after(NICK, "code = fields.CharField(max_length=5, unique=True, default='x')"))
    changing.new(status=1)
    rewrite(changing)
    file = changing.files()[-1]
    filled = file.read_text(encoding="utf-8").replace("<player.code>", "'x'")
    file.write_text(filled, encoding="utf-8")

    assert "upgrade() failed in the scratch database, at statement" in verify(changing, status=1)


def test_dropped_column_is_not_reversible_where_the_downgrade_fails(changing: Changing) -> None:
    changing.change((f"    {NICK}\n", ""), (', "nick"', ', "score"'))
    changing.service.run(*MIGRATE, "new", "change", "--drop", "player.nick", status=None)
    add = {
        "sqlite": "ALTER TABLE player ADD COLUMN nick VARCHAR(20) NOT NULL",
        "postgresql": "ALTER TABLE player ADD COLUMN nick VARCHAR(20) NOT NULL",
        "mysql": "ALTER TABLE player ADD COLUMN nick VARCHAR(20) NOT NULL UNIQUE",
    }[changing.service.database.engine]
    rewrite(changing, down=add)

    output = verify(changing, status=1)

    assert "downgrade() failed in the scratch database, at statement 1 of 1" in output


ADVICE = re.compile("by hand|mark|stamp|again|kept", re.IGNORECASE)


@pytest.mark.in_turn
def test_team_writes_rows_that_made_up_rows_cannot_replace(changing: Changing) -> None:
    changing.change((CITY, CITY.replace("30", "31")))
    changing.new()
    rewrite_start(changing, "UPDATE player SET score = 100 / score")
    failed = verify(changing, status=1)
    path = Path(failed.partition("INSERT statements for such rows into ")[2].strip()[:-1])
    path.parent.mkdir()
    path.write_text(
        "-- Scores are positive.\n"
        "INSERT INTO team (name) VALUES ('reds');\n"
        "INSERT INTO player (nick, score, rating, team_id)"
        " SELECT 'ada', 4, 1.5, id FROM team WHERE name = 'reds';\n",
        encoding="utf-8",
    )

    output = verify(changing)
    path.with_name("9_gone.sql").write_text("SELECT 1", encoding="utf-8")
    stale = verify(changing, status=1)

    assert "upgrade() failed in the scratch database" in failed
    assert not ADVICE.search(failed)
    assert "Verified: migrations match the models" in output
    assert " changes player.score: 4 becomes 25" in output
    assert "9_gone.sql has no migration 9_gone.py: rename or delete it" in stale


@pytest.mark.in_turn
def test_failures_in_the_scratch_database_give_no_advice_about_the_real_one(
    changing: Changing,
) -> None:
    changing.change((CITY, CITY.replace("30", "31")))
    changing.new()
    name = rewrite(changing, up="UPDATE team SET city = 'x'; ALTERED TABLE team")

    output = verify(changing, status=1)

    assert f"{name}: upgrade() failed in the scratch database, at statement 2 of 2:" in output
    assert "ALTERED TABLE team" in output
    assert not ADVICE.search(output)


@pytest.mark.in_turn
def test_failures_in_python_give_no_advice_about_the_real_database(changing: Changing) -> None:
    changing.change((CITY, CITY.replace("30", "31")))
    changing.new()
    create = "    await db.execute_query('CREATE TABLE half (id INT)')\n"  # MySQL commits there
    name = rewrite(changing, body=f"{create}    1 / 0\n")

    output = verify(changing, status=1)

    assert f"In the scratch database: {name}: upgrade() failed: ZeroDivisionError" in output
    assert not ADVICE.search(output)


@pytest.mark.in_turn
def test_functions_run_once_for_each_apply_and_revert(changing: Changing) -> None:
    changing.change((CITY, CITY.replace("30", "31")))
    changing.new()
    rewrite(changing, body="    open('runs', 'a').write('x')\n")

    verify(changing)

    assert (changing.service.folder / "runs").read_text() == "xxx"  # up, down, up


@pytest.mark.in_turn
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("    raise NotImplementedError('the old names are gone')\n", "the old names are gone"),
        ("", "its downgrade() is empty"),
    ],
)
def test_irreversible_migrations_are_noted(changing: Changing, body: str, why: str) -> None:
    changing.change((CITY, CITY.replace("30", "31")))
    changing.new()
    name = rewrite(changing, down="\n        -- nothing\n")
    file = changing.files()[-1]
    head, _, tail = file.read_text(encoding="utf-8").rpartition("    return ")
    file.write_text(f"{head}{body}    return {tail}", encoding="utf-8")

    output = verify(changing)

    assert f"{name} cannot be reverted: {why}\n" in output
    assert f"Verified: migrations match the models; {name} cannot be reverted\n" in output


@pytest.mark.in_turn
def test_changed_values_are_noted_where_they_are_wanted(changing: Changing) -> None:
    changing.change((CITY, CITY.replace("30", "31")))
    changing.new()
    rewrite_start(changing, "UPDATE player SET nick = upper(nick)")

    output = verify(changing)

    assert re.search("2_.* changes player.nick: 'a' becomes 'A'", output)
    assert "reverting does not restore the rows of player\n" in output


@pytest.mark.in_turn
def test_python_migrations_are_noted(changing: Changing) -> None:
    changing.change((CITY, CITY.replace("30", "31")))
    changing.new()
    body = '    await db.execute_query("UPDATE locker SET number = 3")\n'
    name = rewrite(changing, body=body)

    output = verify(changing)

    assert f"{name} runs Python" in output
    assert f"{name} changes locker.number: 1 becomes 3" in output


def test_renamed_columns_and_tables_keep_their_values(changing: Changing) -> None:
    changing.change((NICK, NICK.replace("nick", "handle")), ('"team", "nick"', '"team", "handle"'))
    changing.new("--rename", "player.nick=handle")
    right = verify(changing)
    file = changing.files()[-1]
    text = file.read_text(encoding="utf-8")
    quote = "`" if changing.service.database.engine == "mysql" else '"'
    rename = f"RENAME COLUMN {quote}nick{quote} TO {quote}handle{quote};"
    assert text.count(rename) == 1
    cut = f"{rename} UPDATE player SET handle = substr(handle, 1, 1) WHERE score = 0;"
    file.write_text(text.replace(rename, cut), encoding="utf-8")

    assert right == REVERSIBLE
    assert "changes player.nick: '" in verify(changing, status=1)


def test_enum_takes_the_name_of_another_column(make_changing: Callable[..., Changing]) -> None:
    changing = make_changing("sqlite")
    enum = "class Level(Enum):\n    low = 'low'\n    high = 'high'\n\n\nclass Team("
    changing.change(
        ("class Team(", f"from enum import Enum\n\n\n{enum}"),
        after(NICK, "about = fields.JSONField(default=dict)"),
    )
    changing.new()
    text = changing.service.folder / MODELS
    source = text.read_text(encoding="utf-8")
    source = source.replace("about = ", "document = ").replace(
        NICK, f"{NICK}\n    about = fields.CharEnumField(Level, default=Level.low)"
    )
    text.write_text(source, encoding="utf-8")
    changing.new("--rename", "player.about=document")

    assert "Verified" in verify(changing)


@pytest.mark.in_turn
def test_missing_columns_are_not_for_accepted_txt(changing: Changing) -> None:
    changing.change(after(MOTTO, "mascot = fields.CharField(max_length=20, null=True)"))
    changing.new()
    rewrite(changing, up="SELECT 1", down="SELECT 1")

    output = verify(changing, status=1)

    assert "team: column mascot " in output
    assert "accepted.txt" not in output


def test_lines_accepted_by_older_releases_stay_accepted(service: Service) -> None:
    there, back, line = BY_HAND[service.database.engine]
    write_migration(service, "1_2026_by_hand", there, down=(back,))
    accepted = service.folder / "migrations" / "accepted.txt"
    accepted.write_text(line.replace("is created by", "is made by"), encoding="utf-8")

    assert service.run(*MIGRATE, "verify").stdout.startswith("Verified")


# What only the migrations create: SQL up and down, and what `verify` finds
NEIGHBOURS = {
    "sqlite": (
        (
            "ALTER TABLE users ADD COLUMN name_length INT GENERATED ALWAYS AS (length(username));"
            "CREATE INDEX recent ON users (email) WHERE id > 5;"
            "CREATE TABLE pets (owner INT REFERENCES users (id) ON UPDATE CASCADE)"
        ),
        "DROP INDEX recent; ALTER TABLE users DROP COLUMN name_length; DROP TABLE pets",
        (
            "users: column name_length INT generated is created by the migrations only",
            "users: index (email) WHERE id > 5 is created by the migrations only",
            "table pets is created by the migrations only",
        ),
    ),
    "postgresql": (
        (
            "ALTER TABLE users ADD COLUMN length INT GENERATED ALWAYS AS (length(username)) STORED;"
            'ALTER TABLE users ALTER COLUMN email TYPE VARCHAR(100) COLLATE "C";'
            "CREATE INDEX recent ON users (id DESC)"
        ),
        (
            "DROP INDEX recent; ALTER TABLE users DROP COLUMN length;"
            "ALTER TABLE users ALTER COLUMN email TYPE VARCHAR(100) COLLATE pg_catalog.default"
        ),
        (
            "users: column length integer generated as length((username)::text)",
            "users: column email is character varying(100) collate C not null by the migrations",
            "users: index (id DESC) is created by the migrations only",
        ),
    ),
    "mysql": (
        (
            "ALTER TABLE users ADD COLUMN name_length INT AS (char_length(username)) VIRTUAL;"
            "ALTER TABLE users MODIFY hashed_password VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            " NOT NULL;"
            "ALTER TABLE users ADD CONSTRAINT named CHECK (char_length(username) > 1)"
        ),
        (
            "ALTER TABLE users DROP CONSTRAINT named; ALTER TABLE users DROP COLUMN name_length;"
            "ALTER TABLE users MODIFY hashed_password VARCHAR(255) NOT NULL"
        ),
        (
            "users: column name_length int",
            "users: column hashed_password is varchar(255) not null collate utf8mb4_bin by the migrations",
            "users: CHECK (char_length(`username`) > 1) is created by the migrations only",
        ),
    ),
}


def test_role_with_a_schema_that_only_its_database_has(
    make_changing: Callable[..., Changing],
) -> None:
    service = make_changing("postgresql").service
    role = f"reader_{service.database.url.rpartition('_')[2]}"
    query = service.database.query
    query(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'reads'")
    try:
        query(f"ALTER ROLE {role} SET search_path = of_the_team")
        url = re.sub("//[^@]*@", f"//{role}:reads@", service.database.url)
        output = service.run(*MIGRATE, "verify", DATABASE_URL=url).stdout
    finally:
        query(f"DROP ROLE {role}")

    assert output == REVERSIBLE


def test_finds_what_only_the_migrations_create(service: Service) -> None:
    up, down, expected = NEIGHBOURS[service.database.engine]
    write_migration(service, "1_2026_by_hand", up, down=(down,))

    found = service.run(*MIGRATE, "verify", status=1).stderr
    found = re.sub(r"CHECK \(\((.*)\)\) is", r"CHECK (\1) is", found)  # as MySQL writes it

    assert [line for line in expected if line not in found] == [], found
    assert "reverted" not in found
    assert "accepted.txt" in found


def test_finds_what_a_downgrade_leaves_behind(service: Service) -> None:
    up, _, _ = NEIGHBOURS[service.database.engine]
    write_migration(service, "1_2026_by_hand", up, down=("SELECT 1",))

    found = service.run(*MIGRATE, "verify", status=1).stderr

    assert re.search("1_2026_by_hand.py: upgrade\\(\\) failed in the scratch database", found)


# What a migration creates, and the notes if its downgrade drops nothing
OBJECTS = {
    "sqlite": (
        ("CREATE VIEW names AS SELECT username FROM users",),
        "DROP VIEW names",
        ["view names"],
    ),
    "postgresql": (
        (
            "CREATE VIEW names AS SELECT username FROM users",
            "CREATE TYPE color AS ENUM ('red', 'blue')",
            "CREATE FUNCTION one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
            "CREATE TRIGGER first BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION one()",
        ),
        "DROP TRIGGER first ON users; DROP FUNCTION one(); DROP TYPE color; DROP VIEW names",
        [
            "view names",
            "enum type color",
            "function one",
            "trigger first of users",
        ],
    ),
    "mysql": (
        (
            "CREATE VIEW names AS SELECT username FROM users",
            "CREATE TRIGGER first BEFORE INSERT ON users FOR EACH ROW SET NEW.email = NEW.email",
        ),
        "DROP TRIGGER first; DROP VIEW names",
        ["view names", "trigger first of users"],
    ),
}


def test_notes_views_and_others_that_a_revert_does_not_restore(service: Service) -> None:
    up, down, notes = OBJECTS[service.database.engine]
    kept = [re.sub("^CREATE (?=VIEW|FUNCTION)", "CREATE OR REPLACE ", s) for s in up]
    if service.database.engine == "sqlite":
        kept = [s.replace("CREATE OR REPLACE VIEW", "CREATE VIEW IF NOT EXISTS") for s in kept]
    drops = [f"DROP TYPE IF EXISTS color; {s}" if "TYPE" in s else s for s in kept]
    again = [s.replace("CREATE TRIGGER", "CREATE OR REPLACE TRIGGER") for s in drops]
    write_migration(service, "1_2026_by_hand", *again, down=("SELECT 1",))

    process = service.run(*MIGRATE, "verify")

    assert [note for note in notes if note not in process.stderr] == [], process.stderr
    assert "reverting 1_2026_by_hand.py does not restore " in process.stdout

    write_migration(service, "1_2026_by_hand", *up, down=(down,))
    process = service.run(*MIGRATE, "verify")
    assert process.stderr == ""
    assert process.stdout == "Verified: migrations match the models and are reversible\n"


def test_renames_change_no_view_on_sqlite(make_changing: Callable[..., Changing]) -> None:
    """SQLite adds quotes to the names in the view, which the revert keeps."""
    changing = make_changing("sqlite")
    view = "CREATE VIEW cities AS SELECT city FROM team"
    first = changing.files()[-1]
    text = first.read_text(encoding="utf-8")
    first.write_text(re.sub(r';"""', f';\n        {view};"""', text, count=1), encoding="utf-8")
    changing.change((CITY, CITY.replace("city", "town")))

    changing.new("--rename", "team.city=town")

    assert verify(changing) == "Verified: migrations match the models and are reversible\n"


def test_defaults_in_the_form_of_tortoise(make_changing: Callable[..., Changing]) -> None:
    """The migrations that Aerich wrote have them."""
    changing = make_changing("postgresql")
    changing.change(after(SCORE, "share = fields.FloatField(db_default=1.5)"))
    changing.new()
    path = changing.files()[-1]
    text = path.read_text(encoding="utf-8")
    assert "DEFAULT '1.5'" in text
    path.write_text(text.replace("DEFAULT '1.5'", "DEFAULT 1.5"), encoding="utf-8")
    assert "Verified" in changing.service.run(*MIGRATE, "verify").stdout

    path.write_text(text.replace("DEFAULT '1.5'", "DEFAULT 2.5"), encoding="utf-8")
    assert "share" in changing.service.run(*MIGRATE, "verify", status=1).stderr


def test_comments_are_no_difference_on_sqlite(make_changing: Callable[..., Changing]) -> None:
    changing = make_changing("sqlite")
    changing.change((CITY, f"{CITY[:-1]}, description='Where it plays')"))

    assert verify(changing) == "Verified: migrations match the models\n"


@pytest.mark.in_turn
def test_rows_that_migrations_insert_stay(changing: Changing) -> None:
    for field, insert, remove in (
        (
            "coach",
            "INSERT INTO team (id, name) VALUES (77, 'the first')",
            "DELETE FROM player WHERE team_id = 77; DELETE FROM team WHERE id = 77;",
        ),
        (
            "captain",
            "INSERT INTO player (nick, score, rating, team_id) VALUES ('x', 1, 1, 77)",
            "DELETE FROM player WHERE nick = 'x';",
        ),
    ):
        changing.change(after(MOTTO, f"{field} = fields.IntField(null=True)"))
        changing.new()
        rewrite_start(changing, insert)
        file = changing.files()[-1]
        head, _, tail = file.read_text(encoding="utf-8").rpartition('return """')
        file.write_text(f'{head}return """{remove}{tail}', encoding="utf-8")

    assert "Verified: migrations match the models" in verify(changing)
