"""Find values that a new column type cannot hold, for types that the engines convert."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .dialects import Dialect
from .tables import Column

_TYPE = re.compile(r"([A-Z ]+?)(?:\(([0-9]+)(?:, *([0-9]+))?\))?( COLLATE \S+)?", re.IGNORECASE)
INTEGERS = {"SMALLINT": 2**15, "INT": 2**31, "BIGINT": 2**63}
_TEXTS = {"VARCHAR", "TEXT", "LONGTEXT"}
_DECIMALS = {"DECIMAL", "NUMERIC"}
_FLOATS = {"DOUBLE", "DOUBLE PRECISION", "REAL"}
_UUIDS = {"UUID", "CHAR"}  # Tortoise uses CHAR(36) if an engine has no UUID
_FAMILIES = {
    "boolean": {"BOOL"},
    "text": _TEXTS,
    "integer": INTEGERS.keys(),
    "decimal": _DECIMALS,
    "float": _FLOATS,
    "uuid": _UUIDS,
}
_SAME_MEANING = (_FLOATS, {"TEXT", "LONGTEXT"})
_EXACT_IN_A_FLOAT = 2**53
_DIGITS = {"SMALLINT": 5, "INT": 10, "BIGINT": 19}
_LONGEST = {"UUID": 36, "CHAR": 36, "SMALLINT": 6, "INT": 11, "BIGINT": 20}


class _Type(NamedTuple):
    name: str
    size: int = 0
    scale: int = 0


def misfit(old: str, new: str) -> str | None:
    """Find the values that a new type cannot hold, if the engine can convert to it.

    Args:
        old: the type as it is.
        new: the type as it will be.

    Returns:
        A condition in SQL with `{column}`, `{length}`, `{larger}` and `{finer}` (see `Dialect`),
        empty if every value fits; None if the engine cannot convert, or would guess.
    """
    before, after = _parsed(old), _parsed(new)
    if before == after or any({before.name, after.name} <= names for names in _SAME_MEANING):
        return ""
    convert = _CONVERSIONS.get((_family(before), _family(after)))
    return convert(before, after) if convert else None


def misfits(old: Column, new: Column, name: str, dialect: Dialect) -> str:
    """Write a condition that finds values of a column that do not fit its new type.

    Args:
        old: the column as it is.
        new: the column as it will be.
        name: its name in the database, quoted.
        dialect: the engine's SQL.
    """
    length, after = dialect.length.format(column=name), _parsed(new.meaning)
    digits = after.size - after.scale
    larger = dialect.larger.format(column=name, digits=digits, limit=f"1{'0' * digits}")
    finer = dialect.finer.format(column=name, scale=after.scale)
    condition = misfit(old.meaning, new.meaning) or ""
    condition = condition.format(column=name, length=length, larger=larger, finer=finer)
    renamed = renamed_members(old, new)

    def listed(values: Iterable[str]) -> str:
        return ", ".join(str(dialect.described_literal(value, new.type)) for value in values)

    if condition and renamed:
        kept = f"{exact(old, name, dialect)} NOT IN ({listed(renamed)})"
        condition = f"({condition}) AND {kept}"
    if not (removed_members(old, new) or becomes_enum(old, new)):
        return condition
    value = _as_member(old, new, name, dialect)
    removed = removed_members(old, new)
    members = f"{value} NOT IN ({listed(v for v in [*new.members, *renamed] if v not in removed)})"
    return " OR ".join(filter(None, [condition, members]))


def _as_member(old: Column, new: Column, name: str, dialect: Dialect) -> str:
    """Write a column's value as the engine converts it to the type of an enum."""
    before, after = _family(_parsed(old.meaning)), _family(_parsed(new.meaning))
    if before == after:
        return exact(old, name, dialect)
    if before == "boolean":
        return f"CASE WHEN {name} THEN 1 WHEN NOT {name} THEN 0 END"
    return dialect.text.format(column=name)


def exact(column: Column, name: str, dialect: Dialect) -> str:
    """Write a column's value so that texts are equal only if all their characters are."""
    is_text = _family(_parsed(column.meaning)) == "text"
    return dialect.exact.format(column=name) if is_text else name


