"""The migration files, and what of them a database has."""

import importlib.util
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from aerich.models import Aerich
from aerich.utils import decompress_dict
from tortoise import BaseDBAsyncClient
from tortoise.exceptions import OperationalError

from ..engine import is_missing_table

APP = "models"
FOLDER = Path(__file__).parent.parent.parent.parent / "migrations" / APP

# Aerich passes over every other name without a word
NAME = re.compile(r"([0-9]+)_[^.]+\.py")


class MigrationError(Exception):
    """What is wrong, and the way out, in words for the person who migrates."""


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
        return await cast("Callable[[BaseDBAsyncClient], Awaitable[str]]", write)(client)


def migrations() -> list[Migration]:
    """List the migrations in the order in which they are applied."""
    found = [(NAME.fullmatch(path.name), path) for path in FOLDER.glob("*.py")]
    listed = [Migration(int(match[1]), path.name, path) for match, path in found if match]
    return sorted(listed, key=lambda migration: (migration.number, migration.name))


async def pending_migrations() -> list[str]:
    """List the migrations that are not applied yet, with one query."""
    try:
        rows = await Aerich.filter(app=APP).values("version")
    except OperationalError as error:
        if not is_missing_table(error):
            raise
        rows = []
    applied = {row["version"] for row in rows}
    return [migration.name for migration in migrations() if migration.name not in applied]
