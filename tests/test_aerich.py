"""Every command of Aerich works as documented in a clean render."""

from .conftest import MakeService
from .support.databases import Database
from .support.services import TABLES, Service

COLUMNS = ["id", "username", "email", "hashed_password"]
FIELD = "    hashed_password = fields.CharField(max_length=255)\n"


def insert_user(database: Database) -> None:
    database.query(
        "INSERT INTO users (username, email, hashed_password) VALUES ('ada', 'ada@example.com', '-')"
    )


def test_everyday_loop(service: Service) -> None:
    database = service.database
    aerich = ("aerich", "-c", "aerich.ini")

    service.run(*aerich, "upgrade")
    assert database.tables() == TABLES
    assert database.columns("users")[:4] == COLUMNS
    assert "No changes detected" in service.run(*aerich, "migrate").stdout
    insert_user(database)

    service.edit(
        "src/database/models.py",
        FIELD,
        FIELD + "    nickname = fields.CharField(max_length=30, null=True)\n",
    )
    service.run(*aerich, "migrate", "--name", "nickname")
    (second,) = (service.folder / "migrations" / "models").glob("1_*_nickname.py")
    assert second.name in service.run(*aerich, "heads").stdout
    service.run(*aerich, "upgrade")
    assert "nickname" in database.columns("users")
    assert second.name in service.run(*aerich, "history").stdout
    assert "No available heads" in service.run(*aerich, "heads").stdout

    service.run(*aerich, "downgrade", "--yes")
    assert "nickname" not in database.columns("users")
    assert database.query("SELECT username FROM users") == [("ada",)]


def test_bare_aerich_reads_pyproject(service: Service) -> None:
    service.run("aerich", "upgrade")

    assert service.database.columns("users")[:4] == COLUMNS


def test_init_db_creates_the_same_schema(engine: str, make_service: MakeService) -> None:
    upgraded, initialised = make_service(engine, "upgraded"), make_service(engine, "initialised")

    upgraded.run("aerich", "upgrade")
    initialised.run("aerich", "init-db")

    assert initialised.database.tables() == upgraded.database.tables()
    for table in upgraded.database.tables():
        assert initialised.database.columns(table) == upgraded.database.columns(table)
    assert "No available heads" in initialised.run("aerich", "heads").stdout


def test_init_reports_an_initialized_project(service: Service) -> None:
    before = {p: p.read_bytes() for p in service.folder.glob("*.*") if p.is_file()}

    for config in ([], ["-c", "aerich.ini"]):
        process = service.run("aerich", *config, "init", "-t", "src.database.config.TORTOISE_ORM")
        assert "already inited" in process.stdout

    assert {p: p.read_bytes() for p in service.folder.glob("*.*") if p.is_file()} == before
