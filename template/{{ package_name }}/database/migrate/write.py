"""Write the next migration: the SQL that takes the last one's tables to those of the models."""

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aerich.migrate import Migrate
from aerich.utils import (
    compress_dict,
    decompress_dict,
    get_formatted_compressed_data,
    get_models_describe,
)
from tortoise import Tortoise
from tortoise.backends.base.schema_generator import BaseSchemaGenerator
from tortoise.connection import get_connection
from tortoise.context import TortoiseContext
from tortoise.fields import db_defaults
from tortoise.utils import get_schema_sql

from ..config import TORTOISE_ORM
from ..engine import OTHER_ENGINES
from . import schema
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


@dataclass(frozen=True)
class Column:
    """A column: type, default and comment in SQL, and what existing rows get where it is new."""

    name: str
    type: str
    null: bool
    default_value: str = ""
    auto: bool = False
    primary: bool = False
    comment: str = ""
    default: str | None = field(default=None, compare=False)
    fill: str | None = field(default=None, compare=False)
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
    """A foreign key, and what it stands on: it is made anew when one of these changes."""

    names: tuple[str, ...]
    column: str
    table: str
    to: str
    on_delete: str
    basis: tuple[str | Key, ...] = ()


@dataclass(frozen=True)
class Table:
    name: str
    columns: dict[str, Column]
    keys: frozenset[Key] = frozenset()
    foreign_keys: frozenset[ForeignKey] = frozenset()
    comment: str = ""


Tables = dict[str, Table]


def tables(state: State, *, current: bool = False) -> Tables:
    """Describe the tables that Tortoise makes of the models.

    Args:
        state: the models, as a migration file holds them.
        current: whether they are today's, whose defaults Tortoise itself can write as SQL.
    """
    client = get_connection("default")
    generator = client.schema_generator(client)
    models = {name: model for name, model in state.items() if model.get("managed") is not False}
    found: Tables = {}
    for name, model in models.items():
        if name != f"{APP}.Aerich":
            found[model["table"]] = _table(name, model, state, generator, current=current)
    for model in models.values():
        for relation in model["m2m_fields"]:
            if relation["through"] not in found and not relation["_generated"]:
                found[relation["through"]] = _through(model, relation, state, generator)
    return found


def _table(
    name: str, model: dict[str, Any], state: State, generator: BaseSchemaGenerator, *, current: bool
) -> Table:
    table: str = model["table"]
    primary: str = model["pk_field"]["name"]
    fields = [model["pk_field"], *(f for f in model["data_fields"] if f.get("db_field_types"))]
    relations = [*model["fk_fields"], *model["o2o_fields"]]
    names = {f["name"]: f["db_column"] for f in fields}
    names |= {f["name"]: names[f["raw_field"]] for f in relations}
    columns = {f["db_column"]: _column(f, generator, primary=f["name"] == primary) for f in fields}
    if current:
        live = Tortoise.apps[APP][name.partition(".")[2]]
        for f in fields:
            default = generator._get_field_default(
                live._meta.fields_map[f["name"]], table, f["db_column"], live
            )
            column = columns[f["db_column"]]
            columns[column.name] = replace(
                column, default=default.removeprefix(" DEFAULT ") or None
            )
    keys = set()
    for f in fields[1:]:
        column_name = f["db_column"]
        if f["unique"]:
            unique = generator._get_index_name("uid", table, [column_name])
            uniques = _names(schema.UNIQUE_NAMES, table, column_name, unique)
            keys.add(Key(uniques, (column_name,), unique=True))
        elif f["indexed"]:
            index = generator._get_index_name("idx", table, [column_name])
            keys.add(Key((index,), (column_name,), unique=False))
    for together in model["unique_together"]:
        unique_columns = tuple(names[f] for f in together)
        unique = generator._get_index_name("uid", table, unique_columns)
        keys.add(Key((unique,), unique_columns, unique=True))
    keys |= {_index(index, names, table, generator) for index in model["indexes"]}
    foreign_keys = {
        _foreign_key(table, names[f["name"]], f, state, generator)
        for f in relations
        if f["db_constraint"]
    }
    return _based(
        Table(
            table,
            columns,
            frozenset(keys),
            frozenset(foreign_keys),
            generator._escape_comment(model["description"] or ""),
        )
    )


