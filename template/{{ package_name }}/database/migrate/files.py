"""The migration files, and what of them a database has."""

import os
import re
import ssl
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from aerich.models import Aerich
from aerich.utils import decompress_dict
from tortoise import BaseDBAsyncClient
from tortoise.exceptions import DBConnectionError, OperationalError

from ..engine import DATABASE_URL_EXAMPLE, OTHER_ENGINES, is_missing_table

COMMAND = f"python -m {__package__}"
APP = "models"
FOLDER = Path(__file__).parent.parent.parent.parent / "migrations" / APP

# Aerich passes over every other name without a word
NAME = re.compile(r"([0-9]+)_[^.]+\.py")


Direction = Literal["upgrade", "downgrade"]


class MigrationError(Exception):
    """What is wrong, and the way out, in words for the person who migrates."""


def reason(error: BaseException) -> str:
    """Say in one line why the database cannot be used."""
    if isinstance(error, DBConnectionError) and error.__context__:
        error = error.__context__  # Tortoise's own message is a dump of its configuration
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return " ".join(str(error).split()) or type(error).__name__


def is_unreachable(error: BaseException) -> bool:
    """Tell whether no database server answered."""
    if isinstance(error, DBConnectionError) and error.__context__:
        error = error.__context__
    cause = error.__cause__ or error
    # A file that cannot be used and a refused certificate are OSErrors as well
    is_local = isinstance(cause, ssl.SSLError) or getattr(cause, "filename", None) is not None
    return isinstance(cause, OSError) and not is_local


@dataclass(frozen=True)
class Migration:
    """A migration file: its place in the order, and its name, which is its version for Aerich."""

    number: int
    name: str
    path: Path

    @cached_property
    def content(self) -> dict[str, Any]:
        """What the file defines.

        Raises:
            MigrationError: it cannot be run.
        """
        names: dict[str, Any] = {"__name__": self.path.stem, "__file__": str(self.path)}
        try:
            # An import would take a file that is edited twice within a second for unchanged
            exec(compile(self.path.read_bytes(), self.path, "exec"), names)  # noqa: S102
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
            raise MigrationError(f"{self.name} cannot be imported: {fault}") from error
        return names

    @property
    def run_in_transaction(self) -> bool:
        return bool(self.content.get("RUN_IN_TRANSACTION", True))

    @property
    def models_state(self) -> dict[str, Any]:
        """The models as they are after this migration; empty where the file does not say."""
        state = self.content.get("MODELS_STATE")
        return decompress_dict(state) if state else {}

    async def sql(self, client: BaseDBAsyncClient, direction: Direction) -> str:
        """Return the SQL of the file's upgrade or downgrade.

        Raises:
            MigrationError: the file has none, or it is not finished.
        """
        if (write := self.content.get(direction)) is None:
            raise MigrationError(f"{self.name} has no function {direction}()")
        try:
            return str(await write(client))
        except NotImplementedError as error:  # `new` left something to be written by hand
            raise MigrationError(f"{self.name} is unfinished: {error}") from error
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
            raise MigrationError(f"{self.name}: {direction}() failed: {fault}") from error

    async def record(self, client: BaseDBAsyncClient, direction: Direction) -> None:
        """Note in Aerich's table that the migration is applied, or that it no longer is."""
        if direction == "upgrade":
            content = self.models_state
            await Aerich.create(version=self.name, app=APP, content=content, using_db=client)
        else:
            await Aerich.filter(app=APP, version=self.name).using_db(client).delete()


def migrations() -> list[Migration]:
    """List the migrations in the order in which they are applied."""
    found = [(NAME.fullmatch(path.name), path) for path in FOLDER.glob("*.py")]
    listed = [Migration(int(match[1]), path.name, path) for match, path in found if match]
    return sorted(listed, key=lambda migration: (migration.number, migration.name))


