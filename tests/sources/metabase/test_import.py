"""What a Metabase defines, landed in a layer and asked with the real compiler, against SQL written by hand."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktx.events import ignore
from ktx.names import is_page_key
from ktx.sources.definition import Definition
from ktx.sources.evidence import Snapshot
from ktx.sources.metabase.documents import CardData
from ktx.sources.metabase.source import MetabaseSource
from ktx.sources.source import Interpretation, MemoryShelf, Target
from landed import ask, land, problems, rows, target_of, values
from sampleprojects import metabase_shop as shop


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("metabase")
    shop.build_warehouse(root / "warehouse.duckdb")
    shop.build_web(root / "web.duckdb")
    return root


@pytest.fixture(scope="module")
def targets(folder: Path) -> tuple[Target, Target]:
    return target_of(folder / "warehouse.duckdb", "warehouse"), target_of(folder / "web.duckdb", "web")


@pytest.fixture(scope="module")
def source() -> Iterator[MetabaseSource]:
    with shop.serve() as server:
        yield MetabaseSource(
            api_url=server.url,
            api_key=shop.KEY,
            database_mappings=shop.MAPPINGS,
            sync_enabled=shop.ENABLED,
            tag_names=("metabase",),
            connection_id="mb",
            shelf=MemoryShelf(),
            sleep=lambda _: None,
        )


@pytest.fixture(scope="module")
def snapshot(source: MetabaseSource) -> Snapshot:
    return source.fetch(emit=ignore)


@pytest.fixture(scope="module")
def said(source: MetabaseSource, snapshot: Snapshot, targets: tuple[Target, Target]) -> Interpretation:
    return source.interpret(snapshot, targets)


def _named(said: Interpretation, name: str) -> Definition:
    return next(one for one in said.definitions if one.name == name)


def test_every_imported_measure_gives_the_value_of_hand_sql(
    said: Interpretation, targets: tuple[Target, Target], folder: Path, tmp_path: Path
) -> None:
    for target, expected in zip(targets, (shop.EXPECTED, shop.EXPECTED_WEB), strict=True):
        layer = land(tmp_path, said.definitions, target)
        file = folder / f"{target.connection_id}.duckdb"
        assert problems(layer, target) == []
        assert {name: values(layer, file, name) for name in expected} == {
            name: rows(file, sql) for name, sql in expected.items()
        }


def test_no_measure_lands_that_nobody_expects(said: Interpretation) -> None:
    landed = {f"{one.name}.{measure.name}" for one in said.definitions for measure in one.measures}
    assert landed == {*shop.EXPECTED, *shop.EXPECTED_WEB}


def test_an_imported_measure_splits_by_columns_that_its_foreign_keys_reach(
    said: Interpretation, targets: tuple[Target, Target], folder: Path, tmp_path: Path
) -> None:
    layer, file = land(tmp_path, said.definitions, targets[0]), folder / "warehouse.duckdb"
    found = ask(
        layer, file, {"measures": ["orders.revenue"], "dimensions": ["customers.country"], "limit": None}
    )
    by_hand = rows(
        file,
        "SELECT c.country, sum(CASE WHEN status = 'paid' THEN total END) FROM shop.orders o "
        "LEFT JOIN shop.customers c ON c.id = o.customer_id GROUP BY 1",
    )
    assert sorted(found, key=repr) == sorted(by_hand, key=repr)


def test_a_saved_segment_narrows_a_question_as_its_filter_would(
    said: Interpretation, targets: tuple[Target, Target], folder: Path, tmp_path: Path
) -> None:
    layer, file = land(tmp_path, said.definitions, targets[0]), folder / "warehouse.duckdb"
    found = ask(layer, file, {"measures": ["orders.number_of_orders"], "segments": ["orders.german_buyers"]})
    joined = "shop.orders o JOIN shop.customers c ON c.id = o.customer_id"
    assert found == rows(file, f"SELECT count(*) FROM {joined} WHERE c.country = 'DE'")


def test_a_metric_split_by_month_is_about_that_time(said: Interpretation) -> None:
    revenue = next(one for one in _named(said, "orders").measures if one.name == "revenue")
    assert (revenue.time_dimension, revenue.description) == ("created_at", "Net of returns. See finance.")


def test_what_cannot_be_said_is_named_with_a_reason(said: Interpretation) -> None:
    reasons = {one.evidence: one.reason for one in said.unmapped}
    assert set(reasons) >= shop.UNMAPPED
    assert reasons["card/120"] == "cumulative_metric_unsupported"
    assert reasons["card/204"] == reasons["card/135"] == "unresolved_reference"
    assert reasons["card/208"] == "parse_error"
    assert reasons["database/4"] == "no_connection_mapping"
    assert reasons["table/16"] == "no_physical_table"
    assert reasons["table/21"] == "unresolved_reference"


def test_two_databases_land_on_the_one_connection_that_both_are_mapped_to(said: Interpretation) -> None:
    places = {
        one.name: (one.connection_id, str(one.table)) for one in said.definitions if one.table is not None
    }
    assert places["orders"] == ("warehouse", "shop.orders")
    assert places["tickets"] == ("warehouse", "crm.tickets")
    assert places["sessions"] == ("web", "main.sessions")


def test_a_model_that_is_a_plain_pick_of_a_table_describes_that_table(said: Interpretation) -> None:
    orders = _named(said, "orders")
    about = {one.name: one.description for one in orders.columns}
    assert about["id"] == "The order's number, as on the invoice."
    assert about["total"] == "Gross value in EUR, VAT included."
    assert "card/201" in orders.evidence
    assert _named(said, "products").description == "What we sell."


def test_a_model_of_its_own_becomes_a_query_with_columns_and_grain(said: Interpretation) -> None:
    model = _named(said, "active_customers")
    assert model.sql is not None
    assert "{{" not in model.sql
    assert model.grain == ("customer_id",)
    assert [(one.name, one.kind) for one in model.columns] == [
        ("customer_id", "number"),
        ("country", "string"),
        ("orders_made", "number"),
    ]


def test_a_column_that_metabase_calls_sensitive_is_hidden(said: Interpretation) -> None:
    assert [one.name for one in _named(said, "customers").columns if one.is_hidden] == ["email"]


def test_a_key_that_only_metabase_knows_becomes_the_grain(said: Interpretation) -> None:
    assert _named(said, "products").grain == ("id",)
    assert _named(said, "orders").grain == ()


def test_a_key_carried_into_a_joined_model_counts_only_where_no_row_repeats(
    source: MetabaseSource, snapshot: Snapshot, targets: tuple[Target, Target], said: Interpretation
) -> None:
    assert _named(said, "order_lines").grain == ("id",)
    card = snapshot.document("card/203")
    assert card is not None
    assert isinstance(card.data, CardData)
    products_id = card.data.info.result_metadata[0].model_copy(update={"id": shop.FIELDS["products.id"]})
    info = card.data.info.model_copy(update={"result_metadata": (products_id,)})
    other = dataclasses.replace(card, data=dataclasses.replace(card.data, info=info))
    documents = tuple(other if one.id == card.id else one for one in snapshot.documents)
    again = source.interpret(dataclasses.replace(snapshot, documents=documents), targets)
    assert _named(again, "order_lines").grain == ()


def test_two_keys_to_one_table_become_two_roles(said: Interpretation) -> None:
    joins = [one for one in _named(said, "orders").joins if one.to == "addresses"]
    assert [one.alias for one in joins] == ["billing_address", "shipping_address"]


def test_a_question_equal_to_a_metric_is_not_imported_twice(said: Interpretation) -> None:
    page = next(one for one in said.pages if one.key == "metabase-sales")
    again = page.body.partition("### Revenue again")[2]
    assert again.strip().startswith("Measure: `{{orders.revenue}}`")


def test_pages_hold_titles_tables_and_sql_and_nothing_that_breaks_out(said: Interpretation) -> None:
    page = next(one for one in said.pages if one.key == "metabase-sales")
    assert "Numbers of the sales team." in page.body
    assert "- variable country (text): optional, left out here" in page.body
    assert "WHERE status = 'paid'  AND o.total > 10" in page.body.replace("o.status", "status")
    assert "[[" not in page.body
    assert page.body.count("```") % 2 == 0
    assert "\u202e" not in page.body
    assert "@example.com" not in "".join(one.body for one in said.pages)


def test_pages_and_units_only_name_what_exists(said: Interpretation, snapshot: Snapshot) -> None:
    names = {one.name for one in said.definitions}
    names |= {f"{one.name}.{measure.name}" for one in said.definitions for measure in one.measures}
    for page in said.pages:
        assert is_page_key(page.key)
        assert set(page.definitions) <= names
        assert set(page.refs) <= {one.key for one in said.pages}
        assert all(snapshot.document(id_) is not None for id_ in page.evidence)
    for unit in said.units:
        assert all(snapshot.document(id_) is not None for id_ in (*unit.documents, *unit.context))
        assert sum(len(snapshot.document(id_).text) for id_ in unit.documents) <= 40_000  # type: ignore[union-attr]
    for one in said.definitions:
        assert all(snapshot.document(id_) is not None for id_ in one.evidence)
        assert {join.to for join in one.joins} <= names


def test_the_same_snapshot_gives_the_same_value(
    source: MetabaseSource, snapshot: Snapshot, targets: tuple[Target, Target], said: Interpretation
) -> None:
    assert source.interpret(snapshot, targets) == said


def test_without_a_scan_everything_says_where_it_would_go(source: MetabaseSource, snapshot: Snapshot) -> None:
    said = source.interpret(snapshot, [Target(connection_id="warehouse", dialect="duckdb")])
    assert all(one.sql is not None for one in said.definitions)
    assert {"no_physical_table", "missing_target_table"} <= {one.reason for one in said.unmapped}


@pytest.mark.parametrize(
    "dialect",
    [
        "postgres",
        "mysql",
        "bigquery",
        "snowflake",
        "redshift",
        "clickhouse",
        "tsql",
        "trino",
        "databricks",
        "sqlite",
    ],
)
def test_other_dialects_get_their_own_spelling_or_a_reason(
    source: MetabaseSource, snapshot: Snapshot, targets: tuple[Target, Target], dialect: str
) -> None:
    said = source.interpret(snapshot, [dataclasses.replace(one, dialect=dialect) for one in targets])
    landed = {evidence for one in said.definitions for m in one.measures for evidence in m.evidence}
    refused = {one.evidence for one in said.unmapped}
    assert {f"card/{id_}" for id_ in range(101, 140)} <= landed | refused
    assert len(landed) > 20
