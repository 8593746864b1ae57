"""Write a migration to fill in by hand."""

import re
from pathlib import Path

from aerich.migrate import Migrate

from .checks import content_problems, folder_problems
from .errors import MigrationError
from .files import migrations
from .writer import create_file

_LONGEST_NAME = 200  # characters: a file name has at most 255 bytes

UPGRADE = '''\
    raise NotImplementedError("fill in upgrade(), and delete this line")
    # In Python: await db.execute_query("UPDATE users SET name = name", [])
    return """
        -- in SQL, with a semicolon after each statement
    """
'''
DOWNGRADE = '''\
    raise NotImplementedError("fill in downgrade() and delete this line, or say here why it cannot")
    return """
        -- in SQL, with a semicolon after each statement
    """
'''


def write_empty(name: str) -> Path:
    """Write a migration whose functions raise an error until they are filled in.

    Raises:
        MigrationError: the name is not valid, or the migrations have a problem.
    """
    check_name(name)
    files = migrations()
    if problems := folder_problems() or content_problems(files):
        raise MigrationError("\n".join([*problems, "Nothing was written."]))
    # Keep the state of the newest migration: later changes belong to the next `new`
    text = Migrate.build_migration_file_text("", files[-1].models_state, "")
    for function, body in (("upgrade", UPGRADE), ("downgrade", DOWNGRADE)):
        start = text.index("\n", text.index(f"async def {function}")) + 1
        end = text.index('"""\n', text.index('"""', start) + 3) + 4
        text = text[:start] + body + text[end:]
    return create_file(files[-1].number + 1, name, text)


def check_name(name: str) -> None:
    """Raise MigrationError if a name is not valid for a migration."""
    if len(name) > _LONGEST_NAME:
        raise MigrationError(f"Shorten the name to {_LONGEST_NAME} characters: it has {len(name)}")
    if not re.fullmatch("[a-z0-9_]+", name):
        raise MigrationError(f"Use only a-z, 0-9 and _ in the name: Aerich ignores {name!r}")
