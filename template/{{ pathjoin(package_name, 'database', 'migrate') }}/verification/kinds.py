"""Kinds of columns, and different sample values that fit them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any

from ..conversions import removed_members, renamed_members
from ..state import members_by_name, with_enums
from ..tables import Column

Sample = str | bytes

TYPES = (
    ("json", r"JSONB?\b"),
    ("uuid", r"UUID\b"),
    ("boolean", r"BOOL|TINYINT\(1\)"),
    ("integer", r"TINYINT|SMALLINT|MEDIUMINT|INT\b|INTEGER|BIGINT"),
    ("decimal", r"DECIMAL|NUMERIC"),
    ("float", r"DOUBLE|REAL|FLOAT"),
    ("datetime", r"TIMESTAMP|DATETIME"),
    ("date", r"DATE\b"),
    ("time", r"TIME"),
    ("binary", r"\w*BLOB|BYTEA|(VAR)?BINARY"),
    ("text", r"N?(VAR)?CHAR|CHARACTER|\w*TEXT|CLOB|TSVECTOR"),
    ("address", r"INET|CIDR"),
)
BITS = {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 24, "BIGINT": 64}
DAY = 86_400_000_000  # microseconds, as Tortoise stores a timedelta
NUMBERS = frozenset({"integer", "decimal", "float", "boolean"})

FEWEST, MOST = 3, 40  # rows of a table
LONG = 1000  # characters where there is no limit


@dataclass(frozen=True)
class Kind:
    """The values that a column can hold.

    Attributes:
        family: the family of its type, such as `text` or `integer`; empty if unknown.
        size: the maximum of characters, digits or bytes; None if unlimited.
        scale: the number of digits after the decimal point.
        low: the smallest number.
        high: the largest number.
        members: the values of its enum; empty if it has none.
        item: the kind of the items of an array.
    """

    family: str
    size: int | None = None
    scale: int = 0
    low: int = 0
    high: int = 0
    members: tuple[str, ...] = ()
    item: "Kind | None" = None


Kinds = dict[str, dict[str, Kind]]


def kinds_of_state(
    state: Mapping[str, Any],
    dialect: str = "",
    members: Mapping[tuple[str, str], tuple[str, ...]] | None = None,
) -> Kinds:
    """Find the values that columns can hold, by table and column.

    Args:
        state: the models, from a migration file.
        dialect: Tortoise's name of the engine's dialect.
        members: values of enums from other sources, by table and column.
    """
    found: Kinds = {}
    for model in map(with_enums, state.values()):
        table = model["table"]
        found[table] = {
            described["db_column"]: kind_of_field(
                described, dialect, (members or {}).get((table, described["db_column"]), ())
            )
            for described in (model["pk_field"], *model["data_fields"])
            if described.get("db_field_types")
        }
    for model in state.values():
        for relation in model["m2m_fields"]:
            if relation["through"] in found or relation["model_name"] not in state:
                continue
            other = state[relation["model_name"]]
            found[relation["through"]] = {
                relation["backward_key"]: kind_of_field(model["pk_field"], dialect),
                relation["forward_key"]: kind_of_field(other["pk_field"], dialect),
            }
    return found


def kind_of_field(
    described: Mapping[str, Any], dialect: str = "", members: tuple[str, ...] = ()
) -> Kind:
    """Find the values that a field can hold from its description."""
    types = described["db_field_types"]
    # SQLite stores several kinds as text or numbers, so use the type of other engines
    type_ = types[""] if dialect == "sqlite" else types.get(dialect) or types[""]
    found = kind_of_type(type_)
    if described["python_type"] == "uuid.UUID":
        return Kind("uuid" if found.family in {"uuid", "text"} else found.family, found.size)
    if described["python_type"] == "datetime.timedelta":
        return Kind("integer", low=-DAY * 1000, high=DAY * 1000)
    members = tuple(members_by_name(described).values()) or members
    return Kind(**{**vars(found), "members": members})


def with_renamed_members(kind: Kind, old: Column, new: Column) -> Kind:
    """List the values of members before a migration gives some of them new ones.

    Args:
        kind: the values that the column can hold after the migration.
        old: the column before it.
        new: the column after it.
    """
    if not (renamed := renamed_members(old, new)):
        return kind
    gone = removed_members(old, new)
    members = tuple(value for value in (*kind.members, *renamed) if value not in gone)
    return replace(kind, members=members, size=None)


@cache
def kind_of_type(type_: str) -> Kind:
    """Find the values that an SQL type can hold."""
    type_ = type_.upper().strip()
    if type_.endswith("[]"):
        return Kind("array", item=kind_of_type(type_[:-2]))
    family = next((name for name, pattern in TYPES if re.match(pattern, type_)), "")
    sizes = [int(number) for number in re.findall(r"\d+", type_.partition("(")[2])]
    if family == "integer":
        bits = BITS.get(re.split(r"\W", type_)[0], 32)
        if "UNSIGNED" in type_:
            return Kind(family, low=0, high=2**bits - 1)
        return Kind(family, low=-(2 ** (bits - 1)), high=2 ** (bits - 1) - 1)
    if family == "decimal":
        return Kind(family, size=sizes[0] if sizes else 10, scale=sizes[1] if sizes[1:] else 0)
    return Kind(family, size=sizes[0] if sizes and family in {"text", "binary"} else None)


def fits(value: Sample, kind: Kind) -> bool:
    """Return whether a column stores a value unchanged."""
    if kind.members and value not in kind.members:
        return False
    if isinstance(value, bytes) or kind.family == "binary":
        is_binary = isinstance(value, bytes) and kind.family == "binary"
        return is_binary and (kind.size is None or len(value) <= kind.size)
    if kind.family in PATTERNS:
        return re.fullmatch(PATTERNS[kind.family], value, re.DOTALL | re.ASCII) is not None
    return kind.family in FITTING and FITTING[kind.family](value, kind)


def _fits_decimal(value: str, kind: Kind) -> bool:
    whole, _, fraction = value.lstrip("-").partition(".")
    digits = (kind.size or 0) - kind.scale
    return (
        _is_number(value)
        and len(whole.lstrip("0")) <= digits
        and len(fraction.rstrip("0")) <= kind.scale
    )


def _fits_integer(value: str, kind: Kind) -> bool:
    is_whole = re.fullmatch(r"0|-?[1-9]\d*", value, re.ASCII) is not None
    return is_whole and kind.low <= int(value) <= kind.high


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text, re.ASCII) is not None


def _is_json(text: str) -> bool:
    with suppress(ValueError):
        json.loads(text)
        return True
    return False


PATTERNS = {
    "boolean": r"[01]",
    "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "datetime": r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d+)?)?",
    "date": r"\d{4}-\d\d-\d\d",
    "time": r"\d\d:\d\d:\d\d(\.\d+)?",
    "address": r"\d+\.\d+\.\d+\.\d+",
    "array": r"\{.*\}",
}
FITTING: dict[str, Callable[[str, Kind], bool]] = {
    "text": lambda value, kind: kind.size is None or len(value) <= kind.size,
    "integer": _fits_integer,
    "decimal": _fits_decimal,
    "float": lambda value, _: _is_number(value) and Decimal(repr(float(value))) == Decimal(value),
    "json": lambda value, _: _is_json(value),
}


def _decimal(units: int, scale: int) -> str:
    """Write a number of the smallest units exactly. Python's decimals round after 28 digits."""
    digits = f"{abs(units):0{scale + 1}}"
    sign = "-" if units < 0 else ""
    return sign + (f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits)


