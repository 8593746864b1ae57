"""Read rows and links, and say what a migration changed in them."""

import asyncio
import json
import sqlite3
import uuid
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from ...support.databases import Database, Row, session
from .models import Field, Models


@dataclass
class Table:
    """Where a model's values are.

    Attributes:
        columns: the columns by the uid of their field.
        references: of foreign keys, the uids of the model and the field that they refer to.
        links: of many-to-many relations, the through table, its two columns, and the target's uid.
    """

    name: str
    primary: int
    columns: dict[int, str]
    references: dict[int, tuple[int, int]]
    links: dict[int, tuple[str, str, str, int]]


Layout = dict[int, Table]
Values = dict[int, Any]


class Difference(NamedTuple):
    """A value or row that is not as it was.

    Attributes:
        uid: the field's uid, 0 for a whole row.
        place: the table, or table.column, as it was called before.
        was_null: whether the value was NULL.
    """

    uid: int
    place: str
    text: str
    was_null: bool = False


def layout(models: Models, described: list[dict[str, Any]]) -> Layout:
    """Find the tables and columns of models in Tortoise's description of them."""
    by_name = {model["name"]: model for model in described}
    tables = {}
    for model in models.all:
        found = by_name[f"models.{model.name}"]
        data = {f["name"]: f["db_column"] for f in (found["pk_field"], *found["data_fields"])}
        relations = [*found["fk_fields"], *found["o2o_fields"]]
        data |= {f["name"]: data[f["raw_field"]] for f in relations}
        many = {f["name"]: f for f in found["m2m_fields"]}
        table = Table(found["table"], model.primary.uid, {}, {}, {})
        for f in model.fields:
            if f.has_column:
                table.columns[f.uid] = data[f.name]
            if f.is_relation and f.has_column:
                target = models.by_uid(f.target)
                assert target
                table.references[f.uid] = (f.target, f.to_field or target.primary.uid)
            if not f.has_column:
                link = many[f.name]
                ends = (link["backward_key"], link["forward_key"])
                table.links[f.uid] = (link["through"], *ends, f.target)
        tables[model.uid] = table
    return tables


@dataclass
class Snapshot:
    """The rows of all tables at one time."""

    models: Models
    layout: Layout
    rows: dict[int, list[Values]]
    links: dict[int, list[tuple[Any, Any]]]

    def count(self, uid: int) -> int:
        """Count the values of a field, or its links, or the rows of a model."""
        if uid in self.rows:
            return len(self.rows[uid])
        if uid in self.links:
            return len(self.links[uid])
        return sum(row.get(uid) is not None for rows in self.rows.values() for row in rows)


def take(database: Database, models: Models, places: Layout) -> Snapshot:
    """Read all rows."""
    mark = "`" if database.engine == "mysql" else '"'

    def select(table: str, columns: list[str]) -> str:
        listed = ", ".join(f"{mark}{column}{mark}" for column in columns)
        return f"SELECT {listed} FROM {mark}{table}{mark}"

    statements = [select(t.name, list(t.columns.values())) for t in places.values()]
    links = {uid: link for table in places.values() for uid, link in table.links.items()}
    statements += [select(through, [a, b]) for through, a, b, _ in links.values()]
    answers = _query(database, statements)
    rows = {}
    for (uid, table), answer in zip(places.items(), answers, strict=False):
        rows[uid] = [dict(zip(table.columns, row, strict=True)) for row in answer]
    pairs = zip(links, answers[len(places) :], strict=True)
    return Snapshot(models, places, rows, {uid: [(a, b) for a, b in found] for uid, found in pairs})


def _query(database: Database, statements: list[str]) -> list[list[Row]]:
    if database.engine == "sqlite":
        with closing(sqlite3.connect(database.path)) as connection:
            return [connection.execute(sql).fetchall() for sql in statements]
    return asyncio.run(_ask(database.url, statements))


async def _ask(url: str, statements: list[str]) -> list[list[Row]]:
    async with session(url) as query:
        return [await query(sql) for sql in statements]


