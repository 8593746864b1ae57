"""Write the next migration: the SQL that takes the last one's tables to those of the models."""

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aerich import utils as aerich
from aerich.migrate import Migrate
from tortoise import Tortoise
from tortoise.backends.base.schema_generator import BaseSchemaGenerator
from tortoise.connection import get_connection
from tortoise.fields import db_defaults
from tortoise.utils import get_schema_sql

from ..engine import OTHER_ENGINES
from . import schema
from .apply import connected
from .files import (
    APP,
    COMMAND,
    FOLDER,
    Migration,
    MigrationError,
    content_faults,
    folder_faults,
    migrations,
)

State = dict[str, dict[str, Any]]

NUMBER = re.compile(r"(SMALL|BIG)?INT|DECIMAL|DOUBLE|REAL|NUMERIC", re.IGNORECASE)
INTEGER = re.compile(r"(SMALL|BIG)?INT", re.IGNORECASE)
TEXT = re.compile(r"(VAR)?CHAR|(LONG)?TEXT", re.IGNORECASE)

NO_VALUE = "may not be null, but existing rows have no value"


@dataclass(frozen=True)
class Column:
    """A column: type, default and comment in SQL, and what existing rows get where it is new."""

    name: str
    type: str
    null: bool
    default: str = ""
    auto: bool = False
    primary: bool = False
    comment: str = ""
    fill: str = field(default="", compare=False)
    converted: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Key:
    """A unique constraint or an index: its name, and those that it may have been given instead."""

    names: tuple[str, ...]
    columns: tuple[str, ...]
    unique: bool
    kind: str = ""
    extra: str = ""


@dataclass(frozen=True)
class ForeignKey:
    names: tuple[str, ...]
    column: str
    table: str
    to: str
    on_delete: str


@dataclass(frozen=True)
class Table:
    name: str
    columns: dict[str, Column]
    keys: frozenset[Key]
    foreign_keys: frozenset[ForeignKey]
    comment: str

    def keys_on(self, column: str) -> frozenset[Key]:
        """List the keys that begin with a column."""
        return frozenset(key for key in self.keys if key.columns[0] == column)


Tables = dict[str, Table]


def tables(state: State) -> Tables:
    """Describe the tables that Tortoise makes of the models that a migration file holds."""
    client = get_connection("default")
    return _Models(state, client.schema_generator(client)).tables()


