"""Read the schema of a database, and compare two schemas."""

import re
from collections.abc import Sequence

from tortoise import BaseDBAsyncClient

from ..context import FOLDER, dialect
from ..files import read_text

Schema = dict[tuple[str, str], list[str]]

# The team's file: accepted differences, one per line, in the words of `verify`
ACCEPTED = FOLDER.parent / "accepted.txt"

# Differences that a model can express: they are never suggested for `accepted.txt`
EXPRESSIBLE = re.compile(
    r"\S+: (column |foreign key|FOREIGN KEY|primary key"
    r"|(unique|index) (\w+ )?\((\w+|\"[^\"]+\")(, (\w+|\"[^\"]+\"))*\)( \w+)? is )"
)

# A difference of a column, and attributes that Tortoise's fields do not have
COLUMN = re.compile(r"\S+: column \S+ is (.*) by the migrations, (.*) by the models", re.DOTALL)
INEXPRESSIBLE = re.compile("collate |on update |INVISIBLE", re.IGNORECASE)


async def read(client: BaseDBAsyncClient) -> Schema:
    """Read the schema of all tables except Aerich's: values by table and name."""
    return await _read(client, dialect.facts)


async def read_objects(client: BaseDBAsyncClient) -> Schema:
    """Read views, triggers and others that models cannot express: values by name or table, and kind."""
    return await _read(client, dialect.objects)


async def _read(client: BaseDBAsyncClient, queries: Sequence[str]) -> Schema:
    found: Schema = {}
    for query in queries:
        for row in await client.execute_query_dict(query):
            if not row["table"].startswith("aerich"):
                found.setdefault((row["table"], row["name"]), []).append(row["value"] or "")
    return {place: sorted(values) for place, values in found.items()}


def compare(actual: Schema, wanted: Schema, creator: str, wanted_by: str) -> list[str]:
    """List the differences between two schemas.

    Args:
        actual: one schema.
        wanted: the other.
        creator: who creates the one, such as "the migrations".
        wanted_by: who creates the other, such as "the models".
    """
    differences = []
    have, want = {table for table, _ in actual}, {table for table, _ in wanted}
    differences += [f"table {table} is created by {creator} only" for table in sorted(have - want)]
    differences += [f"table {t} is created by {wanted_by} only" for t in sorted(want - have)]
    for table, name in sorted(actual.keys() | wanted.keys()):
        if table not in have & want:
            continue
        one, two = actual.get((table, name)), wanted.get((table, name))
        if one is None or two is None:
            values, whose = (one, creator) if two is None else (two, wanted_by)
            what = " ".join([name, " and ".join(filter(None, values or []))]).strip()
            differences.append(f"{table}: {what} is created by {whose} only")
        elif one != two:
            ours, theirs = (" and ".join(filter(None, v)) or f"{len(v)}-fold" for v in (one, two))
            differences.append(f"{table}: {name} is {ours} by {creator}, {theirs} by {wanted_by}")
    return differences


def changed_objects(before: Schema, after: Schema) -> list[str]:
    """List the views, triggers and others that two schemas do not share."""
    return [
        f"{kind} {name}"
        for name, kind in sorted(before.keys() | after.keys())
        if before.get((name, kind)) != after.get((name, kind))
    ]


def not_accepted(differences: list[str], accepted: list[str]) -> list[str]:
    """Remove accepted differences, and add accepted lines without a difference.

    Args:
        differences: the differences between the schemas of migrations and models.
        accepted: the lines of `accepted.txt`.
    """
    # Before 0.7, lines had "made" instead of "created"
    current = {re.sub(r"\bis made by\b", "is created by", line): line for line in accepted}
    problems = [difference for difference in differences if difference not in current]
    problems += _advice(problems)
    lost = f"{ACCEPTED.name}: create it, or delete its line:"
    return problems + [
        f"{lost} {line}" for difference, line in current.items() if difference not in differences
    ]


def _advice(problems: list[str]) -> list[str]:
    """Write how to keep what only the migrations create."""
    kept: set[str] = set()
    for line in problems:
        match = COLUMN.fullmatch(line)
        additional = _additional(match[1], match[2]) if match else ""
        if additional.startswith("default "):
            kept.add("To keep a DEFAULT that the model lacks")
        is_object = line.endswith("by the migrations only") and not EXPRESSIBLE.match(line)
        if is_object or INEXPRESSIBLE.match(additional):
            kept.add("To accept what models cannot express, such as a CHECK")
    return [f"{what}, copy its line to {ACCEPTED}" for what in sorted(kept)]


def _additional(ours: str, theirs: str) -> str:
    """Return what only the first description of a column has, if it has all of the second."""
    words, wanted = ours.split(" "), theirs.split(" ")
    count = len(words) - len(wanted)
    for start in range(len(wanted) + 1 if count > 0 else 0):
        if words[:start] + words[start + count :] == wanted:
            return " ".join(words[start : start + count])
    return ""


def accepted_lines() -> list[str]:
    """Read the lines of `accepted.txt`, without comments."""
    text = read_text(ACCEPTED) if ACCEPTED.exists() else ""
    return [line for line in map(str.strip, text.splitlines()) if line and line[0] != "#"]
