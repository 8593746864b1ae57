"""Check the models. Each problem is one line with its fix."""

import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from tortoise import Model, Tortoise
from tortoise.exceptions import BaseORMException
from tortoise.fields import DecimalField, Field
from tortoise.fields.relational import ManyToManyFieldInstance
from tortoise.indexes import Index

from .context import (
    APP,
    COMMAND,
    CONFIG,
    DATABASE_URL_EXAMPLE,
    PACKAGE,
    configuration,
    connected,
    dialect,
)
from .conversions import INTEGERS
from .errors import MigrationError
from .modules import models_in
from .server_defaults import is_call
from .state import StateReader, describe


async def models_problems() -> list[str]:
    """Load the models, and list problems and unsupported features."""
    os.environ.setdefault("DATABASE_URL", DATABASE_URL_EXAMPLE)  # nothing connects to it
    try:
        async with connected():
            return loaded_models_problems()
    except MigrationError as error:
        return [str(error)]


def refuse_models() -> None:
    """Raise MigrationError if the loaded models have problems."""
    if problems := loaded_models_problems():
        raise MigrationError("\n".join(problems))


def loaded_models_problems() -> list[str]:
    """List problems of the loaded models."""
    models = list(Tortoise.apps[APP].values()) if APP in Tortoise.apps else []
    problems = [
        *_apps_problems(),
        *_unlisted_problems(),
        *_rival_problems(),
        *(problem for model in models for problem in _model_problems(model)),
        *(problem for model in models for problem in _index_problems(model)),
        *(problem for model in models for problem in _character_problems(model)),
        *_name_problems(models),
        *_through_problems(models),
    ]
    return problems or _table_problems()


def _table_problems() -> list[str]:
    """Find what the server refuses in the tables of the models."""
    tables = StateReader(dialect).tables(describe(APP)).values()
    return [problem for table in tables for problem in dialect.problems(table)]


def _apps_problems() -> Iterator[str]:
    apps = configuration()["apps"]
    if APP not in apps:
        yield f"{CONFIG}: add the app {APP!r} to TORTOISE_ORM: migrations need it"
    elif "aerich.models" not in apps[APP]["models"]:
        yield f"{CONFIG}: add 'aerich.models' to the modules of the app {APP!r}"
    for app in apps:
        if app != APP:
            yield (
                f"{CONFIG}: move the modules of the app {app!r} to MODELS: migrations support "
                f"only the app {APP!r}"
            )


def _unlisted_problems() -> Iterator[str]:
    loaded = {
        (model.__module__, model.__name__)
        for app in Tortoise.apps.values()
        for model in app.values()
    }
    for module, name in models_in(PACKAGE):
        if (module, name) not in loaded:
            yield f"{CONFIG}: add {module!r} to MODELS: it defines the model {name}"


def _rival_problems() -> Iterator[str]:
    """Find migrations of the `tortoise` command, in packages next to the models."""
    for module in configuration()["apps"].get(APP, {}).get("models", []):
        parts = str(module).removesuffix(".models").split(".")
        folder = PACKAGE.parent.joinpath(*parts, "migrations")
        if (folder / "__init__.py").exists() and "aerich" not in parts:
            place = folder.relative_to(PACKAGE.parent).as_posix()
            yield (
                f"{place} has migrations of the `tortoise` command: delete it and run "
                f"`{COMMAND} new NAME`. This service uses Aerich's migrations in migrations/{APP}"
            )


def _model_problems(model: type[Model]) -> Iterator[str]:
    name, meta = model.__name__, model._meta
    if meta.schema:
        yield f"{name}: remove Meta.schema: migrations only use the schema of the connection"
    if getattr(meta, "constraints", None):
        yield f"{name}: remove Meta.constraints and write their SQL in a migration by hand"
    together = [field for fields in meta.unique_together for field in fields]
    indexed = [
        field
        for index in meta.indexes
        for field in (index.fields if isinstance(index, Index) else index)
    ]
    for field in dict.fromkeys([*together, *indexed]):
        if field not in meta.fields_map:
            yield f"{name}: Meta.unique_together or Meta.indexes lists {field!r}, which is not a field"
    yield from _default_problems(model)
    for field in (*meta.fk_fields, *meta.o2o_fields, *meta.m2m_fields):
        target: Any = meta.fields_map[field]
        app = target.related_model._meta.app
        if app != APP:
            yield f"{name}.{field} refers to the app {app!r}: use only models of the app {APP!r}"


def _index_problems(model: type[Model]) -> Iterator[str]:
    """Find kinds of indexes that the engine does not have, and conditions on unknown columns."""
    columns = set(model._meta.fields_db_projection.values())
    for index in model._meta.indexes:
        if isinstance(index, Index):
            place = f"{model.__name__}: replace {index.name or index!r} in Meta.indexes"
            why = dialect.index_problem(
                index.INDEX_TYPE, index.extra, expression=bool(index.expressions)
            )
            if why:
                yield f"{place}: {why}"
            for column in (getattr(index, "condition", None) or {}).keys() - columns:
                yield f"{place}: its condition has {column!r}, which is not a column of the table"