@dataclass
class _Models:
    state: State
    generator: BaseSchemaGenerator

    def tables(self) -> Tables:
        models = [model for model in self.state.values() if model.get("managed") is not False]
        found = {m["table"]: self._table(m) for m in models if m["name"] != f"{APP}.Aerich"}
        for model in models:
            for relation in model["m2m_fields"]:
                if relation["through"] not in found and not relation["_generated"]:
                    found[relation["through"]] = self._through(model, relation)
        return found

    def _table(self, model: dict[str, Any]) -> Table:
        table: str = model["table"]
        others = [f for f in model["data_fields"] if f.get("db_field_types")]
        relations = [*model["fk_fields"], *model["o2o_fields"]]
        names = {f["name"]: f["db_column"] for f in (model["pk_field"], *others)}
        names |= {f["name"]: names[f["raw_field"]] for f in relations}
        columns = [self._column(model["pk_field"], primary=True), *map(self._column, others)]
        keys = []
        for f in others:
            if f["unique"]:
                keys.append(self._key(table, [f["db_column"]], "uid", schema.UNIQUE_NAMES))
            elif f["indexed"]:
                keys.append(self._key(table, [f["db_column"]], "idx"))
        together = [[names[f] for f in fields] for fields in model["unique_together"]]
        keys += [self._key(table, columns_, "uid") for columns_ in together]
        keys += [self._index(table, index, names) for index in model["indexes"]]
        foreign_keys = [
            self._foreign_key(table, names[f["name"]], self.state[f["python_type"]], f)
            for f in relations
            if f["db_constraint"]
        ]
        return self._made(table, columns, keys, foreign_keys, model["description"])

    def _through(self, model: dict[str, Any], relation: dict[str, Any]) -> Table:
        table: str = relation["through"]
        ends = {
            relation["backward_key"]: model,
            relation["forward_key"]: self.state[relation["model_name"]],
        }
        columns = [
            Column(name, self._column(end["pk_field"]).type, null=False)
            for name, end in ends.items()
        ]
        keys = [self._key(table, list(ends), "uidx")] if relation["unique"] else []
        foreign_keys = [
            self._foreign_key(table, name, end, relation, f"{table}_ibfk_{number}")
            for number, (name, end) in enumerate(ends.items(), 1)
            if relation["db_constraint"]
        ]
        return self._made(table, columns, keys, foreign_keys, relation["description"])

    def _made(
        self,
        name: str,
        columns: list[Column],
        keys: list[Key],
        foreign_keys: list[ForeignKey],
        comment: str | None,
    ) -> Table:
        named = {column.name: column for column in columns}
        comment = self.generator._escape_comment(comment or "")
        return Table(name, named, frozenset(keys), frozenset(foreign_keys), comment)

    def _column(self, described: dict[str, Any], *, primary: bool = False) -> Column:
        types = described["db_field_types"]
        type_ = types.get(schema.DIALECT) or types[""]
        default = ""
        if "db_default" in described and described["db_default"] != "__NOT_SET__":
            value = described["db_default"]
            default = _sql(value, type_) or schema.literal(str(value))
        return Column(
            name=described["db_column"],
            type=type_,
            null=described["nullable"],
            default=default,
            auto=primary and described["generated"],
            primary=primary,
            comment=self.generator._escape_comment(described["description"] or ""),
            fill=_fill(described, type_),
        )

    def _key(
        self, table: str, columns: Sequence[str], prefix: str, names: tuple[str, ...] = ("{own}",)
    ) -> Key:
        own = self.generator._get_index_name(prefix, table, columns)
        named = _names(names, table, columns[0], own)
        return Key(named, tuple(columns), unique=prefix != "idx")

    def _index(
        self, table: str, described: list[str] | dict[str, Any], names: dict[str, str]
    ) -> Key:
        index: dict[str, Any]
        index = described if isinstance(described, dict) else {"fields": described}
        columns = [names.get(f, f) for f in index["fields"]]
        key = self._key(table, columns or [f"({e})" for e in index["expressions"]], "idx")
        named = (index.get("name") or key.names[0],)
        return replace(key, names=named, kind=index.get("type", ""), extra=index.get("extra", ""))

    def _foreign_key(
        self,
        table: str,
        column: str,
        target: dict[str, Any],
        relation: dict[str, Any],
        own: str = "",
    ) -> ForeignKey:
        to = target["pk_field"]["db_column"]
        own = own or self.generator._get_fk_name(table, column, target["table"], to)
        names = _names(schema.FOREIGN_KEY_NAMES, table, column, own)
        return ForeignKey(names, column, target["table"], to, relation["on_delete"])


def _names(templates: tuple[str, ...], table: str, column: str, own: str) -> tuple[str, ...]:
    return tuple(name.format(table=table, column=column, own=own) for name in templates)


def _fill(described: dict[str, Any], type_: str) -> str:
    """Find the SQL for the rows that are there: Tortoise gives only new ones their default."""
    default = described["default"]
    if described.get("auto_now") or described.get("auto_now_add"):
        return schema.NOW
    functions = {"uuid.uuid4": schema.NEW_UUID, "builtins.dict": "'{}'", "builtins.list": "'[]'"}
    if isinstance(default, str) and (function := re.fullmatch("<function (.*)>", default)):
        return functions.get(function[1], "")
    return "" if default is None or "BLOB" in type_.upper() else _sql(default, type_)