def _names(templates: tuple[str, ...], table: str, column: str, own: str) -> tuple[str, ...]:
    return tuple(name.format(table=table, column=column, own=own) for name in templates)


def _column(described: dict[str, Any], generator: BaseSchemaGenerator, *, primary: bool) -> Column:
    types = described["db_field_types"]
    type_ = types.get(schema.DIALECT) or types[""]
    default = described.get("db_default", "__NOT_SET__")
    return Column(
        name=described["db_column"],
        type=type_,
        null=described["nullable"],
        default_value=repr(default),
        default=None if default == "__NOT_SET__" else _sql(default, type_),
        auto=primary and described["generated"],
        primary=primary,
        comment=generator._escape_comment(described["description"] or ""),
        fill=_fill(described, type_),
    )


def _fill(described: dict[str, Any], type_: str) -> str | None:
    """Find the SQL for the rows that are there: Tortoise gives only new ones their default."""
    default = described["default"]
    if described.get("auto_now") or described.get("auto_now_add"):
        return schema.NOW
    if default == "<function uuid.uuid4>":
        return schema.NEW_UUID
    if default in {"<function builtins.dict>", "<function builtins.list>"}:
        return "'{}'" if "dict" in default else "'[]'"
    if default is None or str(default).startswith("<function ") or "BLOB" in type_.upper():
        return None
    return _sql(default, type_)


