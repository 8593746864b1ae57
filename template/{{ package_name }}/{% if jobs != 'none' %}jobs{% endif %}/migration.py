"""Migrations of the queue's tables, which PgQueuer describes."""

from ..database.migrate.files import migrations
from ..database.migrate.writer import Content, write_file
from .queue import QUEUE, queue
from .tables import missing_statements

NAME = "jobs"


async def write_migration() -> str:
    """Write the next migration if the queue's tables are missing or outdated.

    Returns:
        What was done.
    """
    async with queue() as queries:
        upgrade = await missing_statements(queries)
        is_new = not await queries.schema_is_installed()
    if not upgrade:
        return "Nothing to do: the queue's tables are up to date"
    downgrade, missing = [], {}
    if is_new:
        # roles that read and write rows have no right to what is in a new schema
        upgrade.append(f"GRANT USAGE ON SCHEMA {QUEUE.db_schema} TO PUBLIC")
        downgrade.append(f"DROP SCHEMA {QUEUE.db_schema} CASCADE")
    else:
        missing["downgrade"] = {"the queue's tables": "need statements of your own"}
    newest = migrations()[-1]
    content = Content(upgrade, downgrade, newest.models_state, missing=missing)
    path = write_file(newest.number + 1, NAME, content)
    return f"Wrote {path}: review it, then upgrade"
