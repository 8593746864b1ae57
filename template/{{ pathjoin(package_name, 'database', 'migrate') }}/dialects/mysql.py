"""The SQL of MySQL and MariaDB."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from math import isfinite

from ..errors import MigrationError
from ..splitting import Splitter
from ..tables import Column, ForeignKey, Index, Table
from . import Numbered, guard_comment, if_missing, replaced_message
from .base import StandardSQL
from .indexes import index_changes

_LONGEST_NAME = 64  # characters: MySQL's documentation, "Identifier Length Limits"
# MySQL's documentation, "Limits on Table Column Count and Row Size", "InnoDB Limits" and "CREATE
# TABLE Statement"
_LARGEST_ROW = 65535  # bytes, without TEXT and BLOB
_LONGEST_COMMENTS = {"column": 1024, "table": 2048}  # characters
_MOST_INDEXES = 64
_KINDS = {"", "FULLTEXT", "SPATIAL", "UNIQUE"}
_BYTES = 4  # of a character in utf8mb4
_CHARACTERS = re.compile(r"(?:VAR)?CHAR\((\d+)\)", re.IGNORECASE)
# MySQL's documentation, "Server Error Message Reference". Only the server knows these limits, which
# are different in MySQL and MariaDB
_COLLATIONS = (
    "If both columns have the same type, give them the same collation. SHOW FULL COLUMNS FROM each"
    " table lists it. ALTER TABLE ... CONVERT TO CHARACTER SET utf8mb4 gives an older table that of"
    " new ones. Drop its foreign keys first, and add them again after it"
)
_ADVICE = {
    "1069": "Remove some of the table's indexes, unique=True or relations",
    "1071": "Shorten max_length of the index's columns, to 768 characters in total",
    "1074": "Use a TextField",
    "1118": "Use a TextField or a smaller max_length for some of the table's columns",
    "1128": "Remove parser_name from the FullTextIndex, or install its parser on the server",
    "1170": "Use a CharField for the column of the index",
    "1252": "Remove null=True from the column of the SpatialIndex",
    "1283": "Use a CharField or a TextField for the columns of the FullTextIndex",
    "1687": "Use a GeometryField for the column of the SpatialIndex",
    "3780": _COLLATIONS,
}
# MySQL's documentation, "Language Structure"
_SPLITTER = Splitter(
    quoted=r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`""",
    comment=r"#[^\n]*|--(?=\s|$)[^\n]*",
)

# Keeps 0 when the server starts to number a column. Otherwise 0 becomes the next number
_KEEP_ZERO = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')"
_NUMBER_ZERO = "SET SESSION sql_mode = REPLACE(@@sql_mode, 'NO_AUTO_VALUE_ON_ZERO', '')"

# MySQL's documentation, "INFORMATION_SCHEMA Tables"
_TABLES = """
SELECT table_name AS `table`, 'comment' AS name, table_comment AS value
FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type <> 'VIEW'"""
_COLUMNS = """
SELECT table_name AS `table`, CONCAT('column ', column_name) AS name, CONCAT_WS(' ', column_type,
    IF(is_nullable = 'NO', 'not null', NULL),
    IF(column_default = 'NULL', NULL, CONCAT('default ', column_default)),
    NULLIF(extra, ''), IF(generation_expression = '', NULL, CONCAT('as ', generation_expression)),
    IF(collation_name <> table_collation, CONCAT('collate ', collation_name), NULL), IF(column_comment = '', NULL, CONCAT('comment ', QUOTE(column_comment)))) AS value
FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_schema = DATABASE() AND table_type <> 'VIEW'"""
_INDEXES = """
SELECT table_name AS `table`, CONCAT(
    CASE WHEN index_name = 'PRIMARY' THEN 'primary key ' WHEN non_unique THEN 'index '
        ELSE 'unique ' END,
    '(', GROUP_CONCAT(COALESCE(column_name, 'an expression'),
        COALESCE(CONCAT('(', sub_part, ')'), ''), IF(collation = 'D', ' desc', '') ORDER BY seq_in_index SEPARATOR ', '), ')') AS name, index_type AS value
FROM information_schema.statistics WHERE table_schema = DATABASE()
GROUP BY table_name, index_name, non_unique, index_type"""
_FOREIGN_KEYS = """
SELECT k.table_name AS `table`, CONCAT('foreign key (',
    GROUP_CONCAT(k.column_name ORDER BY k.ordinal_position SEPARATOR ', '), ')') AS name,
    CONCAT('references ', k.referenced_table_name, ' (',
        GROUP_CONCAT(k.referenced_column_name ORDER BY k.ordinal_position SEPARATOR ', '),
        ') on delete ', r.delete_rule,
        IF(r.update_rule IN ('RESTRICT', 'NO ACTION'), '', CONCAT(' on update ', r.update_rule)))
        AS value
FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r
    ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name
    AND r.table_name = k.table_name
WHERE k.table_schema = DATABASE() AND k.referenced_table_name IS NOT NULL
GROUP BY k.table_name, k.constraint_name, k.referenced_table_name, r.delete_rule, r.update_rule"""
# MariaDB adds a check to each JSON column
_CHECKS = """
SELECT DISTINCT t.table_name AS `table`, CONCAT('CHECK (', c.check_clause, ')') AS name, '' AS value
FROM information_schema.table_constraints t JOIN information_schema.check_constraints c
    ON c.constraint_schema = t.constraint_schema AND c.constraint_name = t.constraint_name
WHERE t.constraint_type = 'CHECK' AND t.table_schema = DATABASE()
    AND c.check_clause NOT LIKE 'json~_valid(%' ESCAPE '~'"""
