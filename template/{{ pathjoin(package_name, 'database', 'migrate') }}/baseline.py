"""Write a first migration of the current models, after a change of database engine."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from . import diff
from .context import APP, FOLDER, OTHER_ENGINES, connected, dialect
from .errors import MigrationError
from .files import migrations
from .model_checks import refuse_models
from .state import State, StateReader, aerichs_model, describe, live_models
from .writer import INTERRUPTED, Content, write_file


async def baseline(*, force: bool) -> tuple[Path, Path | None]:
    """Write a first migration, and move all others aside.

    Args:
        force: whether to replace migrations of this engine too.

    Returns:
        The file, and the folder where the others are now, if there were any.

    Raises:
        MigrationError: the migrations are for this engine, so a database may have them, or the
            models have a problem.
    """
    files = migrations()
    foreign = any(OTHER_ENGINES.search(migration.text) for migration in files)
    if files and not (foreign or force):
        raise MigrationError(
            f"{files[0].name} is for this engine, and databases that have it still need it. "
            "Add --yes if no database has it"
        )
    statements, state = await creation()
    FOLDER.mkdir(parents=True, exist_ok=True)  # no version control keeps an empty one
    with moved_aside("replaced") if files else nullcontext() as replaced:
        content = Content(statements, [], state, unverified=INTERRUPTED)
        return write_file(0, "init", content), replaced


async def creation() -> tuple[list[str], State]:
    """Return the SQL that creates the tables of the models and Aerich, and the models' state."""
    async with connected():
        refuse_models()
        state = describe(APP)
        # `tables` omits Aerich's table, since later migrations do not change it
        own = {"aerich": aerichs_model(state)}
        tables = StateReader(dialect).tables({**state, **own}, live_models(APP))
    created = {name: replace(table, may_exist=True) for name, table in tables.items()}
    return diff.between({}, created, dialect).statements, state


@contextmanager
def moved_aside(name: str) -> Iterator[Path]:
    """Move all migrations and their sample rows into a new folder. An error moves them back."""
    folder = FOLDER.parent / f"{name}_{datetime.now(UTC):%Y%m%d%H%M%S}"
    folder.mkdir()
    moved: list[Path] = []
    try:
        for migration in migrations():
            for path in (migration.path, migration.samples):
                if path.exists():
                    path.rename(folder / path.name)
                    moved.append(path)
        yield folder
    except BaseException:
        for path in moved:
            (folder / path.name).rename(path)
        folder.rmdir()
        raise
