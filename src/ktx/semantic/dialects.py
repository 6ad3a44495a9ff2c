"""What differs between SQL dialects, as data: one `Facts` per dialect, and nothing else asks which dialect it is.

Templates are written in the dialect itself, with `x` standing for the value. Every period starts at its first moment, and a
week on its Monday (ISO 8601).
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import sqlglot
from sqlglot import exp

from ktx.errors import UsageError
from ktx.semantic.allowed import SQLITE_FUNCTIONS
from ktx.semantic.query import GRANULARITIES
from ktx.suggest import did_you_mean

PercentileForm = Literal["within_group", "quantile_cont", "percentile", "exact_inclusive", "ranked"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the compiler has to know about a dialect.

    `percentile` is the form of an interpolated percentile; `ranked` means that the engine has none and rows are ranked
    instead. `double` converts to a floating number. `pads_need_type`: a NULL column of a UNION takes the type of the first
    two branches. `sums_booleans`: SUM and AVG take a
    condition. `averages_coarsely`: AVG of integers loses decimals. `groups_by_columns`: a grouped
    expression is not recognised where it is selected. `has_strict_types`: text
    functions and patterns take nothing but text. `wraps_records`: a field of a record is written `(record).field`. `missing` names aggregates that the engine lacks.
    `settings` are appended to a statement. `period_index` numbers periods without gaps, and `next_period` gives the one after;
    a dialect without them refuses measures through time. `parts` takes times apart where the engine has no EXTRACT; `functions` is
    every function of an engine with few.
    """

    name: str
    truncate: Mapping[str, str]
    double: str = "CAST(x AS DOUBLE)"
    percentile: PercentileForm = "within_group"
    keeps_median: bool = False
    has_filter: bool = False
    has_boolean_aggregates: bool = False
    pads_need_type: bool = False
    sums_booleans: bool = False
    averages_coarsely: bool = False
    groups_by_columns: bool = False
    has_strict_types: bool = False
    has_correlated_exists: bool = True
    has_loose_exists: bool = True
    row_number_order: str | None = None
    wraps_records: bool = False
    missing: frozenset[str] = frozenset()
    settings: tuple[tuple[str, str], ...] = ()
    period_index: Mapping[str, str] | None = None
    next_period: Mapping[str, str] | None = None
    parts: Mapping[str, str] | None = None
    functions: frozenset[str] | None = None


def _each(template: str, **special: str) -> Mapping[str, str]:
    return {name: special.get(name, template.replace("unit", name)) for name in GRANULARITIES}


def _numbered(day: str, week: str, year: str, month: str, quarter: str) -> Mapping[str, str]:
    return {
        "day": day,
        "week": week,
        "month": f"{year} * 12 + {month}",
        "quarter": f"{year} * 4 + {quarter}",
        "year": year,
    }


def _stepped(template: str) -> Mapping[str, str]:
    units = {"day": "1 DAY", "week": "7 DAY", "month": "1 MONTH", "quarter": "3 MONTH", "year": "1 YEAR"}
    return {name: template.replace("unit", unit) for name, unit in units.items()}


_TRUNC = _each("DATE_TRUNC('unit', x)")
_STATISTICS = frozenset(
    [
        "StddevSamp",
        "StddevPop",
        "Stddev",
        "Variance",
        "VariancePop",
        "Corr",
        "CovarPop",
        "CovarSamp",
        "Skewness",
        "Kurtosis",
        "Mode",
        "ApproxDistinct",
        "Quantile",
        "ApproxQuantile",
        "PercentileDisc",
    ]
)

