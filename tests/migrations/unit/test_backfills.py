"""Values of existing rows in new columns, compared with the defaults of their fields."""

from datetime import UTC, datetime, time, timedelta, timezone
from typing import Any

import pytest
from tortoise import fields
from tortoise.models import Model

from ...support.package import make_importable

make_importable()

from migration_package.verification.backfills import wrong_value
from migration_package.verification.kinds import Kind

EAST = timezone(timedelta(hours=2))
NOON = datetime(2020, 1, 1, 12, tzinfo=EAST)


class Timetable(Model):
    opens = fields.TimeField(default=time(8, 30))
    closes = fields.TimeField(default=lambda: time(18, 0, 0, 5))
    starts = fields.DatetimeField(default=NOON)
    fare = fields.DecimalField(max_digits=30, decimal_places=2)


def wrong(name: str, value: object) -> str | None:
    field = Timetable._meta.fields_map[name]
    described: dict[str, Any] = {"nullable": False, "default": None}
    found: str | None = wrong_value([value], described, Kind(""), field)
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("opens", timedelta(hours=8, minutes=30)),  # as MySQL's driver reads it
        ("opens", "08:30:00"),
        ("opens", time(8, 30, tzinfo=UTC)),
        ("closes", timedelta(hours=18, microseconds=5)),
        ("starts", NOON),
        ("starts", NOON.astimezone(UTC)),
        ("starts", datetime(2020, 1, 1, 10)),
        ("starts", "2020-01-01 12:00:00+02:00"),
    ],
)
def test_same_time_in_another_form_is_the_default(name: str, value: object) -> None:
    assert wrong(name, value) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("opens", timedelta(hours=8)),
        ("opens", -timedelta(hours=8, minutes=30)),
        ("opens", time(8, 30, tzinfo=EAST)),
        ("closes", timedelta(hours=18)),
        ("starts", datetime(2020, 1, 1, 12, tzinfo=UTC)),
        ("starts", "2020-01-01 12:00:00"),
    ],
)
def test_another_time_is_not_the_default(name: str, value: object) -> None:
    assert "instead of the default" in (wrong(name, value) or "")


def test_decimals_that_python_cannot_round_are_explained() -> None:
    assert "it is no number of at most 28 digits" in (wrong("fare", "9" * 28 + ".25") or "")
    assert wrong("fare", "9" * 26 + ".25") is None


@pytest.mark.parametrize(
    ("family", "default", "value", "is_default"),
    [
        ("integer", "4000 days, 0:00:00", 345_600_000_000_000, True),
        ("integer", "0:30:00", 1_800_000_000, True),
        ("integer", 5, 5, True),
        ("integer", 5, 6, False),
        ("decimal", "1.50", "1.5", True),
        ("decimal", "1.50", "1.6", False),
    ],
)
def test_default_of_a_field_that_has_changed_is_described(
    family: str, default: object, value: object, *, is_default: bool
) -> None:
    """The models do not have the field any more, such as one that exchanged its name."""
    described = {"nullable": False, "default": default}
    assert (wrong_value([value], described, Kind(family), None) is None) == is_default