def is_converted(old: Column, new: Column) -> bool:
    """Return whether the engine itself makes a column's new values from those that it has.

    The values of an enum that loses members while its type changes, as from numbers to words, cannot
    be changed before it.
    """
    if misfit(old.meaning, new.meaning) is None:
        return False
    is_same_family = _family(_parsed(old.meaning)) == _family(_parsed(new.meaning))
    return is_same_family or not removed_members(old, new)


def removed_members(old: Column, new: Column) -> list[str]:
    """List the members that an enum loses, if its new members are known.

    A value also loses its member if another member, which had another value, takes it.
    """
    before = dict(zip(old.labels, old.members, strict=False))
    now = zip(new.labels, new.members, strict=False)
    kept = {value for label, value in now if before.get(label, value) == value}
    known = kept | renamed_members(old, new).keys()
    return [value for value in old.members if new.members and value not in known]


def becomes_enum(old: Column, new: Column) -> bool:
    """Return whether an enum replaces a type that holds any value."""
    return not old.enum and bool(new.members)


def renamed_members(old: Column, new: Column) -> dict[str, str]:
    """Find the members of an enum that keep their names and get new values.

    Returns:
        The new values by the old ones. Both may contain the same value, such as after a swap.
    """
    if new.primary or _family(_parsed(old.meaning)) != _family(_parsed(new.meaning)):
        return {}  # rows may refer to it; or the user converts all of its values
    now = dict(zip(new.labels, new.members, strict=False))
    return {
        value: now[label]
        for label, value in zip(old.labels, old.members, strict=False)
        if now.get(label, value) != value
    }


def _parsed(type_: str) -> _Type:
    match = _TYPE.fullmatch(type_)
    if match is None:
        return _Type(type_.upper())
    return _Type(match[1].upper(), int(match[2] or 0), int(match[3] or 0))


def _family(type_: _Type) -> str:
    return next((label for label, names in _FAMILIES.items() if type_.name in names), type_.name)


def _always(_old: _Type, _new: _Type) -> str:
    return ""


def _not_boolean(_old: _Type, _new: _Type) -> str:
    return "{column} NOT IN (0, 1)"


def _too_long(old: _Type, new: _Type) -> str:
    """Compare lengths in characters; a text type without a size holds everything."""
    if old.name in _TEXTS:
        longest = old.size or None
    elif old.name in _DECIMALS:
        longest = old.size + 3  # sign, leading zero and point
    else:
        longest = _LONGEST.get(old.name)
    if not new.size or (longest and longest <= new.size):
        return ""
    return f"{{length}} > {new.size}"


def _too_large(old: _Type, new: _Type) -> str:
    highest = INTEGERS[new.name]
    if INTEGERS[old.name] <= highest:
        return ""
    return f"{{column}} NOT BETWEEN {-highest} AND {highest - 1}"


def _too_precise(old: _Type, new: _Type) -> str:
    conditions = []
    digits = new.size - new.scale
    if _DIGITS.get(old.name, old.size - old.scale) > digits:
        conditions.append("{larger}")
    if old.scale > new.scale:
        conditions.append("{finer}")
    return " OR ".join(conditions)


def _inexact(old: _Type, _new: _Type) -> str:
    if INTEGERS[old.name] <= _EXACT_IN_A_FLOAT:
        return ""
    return f"{{column}} NOT BETWEEN -{_EXACT_IN_A_FLOAT} AND {_EXACT_IN_A_FLOAT}"


# a boolean as text is 1 in some engines and true in others
_CONVERSIONS: dict[tuple[str, str], Callable[[_Type, _Type], str]] = {
    ("boolean", "integer"): _always,
    ("integer", "boolean"): _not_boolean,
    ("integer", "integer"): _too_large,
    ("integer", "decimal"): _too_precise,
    ("decimal", "decimal"): _too_precise,
    ("integer", "float"): _inexact,
    ("text", "text"): _too_long,
    ("integer", "text"): _too_long,
    ("decimal", "text"): _too_long,
    ("float", "text"): _too_long,
    ("uuid", "text"): _too_long,
}
