"""Verify migrations in a scratch database: their tables, and the rows in them, up and down."""

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from aerich.utils import compress_dict, decompress_dict, get_models_describe
from tortoise import BaseDBAsyncClient, Tortoise
from tortoise.exceptions import ConfigurationError, OperationalError
from tortoise.fields import Field
from tortoise.utils import generate_schema_for_client

from ..checks import irreversible, missing_migrations
from ..context import APP, ENGINE, dialect
from ..conversions import renamed_members
from ..errors import MigrationError, StatementError
from ..files import SAMPLES, Direction, Function, Migration, migrations
from ..model_checks import refuse_models
from ..server_defaults import declared_defaults
from ..sessions import load
from ..state import StateReader, describe, indexes_by_column, unmanaged_tables, with_targets
from ..tables import Tables, in_circles
from .backfills import wrong_value
from .contents import NAME, Content, Places, Rows, State, changes, links, meaning, survivors
from .filler import Filler
from .kinds import kinds_of_state
from .probes import Failures, failures
from .schemas import (
    Schema,
    accepted_lines,
    changed_objects,
    compare,
    not_accepted,
    read,
    read_objects,
)

CHECK = re.compile(r"\b(?<!')CHECK\s*\(", re.IGNORECASE)  # guards have it in quotes
UPDATE = re.compile(rf"\bUPDATE\s+{NAME}\s+SET\b(.*?)(?=\bWHERE\b|;|$)", re.IGNORECASE | re.DOTALL)
COUNTED = re.compile(
    rf"\b(?:(?:DELETE|INSERT(?:\s+OR\s+\w+|\s+IGNORE)?)\s+(?:FROM|INTO)|TRUNCATE(?:\s+TABLE)?)"
    rf"\s+{NAME}",
    re.IGNORECASE,
)

sessions = load(ENGINE)

Fields = dict[tuple[str, str], Field[Any]]


@dataclass
class Verification:
    """The result of verification.

    Attributes:
        problems: what is wrong. The migrations are verified if it is empty.
        notes: what could not be verified, and why.
        summary: the result if there are no problems.
    """

    problems: list[str]
    notes: list[str]
    summary: str


async def verify(since: int = 0) -> Verification:
    """Verify that the migrations match the models, and that the new ones keep all rows.

    Args:
        since: the number of the newest released migration; those after it are applied to tables
            with rows, reverted, and applied a second time.

    Raises:
        MigrationError: a migration fails.
    """
    if missing := missing_migrations():
        raise MigrationError(missing[0])
    async with sessions.scratch_database() as client:
        refuse_models()
        return await _Verifier(client, since).run()


@dataclass(frozen=True)
class _Step:
    """A migration, with the models before and after it, and the tables unmanaged before it."""

    migration: Migration
    before: State
    after: State
    up: Function
    down: Function
    places: Places
    unmanaged: set[str]


