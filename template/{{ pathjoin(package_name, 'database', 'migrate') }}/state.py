"""Read the tables of the models from the description that Aerich stores in migration files."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from aerich.utils import get_models_describe
from tortoise import Model, Tortoise, fields
from tortoise.backends.base.schema_generator import BaseSchemaGenerator
from tortoise.connection import get_connection
from tortoise.exceptions import BaseORMException
from tortoise.indexes import Index as DeclaredIndex

from .dialects import Dialect
from .errors import MigrationError
from .server_defaults import server_default
from .tables import Column, ForeignKey, Index, Table, Tables

_LONGEST_DESCRIPTION = 2048  # characters: Tortoise cuts the description of a larger enum
LEFT_ALONE = "migrations leave {} alone, because it is the table of a model with managed = False"

State = dict[str, dict[str, Any]]
Models = Mapping[str, type[Model]]


def describe(app: str) -> State:
    """Describe the models of an app as Aerich does, and add what its description lacks."""
    state: State = get_models_describe(app)
    for model in Tortoise.apps[app].values():
        described = state[model._meta.full_name]
        if enums := _undescribed_enums(described, model):
            described["enums"] = enums
        unique = [f["name"] for f in described["data_fields"] if f["unique"]]
        if unique:  # Aerich describes those with and without an index in the same way
            indexed = [name for name in unique if model._meta.fields_map[name].index]
            described["also_indexed"] = indexed
        for relation in (*described["fk_fields"], *described["o2o_fields"]):
            field: Any = model._meta.fields_map[relation["name"]]
            relation["to_field"] = field.to_field_instance.model_field_name
    return state


def aerichs_model(state: State) -> dict[str, Any]:
    """Return the model of Aerich's table, which `StateReader.tables` omits by its name."""
    return next(model for name, model in state.items() if name.endswith(".Aerich"))


def _undescribed_enums(described: dict[str, Any], model: type[Model]) -> dict[str, Any]:
    """Find enums whose members the description of their field does not have.

    They are kept beside the descriptions, because Aerich compares those.
    """
    return {
        f["name"]: {member.name: str(member.value) for member in enum}
        for f in (described["pk_field"], *described["data_fields"])
        if (enum := getattr(model._meta.fields_map[f["name"]], "enum_type", None))
        and not members_by_name(f)
    }


def with_enums(model: dict[str, Any]) -> dict[str, Any]:
    """Add the members to the descriptions of fields that lack them."""
    enums = model.get("enums")
    if not enums:
        return model

    def completed(field: dict[str, Any]) -> dict[str, Any]:
        return {**field, "members": enums[field["name"]]} if field["name"] in enums else field

    return {
        **model,
        "pk_field": completed(model["pk_field"]),
        "data_fields": [completed(field) for field in model["data_fields"]],
    }


def with_targets(old: State, current: State) -> State:
    """Add what Aerich and older releases left out: targets of relations, and indexes of unique fields.

    Args:
        old: the models, from a migration file.
        current: the current models. What both descriptions have counts as unchanged.
    """
    targets = {
        (model["table"], relation["name"], relation["python_type"]): relation["to_field"]
        for model in current.values()
        for relation in (*model["fk_fields"], *model["o2o_fields"])
        if "to_field" in relation
    }
    relations = ("fk_fields", "o2o_fields")
    completed = {  # copies what changes only: a description of many models is large
        name: model | {kind: [dict(relation) for relation in model[kind]] for kind in relations}
        for name, model in old.items()
    }
    indexed = {model["table"]: model.get("also_indexed", []) for model in current.values()}
    for name, model in completed.items():
        table = current[name]["table"] if name in current else model["table"]
        model.setdefault("also_indexed", indexed.get(table, []))
        for relation in (*model["fk_fields"], *model["o2o_fields"]):
            target = targets.get((model["table"], relation["name"], relation["python_type"]))
            known = old.get(relation["python_type"], {}).get("data_fields", ())
            types = {field["name"]: field.get("db_field_types") for field in known}
            own = {field["name"]: field.get("db_field_types") for field in model["data_fields"]}
            if target in types and types[target] == own.get(relation["raw_field"]):
                relation.setdefault("to_field", target)
    return completed


