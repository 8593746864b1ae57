"""Read the schema of a database as plain data, to compare two databases.

Names of indexes and constraints are left out, and the order of columns: they differ between a
table that was changed and one that was created at once.
"""

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

from ...support.databases import Database, Row, session

Table = dict[str, Any]
Query = Callable[[str], Awaitable[list[Row]]]
OURS = {"aerich", "aerich_unfinished", "sqlite_sequence"}

POSTGRESQL_COLUMNS = """
SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, a.attgenerated::text,
       col_description(c.oid, a.attnum)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
"""
POSTGRESQL_INDEXES = """
SELECT t.relname::text, i.indisprimary, i.indisunique, pg_get_indexdef(i.indexrelid)
FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
WHERE t.relnamespace = 'public'::regnamespace
"""
POSTGRESQL_KEYS = """
SELECT t.relname::text, pg_get_constraintdef(c.oid)
FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
WHERE c.connamespace = 'public'::regnamespace AND c.contype IN ('f', 'c')
"""
POSTGRESQL_COMMENTS = """
SELECT relname::text, obj_description(oid) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""
MYSQL_COLUMNS = """
SELECT table_name, column_name, column_type, is_nullable = 'NO', column_default, extra,
       collation_name, column_comment
FROM information_schema.columns WHERE table_schema = database()
"""
MYSQL_INDEXES = """
SELECT table_name, index_name = 'PRIMARY', non_unique = 0, index_type,
       GROUP_CONCAT(CONCAT(column_name, COALESCE(sub_part, '')) ORDER BY seq_in_index)
FROM information_schema.statistics WHERE table_schema = database()
GROUP BY table_name, index_name, non_unique, index_type
"""
MYSQL_KEYS = """
SELECT k.table_name, k.column_name, k.referenced_table_name, k.referenced_column_name,
       r.delete_rule, r.update_rule
FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r
  ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name
  AND r.table_name = k.table_name
WHERE k.table_schema = database() AND k.referenced_table_name IS NOT NULL
"""
MYSQL_COMMENTS = """
SELECT table_name, table_comment FROM information_schema.tables WHERE table_schema = database()
"""


def read_schema(database: Database) -> dict[str, Table]:
    """Describe all tables of a database but those of the migrations."""
    if database.engine == "sqlite":
        with closing(sqlite3.connect(database.path)) as connection:
            return _sqlite(connection)
    return asyncio.run(_server(database))


def _sqlite(connection: sqlite3.Connection) -> dict[str, Table]:
    tables = {}
    listed = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    for name, sql in listed.fetchall():
        if name in OURS:
            continue
        columns = {}
        for _, column, type_, not_null, default, primary, hidden in connection.execute(
            f'PRAGMA table_xinfo("{name}")'
        ):
            columns[column] = (type_.upper(), bool(not_null), default, primary, hidden)
        indexes = []
        for _, index, unique, origin, partial in connection.execute(
            f'PRAGMA index_list("{name}")'
        ).fetchall():
            parts = connection.execute(f'PRAGMA index_xinfo("{index}")').fetchall()
            on = tuple((part[2], part[3], part[4]) for part in parts if part[5])
            indexes.append((origin == "pk", bool(unique), partial, on))
        keys = [row[2:] for row in connection.execute(f'PRAGMA foreign_key_list("{name}")')]
        extra = ("AUTOINCREMENT" in sql.upper(), "CHECK" in sql.upper())
        tables[name] = _table(columns, indexes, keys, extra)
    return tables


async def _server(database: Database) -> dict[str, Table]:
    async with session(database.url) as query:
        if database.engine == "postgresql":
            return await _postgresql(query)
        return await _mysql(query)


async def _postgresql(query: Query) -> dict[str, Table]:
    columns: dict[str, dict[str, Any]] = {}
    for table, column, type_, not_null, default, *rest in await query(POSTGRESQL_COLUMNS):
        default = re.sub(r"nextval\(.*", "nextval", default) if default else default
        columns.setdefault(table, {})[column] = (type_, not_null, default, *rest)
    indexes: dict[str, list[Any]] = {}
    for table, primary, unique, definition in await query(POSTGRESQL_INDEXES):
        shape = re.sub(r"^CREATE .*? USING ", "", definition)
        indexes.setdefault(table, []).append((primary, unique, shape))
    keys: dict[str, list[Any]] = {}
    for table, definition in await query(POSTGRESQL_KEYS):
        keys.setdefault(table, []).append(definition)
    return {
        table: _table(columns.get(table, {}), indexes.get(table, []), keys.get(table, []), comment)
        for table, comment in await query(POSTGRESQL_COMMENTS)
        if table not in OURS
    }


async def _mysql(query: Query) -> dict[str, Table]:
    columns: dict[str, dict[str, Any]] = {}
    for table, column, *rest in await query(MYSQL_COLUMNS):
        columns.setdefault(table, {})[column] = tuple(rest)
    keys: dict[str, list[Any]] = {}
    for table, *rest in await query(MYSQL_KEYS):
        keys.setdefault(table, []).append(tuple(rest))
    indexes: dict[str, list[Any]] = {}
    for table, primary, unique, type_, listed in await query(MYSQL_INDEXES):
        # InnoDB adds an index for a foreign key when there is none, and keeps it or not
        if unique or listed not in {key[0] for key in keys.get(table, [])}:
            indexes.setdefault(table, []).append((primary, unique, type_, listed))
    return {
        table: _table(columns.get(table, {}), indexes.get(table, []), keys.get(table, []), comment)
        for table, comment in await query(MYSQL_COMMENTS)
        if table not in OURS
    }


def _table(columns: dict[str, Any], indexes: list[Any], keys: list[Any], extra: Any) -> Table:
    return {
        "columns": columns,
        "indexes": sorted(indexes, key=repr),
        "foreign keys": sorted(keys, key=repr),
        "extra": extra,
    }


def differences(found: dict[str, Table], wanted: dict[str, Table]) -> list[str]:
    """Say in what one schema differs from the wanted one."""
    lines = [f"table {name}: not wanted" for name in sorted(found.keys() - wanted.keys())]
    lines += [f"table {name}: missing" for name in sorted(wanted.keys() - found.keys())]
    for name in sorted(found.keys() & wanted.keys()):
        for part in ("columns", "indexes", "foreign keys", "extra"):
            is_, should = found[name][part], wanted[name][part]
            if part == "columns":
                for column in sorted(is_.keys() | should.keys()):
                    if is_.get(column) != should.get(column):
                        lines.append(
                            f"column {name}.{column}: is {is_.get(column)},"
                            f" should be {should.get(column)}"
                        )
            elif is_ != should:
                lines.append(f"{part} of {name}: are {is_}, should be {should}")
    return lines
