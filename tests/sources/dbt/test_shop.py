"""The sample project as a whole: what lands, and whether the numbers are right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ktx.semantic.check import check_layer
from ktx.sources.source import Interpretation, Target
from sampleprojects.dbt_shop import EXPECTED_BREAKDOWNS, EXPECTED_METRICS, REFUSED_METRICS
from sources.dbt.golden import FILE, shown
from sources.landing import Landed, answer, land

Rows = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def landed(shop: Interpretation, shop_target: Target, tmp_path_factory: pytest.TempPathFactory) -> Landed:
    assert shop_target.catalog is not None
    return land(shop.definitions, shop_target.catalog, tmp_path_factory.mktemp("layer"))


@pytest.fixture(scope="module")
def rows(shop_file: Path) -> Rows:
    connection = duckdb.connect(str(shop_file), read_only=True)
    return lambda sql: connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def homes(shop: Interpretation, landed: Landed) -> dict[str, str]:
    return {measure.name: landed.names[one.name] for one in shop.definitions for measure in one.measures}


def test_a_project_gives_what_the_golden_file_says(shop: Interpretation) -> None:
    assert shown(shop) == FILE.read_text(encoding="utf-8"), (
        "run PYTHONPATH=src:tests python tests/sources/dbt/golden.py, and read the difference"
    )


def test_the_layer_that_lands_has_no_problem(landed: Landed, shop_target: Target) -> None:
    found = check_layer(landed.layer, shop_target.catalog, dialect="duckdb")
    assert [str(one.message) for one in found if one.level != "note"] == []


@pytest.mark.parametrize("metric", sorted(EXPECTED_METRICS))
def test_a_metric_has_the_value_that_hand_written_sql_gives(
    metric: str, landed: Landed, homes: dict[str, str], rows: Rows
) -> None:
    got = answer(landed.layer, {"measures": [f"{homes[metric]}.{metric}"]}, rows)
    assert _normal(got) == _normal(rows(EXPECTED_METRICS[metric]))


@pytest.mark.parametrize(
    "asked", sorted(EXPECTED_BREAKDOWNS, key=str), ids=lambda asked: f"{asked[0]}-by-{asked[1]}"
)
def test_a_metric_by_a_dimension_has_the_values_that_hand_written_sql_gives(
    asked: tuple[str, str, str | None], landed: Landed, homes: dict[str, str], rows: Rows
) -> None:
    metric, field, granularity = asked
    dimension = {"field": field, "granularity": granularity} if granularity else field
    got = answer(landed.layer, {"measures": [f"{homes[metric]}.{metric}"], "dimensions": [dimension]}, rows)
    assert _normal(got) == _normal(rows(EXPECTED_BREAKDOWNS[asked]))


def test_every_metric_lands_or_is_named_with_the_reason(shop: Interpretation) -> None:
    landed = {measure.name for one in shop.definitions for measure in one.measures}
    refused = {
        one.what.removeprefix("metric "): one.reason
        for one in shop.unmapped
        if one.what.startswith("metric ") and "(" not in one.what
    }
    assert refused == REFUSED_METRICS
    helpers = {name for name in landed if "__" in name}
    assert landed - helpers == set(EXPECTED_METRICS)


def test_the_same_snapshot_gives_the_same_value_twice(shop: Interpretation, shop_target: Target) -> None:
    from ktx.sources.dbt.source import DbtSource
    from ktx.sources.tree import Tree
    from sampleprojects.dbt_shop import PROJECT

    source = DbtSource(open_tree=lambda: Tree(root=PROJECT), connection_id="dbt")
    snapshot = source.fetch(emit=lambda _: None)
    assert source.interpret(snapshot, [shop_target]) == shop
    assert [one.digest for one in source.fetch(emit=lambda _: None).documents] == [
        one.digest for one in snapshot.documents
    ]


def _normal(found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    def value(one: Any) -> Any:
        if hasattr(one, "year"):
            return str(one)[:10]
        return one if one is None or isinstance(one, str) else round(float(one), 6)

    return sorted((tuple(map(value, row)) for row in found), key=repr)
