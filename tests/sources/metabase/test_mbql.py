"""The two forms of Metabase's query language, read into one."""

from typing import Any

import pytest

from ktx.sources.metabase.mbql import parse_query
from ktx.sources.metabase.translate import Resolved, Translator
from ktx.sources.placing import Unsayable, column_sql

_NAMES = {1: ("total", "number"), 2: ("placed_at", "time"), 3: ("status", "string"), 4: ("day", "time")}


def _translated(data: Any) -> str:
    stage = parse_query(data).stages[0]

    def column(clause: Any) -> Resolved:
        name, kind = _NAMES[clause.args[0]]
        return Resolved(tree=column_sql(name, "duckdb"), kind=kind, is_date=name == "day")  # type: ignore[arg-type]

    def unknown(id_: int) -> Any:
        raise Unsayable("unresolved_reference", str(id_))

    translator = Translator(dialect="duckdb", column=column, segment=unknown, metric=unknown)
    parts = [translator.condition(one) for one in stage.filters] + [
        translator.aggregate(one) for one in stage.aggregations
    ]
    return "; ".join(translator.text(part) for part in parts)


def _old(**query: Any) -> dict[str, Any]:
    return {"database": 1, "type": "query", "query": {"source-table": 9, **query}}


def _new(**stage: Any) -> dict[str, Any]:
    return {
        "lib/type": "mbql/query",
        "database": 1,
        "stages": [{"lib/type": "mbql.stage/mbql", "source-table": 9, **stage}],
    }


def test_both_forms_of_one_query_are_one() -> None:
    old = _old(
        filter=["and", ["=", ["field", 3, None], "a"], [">", ["field", 1, {"base-type": "x"}], 5]],
        aggregation=[["sum", ["field", 1, None]]],
    )
    new = _new(
        filters=[["=", {}, ["field", {}, 3], "a"], [">", {}, ["field", {"base-type": "x"}, 1], 5]],
        aggregation=[["sum", {"lib/uuid": "u"}, ["field", {}, 1]]],
    )
    assert _translated(old) == _translated(new) == "status = 'a'; total > 5; SUM(total)"
    assert parse_query(old).stages[0].table == parse_query(new).stages[0].table == 9


@pytest.mark.parametrize(
    ("clause", "sql"),
    [
        (["=", ["field", 2, {"temporal-unit": "quarter"}], "2025-05-17"], "DATE_TRUNC('QUARTER', placed_at) = CAST('2025-04-01' AS DATE)"),
        (["<", ["field", 2, None], "2025-05-17T10:30:00"], "placed_at < CAST('2025-05-17 10:30:00' AS TIMESTAMP)"),
        (["between", ["field", 4, None], "2025-01-01", "2025-01-31"], "day BETWEEN CAST('2025-01-01' AS DATE) AND CAST('2025-01-31' AS DATE)"),
        (["!=", ["field", 3, None], "a", "b"], "NOT status IN ('a', 'b') OR status IS NULL"),
        (["=", ["field", 3, None], "it's", None], "status = 'it''s' OR status IS NULL"),
        (["not-empty", ["field", 3, None]], "NOT (status IS NULL OR status = '')"),
        (["time-interval", ["field", 4, None], "current", "month"], "day >= DATE_TRUNC('MONTH', CURRENT_DATE) AND day < DATE_TRUNC('MONTH', CURRENT_DATE) + INTERVAL '1' MONTH"),
        (["time-interval", ["field", 4, None], -2, "quarter", {"include-current": True}], "day >= DATE_TRUNC('QUARTER', CURRENT_DATE) - INTERVAL '6' MONTH AND day < DATE_TRUNC('QUARTER', CURRENT_DATE) + INTERVAL '3' MONTH"),
        (["starts-with", ["field", 3, None], "A", {"case-sensitive": True}], "status LIKE 'A%'"),
        (["=", ["field-id", 1], -3], "total = -3"),
    ],
)  # fmt: skip
def test_filters_mean_what_they_mean_in_metabase(clause: list[Any], sql: str) -> None:
    assert _translated(_old(filter=clause)) == sql


@pytest.mark.parametrize(
    "clause",
    [
        ["time-interval", ["field", 2, None], -1, "week"],
        ["inside", ["field", 1, None], ["field", 1, None], 1, 2, 3, 4],
        ["contains", ["field", 3, None], "50%"],
        ["=", ["field", 2, None], "yesterday"],
        ["=", ["field", 2, {"temporal-unit": "day-of-week"}], 3],
        [">=", ["field", 2, None], ["relative-datetime", -30, "day"]],
        ["=", ["field", 1, None]],
        "text",
    ],
)
def test_what_has_no_exact_translation_is_refused(clause: Any) -> None:
    with pytest.raises(Unsayable):
        _translated(_old(filter=clause))


def test_native_sql_is_found_in_both_forms() -> None:
    old = {
        "database": 1,
        "type": "native",
        "native": {"query": "SELECT 1", "template-tags": {"#7": {"type": "card", "card-id": 7}}},
    }
    new = {"lib/type": "mbql/query", "database": 1, "stages": [{"lib/type": "mbql.stage/native", "native": "SELECT 1", "template-tags": {"#7": {"type": "card", "card-id": 7}}}]}  # fmt: skip
    for data in (old, new):
        query = parse_query(data)
        assert query.native is not None
        assert (query.native.native, query.cards()) == ("SELECT 1", (7,))


def test_cards_and_metrics_inside_a_query_are_seen() -> None:
    query = parse_query(
        {
            "lib/type": "mbql/query",
            "stages": [
                {
                    "source-card": 5,
                    "joins": [{"alias": "J", "stages": [{"source-card": 6}], "conditions": []}],
                    "aggregation": [["/", {}, ["metric", {}, 8], 2]],
                }
            ],
        }
    )
    assert query.cards() == (5, 6, 8)
    assert parse_query(_old(**{"source-table": "card__12"})).cards() == (12,)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"type": "query"},
        {"stages": []},
        {"stages": ["x"]},
        {"type": "native", "native": {}},
        {"type": "query", "query": {"filter": [{"a": 1}]}},
    ],
)
def test_other_forms_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(Unsayable):
        parse_query(data)


@pytest.mark.parametrize("levels", [20, 55, 200])
def test_a_query_is_written_or_refused_however_deep_or_wide_it_is(levels: int) -> None:
    deep: Any = ["field", 1, None]
    for _ in range(levels):
        deep = ["abs", deep]
    for argument in (deep, ["+", *[["field", 1, None]] * levels * 50], ["concat", *[deep] * 20]):
        try:
            text = _translated(_old(aggregation=[["sum", argument]]))
        except Unsayable:
            assert levels > 20
        else:
            assert text.startswith("SUM(")
