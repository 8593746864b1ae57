"""Compare the values of existing rows in new columns with the default of the field."""

import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import InvalidOperation
from typing import Any

from tortoise.fields import Field

from .contents import NUMBER, meaning
from .kinds import NUMBERS, Kind


def wrong_value(
    values: list[Any],
    described: Mapping[str, Any],
    kind: Kind,
    live: Field[Any] | None,
    *,
    chosen: bool = False,
) -> str | None:
    """Describe a wrong value in a new column, if there is one.

    Args:
        values: the values from the driver.
        described: the description of the field.
        kind: the values that the column can hold.
        live: the field, if the models still have it unchanged.
        chosen: whether the migration sets other values than the default on purpose.
    """
    for value in values:
        if value is None and described["nullable"]:
            continue
        if kind.members and str(value) not in kind.members:
            return f"{value!r}, which is not a member of the enum"
        if live is not None:
            problem = _unreadable(live, value)
            if not (problem or chosen):
                problem = _differs(live, value, nullable=described["nullable"])
        else:
            default = None if chosen else described["default"]
            problem = _differs_from_description(default, value, kind)
        if problem:
            return f"{value!r}{problem}"
    return None


def _unreadable(live: Field[Any], value: object) -> str:
    try:
        live.to_python_value(value)
    except InvalidOperation:
        return ", which the model cannot read: it is no number of at most 28 digits"
    except Exception as error:  # noqa: BLE001 - whatever a field raises
        return f", which the model cannot read: {error}"
    return ""


def _differs(live: Field[Any], value: object, *, nullable: bool) -> str:
    expected = _default(live, is_interval=isinstance(value, timedelta))
    if expected is None:
        return ""
    found = _stored(live, live.to_python_value(value))
    if found == expected or (found is None and nullable):
        return ""
    return f" instead of the default {expected[0]}"


def _differs_from_description(default: object, value: object, kind: Kind) -> str:
    """Compare with a described default, if the description is complete."""
    is_given = isinstance(default, bool | int | float | str) and str(default)[:1] != "<"
    if not is_given or kind.members or kind.family not in NUMBERS | {"text"}:
        return ""
    if kind.family in NUMBERS and isinstance(default, str) and not NUMBER.fullmatch(default):
        return ""  # a time span, which is described as text and stored as a number
    if meaning(value, convert=True) == meaning(default, convert=True):
        return ""
    return f" instead of the default {default!r}"


def _default(live: Field[Any], *, is_interval: bool) -> tuple[object] | None:
    """Return the stored value of a constant default.

    Args:
        live: the field.
        is_interval: whether the driver reads a time of day as an interval, like MySQL's.
    """
    default = live.default
    if callable(default):
        default, other = default(), default()
        if default != other:
            return None
    if is_interval and isinstance(default, time):
        midnight = datetime.combine(date.min, time.min, UTC)
        default = datetime.combine(date.min, default, UTC) - midnight
    try:
        return None if default is None else _stored(live, default)
    except Exception:  # noqa: BLE001 - whatever a field raises that refuses its own default
        return None


def _stored(live: Field[Any], value: object) -> tuple[object] | None:
    """Return the forms in the database that equal a value of a field."""
    if value is None:
        return None
    with warnings.catch_warnings(action="ignore"):  # about times without a time zone
        stored = live.to_db_value(value, live.model)
    if isinstance(stored, str) and "JSON" in type(live).__name__:
        with suppress(ValueError):
            return (json.dumps(json.loads(stored), sort_keys=True),)
    if isinstance(stored, datetime) and stored.tzinfo:
        stored = stored.astimezone(UTC)
    return (meaning(stored, convert=not isinstance(stored, str)),)
