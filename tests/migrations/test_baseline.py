"""`baseline` begins the migrations anew on another engine."""

import shutil
from collections.abc import Callable

import pytest

from ..support.databases import require
from .support import MIGRATE, MODELS, Changing

OTHERS = [("sqlite", "postgresql"), ("postgresql", "mysql"), ("mysql", "sqlite")]


@pytest.mark.parametrize(("old", "engine"), OTHERS)
def test_engine_is_changed(make_changing: Callable[..., Changing], old: str, engine: str) -> None:
    require(old)
    before, changing = make_changing(old, "old"), make_changing(engine, "new")
    folder = changing.service.folder / "migrations" / "models"
    shutil.rmtree(folder)
    shutil.copytree(before.service.folder / "migrations" / "models", folder)
    names = [path.name for path in changing.files()]
    assert "another database" in changing.service.run(*MIGRATE, "check", status=1).stdout

    output = changing.service.run(*MIGRATE, "baseline").stdout

    assert "Verified" in output
    (first,) = changing.files()
    assert first.name.startswith("0_")
    (replaced,) = folder.parent.glob("replaced_*")
    assert f" migrations/{replaced.name}" in output
    assert sorted(path.name for path in replaced.glob("*.py")) == sorted(names)
    assert "match the migrations" in changing.service.run(*MIGRATE, "check").stdout
    changing.service.run(*MIGRATE, "upgrade")
    assert {"team", "player", "team_badge"} < changing.service.database.tables()


def test_own_migrations_are_not_replaced_silently(changing: Changing) -> None:
    before = changing.files()

    assert "Add --yes" in changing.service.run(*MIGRATE, "baseline", status=1).stderr
    assert changing.files() == before

    changing.service.run(*MIGRATE, "baseline", "--yes")
    assert len(changing.files()) == 1
    assert (changing.service.folder / MODELS).exists()


def test_sample_rows_are_moved_aside_with_their_migrations(
    make_changing: Callable[..., Changing],
) -> None:
    changing = make_changing("sqlite")
    samples = changing.service.folder / "migrations" / "samples"
    samples.mkdir()
    rows = samples / f"{changing.files()[-1].stem}.sql"
    rows.write_text("INSERT INTO users (username) VALUES ('ada');\n")

    output = changing.service.run(*MIGRATE, "baseline", "--yes").stdout

    assert "Verified" in output
    (folder,) = (changing.service.folder / "migrations").glob("replaced_*")
    assert (folder / rows.name).exists()
    assert list(samples.iterdir()) == []


def test_folder_without_a_migration_is_made(make_changing: Callable[..., Changing]) -> None:
    """Version control keeps no empty folder."""
    changing = make_changing("sqlite")
    shutil.rmtree(changing.service.folder / "migrations")

    assert "Verified" in changing.service.run(*MIGRATE, "baseline").stdout
    assert len(changing.files()) == 1


def test_file_that_cannot_be_verified_is_refused(make_changing: Callable[..., Changing]) -> None:
    changing = make_changing("sqlite")
    models = changing.service.folder / MODELS
    text = models.read_text(encoding="utf-8")
    text += """

class Unknown(fields.IntField):
    SQL_TYPE = "INT DEFAULT"


class Widget(Model):
    id = fields.IntField(primary_key=True)
    size = Unknown()
"""
    models.write_text(text, encoding="utf-8")

    output = changing.service.run(*MIGRATE, "baseline", "--yes", status=1)

    (first,) = changing.files()
    assert "UNVERIFIED = " in first.read_text(encoding="utf-8"), output
    upgrade = changing.service.run(*MIGRATE, "upgrade", status=1)
    assert f"{first.name} is not verified" in upgrade.stderr
