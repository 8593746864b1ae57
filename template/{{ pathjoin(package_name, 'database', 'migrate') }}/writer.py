"""Write migration files in Aerich's format."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aerich.migrate import Migrate

from .context import COMMAND, FOLDER, dialect
from .errors import MigrationError
from .planning import Plan

_LONGEST_NAME = 200  # characters: a file name has at most 255 bytes
_HEAD = "async def {}(db: BaseDBAsyncClient) -> str:\n"
_TRANSACTION = re.compile(r"^RUN_IN_TRANSACTION\b.*\n", re.MULTILINE)
_UNVERIFIED = re.compile(r"^UNVERIFIED = .*\n", re.MULTILINE)
INTERRUPTED = f"it was interrupted, so run `{COMMAND} verify`"


@dataclass(frozen=True)
class Content:
    """The content of a migration file.

    Attributes:
        upgrade: the statements of its upgrade.
        downgrade: the statements of its downgrade.
        models_state: the models after it.
        run_in_transaction: Aerich's RUN_IN_TRANSACTION.
        renamed: its renames, in the form of `new --rename`.
        replaces: the names of the migrations that it replaces.
        missing: what has to be filled in by hand, by function and place.
        notes: comments for those who run it.
        unverified: why it must not be applied until it is verified.
    """

    upgrade: Sequence[str]
    downgrade: Sequence[str]
    models_state: dict[str, Any]
    run_in_transaction: bool = True
    renamed: Sequence[str] = ()
    replaces: Sequence[str] = ()
    missing: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    unverified: str = ""


def stop_note(planned: Plan) -> str:
    """Ask to stop the service while a planned migration runs, if what it writes could get lost."""
    if dialect.isolated or not planned.upgrade.exclusive:
        return ""
    tables = ", ".join(sorted(planned.upgrade.exclusive))
    return f"Stop the service while this runs: what it writes to {tables} may be lost or rounded"


def _kept_notes(planned: Plan) -> list[str]:
    """Say which tables a planned migration keeps, although models became managed or unmanaged."""
    notes = []
    if planned.adopted:
        listed = ", ".join(sorted(planned.adopted))
        notes.append(f"downgrade() keeps {listed}: it may have existed before, with its rows")
    if planned.released:
        listed = ", ".join(sorted(planned.released))
        notes.append(f"{listed} stays as it is: migrations leave it alone (managed = False)")
    return notes


def write_plan(number: int, name: str, planned: Plan) -> Path:
    """Write a planned migration to a file.

    Args:
        number: its number.
        name: what it changes.
        planned: what it does.
    """
    upgrade = dialect.in_transaction(planned.upgrade.statements)
    downgrade = dialect.in_transaction(planned.downgrade.statements)
    if planned.adopted and not downgrade:
        downgrade = ["SELECT 1"]  # an empty one would mean that the migration cannot be reverted
    content = Content(
        upgrade,
        downgrade,
        planned.state,
        run_in_transaction=upgrade == planned.upgrade.statements
        and downgrade in (planned.downgrade.statements, ["SELECT 1"]),
        renamed=[str(rename) for rename in planned.renames],
        missing={"upgrade": planned.upgrade.missing, "downgrade": planned.downgrade.missing},
        notes=[note for note in (stop_note(planned), *_kept_notes(planned)) if note],
        unverified="" if planned.upgrade.missing else INTERRUPTED,
    )
    return write_file(number, name, content)


def write_file(number: int, name: str, content: Content) -> Path:
    """Write a migration file.

    Args:
        number: its number.
        name: what it changes.
        content: its content.

    Returns:
        The file.
    """
    upgrade, downgrade = _joined(content.upgrade), _joined(content.downgrade)
    text = Migrate.build_migration_file_text(upgrade, content.models_state, downgrade)
    if not content.run_in_transaction:
        text = text.replace("RUN_IN_TRANSACTION = True", "RUN_IN_TRANSACTION = False", 1)
    constants = [f"# {' '.join(note.split())}\n" for note in content.notes]
    if content.renamed:
        constants.append(f"RENAMES = {tuple(content.renamed)!r}\n")
    if content.replaces:
        listed = "".join(f'    "{replaced}",\n' for replaced in content.replaces)
        constants.append(f"REPLACES = (\n{listed})\n")
    text = with_unverified(_with_constants(text, constants), content.unverified)
    for function, places in content.missing.items():
        if places:
            todo = "; ".join(f"{place} {reason}" for place, reason in places.items())
            message = f"{todo}. Replace <...> in the SQL with a value, then delete this line"
            head = _HEAD.format(function)
            text = text.replace(head, f"{head}    raise NotImplementedError({message!r})\n", 1)
    return create_file(number, name, text)


def check_name(name: str) -> None:
    """Raise MigrationError if a name is not valid for a migration."""
    if len(name) > _LONGEST_NAME:
        raise MigrationError(f"Shorten the name to {_LONGEST_NAME} characters: it has {len(name)}")
    if not re.fullmatch("[a-z0-9_]+", name):
        raise MigrationError(f"Use only a-z, 0-9 and _ in the name: Aerich ignores {name!r}")


def create_file(number: int, name: str, text: str) -> Path:
    """Create a migration file with a text."""
    path = FOLDER / f"{number}_{datetime.now(UTC):%Y%m%d%H%M%S}_{name}.py"
    write(path, text)
    return path


def set_unverified(path: Path, reason: str) -> None:
    """Add a note to a migration file why it could not be verified, or remove the note.

    Args:
        path: the file.
        reason: the reason; an empty one removes the note.
    """
    write(path, with_unverified(path.read_text(encoding="utf-8"), reason))


def with_unverified(text: str, reason: str) -> str:
    """Return the text of a migration file with such a note, or without one."""
    text = _UNVERIFIED.sub("", text)
    return _with_constants(text, [f"UNVERIFIED = {reason!r}\n"]) if reason else text


def write(path: Path, text: str) -> None:
    """Write a file. An error, such as a full disk, leaves the file as it was."""
    beside = path.with_name(f"{path.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        error.filename = str(path)  # only an error of opening it has one
        raise
    finally:
        beside.unlink(missing_ok=True)


def _with_constants(text: str, lines: Sequence[str]) -> str:
    """Insert lines after RUN_IN_TRANSACTION, or at the end of a file without it."""
    found = _TRANSACTION.search(text)
    head, tail = (text[: found.end()], text[found.end() :]) if found else (text, "")
    return f"{head.rstrip()}\n{''.join(lines)}{tail}"


def _joined(statements: Sequence[str]) -> str:
    """Format and escape statements for the triple-quoted string of a migration file."""
    sql = "".join(f"{statement};\n        " for statement in statements)
    return sql.replace("\\", "\\\\").replace('"""', '\\"""')
