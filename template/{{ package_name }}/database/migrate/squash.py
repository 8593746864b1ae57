"""Replace all migrations with one that creates the tables of the current models."""

from pathlib import Path
from typing import NamedTuple

from .baseline import creation, move_aside, move_back
from .checks import content_problems, folder_problems, unfinished_problems
from .context import COMMAND, ENGINE
from .detection import changed_tables
from .errors import MigrationError, StatementError
from .files import Migration, migrations
from .sessions import load
from .verification.schemas import compare, read
from .writer import Content, set_unverified, write_file

sessions = load(ENGINE)


class Squashed(NamedTuple):
    """What `squash` wrote.

    Attributes:
        path: the new migration.
        replaced: the folder where the replaced migrations are now.
        differences: what only they or only the new one create.
    """

    path: Path
    replaced: Path
    differences: list[str]


async def squash() -> Squashed | None:
    """Write one migration that replaces all others, and move those aside.

    A database that has all of them records the new one at its next upgrade. A new database runs it.

    Returns:
        What was written; None if there is only one migration.

    Raises:
        MigrationError: the migrations have a problem, or the models changed since the newest one.
    """
    files = migrations()
    if problems := folder_problems() or content_problems(files) or unfinished_problems(files):
        raise MigrationError("\n".join([*problems, "Nothing was written."]))
    if not files[1:]:
        return None
    newest = files[-1]
    if changed := await changed_tables(newest):
        raise MigrationError(
            f"Run `{COMMAND} new NAME` first: the models changed since {newest.name} "
            f"({', '.join(changed)})"
        )
    statements, state = await creation()
    before = await _schema(files)
    replaced = move_aside("squashed")
    content = Content(statements, [], state, replaces=[migration.name for migration in files])
    path = write_file(newest.number, "squashed", content)
    try:
        after = await _schema(migrations())
    except BaseException:
        path.unlink()
        move_back(replaced, files)
        raise
    differences = compare(after, before, "the squashed migration", "the replaced ones")
    if differences:
        different = "; ".join(differences)
        set_unverified(path, f"the replaced migrations create something else: {different}")
    return Squashed(path, replaced, differences)


async def _schema(files: list[Migration]) -> dict[tuple[str, str], list[str]]:
    async with sessions.scratch_database() as client:
        for migration in files:
            try:
                await sessions.run(client, migration, "upgrade")
            except StatementError as error:
                raise MigrationError(
                    error.in_scratch_database(migration.name, "upgrade")
                ) from error
        return await read(client)
