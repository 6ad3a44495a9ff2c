"""Rules over the whole layer and against the warehouse's catalog."""

from pathlib import Path

import pytest

from ktx.catalog import Catalog, Column, Table, TableRef
from ktx.errors import LayerError
from ktx.findings import Finding
from ktx.semantic.check import check_layer
from ktx.semantic.compile import compile_query
from ktx.semantic.query import parse_query
from semantic.layers import MANIFEST, layer_from

CATALOG = Catalog(
    connection_id="wh",
    dialect="duckdb",
    tables=(
        Table(
            ref=TableRef(catalog="db", schema="shop", name="orders"),
            columns=(
                Column(name="ID", native_type="BIGINT", kind="number"),
                Column(name="customer_id", native_type="BIGINT", kind="number"),
                Column(name="amount", native_type="VARCHAR", kind="string"),
                Column(name="tax_rate", native_type="DOUBLE", kind="number"),
                Column(name="placed", native_type="TIMESTAMP", kind="time"),
                Column(name="secret", native_type="VARCHAR", kind="string"),
            ),
        ),
    ),
)


def found_in(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.code: finding for finding in findings}


def test_a_sound_layer_has_no_findings(tmp_path: Path) -> None:
    assert check_layer(layer_from(tmp_path, _schema__shop=MANIFEST), dialect="duckdb") == ()


def test_a_join_to_no_source_names_the_nearest(tmp_path: Path) -> None:
    overlay = "name: orders\njoins:\n  - {to: customer, on: orders.customer_id = customer.id, relationship: many_to_one}\n"
    found = found_in(
        check_layer(layer_from(tmp_path, _schema__shop=MANIFEST, orders=overlay), dialect="duckdb")
    )
    finding = found["join-target-unknown"]
    assert (finding.fix, finding.where.line) == ("Did you mean `customers`?", 3)


def test_join_conditions_may_only_use_columns_of_their_two_sides(tmp_path: Path) -> None:
    overlay = """
        name: orders
        joins:
          - {to: customers, on: orders.customerid = a.id, relationship: many_to_one, alias: a}
          - {to: customers, on: orders.customer_id = clients.id, relationship: many_to_one, alias: b}
          - {to: customers, on: "orders.customer_id = ", relationship: many_to_one, alias: c}
    """
    findings = check_layer(layer_from(tmp_path, _schema__shop=MANIFEST, orders=overlay), dialect="duckdb")
    assert [(one.code, one.where.line) for one in findings] == [
        ("join-column-unknown", 4),
        ("join-qualifier-unknown", 5),
        ("join-unreadable", 6),
    ]


def test_many_to_one_that_the_target_grain_does_not_prove_is_a_warning(tmp_path: Path) -> None:
    overlay = "name: orders\njoins:\n  - {to: customers, on: orders.secret = c2.name, relationship: many_to_one, alias: c2}\n"
    found = found_in(
        check_layer(layer_from(tmp_path, _schema__shop=MANIFEST, orders=overlay), dialect="duckdb")
    )
    assert found["join-uniqueness-unproven"].level == "warning"


def test_the_catalog_shows_missing_tables_and_columns_and_other_types(tmp_path: Path) -> None:
    findings = check_layer(layer_from(tmp_path, _schema__shop=MANIFEST), CATALOG)
    assert sorted((one.code, one.level, one.where.line) for one in findings) == [
        ("column-missing", "error", 11),
        ("table-missing", "error", 15),
        ("type-differs", "warning", 9),
    ]
    assert found_in(findings)["column-missing"].fix == "Did you mean `placed`?"


def test_checking_one_source_leaves_the_others_out(tmp_path: Path) -> None:
    layer = layer_from(tmp_path, _schema__shop=MANIFEST, bad="name: bad\ntable: [x]\n")
    assert [one.code for one in check_layer(layer, CATALOG, names=["customers"])] == ["table-missing"]
    assert [one.code for one in check_layer(layer, CATALOG, names=["bad"])] == ["bad-value"]


def test_sources_that_nothing_connects_are_noted(tmp_path: Path) -> None:
    lonely = "name: lonely\ntable: t\ngrain: [id]\ncolumns: [{name: id, type: number}]\n"
    found = found_in(
        check_layer(layer_from(tmp_path, _schema__shop=MANIFEST, lonely=lonely), dialect="duckdb")
    )
    assert found["sources-apart"].level == "note"


def test_every_measure_segment_and_computed_column_must_compile_by_itself(tmp_path: Path) -> None:
    overlay = """
        name: orders
        columns:
          - {name: net, type: number, expr: amount - discount}
        measures:
          - {name: revenue, expr: sum(amount)}
          - {name: wrong, expr: sum(amuont)}
          - {name: bad_filter, expr: count(*), filter: status = 'paid'}
        segments:
          - {name: large, expr: amount > }
    """
    findings = check_layer(layer_from(tmp_path, _schema__shop=MANIFEST, orders=overlay), dialect="duckdb")
    assert [(one.code, one.where.line) for one in findings] == [
        ("measure-unusable", 7),
        ("measure-unusable", 8),
        ("column-unusable", 4),
        ("segment-unusable", 10),
    ]
    assert "amount" in findings[0].message


def test_a_query_must_be_readable_and_give_the_declared_columns(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        a="name: a\nsql: select id from t\ngrain: [id]\ncolumns:\n  - {name: id}\n  - {name: total}\n",
        b="name: b\nsql: drop table t\ngrain: [id]\ncolumns: [{name: id}]\n",
        c="name: c\nsql: select * from t\ngrain: [id]\ncolumns: [{name: id}, {name: anything}]\n",
    )
    findings = [one for one in check_layer(found, dialect="duckdb") if one.level == "error"]
    assert [(one.code, one.where.line) for one in findings] == [
        ("column-not-in-sql", 6),
        ("sql-unreadable", 1),
    ]


def test_a_question_about_a_broken_source_is_refused_with_the_reason(tmp_path: Path) -> None:
    layer = layer_from(tmp_path, _schema__shop=MANIFEST, orders="name: orders\nexclude_colums: [secret]\n")
    with pytest.raises(LayerError) as caught:
        compile_query(layer, parse_query({"measures": ["orders.row_count"]}), dialect="duckdb")
    assert "`exclude_colums` is not a key of a source" in caught.value.message
    assert "semantic-layer/wh/orders.yaml:2" in caught.value.message
    assert caught.value.hint == "Did you mean `exclude_columns`?"
