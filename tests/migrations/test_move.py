"""A service moves from SQLite to PostgreSQL, as its documentation says, and takes its rows along."""

import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tools.releases import NEXT, history
from tools.render import git, render, update

from ..conftest import MakeService
from ..support.databases import REQUIRED

USERS = 100_000


def fill(file: Path) -> None:
    """Insert the users, and delete one, so that ids and counts differ."""
    rows = ((f"user{n}", f"user{n}@example.com", "-") for n in range(USERS + 1))
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executemany(
            "INSERT INTO users (username, email, hashed_password) VALUES (?, ?, ?)", rows
        )
        connection.execute("DELETE FROM users WHERE id = 1")


def test_moves_with_its_rows(make_service: MakeService, tmp_path: Path) -> None:
    if not shutil.which("pgloader"):
        (pytest.fail if REQUIRED else pytest.skip)("pgloader is not installed")
    new = make_service("postgresql", "new")
    old = make_service("sqlite", "old")
    folder = tmp_path / "moving"
    with history() as repository:
        render(repository, folder, ref=NEXT)
        git(folder, "init", "--quiet")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "Start")
        old.folder = folder
        old.upgrade()
        fill(old.database.path)

        page = (folder / "docs" / "migrations.md").read_text(encoding="utf-8")
        update(folder, {"database": "postgresql"}, NEXT)

    new.folder = folder
    migrate = ("python", "-m", "src", "migrate")
    new.run(*migrate, "baseline")
    new.upgrade()
    load = re.search(r"```\n( *LOAD DATABASE\n.*?)\n *```", page, re.DOTALL)
    assert load
    text = re.sub(r"sqlite://\S+", f"sqlite://{old.database.path}", load[1])
    text = re.sub(r"postgresql://\S+", new.database.url, text)
    (tmp_path / "rows.load").write_text(text, encoding="utf-8")
    subprocess.run(["pgloader", "rows.load"], cwd=tmp_path, check=True)

    assert new.database.query("SELECT count(*), min(id), max(id) FROM users") == [
        (USERS, 2, USERS + 1)
    ]
    new.database.query(
        "INSERT INTO users (username, email, hashed_password) VALUES ('ada', 'a@example.com', '-')"
    )
    assert new.database.query("SELECT id FROM users WHERE username = 'ada'") == [(USERS + 2,)]
    assert list((folder / "migrations").glob("replaced_*/0_*_init.py"))
    new.run(*migrate, "verify")
    tests = ("tests/test_migrations.py", "tests/test_users.py")
    assert " passed" in new.run("pytest", "-q", "-p", "no:cacheprovider", *tests).stdout