_ALL = (
    Facts(
        name="duckdb",
        wraps_records=True,
        has_strict_types=True,
        period_index=_numbered(
            "DATE_DIFF('day', CAST('1970-01-05' AS DATE), CAST(x AS DATE))",
            "DATE_DIFF('day', CAST('1970-01-05' AS DATE), CAST(x AS DATE)) // 7",
            "YEAR(x)",
            "MONTH(x)",
            "QUARTER(x)",
        ),
        next_period=_stepped("x + INTERVAL unit"),
        truncate=_TRUNC,
        percentile="quantile_cont",
        keeps_median=True,
        has_filter=True,
        has_boolean_aggregates=True,
    ),
    Facts(
        name="sqlite",
        period_index=_numbered(
            "CAST(JULIANDAY(x) - JULIANDAY('1970-01-05') AS INTEGER)",
            "CAST(JULIANDAY(x) - JULIANDAY('1970-01-05') AS INTEGER) / 7",
            "CAST(STRFTIME('%Y', x) AS INTEGER)",
            "CAST(STRFTIME('%m', x) AS INTEGER)",
            "(CAST(STRFTIME('%m', x) AS INTEGER) + 2) / 3",
        ),
        next_period=_stepped("DATE(x, '+unit')"),
        truncate=_each(
            "",
            second="STRFTIME('%Y-%m-%d %H:%M:%S', x)",
            minute="STRFTIME('%Y-%m-%d %H:%M:00', x)",
            hour="STRFTIME('%Y-%m-%d %H:00:00', x)",
            day="DATE(x)",
            week="DATE(x, '-' || ((CAST(STRFTIME('%w', x) AS INTEGER) + 6) % 7) || ' days')",
            month="DATE(x, 'start of month')",
            quarter="DATE(x, 'start of month', '-' || ((CAST(STRFTIME('%m', x) AS INTEGER) - 1) % 3) || ' months')",
            year="DATE(x, 'start of year')",
        ),
        double="CAST(x AS REAL)",
        percentile="ranked",
        has_filter=True,
        sums_booleans=True,
        parts={
            "year": "CAST(STRFTIME('%Y', x) AS INTEGER)",
            "quarter": "(CAST(STRFTIME('%m', x) AS INTEGER) + 2) / 3",
            "month": "CAST(STRFTIME('%m', x) AS INTEGER)",
            "day": "CAST(STRFTIME('%d', x) AS INTEGER)",
            "hour": "CAST(STRFTIME('%H', x) AS INTEGER)",
            "minute": "CAST(STRFTIME('%M', x) AS INTEGER)",
            "second": "CAST(STRFTIME('%S', x) AS INTEGER)",
            "dow": "CAST(STRFTIME('%w', x) AS INTEGER)",
            "doy": "CAST(STRFTIME('%j', x) AS INTEGER)",
        },
        functions=SQLITE_FUNCTIONS,
        missing=_STATISTICS
        | {"LogicalOr", "LogicalAnd", "ArgMax", "ArgMin", "CountIf", "BitwiseAndAgg", "BitwiseOrAgg"},
    ),
    Facts(
        name="postgres",
        wraps_records=True,
        has_strict_types=True,
        period_index=_numbered(
            "(CAST(x AS DATE) - CAST('1970-01-05' AS DATE))",
            "(CAST(x AS DATE) - CAST('1970-01-05' AS DATE)) / 7",
            "CAST(EXTRACT(YEAR FROM x) AS INT)",
            "CAST(EXTRACT(MONTH FROM x) AS INT)",
            "CAST(EXTRACT(QUARTER FROM x) AS INT)",
        ),
        next_period=_stepped("x + INTERVAL 'unit'"),
        truncate=_TRUNC,
        has_filter=True,
        has_boolean_aggregates=True,
        pads_need_type=True,
        missing=frozenset(
            {"ArgMax", "ArgMin", "CountIf", "Skewness", "Kurtosis", "ApproxDistinct", "ApproxQuantile"}
        ),
    ),
    Facts(
        name="mysql",
        period_index=_numbered(
            "DATEDIFF(x, '1970-01-05')",
            "DATEDIFF(x, '1970-01-05') DIV 7",
            "YEAR(x)",
            "MONTH(x)",
            "QUARTER(x)",
        ),
        next_period=_stepped("DATE_ADD(x, INTERVAL unit)"),
        truncate=_each(
            "",
            second="CAST(DATE_FORMAT(x, '%Y-%m-%d %H:%i:%S') AS DATETIME)",
            minute="CAST(DATE_FORMAT(x, '%Y-%m-%d %H:%i:00') AS DATETIME)",
            hour="CAST(DATE_FORMAT(x, '%Y-%m-%d %H:00:00') AS DATETIME)",
            day="CAST(x AS DATE)",
            week="DATE_SUB(CAST(x AS DATE), INTERVAL (WEEKDAY(x)) DAY)",
            month="CAST(DATE_FORMAT(x, '%Y-%m-01') AS DATE)",
            quarter="DATE_ADD(MAKEDATE(YEAR(x), 1), INTERVAL (QUARTER(x) - 1) * 3 MONTH)",
            year="MAKEDATE(YEAR(x), 1)",
        ),
        double="x * 1e0",
        percentile="ranked",
        averages_coarsely=True,
        groups_by_columns=True,
        sums_booleans=True,
        missing=frozenset(
            [
                "Corr",
                "CovarPop",
                "CovarSamp",
                "Skewness",
                "Kurtosis",
                "Mode",
                "ApproxDistinct",
                "Quantile",
                "ApproxQuantile",
                "PercentileDisc",
                "LogicalOr",
                "LogicalAnd",
                "ArgMax",
                "ArgMin",
                "CountIf",
                "Median",
            ]
        ),
    ),
    Facts(
        name="clickhouse",
        has_strict_types=True,
        truncate=_TRUNC,
        double="toFloat64(x)",
        percentile="exact_inclusive",
        has_correlated_exists=False,
        has_loose_exists=False,
        settings=(("join_use_nulls", "1"), ("union_default_mode", "'ALL'")),
        sums_booleans=True,
    ),
    Facts(
        name="snowflake",
        truncate=_each(
            "DATE_TRUNC('unit', x)", week="DATEADD(DAY, 1 - DAYOFWEEKISO(x), DATE_TRUNC('day', x))"
        ),
        keeps_median=True,
        has_boolean_aggregates=True,
        has_loose_exists=False,
    ),
    Facts(
        name="bigquery",
        has_strict_types=True,
        truncate=_each(
            "DATE_TRUNC(x, unit)",
            week="DATE_TRUNC(x, ISOWEEK)",
            second="TIMESTAMP_TRUNC(CAST(x AS TIMESTAMP), SECOND)",
            minute="TIMESTAMP_TRUNC(CAST(x AS TIMESTAMP), MINUTE)",
            hour="TIMESTAMP_TRUNC(CAST(x AS TIMESTAMP), HOUR)",
        ),
        double="CAST(x AS FLOAT64)",
        percentile="ranked",
        has_boolean_aggregates=True,
        has_loose_exists=False,
        missing=frozenset({"Median", "Mode", "Skewness", "Kurtosis", "ArgMax", "ArgMin", "PercentileDisc"}),
    ),
    Facts(
        name="tsql",
        truncate=_each("DATETRUNC(unit, x)", week="DATETRUNC(ISO_WEEK, x)"),
        double="CAST(x AS FLOAT)",
        percentile="ranked",
        averages_coarsely=True,
        pads_need_type=True,
        row_number_order="(SELECT NULL)",
        missing=frozenset(
            [
                "Corr",
                "CovarPop",
                "CovarSamp",
                "Skewness",
                "Kurtosis",
                "Mode",
                "Quantile",
                "ApproxQuantile",
                "PercentileDisc",
                "LogicalOr",
                "LogicalAnd",
                "ArgMax",
                "ArgMin",
                "CountIf",
                "Median",
            ]
        ),
    ),
    Facts(
        name="redshift",
        has_strict_types=True,
        truncate=_TRUNC,
        double="CAST(x AS DOUBLE PRECISION)",
        averages_coarsely=True,
        has_boolean_aggregates=True,
        pads_need_type=True,
        has_loose_exists=False,
        missing=frozenset(
            {"Corr", "CovarPop", "CovarSamp", "Skewness", "Kurtosis", "Mode", "ArgMax", "ArgMin"}
        ),
    ),
    Facts(
        name="databricks",
        truncate=_TRUNC,
        percentile="percentile",
        keeps_median=True,
        has_filter=True,
        has_boolean_aggregates=True,
        has_loose_exists=False,
    ),
    Facts(
        name="trino",
        has_strict_types=True,
        truncate=_TRUNC,
        percentile="ranked",
        has_filter=True,
        has_boolean_aggregates=True,
        has_loose_exists=False,
        missing=frozenset({"Median", "Mode", "PercentileDisc", "Quantile"}),
    ),
)

