"""Database values as JSON values.

A `Decimal` becomes a JSON number: the same value when a double holds it, else the nearest double, as an average with twenty digits
does; from 2**53 on, where doubles lose whole units, it stays decimal text. Dates and times become ISO 8601, bytes hex with `0x`,
UUIDs text. NaN and infinities, which JSON lacks, become null, and a note says so.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import cast

from pydantic import JsonValue

_LONGEST_DECIMAL = 40
_EXACT_INTEGERS = 2**53


def json_rows(
    headers: Sequence[str], rows: Iterable[Sequence[object]]
) -> tuple[list[list[JsonValue]], list[str]]:
    """Give rows of JSON values, and a note per column in which a value had no JSON form."""
    lost: dict[int, int] = {}
    plain: list[list[JsonValue]] = []
    for row in rows:
        cells: list[JsonValue] = []
        for at, value in enumerate(row):
            if isinstance(value, float) and not math.isfinite(value):
                lost[at] = lost.get(at, 0) + 1
                cells.append(None)
            else:
                cells.append(json_value(value))
        plain.append(cells)
    notes = [
        f"{count} {'value' if count == 1 else 'values'} of `{headers[at]}` {'is' if count == 1 else 'are'} NaN or infinite, shown as null"
        for at, count in sorted(lost.items())
    ]
    return plain, notes


def json_value(value: object) -> JsonValue:
    """Give one value as JSON.

    >>> from decimal import Decimal
    >>> json_value(Decimal("12.50")), json_value(Decimal("16.6666666666666667")), json_value(Decimal("9007199254740993.5"))
    (12.5, 16.666666666666668, '9007199254740993.5')
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return _number(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return _duration(value)
        case bytes() | bytearray():
            return "0x" + value.hex()
        case memoryview():
            return "0x" + value.tobytes().hex()
        case Mapping():
            entries = cast("Mapping[object, object]", value)
            return {str(name): json_value(inner) for name, inner in entries.items()}
        case list() | tuple() | set() | frozenset():
            return [json_value(inner) for inner in cast("Iterable[object]", value)]
        case _:
            return str(value)


def _number(value: Decimal) -> JsonValue:
    if not value.is_finite():
        return None
    if value.adjusted() > _LONGEST_DECIMAL:
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    return float(value) if abs(value) < _EXACT_INTEGERS else str(value)


def _duration(value: timedelta) -> str:
    """Write a duration by ISO 8601: `P1DT2H3M4.5S`."""
    sign = "-" if value < timedelta(0) else ""
    rest = abs(value)
    hours, seconds = divmod(rest.seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    fraction = f".{rest.microseconds:06d}".rstrip("0") if rest.microseconds else ""
    days = f"{rest.days}D" if rest.days else ""
    clock = "".join(
        f"{number}{unit}"
        for number, unit in ((hours, "H"), (minutes, "M"), (f"{seconds}{fraction}", "S"))
        if str(number) != "0"
    )
    return f"{sign}P{days}{'T' + clock if clock or not days else ''}{'0S' if not clock and not days else ''}"
