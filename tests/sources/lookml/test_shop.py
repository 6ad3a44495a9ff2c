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
from ktx.sources.repo import open_folder
from ktx.sources.source import Interpretation, Target
from ktx.warehouse.connect import open_warehouse
from sampleprojects import lookml_shop
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
    compiled = compile_query(layer, parse_query(ask), dialect="duckdb")
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
