"""Write the SQL that changes tables from one state to another and keeps their rows."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import count

from .conversions import becomes_enum, exact, misfit, misfits, removed_members, renamed_members
from .dialects import Dialect
from .references import Follows, follows, has_no_rows, is_replaced
from .tables import Column, ForeignKey, Index, Table, Tables, in_order_of_reference

# A column's name in that of a temporary column, in bytes: servers cut or reject long names
_LONGEST_TEMPORARY = 48

# Maps the names of a table and a column to those before all renames
Original = Callable[[str, str], tuple[str, str]]

NO_VALUE = "may not be NULL, and existing rows have no value"
NO_ROWS = "refers to {}, which is a new table: also insert the rows that it refers to"
NO_UNIQUE_VALUE = "is unique, so each existing row needs a value that no other has"

# A server default with the same value for all rows
_SHARED_DEFAULT = re.compile(r"'|[-+\d.]|TRUE|FALSE|CURRENT_|NOW\b", re.IGNORECASE)


def unchanged(table: str, column: str) -> tuple[str, str]:
    """Return the same names, since nothing was renamed."""
    return table, column


@dataclass
class Diff:
    """SQL, and the values that are missing in it.

    Attributes:
        guards: statements that fail if rows do not fit the change; they run first.
        statements: the statements.
        missing: why the user has to supply a value, by `table.column`. The SQL contains
            `<table.column>` as a placeholder.
        replaced: values that get another value: the table, the column, and both values as SQL.
        exclusive: tables whose rows are lost or changed if others write to them meanwhile, by their
            names before.
    """

    guards: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    replaced: list[tuple[str, str, str, str]] = field(default_factory=list)
    exclusive: set[str] = field(default_factory=set)


def between(
    old: Tables,
    new: Tables,
    dialect: Dialect,
    original: Original = unchanged,
    *,
    reverts: bool = False,
) -> Diff:
    """Write the SQL that changes the old tables to the new ones.

    Args:
        old: the tables as they are, after renames.
        new: the tables as they will be.
        dialect: the engine's SQL.
        original: finds the names before renames, for the guards.
        reverts: whether the SQL reverts a migration. Then NULL in a column that becomes NOT NULL
            stops it if the column has no default; otherwise NULL is replaced.
    """
    return _Writer(old, new, dialect, original, reverts=reverts).write()


class _Writer:
    def __init__(
        self, old: Tables, new: Tables, dialect: Dialect, original: Original, *, reverts: bool
    ) -> None:
        self._old = old
        self._new = new
        self._sql = dialect
        self._original = original
        self._reverts = reverts
        self._diff = Diff()
        # by table and column: the column that holds its values until the table is altered
        self._sources: dict[str, dict[str, str]] = {}
        self._prepared: Tables = {}
        self._freed: set[tuple[str, ForeignKey]] = set()

    def write(self) -> Diff:
        both = [name for name in self._old if name in self._new]
        kept = {name: self._kept_keys(name) for name in both}
        sql = self._diff.statements
        for name in both:
            self._guard(self._old[name], self._new[name])
            for key in _enforced(self._old[name].foreign_keys - kept[name]):
                sql += self._sql.drop_foreign_key(self._old[name], self._new[name], key)
        self._free_targets_and_keys()
        for name in self._old:
            self._prepared[name] = self._old[name]
            self._sources[name] = {}
        self._free_names()
        later = self._create()
        for name in both:
            self._rename_members(name, before_alter=True)
        for name in self._parents_first(both):
            self._prepare(name)
        for name in self._parents_first(both):
            self._prepare_followers(name)
        for name in both:
            before, sources = self._prepared[name], self._sources[name]
            self._guard_replaced(self._old[name])
            if sources or before != self._new[name]:
                sql += self._sql.alter_table(before, self._new[name], sources)
            self._rename_members(name, before_alter=False)
        later += [
            (self._new[name], key)
            for name in both
            for key in _enforced(self._new[name].foreign_keys - kept[name])
        ]
        for table, key in later:
            sql += self._sql.add_foreign_key(table, key)
        self._drop()
        self._diff.guards[:0] = self._sql.lock(sorted(self._diff.exclusive))
        return self._diff

    def _free_targets_and_keys(self) -> None:
        """Drop references from dropped tables to tables that change, and those with needed names."""
        needed = {key.names[0] for table in self._new.values() for key in table.foreign_keys}
        for name, table in self._old.items():
            for key in _enforced(table.foreign_keys if name not in self._new else ()):
                is_changed = key.table in self._new and not self._is_target_unchanged(key.table)
                if is_changed or key.names[0] in needed:
                    self._diff.statements += self._sql.drop_foreign_key(table, table, key)
                    self._freed.add((name, key))

    def _free_names(self) -> None:
        """Drop indexes whose names other tables need, such as after a swap of two tables."""
        taken: dict[str, set[str]] = {}
        for table in self._new.values():
            for index in table.indexes:
                taken.setdefault(index.names[0], set()).add(table.name)
        for name, table in self._old.items():
            kept = self._new[name].indexes if name in self._new else frozenset()
            clashing = {
                index
                for index in table.indexes - kept
                if self._sql.has_global_name(index)
                and any(taken.get(other, set()) - {name} for other in index.names)
            }
            if clashing:
                without = replace(table, indexes=table.indexes - clashing)
                self._diff.statements += self._sql.alter_table(table, without, {})
                self._prepared[name] = without

    def _create(self) -> list[tuple[Table, ForeignKey]]:
        """Create the new tables, and return the foreign keys to add later."""
        later = []
        ready = {name for name in self._old if self._is_target_unchanged(name)}
        created = [table for name, table in self._new.items() if name not in self._old]
        for table in in_order_of_reference(created):
            ready.add(table.name)
            waiting = [key for key in _enforced(table.foreign_keys) if key.table not in ready]
            later += [(table, key) for key in waiting]
            self._diff.statements += self._sql.create_table(table, waiting)
        return later

    def _drop(self) -> None:
        gone = [table for name, table in self._old.items() if name not in self._new]
        waiting = {table.name: table for table in gone}
        for table in reversed(in_order_of_reference(gone)):
            del waiting[table.name]
            for other in waiting.values():
                for key in _enforced(other.foreign_keys):
                    is_dropped = (other.name, key) in self._freed
                    if key.table == table.name and not is_dropped:  # they refer to each other
                        self._diff.statements += self._sql.drop_foreign_key(other, other, key)
            self._diff.statements.append(self._sql.drop_table(table.name))

    def _is_target_unchanged(self, name: str) -> bool:
        """Return whether a table can be referenced before it is altered."""
        old, new = self._old[name], self._new.get(name)
        if new is None:
            return True
        unique = [{i for i in table.indexes if i.unique} for table in (old, new)]
        shapes = [{n: _shape(c) for n, c in table.columns.items()} for table in (old, new)]
        return unique[0] == unique[1] and shapes[0] == shapes[1]

    def _parents_first(self, names: list[str]) -> list[str]:
        return [table.name for table in in_order_of_reference(self._old[name] for name in names)]

    def _kept_keys(self, name: str) -> frozenset[ForeignKey]:
        """List foreign keys that do not change, nor the columns and indexes that they need."""
        old, new = self._old[name], self._new[name]

        def foundation(table: Table, tables: Tables, key: ForeignKey) -> object:
            target = tables.get(key.table)
            column = target.columns.get(key.to) if target else None
            return (
                _shape(table.columns.get(key.column)),
                table.indexes_on(key.column),
                _shape(column),
                target.indexes_on(key.to) if target else None,
                self._primary(target),
            )

        return frozenset(
            key
            for key in old.foreign_keys & new.foreign_keys
            if foundation(old, self._old, key) == foundation(new, self._new, key)
        )

    @staticmethod
    def _primary(table: Table | None) -> object:
        return [_shape(c) for c in table.columns.values() if c.primary] if table else None

    # --- Rows that do not fit the change ---

    def _guard(self, old: Table, new: Table) -> None:
        changes = [
            (replace(before, name=self._original(old.name, name)[1]), new.columns[name])
            for name, before in old.columns.items()
            if name in new.columns
        ]
        table = self._original(old.name, "")[0]
        self._diff.guards += self._sql.attribute_guards(table, changes)
        for column in new.columns.values():
            before = old.columns.get(column.name)
            if before is None:
                continue
            if keys := follows(self._old, self._new, old.name, column.name):
                to, parent = keys.after.to, keys.after.table
                may_be_null = to in self._old[parent].columns and self._new[parent].columns[to].null
                self._guard_reference(old, keys.before, to if may_be_null else keys.before.to)
            elif not self._is_replaced(old.name, column.name):
                self._guard_type(old, before, column)
        unique = {
            frozenset(index.columns)
            for index in old.indexes
            if index.unique and not any(self._shared_default(old, new, c) for c in index.columns)
        }
        for index in sorted(new.indexes, key=str):
            is_checked = index.unique and frozenset(index.columns) not in unique
            if is_checked and not self._is_new(old, index.columns):
                self._guard_unique(old, index)
                unique.add(frozenset(index.columns))
        before_keys = {(k.column, k.table, k.to) for k in old.foreign_keys if k.enforced}
        for key in _enforced(new.foreign_keys):
            is_checked = (key.column, key.table, key.to) in before_keys
            if not is_checked and not self._is_new(old, [key.column]):
                self._guard_reference(old, key, key.to)

    def _guard_type(self, table: Table, before: Column, column: Column) -> None:
        name, original = self._original(table.name, column.name)
        condition = misfits(before, column, self._sql.quote(original), self._sql)
        if not condition:
            return
        self._diff.exclusive.add(name)
        select = f"SELECT 1 FROM {self._sql.quote(name)} WHERE {condition}"
        is_member = removed_members(before, column) or becomes_enum(before, column)
        type_ = "its enum" if is_member else column.meaning
        message = f"{name}.{original} holds values that {type_} cannot hold: change them first"
        self._diff.guards.append(self._sql.guard(select, message))

    def _guard_replaced(self, old: Table) -> None:
        table = replace(old, name=self._original(old.name, "")[0])
        columns = [self._original(old.name, name)[1] for name in self._sources[old.name]]
        if columns:
            self._diff.guards += self._sql.replacement_guards(table, columns)

    def _guard_unique(self, table: Table, index: Index) -> None:
        places = [self._original(table.name, column) for column in index.columns]
        name = places[0][0]
        columns = []
        for (_, column), now in zip(places, index.columns, strict=True):
            default = self._shared_default(table, self._new[table.name], now)
            quoted = self._sql.quote(column)
            columns.append(f"COALESCE({quoted}, {default})" if default else quoted)
        present = " AND ".join(f"{column} IS NOT NULL" for column in columns)
        select = (
            f"SELECT 1 FROM {self._sql.quote(name)} WHERE {present}"
            f" GROUP BY {', '.join(columns)} HAVING COUNT(*) > 1"
        )
        same = ", ".join(column for _, column in places)
        message = f"{name} holds rows with the same {same}: change them first"
        self._diff.guards.append(self._sql.guard(select, message))

    def _shared_default(self, old: Table, new: Table, name: str) -> str:
        """Return the value that replaces NULL in all rows of a column, if there is one."""
        before, column = old.columns.get(name), new.columns.get(name)
        if before is None or column is None or column.null or not before.null:
            return ""
        if before.type != column.type or renamed_members(before, column):
            return ""  # the old values and the default have no common form
        value = self._instead_of_null(new.name, column)
        return value if _SHARED_DEFAULT.match(value) else ""

    def _guard_reference(self, old: Table, key: ForeignKey, value: str) -> None:
        """Fail if a row refers to no row, or to one without a value in a column."""
        target = self._old.get(key.table)
        if target is None or key.to not in target.columns:
            return
        name, original = self._original(old.name, key.column)
        parent, to = self._original(key.table, key.to)
        value = self._original(key.table, value)[1]
        quote = self._sql.quote
        select = (
            f"SELECT 1 FROM {quote(name)} c LEFT JOIN {quote(parent)} p"
            f" ON p.{quote(to)} = c.{quote(original)}"
            f" WHERE c.{quote(original)} IS NOT NULL AND p.{quote(value)} IS NULL"
        )
        lacks = f"that no row of {parent} has"
        if value != to:
            lacks = f"for which {parent} has no {value}"
        message = f"{name}.{original} holds values {lacks}: change them first"
        self._diff.guards.append(self._sql.guard(select, message))

    def _guard_null(self, table: Table, column: str) -> None:
        name, original = self._original(table.name, column)
        select = f"SELECT 1 FROM {self._sql.quote(name)} WHERE {self._sql.quote(original)} IS NULL"
        message = f"{name}.{original} is NULL in some rows: give them a value first"
        self._diff.guards.append(self._sql.guard(select, message))

    def _is_new(self, old: Table, columns: Iterable[str]) -> bool:
        """Return whether one of the columns is new or gets other values."""
        return any(name not in old.columns or self._is_replaced(old.name, name) for name in columns)

    # --- Values of existing rows ---

    def _prepare(self, name: str) -> None:
        """Prepare the columns whose values do not depend on columns that they refer to."""
        old = self._old[name]
        for column in self._new[name].columns.values():
            before = old.columns.get(column.name)
            place = f"{name}.{column.name}"
            if before is None:
                self._prepare_new(old, column)
            elif follows(self._old, self._new, name, column.name) or column.computed:
                continue
            elif key := has_no_rows(self._old, self._new, name, column.name):
                if not column.null:
                    self._diff.missing[place] = NO_ROWS.format(key.table)
                self._convert(old, column, "NULL" if column.null else f"<{place}>")
            elif self._is_replaced(name, column.name):
                self._diff.missing[place] = f"changes from {before.meaning} to {column.meaning}"
                self._convert(old, column, f"<{place}>")
            else:
                if self._exchanges_members(name, before, column):
                    self._exchange_members(old, before, column)
                if before.null and not column.null:
                    self._replace_null(old, before, column)

    def _replace_null(self, table: Table, before: Column, column: Column) -> None:
        source = self._sources[table.name].get(column.name, column.name)
        is_other = before.type != column.type or before.computed  # the server fills a generated one
        if is_other and self._sql.strict and source == column.name:
            self._change_type(table.name, column)
        value = self._instead_of_null(table.name, column)
        if value:
            self._diff.replaced.append((table.name, column.name, "NULL", value))
        if value or not self._reverts:
            self._update(table, column.name, value, f"{self._sql.quote(source)} IS NULL")
        else:
            self._guard_null(table, column.name)

    def _prepare_followers(self, name: str) -> None:
        """Prepare the columns whose values change with columns that they refer to."""
        for column in self._new[name].columns.values():
            keys = follows(self._old, self._new, name, column.name)
            if keys and column.name in self._old[name].columns:
                value = self._followed(name, column.name, keys)
                self._convert(self._old[name], column, value)

    def _prepare_new(self, table: Table, column: Column) -> None:
        if column.generated:
            self._diff.statements += self._sql.add_numbers(table, column)
            numbered = self._sql.numbered(column)
            self._extend(table.name, numbered.column, numbered.indexes)
            return
        unique = self._is_unique(table.name, column)
        is_shared = unique and _SHARED_DEFAULT.match(column.default) is not None
        is_simple = column.null or column.default or column.computed or column.backfill
        followed = self._is_followed(table.name, column.name)
        if is_simple and not (column.primary or is_shared or followed):
            return  # alter_table() adds it
        nullable = replace(column, null=True, primary=False, comment="", default="")
        self._diff.statements += self._sql.add_column(table.name, nullable)
        self._extend(table.name, nullable)
        value = self._known(column)
        if not value and column.null and not followed:
            return
        if not value:
            self._diff.missing[f"{table.name}.{column.name}"] = (
                NO_UNIQUE_VALUE if unique else NO_VALUE
            )
        self._update(table, column.name, value)

    def _convert(self, table: Table, column: Column, value: str) -> None:
        """Write a column's new values into another column that replaces it later."""
        short = column.name.encode()[:_LONGEST_TEMPORARY].decode(errors="ignore")
        names = (f"new{number or ''}_{short}" for number in count())
        # those that the table has before, during and after the change
        columns = self._prepared[table.name].columns.keys() | self._new[table.name].columns.keys()
        taken = {name.lower() for name in columns}
        source = next(name for name in names if name.lower() not in taken)
        nullable = Column(source, column.type, null=True)
        self._diff.exclusive.add(self._original(table.name, "")[0])
        self._diff.statements += self._sql.add_column(table.name, nullable)
        self._extend(table.name, nullable)
        self._sources[table.name][column.name] = source
        self._update(table, column.name, value)

    def _change_type(self, table: str, column: Column) -> None:
        """Change the type of a column first, so that it can hold its new values."""
        before = self._prepared[table]
        nullable = replace(column, null=True)
        after = replace(before, columns={**before.columns, column.name: nullable})
        self._diff.statements += self._sql.alter_table(before, after, {})
        self._prepared[table] = after

    def _rename_members(self, table: str, *, before_alter: bool) -> None:
        """Give rows the new values of an enum's members, while the column can hold both."""
        for column in self._new[table].columns.values():
            before = self._old[table].columns.get(column.name)
            if before is None or self._is_replaced(table, column.name):
                continue
            renamed = renamed_members(before, column)
            if self._exchanges_members(table, before, column):
                continue
            is_wider = before.type != column.type and not misfit(before.type, column.type)
            gets_default = before.null and not column.null  # which may be the old value of a member
            if not renamed or before_alter == (is_wider and not gets_default):
                continue
            if before_alter and is_wider and self._sql.strict:
                self._change_type(table, column)
            name, values = self._new_members(table, column, renamed)
            where = f"{name} IN ({', '.join(values)})"
            self._update(self._old[table], column.name, f"{_case(name, values)} END", where)

    def _exchanges_members(self, table: str, before: Column, column: Column) -> bool:
        """Return whether rows, while they get new values, would have the same in a unique column."""
        taken = set(renamed_members(before, column).values()) & set(before.members)
        both = (self._old[table], self._new[table])
        indexes = [index for state in both for index in state.indexes]
        return bool(taken) and any(i.unique and column.name in i.columns for i in indexes)

    def _exchange_members(self, table: Table, before: Column, column: Column) -> None:
        """Write the new values of an enum's members into another column."""
        renamed = renamed_members(before, column)
        name, values = self._new_members(table.name, column, renamed)
        self._convert(
            table, column, f"{_case(name, values)} ELSE {self._sql.quote(column.name)} END"
        )

    def _new_members(
        self, table: str, column: Column, renamed: dict[str, str]
    ) -> tuple[str, dict[str, str]]:
        """Write an enum's column and its new values by the old ones as SQL, and note them."""
        old, new = (
            [str(self._sql.described_literal(value, column.type)) for value in values]
            for values in (renamed.keys(), renamed.values())
        )
        values = dict(zip(old, new, strict=True))
        self._diff.replaced += [(table, column.name, *pair) for pair in values.items()]
        return exact(column, self._sql.quote(column.name), self._sql), values

    def _extend(self, table: str, column: Column, indexes: frozenset[Index] = frozenset()) -> None:
        before = self._prepared[table]
        self._prepared[table] = replace(
            before,
            columns={**before.columns, column.name: column},
            indexes=before.indexes | indexes,
        )

    def _update(self, table: Table, column: str, value: str, where: str = "") -> None:
        if not value:
            place = f"{table.name}.{column}"
            self._diff.missing.setdefault(place, NO_VALUE)
            value = f"<{place}>"
        target = self._sql.quote(self._sources[table.name].get(column, column))
        statement = f"UPDATE {self._sql.quote(table.name)} SET {target} = {value}"
        self._diff.statements.append(f"{statement} WHERE {where}" if where else statement)

    @staticmethod
    def _known(column: Column) -> str:
        return "" if column.backfill in {None, "NULL"} else str(column.backfill)

    def _instead_of_null(self, table: str, column: Column) -> str:
        """Return the value that replaces NULL, if it is known."""
        value = column.default or self._known(column)
        is_shared = self._is_unique(table, column) and _SHARED_DEFAULT.match(value)
        return "" if is_shared else value

    def _is_unique(self, table: str, column: Column) -> bool:
        """Return whether no two rows may have the same value in a column."""
        return column.primary or any(
            index.unique and index.columns == (column.name,) for index in self._new[table].indexes
        )

    def _is_followed(self, table: str, column: str) -> bool:
        """Return whether columns that referred to another column of a table now refer to this one."""
        return any(
            (keys.after.table, keys.after.to) == (table, column)
            for name in self._old.keys() & self._new.keys()
            for other in self._old[name].columns
            if (keys := follows(self._old, self._new, name, other))
        )

    def _is_replaced(self, table: str, column: str) -> bool:
        return is_replaced(self._old, self._new, table, column)

    def _followed(self, table: str, column: str, keys: Follows) -> str:
        """Write the new value of the row that a column refers to."""
        before, after = keys
        self._diff.exclusive.add(self._original(after.table, "")[0])
        source = self._sources.get(after.table, {}).get(after.to, after.to)
        quote = self._sql.quote
        parent = quote(after.table)
        if after.table == table:  # MySQL cannot select from a table that it updates
            parent = f"(SELECT DISTINCT {quote(before.to)}, {quote(source)} FROM {parent})"
        return (
            f"(SELECT p.{quote(source)} FROM {parent} p"
            f" WHERE p.{quote(before.to)} = {quote(table)}.{quote(column)})"
        )


def _case(name: str, values: dict[str, str]) -> str:
    return f"CASE {name} " + " ".join(f"WHEN {old} THEN {new}" for old, new in values.items())


def _shape(column: Column | None) -> object:
    return (column.type, column.primary, column.generated) if column else None


def _enforced(keys: Iterable[ForeignKey]) -> list[ForeignKey]:
    return sorted((key for key in keys if key.enforced), key=str)
