"""What is particular to MySQL and MariaDB: the lock's name, logins, and warnings."""

import asyncio
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest

from ..conftest import MakeService
from ..support.databases import Database, is_mariadb, new_user, offers_tls, session
from ..support.migrating import FIRST, MIGRATE, applied, write_migration
from ..support.services import Service

pytestmark = pytest.mark.server

# What releases before 0.6.2 called the lock
OLD_NAME = "CONCAT('migrate-', SHA1(LOWER(DATABASE())))"


@pytest.fixture
def service(make_service: MakeService) -> Service:
    return make_service("mysql")


@contextmanager
def named_database(service: Service, name: str) -> Iterator[Database]:
    """Create a database with a name, and drop it afterwards."""
    server = service.database
    server.query(f"CREATE DATABASE `{name}`")
    try:
        yield Database("mysql", server.url.rpartition("/")[0] + "/" + quote(name))
    finally:
        server.query(f"DROP DATABASE `{name}`")


@pytest.mark.parametrize("name", ["plain", "UPPER", "Straße-ΟΔΟΣ", "İstanbul", "x" * 50])
def test_lock_is_that_of_older_releases(service: Service, name: str) -> None:
    name = f"{name}_{secrets.token_hex(4)}"
    with named_database(service, name) as database:
        if is_mariadb(database):
            lock = OLD_NAME  # which MySQL 9.6 and later cannot compute
        else:
            ((lower,),) = database.query("SELECT LOWER(DATABASE())")
            lock = "'migrate-" + hashlib.sha1(lower.encode()).hexdigest() + "'"

        async def upgrade_beside_an_older_release() -> tuple[str, str]:
            async with session(database.url) as run:
                ((taken, holder),) = await run(f"SELECT GET_LOCK({lock}, 0), CONNECTION_ID()")
                assert taken == 1
                process = await asyncio.to_thread(
                    service.run,
                    *MIGRATE,
                    *("upgrade", "--timeout", "0"),
                    status=1,
                    DATABASE_URL=database.url,
                )
            return f"connection {holder} of the server", process.stderr

        expected, said = asyncio.run(upgrade_beside_an_older_release())

        assert expected in said
        assert applied(Service(service.folder, service.commands, database)) == []
        service.upgrade(database.url)
        assert applied(Service(service.folder, service.commands, database)) == [FIRST]


def test_commands_print_no_warning(service: Service) -> None:
    for command in (
        ["upgrade"],
        ["status"],
        ["verify"],
        ["upgrade", "--dry-run"],
        ["downgrade", "0", "--yes"],
    ):
        status = 1 if command[0] == "downgrade" else 0  # nothing is above the first migration
        process = service.run(*MIGRATE, *command, status=status)
        assert process.stderr == "" or status
        assert "Warning" not in process.stderr


def test_repeated_migration_prints_no_warning(service: Service) -> None:
    service.run(*MIGRATE, "upgrade")
    service.run(*MIGRATE, "stamp", FIRST, "--pending", "--yes")

    process = service.run(*MIGRATE, "upgrade")  # it creates tables IF NOT EXISTS

    assert process.stderr == ""
    assert process.stdout.endswith("Applied 1 migration\n")


@pytest.mark.parametrize(
    "password", ["pass wörd €", "пароль", "密码🔑", "%25:/@?#", "x" * 200, "я" * 60]
)
@pytest.mark.parametrize("mode", ["disabled", "required"])
def test_login_of_any_characters(service: Service, password: str, mode: str) -> None:
    if mode == "required" and not offers_tls(service.database):
        mode = "disabled"  # MariaDB before 11.4 has no certificate by default
    name = f"Данные-{secrets.token_hex(4)}"
    with (
        named_database(service, name) as database,
        new_user(database, password, "жанна") as url,
    ):
        service.upgrade(f"{url}?ssl-mode={mode}")
        assert applied(Service(service.folder, service.commands, database)) == [FIRST]


