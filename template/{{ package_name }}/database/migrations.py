"""What the database lacks of the migrations in `migrations/`."""

from pathlib import Path

from aerich.models import Aerich
from tortoise.exceptions import OperationalError

from .engine import is_missing_table

FOLDER = Path(__file__).parent.parent.parent / "migrations" / "models"


def migration_files() -> list[str]:
    """List the names of the migration files in the order in which Aerich applies them."""
    names = [path.name for path in FOLDER.glob("*_*.py") if path.name.split("_")[0].isdigit()]
    return sorted(names, key=lambda name: int(name.split("_")[0]))


async def pending_migrations() -> list[str]:
    """List the migrations that are not applied yet, with one query."""
    try:
        rows = await Aerich.filter(app="models").only("version")
    except OperationalError as error:
        if not is_missing_table(error):
            raise
        rows = []
    applied = {row.version for row in rows}
    return [name for name in migration_files() if name not in applied]
