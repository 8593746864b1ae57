"""Find what changed in the models since the newest migration, without a server."""

from .context import APP, connected, dialect
from .files import Migration
from .model_checks import refuse_models
from .planning import Plan, Planner, same_tables
from .renames import Ask
from .state import describe, live_models


async def changed_tables(newest: Migration) -> list[str]:
    """List the tables that changed in the models since the newest migration."""
    async with connected():
        old_state, state = newest.models_state, describe(APP)
        before, after = Planner(dialect).compare(old_state, state, live_models(APP))
    same = same_tables(old_state, state)
    moved = {table for old, new in same.items() if old != new for table in (old, new)}
    return sorted(moved | {t for t in before.keys() | after if before.get(t) != after.get(t)})


async def plan(newest: Migration, answers: list[str], ask: Ask | None) -> Plan | None:
    """Plan the next migration from what changed in the models.

    Args:
        newest: the newest migration.
        answers: renames, in the form that `Planner.plan` takes.
        ask: asks whether something was renamed; None without a terminal.

    Returns:
        The plan, or None if the tables did not change.

    Raises:
        MigrationError: an answer is missing or does not fit, or the models have a problem.
    """
    async with connected():
        refuse_models()
        planner = Planner(dialect)
        return planner.plan(newest.models_state, describe(APP), live_models(APP), answers, ask)
