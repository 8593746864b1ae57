"""Write `db_default` values as SQL, from the description that Tortoise gives a field."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, time
from typing import Any, TypeVar

from tortoise import BaseDBAsyncClient
from tortoise.backends.base.schema_generator import BaseSchemaGenerator
from tortoise.fields import db_defaults
from tortoise.fields.data import JSON_DUMPS

from .dialects import Dialect
from .tables import Tables

Moment = TypeVar("Moment", datetime, time)

_NOT_SET = "__NOT_SET__"
_CALL = re.compile(r"(SqlDefault|Now|RandomHex)\((.*)\)", re.DOTALL)
_DURATION = re.compile(r"(?:(-?\d+) days?, )?(\d+):(\d+):(\d+)(?:\.(\d+))?")


def server_default(
    described: Mapping[str, Any], type_: str, members: Mapping[str, str], dialect: Dialect
) -> str:
    """Write a field's default on the server as SQL; nothing if it has none.

    Args:
        described: Tortoise's description of the field.
        type_: the SQL type of its column.
        members: the values of its enum, by their names.
        dialect: the engine's SQL.
    """
    value = described.get("db_default", _NOT_SET)
    if value == _NOT_SET:
        return ""
    if isinstance(value, str) and (call := _CALL.fullmatch(value)):
        arguments = [ast.literal_eval(call[2])] if call[2] else []
        return str(getattr(db_defaults, call[1])(*arguments).get_sql(dialect=dialect.name))
    declared = described["db_field_types"][""]
    if declared == "JSON":
        return dialect.literal(_document(value)) or ""
    if isinstance(value, str):
        value = _stored(value, declared, members)
    return dialect.described_literal(value, type_) or dialect.literal(value, type_) or ""


def is_call(text: str) -> bool:
    """Return whether a description of a default is that of a function, such as `Now()`."""
    return _CALL.fullmatch(text) is not None


def _document(value: object) -> str | None:
    """Return a JSON document from its text, or from the text of a Python value."""
    if not isinstance(value, str):
        return str(JSON_DUMPS(value))
    try:
        json.loads(value)
    except ValueError:
        try:
            return str(JSON_DUMPS(ast.literal_eval(value)))
        except (SyntaxError, TypeError, ValueError):
            return value  # the server refuses it
    return value


def _stored(text: str, type_: str, members: Mapping[str, str]) -> object:
    """Convert the text of a Python value to what the field stores."""
    try:
        if members and text not in members.values():
            return members.get(text.rpartition(".")[2], text)
        if type_ == "TIMESTAMP":
            return _aware(datetime.fromisoformat(text))
        if type_ == "TIME":
            return _aware(time.fromisoformat(text))
        if type_ == "BIGINT":
            return _microseconds(text)
        if type_ == "BLOB" or type_.endswith("[]"):
            return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        pass
    return text


def _aware(moment: Moment) -> Moment:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _microseconds(text: str) -> object:
    match = _DURATION.fullmatch(text)
    if match is None:
        return text
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[:4])
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return total * 1_000_000 + int((match[5] or "").ljust(6, "0"))


@contextmanager
def declared_defaults(client: BaseDBAsyncClient, tables: Tables) -> Iterator[None]:
    """Let Tortoise create tables with these defaults: it escapes its own ones incorrectly.

    On SQLite, tables get no comments. They would be part of the text in which CHECKs are counted.

    Args:
        client: the connection that creates the tables.
        tables: the tables, with their defaults.
    """
    generator = client.schema_generator

    def default(
        self: BaseSchemaGenerator, _field: object, table: str, column: str, _model: object
    ) -> str:
        sql = tables[table].columns[column].default if table in tables else ""
        return self._column_default_generator(table, column, sql) if sql else ""

    methods: dict[str, Any] = {
        "_get_field_default": default,
        # Tortoise takes every name with a dot or a space for one
        "_is_index_expression": staticmethod(lambda column: column.startswith("(")),
    }
    if generator.DIALECT == "sqlite":
        for name in ("_column_comment_generator", "_table_comment_generator"):
            methods[name] = lambda *_, **__: ""
    client.schema_generator = type("Generator", (generator,), methods)
    try:
        yield
    finally:
        client.schema_generator = generator
