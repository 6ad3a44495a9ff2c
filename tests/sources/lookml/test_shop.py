"""A whole LookML project lands on its warehouse: every measure gives what SQL written by hand gives."""

import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ktx.config.connections import DuckdbConnection
from ktx.events import ignore
from ktx.semantic.check import check_layer
from ktx.semantic.compile import compile_query
from ktx.semantic.query import parse_query
from ktx.semantic.source import Layer
from ktx.sources.evidence import Snapshot
from ktx.sources.lookml.source import LookmlSource
from ktx.sources.repo import open_folder, open_repository
from ktx.sources.source import Interpretation, Target
from ktx.warehouse.connect import open_warehouse
from sampleprojects import lookml_shop
from servers.git import ENV, commit_files
from sources.lookml.landing import layer_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("lookml")
    lookml_shop.write_project(place / "project")
    lookml_shop.build_warehouse(place / "shop.duckdb")
    return place


@pytest.fixture(scope="module")
def target(folder: Path) -> Target:
    connection = DuckdbConnection(driver="duckdb", path="shop.duckdb")
    with open_warehouse("wh", connection, folder) as warehouse:
        return Target(connection_id="wh", dialect="duckdb", catalog=warehouse.read_catalog())


def source(folder: Path) -> LookmlSource:
    return LookmlSource(
        open_tree=lambda: open_folder(folder / "project"),
        connection_id="looker_code",
        warehouse_ids=("wh",),
        expected_looker_connection_name=lookml_shop.LOOKER_CONNECTION,
    )


@pytest.fixture(scope="module")
def snapshot(folder: Path) -> Snapshot:
    return source(folder).fetch(emit=ignore)


@pytest.fixture(scope="module")
def found(folder: Path, snapshot: Snapshot, target: Target) -> Interpretation:
    return source(folder).interpret(snapshot, [target])


@pytest.fixture(scope="module")
def layer(found: Interpretation, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Layer:
    assert target.catalog is not None
    return layer_of(found.definitions, target.catalog, tmp_path_factory.mktemp("layer"))


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(folder / "shop.duckdb"), read_only=True) as connection:
        yield connection


def answered(layer: Layer, database: duckdb.DuckDBPyConnection, **ask: object) -> list[tuple[object, ...]]:
    compiled = compile_query(layer, parse_query({"include_empty": False, **ask}), dialect="duckdb")
    return database.execute(compiled.sql).fetchall()


def test_nothing_that_lands_is_wrong(layer: Layer, target: Target) -> None:
    findings = check_layer(layer, target.catalog, dialect="duckdb")
    assert [finding for finding in findings if finding.level == "error"] == []


@pytest.mark.parametrize("measure", sorted(lookml_shop.EXPECTED))
def test_a_measure_gives_what_sql_by_hand_gives(
    measure: str, layer: Layer, database: duckdb.DuckDBPyConnection
) -> None:
    ((value,),) = answered(layer, database, measures=[measure])
    ((expected,),) = database.execute(lookml_shop.EXPECTED[measure]).fetchall()
    assert expected not in (None, 0)
    assert math.isclose(float(Decimal(str(value))), float(Decimal(str(expected))), rel_tol=1e-9)


def test_every_measure_that_landed_has_an_expected_value(found: Interpretation) -> None:
    landed = {f"{one.name}.{measure.name}" for one in found.definitions for measure in one.measures}
    assert landed == set(lookml_shop.EXPECTED)


def test_what_found_no_place_is_named(found: Interpretation) -> None:
    told = {one.what: one.reason for one in found.unmapped}
    assert told == {
        "access_filter employees.store_id of explore employees": "expression_not_supported",
        "conditionally_filter of explore orders_emea": "expression_not_supported",
        "dimension currency_view of view orders": "looker_template_unresolved",
        "dimension home of view customers": "expression_not_supported",
        "dimension loyalty_points of view orders": "unresolved_reference",
        "dimension_group to_delivery of view orders": "expression_not_supported",
        "field currency of view orders": "looker_template_unresolved",
        "include //acme_blocks/date_comparison.view.lkml": "unresolved_reference",
        "join orders of view shipments": "multiple_table_references",
        "join price_bands of explore order_items": "unresolved_reference",
        "join web_events of explore order_items": "looker_template_unresolved",
        "measure first_order_at of view orders": "expression_not_supported",
        "measure gross_by_customer_key of view orders": "expression_not_supported",
        "measure paid_share_label of view orders": "expression_not_supported",
        "measure running_revenue of view orders": "expression_not_supported",
        "measure statuses of view orders": "expression_not_supported",
        "measure this_week_count of view orders": "expression_not_supported",
        "model marketing_legacy": "no_connection_mapping",
        "required_access_grants of view customers": "expression_not_supported",
        "type of join shipments of explore orders": "expression_not_supported",
        "type of join shipments of explore orders_emea": "expression_not_supported",
        "type of join stores of explore orders_emea": "expression_not_supported",
        "view daily_orders": "derived_table_not_supported",
        "view unused": "unresolved_reference",
        "view web_events": "looker_template_unresolved",
    }


