"""What a Looker defines, landed in a layer and asked with the real compiler, against SQL written by hand."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktx.catalog import TableRef
from ktx.events import ignore
from ktx.names import is_page_key
from ktx.sources.definition import Definition
from ktx.sources.evidence import Snapshot
from ktx.sources.looker.source import LookerSource
from ktx.sources.source import Interpretation, MemoryShelf, Target
from landed import ask, land, problems, rows, target_of, values
from sampleprojects import looker_shop as shop


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("looker") / "warehouse.duckdb"
    shop.build_warehouse(path)
    return path


@pytest.fixture(scope="module")
def target(file: Path) -> Target:
    return target_of(file, "warehouse")


@pytest.fixture(scope="module")
def source() -> Iterator[LookerSource]:
    with shop.serve() as server:
        yield LookerSource(
            base_url=server.url,
            client_id=shop.CLIENT_ID,
            client_secret=shop.CLIENT_SECRET,
            connection_mappings=shop.CONNECTIONS,
            connection_id="lk",
            shelf=MemoryShelf(),
            sleep=lambda _: None,
        )


@pytest.fixture(scope="module")
def snapshot(source: LookerSource) -> Snapshot:
    return source.fetch(emit=ignore)


@pytest.fixture(scope="module")
def said(source: LookerSource, snapshot: Snapshot, target: Target) -> Interpretation:
    return source.interpret(snapshot, [target])


def _named(said: Interpretation, name: str) -> Definition:
    return next(one for one in said.definitions if one.name == name)


def test_every_imported_measure_gives_the_value_of_hand_sql(
    said: Interpretation, target: Target, file: Path, tmp_path: Path
) -> None:
    layer = land(tmp_path, said.definitions, target)
    assert problems(layer, target) == []
    assert {name: values(layer, file, name) for name in shop.EXPECTED} == {
        name: rows(file, sql) for name, sql in shop.EXPECTED.items()
    }


def test_no_measure_lands_that_nobody_expects(said: Interpretation) -> None:
    landed = {f"{one.name}.{measure.name}" for one in said.definitions for measure in one.measures}
    assert landed == set(shop.EXPECTED)


def test_measures_split_by_joined_and_computed_dimensions(
    said: Interpretation, target: Target, file: Path, tmp_path: Path
) -> None:
    layer = land(tmp_path, said.definitions, target)
    asked = {
        "customers.full_name": "c.first_name || ' ' || c.last_name",
        "bikes.is_electric": "b.motor_watts > 0",
        "bikes.size_class": "CASE WHEN b.frame_size < 52 THEN 'small' WHEN b.frame_size >= 58 THEN 'large' ELSE 'medium' END",
        "handler.name": "s.name",
        "rentals.due": "r.started_at + INTERVAL 3 DAY",
    }
    for dimension, by_hand in asked.items():
        found = ask(
            layer,
            file,
            {
                "measures": ["rentals.total_fee"],
                "dimensions": [dimension],
                "include_empty": False,
                "limit": None,
            },
        )
        expected = rows(
            file,
            f"SELECT {by_hand}, sum(r.fee) FROM bike.rentals r LEFT JOIN bike.customers c ON c.id = r.customer_id "
            "LEFT JOIN bike.bikes b ON b.id = r.bike_id LEFT JOIN bike.staff s ON s.id = r.customer_id % 7 GROUP BY 1",
        )
        assert sorted(found, key=repr) == sorted(expected, key=repr), dimension


def test_a_view_lands_on_the_table_below_it_whatever_explore_brings_it(said: Interpretation) -> None:
    assert {one.name: str(one.table) for one in said.definitions} == {
        name: f"bike.{name}" for name in ("bikes", "customers", "rentals", "repairs", "staff")
    }
    assert (
        _named(said, "rentals").description == "Every rental of a bicycle. Use it for money and utilisation."
    )
    assert _named(said, "customers").description == "People who rented at least once."
    assert "explore/bikeshop/riders" in _named(said, "customers").evidence


def test_descriptions_go_to_the_physical_column_and_time_is_marked(said: Interpretation) -> None:
    columns = {one.name: one for one in _named(said, "rentals").columns}
    assert columns["started_at"].description == "When the bicycle left the shop."
    assert columns["started_at"].is_time
    assert columns["started_at"].expr is None
    assert {one.name: one.description for one in _named(said, "bikes").columns}[
        "brand_name"
    ] == "Who built the frame."


def test_a_self_join_keeps_its_role(said: Interpretation) -> None:
    (join,) = _named(said, "staff").joins
    assert (join.to, join.alias, join.on) == ("staff", "boss", "staff.boss_id = boss.id")


def test_a_label_that_somebody_wrote_describes_a_measure(said: Interpretation) -> None:
    about = {one.name: one.description for one in _named(said, "rentals").measures}
    assert about["deposit_sum"] == "All deposits"
    assert about["average_fee"] is None


def test_what_cannot_be_said_is_named_once_with_a_reason(said: Interpretation) -> None:
    reasons = {one.what: one.reason for one in said.unmapped}
    assert len(reasons) == len(said.unmapped)
    assert reasons["view tenant"] == reasons["dimension rentals.secret"] == "looker_template_unresolved"
    assert reasons["view facts"] == "derived_table_not_supported"
    assert reasons["explore ledger"] == "no_connection_mapping"
    assert reasons["view gone"] == "no_physical_table"
    assert reasons["measure rentals.running"] == "cumulative_metric_unsupported"
    assert reasons["dimension rentals.ghost"] == reasons["measure rentals.loop_a"] == "unresolved_reference"
    assert (
        reasons["measure rentals.fee_per_bike"]
        == reasons["measure repairs.cost_share"]
        == "expression_not_supported"
    )
    assert "dimension rentals.town" not in reasons, "another explore has the join that it needs"


def test_pages_tell_what_a_folder_shows_and_link_the_measures(said: Interpretation) -> None:
    page = next(one for one in said.pages if one.key == "looker-folder-shared-operations")
    assert "## Board 3 (dashboard)" in page.body
    assert (
        "Fees by month: `{{rentals.started_at}}`, `{{rentals.total_fee}}`, `{{customers.city}}`, `rentals.names`"
        in page.body
    )
    assert "- filter: City on `customers.city`" in page.body
    assert page.connections == ("warehouse",)
    model = next(one for one in said.pages if one.key == "looker-bikeshop")
    assert "- always asks for a filter on `rentals.state` (-cancelled)" in model.body


def test_pages_and_units_only_name_what_exists(said: Interpretation, snapshot: Snapshot) -> None:
    names = {one.name for one in said.definitions}
    names |= {f"{one.name}.{measure.name}" for one in said.definitions for measure in one.measures}
    for page in said.pages:
        assert {one.partition(".")[0] for one in page.definitions} <= names
        assert all(snapshot.document(id_) is not None for id_ in page.evidence)
        assert "[[x]]" not in page.body
    for unit in said.units:
        assert all(snapshot.document(id_) is not None for id_ in (*unit.documents, *unit.context))
    assert len({one.key for one in said.pages}) == len(said.pages)
    assert all(is_page_key(one.key) for one in said.pages)
    assert len({one.key for one in said.units}) == len(said.units)
    assert {unit.is_noisy for unit in said.units if "folder" in unit.key} == {True}


def test_a_table_that_two_places_have_is_not_guessed(
    source: LookerSource, snapshot: Snapshot, target: Target
) -> None:
    assert target.catalog is not None
    twins = tuple(
        dataclasses.replace(one, ref=TableRef(catalog=catalog, schema=one.ref.schema, name=one.ref.name))
        for one in target.catalog.tables
        for catalog in ("a", "b")
    )
    said = source.interpret(
        snapshot, [dataclasses.replace(target, catalog=dataclasses.replace(target.catalog, tables=twins))]
    )
    assert said.definitions == ()
    assert "multiple_table_references" in {one.reason for one in said.unmapped}


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
def test_other_dialects_land_or_say_why_not(
    source: LookerSource, snapshot: Snapshot, target: Target, dialect: str
) -> None:
    said = source.interpret(snapshot, [dataclasses.replace(target, dialect=dialect)])
    landed = {f"{one.name}.{measure.name}" for one in said.definitions for measure in one.measures}
    refused = {one.what.removeprefix("measure ") for one in said.unmapped}
    assert {name for name in shop.EXPECTED if "_measure" not in name} <= landed | refused
    assert len(landed) > 15
