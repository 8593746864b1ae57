"""SQLite's SQL."""

import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from math import isnan

from ..tables import Column, ForeignKey, Index, Table
from . import Numbered, guard_comment, if_missing
from .base import StandardSQL
from .indexes import index_changes, nameless

# SQLite's documentation, "PRAGMA Statements" and "PRAGMA functions"
_COLUMNS = """
SELECT t.name AS "table", 'column ' || c.name AS name, c.type || iif(c."notnull", ' not null', '')
    || coalesce(' default ' || c.dflt_value, '') || iif(c.pk, ' primary key', '')
    || iif(c.hidden IN (2, 3), ' generated', '')
    || iif(c.pk AND upper(t.sql) LIKE '% AUTOINCREMENT%', ' auto-increment', '') AS value
FROM sqlite_master t, pragma_table_xinfo(t.name) c
WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite~_%' ESCAPE '~'"""
_INDEXES = """
SELECT t.name AS "table", iif(i."unique", 'unique (', 'index (')
    || (SELECT group_concat(coalesce(name, 'an expression'), ', ') FROM pragma_index_info(i.name))
    || ')' AS name, iif(i.partial, replace(substr(s.sql, instr(upper(s.sql), ' WHERE ') + 1), '"', ''), '') AS value
FROM sqlite_master t, pragma_index_list(t.name) i LEFT JOIN sqlite_master s ON s.name = i.name
WHERE t.type = 'table'"""
_FOREIGN_KEYS = """
SELECT t.name AS "table", 'foreign key (' || group_concat(f."from", ', ') || ')' AS name,
    'references ' || f."table" || ' (' || group_concat(f."to", ', ')
    || ') on delete ' || lower(f.on_delete)
    || iif(f.on_update = 'NO ACTION', '', ' on update ' || lower(f.on_update)) AS value
FROM sqlite_master t, pragma_foreign_key_list(t.name) f
WHERE t.type = 'table' GROUP BY t.name, f.id"""
_CHECKS = """
SELECT name AS "table", 'checks' AS name,
    CAST((length(s) - length(replace(s, 'CHECK(', ''))) / 6 AS TEXT) AS value
FROM (SELECT name, replace(upper(sql), 'CHECK (', 'CHECK(') AS s FROM sqlite_master
    WHERE type = 'table') WHERE s LIKE '%CHECK(%'"""
_TRIGGERS = """
SELECT tbl_name AS "table", 'trigger ' || name AS name, '' AS value
FROM sqlite_master WHERE type = 'trigger'"""
# A rename of a table or column adds quotes
_OBJECTS = """
SELECT tbl_name AS "table", iif(type = 'view', 'view', 'trigger ' || name || ' of') AS name,
    replace(replace(sql, '"', ''), '`', '') AS value
FROM sqlite_master WHERE type IN ('view', 'trigger')"""
# Clauses of a table, without white space, that models cannot express
_CLAUSES = ("CHECK(", "COLLATENOCASE", "COLLATERTRIM", "DEFERRABLE", "ONCONFLICT")
_DEFAULT_QUOTES = "()'"  # what may enclose a default
_FACTS = (_COLUMNS, _INDEXES, _FOREIGN_KEYS, _CHECKS, _TRIGGERS)


