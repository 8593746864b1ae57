"""PostgreSQL's SQL."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from ..errors import MigrationError
from ..splitting import Splitter
from ..tables import Column, ForeignKey, Index, Table
from . import Numbered, guard_comment, if_missing, replaced_message
from .base import StandardSQL
from .indexes import index_changes

_LONGEST_NAME = 63  # bytes: PostgreSQL's documentation, "Identifiers and Key Words"
# Extensions add other kinds of indexes
_INSTEAD = {
    "FULLTEXT": "a GinIndex on a TSVectorField",
    "SPATIAL": "a GistIndex",
    "UNIQUE": "unique=True or unique_together",
}
# Errors of the server about what an extension has, and extensions with other names than theirs
_MISSING = re.compile(
    r'(?:type|access method|operator class) "(?:\w+\.)?(\w+)(?:\[\])*" does not exist'
    r"|function (?:\w+\.)?(\w+)\(.*\) does not exist"
)
_EXTENSIONS = {
    **dict.fromkeys(("halfvec", "hnsw", "ivfflat", "sparsevec"), "vector"),
    **dict.fromkeys(("geography", "geometry"), "postgis"),
    **dict.fromkeys(("gin_trgm_ops", "gist_trgm_ops", "similarity"), "pg_trgm"),
    **dict.fromkeys(("uuid_generate_v1", "uuid_generate_v4"), "uuid-ossp"),
    **dict.fromkeys(("crypt", "digest", "gen_random_bytes"), "pgcrypto"),
    "lquery": "ltree",
    "unaccent": "unaccent",
}
_NO_CLASS = re.compile(r'has no default operator class for access method "(\w+)"')
_CLASSES = {
    "gin": "Use an Index: a GinIndex needs a JSONField, an ArrayField or a TSVectorField",
    "gist": "Use an Index: a GistIndex needs a TSVectorField or a geometric type",
}
_SERIALS = {"BIGINT": "BIGSERIAL", "INT": "SERIAL", "SMALLINT": "SMALLSERIAL"}
# PostgreSQL's documentation, "Lexical Structure"
_SPLITTER = Splitter(
    quoted=r"""(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*\""""
    r"|(?<![\w$])\$(?P<tag>[A-Za-z_]\w*)?\$.*?\$(?(tag)(?P=tag))\$",
    comment="--[^\\n]*",
    nested=True,
)

# PostgreSQL's documentation, "System Catalogs": pg_attribute, pg_index, pg_constraint
_COLUMNS = """
SELECT t.relname AS "table", 'column ' || a.attname AS name, concat(
    format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attcollation <> y.typcollation THEN
        ' collate ' || (SELECT collname FROM pg_collation WHERE oid = a.attcollation) END,
    CASE WHEN a.attnotnull THEN ' not null' END,
    CASE WHEN s.seqrelid IS NULL THEN CASE a.attgenerated WHEN '' THEN ' default '
        ELSE ' generated as ' END || pg_get_expr(d.adbin, d.adrelid) END,
    ' auto-increment as ' || format_type(s.seqtypid, NULL),
    ' comment ' || quote_literal(col_description(t.oid, a.attnum))) AS value
FROM pg_class t
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type y ON y.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
LEFT JOIN pg_depend o ON o.refobjid = t.oid AND o.refobjsubid = a.attnum
    AND o.classid = 'pg_class'::regclass AND o.deptype IN ('a', 'i')
    AND EXISTS (SELECT FROM pg_sequence WHERE seqrelid = o.objid)
LEFT JOIN pg_sequence s ON s.seqrelid = o.objid
WHERE t.relkind IN ('r', 'p') AND t.relnamespace = current_schema()::regnamespace"""
_INDEXES = """
SELECT t.relname AS "table", concat(CASE WHEN i.indisprimary THEN 'primary key '
        WHEN i.indisunique THEN 'unique ' ELSE 'index ' END,
    replace(regexp_replace(pg_get_indexdef(i.indexrelid), '^.*? USING ', ''), 'btree ', '')) AS name,
    '' AS value
FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind IN ('r', 'p')"""
_CONSTRAINTS = """
SELECT t.relname AS "table", regexp_replace(pg_get_constraintdef(c.oid), ' REFERENCES.*', '') AS name,
    coalesce(substring(pg_get_constraintdef(c.oid) FROM ' (REFERENCES.*)'), '') AS value
FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
WHERE c.contype IN ('c', 'f') AND t.relnamespace = current_schema()::regnamespace"""
_TABLES = """
SELECT relname AS "table", 'comment' AS name, coalesce(obj_description(oid), '') AS value
FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace"""
# PostgreSQL's documentation, "System Catalogs": pg_enum, pg_trigger, pg_proc
_VIEWS = """
SELECT relname AS "table", CASE relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END AS name,
    pg_get_viewdef(oid) AS value
FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace = current_schema()::regnamespace"""
_ENUMS = """
SELECT t.typname AS "table", 'enum type' AS name,
    string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) AS value
FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
WHERE t.typnamespace = current_schema()::regnamespace GROUP BY t.typname"""
_TRIGGERS = """
SELECT t.relname AS "table", 'trigger ' || g.tgname || ' of' AS name, pg_get_triggerdef(g.oid) AS value
FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid
WHERE NOT g.tgisinternal AND t.relnamespace = current_schema()::regnamespace"""
_FUNCTIONS = """
SELECT p.proname AS "table", 'function' AS name, pg_get_functiondef(p.oid) AS value
FROM pg_proc p WHERE p.prokind IN ('f', 'p') AND p.pronamespace = current_schema()::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')"""
_OBJECTS = (_VIEWS, _ENUMS, _TRIGGERS, _FUNCTIONS)
_FACTS = (_TABLES, _COLUMNS, _INDEXES, _CONSTRAINTS)


class PostgreSQL(StandardSQL):
    """The dialect of PostgreSQL: see `Dialect`."""

    name = "postgres"
    new_uuid = "gen_random_uuid()"
    length = "CHAR_LENGTH(CONCAT({column}, ''))"
    text = "{column}::TEXT"
    exact = "{column}"
    strict = True
    comments = True
    isolated = True
    facts = _FACTS
    objects = _OBJECTS

    def now(self, type_: str) -> str:
        return "CURRENT_TIMESTAMP"

    def literal(self, value: object, type_: str = "") -> str | None:
        match value:
            case bool() if type_ in {"", "BOOL"}:
                return str(value)
            case float() | Decimal() if isinstance(value, float) or not value.is_finite():
                return f"'{value}'"
            case bytes():
                return f"'\\x{value.hex()}'"
            case list() | tuple():
                return self._array(value, type_)
            case timedelta():
                return self._text(f"{value.total_seconds()} seconds")
        return super().literal(value, type_)

    def _array(self, values: Sequence[object], type_: str) -> str | None:
        items = [self.literal(value) for value in values]
        if None in items:
            return None
        return f"ARRAY[{', '.join(map(str, items))}]::{type_}"

    @staticmethod
    def _text(text: str) -> str:
        return ("E" if "\\" in text else "") + StandardSQL._text(text)

    def described_literal(self, value: object, type_: str) -> str | None:
        if not isinstance(value, str):
            return self.literal(value, type_)
        if re.fullmatch(r"(VARCHAR|CHAR)\(.*|TEXT|UUID|DATE|TIME.*", type_):
            return self._text(value)
        return value if re.fullmatch(r"-?[0-9.]+", value) and "[" not in type_ else None

    def computed(self, described: Mapping[str, Any], names: Mapping[str, str]) -> str:
        """Write the expression of a TSVectorField with source fields."""
        sources, weights = described.get("source_fields"), described.get("weights")
        if not (sources and described.get("stored")):
            return ""
        if described["config"] is None:
            raise MigrationError(
                f"Add config='english' (or another) to the TSVectorField {described['name']!r}:"
                " PostgreSQL cannot generate a column in the session's language"
            )
        config = f"{self._text(described['config'])},"
        vectors = [f"TO_TSVECTOR({config}COALESCE({self.quote(names[s])}, ''))" for s in sources]
        if weights:
            vectors = [
                f"SETWEIGHT({vector},{self._text(weight)})"
                for vector, weight in zip(vectors, weights, strict=True)
            ]
        return f"GENERATED ALWAYS AS ({' || '.join(vectors)}) STORED"

    def identifier(self, name: str) -> str:
        return _cut(name, _LONGEST_NAME)

    def index_problem(self, kind: str, extra: str, *, expression: bool) -> str:
        instead = _INSTEAD.get(kind.upper())
        return f"use {instead}: PostgreSQL has no index of the kind {kind}" if instead else ""

    def advice(self, error: str) -> str:
        if match := _MISSING.search(error):
            name = match[1] or match[2]
            if extension := _EXTENSIONS.get(name, name if match[1] else ""):
                return (
                    f'If "{name}" is of the extension "{extension}", write CREATE EXTENSION IF NOT'
                    f' EXISTS "{extension}"; at the start of upgrade(), or into an earlier migration'
                )
        if match := _NO_CLASS.search(error):
            return _CLASSES.get(match[1], f"Use an Index instead of one of the kind {match[1]}")
        return ""

    def unique_names(self, table: str, column: str, own: str) -> tuple[str, ...]:
        return self._generated_name(table, column, "key"), own

    def has_global_name(self, index: Index) -> bool:
        return True

    def foreign_key_names(
        self, table: str, column: str, own: str, number: int = 0
    ) -> tuple[str, ...]:
        return self._generated_name(table, column, f"fkey{number or ''}"), own

    def _generated_name(self, table: str, column: str, label: str) -> str:
        """Name a constraint or a sequence like makeObjectName() in the server's indexcmds.c."""
        one, two = self.identifier(table), self.identifier(column)
        room = _LONGEST_NAME - len(label) - 2
        first, second = len(one.encode()), len(two.encode())
        while first + second > room:
            if first > second:
                first -= 1
            else:
                second -= 1
        return f"{_cut(one, first)}_{_cut(two, second)}_{label}"

    def create_table(self, table: Table, without: Collection[ForeignKey] = ()) -> list[str]:
        indexes = sorted(table.indexes, key=str)
        parts = [self._define(column) for column in table.columns.values()]
        parts += self._primary_key(table)
        parts += [self._constraint(index) for index in indexes if index.unique]
        keys = {key for key in table.foreign_keys if key.enforced} - set(without)
        parts += [self._reference(key) for key in sorted(keys, key=str)]
        body = ",\n    ".join(parts)
        sql = [f"CREATE TABLE {self.quote(table.name)} (\n    {body}\n)"]
        sql += [self._add_index(table, index) for index in indexes if not index.unique]
        sql = if_missing(sql) if table.may_exist else sql
        sql += [self._comment(table, c) for c in table.columns.values() if c.comment]
        return sql + ([self._comment(table)] if table.comment else [])

    def drop_tables(self, names: Iterable[str]) -> list[str]:
        return [f"DROP TABLE IF EXISTS {self.quote(name)} CASCADE" for name in names]

    def empty_tables(self, names: Iterable[str]) -> list[str]:
        return [f"TRUNCATE {', '.join(map(self.quote, names))} CASCADE"]

    def add_numbers(self, table: Table, column: Column) -> list[str]:
        return self.add_column(table.name, column)

    def numbered(self, column: Column) -> Numbered:
        return Numbered(Column(column.name, column.type, null=False, generated=True))

    def alter_table(self, old: Table, new: Table, sources: Mapping[str, str]) -> list[str]:
        alter = f"ALTER TABLE {self.quote(new.name)}"
        old, sql = self._keep_generated(old, new, sources)
        redone = self._recomputed(old, new, sources)
        changes = index_changes(old, new, sources.keys() | redone)
        sql += [drop for index in changes.dropped for drop in self._drop_index(new, index)]
        keys = [[c.name for c in table.columns.values() if c.primary] for table in (old, new)]
        new_key = keys[0] != keys[1] or bool(sources.keys() & set(keys[1]))
        if keys[0] and new_key:
            sql.append(self._drop_primary_key(new.name))
        kept = (new.columns.keys() | sources.values()) - redone
        gone = [column for name, column in old.columns.items() if name not in kept]
        gone.sort(key=lambda column: not column.computed)
        sql += [f"{alter} DROP COLUMN {self.quote(column.name)}" for column in gone]
        for name, source in sources.items():
            if name in old.columns:
                sql.append(f"{alter} DROP COLUMN {self.quote(name)}")
            sql += self.rename_column(new.name, source, name)
        for column in sorted(new.columns.values(), key=lambda column: bool(column.computed)):
            before = old.columns.get(sources.get(column.name, column.name))
            if before is None or column.name in redone:
                sql += self._add(new, column)
            elif before != column:
                sql += self._change(new, before, column)
        if keys[1] and new_key:
            sql.append(f"{alter} ADD PRIMARY KEY ({', '.join(map(self.quote, keys[1]))})")
        for before_index, after_index in changes.renamed:
            sql += [
                f"ALTER INDEX IF EXISTS {self.quote(a)} RENAME TO {self.quote(b)}"
                for a, b in zip(before_index.names, after_index.names, strict=True)
                if a != b
            ]
        sql += [self._add_index(new, index) for index in changes.created]
        return sql + ([self._comment(new)] if old.comment != new.comment else [])

    def _keep_generated(
        self, old: Table, new: Table, sources: Mapping[str, str]
    ) -> tuple[Table, list[str]]:
        """Let columns that are no longer generated keep their values; return the table after it."""
        columns, sql = dict(old.columns), []
        for name, column in old.columns.items():
            after = new.columns.get(name)
            is_plain = after is not None and not after.computed and after.type == column.type
            if column.computed and is_plain and name not in sources:
                alter = f"ALTER TABLE {self.quote(new.name)} ALTER COLUMN {self.quote(name)}"
                sql.append(f"{alter} DROP EXPRESSION")
                columns[name] = replace(column, computed="")
        return replace(old, columns=columns), sql

    def _recomputed(self, old: Table, new: Table, sources: Mapping[str, str]) -> set[str]:
        """Find the generated columns to create again, because they or their sources change."""
        changes = bool(sources) or any(
            column.name not in new.columns or column.type != new.columns[column.name].type
            for column in old.columns.values()
        )
        return {
            name
            for name, column in old.columns.items()
            if name in new.columns
            and name not in sources
            and (column.computed or new.columns[name].computed)
            and (changes or column.computed != new.columns[name].computed)
        }

    def _drop_index(self, table: Table, index: Index) -> list[str]:
        names = [self.quote(name) for name in index.names]
        drop = f"DROP INDEX IF EXISTS {', '.join(names)}"
        if not index.unique:
            return [drop]
        constraints = ", ".join(f"DROP CONSTRAINT IF EXISTS {name}" for name in names)
        return [f"ALTER TABLE {self.quote(table.name)} {constraints}", drop]

    def _drop_primary_key(self, table: str) -> str:
        """Drop a primary key, which is named after the table's first name."""
        name = self._text(self.quote(table))
        return _do(
            "EXECUTE (SELECT format('ALTER TABLE %s DROP CONSTRAINT %I',"
            " conrelid::regclass, conname) FROM pg_constraint"
            f" WHERE conrelid = {name}::regclass AND contype = 'p')"
        )

    def _add(self, table: Table, column: Column) -> list[str]:
        alter = f"ALTER TABLE {self.quote(table.name)}"
        sql = [f"{alter} ADD COLUMN {self._define(column)}"]
        if column.backfill not in {None, "NULL"} and not column.default and not column.computed:
            sql = [
                f"{alter} ADD COLUMN {self._define(column)} DEFAULT {column.backfill}",
                f"{alter} ALTER COLUMN {self.quote(column.name)} DROP DEFAULT",
            ]
        return sql + ([self._comment(table, column)] if column.comment else [])

    def _change(self, table: Table, old: Column, new: Column) -> list[str]:
        name = self.quote(new.name)
        alter = f"ALTER TABLE {self.quote(table.name)} ALTER COLUMN {name}"
        sql = []
        if old.generated and not new.generated:
            sql += [f"{alter} DROP DEFAULT", self._on_sequence(table, new, "DROP SEQUENCE %s")]
        if old.type != new.type:
            if old.default:
                sql.append(f"{alter} DROP DEFAULT")
            using = f" USING {name}::INT::{new.type}" if "BOOL" in {old.type, new.type} else ""
            sql.append(f"{alter} TYPE {new.type}{using}")
            if old.generated and new.generated:
                sql.append(self._on_sequence(table, new, f"ALTER SEQUENCE %s AS {new.type}"))
        if new.generated and not old.generated:
            sql += self._start_numbering(table, new)
        if new.default and (old.default, old.type) != (new.default, new.type):
            sql.append(f"{alter} SET DEFAULT {new.default}")
        elif old.default and not new.default and old.type == new.type:
            sql.append(f"{alter} DROP DEFAULT")
        if old.null and not new.null:
            sql.append(f"{alter} SET NOT NULL")
        elif new.null and not old.null:
            sql.append(f"{alter} DROP NOT NULL")
        return sql + ([self._comment(table, new)] if old.comment != new.comment else [])

    def _on_sequence(self, table: Table, column: Column, statement: str) -> str:
        """Run a statement on the sequence of a column, for any name."""
        sequence = (
            f"pg_get_serial_sequence({self._text(self.quote(table.name))},"
            f" {self._text(column.name)})"
        )
        return _do(f"EXECUTE format({self._text(statement)}, {sequence})")

    def _start_numbering(self, table: Table, column: Column) -> list[str]:
        quoted, name = self.quote(table.name), self.quote(column.name)
        sequence = self.quote(self._generated_name(table.name, column.name, "seq"))
        # a sequence starts at 1, and MAX may be the largest possible number
        newest = f"GREATEST(MAX({name}), 1), COALESCE(MAX({name}) > 0, false)"
        return [
            f"CREATE SEQUENCE {sequence} AS {column.type} OWNED BY {quoted}.{name}",
            f"SELECT setval({self._text(sequence)}, {newest}) FROM {quoted}",
            f"ALTER TABLE {quoted} ALTER COLUMN {name} SET DEFAULT nextval({self._text(sequence)})",
        ]

    def _define(self, column: Column) -> str:
        type_ = _SERIALS[column.type] if column.generated else column.type
        parts = [self.quote(column.name), type_, column.computed, "" if column.null else "NOT NULL"]
        parts.append(f"DEFAULT {column.default}" if column.default else "")
        return " ".join(filter(None, parts))

    def _constraint(self, index: Index) -> str:
        return f"CONSTRAINT {self.quote(index.names[0])} UNIQUE ({self._columns(index)})"

    def _add_index(self, table: Table, index: Index) -> str:
        if index.unique:
            return f"ALTER TABLE {self.quote(table.name)} ADD {self._constraint(index)}"
        using = f" USING {index.kind}" if index.kind else ""
        create = f"CREATE INDEX {self.quote(index.names[0])} ON {self.quote(table.name)}"
        return f"{create}{using} ({self._columns(index)}){index.extra}"

    def _comment(self, table: Table, column: Column | None = None) -> str:
        name = self.quote(table.name)
        target = f"TABLE {name}" if column is None else f"COLUMN {name}.{self.quote(column.name)}"
        text = (column or table).comment
        return f"COMMENT ON {target} IS {chr(39) + text + chr(39) if text else 'NULL'}"

    def drop_foreign_key(self, old: Table, new: Table, key: ForeignKey) -> list[str]:
        drops = ", ".join(f"DROP CONSTRAINT IF EXISTS {self.quote(name)}" for name in key.names)
        return [f"ALTER TABLE {self.quote(new.name)} {drops}"]

    def lock(self, tables: Sequence[str]) -> list[str]:
        names = ", ".join(map(self.quote, tables))
        return [f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"] if names else []

    def attribute_guards(self, table: str, changes: Sequence[tuple[Column, Column]]) -> list[str]:
        """Fail if a change of the type would drop a collation."""
        names = [
            self._text(old.name)
            for old, new in changes
            if old.type != new.type and "COLLATE" not in old.type.upper()
        ]
        if not names:
            return []
        select = (
            "SELECT 1 FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
            f" WHERE attrelid = {self._text(self.quote(table))}::regclass"
            f" AND attname IN ({', '.join(names)}) AND attcollation <> typcollation"
        )
        message = (
            f"{table} has a column with a collation that its model lacks, and changing its type drops"
            " it: add COLLATE to the ALTER COLUMN after this check, and delete the check"
        )
        return [self.guard(select, message)]

    def replacement_guards(self, table: Table, columns: Sequence[str]) -> list[str]:
        known = {name for index in table.indexes for name in index.names}
        select = (
            "SELECT 1 FROM pg_depend JOIN pg_attribute ON (attrelid, attnum) = (refobjid, refobjsubid)"
            " LEFT JOIN pg_class i ON (i.tableoid, i.oid) = (classid, objid) AND relkind = 'i'"
            " LEFT JOIN pg_constraint c ON (c.tableoid, c.oid) = (classid, objid)"
            " AND contype IN ('c', 'u', 'x') WHERE refclassid = 'pg_class'::regclass"
            f" AND attrelid = {self._text(self.quote(table.name))}::regclass"
            f" AND attname IN ({', '.join(map(self._text, columns))})"
            f" AND COALESCE(relname, conname) NOT IN ({', '.join(map(self._text, ['', *sorted(known)]))})"
        )
        return [self.guard(select, replaced_message(table.name))]

    def guard(self, select: str, message: str) -> str:
        raise_ = f"RAISE EXCEPTION USING MESSAGE = {self._text(message)}"
        return f"{_do(f'IF EXISTS ({select}) THEN {raise_}; END IF')} {guard_comment()}"

    def split(self, sql: str) -> list[str]:
        return _SPLITTER.split(sql)


def _do(statement: str) -> str:
    """Run a statement of PL/pgSQL, between dollar quotes that are not in it."""
    tags = ("$$", *(f"$migration{number}$" for number in range(statement.count("$"))))
    quote = next(tag for tag in tags if tag not in statement)
    return f"DO {quote} BEGIN {statement}; END {quote}"


def _cut(name: str, length: int) -> str:
    """Cut a name to a number of bytes, between two characters."""
    return name.encode()[:length].decode(errors="ignore")


dialect = PostgreSQL()
