"""Services with old versions of Aerich take the template over, as docs/adopting.md says."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tools.releases import NEXT
from tools.render import REPOSITORY, git

from ..conftest import MakeService
from ..support import databases
from ..support.migrating import applied
from ..support.services import install
from .edits import replace
from .folders import commit, conflicts

# Everything below is as those versions wrote it, from these models.
MODELS = """\
from tortoise import fields
from tortoise.models import Model


class User(Model):
    id = fields.BigIntField(pk=True)
    username = fields.CharField(max_length=50, unique=True)
    email = fields.CharField(max_length=100, unique=True)
    hashed_password = fields.CharField(max_length=255, default="")

    class Meta:
        table = "users"
"""
CONFIG = """\
TORTOISE_ORM = {
    "connections": {"default": "sqlite://db.sqlite3"},
    "apps": {
        "models": {
            "models": ["src.database.models", "aerich.models"],
            "default_connection": "default",
        }
    },
}
"""
INI = """\
[aerich]
tortoise_orm = src.database.config.TORTOISE_ORM
location = ./migrations
src_folder = ./.

"""
TOML = """\
[tool.aerich]
tortoise_orm = "src.database.config.TORTOISE_ORM"
location = "./migrations"
src_folder = "./."
"""
FIRST = """\
CREATE TABLE IF NOT EXISTS "users" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "username" VARCHAR(50) NOT NULL UNIQUE,
    "email" VARCHAR(100) NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS "aerich" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "version" VARCHAR(255) NOT NULL,
    "app" VARCHAR(100) NOT NULL,
    "content" JSON NOT NULL
);"""
POSTGRESQL_FIRST = """\
CREATE TABLE IF NOT EXISTS "users" (
    "id" BIGSERIAL NOT NULL PRIMARY KEY,
    "username" VARCHAR(50) NOT NULL UNIQUE,
    "email" VARCHAR(100) NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS "aerich" (
    "id" SERIAL NOT NULL PRIMARY KEY,
    "version" VARCHAR(255) NOT NULL,
    "app" VARCHAR(100) NOT NULL,
    "content" JSONB NOT NULL
);"""
MYSQL_FIRST = """\
CREATE TABLE IF NOT EXISTS `users` (
    `id` BIGINT NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `username` VARCHAR(50) NOT NULL UNIQUE,
    `email` VARCHAR(100) NOT NULL UNIQUE
) CHARACTER SET utf8mb4;
CREATE TABLE IF NOT EXISTS `aerich` (
    `id` INT NOT NULL PRIMARY KEY AUTO_INCREMENT,
    `version` VARCHAR(255) NOT NULL,
    `app` VARCHAR(100) NOT NULL,
    `content` JSON NOT NULL
) CHARACTER SET utf8mb4;"""
SECOND = """ALTER TABLE "users" ADD "hashed_password" VARCHAR(255) NOT NULL  DEFAULT '';"""
LATER = SECOND.replace("  ", " ")
BACK = """ALTER TABLE "users" DROP COLUMN "hashed_password";"""
SQL = ("-- upgrade --\n{up}\n", "-- upgrade --\n{up}\n-- downgrade --\n{down}\n")
PY = '''\
from tortoise import BaseDBAsyncClient


async def upgrade(db: BaseDBAsyncClient) -> str:
    return """
        {up}"""


async def downgrade(db: BaseDBAsyncClient) -> str:
    return """
        {down}"""
'''


class Age(NamedTuple):
    """A version of Aerich.

    Attributes:
        configuration: the name and the text of the file that configures it.
        suffix: that of its migrations.
        first: its first migration's SQL.
        texts: the forms of a first and of a later migration.
        second: its second migration's SQL.
        back: what takes that back.
        engine: the database's.
    """

    configuration: tuple[str, str]
    suffix: str
    first: str
    texts: tuple[str, str]
    second: str = SECOND
    back: str = BACK
    engine: str = "sqlite"


AGES = {
    "0.5.8": Age(
        ("aerich.ini", INI),
        "sql",
        FIRST.replace("VARCHAR(100) NOT NULL,", "VARCHAR(20) NOT NULL,"),
        SQL,
    ),
    "0.6.3": Age(("pyproject.toml", TOML), "sql", FIRST, SQL),
    "0.7.2": Age(("pyproject.toml", TOML), "py", FIRST, (PY, PY)),
    "0.8.2": Age(("pyproject.toml", TOML), "py", FIRST, (PY, PY), LATER),
    "0.8.2 on PostgreSQL": Age(
        ("pyproject.toml", TOML), "py", POSTGRESQL_FIRST, (PY, PY), LATER, engine="postgresql"
    ),
    "0.8.2 on MySQL": Age(
        ("pyproject.toml", TOML),
        "py",
        MYSQL_FIRST,
        (PY, PY),
        LATER.replace('"', "`"),
        BACK.replace('"', "`"),
        "mysql",
    ),
}


def commands() -> list[tuple[str, str]]:
    """List the commands of the guide: `console` or `sql`, and a line."""
    text = (REPOSITORY / "docs" / "adopting.md").read_text(encoding="utf-8")
    return [
        (kind, line.removeprefix("$ "))
        for kind, block in re.findall(
            r"^```(console|sql)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE
        )
        for line in block.splitlines()
    ]


def write(folder: Path, path: str, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("version", AGES)
def test_guide_keeps_the_rows(
    version: str, repository: Path, tmp_path: Path, make_service: MakeService
) -> None:
    age = AGES[version]
    databases.require(age.engine)
    service = make_service(age.engine, "installed")
    service.folder = folder = tmp_path / "service"
    old = [f"0_20210101000000_init.{age.suffix}", f"1_20210201000000_password.{age.suffix}"]
    sql = [(age.first, ""), (age.second, age.back)]
    for name, form, (up, down) in zip(old, age.texts, sql, strict=True):
        write(folder, f"migrations/models/{name}", form.format(up=up, down=down))
        for statement in filter(str.strip, up.split(";")):
            service.database.query(statement)
        content = json.dumps({"models.User": {"name": "models.User", "app": "models"}})
        service.database.query(
            f"INSERT INTO aerich (version, app, content) VALUES ('{name}', 'models', '{content}')"
        )
    service.database.query("INSERT INTO users (username, email) VALUES ('ada', 'ada@b.de')")
    write(folder, "src/__init__.py", "")
    write(folder, "src/database/__init__.py", "")
    write(folder, "src/database/models.py", MODELS)
    write(
        folder,
        "src/database/config.py",
        CONFIG.replace("sqlite://db.sqlite3", service.database.url),
    )
    write(folder, "src/orders.py", "ORDERS = 1\n")
    write(folder, "README.md", "# Ours\n")
    write(folder, *age.configuration)
    git(folder, "init", "--quiet")
    commit(folder)

    said = {}
    for kind, line in commands():
        if kind == "sql":
            service.database.query(line)
        elif line.startswith("uvx copier"):
            line = line.replace("<repository>", str(repository))
            line = line.replace("database=sqlite", f"database={age.engine}")
            copier = [sys.executable, "-m", *shlex.split(line)[1:], "--quiet", "--vcs-ref", NEXT]
            subprocess.run(copier, cwd=folder, stdin=subprocess.DEVNULL, check=True)
        elif line == "uv sync":
            service.commands = install(folder, f"{age.engine}-adopted")
        else:
            command = ["/bin/sh", "-c", line.replace("uv run ", "")]
            said[line] = subprocess.run(
                command,
                cwd=folder,
                env=service.variables(),
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        if line.startswith("git restore"):
            replace(folder / "src/database/models.py", r"\bpk=", "primary_key=")

    assert service.database.query("SELECT username, email FROM users") == [("ada", "ada@b.de")]
    (path,) = (folder / "migrations" / "models").glob("*.*")
    assert applied(service) == [path.name]
    status = next(text for line, text in said.items() if line.endswith("status"))
    assert status == f"applied  {path.name}\n"
    kept = {file.name for file in folder.glob("migrations/replaced*/*")}
    assert kept >= set(old)
    assert (folder / "README.md").read_text(encoding="utf-8") == "# Ours\n"
    assert (folder / "src" / "orders.py").is_file()
    assert conflicts(folder) == []
    assert (folder / "uv.lock").is_file()
    assert git(folder, "status", "--porcelain") == ""
