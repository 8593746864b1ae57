"""The migration package as the template has it, imported without a render."""

import sys
import types

from tools.render import REPOSITORY

FOLDER = REPOSITORY / "template" / "{{ pathjoin(package_name, 'database', 'migrate') }}"


def make_importable() -> None:
    """Let `migration_package` import the template's modules.

    Modules that need a service (its settings, its database) are not among those that tests import.
    """
    if "migration_package" not in sys.modules:
        package = types.ModuleType("migration_package")
        package.__path__ = [str(FOLDER)]
        sys.modules["migration_package"] = package