def _sql(value: object, type_: str) -> str:
    """Write a described value as SQL, or nothing if the description lost too much of it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return schema.BOOLEANS[value]
    if not isinstance(value, str):
        return str(value)
    if call := re.fullmatch(r"(SqlDefault|Now|RandomHex)\((.*)\)", value, re.DOTALL):
        arguments = [ast.literal_eval(call[2])] if call[2] else []
        return str(getattr(db_defaults, call[1])(*arguments).get_sql(dialect=schema.DIALECT))
    if type_.upper().startswith("JSON") and value[:1] in {"{", "["}:
        value = json.dumps(ast.literal_eval(value))
    elif NUMBER.match(type_):
        return value if re.fullmatch(r"-?[0-9.]+", value) else ""
    return schema.literal(value)


@dataclass(frozen=True)
class Rename:
    """A rename of a column, or of a table where `table` is empty."""

    table: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.table}.{self.old}={self.new}" if self.table else f"{self.old}={self.new}"

    def clashes(self, other: "Rename") -> bool:
        return self.table == other.table and (self.old == other.old or self.new == other.new)

    def question(self) -> str:
        place = f"{self.table}." if self.table else "Table "
        return f"{place}{self.old} is gone, and {self.new} is new."

    def back(self) -> "Rename":
        return Rename(self.table, self.new, self.old)

    def sql(self) -> str:
        old, new = schema.quote(self.old), schema.quote(self.new)
        if self.table:
            return f"ALTER TABLE {schema.quote(self.table)} RENAME COLUMN {old} TO {new}"
        return f"ALTER TABLE {old} RENAME TO {new}"

    def apply(self, tables: Tables) -> Tables:
        """Describe the tables after the rename; keys and foreign keys keep their names."""

        def name(table: str) -> str:
            return self.new if (self.table, self.old) == ("", table) else table

        def column(table: str, column: str) -> str:
            return self.new if (self.table, self.old) == (table, column) else column

        renamed = {}
        for old, table in tables.items():
            columns = [replace(c, name=column(old, c.name)) for c in table.columns.values()]
            keys = [
                replace(key, columns=tuple(column(old, c) for c in key.columns))
                for key in table.keys
            ]
            foreign_keys = [
                ForeignKey(
                    # one that the engine has named after the table is renamed with it
                    tuple(n.replace(f"{old}_ibfk_", f"{name(old)}_ibfk_") for n in key.names),
                    column(old, key.column),
                    name(key.table),
                    column(key.table, key.to),
                    key.on_delete,
                )
                for key in table.foreign_keys
            ]
            renamed[name(old)] = Table(
                name(old),
                {c.name: c for c in columns},
                frozenset(keys),
                frozenset(foreign_keys),
                table.comment,
            )
        return renamed


def _tables_by_columns(some: Tables, _: Tables) -> dict[tuple[str, str], object]:
    return {("", name): table.columns.keys() for name, table in some.items()}


def _columns_by_type(some: Tables, others: Tables) -> dict[tuple[str, str], object]:
    return {
        (name, column.name): column.type.partition("(")[0]
        for name in some.keys() & others.keys()
        for column in some[name].columns.values()
    }


def _candidates(
    before: dict[tuple[str, str], object], after: dict[tuple[str, str], object]
) -> list[tuple[Rename, bool]]:
    """Pair what is gone with what is new in the same place, and say whether they look alike."""
    return [
        (Rename(table, gone, made), before[table, gone] == after[place, made])
        for table, gone in sorted(before.keys() - after.keys())
        for place, made in sorted(after.keys() - before.keys())
        if place == table
    ]


def _renames(
    old: Tables,
    new: Tables,
    sure: set[Rename],
    answers: list[str],
    ask: Callable[[str], bool] | None,
) -> list[Rename]:
    """Find what was renamed: what is surely or by an answer the same, or looks alike and is."""
    chosen: list[Rename] = []
    left, unanswered = set(answers), []
    for looks in (_tables_by_columns, _columns_by_type):  # those of a renamed table, too
        for rename, alike in _candidates(looks(old, new), looks(new, old)):
            names = {str(rename), f"{rename.old}={rename.new}"}
            if any(rename.clashes(other) for other in chosen):
                continue
            if rename in sure or names & left:
                left -= names
            elif not alike or (ask and not ask(f"{rename.question()} Is it the same, renamed?")):
                continue
            elif not ask:
                unanswered.append(f"{rename.question()} If it is the same: --rename {rename}")
                continue
            chosen.append(rename)
            old = rename.apply(old)
    if left:
        raise MigrationError(
            f"--rename {min(left)}: nothing of the one name is gone, or nothing of the other is new;"
            " write old=new, or table.old=new"
        )
    if unanswered:
        raise MigrationError("\n".join([*unanswered, "If nothing else was renamed: --no-rename"]))
    return chosen


def _convertible(old: str, new: str) -> bool:
    """Tell whether the engine turns one type into another without losing or guessing anything."""
    return (
        old.partition("(")[0] == new.partition("(")[0]
        or (bool(INTEGER.match(old)) and bool(NUMBER.match(new)))
        or (bool(TEXT.match(new)) and bool(TEXT.match(old) or NUMBER.match(old)))
    )


def _missing(old: Tables, new: Tables) -> dict[tuple[str, str], str]:
    """Find what nobody can guess, in words, by table and column."""
    missing = {}
    for name in sorted(old.keys() & new.keys()):
        for column in new[name].columns.values():
            before = old[name].columns.get(column.name)
            if before is None and column.primary:
                missing[name, column.name] = "is a new primary key"
            elif before and (before.auto, before.primary) != (column.auto, column.primary):
                missing[name, column.name] = "changes how primary keys are made"
            elif before and not _convertible(before.type, column.type):
                missing[name, column.name] = f"turns from {before.type} into {column.type}"
            elif not (column.null or column.default or column.fill or (before and not before.null)):
                missing[name, column.name] = NO_VALUE
    return missing


def statements(old: Tables, new: Tables, missing: dict[tuple[str, str], str]) -> list[str]:
    """Write the SQL that takes the old tables to the new ones.

    Args:
        old: the tables as they are.
        new: the tables as they shall be.
        missing: tables and columns whose values for existing rows are to be written by hand.
    """
    new = dict(new)
    for (name, column), words in missing.items():
        fill, converted = f"<{name}.{column}>", words != NO_VALUE
        by_hand = replace(new[name].columns[column], fill=fill, converted=converted)
        new[name] = replace(new[name], columns={**new[name].columns, column: by_hand})
    changed = [(old[name], new[name]) for name in old if name in new and old[name] != new[name]]
    sql = []
    for before, after in changed:
        for foreign_key in _foreign_keys(before, but_not_of=after):
            sql += schema.drop_foreign_key(before, after, foreign_key)
    for before, after in changed:
        sql += schema.alter(before, after)
    for table in ordered(new[name] for name in new if name not in old):
        sql += schema.create(table)
    for before, after in changed:
        for foreign_key in _foreign_keys(after, but_not_of=before):
            sql += schema.add_foreign_key(after, foreign_key)
    gone = ordered(old[name] for name in old if name not in new)
    return sql + [f"DROP TABLE {schema.quote(table.name)}" for table in reversed(gone)]


def _foreign_keys(table: Table, but_not_of: Table) -> list[ForeignKey]:
    """List foreign keys; one whose column's type or keys change is another, to be made anew."""

    def grounds(some: Table, key: ForeignKey) -> tuple[str, frozenset[Key]]:
        return some.columns[key.column].type, some.keys_on(key.column)

    both = table.foreign_keys & but_not_of.foreign_keys
    same = {key for key in both if grounds(table, key) == grounds(but_not_of, key)}
    return sorted(table.foreign_keys - same, key=str)


