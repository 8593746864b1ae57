"""The migration files, and what of them a database has."""

import importlib.util
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

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


class MigrationError(Exception):
    """What is wrong, and the way out, in words for the person who migrates."""


def reason(error: BaseException) -> str:
    """Say in one line why the database cannot be used."""
    if isinstance(error, DBConnectionError) and error.__context__:
        error = error.__context__  # Tortoise's own message is a dump of its configuration
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return " ".join(str(error).split()) or type(error).__name__


@dataclass(frozen=True)
class Migration:
    """A migration file.

    Attributes:
        number: its place in the order.
        name: the file's name, which is its version in Aerich's table.
        path: the file.
    """

    number: int
    name: str
    path: Path

    @cached_property
    def module(self) -> ModuleType:
        """The file, run as a module.

        Raises:
            MigrationError: it cannot be run.
        """
        spec = importlib.util.spec_from_file_location(self.path.stem, self.path)
        if spec is None or spec.loader is None:
            raise MigrationError(f"{self.name} is no Python file")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
            raise MigrationError(f"{self.name} cannot be imported: {fault}") from error
        return module

    @property
    def run_in_transaction(self) -> bool:
        return bool(getattr(self.module, "RUN_IN_TRANSACTION", True))

    @property
    def models_state(self) -> dict[str, Any] | None:
        """The models as they are after this migration, or None where the file does not say."""
        state = getattr(self.module, "MODELS_STATE", None)
        return decompress_dict(state) if state else None

    async def upgrade_sql(self, client: BaseDBAsyncClient) -> str:
        return await self._sql("upgrade", client)

    async def downgrade_sql(self, client: BaseDBAsyncClient) -> str:
        return await self._sql("downgrade", client)

    async def _sql(self, function: str, client: BaseDBAsyncClient) -> str:
        write = getattr(self.module, function, None)
        if write is None:
            raise MigrationError(f"{self.name} has no function {function}()")
        try:
            return await cast("Callable[[BaseDBAsyncClient], Awaitable[str]]", write)(client)
        except NotImplementedError as error:  # `new` left something to be written by hand
            raise MigrationError(f"{self.name} is unfinished: {error}") from error
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
            raise MigrationError(f"{self.name}: {function}() failed: {fault}") from error


def migrations() -> list[Migration]:
    """List the migrations in the order in which they are applied."""
    found = [(NAME.fullmatch(path.name), path) for path in FOLDER.glob("*.py")]
    listed = [Migration(int(match[1]), path.name, path) for match, path in found if match]
    return sorted(listed, key=lambda migration: (migration.number, migration.name))


class State(NamedTuple):
    """What a database has of the migrations.

    Attributes:
        applied: the versions in Aerich's table, in the order in which they got there.
        pending: the migrations that it has not.
        unknown: the applied versions without a file.
    """

    applied: list[str]
    pending: list[Migration]
    unknown: list[str]


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
    for number, count in Counter(migration.number for migration in files).items():
        names = [migration.name for migration in files if migration.number == number]
        if count > 1:
            faults.append(
                f"{' and '.join(names)} have the same number: `{COMMAND} renumber {names[-1]}` makes"
                " it the last, if it is not released yet"
            )
    for expected, number in enumerate(sorted({migration.number for migration in files})):
        if number != expected:
            faults.append(f"Number {expected} is missing: restore its file from version control")
            break
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
        match = NAME.fullmatch(version)
        if match and int(match[1]) > files[-1].number:
            way_out = "a newer release brought it here: run that release, or a later one"
        else:
            way_out = "restore its file from version control"
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
    changed = await changed_tables(newest)
    if not changed:
        return None
    return f"The models changed since {newest.name} ({', '.join(changed)}): `{COMMAND} new NAME`"
