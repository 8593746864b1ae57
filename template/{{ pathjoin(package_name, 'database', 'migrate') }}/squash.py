"""Replace all migrations with one that creates the tables of the current models."""

from pathlib import Path
from typing import NamedTuple

from .baseline import creation, moved_aside
from .checks import content_problems, folder_problems, unfinished_problems
from .context import COMMAND, ENGINE, dialect
from .detection import changed_tables
from .errors import MigrationError, StatementError
from .files import Migration, migrations
from .sessions import load
from .verification.schemas import Schema, changed_objects, compare, read, read_objects
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


class _Result(NamedTuple):
    """What migrations leave in an empty database: the schema, other objects, and rows by table."""

    schema: Schema
    objects: Schema
    rows: dict[str, int]


async def squash(unfinished: str | None = None) -> Squashed | None:
    """Write one migration that replaces all others, and move those aside.

    A database that has all of them records the new one at its next upgrade. A new database runs it.

    Args:
        unfinished: the name of a migration that was interrupted, if any. Its repair needs its file.

    Returns:
        What was written; None if there is only one migration.

    Raises:
        MigrationError: the migrations have a problem, or the models changed since the newest one.
    """
    files = migrations()
    problems = folder_problems() or content_problems(files) or unfinished_problems(files)
    if not problems and unfinished:
        found = f"{unfinished} is unfinished in this database"
        problems = [
            f"Run `{COMMAND} upgrade`: {found}, and `upgrade` continues it or says how to repair it"
        ]
    if problems:
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
    before = await _result(files)
    names = [migration.name for migration in files]
    with moved_aside("squashed") as replaced:
        undo = f"delete it, move the files in {replaced.name} back, and run `squash` again"
        interrupted = f"it was interrupted: {undo}"
        content = Content(statements, [], state, replaces=names, unverified=interrupted)
        path = write_file(newest.number, "squashed", content)
        try:
            after = await _result(migrations())
        except BaseException:
            path.unlink()
            raise
    differences = _compare(after, before)
    different = f"the replaced migrations create something else: {'; '.join(differences)}"
    set_unverified(path, different if differences else "")
    return Squashed(path, replaced, differences)


async def _result(files: list[Migration]) -> _Result:
    async with sessions.scratch_database() as client:
        for migration in files:
            try:
                await sessions.run(client, migration, "upgrade")
            except StatementError as error:
                raise MigrationError(
                    error.in_scratch_database(migration.name, "upgrade")
                ) from error
        schema, objects, rows = await read(client), await read_objects(client), {}
        for table in {table for table, _ in schema}:
            query = f"SELECT COUNT(*) AS count FROM {dialect.quote(table)}"
            rows[table] = (await client.execute_query_dict(query))[0]["count"]
        triggers = {place for place in schema if place[1].startswith("trigger ")}
        for place in triggers:  # they are among the objects as well
            del schema[place]
        return _Result(schema, objects, rows)


def _compare(after: _Result, before: _Result) -> list[str]:
    """List what only the squashed migration or only the replaced ones create."""
    only = "created by the replaced ones only"
    return [
        *compare(after.schema, before.schema, "the squashed migration", "the replaced ones"),
        *(f"{name} is {only}" for name in changed_objects(after.objects, before.objects)),
        *(
            f"{table}: {count} row{' is' if count == 1 else 's are'} {only}"
            for table, count in sorted(before.rows.items())
            if count > after.rows.get(table, 0)
        ),
    ]