class SQLite(StandardSQL):
    """The dialect of SQLite: see `Dialect`."""

    name = "sqlite"
    new_uuid = (
        "(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4'"
        " || substr(hex(randomblob(2)), 2) || '-8' || substr(hex(randomblob(2)), 2)"
        " || '-' || hex(randomblob(6))))"
    )
    # LENGTH() of a text ends at a NUL: such a text is measured in bytes
    length = "iif(instr({column}, char(0)), LENGTH(CAST({column} AS BLOB)), LENGTH({column}))"
    # Compare texts: numbers keep only 15 digits. Decimals below 0.000001 have an exponent
    larger = (
        "iif({column} LIKE '%E%', abs({column} + 0) >= {limit},"
        " length(ltrim(substr({column}, 1, instr({column} || '.', '.') - 1), '-0')) > {digits})"
    )
    # With an exponent: the digits after the first one, less the exponent, are the places
    finer = (
        "iif({column} LIKE '%E%', {column} + 0 <> 0 AND length(rtrim(replace(substr({column}, 1,"
        " instr(upper({column}), 'E') - 1), '.', ''), '0')) - length(ltrim(substr({column}, 1, 1),"
        " '0123456789')) - 1 - substr({column}, instr(upper({column}), 'E') + 1) > {scale},"
        " rtrim(substr({column}, instr({column} || '.', '.') + 1 + {scale}), '0') <> '')"
    )
    text = "CAST({column} AS TEXT)"
    exact = "{column}"
    strict = False
    comments = False  # they are part of the CREATE TABLE text, which only a rebuild changes
    isolated = True  # one process writes at a time
    facts = _FACTS
    objects = (_OBJECTS,)
    without_checks = ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON")

    def now(self, type_: str) -> str:
        form = "%H:%M:%f" if type_ == "TIME" else "%Y-%m-%d %H:%M:%f+00:00"
        return f"(strftime('{form}', 'now'))"

    def literal(self, value: object, type_: str = "") -> str | None:
        match value:
            case float():
                return None if isnan(value) else repr(value).replace("inf", "9e999")  # too large
            case Decimal():
                return self._text(str(value))
        return super().literal(value, type_)

    @staticmethod
    def _text(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    def described_literal(self, value: object, type_: str) -> str | None:
        if isinstance(value, str) and not re.match("(VAR)?CHAR|TEXT", type_):
            return value if re.fullmatch(r"-?[0-9.]+", value) else None
        return self.literal(value)

    def folded(self, name: str) -> str:
        return name.casefold()

    def index_problem(self, kind: str, extra: str, *, expression: bool) -> str:
        if not kind:
            return ""
        instead = "unique=True or unique_together" if kind == "UNIQUE" else "an Index"
        return f"use {instead}: SQLite has no index of the kind {kind}"

    def unique_names(self, table: str, column: str, own: str) -> tuple[str, ...]:
        return (own,)

    def has_global_name(self, index: Index) -> bool:
        return not index.unique  # unique constraints have no names

    def create_table(self, table: Table, without: Collection[ForeignKey] = ()) -> list[str]:
        sql = [self._create(table, table.name), *self._indexes(table, table.indexes)]
        return if_missing(sql) if table.may_exist else sql

    def _create(self, table: Table, name: str) -> str:
        references = {key.column: key for key in table.foreign_keys if key.enforced}
        parts = [self._define(c, references.get(c.name)) for c in table.columns.values()]
        parts += [
            f"UNIQUE ({self._columns(index)})"
            for index in sorted(table.indexes, key=str)
            if index.unique
        ]
        body = ",\n    ".join(parts)
        return f"CREATE TABLE {self.quote(name)} (\n    {body}\n)"

    def rename_table(self, old: str, new: str) -> list[str]:
        if old.lower() != new.lower():
            return super().rename_table(old, new)
        between = f"{old}__renamed"  # SQLite treats them as the same name
        return [*super().rename_table(old, between), *super().rename_table(between, new)]

    def add_numbers(self, table: Table, column: Column) -> list[str]:
        number = self.numbered(column).column
        update = f"UPDATE {self.quote(table.name)} SET {self.quote(column.name)} = rowid"
        return [*self.add_column(table.name, number), update]

    def numbered(self, column: Column) -> Numbered:
        return Numbered(replace(column, null=True, generated=False, primary=False))

    def alter_table(self, old: Table, new: Table, sources: Mapping[str, str]) -> list[str]:
        """Add and drop indexes and columns if SQLite can, or rebuild the table.

        See SQLite's documentation, "ALTER TABLE", section 7.
        """
        if sources or not self._is_plain(old, new):
            return self._rebuild(old, new, sources)
        changes = index_changes(old, new)
        gone = [*changes.dropped, *(before for before, _ in changes.renamed)]
        created = [*changes.created, *(after for _, after in changes.renamed)]
        table = f"ALTER TABLE {self.quote(new.name)}"
        return [
            *(f"DROP INDEX IF EXISTS {self.quote(i.names[0])}" for i in gone if not i.unique),
            *(
                f"{table} DROP COLUMN {self.quote(name)}"
                for name in old.columns
                if name not in new.columns
            ),
            *(
                f"{table} ADD COLUMN {self._define(column)}"
                for name, column in new.columns.items()
                if name not in old.columns
            ),
            *self._indexes(new, created),
        ]

    def _is_plain(self, old: Table, new: Table) -> bool:
        """Return whether only indexes and columns without values are added or dropped."""

        def fixed(table: Table) -> object:
            references = {replace(key, names=()) for key in table.foreign_keys if key.enforced}
            return references, {nameless(index) for index in table.indexes if index.unique}

        names = {**old.columns, **new.columns}
        changed = [(old.columns.get(name), new.columns.get(name)) for name in names]
        changed = [(before, after) for before, after in changed if before != after]
        return fixed(old) == fixed(new) and all(
            (before is None or after is None) and self._is_null(before or after)
            for before, after in changed
        )

    @staticmethod
    def _is_null(column: Column | None) -> bool:
        return (
            column is not None
            and column.null
            and not column.default
            and column.backfill in {None, "NULL"}
        )

    def _rebuild(self, old: Table, new: Table, sources: Mapping[str, str]) -> list[str]:
        table, copy = self.quote(new.name), f"new__{new.name}"
        values = {}
        for column in new.columns.values():
            if (source := sources.get(column.name, column.name)) in old.columns:
                values[column.name] = self._copied(old.columns[source], column)
            elif not column.generated:
                values[column.name] = column.default or column.backfill or "NULL"
        names = ", ".join(map(self.quote, values))
        select = f"SELECT {', '.join(values.values())} FROM {table}"
        sql = [self._guard_unknown(old), self._guard_clauses(old, new)]
        sql += [self._create(new, copy), f"INSERT INTO {self.quote(copy)} ({names}) {select}"]
        before = [
            old.columns.get(sources.get(c.name, c.name))
            for c in new.columns.values()
            if c.generated
        ]
        if any(column and column.generated for column in before):
            # never use a number twice
            sequence = f"SELECT {self._text(copy)}, seq FROM sqlite_sequence"
            sql += [
                f"DELETE FROM sqlite_sequence WHERE name = {self._text(copy)}",
                f"INSERT INTO sqlite_sequence {sequence} WHERE name = {self._text(new.name)}",
            ]
        first = self.quote(next(iter(new.columns)))
        sql += [
            f"DROP TABLE {table}",
            # allows views and triggers to use a missing table; then a rename that changes nothing
            # fails if one of them uses something that was dropped
            "PRAGMA legacy_alter_table = ON",
            f"ALTER TABLE {self.quote(copy)} RENAME TO {table}",
            "PRAGMA legacy_alter_table = OFF",
            f"ALTER TABLE {table} RENAME COLUMN {first} TO {first}",
        ]
        return sql + self._indexes(new, new.indexes)

    def _guard_unknown(self, table: Table) -> str:
        """Fail if a rebuild would drop columns or indexes that only the database has."""
        name = self._text(table.name)
        known = {  # whether it is unique, whether it is partial, its columns: as in the query
            f"{index.unique:d}{' WHERE ' in index.extra:d} "
            + ",".join("" if column.startswith("(") else column for column in index.columns)
            for index in table.indexes
        }
        select = (
            f"SELECT 1 FROM pragma_table_xinfo({name})"
            f" WHERE name COLLATE NOCASE NOT IN ({self._listed(table.columns)}) OR hidden"
            f" UNION ALL SELECT 1 FROM pragma_index_list({name}) i WHERE origin <> 'pk'"
            " AND \"unique\" || partial || ' ' || (SELECT group_concat(coalesce(name, '')"
            " || iif(coll = 'BINARY', '', coll)) FROM pragma_index_xinfo(i.name) WHERE key)"
            f" COLLATE NOCASE NOT IN ({self._listed(known)})"
        )
        message = (
            f"{table.name} has columns or indexes that its model lacks, and rebuilding the table drops"
            " them: drop them yourself, or keep them in the SQL and delete this check"
        )
        return self.guard(select, message)

    def _guard_clauses(self, table: Table, new: Table) -> str:
        """Fail if a rebuild would drop constraints or options that only the database has."""
        name = self._text(table.name)
        own = re.sub(
            r"\s", "", self._create(table, table.name)
        ).upper()  # names may contain clauses
        more = [
            f"length(s) - length(replace(s, '{clause}', '')) > {len(clause) * own.count(clause)}"
            for clause in _CLAUSES
        ]
        keys = {f"{k.column} {k.table} {k.on_delete} NO ACTION" for k in table.foreign_keys}
        kept = (c.name for c in table.columns.values() if c.name in new.columns and not c.default)
        select = (
            "SELECT 1 FROM (SELECT replace(replace(replace(upper(sql), ' ', ''), char(9), ''), char(10),"
            f" '') AS s FROM sqlite_master WHERE type = 'table' AND tbl_name = {name})"
            f" WHERE {' OR '.join(more)}"
            " OR (s NOT LIKE '%)' AND s NOT LIKE '%*/')"  # STRICT, WITHOUT ROWID
            f" UNION ALL SELECT 1 FROM pragma_foreign_key_list({name}) WHERE \"from\" || ' '"
            " || \"table\" || ' ' || on_delete || ' ' || on_update"
            f" COLLATE NOCASE NOT IN ({self._listed(keys)})"
            f" UNION ALL SELECT 1 FROM pragma_table_info({name})"
            f" WHERE name || ' ' || trim(dflt_value, {self._text(_DEFAULT_QUOTES)})"
            f" NOT IN ({self._listed(self._defaults(table))}) AND name IN ({self._listed(kept)})"
        )
        message = (
            f"{table.name} has constraints, defaults or options that its model lacks, and rebuilding the"
            " table drops them: keep them in the CREATE TABLE after this check, and delete the check"
        )
        return self.guard(select, message)

    def _defaults(self, table: Table) -> Iterator[str]:
        """List the defaults that a rebuild may drop, since the ORM writes the same values."""
        for column in table.columns.values():
            now = "CURRENT_TIMESTAMP" if column.backfill == self.now(column.type) else ""
            for value in filter(None, ("NULL", column.backfill, now)):
                yield f"{column.name} {value.strip(_DEFAULT_QUOTES)}"

    def _listed(self, values: Iterable[str]) -> str:
        return ", ".join(map(self._text, sorted(values)))

    def _copied(self, old: Column, new: Column) -> str:
        """Write a column's value with all its digits; a plain cast to text rounds to 15.

        Those suffice if the number is the quotient of two exact ones: all its digits, and a power
        of ten. Casting the text back is inexact.
        """
        name = self.quote(old.name)
        if old.type != "REAL" or not re.match("VARCHAR|TEXT", new.type):
            return name
        text = f"CAST({name} AS TEXT)"
        digits = f"CAST(replace({text}, '.', '') AS REAL)"
        power = f"CAST('1e' || (length({text}) - instr({text}, '.')) AS REAL)"
        suffices = f"instr({text}, 'e') = 0 AND {digits} / {power} = {name}"
        return f"iif(typeof({name}) <> 'real' OR {suffices}, {text}, printf('%!.18g', {name}))"

    def _define(self, column: Column, key: ForeignKey | None = None) -> str:
        type_ = column.type
        if column.generated:
            type_ = "INTEGER PRIMARY KEY AUTOINCREMENT"
        elif column.primary:
            type_ += " PRIMARY KEY"
        null = "" if column.null else " NOT NULL"
        default = f" DEFAULT {column.default}" if column.default else ""
        return f"{self.quote(column.name)} {type_}{null}{default}" + (
            f" REFERENCES {self.quote(key.table)} ({self.quote(key.to)}) ON DELETE {key.on_delete}"
            if key
            else ""
        )

    def _indexes(self, table: Table, indexes: Iterable[Index]) -> list[str]:
        return [
            f"CREATE INDEX {self.quote(index.names[0])} ON {self.quote(table.name)}"
            f" ({self._columns(index)}){index.extra}"
            for index in sorted(indexes, key=str)
            if not index.unique
        ]

    def add_foreign_key(self, table: Table, key: ForeignKey) -> list[str]:
        return []

    def drop_foreign_key(self, old: Table, new: Table, key: ForeignKey) -> list[str]:
        return []

    def guard(self, select: str, message: str) -> str:
        """Fail with "integer overflow": RAISE only works in triggers."""
        overflow = f"CASE WHEN EXISTS ({select}) THEN abs(-9223372036854775807 - 1) END"
        return f"SELECT {overflow} {guard_comment(message)}"

    def in_transaction(self, statements: list[str]) -> list[str]:
        """Switch foreign keys off, or dropping a table deletes the rows that refer to it."""
        if not any(statement.startswith("DROP TABLE") for statement in statements):
            return statements
        off, on = self.without_checks
        return [off, "BEGIN", *statements, "COMMIT", on]

    def split(self, sql: str) -> list[str]:
        """Split SQL into statements, with SQLite's own parser."""
        statements = []
        start = 0
        for end in (match.end() for match in re.finditer(";", sql)):
            if sqlite3.complete_statement(sql[start:end]):
                statements.append(sql[start:end].strip())
                start = end
        return [
            statement for statement in (*statements, sql[start:].strip()) if statement.strip("; ")
        ]


dialect = SQLite()
