"""Look at a table's data once: how many rows, nulls and distinct values, how long, from where to where.

One query reads the table, or a bounded sample of it, and aggregates every column; one more counts the values of text
columns that have few. Both are trees for the driver's dialect. A small table of a local database is read as it is instead.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from ktx.catalog import Column, ColumnProfile, Table, TableProfile
from ktx.warehouse.driver import Driver
from ktx.warehouse.fields import is_field
from ktx.warehouse.identify import column_expression, table_expression
from ktx.warehouse.keys import Run
from ktx.warehouse.kinds import is_binary, is_plain_text
from ktx.warehouse.small import fits, profile_rows
from ktx.warehouse.values import MAX_VALUE_LENGTH, MAX_VALUES, most_frequent, render_value

_SAMPLE = "sampled_rows"
_PER_COLUMN = 6


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """Rows seen and, per column in order, its profile without top values."""

    rows: int
    columns: tuple[ColumnProfile, ...]


def profile_table(table: Table, *, sample_rows: int, driver: Driver, run: Run) -> TableProfile:
    """Profile all rows, or a sample when the table has more than `sample_rows`.

    Whether there are more is seen from the sample itself, which asks for one row beyond the bound; estimates are only
    trusted for the size of a table that is larger.
    """
    if fits(table, sample_rows=sample_rows, driver=driver):
        small = profile_rows(table, sample_rows=sample_rows, driver=driver, run=run)
        if small is not None:
            return small
    width = max(1, driver.max_select_columns // _PER_COLUMN)
    rows, profiles = 0, list[ColumnProfile]()
    for start in range(0, max(1, len(table.columns)), width):
        part = table.columns[start : start + width]
        measured = _measure(table, part, sample_rows=sample_rows, driver=driver, run=run)
        rows = max(rows, measured.rows)
        profiles.extend(measured.columns)
    columns = _with_top_values(table, profiles, sample_rows=sample_rows, driver=driver, run=run)
    return TableProfile(
        ref=table.ref,
        row_count=_row_count(table, rows, sample_rows=sample_rows, run=run),
        profiled_rows=rows,
        columns=columns,
    )


def _row_count(table: Table, seen: int, *, sample_rows: int, run: Run) -> int:
    estimate = table.row_count
    is_whole = seen <= sample_rows and (estimate is None or estimate <= seen)
    if is_whole and table.kind != "external":
        return seen
    if estimate is not None and seen > sample_rows and estimate > seen:
        return estimate
    counted = exp.select(exp.alias_(exp.Count(this=exp.Star()), "n", copy=False)).from_(
        table_expression(table.ref)
    )
    return _integer(run(counted).rows[0][0])


def _measure(
    table: Table, columns: Sequence[Column], *, sample_rows: int, driver: Driver, run: Run
) -> _Measured:
    selected: list[exp.Expr] = [exp.alias_(exp.Count(this=exp.Star()), "n", copy=False)]
    for index, column in enumerate(columns):
        selected.extend(
            exp.alias_(tree, f"{name}{index}", copy=False) for name, tree in _aggregates(column, driver)
        )
    tree = exp.select(*selected, copy=False).from_(exp.to_table(_SAMPLE), copy=False)
    found = run(_over_sample(tree, table, columns, sample_rows=sample_rows, driver=driver))
    values = dict(zip((column.name for column in found.columns), found.rows[0], strict=True))
    rows = _integer(values["n"])
    return _Measured(
        rows=rows,
        columns=tuple(_profile(column, index, values, rows) for index, column in enumerate(columns)),
    )


def _aggregates(column: Column, driver: Driver) -> Iterator[tuple[str, exp.Expr]]:
    plain = column_expression(column.name)
    yield "filled", exp.Count(this=plain)
    if is_binary(column.native_type):
        return
    value = _comparable(column, driver)
    yield "distinct", exp.Count(this=exp.Distinct(expressions=[value]))
    if column.kind in {"number", "time"}:
        yield "low", exp.Min(this=value.copy())
        yield "high", exp.Max(this=value.copy())
    elif column.kind == "string":
        length = _length(value, driver)
        yield "shortest", exp.Min(this=length)
        yield "longest", exp.Max(this=length.copy())
        yield "low", exp.Min(this=_shortened(value, driver))
        yield "high", exp.Max(this=_shortened(value, driver))


def _comparable(column: Column, driver: Driver) -> exp.Expr:
    """Give the column, as text where its own type may have no order or no equality (JSON, arrays, structs)."""
    plain = column_expression(column.name)
    if column.kind != "string" or is_plain_text(column.native_type):
        return plain
    return exp.cast(plain, driver.text_type)


def _length(value: exp.Expr, driver: Driver) -> exp.Expr:
    if driver.length_function:
        return exp.Anonymous(this=driver.length_function, expressions=[value.copy()])
    return exp.Length(this=value.copy())


def _shortened(value: exp.Expr, driver: Driver) -> exp.Expr:
    if driver.substring_function:
        bounds = [exp.Literal.number(1), exp.Literal.number(MAX_VALUE_LENGTH)]
        return exp.Anonymous(this=driver.substring_function, expressions=[value.copy(), *bounds])
    return exp.Substring(
        this=value.copy(), start=exp.Literal.number(1), length=exp.Literal.number(MAX_VALUE_LENGTH)
    )


def _profile(column: Column, index: int, values: dict[str, object], rows: int) -> ColumnProfile:
    filled = _integer(values[f"filled{index}"])
    return ColumnProfile(
        name=column.name,
        null_count=rows - filled,
        distinct_count=_integer(values.get(f"distinct{index}", filled)),
        min_length=_optional_integer(values.get(f"shortest{index}")),
        max_length=_optional_integer(values.get(f"longest{index}")),
        min_value=render_value(values.get(f"low{index}")),
        max_value=render_value(values.get(f"high{index}")),
    )


def _with_top_values(
    table: Table, profiles: Sequence[ColumnProfile], *, sample_rows: int, driver: Driver, run: Run
) -> tuple[ColumnProfile, ...]:
    wanted = [
        (index, column)
        for index, (column, profile) in enumerate(zip(table.columns, profiles, strict=True))
        if column.kind == "string" and 0 < profile.distinct_count <= MAX_VALUES and _is_short(profile)
    ]
    if not wanted:
        return tuple(profiles)
    parts = [_value_counts(index, column, driver) for index, column in wanted]
    tree: exp.Query = parts[0] if len(parts) == 1 else exp.union(*parts, distinct=False, copy=False)
    chosen = [column for _, column in wanted]
    found = run(_over_sample(tree, table, chosen, sample_rows=sample_rows, driver=driver))
    counts: dict[int, list[tuple[str, int]]] = {}
    for number, value, count in found.rows:
        counts.setdefault(_integer(number), []).append((str(value), _integer(count)))
    return tuple(
        replace(profile, top_values=most_frequent(counts[index])) if index in counts else profile
        for index, profile in enumerate(profiles)
    )


def _is_short(profile: ColumnProfile) -> bool:
    return profile.max_length is not None and profile.max_length <= MAX_VALUE_LENGTH


def _value_counts(index: int, column: Column, driver: Driver) -> exp.Select:
    value = _comparable(column, driver)
    return (
        exp.select(
            exp.alias_(exp.Literal.number(index), "column_number", copy=False),
            exp.alias_(value, "found_value", copy=False),
            exp.alias_(exp.Count(this=exp.Star()), "n", copy=False),
            copy=False,
        )
        .from_(exp.to_table(_SAMPLE), copy=False)
        .where(exp.Not(this=exp.Is(this=column_expression(column.name), expression=exp.Null())), copy=False)
        .group_by(value.copy(), copy=False)
    )


def _over_sample(
    tree: exp.Query, table: Table, columns: Sequence[Column], *, sample_rows: int, driver: Driver
) -> exp.Query:
    names = [column.name for column in columns]
    if driver.records:
        names = list(
            dict.fromkeys(
                name.partition(".")[0] if driver.records == "dotted" or is_field(name, table) else name
                for name in names
            )
        )
    selected: list[exp.Expr] = [column_expression(name) for name in names]
    sample = driver.sample(
        table_expression(table.ref), selected or [exp.Star()], sample_rows + 1, table.row_count
    )
    return tree.with_(_SAMPLE, as_=sample, copy=False)


def _integer(value: object) -> int:
    return int(str(value))


def _optional_integer(value: object) -> int | None:
    return None if value is None else _integer(value)
