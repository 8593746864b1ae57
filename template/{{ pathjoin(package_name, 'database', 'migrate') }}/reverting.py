"""Find what reverting migrations destroys or replaces."""

from . import diff, renames
from .context import APP, connected, dialect
from .files import Migration, migrations
from .losses import Loss, losses, replaced_values
from .renames import Rename
from .state import StateReader, describe, with_targets


async def losses_of(reverted: list[Migration]) -> list[Loss]:
    """List the losses of reverting migrations, and the values that it replaces.

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
            names = before.keys() | after.keys()
            undone = renames.reversed_(Rename.parse(text, names) for text in migration.renames)
            after = renames.apply_all(after, undone)
            original = renames.original(undone)
            for loss in losses(after, before, dialect, original):
                found.setdefault(loss.place, loss)
            changes = diff.between(after, before, dialect, original, reverts=True)
            for loss in replaced_values(changes, dialect, original):
                found.setdefault(f"{loss.place} {loss.what}", loss)
    return list(found.values())
