"""Check the migration files and the database. Each problem is one line with its fix."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from .context import COMMAND, FOLDER, OTHER_ENGINES
from .errors import MigrationError
from .files import NAME, Migration, migrations
from .recorder import State


def folder_problems() -> list[str]:
    """List problems with the names and numbers of the files."""
    files = migrations()
    known = {migration.name for migration in files} | {"__init__.py"}
    problems = [
        f"{path.name}: Aerich ignores this name; use number_name.py, with no dot before .py"
        for path in sorted(FOLDER.glob("*.py"))
        if path.name not in known
    ]
    squashed, early = find_squashed(files)
    if squashed and early:
        listed = " ".join(migration.name for migration in early)
        problems.append(
            f"{squashed.name} has to be the first migration: run `{COMMAND} renumber {listed}` to"
            f" put the others after it{_with_later(files, squashed.number)}"
        )
        files = [migration for migration in files if migration not in early]
    numbers = Counter(migration.number for migration in files)
    for same in (same for same, count in numbers.items() if count > 1):
        names = [migration.name for migration in files if migration.number == same]
        problems.append(
            f"{' and '.join(names)} have the same number: run `{COMMAND} renumber {names[-1]}`"
            f" to put it last, if it is not released yet{_with_later(files, same)}"
        )
    first = squashed.number if squashed else 0
    if missing := set(range(first, max(numbers, default=0))) - numbers.keys():
        problems.append(f"Number {min(missing)} is missing: restore its file from version control")
    return problems + missing_migrations()


def _with_later(files: list[Migration], number: int) -> str:
    """Ask to move later files of the same branch too: they may depend on what moves."""
    later = [migration.name for migration in files if migration.number > number]
    return f". Also name {' '.join(later)}, if from the same branch" if later else ""


def missing_migrations() -> list[str]:
    """List that there is no migration, if so."""
    if migrations():
        return []
    fix = (
        f"restore the files from version control, or run `{COMMAND} baseline` to write a first one"
    )
    return [f"There is no migration in {FOLDER}: {fix}"]


def find_squashed(files: list[Migration]) -> tuple[Migration | None, list[Migration]]:
    """Find the squashed migration, and those of other branches that have to come after it."""
    squashed = None
    for migration in files:
        with suppress(MigrationError):  # `content_problems` says that it cannot be read
            squashed = migration if migration.replaces else squashed
    if squashed is None:
        return None, []
    return squashed, [m for m in files if m.number <= squashed.number and m != squashed]


def content_problems(files: Iterable[Migration]) -> list[str]:
    """List problems inside the files."""
    problems = []
    for migration in files:
        try:
            state = migration.models_state
        except MigrationError as error:
            problems.append(str(error))
            continue
        if not state:
            problems.append(
                f"{migration.name} has no MODELS_STATE: run `aerich fix-migrations` where the "
                f"migration is applied; otherwise delete the file and write it again"
            )
        if found := OTHER_ENGINES.search(migration.text):
            problems.append(
                f"{migration.name} is written for another database ({found[0].strip()}): delete "
                "the file and write it again"
            )
    return problems


def unfinished_problems(files: Iterable[Migration]) -> list[str]:
    """List files that must not be applied yet."""
    problems = []
    for migration in files:
        if (message := migration.function("upgrade").raises) is not None:
            problems.append(f"{migration.name} is unfinished: {message}")
        elif migration.unverified:
            problems.append(
                f"{migration.name} is not verified: fix it, or delete its line UNVERIFIED once you "
                f"have checked it. Verification reported: {' '.join(migration.unverified.split())}"
            )
    return problems


def irreversible(migration: Migration) -> str | None:
    """Return why a migration cannot be reverted, or None if it can."""
    function = migration.function("downgrade")
    if function.raises is not None:
        return f"{migration.name} cannot be reverted: {function.raises}"
    if function.empty:
        return f"{migration.name} cannot be reverted: its downgrade() is empty"
    return None


def database_problems(state: State) -> list[str]:
    """List contradictions between a database and the files."""
    problems = [
        f"{version} is recorded {count} times: delete all but one of its rows from the table aerich"
        for version, count in Counter(state.applied).items()
        if count > 1
    ]
    files = migrations()
    problems.extend(
        f"{version} is applied, but its file is missing: {_fix(version, files)}"
        for version in dict.fromkeys(state.unknown)
    )
    if state.pending and (lacking := not_replaced(state, state.pending[0])):
        problems.append(
            f"{state.pending[0].name} replaces migrations that this database lacks: check out the "
            f"commit before it, run `{COMMAND} upgrade` there, then come back. It lacks "
            f"{', '.join(lacking)}"
        )
    applied = [migration for migration in files if migration.name in state.applied]
    problems.extend(
        f"{migration.name} is not applied, but the newer {applied[-1].name} is: "
        f"run `{COMMAND} renumber {migration.name}` to put it last"
        for migration in state.pending
        if applied and migration.number < applied[-1].number and not is_replaced(state, migration)
    )
    return problems


def _fix(unknown: str, files: list[Migration]) -> str:
    """Say what to do about an applied migration without a file."""
    match = NAME.fullmatch(unknown)
    if match and int(match[1]) > files[-1].number:
        return "a newer release applied it: run that release, or a later one"
    if match and 0 < int(match[1]) <= files[0].number:  # its number is now that of a squashed one
        before = int(match[1]) - 1
        return f"check out a commit that has it, run `{COMMAND} downgrade {before}` there, then come back"
    return "restore its file from version control"


def not_replaced(state: State, squashed: Migration) -> list[str]:
    """List the replaced migrations that a database lacks; none for a new database."""
    known = set(state.applied)
    return [name for name in squashed.replaces if name not in known] if known else []


def is_replaced(state: State, squashed: Migration) -> bool:
    """Return whether a database has all migrations that a squashed one replaces."""
    return bool(squashed.replaces) and set(squashed.replaces) <= set(state.applied)
