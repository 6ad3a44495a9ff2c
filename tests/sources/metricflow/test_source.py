"""Semantic models and metrics, in each spelling, and every way in which one cannot land."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ktx.catalog import ColumnKind
from ktx.errors import SourceError
from ktx.semantic.check import check_layer
from ktx.sources.dbt.source import DbtSource
from ktx.sources.definition import Definition, MeasureFact
from ktx.sources.metricflow.source import MetricflowSource
from ktx.sources.source import Interpretation, Target
from ktx.sources.tree import OpenTree, Tree
from sampleprojects.dbt_manifest import write_artifacts
from sampleprojects.dbt_shop import EXPECTED_METRICS, PROJECT, REFUSED_METRICS, build_warehouse, write_project
from sources.landing import answer, land, read_target
from sources.trees import make_target, write_file, write_tree

ORDERS: dict[str, ColumnKind] = {
    "id": "number", "customer_id": "number", "buyer_id": "number", "status": "string", "amount": "number", "paid": "boolean",
    "ordered_at": "time", "shipped_at": "time",
}  # fmt: skip
CUSTOMERS: dict[str, ColumnKind] = {
    "id": "number",
    "country": "string",
    "joined_at": "time",
    "region_id": "number",
}
REGIONS: dict[str, ColumnKind] = {"id": "number", "name": "string"}
SHOP = make_target({"a.orders": ORDERS, "a.customers": CUSTOMERS, "a.regions": REGIONS})

MODELS = """
semantic_models:
  - name: orders
    model: ref('orders')
    defaults: {agg_time_dimension: ordered_at}
    entities:
      - {name: order, type: primary, expr: id}
      - {name: customer, type: foreign, expr: customer_id}
    dimensions:
      - {name: ordered_at, type: time, type_params: {time_granularity: day}}
      - {name: shipped_at, type: time, type_params: {time_granularity: day}}
      - {name: status, type: categorical}
      - {name: size, type: categorical, expr: "case when amount > 100 then 'big' else 'small' end"}
    measures:
      - {name: total, agg: sum, expr: amount}
      - {name: n, agg: count, expr: "1"}
  - name: customers
    model: ref('customers')
    defaults: {agg_time_dimension: joined_at}
    entities:
      - {name: customer, type: primary, expr: id}
      - {name: region, type: foreign, expr: region_id}
    dimensions:
      - {name: country, type: categorical}
      - {name: joined_at, type: time, type_params: {time_granularity: day}}
    measures:
      - {name: people, agg: count_distinct, expr: id}
  - name: regions
    model: ref('regions')
    entities: [{name: region, type: primary, expr: id}]
    dimensions: [{name: name, type: categorical}]