def _character_problems(model: type[Model]) -> Iterator[str]:
    """Find names with characters that Tortoise or the server cannot use in names."""
    name, meta = model.__name__, model._meta
    named = [(f"{name}: rename the table {{}} with Meta.table", meta.db_table)]
    for field, column in meta.fields_db_projection.items():
        named.append((f"{name}.{field}: rename the column {{}} with source_field", column))
    for relation in sorted(meta.m2m_fields):
        declared = meta.fields_map[relation]
        if isinstance(declared, ManyToManyFieldInstance) and not declared._generated:
            tables = [meta.db_table, declared.related_model._meta.db_table]
            refused = [table for table in tables if dialect.refused_characters.search(table)]
            for option in ("through", "backward_key", "forward_key"):
                value: str = getattr(declared, option)
                if not any(table in value for table in refused):  # a default has the table's name
                    named.append((f"{name}.{relation}: rename its {option} {{}}", value))
    indexes = [index.name for index in meta.indexes if isinstance(index, Index) and index.name]
    named += [(f"{name}: rename the index {{}}", index) for index in indexes]
    for fix, value in named:
        if found := dialect.refused_characters.search(value):
            yield f"{fix.format(repr(value))}: migrations do not support names with {found[0]!r}"


def _default_problems(model: type[Model]) -> Iterator[str]:
    name = model.__name__
    for field, declared in model._meta.fields_map.items():
        if callable(declared.default) and not hasattr(declared.default, "__name__"):
            yield f"{name}.{field}: make its default a function with a name, which migrations need"
        if isinstance(declared, DecimalField) and (value := _rounded(declared)) is not None:
            yield (
                f"{name}.{field}: round its default {value} to {declared.decimal_places} decimal "
                "places, as the server would"
            )
        if (value := _too_large(declared)) is not None:
            yield f"{name}.{field}: change its default {value}, which is too large for its column"
        if declared.has_db_default() and (why := _refused(declared, model)):
            yield f"{name}.{field}: change its db_default: {why}"


def _rounded(field: DecimalField[Any]) -> object:
    """Return a default with more decimal places than the column, or None."""
    for value in (field.default, field.db_default):
        if isinstance(value, int | float | str | Decimal):
            with suppress(InvalidOperation):
                exact = Decimal(str(value))
                if exact.is_finite() and exact != round(exact, field.decimal_places):
                    return value
    return None


def _too_large(field: Field[Any]) -> object:
    """Return a numeric default that the column cannot hold, or None."""
    if isinstance(field, DecimalField):
        limit = Decimal(10) ** (field.max_digits - field.decimal_places)
    else:
        limit = Decimal(INTEGERS.get(str(field.SQL_TYPE), "Infinity"))
    lowest = -limit + (0 if isinstance(field, DecimalField) else -1)
    for value in (field.default, field.db_default):
        if isinstance(value, int | float | str | Decimal):
            with suppress(InvalidOperation):
                number = Decimal(str(value))
                if number.is_finite() and not lowest < number < limit:
                    return value
    return None


def _refused(field: Field[Any], model: type[Model]) -> str:
    """Return why a db_default cannot be used, or nothing."""
    if hasattr(field.db_default, "get_sql"):
        return ""
    if isinstance(field.db_default, str) and is_call(field.db_default):
        return "migrations cannot tell this text from a function"
    try:
        with warnings.catch_warnings(action="ignore"):  # about times without a time zone
            field.to_db_value(field.db_default, model)
    except (BaseORMException, TypeError, ValueError) as error:
        return f"the field refuses it: {error}"
    return ""


def _name_problems(models: list[type[Model]]) -> Iterator[str]:
    """Find names that are used twice, or that the server cuts to the same name."""
    tables = [(model._meta.db_table, f"the model {model.__name__}") for model in models]
    yield from _same_names(tables, "set another Meta.table")
    links: dict[str, list[str]] = {}
    for model in models:
        for name in sorted(model._meta.m2m_fields):
            field = model._meta.fields_map[name]
            if isinstance(field, ManyToManyFieldInstance) and not field._generated:
                links.setdefault(field.through, []).append(f"{model.__name__}.{name}")
        columns = [
            (c, f"{model.__name__}.{f}") for f, c in model._meta.fields_db_projection.items()
        ]
        yield from _same_names(columns, "set another source_field")
    through = [
        (table, f"the relation {relation}")
        for table, relations in links.items()
        if table not in dict(tables)  # that of a through model
        for relation in relations
    ]
    yield from _same_names([*tables, *through], "set another `through`", len(tables))
    yield from _same_names(
        [
            (index.name, f"an index of {model.__name__}")
            for model in models
            for index in model._meta.indexes
            if isinstance(index, Index) and index.name
        ],
        "rename the index",
    )


def _through_problems(models: list[type[Model]]) -> Iterator[str]:
    """Find relations with keys that are not columns of their through model."""
    through = {model._meta.db_table: model for model in models}
    for model in models:
        for name in sorted(model._meta.m2m_fields):
            field = model._meta.fields_map[name]
            if isinstance(field, ManyToManyFieldInstance) and field.through in through:
                columns = through[field.through]._meta.fields_db_projection.values()
                for key in ("backward_key", "forward_key"):
                    if not field._generated and (column := getattr(field, key)) not in columns:
                        yield (
                            f"{model.__name__}.{name}: set its {key} to a column of "
                            f"{through[field.through].__name__}, which has no {column!r}"
                        )


def _same_names(named: list[tuple[str, str]], fix: str, start: int = 0) -> Iterator[str]:
    """Find names that the server treats as equal to an earlier name.

    Args:
        named: names, each with its owner.
        fix: what to change in the second one.
        start: how many are already checked.
    """
    seen: dict[str, tuple[str, str]] = {}
    for number, (name, owner) in enumerate(named):
        key = dialect.folded(name)
        if key in seen and number >= start:
            other, first = seen[key]
            same = (
                f"{name!r} too" if name == other else f"{other!r}, which the server treats as equal"
            )
            yield f"{owner}: {fix}, since {first} uses {same}"
        seen.setdefault(key, (name, owner))
