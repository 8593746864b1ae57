"""Move migrations to the end, after a merge of branches that used the same numbers."""

import re
from collections import Counter
from pathlib import Path

from aerich.utils import get_formatted_compressed_data

from .checks import find_squashed, missing_migrations
from .context import APP, COMMAND, FOLDER, connected
from .errors import MigrationError
from .files import Migration, migrations
from .state import describe
from .writer import INTERRUPTED, with_unverified, write


async def renumber(
    names: list[str], applied: list[str], unfinished: str | None = None
) -> dict[Path, str]:
    """Move migrations to the end, and store the current models in them.

    Then `new` sees the changes of both branches.

    Args:
        names: the files; without any, those that share their number with an applied migration.
        applied: the names of the applied migrations.
        unfinished: the name of a migration that was interrupted, if any. It keeps its name, so that
            it can be repaired.

    Returns:
        The new files, UNVERIFIED, with the reasons why they were before; none if no migration has
        to move.

    Raises:
        MigrationError: it is not clear which to move, or one of them cannot be moved.
    """
    if missing := missing_migrations():
        raise MigrationError(missing[0])
    if unfinished in names:
        raise MigrationError(
            f"{unfinished} is unfinished in this database: renumber the other one, or run"
            f" `{COMMAND} upgrade`, which says how to undo it"
        )
    moved = _to_move(names, [*applied, *filter(None, [unfinished])])
    if not moved:
        return {}
    kept = [migration for migration in migrations() if migration not in moved]
    first = kept[0].number if kept and kept[0].replaces else 0
    if [migration.number for migration in kept] != list(range(first, first + len(kept))):
        raise MigrationError("Name all files of your branch: otherwise the numbers have a gap")
    async with connected():
        state = get_formatted_compressed_data(describe(APP))
    planned = [
        (migration, _path(migration, number), _text(migration, state))
        for number, migration in enumerate(moved, first + len(kept))
    ]
    if all(path == migration.path for migration, path, _ in planned):
        return {}
    before = {path: migration.unverified for migration, path, _ in planned}
    _move(planned)
    return before


def _move(planned: list[tuple[Migration, Path, str]]) -> None:
    """Move files to new paths, with new texts.

    They may exchange their names, so all of them are written beside the old ones first.
    """
    try:
        for _, path, text in planned:
            write(_beside(path), text)
    except BaseException:
        for _, path, _ in planned:
            _beside(path).unlink(missing_ok=True)
        raise
    for migration, path, _ in planned:
        migration.path.unlink()
        if migration.samples.exists():
            migration.samples.rename(_beside(_samples(migration, path)))
    for migration, path, _ in planned:
        _beside(path).rename(path)
        samples = _samples(migration, path)
        if _beside(samples).exists():
            _beside(samples).rename(samples)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _samples(migration: Migration, path: Path) -> Path:
    return migration.samples.with_name(f"{path.stem}.sql")


def _path(migration: Migration, number: int) -> Path:
    return FOLDER / f"{number}_{migration.name.partition('_')[2]}"


def _text(migration: Migration, state: str) -> str:
    text, count = re.subn(
        r"(?ms)^MODELS_STATE = \(.*?^\)", f"MODELS_STATE = (\n    {state}\n)", migration.text
    )
    if count != 1:
        raise MigrationError(f"{migration.name} has no MODELS_STATE in Aerich's format")
    return with_unverified(text, INTERRUPTED)


def _to_move(names: list[str], applied: list[str]) -> list[Migration]:
    files = {migration.name: migration for migration in migrations()}
    squashed, early = find_squashed(migrations())
    if squashed and squashed.name in names:
        raise MigrationError(f"{squashed.name} has to be the first migration: renumber the others")
    names = names or [migration.name for migration in early]
    for name in names:
        if name not in files:
            raise MigrationError(
                f"There is no migration {name}: run `{COMMAND} status` to list them"
            )
        if name in applied:
            raise MigrationError(
                f"{name} is applied in this database: renumber the other one, or check out the"
                f" branch of {name}, run `{COMMAND} downgrade {files[name].number - 1}` there, then"
                " come back"
            )
    if names:
        return [migration for name, migration in files.items() if name in names]
    numbers = Counter(migration.number for migration in files.values())
    twice = [migration for migration in files.values() if numbers[migration.number] > 1]
    moved = [migration for migration in twice if migration.name not in applied]
    if len(moved) != len(twice) - len({migration.number for migration in twice}):
        listed = " or ".join(migration.name for migration in twice)
        raise MigrationError(f"Which is not released yet? Run `{COMMAND} renumber` with {listed}")
    return moved