"""


def interpret(open_tree: OpenTree, *targets: Target) -> Interpretation:
    source = MetricflowSource(open_tree=open_tree, connection_id="mf")
    return source.interpret(source.fetch(emit=lambda _: None), targets or [SHOP])


def metric(root: Path, entry: dict[str, Any], *more: dict[str, Any]) -> Interpretation:
    """Give what the three models and these metrics say."""
    return interpret(write_tree(root, models_yml=MODELS, metrics_yml=json.dumps({"metrics": [entry, *more]})))


def simple(filter_: Any = None, *, measure: Any = "total", name: str = "m") -> dict[str, Any]:
    return {"name": name, "type": "simple", "type_params": {"measure": measure}, "filter": filter_}


def definition(got: Interpretation, name: str) -> Definition:
    return next(one for one in got.definitions if one.name == name)


def measure(got: Interpretation, name: str, home: str = "orders") -> MeasureFact:
    return next(one for one in definition(got, home).measures if one.name == name)


def reasons(got: Interpretation) -> dict[str, str]:
    return {one.what: one.reason for one in got.unmapped}


@pytest.fixture(scope="module")
def shop_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("shop") / "shop.duckdb"
    build_warehouse(file)
    return file


# -- whole projects -----------------------------------------------------------------------------------------------------


def test_a_project_gives_the_same_metrics_as_through_dbt(shop_file: Path) -> None:
    target = read_target(shop_file)
    dbt = DbtSource(open_tree=lambda: Tree(root=PROJECT), connection_id="dbt")
    through_dbt = dbt.interpret(dbt.fetch(emit=lambda _: None), [target])
    got = interpret(lambda: Tree(root=PROJECT), target)
    for one in got.definitions:
        other = definition(through_dbt, one.name)
        assert (one.measures, one.default_time_dimension) == (other.measures, other.default_time_dimension)
        assert set(one.joins) <= set(other.joins)
        assert one.author == "dbt"
    assert {one.what.removeprefix("metric ") for one in got.unmapped if one.reason != "parse_error"} >= set(
        REFUSED_METRICS
    )


def test_a_semantic_manifest_alone_gives_every_metric_with_its_value(shop_file: Path, tmp_path: Path) -> None:
    write_artifacts(write_project(tmp_path / "whole"))
    alone = tmp_path / "alone/target"
    alone.mkdir(parents=True)
    (tmp_path / "whole/target/semantic_manifest.json").rename(alone / "semantic_manifest.json")
    target = read_target(shop_file)
    assert target.catalog is not None
    got = interpret(lambda: Tree(root=tmp_path / "alone"), target)
    landed = land(got.definitions, target.catalog, tmp_path / "layer")
    homes = {it.name: landed.names[one.name] for one in got.definitions for it in one.measures}
    with duckdb.connect(str(shop_file), read_only=True) as connection:
        for name, sql in EXPECTED_METRICS.items():
            rows = answer(
                landed.layer,
                {"measures": [f"{homes[name]}.{name}"]},
                lambda text: connection.execute(text).fetchall(),
            )
            assert float(rows[0][0]) == pytest.approx(
                float(connection.execute(sql).fetchall()[0][0]), rel=1e-9
            ), name


CURRENT = """
models:
  - name: orders
    semantic_model: true
    agg_time_dimension: ordered_at
    columns:
      - name: id
        entity: {type: primary, name: order}
      - name: customer_id
        entity: {type: foreign, name: customer}
      - name: ordered_at
        granularity: day
        dimension: {type: time}
      - name: shipped_at
        granularity: day
        dimension: time
      - name: status
        description: where it is
        dimension: categorical
    derived_semantics:
      dimensions:
        - {name: size, type: categorical, expr: "case when amount > 100 then 'big' else 'small' end"}
    metrics:
      - {name: total, type: simple, agg: sum, expr: amount}
      - {name: n, type: simple, agg: count, expr: 1}
      - {name: shipped, type: simple, agg: count, expr: 1, agg_time_dimension: shipped_at, filter: "{{ Dimension('order__status') }} = 'shipped'"}
      - {name: spread, type: simple, agg: percentile, expr: amount, percentile: 0.9}
      - {name: steps, type: simple, agg: percentile, expr: amount, percentile: 0.9, percentile_type: discrete}
      - {name: size_of_order, type: ratio, numerator: total, denominator: n}
  - name: customers
    semantic_model: {enabled: true, name: people}
    agg_time_dimension: joined_at
    columns:
      - {name: id, entity: {type: primary, name: customer}}
      - {name: country, dimension: categorical}
      - {name: joined_at, granularity: day, dimension: {type: time}}
    metrics:
      - {name: people, type: simple, agg: count_distinct, expr: id}
  - name: regions
    semantic_model: {enabled: false}
    metrics: [{name: off, type: simple, agg: sum, expr: id}]
metrics:
  - name: total_per_person
    type: derived
    expr: total / heads
    input_metrics:
      - {name: total}
      - {name: people, alias: heads}
  - {name: running, type: cumulative, input_metric: total, grain_to_date: year}
  - {name: won, type: conversion, entity: customer, calculation: conversion_rate, base_metric: n, conversion_metric: shipped}