def live_models(app: str) -> Models:
    """Return an app's models by their names in descriptions."""
    return {model._meta.full_name: model for model in Tortoise.apps[app].values()}


@contextmanager
def indexes_by_column(app: str) -> Iterator[None]:
    """Let Tortoise create Meta.indexes, where it uses field names as column names."""
    indexes = [
        (index, index.fields, model._meta.fields_map)
        for model in Tortoise.apps[app].values()
        for index in model._meta.indexes
        if isinstance(index, DeclaredIndex)
    ]
    added: list[tuple[dict[str, Any], str]] = []
    for index, names, fields_map in indexes:
        columns = {fields_map[name].source_field or name: fields_map[name] for name in names}
        index.fields = list(columns)
        for column in columns.keys() - fields_map.keys():  # Tortoise checks that the field exists
            fields_map[column] = columns[column]
            added.append((fields_map, column))
    try:
        yield
    finally:
        for index, names, _ in indexes:
            index.fields = names
        for fields_map, column in added:
            del fields_map[column]


class StateReader:
    """Reads tables from descriptions of models.

    Args:
        dialect: the engine's SQL.
        generator: Tortoise's schema generator of the engine, for its generated names.
    """

    def __init__(self, dialect: Dialect, generator: BaseSchemaGenerator | None = None) -> None:
        if generator is None:
            client = get_connection("default")
            generator = client.schema_generator(client)
        self._dialect = dialect
        self._generator = generator

    def tables(self, state: State, models: Models | None = None) -> Tables:
        """Describe the tables that Tortoise creates for models.

        Args:
            state: the models, from a migration file or `describe`.
            models: the model classes, which give reliable values for existing rows.
        """
        managed = {name: with_enums(m) for name, m in state.items() if is_managed(name, m)}
        found = {
            model["table"]: self._table(state, model, (models or {}).get(name))
            for name, model in managed.items()
        }
        taken = {model["table"] for model in state.values()}
        for model in managed.values():
            for relation in model["m2m_fields"]:
                if relation["through"] not in taken and not relation["_generated"]:
                    found[relation["through"]] = self._through(state, model, relation)
        return found

    def index_name(self, table: str, column: str) -> str:
        """Return the name that Tortoise generates for the index of a column."""
        return self._index(table, [column], "idx").names[0]

    def _table(self, state: State, model: dict[str, Any], live: type[Model] | None) -> Table:
        table: str = model["table"]
        others = [f for f in model["data_fields"] if f.get("db_field_types")]
        relations = [*model["fk_fields"], *model["o2o_fields"]]
        names = {f["name"]: f["db_column"] for f in (model["pk_field"], *others)}
        for relation in relations:
            if relation["raw_field"] not in names:
                raise MigrationError(
                    f"{model['name']}.{relation['name']} has no column: Tortoise cannot refer to a "
                    "model whose primary key is a relation. Give that model an id as its primary key"
                )
            names[relation["name"]] = names[relation["raw_field"]]
        columns = [self._column(model["pk_field"], names, live, primary=True)]
        columns += [self._column(f, names, live) for f in others]
        indexes = []
        for f in others:
            if f["unique"]:
                indexes.append(self._index(table, [f["db_column"]], "uid", alone=True))
            if f["indexed"] and (not f["unique"] or f["name"] in model.get("also_indexed", ())):
                indexes.append(self._index(table, [f["db_column"]], "idx"))
        together = [[names[f] for f in group] for group in model["unique_together"]]
        indexes += [self._index(table, group, "uid") for group in together]
        indexes += [self._declared_index(table, index, names) for index in model["indexes"]]
        keys = [
            self._foreign_key(table, names[f["name"]], state[f["python_type"]], f)
            for f in relations
        ]
        return self._whole(table, columns, indexes, keys, model["description"])

    def _through(self, state: State, model: dict[str, Any], relation: dict[str, Any]) -> Table:
        table: str = relation["through"]
        ends = {
            relation["backward_key"]: model,
            relation["forward_key"]: state[relation["model_name"]],
        }
        columns = [
            Column(name, self._type(end["pk_field"]), null=False) for name, end in ends.items()
        ]
        indexes = [self._index(table, list(ends), "uidx")] if relation["unique"] else []
        keys = [
            self._foreign_key(table, name, end, relation, f"{table}_ibfk_{number}")
            for number, (name, end) in enumerate(ends.items(), 1)
        ]
        whole = self._whole(table, columns, indexes, keys, relation["description"])
        return replace(whole, link=tuple(ends))

    def _whole(
        self,
        name: str,
        columns: list[Column],
        indexes: list[Index],
        keys: list[ForeignKey],
        comment: str | None,
    ) -> Table:
        for identifier in (name, *(column.name for column in columns)):
            self._dialect.identifier(identifier)
        named = {column.name: column for column in columns}
        keys = self._distinct(name, keys)
        return Table(name, named, frozenset(indexes), frozenset(keys), self._comment(comment))

    def _distinct(self, table: str, keys: list[ForeignKey]) -> list[ForeignKey]:
        """Number foreign keys that would otherwise get the same name from the server."""
        found: list[ForeignKey] = []
        for key in keys:
            names, number = key.names, 0
            while names[0] in {other.names[0] for other in found} and number < len(found):
                number += 1
                names = self._dialect.foreign_key_names(table, key.column, key.names[-1], number)
            found.append(replace(key, names=names))
        return found

    def _comment(self, text: str | None) -> str:
        return self._generator._escape_comment(text or "") if self._dialect.comments else ""

    def _type(self, described: dict[str, Any]) -> str:
        types: dict[str, str] = described["db_field_types"]
        return types.get(self._dialect.name) or types[""]

    def _declared(self, described: dict[str, Any]) -> str:
        declared: str = described["db_field_types"][""]
        is_other = not self._dialect.strict and re.match("DECIMAL|BOOL", declared)
        return declared if is_other else ""

    def _column(
        self,
        described: dict[str, Any],
        names: Mapping[str, str],
        live: type[Model] | None,
        *,
        primary: bool = False,
    ) -> Column:
        type_ = self._type(described)
        members = members_by_name(described)
        field = live._meta.fields_map.get(described["name"]) if live else None
        column = Column(
            name=described["db_column"],
            type=type_,
            null=described["nullable"],
            default=server_default(described, type_, members, self._dialect),
            generated=primary and described["generated"],
            primary=primary,
            comment=self._comment(described["description"]),
            declared=self._declared(described),
            enum="EnumField" in described["field_type"],
            members=tuple(members.values()),
            labels=tuple(members),
            computed=self._dialect.computed(described, names),
        )
        if column.computed:
            return replace(column, default="")
        if described["unique"] and not primary:
            backfill = self._unique_backfill(described)
        elif field is not None and live is not None:
            backfill = self._backfill(field, live, type_)
        else:
            backfill = self._described_backfill(described, type_)
        return replace(column, backfill=backfill)

    def _unique_backfill(self, described: dict[str, Any]) -> str | None:
        """Return SQL for a different value in each row."""
        if described["default"] == "<function uuid.uuid4>":
            return self._dialect.new_uuid
        return "NULL" if described["nullable"] else None

    def _backfill(self, field: fields.Field[Any], model: type[Model], type_: str) -> str | None:
        """Write the field's default as SQL, converted as the field stores it."""
        if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
            return self._dialect.now(type_)
        default = field.default
        if callable(default):
            name = f"{default.__module__}.{default.__name__}"
            if name == "uuid.uuid4":
                return self._dialect.new_uuid
            if default not in {dict, list}:
                return "NULL" if field.null else None
            default = default()
        if default is None:
            return "NULL" if field.null else None
        try:
            with warnings.catch_warnings(action="ignore"):  # about times without a time zone
                return self._dialect.literal(field.to_db_value(default, model), type_)
        except (BaseORMException, TypeError, ValueError):
            return None  # the field rejects its own default

    def _described_backfill(self, described: dict[str, Any], type_: str) -> str | None:
        """Write a default from its description; nothing if the description is incomplete."""
        default = described["default"]
        if described.get("auto_now") or described.get("auto_now_add"):
            return self._dialect.now(type_)
        if default is None:
            return "NULL" if described["nullable"] else None
        if default == "<function uuid.uuid4>":
            return self._dialect.new_uuid
        if "Enum" in described["field_type"] or str(default).startswith("<function "):
            return None
        if "\0" in str(default):
            return None  # PostgreSQL cannot store it
        return self._dialect.described_literal(default, type_)

    def _index(
        self, table: str, columns: Sequence[str], prefix: str, *, alone: bool = False
    ) -> Index:
        own = self._generator._get_index_name(prefix, table, columns)
        names = self._dialect.unique_names(table, columns[0], own) if alone else (own,)
        return Index(names, tuple(columns), unique=prefix != "idx")

    def _declared_index(
        self, table: str, described: list[str] | dict[str, Any], names: Mapping[str, str]
    ) -> Index:
        declared: dict[str, Any]
        declared = described if isinstance(described, dict) else {"fields": described}
        columns = [names.get(f, f) for f in declared["fields"]]
        columns = columns or [f"({expression})" for expression in declared["expressions"]]
        index = self._index(table, columns, "idx")
        return replace(
            index,
            names=(self._dialect.identifier(declared.get("name") or index.names[0]),),
            kind=declared.get("type", ""),
            extra=declared.get("extra", ""),
        )

    def _foreign_key(
        self,
        table: str,
        column: str,
        target: dict[str, Any],
        relation: dict[str, Any],
        own: str = "",
    ) -> ForeignKey:
        to = _referenced(target, relation)
        own = own or self._generator._get_fk_name(table, column, target["table"], to)
        names = self._dialect.foreign_key_names(table, column, own)
        enforced: bool = relation["db_constraint"]
        on_delete: str = relation["on_delete"] if enforced else ""  # Tortoise does nothing then
        if enforced:
            self._dialect.identifier(names[0])
        return ForeignKey(names, column, target["table"], to, on_delete, enforced)


