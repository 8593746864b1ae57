"""Find what changed in the models since the newest migration, without a server."""

from .context import APP, connected, dialect
from .files import Migration, migrations
from .model_checks import refuse_models
from .past_indexes import with_unique_indexes
from .planning import Plan, Planner, same_tables
from .renames import Ask
from .state import State, StateReader, describe, live_models


async def changed_tables(newest: Migration) -> list[str]:
    """List the tables that changed in the models since the newest migration."""
    async with connected():
        old_state, state = _state(newest), describe(APP)
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
        return planner.plan(_state(newest), describe(APP), live_models(APP), answers, ask)


def _state(newest: Migration) -> State:
    """Read the models after the newest migration, and what only the SQL of the migrations shows."""

    def read_upgrades() -> list[str]:
        return [migration.function("upgrade").text for migration in migrations()]

    return with_unique_indexes(newest.models_state, read_upgrades, StateReader(dialect).index_name)