"""


def test_the_current_spelling_under_models_is_read(tmp_path: Path) -> None:
    got = interpret(
        write_tree(
            tmp_path,
            dbt_project_yml="name: p",
            models__orders_sql="select 1",
            models__customers_sql="select 1",
            models__regions_sql="select 1",
            models__schema_yml=CURRENT,
        )
    )
    orders = definition(got, "orders")
    assert {one.name: (one.expr, one.filter, one.time_dimension) for one in orders.measures} == {
        "n": ("count(*)", None, None),
        "shipped": ("count(*)", "status = 'shipped'", "shipped_at"),
        "size_of_order": ("total / n", None, None),
        "spread": ("percentile(amount, 0.9)", None, None),
        "total": ("sum(amount)", None, None),
        "total_per_person": ("total / customers.people", None, None),
    }
    assert orders.grain == ("id",)
    assert orders.default_time_dimension == "ordered_at"
    assert [(one.to, one.on) for one in orders.joins] == [("customers", "orders.customer_id = customers.id")]
    assert {one.name for one in orders.columns} == {"ordered_at", "shipped_at", "size", "status"}
    assert reasons(got) == {
        "metric steps": "expression_not_supported",
        "metric running": "cumulative_metric_unsupported",
        "metric won": "conversion_metric_unsupported",
    }


def test_yaml_without_a_project_stands_on_tables_of_the_models_names(tmp_path: Path) -> None:
    got = interpret(write_tree(tmp_path, semantics__shop_yml=MODELS))
    assert {one.name: str(one.table) for one in got.definitions} == {
        "orders": "a.orders", "customers": "a.customers", "regions": "a.regions",
    }  # fmt: skip
    assert definition(got, "orders").evidence == ("semantics/shop.yml",)


def test_a_folder_without_semantics_is_refused(tmp_path: Path) -> None:
    source = MetricflowSource(
        open_tree=write_tree(tmp_path, models_yml="models: [{name: x}]"), connection_id="mf"
    )
    with pytest.raises(SourceError, match="holds no semantic model"):
        source.fetch(emit=lambda _: None)


def test_a_model_without_a_table_is_named_with_its_metrics(tmp_path: Path) -> None:
    got = interpret(
        write_tree(tmp_path, models_yml=MODELS, metrics_yml=json.dumps({"metrics": [simple()]})),
        make_target({"a.customers": CUSTOMERS}),
    )
    assert reasons(got) == {
        "semantic model orders": "missing_target_table",
        "semantic model regions": "missing_target_table",
        "metric m": "unresolved_reference",
    }


# -- measures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "expr"),
    [
        ({"agg": "sum"}, "sum(amount)"),
        ({"agg": "min"}, "min(amount)"),
        ({"agg": "MAX"}, "max(amount)"),
        ({"agg": "average"}, "avg(amount)"),
        ({"agg": "median"}, "median(amount)"),
        ({"agg": "count"}, "count(amount)"),
        ({"agg": "count", "expr": 1}, "count(*)"),
        ({"agg": "count", "expr": "*"}, "count(*)"),
        ({"agg": "count_distinct"}, "count(distinct amount)"),
        ({"agg": "sum", "expr": 1}, "sum(1)"),
        ({"agg": "sum", "expr": "AMOUNT * 2"}, "sum(amount * 2)"),
        ({"agg": "sum_boolean", "expr": "paid"}, "sum(case when paid then 1 else 0 end)"),
        ({"agg": "percentile", "agg_params": {"percentile": 0.25}}, "percentile(amount, 0.25)"),
        ({"agg": "percentile", "agg_params": {"percentile": 0.25, "use_approximate_percentile": True}}, "percentile(amount, 0.25)"),
        ({"agg": "percentile", "agg_params": {"percentile": 25}}, None),
        ({"agg": "percentile"}, None),
        ({"agg": "percentile", "agg_params": {"percentile": 0.5, "use_discrete_percentile": True}}, None),
        ({"agg": "sum", "expr": "gone"}, None),
        ({"agg": "sum", "expr": "sum(amount)"}, None),
        ({"agg": "sum", "expr": "(select 1)"}, None),
        ({"agg": "sum", "expr": "amount; drop table x"}, None),
        ({"agg": "sum", "expr": "{{ cents('amount') }}"}, None),
        ({"agg": "sum", "expr": "amount -- x"}, "sum(amount)"),
        ({"agg": "sum", "expr": "(" * 2000 + "amount" + ")" * 2000}, None),
    ],
)  # fmt: skip
def test_a_measure_becomes_an_aggregate_or_is_named(
    entry: dict[str, Any], expr: str | None, tmp_path: Path
) -> None:
    model = {
        "name": "orders",
        "model": "ref('orders')",
        "entities": [{"name": "order", "type": "primary", "expr": "id"}],
        "measures": [{"name": "amount", **entry}],
    }
    got = interpret(write_tree(tmp_path, models_yml=json.dumps({"semantic_models": [model]})))
    found = {one.name: one.expr for one in definition(got, "orders").measures}
    assert found == ({} if expr is None else {"amount": expr})
    assert list(reasons(got)) == ([] if expr is not None else ["measure amount"])


def test_an_unknown_aggregation_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    models = MODELS.replace("agg: count_distinct", "agg: first_value")
    got = interpret(write_tree(tmp_path, models_yml=models))
    assert reasons(got) == {"semantic model customers": "parse_error"}
    assert {one.name for one in got.definitions} == {"orders", "regions"}


# -- filters --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ Dimension('order__status') }} = 'x'", "status = 'x'"),
        ('{{Dimension("order__status")}} in (\'x\', \'y\')', "status IN ('x', 'y')"),
        ("order__status = 'x'", "status = 'x'"),
        ("{{ Dimension('order__size') }} = 'big'", "CASE WHEN amount > 100 THEN 'big' ELSE 'small' END = 'big'"),
        ("{{ Dimension('customer__country') }} = 'DE'", "customers.country = 'DE'"),
        ("{{ Dimension('customer__region__name') }} = 'N'", "regions.name = 'N'"),
        ("{{ Dimension('region__name', entity_path=['customer']) }} = 'N'", "regions.name = 'N'"),
        ("{{ Entity('order') }} > 5", "id > 5"),
        ("{{ Entity('customer__region') }} = 1", "customers.region_id = 1"),
        ("{{ TimeDimension('order__shipped_at', 'month') }} = '2024-01-01'", "DATE_TRUNC('MONTH', shipped_at) = '2024-01-01'"),
        ("{{ TimeDimension('order__shipped_at', time_granularity_name='month') }} = '2024-01-01'",
         "DATE_TRUNC('MONTH', shipped_at) = '2024-01-01'"),
        ("{{ Dimension('order__shipped_at').grain('month') }} = '2024-01-01'", "DATE_TRUNC('MONTH', shipped_at) = '2024-01-01'"),
        ("{{ Dimension('order__shipped_at__month') }} = '2024-01-01'", "DATE_TRUNC('MONTH', shipped_at) = '2024-01-01'"),
        ("{{ TimeDimension('metric_time', 'year') }} = '2024-01-01'", "DATE_TRUNC('YEAR', ordered_at) = '2024-01-01'"),
        ("{{ Dimension('order__status') }} = '{{ var('s', 'x') }}'", "status = 'x'"),
        (["{{ Dimension('order__status') }} = 'x' or {{ Entity('order') }} = 1", "order__status <> 'y'"],
         "(status = 'x' OR id = 1) AND status <> 'y'"),
    ],
)  # fmt: skip
def test_a_filter_becomes_a_condition_on_the_right_columns(text: Any, expected: str, tmp_path: Path) -> None:
    got = metric(tmp_path, simple(text))
    assert reasons(got) == {}
    assert measure(got, "m").filter == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ Metric('n', group_by=['customer']) }} > 1", "expression_not_supported"),
        ("{{ Dimension('order__gone') }} = 1", "unresolved_reference"),
        ("{{ Dimension('nobody__status') }} = 1", "unresolved_reference"),
        ("status = 'x'", "unresolved_reference"),
        ("{{ Dimension('region__name') }} = 'N'", "unresolved_reference"),
        ("{{ Dimension('order__status').descending(True) }} = 1", "expression_not_supported"),
        ("{{ Dimension('order__shipped_at').date_part('year') }} = 2024", "expression_not_supported"),
        ("{{ Dimension('order__status').grain('day') }} = 1", "expression_not_supported"),
        ("{{ TimeDimension('order__shipped_at', 'fiscal_month') }} = 1", "expression_not_supported"),
        ("'{{ Dimension('order__status') }}' = 'x'", "expression_not_supported"),
        ("{{ Dimension(name) }} = 1", "expression_not_supported"),
        ("{{ var('nobody') }} = 1", "expression_not_supported"),
        ("{% if true %} order__status = 1 {% endif %}", "expression_not_supported"),
        ("{{ Dimension('order__status') }} = (select 1)", "expression_not_supported"),
        ("{{ Dimension('order__status') }} = 'x'; drop table a", "expression_not_supported"),
        ("sum({{ Entity('order') }}) > 1", "expression_not_supported"),
        ("((((", "expression_not_supported"),
    ],
)  # fmt: skip
def test_a_filter_without_one_meaning_is_named_and_never_guessed(
    text: str, reason: str, tmp_path: Path
) -> None:
    got = metric(tmp_path, simple(text))
    assert reasons(got) == {"metric m": reason}
    assert all(one.name != "m" for one in definition(got, "orders").measures)


# -- metrics ------------------------------------------------------------------------------------------------------------


def test_a_metric_keeps_its_label_and_description(tmp_path: Path) -> None:
    named = {**simple(), "label": "Total value", "description": "All of it."}
    same = {**simple(name="grand_total"), "label": "Grand total", "description": "All."}
    got = metric(tmp_path, named, same)
    assert measure(got, "m").description == "Total value: All of it."
    assert measure(got, "grand_total").description == "All."
    assert measure(got, "m").evidence == ("metrics.yml",)


def test_filling_becomes_coalesce_and_the_timespine_is_named(tmp_path: Path) -> None:
    got = metric(tmp_path, simple(measure={"name": "total", "fill_nulls_with": 0, "join_to_timespine": True}))
    assert measure(got, "m").expr == "coalesce(sum(amount), 0)"
    assert reasons(got) == {"metric m (join_to_timespine)": "expression_not_supported"}


def test_an_input_with_a_filter_lands_under_a_name_of_its_own(tmp_path: Path) -> None:
    ratio = {
        "name": "big_share",
        "type": "ratio",
        "type_params": {
            "numerator": {"name": "m", "filter": "{{ Dimension('order__size') }} = 'big'", "alias": "big"},
            "denominator": "m",
        },
    }
    got = metric(tmp_path, ratio, simple())
    assert measure(got, "big_share").expr == "big_share__big / m"
    assert measure(got, "big_share__big").expr == "m"
    assert (
        measure(got, "big_share__big").filter == "CASE WHEN amount > 100 THEN 'big' ELSE 'small' END = 'big'"
    )


@pytest.mark.parametrize(
    ("params", "type_", "reason"),
    [
        ({"expr": "m - before", "metrics": ["m", {"name": "m", "offset_window": "1 month", "alias": "before"}]}, "derived",
         "expression_not_supported"),
        ({"expr": "m - before", "metrics": ["m", {"name": "m", "offset_to_grain": "month", "alias": "before"}]}, "derived",
         "expression_not_supported"),
        ({"expr": "m - x", "metrics": ["m"]}, "derived", "unresolved_reference"),
        ({"expr": "sum(m)", "metrics": ["m"]}, "derived", "expression_not_supported"),
        ({"expr": "{{ m }}", "metrics": ["m"]}, "derived", "expression_not_supported"),
        ({"expr": "d + 1", "metrics": ["d"]}, "derived", "expression_not_supported"),
        ({"expr": "gone + 1", "metrics": ["gone"]}, "derived", "unresolved_reference"),
        ({"expr": "c + 1", "metrics": ["c"]}, "derived", "cumulative_metric_unsupported"),
        ({"measure": "total"}, "cumulative", "cumulative_metric_unsupported"),
        ({"measure": "total", "window": "7 days"}, "cumulative", "cumulative_metric_unsupported"),
        ({"conversion_type_params": {"entity": "customer", "base_measure": "n", "conversion_measure": "n"}}, "conversion",
         "conversion_metric_unsupported"),
        ({"numerator": "m"}, "ratio", "parse_error"),
        ({}, "simple", "parse_error"),
        ({"measure": "total"}, "magic", "parse_error"),
        ({"measure": "total", "fill_nulls_with": "x'); drop"}, "simple", "expression_not_supported"),
    ],
)  # fmt: skip
def test_a_metric_that_the_layer_cannot_hold_is_named(
    params: dict[str, Any], type_: str, reason: str, tmp_path: Path
) -> None:
    cumulative = {"name": "c", "type": "cumulative", "type_params": {"measure": "total"}}
    got = metric(tmp_path, {"name": "d", "type": type_, "type_params": params}, simple(), cumulative)
    assert reasons(got)["metric d"] == reason
    assert measure(got, "m").expr == "sum(amount)"


def test_how_a_cumulative_metric_can_be_asked_is_said(tmp_path: Path) -> None:
    cumulative = {
        "name": "c",
        "type": "cumulative",
        "type_params": {"measure": "total", "window": {"count": 7, "granularity": "day"}},
    }
    got = metric(tmp_path, cumulative, simple())
    assert got.unmapped[0].detail == (
        "It accumulates over the last 7 day; a question says so of `m` (`cumulative` or `rolling`)."
    )


def test_metrics_that_are_made_of_each_other_in_a_circle_end(tmp_path: Path) -> None:
    circle = [
        {"name": one, "type": "derived", "type_params": {"expr": other, "metrics": [other]}}
        for one, other in (("a", "b"), ("b", "c"), ("c", "a"))
    ]
    assert set(reasons(metric(tmp_path, *circle)).values()) == {"expression_not_supported"}


def test_a_chain_of_a_thousand_metrics_ends(tmp_path: Path) -> None:
    chain = [
        {
            "name": f"d{n}",
            "type": "derived",
            "type_params": {"expr": f"d{n + 1} + 1", "metrics": [f"d{n + 1}"]},
        }
        for n in range(1000)
    ]
    got = metric(tmp_path, *chain)
    assert set(reasons(got).values()) <= {"unresolved_reference", "expression_not_supported"}


# -- entities, dimensions, joins ----------------------------------------------------------------------------------------


def test_two_entities_to_one_table_are_two_roles_and_filters_know_which(tmp_path: Path) -> None:
    models = """
