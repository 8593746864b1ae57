"""Check the migration files and the database. Each problem is one line with its fix."""

from collections import Counter
from collections.abc import Iterable

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
    numbers = Counter(migration.number for migration in files)
    for same in (same for same, count in numbers.items() if count > 1):
        names = [migration.name for migration in files if migration.number == same]
        problems.append(
            f"{' and '.join(names)} have the same number: run `{COMMAND} renumber {names[-1]}`"
            " to put it last, if it is not released yet"
        )
    if missing := set(range(_first_number(files), max(numbers, default=0))) - numbers.keys():
        problems.append(f"Number {min(missing)} is missing: restore its file from version control")
    return problems + missing_migrations()


def missing_migrations() -> list[str]:
    """List that there is no migration, if so."""
    if migrations():
        return []
    fix = (
        f"restore the files from version control, or run `{COMMAND} baseline` to write a first one"
    )
    return [f"There is no migration in {FOLDER}: {fix}"]


def _first_number(files: list[Migration]) -> int:
    """Return the number that the first file should have: squashed migrations keep theirs."""
    try:
        return files[0].number if files and files[0].replaces else 0
    except MigrationError:
        return files[0].number  # it cannot be read, which `content_problems` says


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
    for version in dict.fromkeys(state.unknown):
        fix = "restore its file from version control"
        if (match := NAME.fullmatch(version)) and int(match[1]) > files[-1].number:
            fix = "a newer release applied it: run that release, or a later one"
        problems.append(f"{version} is applied, but its file is missing: {fix}")
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
        if applied and migration.number < applied[-1].number
    )
    return problems


def not_replaced(state: State, squashed: Migration) -> list[str]:
    """List the replaced migrations that a database lacks; none for a new database."""
    known = set(state.applied)
    return [name for name in squashed.replaces if name not in known] if known else []


def is_replaced(state: State, squashed: Migration) -> bool:
    """Tell whether a database has all migrations that a squashed one replaces."""
    return bool(squashed.replaces) and set(squashed.replaces) <= set(state.applied)