_VIEWS = """
SELECT table_name AS `table`, 'view' AS name, view_definition AS value
FROM information_schema.views WHERE table_schema = DATABASE()"""
_TRIGGERS = """
SELECT event_object_table AS `table`, CONCAT('trigger ', trigger_name, ' of') AS name,
    CONCAT_WS(' ', action_timing, event_manipulation, action_statement) AS value
FROM information_schema.triggers WHERE trigger_schema = DATABASE()"""
_ROUTINES = """
SELECT routine_name AS `table`, LOWER(routine_type) AS name, routine_definition AS value
FROM information_schema.routines WHERE routine_schema = DATABASE()"""
_OBJECTS = (_VIEWS, _TRIGGERS, _ROUTINES)
_FACTS = (_TABLES, _COLUMNS, _INDEXES, _FOREIGN_KEYS, _CHECKS)


class MySQL(StandardSQL):
    """The dialect of MySQL and MariaDB: see `Dialect`."""

    name = "mysql"
    new_uuid = "UUID()"
    length = "CHAR_LENGTH(CONCAT({column}, ''))"
    text = "CAST({column} AS CHAR)"
    exact = "CAST({column} AS BINARY)"
    strict = True
    comments = True
    isolated = False  # each statement that changes a table is committed
    facts = _FACTS
    objects = _OBJECTS
    # the driver formats statements with `%`, and identifiers have no characters beyond the BMP
    refused_characters = re.compile("[`%\0\U00010000-\U0010ffff]|\\A\\(")
    without_checks = ("SET FOREIGN_KEY_CHECKS = 0", "SET FOREIGN_KEY_CHECKS = 1")

    def now(self, type_: str) -> str:
        return "CURRENT_TIME(6)" if type_.startswith("TIME(") else "CURRENT_TIMESTAMP(6)"

    def quote(self, name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    def literal(self, value: object, type_: str = "") -> str | None:
        match value:
            case Decimal() | float():
                return str(value) if isfinite(value) else None
            case datetime():
                value = value.astimezone(UTC) if value.tzinfo else value
                return f"'{value:%Y-%m-%d %H:%M:%S.%f}'"
            case time():
                return f"'{value:%H:%M:%S.%f}'"
            case timedelta():
                return f"'{value}'"
        return super().literal(value, type_)

    def described_literal(self, value: object, type_: str) -> str | None:
        if isinstance(value, str) and not re.match("(VAR)?CHAR|LONGTEXT|DATE$", type_):
            return value if re.fullmatch(r"-?[0-9.]+", value) else None
        return self.literal(value)

    def identifier(self, name: str) -> str:
        """Return the name unchanged, since the server refuses a name that is too long."""
        if len(name) > _LONGEST_NAME:
            raise MigrationError(
                f"Shorten {name!r}: names on MySQL have at most {_LONGEST_NAME} characters. Set"
                " Meta.table, `through`, source_field or the name of the index in the models"
            )
        return name

    def problems(self, table: Table) -> list[str]:
        return [
            *self._size_problems(table),
            *self._index_problems(table),
            *_comment_problems(table),
        ]

    @staticmethod
    def _size_problems(table: Table) -> list[str]:
        matches = [(c.name, _CHARACTERS.fullmatch(c.type)) for c in table.columns.values()]
        sizes = {name: _BYTES * int(match[1]) for name, match in matches if match}
        if sum(sizes.values()) <= _LARGEST_ROW:
            return []
        longest = max(sizes, key=sizes.__getitem__)
        problem = (
            f"{table.name}.{longest}: use a TextField or a smaller max_length: MySQL limits a row to"
            f" {_LARGEST_ROW} bytes, and the texts of {table.name} may have {sum(sizes.values())}"
        )
        return [problem]

    @staticmethod
    def _index_problems(table: Table) -> list[str]:
        primary = {column.name for column in table.columns.values() if column.primary}
        first = {index.columns[0] for index in table.indexes} | primary
        # the server creates an index for a foreign key that has none
        keys = {key.column for key in table.foreign_keys if key.enforced} - first
        count = len(table.indexes) + len(keys) + bool(primary)
        if count <= _MOST_INDEXES:
            return []
        problem = (
            f"{table.name}: remove {count - _MOST_INDEXES} of its indexes, unique=True or relations:"
            f" MySQL limits a table to {_MOST_INDEXES} indexes, with those of its keys"
        )
        return [problem]

    def index_problem(self, kind: str, extra: str, *, expression: bool) -> str:
        if kind.upper() not in _KINDS:
            return f"use an Index or a FullTextIndex: MySQL has no index of the kind {kind}"
        if expression:
            return "index a column: Tortoise cannot create an index on an expression on MySQL"
        if extra.lstrip().upper().startswith("WHERE"):
            return "use an Index: indexes on MySQL have no condition"
        return ""

    def advice(self, error: str) -> str:
        if "errno: 150" in error:  # MariaDB's, for any problem with a foreign key
            return _COLLATIONS
        if "SPATIAL INDEX" in error:  # MariaDB's, for a column of another type
            return _ADVICE["1687"]
        code = re.match(r"\((\d+),", error)
        return _ADVICE.get(code[1], "") if code else ""

    def unique_names(self, table: str, column: str, own: str) -> tuple[str, ...]:
        """Name a unique key after its column, like the server."""
        return (column,)

    def has_global_name(self, index: Index) -> bool:
        return False

    def create_table(self, table: Table, without: Collection[ForeignKey] = ()) -> list[str]:
        parts = [self._define(column) for column in table.columns.values()]
        parts += self._primary_key(table)
        parts += [self._key(index) for index in sorted(table.indexes, key=str)]
        keys = {key for key in table.foreign_keys if key.enforced} - set(without)
        parts += [self._reference(key) for key in sorted(keys, key=str)]
        comment = f" COMMENT='{table.comment}'" if table.comment else ""
        body = ",\n    ".join(parts)
        create = f"CREATE TABLE {self.quote(table.name)} (\n    {body}\n)"
        sql = [f"{create} CHARACTER SET utf8mb4{comment}"]
        return if_missing(sql) if table.may_exist else sql

    def add_numbers(self, table: Table, column: Column) -> list[str]:
        clauses = [  # a table has one such column
            f"MODIFY COLUMN {self._define(replace(before, generated=False))}"
            for before in table.columns.values()
            if before.generated
        ]
        clauses.append(f"ADD COLUMN {self._define(replace(column, comment=''))} UNIQUE")
        return [f"ALTER TABLE {self.quote(table.name)} {', '.join(clauses)}"]

    def numbered(self, column: Column) -> Numbered:
        number = Column(column.name, column.type, null=False, generated=True)
        return Numbered(number, frozenset({Index((column.name,), (column.name,), unique=True)}))

    def alter_table(self, old: Table, new: Table, sources: Mapping[str, str]) -> list[str]:
        """Write one statement, so that the server rewrites a large table only once."""
        changes = index_changes(old, new, sources.keys())
        clauses = [f"DROP KEY {self.quote(index.names[0])}" for index in changes.dropped]
        keys = [[c.name for c in table.columns.values() if c.primary] for table in (old, new)]
        new_key = keys[0] != keys[1] or bool(sources.keys() & set(keys[1]))
        if keys[0] and new_key:
            clauses.append("DROP PRIMARY KEY")
        kept = (new.columns.keys() | sources.values()) - (sources.keys() & old.columns.keys())
        clauses += [f"DROP COLUMN {self.quote(name)}" for name in old.columns if name not in kept]
        filled, later = [], []
        for column in new.columns.values():
            source = sources.get(column.name, column.name)
            before = old.columns.get(source)
            if before is None:
                clauses.append(self._add(column))
                if self._default(column):
                    filled.append(self._without_default(column))
                elif column.backfill not in {None, "NULL"} and not column.default:
                    later += self._fill(new, column)
            elif source != column.name:
                clauses.append(f"CHANGE COLUMN {self.quote(source)} {self._define(column)}")
            elif before != column:
                clauses.append(f"MODIFY COLUMN {self._define(column)}")
        if keys[1] and new_key:
            clauses.append(f"ADD PRIMARY KEY ({', '.join(map(self.quote, keys[1]))})")
        clauses += [
            f"RENAME INDEX {self.quote(before.names[0])} TO {self.quote(after.names[0])}"
            for before, after in changes.renamed
        ]
        clauses += [f"ADD {self._key(index)}" for index in changes.created]
        if old.comment != new.comment:
            clauses.append(f"COMMENT='{new.comment}'")
        alter = f"ALTER TABLE {self.quote(new.name)}"
        sql = [f"{alter} {', '.join(clauses)}"] if clauses else []
        sql = self._keeping_zero(sql, old, new, sources)
        return sql + ([f"{alter} {', '.join(filled)}"] if filled else []) + later

    def _keeping_zero(
        self, sql: list[str], old: Table, new: Table, sources: Mapping[str, str]
    ) -> list[str]:
        """Keep the number 0 when the server starts to number rows."""
        begins = any(
            column.generated and before is not None and not before.generated
            for column in new.columns.values()
            for before in [old.columns.get(sources.get(column.name, column.name))]
        )
        return [_KEEP_ZERO, *sql, _NUMBER_ZERO] if begins else sql

    def _add(self, column: Column) -> str:
        if default := self._default(column):
            return f"ADD COLUMN {self._define(replace(column, default=default))}"
        is_filled = column.default or column.backfill in {None, "NULL"}
        return f"ADD COLUMN {self._define(column if is_filled else replace(column, null=True))}"

    def _default(self, column: Column) -> str:
        """Write the value of existing rows as a default, which avoids an UPDATE of the table."""
        backfill = column.backfill
        if backfill in {None, "NULL"} or column.default or "()" in str(backfill):
            return ""
        if re.match("LONGTEXT|LONGBLOB|JSON|TIME\\(", column.type):
            return f"({backfill})"
        return str(backfill)

    def _without_default(self, column: Column) -> str:
        change = "SET DEFAULT NULL" if column.null else "DROP DEFAULT"
        return f"ALTER COLUMN {self.quote(column.name)} {change}"

    def _fill(self, table: Table, column: Column) -> list[str]:
        """Give each row the value of a function that a default cannot call."""
        alter, name = f"ALTER TABLE {self.quote(table.name)}", self.quote(column.name)
        sql = [f"UPDATE {self.quote(table.name)} SET {name} = {column.backfill}"]
        return sql if column.null else [*sql, f"{alter} MODIFY COLUMN {self._define(column)}"]

    def _define(self, column: Column) -> str:
        null = "NULL" if column.null else "NOT NULL"
        generated = " AUTO_INCREMENT" if column.generated else ""
        default = f" DEFAULT {column.default}" if column.default else ""
        comment = f" COMMENT '{column.comment}'" if column.comment else ""
        return f"{self.quote(column.name)} {column.type} {null}{generated}{default}{comment}"

    def _key(self, index: Index) -> str:
        kind = "UNIQUE " if index.unique else f"{index.kind} ".lstrip()
        columns = ", ".join(map(self.quote, index.columns))
        return f"{kind}KEY {self.quote(index.names[0])} ({columns}){index.extra}"

    def drop_foreign_key(self, old: Table, new: Table, key: ForeignKey) -> list[str]:
        sql = [f"ALTER TABLE {self.quote(new.name)} DROP FOREIGN KEY {self.quote(key.names[0])}"]
        indexed = old.indexes_on(key.column) or old.columns[key.column].primary
        stays = any(k.enforced and k.column == key.column for k in new.foreign_keys)
        if key.column in new.columns and not indexed and not stays:
            sql += self._drop_indexes_on(new.name, key.column)
        return sql

    def _drop_indexes_on(self, table: str, column: str) -> list[str]:
        """Drop the index that the server created for a foreign key, for any name."""
        alter = self._text(f"ALTER TABLE {self.quote(table)} DROP KEY ")
        indexes = (
            "SELECT index_name AS name FROM information_schema.statistics"
            f" WHERE table_schema = DATABASE() AND table_name = {self._text(table)}"
            f" GROUP BY index_name HAVING GROUP_CONCAT(column_name) = {self._text(column)}"
        )
        statement = f"COALESCE(MAX(CONCAT({alter}, '`', name, '`')), 'DO 0')"
        return [
            f"SET @migration = (SELECT {statement} FROM ({indexes}) i)",
            "PREPARE migration FROM @migration",
            "EXECUTE migration",
            "DEALLOCATE PREPARE migration",
        ]

    def attribute_guards(self, table: str, changes: Sequence[tuple[Column, Column]]) -> list[str]:
        """Fail if MODIFY would drop what its definition of a column lacks."""
        found = [
            f"column_name = {self._text(old.name)} AND ({' OR '.join(self._unknown(old))})"
            for old, new in changes
            if old != replace(new, name=old.name)
        ]
        if not found:
            return []
        select = (
            "SELECT 1 FROM information_schema.columns JOIN information_schema.tables"
            " USING (table_schema, table_name) WHERE table_schema = DATABASE()"
            f" AND table_name = {self._text(table)} AND ({' OR '.join(found)})"
        )
        message = (
            f"{table} has a column with a DEFAULT, a COLLATE or another attribute that its model lacks,"
            " and MODIFY drops it: add it to the MODIFY after this check, and delete the check"
        )
        return [self.guard(select, message)]

    def replacement_guards(self, table: Table, columns: Sequence[str]) -> list[str]:
        known = ["PRIMARY", *sorted(name for index in table.indexes for name in index.names)]
        checks = (f"LOCATE({self._text(self.quote(name))}, check_clause)" for name in columns)
        place = f"table_name = {self._text(table.name)}"
        select = (
            "SELECT 1 FROM DUAL WHERE EXISTS (SELECT 1 FROM information_schema.statistics"
            f" WHERE table_schema = DATABASE() AND {place} AND non_unique = 0"
            f" AND column_name IN ({', '.join(map(self._text, columns))})"
            f" AND index_name NOT IN ({', '.join(map(self._text, known))}))"
            " OR EXISTS (SELECT 1 FROM information_schema.table_constraints t"
            " JOIN information_schema.check_constraints USING (constraint_schema, constraint_name)"
            f" WHERE constraint_schema = DATABASE() AND t.{place} AND ({' OR '.join(checks)})"
            " AND check_clause NOT LIKE 'json_valid(%')"
        )
        return [self.guard(select, replaced_message(table.name))]

    def _unknown(self, column: Column) -> Iterator[str]:
        """Write conditions that find attributes of a column that its model lacks.

        MODIFY may drop a DEFAULT and ON UPDATE if the ORM writes the same values.
        """
        is_now = column.backfill == self.now(column.type)
        if not column.default:
            known = {self._text(value.strip("'")) for value in ("NULL", column.backfill or "NULL")}
            value = "CAST(TRIM(BOTH '''' FROM column_default) AS BINARY)"
            others = " AND column_default NOT LIKE 'CURRENT_TIME%'" if is_now else ""
            yield f"{value} NOT IN ({', '.join(sorted(known))}){others}"
        yield "extra LIKE '%INVISIBLE%'"
        if not column.computed:
            yield "extra LIKE '% GENERATED'"
        if not is_now:
            yield "extra LIKE '%ON UPDATE%'"
        # a type may have a collation, and MariaDB gives JSON another one
        if not re.search("JSON|COLLATE|CHARACTER SET|CHARSET", column.type, re.IGNORECASE):
            yield "collation_name <> table_collation"
            # MariaDB names the CHECK of a column after it
            yield (
                "(CAST(table_name AS BINARY), CAST(column_name AS BINARY)) IN (SELECT"
                " CAST(table_name AS BINARY), CAST(constraint_name AS BINARY)"
                " FROM information_schema.table_constraints WHERE constraint_schema = DATABASE()"
                " AND constraint_type = 'CHECK')"
            )
        if not column.comment:
            yield "column_comment <> ''"

    def guard(self, select: str, message: str) -> str:
        """Fail with "Subquery returns more than 1 row": SIGNAL only works in procedures."""
        return f"SELECT (SELECT 1 UNION ALL ({select} LIMIT 1)) {guard_comment(message)}"

    def split(self, sql: str) -> list[str]:
        return _SPLITTER.split(sql)


def _comment_problems(table: Table) -> Iterator[str]:
    """Find comments that are too long, such as those that Tortoise writes for large enums."""
    comments = {table.name: ("table", table.comment)}
    comments |= {f"{table.name}.{c.name}": ("column", c.comment) for c in table.columns.values()}
    for place, (kind, comment) in comments.items():
        length = len(re.sub(r"\\(.)", r"\1", comment))
        if length > _LONGEST_COMMENTS[kind]:
            yield (
                f"{place}: set a description of at most {_LONGEST_COMMENTS[kind]} characters, which"
                f" is MySQL's limit: it has {length}"
            )


dialect = MySQL()