def ordered(some: Iterable[Table]) -> list[Table]:
    """Put tables behind those that they refer to."""
    waiting = {table.name: table for table in some}
    done: list[Table] = []
    while waiting:
        ready = [
            table
            for table in waiting.values()
            if not ({f.table for f in table.foreign_keys} - {table.name}) & waiting.keys()
        ]
        done += [waiting.pop(table.name) for table in ready or list(waiting.values())]
    return done


@dataclass
class Written:
    """A migration that was written, and what is missing in it, in words."""

    number: int
    path: Path
    missing: list[str]


async def changed_tables(newest: Migration) -> list[str]:
    """List the tables that changed in the models since the newest migration, without a server."""
    before, after, _ = await _compared(newest)
    return sorted(t for t in before.keys() | after if before.get(t) != after.get(t))


def refuse_unknown() -> None:
    """Raise MigrationError if a model's Meta has what Aerich's files say nothing of."""
    for model in Tortoise.apps[APP].values():
        for name, instead in (("schema", ""), ("constraints", ", and write their SQL by hand")):
            if getattr(model._meta, name):
                fault = f"migrations know no Meta.{name}; remove it{instead}"
                raise MigrationError(f"{model.__name__}: {fault}")


async def _compared(newest: Migration) -> tuple[Tables, Tables, State]:
    async with connected():
        refuse_unknown()
        state = aerich.decompress_dict(aerich.compress_dict(aerich.get_models_describe(APP)))
        return tables(newest.models_state), tables(state), state


async def write(name: str, answers: list[str], ask: Callable[[str], bool] | None) -> Written | None:
    """Write the next migration, without a server.

    Args:
        name: what changes, for the file's name.
        answers: renames, as `old=new` or `table.old=new`.
        ask: asks whether something was renamed that `answers` says nothing of; None where there is
            nobody to ask.

    Returns:
        The migration, or None if the models did not change.

    Raises:
        MigrationError: the name cannot be used, the migrations are not in order, or an answer is
            missing or wrong.
    """
    if not re.fullmatch(r"[a-z0-9_]{1,200}", name):
        raise MigrationError(
            f"{name!r} cannot name a migration: use a-z, 0-9 and _, since Aerich ignores other names"
        )
    known = migrations()
    if faults := folder_faults() or content_faults(known):
        raise MigrationError("\n".join([*faults, "Nothing was written."]))
    newest = known[-1]
    old, new, state = await _compared(newest)
    if old == new:
        return None
    same = newest.models_state.keys() & state.keys()
    sure = {Rename("", newest.models_state[m]["table"], state[m]["table"]) for m in same}
    renames = _renames(old, new, sure, answers, ask)
    for rename in renames:
        old = rename.apply(old)
    missing = _missing(old, new)
    there = [rename.sql() for rename in renames] + statements(old, new, missing)
    back = statements(new, old, {}) + [rename.back().sql() for rename in reversed(renames)]
    there, back = schema.frame(there), schema.frame(back)
    wanted = [f"{'.'.join(place)} {words}" for place, words in missing.items()]
    text = Migrate.build_migration_file_text(_joined(there), state, _joined(back))
    if "BEGIN" in there:
        text = text.replace("RUN_IN_TRANSACTION = True", "RUN_IN_TRANSACTION = False", 1)
    if wanted:
        todo = "; ".join(wanted) + ": write SQL in the place of <...>, and delete this line"
        head = "async def upgrade(db: BaseDBAsyncClient) -> str:\n"
        text = text.replace(head, f"{head}    raise NotImplementedError({todo!r})\n", 1)
    return Written(newest.number + 1, _create(newest.number + 1, name, text), wanted)