def _referenced(target: dict[str, Any], relation: dict[str, Any]) -> str:
    fields_ = {f["name"]: f for f in (target["pk_field"], *target["data_fields"])}
    field = fields_[relation["to_field"]] if "to_field" in relation else target["pk_field"]
    name: str = field["db_column"]
    return name


def members_by_name(described: Mapping[str, Any]) -> dict[str, str]:
    """Read an enum's members from the description that Tortoise gives its field."""
    if "members" in described:
        return dict(described["members"])
    description = described["description"] or ""
    if "EnumField" not in described["field_type"] or len(description) >= _LONGEST_DESCRIPTION:
        return {}
    lines = description.splitlines()
    if not all(re.match(r"\w+: ", line) for line in lines):
        return {}
    return dict(line.split(": ", 1) for line in lines)


def is_managed(name: str, model: dict[str, Any]) -> bool:
    """Return whether migrations create a model's table."""
    return model.get("managed") is not False and not name.endswith(".Aerich")


def unmanaged_tables(state: State) -> set[str]:
    """List the tables of unmanaged models and of their automatic relations."""
    unmanaged = {name: model for name, model in state.items() if not is_managed(name, model)}
    relations = [relation for model in unmanaged.values() for relation in model["m2m_fields"]]
    links = {relation["through"] for relation in relations if not relation["_generated"]}
    managed = {model["table"] for name, model in state.items() if name not in unmanaged}
    return {model["table"] for model in unmanaged.values()} | (links - managed)
