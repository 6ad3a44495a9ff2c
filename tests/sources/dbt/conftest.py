from pathlib import Path

import pytest

from ktx.sources.dbt.source import DbtSource
from ktx.sources.source import Interpretation, Target
from ktx.sources.tree import Tree
from sampleprojects.dbt_shop import PROJECT, build_warehouse
from sources.landing import read_target


@pytest.fixture(scope="session")
def shop_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample project's warehouse, a DuckDB file."""
    file = tmp_path_factory.mktemp("shop") / "shop.duckdb"
    build_warehouse(file)
    return file


@pytest.fixture(scope="session")
def shop_target(shop_file: Path) -> Target:
    """The sample project's warehouse, as scanned."""
    return read_target(shop_file)


@pytest.fixture(scope="session")
def shop(shop_target: Target) -> Interpretation:
    """What the sample project says, read from its files."""
    source = DbtSource(open_tree=lambda: Tree(root=PROJECT), connection_id="dbt")
    return source.interpret(source.fetch(emit=lambda _: None), [shop_target])