def test_a_measure_is_broken_down_over_joins_aliases_and_computed_columns(
    layer: Layer, database: duckdb.DuckDBPyConnection
) -> None:
    rows = answered(layer, database, measures=["orders.net_revenue"], dimensions=["customers.region"])
    # Orders without a customer stay together in the layer; in Looker they fall under `Other`.
    expected = """SELECT CASE WHEN country_code IN ('DE', 'FR', 'PL') THEN 'EMEA' WHEN country_code = 'US' THEN 'AMER'
        WHEN c.id IS NOT NULL THEN 'Other' END, sum(gross_cents - coalesce(discount_cents, 0)) / 100.0
        FROM retail.orders o LEFT JOIN retail.customers c ON c.id = o.customer_id
        WHERE status IN ('paid', 'shipped', 'delivered') GROUP BY 1"""
    assert {str(name): float(value) for name, value in rows} == pytest.approx(  # type: ignore[arg-type]
        {str(name): float(value) for name, value in database.execute(expected).fetchall()}
    )
    by_parent = answered(
        layer, database, measures=["order_items.units"], dimensions=["parent_categories.name"]
    )
    expected = """SELECT up.name, sum(quantity) FROM retail.order_items i LEFT JOIN retail.products p ON p.id = i.product_id
        LEFT JOIN retail.product_categories c ON c.id = p.category_id
        LEFT JOIN retail.product_categories up ON up.id = c.parent_id GROUP BY 1"""
    assert dict(by_parent) == dict(database.execute(expected).fetchall())
    by_manager = answered(
        layer, database, measures=["employees.headcount"], dimensions=["managers.full_name"]
    )
    expected = """SELECT m.full_name, count(*) FROM retail.employees e LEFT JOIN retail.employees m ON m.id = e.manager_id
        GROUP BY 1"""
    assert set(database.execute(expected).fetchall()) == set(by_manager)


def test_the_filter_that_looker_always_adds_is_a_segment(
    layer: Layer, database: duckdb.DuckDBPyConnection
) -> None:
    ((value,),) = answered(layer, database, measures=["orders.count"], segments=["orders.orders_always"])
    ((expected,),) = database.execute(
        """SELECT count(*) FROM retail.orders o LEFT JOIN retail.customers c ON c.id = o.customer_id
        WHERE status <> 'test' AND email NOT LIKE '%@acme.test'"""
    ).fetchall()
    assert value == expected
    ((value,),) = answered(layer, database, measures=["orders.count"], segments=["orders.orders_default"])
    ((expected,),) = database.execute(
        """SELECT count(*) FROM retail.orders WHERE year(created_at) = 2024 AND coalesce(status, '') <> 'cancelled'"""
    ).fetchall()
    assert value == expected


def test_the_project_says_the_same_from_a_repository(
    folder: Path, found: Interpretation, snapshot: Snapshot, target: Target, tmp_path: Path
) -> None:
    files = {
        str(path.relative_to(folder / "project")): path.read_text()
        for path in (folder / "project").rglob("*.*kml")
    }
    files |= {
        str(path.relative_to(folder / "project")): path.read_text()
        for path in (folder / "project").rglob("*.lookml")
    }
    commit_files(tmp_path / "repository", {f"looker/{path}": text for path, text in files.items()})
    remote = LookmlSource(
        open_tree=lambda: open_repository(
            url=str(tmp_path / "repository"),
            subpath="looker",
            token=None,
            cache_dir=tmp_path / "cache",
            environment=ENV,
        ),
        connection_id="looker_code",
        warehouse_ids=("wh",),
        expected_looker_connection_name=lookml_shop.LOOKER_CONNECTION,
    )
    fetched = remote.fetch(emit=ignore)
    assert [(one.id, one.digest) for one in fetched.documents] == [
        (one.id, one.digest) for one in snapshot.documents
    ]
    assert fetched.is_complete
    assert remote.interpret(fetched, [target]) == found