@dataclass
class _Verifier:
    client: BaseDBAsyncClient
    since: int
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    without_rows: set[str] = field(default_factory=set)
    not_reverted: list[str] = field(default_factory=list)
    not_restored: set[str] = field(default_factory=set)
    objects_not_restored: list[str] = field(default_factory=list)
    any_reverted: bool = False
    filler: Filler = field(init=False)
    live: Fields = field(init=False)
    current: Mapping[tuple[str, str], Mapping[str, Any]] = field(init=False)
    described: dict[str, Any] = field(init=False)
    content: Content = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.filler = Filler(self.client)
        self.live = _live_fields()
        self.current = _fields(decompress_dict(compress_dict(get_models_describe(APP))))
        self.described = describe(APP)

    async def run(self) -> Verification:
        known = migrations()
        new = [migration for migration in known if migration.number > self.since]
        released = known[: len(known) - len(new)]
        for migration in released:
            await self._migrate(migration, "upgrade")
        described = released[-1].models_state if released else {}
        state = self._state(described)
        actual = await read(self.client)
        for migration in new:
            before, state = state, self._state(migration.models_state)
            step = _step(migration, before, state, unmanaged_tables(described))
            described = migration.models_state
            actual = await self._verify(step, actual)
        self._report(*await self._unmanaged())  # SQLite creates references to missing tables
        self.problems[:0] = not_accepted(await self._compare_with_models(actual), accepted_lines())
        self._refuse_stale_samples({migration.path.stem for migration in known})
        return Verification(self.problems, self.notes, self._summary())

    def _state(self, described: dict[str, Any]) -> State:
        described = with_targets(described, self.described)
        fields = _fields(described)
        members = {
            place: tuple(str(member.value) for member in enum)
            for place, live in self.live.items()
            if (enum := getattr(live, "enum_type", None))
            # another column may have had the name
            and fields.get(place, {}).get("field_type") == self.current[place]["field_type"]
        }
        tables = StateReader(dialect).tables(described)
        return State(tables, kinds_of_state(described, dialect.name, members), fields)

    async def _compare_with_models(self, actual: Schema) -> list[str]:
        tables = StateReader(dialect).tables(self.described)
        wanted = await self._created(actual, declared_defaults(self.client, tables))
        if any(actual.get(place) != facts for place, facts in wanted.items()):
            # Migrations that Aerich wrote have defaults as Tortoise writes them
            with suppress(MigrationError):
                theirs = await self._created(wanted, nullcontext())
                wanted |= {p: facts for p, facts in theirs.items() if actual.get(p) == facts}
        unmanaged = unmanaged_tables(get_models_describe(APP))
        wanted = {place: facts for place, facts in wanted.items() if place[0] not in unmanaged}
        actual = {place: facts for place, facts in actual.items() if place[0] not in unmanaged}
        return compare(actual, wanted, "the migrations", "the models")

    async def _created(self, existing: Schema, defaults: AbstractContextManager[None]) -> Schema:
        """Let Tortoise create the tables of the models, and read them.

        The existing tables are dropped first, since models may need the database's extensions.

        Raises:
            MigrationError: it cannot create them.
        """
        for statement in dialect.drop_tables({table for table, _ in existing} | {"aerich"}):
            await self.client.execute_script(statement)
        try:
            with indexes_by_column(APP), defaults:
                await generate_schema_for_client(self.client, safe=False)
        except (ConfigurationError, OperationalError) as error:
            advice = dialect.advice(str(error))
            tables = StateReader(dialect).tables(self.described)
            if isinstance(error, ConfigurationError) and (circle := in_circles(tables)):
                advice = (
                    f"{', '.join(circle)} refer to each other, so `verify` can neither compare nor "
                    "fill them. Replace one of these relations with a plain field, such as "
                    "other_id = fields.IntField(null=True), and write the migration again"
                )
            found = f"Tortoise cannot create the models' tables: {error}"
            raise MigrationError(f"{found}\n{advice}." if advice else found) from error
        return await read(self.client)

    def _refuse_stale_samples(self, names: set[str]) -> None:
        for path in sorted(SAMPLES.glob("*.sql")):
            if path.stem not in names:
                self._report(f"{path} has no migration {path.stem}.py: rename or delete it")

    def _summary(self) -> str:
        parts = []
        if self.without_rows:
            parts.append(f"not verified with rows: {', '.join(sorted(self.without_rows))}")
        if self.not_reverted:
            parts.append(f"{', '.join(self.not_reverted)} cannot be reverted")
        if self.not_restored:
            listed = ", ".join(sorted(self.not_restored))
            parts.append(f"reverting does not restore the rows of {listed}")
        parts += self.objects_not_restored
        matched = "Verified: migrations match the models"
        if parts:
            return "; ".join([matched, *parts])
        return f"{matched} and are reversible" if self.any_reverted else matched

    async def _verify(self, step: _Step, schema_before: Schema) -> Schema:
        """Apply a migration to rows, revert it, apply it again, and compare the results."""
        migration, before, after = step.migration, step.before, step.after
        simple = bool(CHECK.search(step.up.text + step.down.text))
        later = step.places.with_old_names(after)
        written = await self.filler.fill(before, later, migration, simple=simple)
        self._note_unfilled()
        known = {name: rows for name, rows in self.content.items() if name not in written}
        content = await self._content(before.tables, known)
        objects = await read_objects(self.client)
        failed = await failures(self.client, before.tables)
        if step.up.runs_python:
            self._note(f"{migration.name} runs Python: check which values it changes")
        await self._migrate(migration, "upgrade")
        changed = await self._content(after.tables)
        self._compare_rows(step, "upgrade", content, changed)
        self._check_new_columns(step, changed)
        renamed = {(step.places.tables.get(name, name), action) for name, action in failed}
        self._report_failures(step, "upgrade", await failures(self.client, after.tables), renamed)
        self.filler.follow(step.places, changed)
        self.content = {}
        schema_after = await read(self.client)
        await self.filler.fill_new(after)
        self._note_unfilled()
        if reason := irreversible(migration):
            if migration.name != migrations()[0].name:  # the first migration is never reverted
                self.not_reverted.append(migration.name)
                self._note(reason)
            return schema_after
        await self._migrate(migration, "downgrade")
        self.any_reverted = True
        existing = {table for table, _ in schema_before}
        kept = step.unmanaged - existing  # they could have existed, so they are not dropped
        reverted = compare(
            {place: v for place, v in (await read(self.client)).items() if place[0] not in kept},
            schema_before,
            f"{migration.name} (reverted)",
            "the migrations before it",
        )
        self._compare_objects(step, objects, await read_objects(self.client))
        found = await failures(self.client, before.tables)
        self._report_failures(step, "downgrade", found, failed.keys())
        self._compare_rows(step, "downgrade", content, await self._content(before.tables))
        await self._migrate(migration, "upgrade")
        again = compare(
            await read(self.client),
            schema_after,
            f"{migration.name} (applied a second time)",
            "its first run",
        )
        self._report(*reverted, *again)
        changed = await self._content(after.tables)
        self._compare_rows(step, "upgrade", content, changed)
        self.filler.count(changed)
        self.content = changed
        return schema_after

    async def _migrate(self, migration: Migration, direction: Direction) -> None:
        """Run a migration.

        Raises:
            MigrationError: it failed. The message is about the scratch database only.
        """
        try:
            await sessions.run(self.client, migration, direction)
        except StatementError as error:
            lines = [
                error.in_scratch_database(migration.name, direction),
                f"Fix {direction}() in {migration.path}.",
                *await self._unmanaged(),
            ]
            raise MigrationError("\n".join([*lines, *self._hint(migration)])) from error
        except MigrationError as error:
            if migration.function(direction).raises is not None:
                raise  # no rows would change that
            lines = [f"In the scratch database: {error}", *self._hint(migration)]
            raise MigrationError("\n".join(lines)) from error

    async def _unmanaged(self) -> list[str]:
        """Explain references to tables of unmanaged models that no migration creates."""
        existing = {table for table, _ in await read(self.client)}
        unmanaged = unmanaged_tables(self.described)
        return [
            f"{table.name}.{key.column} refers to {key.table}, which no migration creates, since its "
            "model is not managed: delete this migration and run `new` again with db_constraint=False "
            "in the models, or create the table in a migration before it."
            for table in StateReader(dialect).tables(self.described).values()
            for key in sorted(table.foreign_keys, key=str)
            if key.enforced and key.table in unmanaged - existing
        ]

    def _hint(self, migration: Migration) -> list[str]:
        """Explain which rows a migration ran on, and how to supply others."""
        path = migration.samples
        if path.exists():
            return [f"It ran on the rows of {path} and on generated rows."]
        if not any(self.filler.counts.values()):
            return []
        fix = f"If your rows differ, write INSERT statements for such rows into {path}."
        return [f"It ran on generated rows. {fix}"]

    async def _content(self, tables: Tables, known: Mapping[str, Rows] | None = None) -> Content:
        """Read all rows. The schema comparison reports missing tables and columns.

        Args:
            tables: the tables.
            known: rows of tables that are the same since they were read.
        """
        content = dict(known or {})
        for name, table in tables.items():
            if name in content:
                continue
            columns = ", ".join(map(dialect.quote, table.columns))
            for selected in (columns, "*"):
                with suppress(OperationalError):
                    query = f"SELECT {selected} FROM {dialect.quote(name)}"
                    content[name] = await self.client.execute_query_dict(query)
                    # SQLite reads the name of a missing column as a string
                    if not content[name] or table.columns.keys() <= content[name][0].keys():
                        break
        return content

    def _compare_rows(
        self, step: _Step, direction: Direction, content: Content, found: Content
    ) -> None:
        """Compare the rows before a migration with those after it or after its revert."""
        for name, new_name in step.places.tables.items():
            is_revert = direction == "downgrade"
            after = found.get(name if is_revert else new_name)
            if after is None or name not in content:
                continue
            kept = survivors(name, step.before, step.after, step.places)
            kept = kept.reverted() if is_revert else kept
            states, both = (step.before, step.after), (content, found)
            linked = links(name, states, step.places, both, is_revert=is_revert)
            rows = content[name]
            for s, new in linked.items():
                kept.columns.append(s)
                rows = [
                    row | {s.old: new.get(meaning(row.get(s.old), convert=True))} for row in rows
                ]
            for column, example in changes(rows, after, kept).items():
                message = f"{name}.{column}: {example}" if column else f"{name}: {example}"
                is_link = any(s.old == column for s in linked) and not step.up.runs_python
                if is_link or not _is_intended(step, name, column):
                    self._report(f"{step.migration.name}: {direction}() changes {message}")
                elif is_revert:
                    self._note(f"{step.migration.name}: reverting does not restore {message}")
                    self.not_restored.add(name)
                else:
                    self._note(f"{step.migration.name} changes {message}")

    def _compare_objects(self, step: _Step, before: Schema, reverted: Schema) -> None:
        """Note the views, triggers and others that a revert does not restore."""
        if changed := changed_objects(before, reverted):
            found = f"reverting {step.migration.name} does not restore {', '.join(changed)}"
            self._note(f"{found}: add them to downgrade(), if older releases need them")
            self.objects_not_restored.append(found)

    def _report_failures(
        self, step: _Step, direction: Direction, found: Failures, before: Iterable[tuple[str, str]]
    ) -> None:
        """Report views and triggers that fail, unless they failed before the migration."""
        for name, action in sorted(found.keys() - set(before)):
            what = f"view {name}" if action == "SELECT" else f"{action} {name}, which has triggers,"
            self._report(
                f"{step.migration.name}: {what} fails after {direction}(): {found[name, action]}."
                " Drop what uses the old names first, and create it again at the end"
            )

    def _check_new_columns(self, step: _Step, found: Content) -> None:
        """Check that existing rows have the default in new columns."""
        for name, new_name in step.places.tables.items():
            old = {step.places.columns[name, column] for column in step.before.tables[name].columns}
            for column in step.after.tables[new_name].columns.keys() - old:
                place = (new_name, column)
                described = step.after.fields.get(place)
                if described is None:
                    continue
                live = self.live.get(place) if self.current.get(place) == described else None
                values = [row[column] for row in found.get(new_name, []) if column in row]
                chosen = (
                    described["unique"] or step.up.runs_python or _is_updated(step, name, column)
                )
                kind = step.after.kind(*place)
                if wrong := wrong_value(values, described, kind, live, chosen=chosen):
                    self._report(f"{new_name}.{column}: existing rows get {wrong}")

    def _note_unfilled(self) -> None:
        for name, why in self.filler.unfilled.items():
            self._note(f"{name} could not be filled with rows: {why}")
            self.without_rows.add(name)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _report(self, *problems: str) -> None:
        self.problems += [problem for problem in problems if problem not in self.problems]


