"""Looker filter expressions keep the rows that Looker keeps, checked on real rows."""

import duckdb
import pytest
from sqlglot import exp

from ktx.sources.lookml.filters import FieldKind, condition
from ktx.sources.lookml.unsayable import Unsayable

STRINGS = ["paid", "refunded", "test one", "a,b", "", None, "x%"]
NUMBERS = [-3, 0, 1, 4, 5, 5.5, 7, 10, 66, 99, None]
FLAGS = [True, False, None]
TIMES = [
    "2023-12-31 23:59:59",
    "2024-01-01",
    "2024-02-29 12:00:00",
    "2024-03-01",
    "2024-12-31 10:00:00",
    "2025-01-01",
    None,
]


def kept(values: list, sql_type: str, value: str, kind: FieldKind) -> list:
    tree = condition(value, exp.column("v"), kind)
    where = "TRUE" if tree is None else tree.sql("duckdb")
    with duckdb.connect() as database:
        database.execute(f"CREATE TABLE t (i INTEGER, v {sql_type})")
        database.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(values)))
        return [
            values[i] for (i,) in database.execute(f"SELECT i FROM t WHERE {where} ORDER BY i").fetchall()
        ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("paid", ["paid"]),
        ("paid, refunded", ["paid", "refunded"]),
        ("-paid", ["refunded", "test one", "a,b", "", None, "x%"]),
        ("-paid,-refunded", ["test one", "a,b", "", None, "x%"]),
        ("test%", ["test one"]),
        ("%e%,-test%", ["refunded"]),
        ("-%e%", ["paid", "a,b", "", None, "x%"]),
        ("EMPTY", ["", None]),
        ("-EMPTY", ["paid", "refunded", "test one", "a,b", "x%"]),
        ("NULL", [None]),
        ("-NULL", ["paid", "refunded", "test one", "a,b", "", "x%"]),
        ('"a,b"', ["a,b"]),
        ("a^,b", ["a,b"]),
        ('-"a,b",-paid', ["refunded", "test one", "", None, "x%"]),
        ("x^%", ["x%"]),
        ("", STRINGS),
        ("%", STRINGS),
    ],
)
def test_filters_on_texts(value: str, expected: list) -> None:
    assert kept(STRINGS, "VARCHAR", value, "string") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5", [5]),
        ("1, 4,-3", [-3, 1, 4]),
        ("NOT 5", [-3, 0, 1, 4, 5.5, 7, 10, 66, 99, None]),
        ("<>5", [-3, 0, 1, 4, 5.5, 7, 10, 66, 99, None]),
        ("NOT 66, 99", [-3, 0, 1, 4, 5, 5.5, 7, 10, None]),
        (">=5", [5, 5.5, 7, 10, 66, 99]),
        (">=5 AND <=10", [5, 5.5, 7, 10]),
        ("<0 OR >90", [-3, 99]),
        ("(1, 7)", [4, 5, 5.5]),
        ("[1,7]", [1, 4, 5, 5.5, 7]),
        ("[5, inf)", [5, 5.5, 7, 10, 66, 99]),
        ("(-inf, 0]", [-3, 0]),
        ("[0,1],[66,99]", [0, 1, 66, 99]),
        ("4 to 7", [4, 5, 5.5, 7]),
        ("NULL", [None]),
        ("NOT NULL", [-3, 0, 1, 4, 5, 5.5, 7, 10, 66, 99]),
        (">0, NOT 5", [1, 4, 5.5, 7, 10, 66, 99]),
    ],
)
def test_filters_on_numbers(value: str, expected: list) -> None:
    assert kept(NUMBERS, "DOUBLE", value, "number") == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("yes", [True]), ("Yes", [True]), ("no", [False, None]), ("FALSE", [False, None])]
)
def test_no_takes_in_what_is_unknown(value: str, expected: list) -> None:
    assert kept(FLAGS, "BOOLEAN", value, "yesno") == expected


@pytest.mark.parametrize(
    ("value", "indexes"),
    [
        ("2024", [1, 2, 3, 4]),
        ("2024-02", [2]),
        ("2024/02/29", [2]),
        ("2024-12", [4]),
        ("after 2024-03-01", [3, 4, 5]),
        ("before 2024-01-01", [0]),
        ("2024-01-01 to 2024-03-01", [1, 2]),
        ("2023 to 2024", [0]),
        ("NULL", [6]),
        ("NOT NULL", [0, 1, 2, 3, 4, 5]),
        ("before 2024 or after 2025", [0, 5]),
        ("any time", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_filters_on_dates(value: str, indexes: list[int]) -> None:
    assert kept(TIMES, "TIMESTAMP", value, "time") == [TIMES[index] for index in indexes]


@pytest.mark.parametrize(
    "value", ["7 days", "last month", "today", "this year to second", "3 days ago for 2 days"]
)
def test_a_filter_that_depends_on_the_day_is_refused(value: str) -> None:
    with pytest.raises(Unsayable, match="depends on the day of the question"):
        condition(value, exp.column("v"), "time")


@pytest.mark.parametrize(
    ("value", "kind"),
    [("many", "number"), ("5..6", "number"), ("(,)", "number"), ("maybe", "yesno"), ("2024-13", "time")],
)
def test_what_is_no_filter_expression_is_refused(value: str, kind: FieldKind) -> None:
    with pytest.raises(Unsayable) as said:
        condition(value, exp.column("v"), kind)
    assert said.value.reason == "expression_not_supported"


def test_liquid_in_a_filter_is_reported() -> None:
    with pytest.raises(Unsayable) as said:
        condition("{{ _user_attributes['country'] }}", exp.column("v"), "string")
    assert said.value.reason == "looker_template_unresolved"
