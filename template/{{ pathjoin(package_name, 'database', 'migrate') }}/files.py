"""Load the migration files."""

import ast
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tortoise import BaseDBAsyncClient

from .context import FOLDER
from .errors import MigrationError

# Aerich silently ignores every other name
NAME = re.compile(r"([0-9]+)_[^.]+\.py")

# The team's: INSERT statements, in a file for each migration that needs some
SAMPLES = FOLDER.parent / "samples"

Direction = Literal["upgrade", "downgrade"]

# SQL that does nothing
NOTHING = re.compile(r"(\s|;|(--|#)[^\n]*|/\*(?!!).*?\*/)*", re.DOTALL)


@dataclass(frozen=True)
class Function:
    """What the syntax tree of a migration's function shows, without a call.

    Attributes:
        raises: its message if it only raises an error, else None.
        runs_python: whether it runs Python, which may change rows when it is called.
        empty: whether it does nothing at all.
        text: its string constants, such as SQL.
    """

    raises: str | None = None
    runs_python: bool = False
    empty: bool = False
    text: str = ""


@dataclass(frozen=True)
class Migration:
    """A migration file.

    Attributes:
        number: its position in the order.
        name: the file's name, which is its version for Aerich.
        path: the file.
    """

    number: int
    name: str
    path: Path

    @cached_property
    def text(self) -> str:
        """The file's text.

        Raises:
            MigrationError: it cannot be read.
        """
        return read_text(self.path)

    @cached_property
    def syntax(self) -> ast.Module:
        """The file's syntax tree.

        Raises:
            MigrationError: it is not Python.
        """
        try:
            return ast.parse(self.text, self.name)
        except (SyntaxError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise MigrationError(f"{self.name} cannot be imported: {problem}") from error

    @cached_property
    def content(self) -> dict[str, Any]:
        """The names that the file defines.

        Raises:
            MigrationError: it cannot be run.
        """
        names: dict[str, Any] = {"__name__": self.path.stem, "__file__": str(self.path)}
        try:
            # Python's import cache misses a file that is edited twice within a second
            exec(compile(self.syntax, self.path, "exec"), names)  # noqa: S102 - migrations are Python code
        except MigrationError:
            raise
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise MigrationError(f"{self.name} cannot be imported: {problem}") from error
        return names

    @property
    def samples(self) -> Path:
        """The team's file of sample rows, which may not exist."""
        return SAMPLES / f"{self.path.stem}.sql"

    @property
    def run_in_transaction(self) -> bool:
        return bool(self.content.get("RUN_IN_TRANSACTION", True))

    @cached_property
    def models_state(self) -> dict[str, Any]:
        """The models after this migration; empty if the file does not store them.

        Raises:
            MigrationError: the file or its state cannot be read.
        """
        from aerich.utils import decompress_dict

        state = self.content.get("MODELS_STATE")
        try:
            return decompress_dict(state) if state else {}
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise MigrationError(f"{self.name} cannot be read: {problem}") from error

    @property
    def unverified(self) -> str:
        """Why the file must not be applied yet; empty if it may be."""
        return str(self._constant("UNVERIFIED") or "")

    @property
    def replaces(self) -> tuple[str, ...]:
        """The names of the migrations that this one replaces."""
        return self._names("REPLACES")

    @property
    def renames(self) -> tuple[str, ...]:
        """What this migration renames, in order: `old=new` or `table.old=new`."""
        return self._names("RENAMES")

    def function(self, direction: Direction) -> Function:
        """Inspect the file's upgrade or downgrade without calling it."""
        for node in reversed(self.syntax.body):
            if isinstance(node, (ast.AsyncFunctionDef, ast.FunctionDef)) and node.name == direction:
                return _function(node)
        return Function(empty=True) if direction not in self.content else Function(runs_python=True)

    async def sql(self, client: BaseDBAsyncClient, direction: Direction) -> str:
        """Call the file's upgrade or downgrade, and return its SQL.

        Raises:
            MigrationError: the file has no such function, or it failed.
        """
        if (function := self.content.get(direction)) is None:
            raise MigrationError(f"{self.name} has no function {direction}()")
        try:
            return str(await function(client) or "")
        except NotImplementedError as error:
            raise MigrationError(f"{self.name} is unfinished: {error}") from error
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise MigrationError(f"{self.name}: {direction}() failed: {problem}") from error

    def _names(self, constant: str) -> tuple[str, ...]:
        names = self._constant(constant)
        return tuple(map(str, names)) if isinstance(names, (tuple, list)) else ()

    def _constant(self, name: str) -> object:
        if name not in self.text:  # parsing is slow, and readiness checks wait for it
            return None
        for node in self.syntax.body:
            if isinstance(node, ast.AnnAssign):
                targets: list[ast.expr] = [node.target]
            elif isinstance(node, ast.Assign):
                targets = node.targets
            else:
                continue
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return self.content.get(name)
        return None


def migrations() -> list[Migration]:
    """List the migrations in the order in which they are applied."""
    found = [(NAME.fullmatch(path.name), path) for path in FOLDER.glob("*.py")]
    listed = [Migration(int(match[1]), path.name, path) for match, path in found if match]
    return sorted(listed, key=lambda migration: (migration.number, migration.name))


def find(name: str) -> Migration | None:
    """Find a migration by the name of its file."""
    return next((migration for migration in migrations() if migration.name == name), None)


def gone(name: str) -> Migration:
    """Describe a migration whose file is missing, which can only be recorded as reverted."""
    return Migration(number(name), name, FOLDER / name)


def number(name: str) -> int:
    """Return the number in a migration's name; a number after all others if it has none."""
    match = NAME.fullmatch(name)
    return int(match[1]) if match else 2**63


def read_text(path: Path) -> str:
    """Read a file that the team may have edited.

    Raises:
        MigrationError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise MigrationError(f"{path.name} cannot be read: {error}") from error


def _function(node: ast.AsyncFunctionDef | ast.FunctionDef) -> Function:
    body = node.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]  # a docstring, or `...`
    parts = [part for statement in body for part in ast.walk(statement)]
    text = "\n;\n".join(
        part.value
        for part in parts
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )
    if body and isinstance(body[0], ast.Raise):
        return Function(raises=_message(body[0].exc), text=text)
    waits = (ast.Await, ast.AsyncFor, ast.AsyncWith)
    if any(isinstance(part, waits) for part in parts):
        return Function(runs_python=True, text=text)
    return Function(empty=all(_is_empty(statement) for statement in body), text=text)


def _is_empty(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Return):
        return isinstance(statement, ast.Pass)
    value = statement.value
    if value is None:
        return True
    if not isinstance(value, ast.Constant):
        return False
    return value.value is None or NOTHING.fullmatch(str(value.value)) is not None


def _message(error: ast.expr | None) -> str:
    """Return the message of a raised error, or its source text."""
    if isinstance(error, ast.Call) and error.args and isinstance(error.args[0], ast.Constant):
        return str(error.args[0].value)
    return ast.unparse(error) if error else "it raises an error"
