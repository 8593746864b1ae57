"""Values of each type of field, as the source text that makes them."""

from decimal import Decimal

from .models import Field

SCALARS = {
    "Int": ("0", "1", "-1", "2147483647", "-2147483648"),
    "BigInt": ("0", "7", "-7", "9223372036854775807", "-9223372036854775808"),
    "SmallInt": ("0", "3", "-3", "32767", "-32768"),
    "Boolean": ("True", "False"),
    "Float": ("0.0", "1.5", "-2.25", "0.1", "1e15"),
    "Date": ("date(2024, 2, 29)", "date(1970, 1, 1)", "date(9999, 12, 31)"),
    "Datetime": (
        "datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)",
        "datetime(1970, 1, 2, tzinfo=UTC)",
        "datetime(2037, 12, 31, 12, 0, 0, tzinfo=UTC)",
    ),
    "Time": ("time(0, 0)", "time(12, 30, 15)", "time(23, 59, 59, 999999)"),
    "TimeDelta": ("timedelta(0)", "timedelta(days=-1, microseconds=1)", "timedelta(days=4000)"),
    "UUID": (
        "uuid.UUID('00000000-0000-0000-0000-000000000000')",
        "uuid.UUID('5eb5c2a4-1e3a-4f3e-9d0c-0123456789ab')",
        "uuid.UUID('ffffffff-ffff-4fff-bfff-ffffffffffff')",
    ),
    "JSON": (
        "{}",
        "[]",
        "{'a': [1, 'é', None], 'b': {\"c'\": 1.5}}",
        "'\"text\"'",
        "True",
        "[1, 2]",
    ),
    "Binary": ("b''", "b'xyz'", r"b'\x00\xff\'\\'"),
    "IntEnum": ("Size.small", "Size.large"),
    "Text": ("''", "'plain'", "'two\\nlines; and %s'", "'ä🙂' * 100", "'{\"a\": 1}'", "'12'"),
}
TEXTS = ("", "a", "12", "it's", "é%s", "back\\slash", "ж🙂", "-1.5", "Now()")
ENUMS = {"Colour": ("Colour.red", "Colour.blue"), "Plain": ("Plain.one", "Plain.other")}
ARRAYS = {"int": ("[]", "[1, -2, 3]"), "text": ("[]", "['a', 'it\\'s, \"b\"', '']")}


def values(f: Field) -> list[str]:
    """List values of a field, first those that suit a default."""
    if f.kind == "Char":
        (length,) = f.size
        longest = ("long é" * length)[:length]
        return [repr(text) for text in (*TEXTS, longest) if len(text) <= length]
    if f.kind == "Decimal":
        digits, places = f.size
        largest = Decimal(10**digits - 1).scaleb(-places)
        half = Decimal("0.5").quantize(Decimal(1).scaleb(-places)) if places else Decimal(1)
        return [f"Decimal('{number}')" for number in (Decimal(0), half, largest, -largest)]
    if f.kind == "CharEnum":
        return list(ENUMS[f.argument])
    if f.kind == "Array":
        return list(ARRAYS[f.argument])
    return list(SCALARS[f.kind])


def unique_value(f: Field, number: int) -> str | None:
    """Make a different value for each number, or nothing where there are not enough."""
    if f.kind == "Char":
        text = f"u{number}é"
        return repr(text) if len(text) <= f.size[0] else None
    if f.kind == "Decimal":
        fits = f.size[0] - f.size[1] >= 4
        return f"Decimal('{number}')" if fits else None
    made = {
        "Int": "{0}",
        "BigInt": "10000000000 + {0}",
        "SmallInt": "{0} - 1000",
        "Float": "{0} + 0.5",
        "Date": "date(2000, 1, 1) + timedelta(days={0})",
        "Datetime": "datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days={0})",
        "UUID": "uuid.UUID(int=2**100 + {0})",
        "Text": "'text {0}'",
    }.get(f.kind)
    return made.format(number) if made else None
