"""Apply migrations, and take them back."""

from aerich.models import Aerich
from tortoise import BaseDBAsyncClient

from .dialect import carry_out, split
from .files import APP, Migration

__all__ = ["apply", "revert", "split"]


async def apply(client: BaseDBAsyncClient, migration: Migration) -> None:
    """Run a migration's upgrade on the client's database and record it in Aerich's table.

    Raises:
        MigrationError: a statement failed; the message says what of the migration is kept.
    """

    async def record(db: BaseDBAsyncClient) -> None:
        await Aerich.create(
            version=migration.name, app=APP, content=migration.models_state, using_db=db
        )

    await carry_out(client, migration, migration.upgrade_sql, record)


async def revert(client: BaseDBAsyncClient, migration: Migration) -> None:
    """Run a migration's downgrade on the client's database and delete its record.

    Raises:
        MigrationError: a statement failed; the message says what of the migration is kept.
    """

    async def record(db: BaseDBAsyncClient) -> None:
        await Aerich.filter(app=APP, version=migration.name).using_db(db).delete()

    await carry_out(client, migration, migration.downgrade_sql, record)
