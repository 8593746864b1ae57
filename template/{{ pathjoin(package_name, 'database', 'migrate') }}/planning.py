"""Plan a migration from one description of the models to the next, without a database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from . import diff, renames
from .conversions import becomes_enum, removed_members, renamed_members
from .dialects import Dialect
from .diff import Diff
from .losses import Loss, dropped, losses, replaced_values
from .renames import Ask, Rename
from .state import Models, State, StateReader, is_managed, unmanaged_tables, with_targets
from .tables import Table, Tables


@dataclass(frozen=True)
class Plan:
    """A planned migration.

    Attributes:
        state: Aerich's description of the models after it.
        renames: what it renames, in order.
        upgrade: the SQL of its upgrade, including guards and renames.
        downgrade: the SQL of its downgrade, including guards and renames.
        losses: the losses of its upgrade.
        replaced: the values that its upgrade replaces, such as NULL with a default.
        dropped: the tables and columns that its upgrade drops.
        unmanaged: the tables of unmanaged models, before and after.
        adopted: the tables of models that were unmanaged before, which its downgrade keeps.
        released: the tables of models that are unmanaged now, which it leaves alone.
    """

    state: State
    renames: list[Rename]
    upgrade: Diff
    downgrade: Diff
    losses: list[Loss]
    replaced: list[Loss]
    dropped: set[str]
    unmanaged: set[str]
    adopted: set[str]
    released: set[str]


class Planner:
    """Compares descriptions of models.

    Args:
        dialect: the engine's SQL.
        reader: reads tables from descriptions; by default, for the default connection.
    """

    def __init__(self, dialect: Dialect, reader: StateReader | None = None) -> None:
        self._dialect = dialect
        self._reader = reader or StateReader(dialect)

    def compare(
        self, old_state: State, state: State, models: Models | None = None
    ) -> tuple[Tables, Tables]:
        """Return the managed tables before and after a change.

        A table that is no longer managed is in neither, so it does not change. A table that is
        managed again may already exist.
        """
        old = self._reader.tables(with_targets(old_state, state))
        new = self._reader.tables(state, models)
        unmanaged_now, unmanaged_before = unmanaged_tables(state), unmanaged_tables(old_state)
        before = {
            name: _with_new_members(table, new[name]) if name in new else table
            for name, table in old.items()
            if name not in unmanaged_now
        }
        after = {
            name: replace(table, may_exist=name in unmanaged_before and name not in old)
            for name, table in new.items()
        }
        return before, after

    def plan(
        self, old_state: State, state: State, models: Models, answers: list[str], ask: Ask | None
    ) -> Plan | None:
        """Plan the migration from one description of the models to the next.

        Args:
            old_state: the models after the newest migration.
            state: the description of the current models.
            models: the model classes.
            answers: renames, `old=new` or `table.old=new`.
            ask: asks about renames that `answers` do not mention; None without a terminal.

        Returns:
            The plan, or None if the tables did not change.

        Raises:
            MigrationError: an answer is missing or does not match the models.
        """
        old, new = self.compare(old_state, state, models)
        same = same_tables(old_state, state)
        # models with equal tables may exchange them
        unmanaged = unmanaged_tables(state) | unmanaged_tables(old_state)
        if old == new and all(before == after for before, after in same.items()):
            renames.refuse_unmanaged(answers, unmanaged)
            return None

        def same_after(done: Sequence[Rename]) -> dict[str, str]:
            return same_tables(old_state, state, done)

        known = renames.Answers(answers, ask, unmanaged)
        found = renames.find(old, new, same_after, known)
        old = renames.apply_all(old, found)
        original = renames.original(found)
        upgrade = diff.between(old, new, self._dialect, original)
        adopted = {name for name, table in new.items() if table.may_exist}
        remaining = {name: table for name, table in new.items() if name not in adopted}
        managed = {m["table"] for name, m in old_state.items() if is_managed(name, m)}
        released = managed & unmanaged_tables(state)
        downgrade = diff.between(remaining, old, self._dialect, reverts=True)
        forth = [sql for rename in found for sql in rename.sql(self._dialect)]
        back = [sql for rename in renames.reversed_(found) for sql in rename.sql(self._dialect)]
        upgrade.statements[:0] = upgrade.guards + forth
        downgrade.statements[:0] = downgrade.guards
        downgrade.statements += back
        lost = losses(old, new, self._dialect, original)
        replaced = replaced_values(upgrade, self._dialect, original)
        gone = dropped(old, new, original)
        return Plan(
            state, found, upgrade, downgrade, lost, replaced, gone, unmanaged, adopted, released
        )


def same_tables(old: State, new: State, done: Sequence[Rename] = ()) -> dict[str, str]:
    """Map the tables of models and relations that kept their names to their new tables.

    Args:
        old: the models before.
        new: the models after.
        done: renames of tables. A model whose table has its new name is the same model.
    """
    names = {model["table"]: name for name, model in new.items()}
    tables = renames.renamed_tables((model["table"] for model in old.values()), done)
    known = {}
    for name, model in old.items():
        current = names.get(tables[model["table"]], name)
        is_moved = tables[model["table"]] != model["table"]
        if is_moved or (name not in new and current not in old):
            known[name] = current
    before, after = _by_names(old, known), _by_names(new, {})
    return {table: after[key] for key, table in before.items() if key in after}


def _by_names(state: State, known: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Map the names of models and automatic relations to their tables.

    Args:
        state: the models.
        known: the new names of renamed models.
    """
    found: dict[tuple[str, ...], str] = {}
    tables = {model["table"] for model in state.values()}
    for name, model in state.items():
        if is_managed(name, model):
            found[(known.get(name, name),)] = model["table"]
            for relation in model["m2m_fields"]:
                if not relation["_generated"] and relation["through"] not in tables:
                    ends = (known.get(end, end) for end in (name, relation["model_name"]))
                    found[relation["name"], *ends] = relation["through"]
    return found


def _with_new_members(old: Table, new: Table) -> Table:
    """Ignore enums that only gain members, or whose members are not known."""
    columns = dict(old.columns)
    for name in old.columns.keys() & new.columns.keys():
        after = new.columns[name]
        before = columns[name]
        is_same = not removed_members(before, after) and not renamed_members(before, after)
        if not after.members or (is_same and not becomes_enum(before, after)):
            columns[name] = replace(before, members=after.members, labels=after.labels)
    return replace(old, columns=columns)