def _joined(sql: list[str]) -> str:
    return _escaped("".join(f"{statement};\n        " for statement in sql))


def _escaped(sql: str) -> str:
    return sql.replace("\\", "\\\\").replace('"""', '\\"""')


def _create(number: int, name: str, text: str) -> Path:
    path = FOLDER / f"{number}_{datetime.now(UTC):%Y%m%d%H%M%S}_{name}.py"
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path


async def baseline(*, force: bool) -> tuple[Path, Path | None]:
    """Write a first migration of today's models, in the place of all migrations of another engine.

    Args:
        force: whether to replace migrations of this engine too.

    Returns:
        The file, and the folder where the others are now, if there were any.

    Raises:
        MigrationError: the migrations are of this engine, and so perhaps applied somewhere.
    """
    files = [migration.path for migration in migrations()]
    foreign = any(OTHER_ENGINES.search(path.read_text(encoding="utf-8")) for path in files)
    if files and not (foreign or force):
        raise MigrationError(
            f"{files[0].name} is written for this database: where it is applied, it would still be "
            "needed. If it is applied nowhere, add --yes"
        )
    async with connected() as client:
        sql, state = get_schema_sql(client, safe=True), aerich.get_models_describe(APP)
    replaced = FOLDER.parent / f"replaced_{datetime.now(UTC):%Y%m%d%H%M%S}"
    if files:
        replaced.mkdir()
    for path in files:
        path.rename(replaced / path.name)
    path = _create(0, "init", Migrate.build_migration_file_text(_escaped(sql), state))
    return path, replaced if files else None


async def renumber(names: list[str], applied: list[str]) -> list[Path]:
    """Make migrations the last ones, so that the next one sees what two branches changed.

    Args:
        names: the files, or none for those whose number another, applied one has too.
        applied: the names that the database has.

    Raises:
        MigrationError: it is not certain which to move, or one of them cannot be moved.
    """
    moved = _to_move(names, applied)
    kept = [migration for migration in migrations() if migration not in moved]
    if [migration.number for migration in kept] != list(range(len(kept))):
        raise MigrationError("The others' numbers would have a gap: name all files of your branch")
    async with connected():
        state = aerich.get_formatted_compressed_data(aerich.get_models_describe(APP))
    made = []
    for number, migration in enumerate(moved, len(kept)):
        path = FOLDER / f"{number}_{migration.name.partition('_')[2]}"
        if path == migration.path:
            raise MigrationError(f"{migration.name} is the last already: nothing to do")
        text, count = re.subn(
            r"(?ms)^MODELS_STATE = \(.*?^\)",
            f"MODELS_STATE = (\n    {state}\n)",
            migration.path.read_text(encoding="utf-8"),
        )
        if count != 1:
            raise MigrationError(f"{migration.name} has no MODELS_STATE as Aerich writes it")
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        migration.path.unlink()
        made.append(path)
    return made


def _to_move(names: list[str], applied: list[str]) -> list[Migration]:
    files = {migration.name: migration for migration in migrations()}
    if names:
        for name in names:
            if name not in files:
                raise MigrationError(f"There is no migration {name}: `{COMMAND} status` lists them")
            if name in applied:
                raise MigrationError(
                    f"{name} is applied in this database: renumber the other one, or take this one "
                    f"back first with `{COMMAND} downgrade {files[name].number - 1}`"
                )
        return [migration for name, migration in files.items() if name in names]
    numbers = Counter(migration.number for migration in files.values())
    twice = [migration for migration in files.values() if numbers[migration.number] > 1]
    moved = [migration for migration in twice if migration.name not in applied]
    if not twice:
        raise MigrationError("No two migrations have the same number: nothing to do")
    if len(moved) != len(twice) - len({migration.number for migration in twice}):
        listed = " or ".join(migration.name for migration in twice)
        raise MigrationError(f"Which is not released yet? `{COMMAND} renumber` {listed}")
    return moved
