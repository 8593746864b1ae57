import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ..conftest import MakeService
from ..support.databases import new_database
from ..support.model_changes import BEFORE
from ..support.services import Service
from .support import MIGRATE, MODELS, Changing

# What the models of `BEFORE` lack of the template's
DROPPED = (
    "link_tokens",
    "sessions",
    *(f"users.{name}" for name in ("is_active", "is_admin", "is_verified")),
    *(f"users.{name}" for name in ("created_at", "last_login_at")),
)

# Python would take what is edited twice within a second for unchanged
NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="session")
def _bases(
    _renders: Callable[[str], tuple[Path, Path]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Path]]:
    """Give each engine's service the models of `BEFORE` and their migration, once."""
    bases: dict[str, tuple[Path, Path]] = {}

    def base(engine: str) -> tuple[Path, Path]:
        if engine not in bases:
            rendered, commands = _renders(engine)
            folder = tmp_path_factory.mktemp("base") / engine
            shutil.copytree(rendered, folder, ignore=shutil.ignore_patterns(".venv"))
            (folder / MODELS).write_text(BEFORE, encoding="utf-8")
            with new_database(engine, folder) as database:
                service = Service(folder, commands, database, environment=NO_BYTECODE, forks=True)
                drops = (part for place in DROPPED for part in ("--drop", place))
                service.run(*MIGRATE, "new", "models", *drops)
            bases[engine] = folder, commands
        return bases[engine]

    return base


@pytest.fixture
def make_service(make_service: MakeService) -> MakeService:
    """Create services whose migration commands are forks: see `tests/support/forks.py`."""

    def make(*arguments: Any, **options: Any) -> Service:
        return replace(make_service(*arguments, **options), forks=True)

    return make


@pytest.fixture
def make_changing(
    _bases: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> Iterator[Callable[..., Changing]]:
    """Make services with the models of `BEFORE`, to be changed."""
    with ExitStack() as stack:

        def make(engine: str, name: str = "service") -> Changing:
            folder, commands = _bases(engine)
            shutil.copytree(folder, tmp_path / name)
            database = stack.enter_context(new_database(engine, tmp_path))
            service = Service(
                *(tmp_path / name, commands, database), environment=NO_BYTECODE, forks=True
            )
            stack.callback(service.kill)
            return Changing(service)

        yield make


@pytest.fixture
def changing(engine: str, make_changing: Callable[..., Changing]) -> Changing:
    """One of each engine."""
    return make_changing(engine)