def test_long_password_needs_tls_in_mysql(service: Service) -> None:
    with new_user(service.database, "x" * 240) as url:
        if not is_mariadb(service.database):
            process = service.run(*MIGRATE, "upgrade", status=1, DATABASE_URL=url)
            assert "add ?ssl-mode=required to DATABASE_URL" in process.stderr
            assert process.stderr.count("\n") == 1
            url += "?ssl-mode=required"
        service.upgrade(url)
    assert applied(service) == [FIRST]


LARGE = {
    "row": ["name = fields.CharField(max_length=20000)"],
    "indexes": [f"n{number} = fields.IntField(db_index=True, null=True)" for number in range(64)],
    "comment": [f"name = fields.CharField(max_length=9, description={'x' * 1025!r})"],
}


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        ("row", "item.name: use a TextField or a smaller max_length: MySQL limits a row to 65535 "),
        ("indexes", "item: remove 1 of its indexes, unique=True or relations: MySQL limits "),
        ("comment", "item.name: set a description of at most 1024 characters"),
    ],
)
def test_limits_of_tables(service: Service, case: str, problem: str) -> None:
    write_models(service, item(*LARGE[case]))

    for command in (["check"], ["new", "item"], ["verify"]):
        process = service.run(*MIGRATE, *command, status=1)
        output = process.stdout + process.stderr
        assert output.startswith(problem), output
        assert len(output.splitlines()) == 1

    fixed = {"row": ["name = fields.TextField()"], "indexes": LARGE["indexes"][1:]}
    fixed["comment"] = [LARGE["comment"][0].replace("xx", "x", 1)]
    write_models(service, item(*fixed[case]))
    assert "Verified" in service.run(*MIGRATE, "new", "item").stdout


def test_limits_that_only_the_server_knows(service: Service) -> None:
    """MariaDB allows longer unique indexes than MySQL, so `new` does not refuse them."""
    meta = "class Meta:\n        indexes = (('name', 'n'),)"
    lines = ["name = fields.CharField(max_length={})", "n = fields.IntField()", meta]
    write_models(service, item(*lines).format(768))

    said = service.run(*MIGRATE, "new", "item", status=1).stderr

    assert "max key length is 3072 bytes" in said
    assert "Shorten max_length of the index's columns, to 768 characters in total" in said
    for file in (service.folder / "migrations" / "models").glob("1_*.py"):
        file.unlink()
    write_models(service, item(*lines).format(70))  # of another size: Python compiles it again
    assert "Verified" in service.run(*MIGRATE, "new", "item").stdout


def item(*lines: str) -> str:
    body = ["id = fields.IntField(primary_key=True)", *lines]
    return "\n\nclass Item(Model):\n" + "".join(f"    {line}\n" for line in body)


def write_models(service: Service, text: str) -> None:
    """Add models to those of the template."""
    path = service.folder / "src" / "database" / "models.py"
    kept = path.read_text(encoding="utf-8").partition("\n\nclass Item(")[0]
    path.write_text(kept.rstrip() + "\n" + text, encoding="utf-8")


def test_foreign_key_to_a_table_with_another_collation(service: Service) -> None:
    service.upgrade()
    key = "id CHAR(36) PRIMARY KEY"
    service.database.query(f"CREATE TABLE parent ({key}) COLLATE utf8mb4_unicode_ci")
    reference = "FOREIGN KEY (id) REFERENCES parent (id)"
    write_migration(
        service, "1_2026_kid", f"CREATE TABLE kid ({key}, {reference}) CHARACTER SET utf8mb4"
    )

    said = service.run(*MIGRATE, "upgrade", status=1).stderr
    assert "give them the same collation" in said

    service.database.query("ALTER TABLE parent CONVERT TO CHARACTER SET utf8mb4")
    assert "Applied 1 migration" in service.run(*MIGRATE, "upgrade").stdout
