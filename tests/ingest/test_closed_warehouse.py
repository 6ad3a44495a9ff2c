"""A source is ingested while its warehouse cannot be opened: nothing that is there is taken back or changed."""

import shutil
from pathlib import Path

from ktx.ingest.run import ingest_project
from ktx.project import create_project
from sampleprojects.dbt_shop import build_warehouse, write_project

CONFIG = """\
connections:
  shop: {driver: duckdb, path: ../shop.duckdb}
  shop_dbt: {driver: dbt, source_dir: ../dbt}
"""


def texts(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("semantic-layer", "wiki")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def test_a_warehouse_that_is_gone_for_a_day_takes_nothing_with_it(tmp_path: Path) -> None:
    write_project(tmp_path / "dbt")
    build_warehouse(tmp_path / "shop.duckdb")
    project = create_project(tmp_path / "project", config_text=CONFIG)
    assert ingest_project(project).exit_code == 0
    before = texts(project.root)
    assert any(b"source:" in text for name, text in before.items() if name.startswith("wiki/"))
    (tmp_path / "shop.duckdb").rename(tmp_path / "away.duckdb")
    for state in (False, True):
        if state:
            shutil.rmtree(project.state_dir)

        (report,) = ingest_project(project, ["shop_dbt"]).sources

        assert texts(project.root) == before
        assert report.commit is None
        codes = {finding.code for finding in report.findings}
        assert ("warehouse-closed" in codes) == state