class Comparison:
    """Two snapshots, whose rows are matched by the primary key that the first one has."""

    def __init__(self, before: Snapshot, after: Snapshot) -> None:
        self.before = before
        self.after = after
        self.shared = [uid for uid in before.layout if uid in after.layout]
        self._memo: dict[tuple[bool, int, int], dict[Any, Any]] = {}

    def _columns(self, uid: int) -> list[int]:
        before, after = self.before.layout[uid], self.after.layout[uid]
        return [f for f in before.columns if f in after.columns]

    def _identity(self, uid: int, row: Values) -> Any:
        key = self.before.layout[uid].primary
        if key in self.after.layout[uid].columns and key not in self.before.layout[uid].references:
            return canonical(row[key])
        plain = set(self._columns(uid)) - self.before.layout[uid].references.keys()
        return tuple(canonical(row[f]) for f in sorted(plain))

    def _referred(self, some: Snapshot, uid: int, field: int, value: Any) -> Any:
        """Find the identity of the row that a value refers to."""
        if value is None or uid not in self.shared:
            return canonical(value)
        key = (some is self.before, uid, field)
        if key not in self._memo:
            rows = some.rows[uid]
            self._memo[key] = {canonical(row[field]): self._identity(uid, row) for row in rows}
        return self._memo[key].get(canonical(value), ("nothing has", canonical(value)))

    def differences(self) -> list[Difference]:
        """List what is in the first snapshot and not, or not the same, in the second one."""
        found: list[Difference] = []
        for uid in self.shared:
            found += self._rows(uid)
            for field, (through, _, _, target) in self.before.layout[uid].links.items():
                if field in self.after.layout[uid].links:
                    old = self._pairs(self.before, uid, field, target)
                    new = self._pairs(self.after, uid, field, target)
                    if old != new:
                        text = f"links of {through} were {old}, are {new}"
                        found.append(Difference(field, through, text))
        return found

    def _pairs(self, some: Snapshot, uid: int, field: int, target: int) -> Counter[Any]:
        ends = (some.layout[uid].primary, some.layout[target].primary)
        return Counter(
            (self._referred(some, uid, ends[0], a), self._referred(some, target, ends[1], b))
            for a, b in some.links[field]
        )

    def _rows(self, uid: int) -> list[Difference]:
        table = self.before.layout[uid]
        old = [(self._identity(uid, row), row) for row in self.before.rows[uid]]
        new = [(self._identity(uid, row), row) for row in self.after.rows[uid]]
        counts = Counter(i for i, _ in old), Counter(i for i, _ in new)
        found = [
            Difference(0, table.name, f"row {identity} of {table.name} is gone")
            for identity in counts[0] - counts[1]
        ]
        found += [
            Difference(0, table.name, f"row {identity} of {table.name} is additional")
            for identity in counts[1] - counts[0]
        ]
        match = dict(new)
        for identity, row in old:
            if identity in match:
                found += self._values(uid, row, match[identity])
        return found

    def _values(self, uid: int, row: Values, other: Values) -> list[Difference]:
        table, found = self.before.layout[uid], []
        for f in self._columns(uid):
            old, new = row[f], other[f]
            before, after = self._field(self.before, uid, f), self._field(self.after, uid, f)
            if f in table.references and f in self.after.layout[uid].references:
                old = self._referred(self.before, *table.references[f], old)
                new = self._referred(self.after, *self.after.layout[uid].references[f], new)
            elif _type(before) != _type(after):
                old, new = canonical(old), canonical(new)
            backfilled = old is None and before.null and not after.null
            if not backfilled and (type(old), old) != (type(new), new):
                place = f"{table.name}.{table.columns[f]}"
                text = f"{place} was {old!r}, is {new!r} ({row})"
                found.append(Difference(f, place, text, old is None))
        return found

    def _field(self, some: Snapshot, uid: int, field: int) -> Field:
        model = some.models.by_uid(uid)
        found = model.by_uid(field) if model else None
        assert found
        return found


def _type(f: Field) -> tuple[object, ...]:
    return f.kind, f.size, f.argument


def canonical(value: Any) -> Any:
    """Write a value so that it equals itself in another type that holds all of it."""
    if isinstance(value, (bool, int, float, Decimal)):
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        return number.normalize() if number else Decimal(0)
    if isinstance(value, timedelta):
        return Decimal(value // timedelta(microseconds=1))
    if isinstance(value, datetime):
        return (value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value).isoformat()
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00"
    if isinstance(value, uuid.UUID):
        return value.hex
    if isinstance(value, (list, tuple)):
        return tuple(canonical(item) for item in value)
    if isinstance(value, str):
        return _canonical_text(value)
    return value


def _canonical_text(text: str) -> Any:
    try:
        number = Decimal(text)
        return canonical(number) if number.is_finite() else text
    except InvalidOperation:
        pass
    for parse in (datetime.fromisoformat, uuid.UUID):
        try:
            return canonical(parse(text))
        except ValueError:
            pass
    if text[:1] in {"{", "[", '"'}:
        try:
            found = json.loads(text)
        except ValueError:
            return text
        return canonical(found) if isinstance(found, str) else json.dumps(found, sort_keys=True)
    return {"true": Decimal(1), "false": Decimal(0)}.get(text, text)
