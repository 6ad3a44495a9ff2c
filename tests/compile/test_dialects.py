"""Every dialect compiles, its statement reads as that dialect, and the page about dialects says what the facts say."""

import datetime as dt
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from compile.cases import (
    HERE,
    DuckEngine,
    SqliteEngine,
    asked_rows,
    build_layer,
    compiled,
    normal_rows,
    read_yaml,
)
from compile.dialect_table import PAGE, render
from ktx.errors import QueryError, UsageError
from ktx.semantic.dialects import FACTS, facts_of

WORLD = read_yaml(HERE / "worlds" / "shop.yaml")
ASK = {
    "measures": [
        "orders.revenue",
        "orders.aov",
        "orders.median_amount",
        "tickets.ticket_count",
        "items.units",
    ],
    "dimensions": ["customers.segment"],
    "filters": ["orders.revenue > 1"],
    "order_by": ["revenue desc"],
    "limit": 10,
}


def test_the_page_about_dialects_is_up_to_date() -> None:
    assert PAGE.read_text() == render()


@pytest.mark.parametrize("dialect", list(FACTS))
def test_a_question_over_three_facts_compiles_and_reads_back(dialect: str, tmp_path: Path) -> None:
    made = compiled(build_layer(WORLD["layer"], tmp_path), ASK, dialect)
    text = made.tree.sql(dialect=dialect, comments=False)
    tree = sqlglot.parse_one(text, dialect=dialect)
    assert tree.sql(dialect=dialect) == text
    assert not [join for join in tree.find_all(exp.Join) if join.side == "FULL"]
    if dialect == "clickhouse":
        assert "join_use_nulls = 1" in text


@pytest.mark.parametrize("dialect", list(FACTS))
@pytest.mark.parametrize(
    "granularity", ["second", "minute", "hour", "day", "week", "month", "quarter", "year"]
)
def test_every_granularity_compiles(dialect: str, granularity: str, tmp_path: Path) -> None:
    ask = {
        "measures": ["orders.revenue"],
        "dimensions": [{"field": "orders.created_at", "granularity": granularity}],
    }
    text = compiled(build_layer(WORLD["layer"], tmp_path), ask, dialect).tree.sql(
        dialect=dialect, comments=False
    )
    assert sqlglot.parse_one(text, dialect=dialect).sql(dialect=dialect) == text


def test_weeks_are_iso_weeks_for_a_whole_decade(tmp_path: Path) -> None:
    days = [dt.date(2019, 12, 20) + dt.timedelta(days=n) for n in range(0, 3700, 3)]
    table = {
        "days": {"columns": {"id": "integer", "at": "date"}, "rows": [[n, day] for n, day in enumerate(days)]}
    }
    source = {"name": "days", "table": "days", "grain": ["id"], "columns": [{"name": "id", "type": "number"}, {"name": "at", "type": "time"}]}  # fmt: skip
    layer = build_layer([source], tmp_path)
    ask = {"dimensions": ["days.id", {"field": "days.at", "granularity": "week"}], "limit": None}
    expected = [
        (float(n), (day - dt.timedelta(days=day.weekday())).isoformat()) for n, day in enumerate(days)
    ]
    for engine in (DuckEngine(), SqliteEngine()):
        engine.build(table)
        found = normal_rows(asked_rows(engine, compiled(layer, ask, engine.dialect)), is_ordered=False)
        engine.close()
        assert sorted(found) == sorted(expected)


def test_a_filter_over_one_to_many_is_refused_where_it_cannot_run(tmp_path: Path) -> None:
    layer = build_layer(WORLD["layer"], tmp_path)
    with pytest.raises(QueryError, match="correlated EXISTS"):
        compiled(layer, {"measures": ["orders.revenue"], "filters": ["items.qty > 1"]}, "clickhouse")


def test_measures_through_time_are_refused_where_periods_cannot_be_numbered(tmp_path: Path) -> None:
    layer = build_layer(WORLD["layer"], tmp_path)
    ask = {
        "measures": [{"expr": "orders.revenue", "cumulative": True}],
        "dimensions": [{"field": "orders.created_at", "granularity": "month"}],
    }
    with pytest.raises(QueryError, match="cannot number periods"):
        compiled(layer, ask, "trino")


def test_an_unknown_dialect_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean `postgres`"):
        facts_of("postgress")
