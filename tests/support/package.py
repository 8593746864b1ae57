"""Modules as the template has them, imported without a render."""

import importlib
import sys
import types
from pathlib import Path
from typing import Any

from tools.render import REPOSITORY

FOLDER = REPOSITORY / "template" / "{{ pathjoin(package_name, 'database', 'migrate') }}"


def make_importable() -> None:
    """Let `migration_package` import the template's modules.

    Modules that need a service (its settings, its database) are not among those that tests import.
    """
    _make_package("migration_package", FOLDER)


def import_engine_module(engine: str, name: str) -> Any:
    """Import a module that only services of one engine have."""
    package = f"{engine}_engine"
    _make_package(package, REPOSITORY / "includes" / "engines" / engine)
    return importlib.import_module(f"{package}.{name}")


def _make_package(name: str, folder: Path) -> None:
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