FACTS: Mapping[str, Facts] = {facts.name: facts for facts in _ALL}
_SAME = {
    "mariadb": "mysql",
    "sqlserver": "tsql",
    "mssql": "tsql",
    "postgresql": "postgres",
    "spark": "databricks",
}


def facts_of(dialect: str) -> Facts:
    """Give the facts of a dialect by sqlglot's name or a common one.

    >>> facts_of("mariadb").name
    'mysql'

    Raises:
        UsageError: when ktx does not know the dialect.
    """
    name = dialect.lower()
    found = FACTS.get(_SAME.get(name, name))
    if found is None:
        raise UsageError(
            f"ktx does not compile for the dialect `{dialect}`.{did_you_mean(dialect, FACTS)}",
            hint=f"Known dialects: {', '.join(FACTS)}.",
        )
    return found


def set_settings(query: exp.Query, facts: Facts) -> None:
    """Append the settings that a statement needs in a dialect."""
    if facts.settings:
        pairs = [
            exp.EQ(this=exp.column(name), expression=exp.Literal.number(value))
            for name, value in facts.settings
        ]
        query.set("settings", pairs)


@functools.cache
def _template(text: str, dialect: str) -> exp.Expr:
    return sqlglot.parse_one(text, dialect=dialect)


def fill(text: str, value: exp.Expr, facts: Facts) -> exp.Expr:
    """Put a value in the place of `x` in a template of the table above."""
    tree = _template(text, facts.name).copy()
    if isinstance(tree, exp.Column):
        return value.copy()
    for column in list(tree.find_all(exp.Column)):
        if column.name == "x":
            column.replace(value.copy())
    return tree


def truncated(value: exp.Expr, granularity: str, facts: Facts) -> exp.Expr:
    """Give the first moment of the period that holds a time."""
    return fill(facts.truncate[granularity], value, facts)


def as_double(value: exp.Expr, facts: Facts) -> exp.Expr:
    """Give a number as a floating one, so that dividing it keeps the fraction."""
    return fill(facts.double, value, facts)