semantic_models:
  - name: orders
    model: ref('orders')
    entities:
      - {name: order, type: primary, expr: id}
      - {name: customer, type: foreign, expr: customer_id}
      - {name: buyer, type: foreign, expr: buyer_id}
    measures: [{name: n, agg: count, expr: id}]
  - name: customers
    model: ref('customers')
    entities: [{name: customer, type: primary, expr: id}, {name: buyer, type: unique, expr: id}]
    dimensions: [{name: country, type: categorical}]
metrics:
  - {name: m, type: simple, type_params: {measure: n}, filter: "{{ Dimension('buyer__country') }} = 'DE'"}
"""
    got = interpret(write_tree(tmp_path, models_yml=models))
    assert [(one.alias, one.on, one.relationship) for one in definition(got, "orders").joins] == [
        ("buyer", "orders.buyer_id = buyer.id", "many_to_one"),
        ("customer", "orders.customer_id = customer.id", "many_to_one"),
    ]
    assert measure(got, "m").filter == "buyer.country = 'DE'"


def test_a_shared_key_is_one_to_one_and_foreign_keys_never_meet(tmp_path: Path) -> None:
    models = """
semantic_models:
  - name: orders
    model: ref('orders')
    entities: [{name: thing, type: primary, expr: id}, {name: region, type: foreign, expr: buyer_id}]
  - name: customers
    model: ref('customers')
    entities: [{name: thing, type: unique, expr: id}, {name: region, type: foreign, expr: region_id}]
