"""Profile a small table from its rows, where fetching them costs less than planning an aggregate of every column.

Only for databases whose text has the order and the equality that Python's has, and only for types whose values keep both on
the way here. Every other table is profiled by the database.
"""

import re
from collections import Counter
from collections.abc import Sequence

from sqlglot import exp

from ktx.catalog import Column, ColumnProfile, Table, TableProfile
from ktx.warehouse.driver import Driver
from ktx.warehouse.identify import column_expression, table_expression
from ktx.warehouse.keys import Run
from ktx.warehouse.kinds import is_binary, is_plain_text
from ktx.warehouse.values import MAX_VALUE_LENGTH, MAX_VALUES, most_frequent, render_value

_LONGEST_TEXT = 2_000
"""A longer text sends its table back to the database, so that few rows never mean much memory."""
_EXACT = re.compile(
    r"u?(?:tiny|small|big|huge)?int(?:eger)?|float|double|decimal\(.*\)|boolean|date|time|timestamp(?: with time zone)?",
    re.IGNORECASE,
)
"""Types besides text whose values arrive as Python's own numbers, dates and truth values."""


def fits(table: Table, *, sample_rows: int, driver: Driver) -> bool:
    """Tell whether a table is known to have so few rows, of such types, that they can be fetched."""
    rows = table.row_count
    if not driver.most_profile_cells or table.kind != "table" or rows is None or not table.columns:
        return False
    is_small = 0 <= rows <= sample_rows and rows * len(table.columns) <= driver.most_profile_cells
    return is_small and all(
        column.kind == "string" or is_binary(column.native_type) or _EXACT.fullmatch(column.native_type)
        for column in table.columns
    )


def profile_rows(table: Table, *, sample_rows: int, driver: Driver, run: Run) -> TableProfile | None:
    """Profile a table that `fits` from all its rows; None when its rows are more, or other, than was to be expected."""
    most = min(sample_rows, driver.most_profile_cells // len(table.columns))
    selected = [_selected(column, driver) for column in table.columns]
    tree = exp.select(*selected, copy=False).from_(table_expression(table.ref), copy=False)
    rows = run(tree.limit(most + 1, copy=False)).rows
    if len(rows) > most:
        return None
    by_column = list(zip(*rows, strict=True)) if rows else [()] * len(table.columns)
    profiles: list[ColumnProfile] = []
    for column, values in zip(table.columns, by_column, strict=True):
        profile = _profile(column, values)
        if profile is None:
            return None
        profiles.append(profile)
    return TableProfile(ref=table.ref, row_count=len(rows), profiled_rows=len(rows), columns=tuple(profiles))


def _selected(column: Column, driver: Driver) -> exp.Expr:
    value: exp.Expr = column_expression(column.name)
    if is_binary(column.native_type):
        return exp.If(
            this=exp.Is(this=value, expression=exp.Null()),
            true=exp.Null(),
            false=exp.Literal.number(1),
        )
    if column.kind != "string":
        return value
    if not is_plain_text(column.native_type):
        value = exp.cast(value, driver.text_type, copy=False)
    return exp.Substring(
        this=value, start=exp.Literal.number(1), length=exp.Literal.number(_LONGEST_TEXT + 1)
    )


def _profile(column: Column, values: Sequence[object]) -> ColumnProfile | None:
    filled = [value for value in values if value is not None]
    nulls = len(values) - len(filled)
    if is_binary(column.native_type):
        return ColumnProfile(name=column.name, null_count=nulls, distinct_count=len(filled))
    match column.kind:
        case "string":
            return _text_profile(column.name, nulls, [str(value) for value in filled])
        case "boolean":
            return ColumnProfile(name=column.name, null_count=nulls, distinct_count=len(set(filled)))
        case "number" | "time":
            return _ordered_profile(column, nulls, filled)


def _text_profile(name: str, nulls: int, texts: list[str]) -> ColumnProfile | None:
    if not texts:
        return ColumnProfile(name=name, null_count=nulls, distinct_count=0)
    counts = Counter(texts)
    longest = max(map(len, counts))
    if longest > _LONGEST_TEXT:
        return None
    has_values = len(counts) <= MAX_VALUES and longest <= MAX_VALUE_LENGTH
    return ColumnProfile(
        name=name,
        null_count=nulls,
        distinct_count=len(counts),
        min_length=min(map(len, counts)),
        max_length=longest,
        min_value=min(counts)[:MAX_VALUE_LENGTH],
        max_value=max(counts)[:MAX_VALUE_LENGTH],
        top_values=most_frequent(counts.items()) if has_values else (),
    )


def _ordered_profile(column: Column, nulls: int, values: list[object]) -> ColumnProfile | None:
    """Profile numbers or times; None for values that have no order here: years beyond Python's, and not-a-number."""
    distinct = set(values)
    for value in distinct:
        if value != value or (column.kind == "time" and isinstance(value, str)):
            return None
    return ColumnProfile(
        name=column.name,
        null_count=nulls,
        distinct_count=len(distinct),
        min_value=render_value(min(distinct, default=None)),  # pyright: ignore[reportArgumentType]
        max_value=render_value(max(distinct, default=None)),  # pyright: ignore[reportArgumentType]
    )