def _sql(value: object, type_: str) -> str | None:
    """Write a described value as SQL, or nothing if the description lost too much of it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value) if schema.DIALECT == "postgres" else str(int(value))
    if isinstance(value, str):
        call = re.fullmatch(r"(SqlDefault|Now|RandomHex)\((.*)\)", value, re.DOTALL)
        if call:
            arguments = [ast.literal_eval(call[2])] if call[2] else []
            made = getattr(db_defaults, call[1])(*arguments)
            return str(made.get_sql(dialect=schema.DIALECT))
        if type_.upper().startswith("JSON") and value[:1] in {"{", "["}:
            value = json.dumps(ast.literal_eval(value))
        elif NUMBER.match(type_):
            return value if re.fullmatch(r"-?[0-9.]+", value) else None
        return schema.literal(value)
    return str(value)


def _index(
    index: list[str] | dict[str, Any],
    names: Mapping[str, str],
    table: str,
    generator: BaseSchemaGenerator,
) -> Key:
    if isinstance(index, list):
        index = {"fields": index}
    columns = tuple(names.get(f, f) for f in index["fields"])
    columns = columns or tuple(f"({expression})" for expression in index["expressions"])
    name = index.get("name") or generator._get_index_name("idx", table, columns)
    return Key(
        (name,), columns, unique=False, kind=index.get("type", ""), extra=index.get("extra", "")
    )


def _foreign_key(
    table: str, column: str, relation: dict[str, Any], state: State, generator: BaseSchemaGenerator
) -> ForeignKey:
    target = state[relation["python_type"]]
    to = target["pk_field"]["db_column"]
    name = generator._get_fk_name(table, column, target["table"], to)
    names = _names(schema.FOREIGN_KEY_NAMES, table, column, name)
    return ForeignKey(names, column, target["table"], to, relation["on_delete"])


def _through(
    model: dict[str, Any], relation: dict[str, Any], state: State, generator: BaseSchemaGenerator
) -> Table:
    table: str = relation["through"]
    columns, foreign_keys = {}, set()
    ends = (
        (relation["backward_key"], model),
        (relation["forward_key"], state[relation["model_name"]]),
    )
    for number, (name, target) in enumerate(ends, 1):
        key = _column(target["pk_field"], generator, primary=False)
        columns[name] = Column(name, key.type, null=False)
        if relation["db_constraint"]:
            names = _names(schema.FOREIGN_KEY_NAMES, table, name, f"{table}_ibfk_{number}")
            foreign_keys.add(
                ForeignKey(names, name, target["table"], key.name, relation["on_delete"])
            )
    unique = generator._get_index_name("uidx", table, list(columns))
    keys = {Key((unique,), tuple(columns), unique=True)} if relation["unique"] else set()
    return _based(
        Table(
            table,
            columns,
            frozenset(keys),
            frozenset(foreign_keys),
            generator._escape_comment(relation["description"] or ""),
        )
    )


def _based(table: Table) -> Table:
    def based(foreign_key: ForeignKey) -> ForeignKey:
        keys = sorted(
            (key for key in table.keys if key.columns[0] == foreign_key.column),
            key=str,
        )
        return replace(foreign_key, basis=(table.columns[foreign_key.column].type, *keys))

    return replace(table, foreign_keys=frozenset(map(based, table.foreign_keys)))


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

    def sql(self, *, back: bool = False) -> str:
        old, new = map(schema.quote, (self.new, self.old) if back else (self.old, self.new))
        if self.table:
            return f"ALTER TABLE {schema.quote(self.table)} RENAME COLUMN {old} TO {new}"
        return f"ALTER TABLE {old} RENAME TO {new}"

    def apply(self, old: Tables) -> Tables:
        """Describe the tables after the rename; keys and foreign keys keep their names."""
        return {self._table(name): self._renamed(table) for name, table in old.items()}

    def _table(self, name: str) -> str:
        return self.new if not self.table and name == self.old else name

    def _renamed(self, table: Table) -> Table:
        def column(name: str, owner: str = table.name) -> str:
            return self.new if owner == self.table and name == self.old else name

        columns = [replace(c, name=column(c.name)) for c in table.columns.values()]
        return _based(
            replace(
                table,
                name=self._table(table.name),
                columns={c.name: c for c in columns},
                keys=frozenset(
                    replace(k, columns=tuple(column(c) for c in k.columns)) for k in table.keys
                ),
                foreign_keys=frozenset(
                    replace(
                        f,
                        # MySQL renames those that it has named itself with their table
                        names=tuple(
                            n.replace(f"{table.name}_ibfk_", f"{self._table(table.name)}_ibfk_")
                            for n in f.names
                        ),
                        column=column(f.column),
                        table=self._table(f.table),
                        to=column(f.to, f.table),
                    )
                    for f in table.foreign_keys
                ),
            )
        )


def _tables_alike(old: Tables, new: Tables) -> list[tuple[Rename, bool]]:
    """List each table that is gone with each that is new, and whether they look like the same."""
    return [
        (Rename("", gone, made), old[gone].columns.keys() == new[made].columns.keys())
        for gone in sorted(old.keys() - new.keys())
        for made in sorted(new.keys() - old.keys())
    ]


def _columns_alike(old: Tables, new: Tables) -> list[tuple[Rename, bool]]:
    """List each column that is gone with each of its table that is new, as for tables."""
    return [
        (Rename(table, gone.name, made.name), _kind(gone) == _kind(made))
        for table in sorted(old.keys() & new.keys())
        for gone in old[table].columns.values()
        for made in new[table].columns.values()
        if gone.name not in new[table].columns and made.name not in old[table].columns
    ]


def _kind(column: Column) -> str:
    return column.type.partition("(")[0]


def _renames(
    old: Tables,
    new: Tables,
    sure: set[Rename],
    answers: list[str],
    ask: Callable[[str], bool] | None,
) -> list[Rename]:
    chosen: list[Rename] = []
    left, unanswered = set(answers), []
    for pairs in (_tables_alike, _columns_alike):  # a renamed table's columns come afterwards
        for rename, alike in pairs(old, new):
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
            if before is None:
                if column.primary:
                    missing[name, column.name] = "is a new primary key"
                elif not (column.null or column.default or column.fill):
                    missing[name, column.name] = "may not be null, but existing rows have no value"
            elif (before.auto, before.primary) != (column.auto, column.primary):
                missing[name, column.name] = "changes how primary keys are made"
            elif not _convertible(before.type, column.type):
                missing[name, column.name] = f"turns from {before.type} into {column.type}"
    return missing


def statements(old: Tables, new: Tables, values: Mapping[tuple[str, str], str]) -> list[str]:
    """Write the SQL that takes the old tables to the new ones.

    Args:
        old: the tables as they are.
        new: the tables as they shall be.
        values: SQL for the values of existing rows, by table and column, where nothing else says.
    """
    changed = [name for name in old if name in new and old[name] != new[name]]
    made = ordered(new[name] for name in new if name not in old)
    gone = ordered(old[name] for name in old if name not in new)
    sql = []
    for name in changed:
        for foreign_key in sorted(old[name].foreign_keys - new[name].foreign_keys, key=str):
            sql += schema.drop_foreign_key(new[name], foreign_key)
    for name in changed:
        columns = {
            column.name: replace(column, fill=values[name, column.name], converted=True)
            if (name, column.name) in values
            else column
            for column in new[name].columns.values()
        }
        sql += schema.alter(old[name], replace(new[name], columns=columns))
    for table in made:
        sql += schema.create(table)
    for name in changed:
        for foreign_key in sorted(new[name].foreign_keys - old[name].foreign_keys, key=str):
            sql += schema.add_foreign_key(new[name], foreign_key)
    return sql + [f"DROP TABLE {schema.quote(table.name)}" for table in reversed(gone)]


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


async def _compared(newest: Migration) -> tuple[Tables, Tables, State]:
    async with TortoiseContext() as context:
        await context.init(TORTOISE_ORM)
        state = decompress_dict(compress_dict(get_models_describe(APP)))
        return tables(newest.models_state or {}), tables(state, current=True), state


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
    before, after, state = await _compared(known[-1])
    if before == after:
        return None
    old_state = known[-1].models_state or {}
    sure = {
        Rename("", old_state[model]["table"], described["table"])
        for model, described in state.items()
        if model in old_state
    }
    renames = _renames(before, after, sure, answers, ask)
    old = before
    for rename in renames:
        old = rename.apply(old)
    missing = _missing(old, after)
    values = {place: f"<{'.'.join(place)}>" for place in missing}
    there = [rename.sql() for rename in renames] + statements(old, after, values)
    back = statements(after, old, {}) + [r.sql(back=True) for r in reversed(renames)]
    path = FOLDER / f"{known[-1].number + 1}_{datetime.now(UTC):%Y%m%d%H%M%S}_{name}.py"
    wanted = [f"{'.'.join(place)} {words}" for place, words in missing.items()]
    with path.open("x", encoding="utf-8") as file:
        file.write(_text(schema.frame(there), schema.frame(back), state, wanted))
    return Written(known[-1].number + 1, path, wanted)


def _text(upgrade: list[str], downgrade: list[str], state: State, missing: list[str]) -> str:
    """Write a migration file in Aerich's form; one that misses something raises when it is run."""

    def joined(sql: list[str]) -> str:
        return _escaped("".join(f"{statement};\n        " for statement in sql))

    text = Migrate.build_migration_file_text(joined(upgrade), state, joined(downgrade))
    if "BEGIN" in upgrade:
        text = text.replace("RUN_IN_TRANSACTION = True", "RUN_IN_TRANSACTION = False", 1)
    if missing:
        todo = "; ".join(missing) + ": write SQL in the place of <...>, and delete this line"
        head = "async def upgrade(db: BaseDBAsyncClient) -> str:\n"
        text = text.replace(head, f"{head}    raise NotImplementedError({todo!r})\n", 1)
    return text


def _escaped(sql: str) -> str:
    return sql.replace("\\", "\\\\").replace('"""', '\\"""')


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
    async with TortoiseContext() as context:
        await context.init(TORTOISE_ORM)
        sql, state = get_schema_sql(get_connection("default"), safe=True), get_models_describe(APP)
    now = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    replaced = FOLDER.parent / f"replaced_{now}"
    if files:
        replaced.mkdir()
    for path in files:
        path.rename(replaced / path.name)
    path = FOLDER / f"0_{now}_init.py"
    with path.open("x", encoding="utf-8") as file:
        file.write(Migrate.build_migration_file_text(_escaped(sql), state))
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
    async with TortoiseContext() as context:
        await context.init(TORTOISE_ORM)
        state = get_formatted_compressed_data(get_models_describe(APP))
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