class State(NamedTuple):
    """What a database has of the migrations."""

    applied: list[str]  # the versions in Aerich's table, in the order in which they got there
    pending: list[Migration]
    unknown: list[str]  # the applied versions without a file


async def read_state(client: BaseDBAsyncClient | None = None) -> State:
    """Compare a database, the service's own by default, with the files; it takes one query."""
    # Without `content`, which would be unpickled
    query = Aerich.filter(app=APP).order_by("id").using_db(client).values("version")
    try:
        applied = [str(row["version"]) for row in await query]
    except OperationalError as error:
        if not is_missing_table(error):
            raise
        applied = []
    files, known = migrations(), set(applied)
    names = {migration.name for migration in files}
    return State(
        applied,
        [migration for migration in files if migration.name not in known],
        [version for version in applied if version not in names],
    )


def folder_faults() -> list[str]:
    """Say what is wrong with the files' names and numbers, each with its way out."""
    files = migrations()
    known = {migration.name for migration in files} | {"__init__.py"}
    faults = [
        f"{path.name}: Aerich ignores this name; use number_name.py, with no dot before .py"
        for path in sorted(FOLDER.glob("*.py"))
        if path.name not in known
    ]
    numbers = Counter(migration.number for migration in files)
    for number in (number for number, count in numbers.items() if count > 1):
        names = [migration.name for migration in files if migration.number == number]
        faults.append(
            f"{' and '.join(names)} have the same number: `{COMMAND} renumber {names[-1]}` makes"
            " it the last, if it is not released yet"
        )
    if missing := set(range(max(numbers, default=0))) - numbers.keys():
        faults.append(f"Number {min(missing)} is missing: restore its file from version control")
    return faults if files else [*faults, f"There is no migration in {FOLDER}"]


def content_faults(files: Iterable[Migration]) -> list[str]:
    """Say what is wrong inside the files, each with its way out."""
    faults = []
    for migration in files:
        try:
            state = migration.models_state
        except Exception as error:  # noqa: BLE001 - whatever a file's code or state raises
            faults.append(f"{migration.name} cannot be read: {type(error).__name__}: {error}")
            continue
        if not state:
            faults.append(
                f"{migration.name} has no MODELS_STATE: `aerich fix-migrations` adds it where the "
                f"migration is applied; elsewhere delete the file and write it again"
            )
        if found := OTHER_ENGINES.search(migration.path.read_text(encoding="utf-8")):
            faults.append(
                f"{migration.name} is written for another database ({found[0].strip()}): delete "
                "the file and write it again"
            )
    return faults


def database_faults(state: State) -> list[str]:
    """Say where a database and the files contradict each other, each with its way out."""
    faults = [
        f"{version} is recorded {count} times: delete all its rows but one from the table aerich"
        for version, count in Counter(state.applied).items()
        if count > 1
    ]
    files = migrations()
    for version in dict.fromkeys(state.unknown):
        way_out = "restore its file from version control"
        if (match := NAME.fullmatch(version)) and int(match[1]) > files[-1].number:
            way_out = "a newer release brought it here: run that release, or a later one"
        faults.append(f"{version} is applied, but its file is not here: {way_out}")
    applied = [migration for migration in files if migration.name in state.applied]
    faults.extend(
        f"{migration.name} is not applied, but the newer {applied[-1].name} is: "
        f"`{COMMAND} renumber {migration.name}` makes it the last"
        for migration in state.pending
        if applied and migration.number < applied[-1].number
    )
    return faults


async def models_fault() -> str | None:
    """Say, without a database, whether the models changed since the newest migration."""
    os.environ.setdefault("DATABASE_URL", DATABASE_URL_EXAMPLE)  # nothing connects to it
    from .write import changed_tables

    newest = migrations()[-1]
    try:
        changed = ", ".join(await changed_tables(newest))
    except MigrationError as error:
        return str(error)
    fault = f"The models changed since {newest.name} ({changed}): `{COMMAND} new NAME`"
    return fault if changed else None
