"""Write a migration to fill in by hand."""

from pathlib import Path

from aerich.migrate import Migrate

from .files import Migration
from .writer import create_file

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


def write_empty(newest: Migration, name: str) -> Path:
    """Write a migration whose functions raise an error until they are filled in.

    Args:
        newest: the migration before it.
        name: what it changes.
    """
    # Keep the state of the newest migration: later changes belong to the next `new`
    text = Migrate.build_migration_file_text("", newest.models_state, "")
    for function, body in (("upgrade", UPGRADE), ("downgrade", DOWNGRADE)):
        start = text.index("\n", text.index(f"async def {function}")) + 1
        end = text.index('"""\n', text.index('"""', start) + 3) + 4
        text = text[:start] + body + text[end:]
    return create_file(newest.number + 1, name, text)
