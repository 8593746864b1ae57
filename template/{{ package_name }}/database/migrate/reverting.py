"""Find what reverting migrations destroys."""

from . import renames
from .context import APP, connected, dialect
from .files import Migration, migrations
from .losses import Loss, losses
from .renames import Rename
from .state import StateReader, describe, with_targets


async def losses_of(reverted: list[Migration]) -> list[Loss]:
    """List the losses of reverting migrations.

    Args:
        reverted: the migrations, the newest first.
    """
    files = migrations()
    found: dict[str, Loss] = {}
    async with connected():
        reader, current = StateReader(dialect), describe(APP)
        for migration in reverted:
            place = files.index(migration)
            after = reader.tables(with_targets(migration.models_state, current))
            before_state = files[place - 1].models_state if place else {}
            before = reader.tables(with_targets(before_state, current))
            undone = renames.reversed_(Rename.parse(text) for text in migration.renames)
            for rename in undone:
                after = renames.apply(after, rename)
            for loss in losses(after, before, dialect, renames.original(undone)):
                found.setdefault(loss.place, loss)
    return list(found.values())