"""
    got = interpret(write_tree(tmp_path, models_yml=models))
    joins = [(one.name, it.to, it.relationship) for one in got.definitions for it in one.joins]
    assert joins == [("customers", "orders", "one_to_one")]


def test_a_natural_key_is_named_and_not_joined_to(tmp_path: Path) -> None:
    models = MODELS.replace(
        "{name: customer, type: primary, expr: id}", "{name: customer, type: natural, expr: id}"
    )
    got = interpret(write_tree(tmp_path, models_yml=models))
    assert reasons(got) == {"entity customers.customer": "expression_not_supported"}
    assert definition(got, "orders").joins == ()
    assert definition(got, "customers").grain == ()


def test_a_dimension_that_a_column_of_the_table_hides_is_named(tmp_path: Path) -> None:
    models = MODELS.replace(
        "{name: status, type: categorical}", "{name: status, type: categorical, expr: upper(status)}"
    )
    got = metric_with(models, tmp_path, simple("{{ Dimension('order__status') }} = 'X'"))
    assert reasons(got) == {"dimension orders.status": "expression_not_supported"}
    assert measure(got, "m").filter == "UPPER(status) = 'X'"


def test_a_semantic_model_on_a_table_of_another_warehouse_is_not_joined(tmp_path: Path) -> None:
    one = make_target({"a.orders": ORDERS}, connection_id="one")
    two = make_target({"a.customers": CUSTOMERS, "a.regions": REGIONS}, connection_id="two")
    write_file(tmp_path, "models.yml", MODELS)
    ratio = {"name": "r", "type": "ratio", "type_params": {"numerator": "total", "denominator": "people"}}
    write_file(tmp_path, "metrics.yml", json.dumps({"metrics": [ratio]}))
    got = interpret(lambda: Tree(root=tmp_path), one, two)
    assert definition(got, "orders").joins == ()
    assert reasons(got) == {"metric r": "expression_not_supported"}


def metric_with(models: str, root: Path, entry: dict[str, Any]) -> Interpretation:
    return interpret(write_tree(root, models_yml=models, metrics_yml=json.dumps({"metrics": [entry]})))


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("postgres", "DATE_TRUNC('MONTH', shipped_at) = '2024-01-01'"),
        ("snowflake", "DATE_TRUNC('MONTH', shipped_at) = '2024-01-01'"),
        ("bigquery", "DATE_TRUNC(shipped_at, MONTH) = '2024-01-01'"),
        ("tsql", "DATETRUNC(MONTH, shipped_at) = '2024-01-01'"),
        ("mysql", "DATE_TRUNC('month', shipped_at) = '2024-01-01'"),
        ("sqlite", "DATE_TRUNC('month', shipped_at) = '2024-01-01'"),
    ],
)
def test_times_are_cut_in_a_spelling_that_the_layer_reads(
    dialect: str, expected: str, tmp_path: Path
) -> None:
    write_file(tmp_path / "p", "models.yml", MODELS)
    asked = simple("{{ TimeDimension('order__shipped_at', 'month') }} = '2024-01-01'")
    write_file(tmp_path / "p", "metrics.yml", json.dumps({"metrics": [asked]}))
    target = make_target(
        {"a.orders": ORDERS, "a.customers": CUSTOMERS, "a.regions": REGIONS}, dialect=dialect
    )
    got = interpret(lambda: Tree(root=tmp_path / "p"), target)
    assert measure(got, "m").filter == expected
    assert target.catalog is not None
    landed = land(got.definitions, target.catalog, tmp_path / "layer")
    problems = check_layer(landed.layer, target.catalog, dialect=dialect)
    assert [one.message for one in problems if one.level == "error"] == []


def test_a_metric_of_the_time_before_metricflow_is_named(tmp_path: Path) -> None:
    old = {"name": "old", "model": "ref('orders')", "calculation_method": "sum", "expression": "amount"}
    got = metric(tmp_path, old)
    assert reasons(got) == {"metric old": "parse_error"}
    assert "dbt_metrics" in got.unmapped[0].detail