def _texts(kind: Kind) -> list[Sample]:
    size = LONG if kind.size is None else kind.size
    found = ["a", "", "Zoë, 日本 🦊", "é" * size, 'O\'Neil "\\n" %s {x}', " b\n", "07"]
    return [text for text in dict.fromkeys(found) if len(text) <= size]


def _decimals(kind: Kind) -> list[Sample]:
    largest = 10 ** (kind.size or 0) - 1
    numbers = (10**kind.scale, 0, largest, -largest, 1)
    return [_decimal(n, kind.scale) for n in dict.fromkeys(numbers) if n <= largest]


def _blobs(kind: Kind) -> list[Sample]:
    size = 256 if kind.size is None else kind.size
    every_byte = bytes(range(256)) * (size // 256 + 1)
    return [value[:size] for value in (b"xyz", b"", every_byte, b"\x00'\\")]


def _arrays(kind: Kind) -> list[Sample]:
    items = samples(kind.item)[:4] if kind.item else []
    texts = [item for item in items if isinstance(item, str)]
    return [_array(texts[:1]), "{}", _array(texts), "{NULL}"] if texts else ["{}"]


def _array(items: list[str]) -> str:
    escaped = (item.replace("\\", "\\\\").replace('"', '\\"') for item in items)
    return "{" + ",".join(f'"{item}"' for item in escaped) + "}"


NESTED = json.dumps({"a": {"b": [1, None, True]}, "é": "ü \"'\\"}, ensure_ascii=False)
SAMPLES: dict[str, Callable[[Kind], list[Sample]]] = {
    "text": _texts,
    "boolean": lambda _: ["1", "0"],
    "integer": lambda kind: [str(n) for n in (1, 0, kind.low, kind.high, 42)],
    "decimal": _decimals,
    "float": lambda _: ["1.5", "0", "-2.25", "0.1", "12345678.5"],
    "json": lambda _: ["{}", "[]", NESTED, '"text"', "null", "2.5", "true", '""'],
    "binary": _blobs,
    "array": _arrays,
    "uuid": lambda _: [
        "a3bb189e-8bf9-4888-9912-ace4e6543002",
        "00000000-0000-4000-8000-000000000000",
    ],
    "datetime": lambda _: [
        "2024-02-29 12:30:45.123456",
        "1970-01-01 00:00:00",
        "2999-12-31 23:59:59",
    ],
    "date": lambda _: ["2024-02-29", "1970-01-01", "2999-12-31"],
    "time": lambda _: ["12:30:45.123456", "00:00:00", "23:59:59"],
    "address": lambda _: ["127.0.0.1", "10.0.0.7"],
}


def samples(kind: Kind) -> list[Sample]:
    """List different values for a column, the plainest first."""
    if kind.members:
        return list(kind.members)
    return SAMPLES[kind.family](kind) if kind.family in SAMPLES else []


def _plain_text(number: int, kind: Kind) -> Sample:
    text = f"sample{number}"
    if kind.size is None or len(text) <= kind.size:
        return text
    return f"{number:x}".rjust(kind.size, "a")[-kind.size :]


def _plain_array(number: int, kind: Kind) -> Sample:
    item = next(islice(plain(kind.item), number, None), None) if kind.item else None
    return _array([item]) if isinstance(item, str) else "{}"


PLAIN: dict[str, Callable[[int, Kind], Sample]] = {
    "text": _plain_text,
    "boolean": lambda number, _: str(number % 2),
    "integer": lambda number, _: str(number),
    "decimal": lambda number, _: str(number),
    "float": lambda number, _: str(number),
    "json": lambda number, _: json.dumps({"sample": number}),
    "binary": lambda number, _: f"{number}".encode(),
    "array": _plain_array,
    "uuid": lambda number, _: f"{number:08x}-0000-4000-8000-000000000000",
    "datetime": lambda number, _: f"2000-01-{number % 28 + 1:02} 00:{number // 28:02}:00",
    "date": lambda number, _: f"{2000 + number // 28}-01-{number % 28 + 1:02}",
    "time": lambda number, _: f"12:{number // 60:02}:{number % 60:02}",
    "address": lambda number, _: f"10.0.{number // 250}.{number % 250 + 1}",
}


def plain(kind: Kind) -> Iterator[Sample]:
    """Generate any number of ordinary values."""
    if kind.members:
        yield from kind.members
    elif kind.family in PLAIN:
        yield from (PLAIN[kind.family](number, kind) for number in range(1, 10 * MOST))


@cache
def choose(
    kinds: tuple[Kind, ...], *, unique: bool = False, simple: bool = False
) -> tuple[Sample, ...]:
    """List values that fit all kinds of a column, or the first kind if no value fits all.

    Args:
        kinds: the kinds of the column, now and later.
        unique: whether each row needs a different value.
        simple: whether to omit unusual values.
    """
    for wanted in (kinds, kinds[:1]):
        unusual = [] if simple else [value for kind in wanted for value in samples(kind)]
        ordinary = [value for kind in wanted for value in islice(plain(kind), MOST)]
        found = [
            value
            for value in dict.fromkeys([*unusual, *ordinary])
            if all(fits(value, kind) for kind in wanted)
        ]
        if found and not (unique or simple):
            several = sum(value in unusual for value in found)
            found = found[: max(several, FEWEST)]
        if found:
            return tuple(found)
    return ()
