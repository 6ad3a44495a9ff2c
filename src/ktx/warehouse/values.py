"""What a profile keeps of values: rendered as short text, and counted for text columns that have few."""

from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal

MAX_VALUES = 100
"""A text column with more distinct values than this has no value list."""
MAX_VALUE_LENGTH = 200


def render_value(value: object) -> str | None:
    """Render a value of a row as short text that reads the same on every run and database.

    >>> render_value(Decimal("2.50")), render_value(datetime(2024, 1, 2, 3, 4))
    ('2.50', '2024-01-02T03:04:00')
    """
    match value:
        case None:
            return None
        case Decimal():
            return format(value, "f")
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            return str(value)[:MAX_VALUE_LENGTH]


def most_frequent(counts: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Give the values with their counts, the most frequent first and equals in the order of their text."""
    return tuple(sorted(counts, key=lambda pair: (-pair[1], pair[0]))[:MAX_VALUES])