def _step(migration: Migration, before: State, after: State, unmanaged: set[str]) -> _Step:
    up, down = migration.function("upgrade"), migration.function("downgrade")
    places = Places.after(migration.renames, up.text, before.tables, after.tables)
    return _Step(migration, before, after, up, down, places, unmanaged)


def _is_intended(step: _Step, table: str, column: str) -> bool:
    """Return whether a migration changes values on purpose, not only the schema."""
    if step.up.runs_python:
        return True
    names = {table, step.places.tables[table]}
    if not column:
        return any(match[1] in names for match in COUNTED.finditer(step.up.text))
    old = step.before.tables[table].columns.get(column)
    now = step.places.columns.get((table, column), column)
    new = step.after.tables[step.places.tables[table]].columns.get(now)
    renames_members = old and new and renamed_members(old, new)
    return bool(old == new or renames_members) and _is_updated(step, table, now)


def _is_updated(step: _Step, table: str, column: str) -> bool:
    """Return whether a migration's SQL updates a column of a table."""
    names = {table, step.places.tables[table]}
    return any(
        match[1] in names and re.search(rf"\b{re.escape(column)}\b", match[2])
        for match in UPDATE.finditer(step.up.text)
    )


def _live_fields() -> Fields:
    """Return the models' fields by table and column."""
    found: Fields = {}
    for model in Tortoise.apps[APP].values():
        for name, column in model._meta.fields_db_projection.items():
            found[model._meta.db_table, column] = model._meta.fields_map[name]
    return found


def _fields(described: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (model["table"], field_["db_column"]): field_
        for model in described.values()
        for field_ in (model["pk_field"], *model["data_fields"])
    }
