"""What dbt wrote about a project, beside its files and instead of them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ktx.sources.dbt.source import DbtSource
from ktx.sources.dbt_project.read import read_project
from ktx.sources.evidence import Snapshot
from ktx.sources.source import Interpretation, Target
from ktx.sources.tree import Tree
from sampleprojects.dbt_manifest import write_artifacts
from sampleprojects.dbt_shop import write_project


def fetch(folder: Path) -> tuple[DbtSource, Snapshot]:
    source = DbtSource(open_tree=lambda: Tree(root=folder), connection_id="dbt")
    return source, source.fetch(emit=lambda _: None)


@pytest.mark.parametrize("version", [7, 12])
def test_a_manifest_gives_the_same_as_the_files(
    version: int, tmp_path: Path, shop: Interpretation, shop_target: Target
) -> None:
    write_artifacts(write_project(tmp_path), version=version)
    source, snapshot = fetch(tmp_path)
    assert read_project(snapshot).uses_manifest
    got = source.interpret(snapshot, [shop_target])
    assert {one.name: one for one in got.definitions} == {one.name: one for one in shop.definitions}
    assert got.pages == shop.pages
    assert got.units == shop.units
    gone = {one.what for one in shop.unmapped} - {one.what for one in got.unmapped}
    assert gone == (set() if version > 9 else {"saved query visits_by_device"})


def test_a_manifest_alone_is_enough_for_structure(
    tmp_path: Path, shop: Interpretation, shop_target: Target
) -> None:
    whole = write_project(tmp_path / "whole", has_manifest=True)
    alone = tmp_path / "alone"
    shutil.copytree(whole / "target", alone / "target")
    source, snapshot = fetch(alone)
    got = source.interpret(snapshot, [shop_target])
    assert {one.name: one.measures and len(one.measures) for one in got.definitions} == {
        one.name: one.measures and len(one.measures) for one in shop.definitions
    }
    assert {path for one in got.definitions for path in one.evidence} == {"target/manifest.json"}


@pytest.mark.parametrize(
    ("path", "old", "new", "reason"),
    [
        ("models/marts/core/fct_orders.sql", "coalesce(t.order_amount, 0)", "t.order_amount", "has changed since"),
        ("models/marts/core/_core__models.yml", "Lines of orders.", "Lines.", "descriptions of `fct_order_items` differ"),
        ("models/marts/core/_core__models.yml", "- name: line_cost", "- name: line_value", "columns of `fct_order_items` differ"),
        ("models/marts/core/_core__models.yml", "- not_null\n          - accepted_values", "- accepted_values", "tests of `fct_orders`"),
        ("models/marts/core/_core__metrics.yml", "- name: lamp_units", "- name: lamps_sold", "only in the files"),
    ],
)  # fmt: skip
def test_a_manifest_older_than_the_files_is_not_believed(
    path: str, old: str, new: str, reason: str, tmp_path: Path, shop_target: Target
) -> None:
    write_project(tmp_path, has_manifest=True)
    file = tmp_path / path
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    source, snapshot = fetch(tmp_path)
    assert reason.split()[-1] in " ".join(snapshot.notes)
    assert not read_project(snapshot).uses_manifest
    got = source.interpret(snapshot, [shop_target])
    assert any(new in repr(one) for one in (*got.definitions, *got.units)) or new in file.read_text()


def test_a_deleted_model_is_gone_although_the_manifest_still_has_it(
    tmp_path: Path, shop_target: Target
) -> None:
    write_project(tmp_path, has_manifest=True)
    (tmp_path / "models/marts/support/rpt_agent_load.sql").unlink()
    source, snapshot = fetch(tmp_path)
    assert "`model.lumen.rpt_agent_load` is only in the manifest" in snapshot.notes[0]
    names = {one.name for one in source.interpret(snapshot, [shop_target]).definitions}
    assert "rpt_agent_load" not in names
    assert "fct_tickets" in names


def test_another_run_of_dbt_over_the_same_project_changes_no_digest(tmp_path: Path) -> None:
    write_project(tmp_path, has_manifest=True)
    before = {one.id: one.digest for one in fetch(tmp_path)[1].documents}
    file = tmp_path / "target/manifest.json"
    manifest = json.loads(file.read_text())
    manifest["metadata"] |= {
        "generated_at": "2031-01-01T00:00:00Z",
        "invocation_id": "other",
        "dbt_version": "1.10.0",
    }
    for node in manifest["nodes"].values():
        node["created_at"] = 1.0
    file.write_text(json.dumps(manifest))
    assert {one.id: one.digest for one in fetch(tmp_path)[1].documents} == before


def test_unknown_keys_of_later_manifests_do_not_matter(
    tmp_path: Path, shop: Interpretation, shop_target: Target
) -> None:
    write_project(tmp_path, has_manifest=True)
    file = tmp_path / "target/manifest.json"
    manifest = json.loads(file.read_text())
    manifest["functions"] = {"function.lumen.f": {"resource_type": "function"}}
    for part in ("nodes", "sources", "metrics", "semantic_models", "exposures"):
        for entry in manifest[part].values():
            entry["from_the_future"] = [{"a": 1}]
    manifest["metadata"]["dbt_schema_version"] = "https://schemas.getdbt.com/dbt/manifest/v20.json"
    file.write_text(json.dumps(manifest))
    source, snapshot = fetch(tmp_path)
    assert source.interpret(snapshot, [shop_target]).definitions == shop.definitions


def test_a_manifest_in_the_configured_target_path_is_found(tmp_path: Path) -> None:
    write_project(tmp_path, has_manifest=True)
    (tmp_path / "target").rename(tmp_path / "build")
    project = tmp_path / "dbt_project.yml"
    project.write_text(project.read_text().replace('target-path: "target"', "target-path: build"))
    assert read_project(fetch(tmp_path)[1]).uses_manifest


def test_a_catalog_tells_the_schema_that_files_cannot(tmp_path: Path, shop_target: Target) -> None:
    write_project(tmp_path, has_manifest=True)
    for name in ("manifest.json", "semantic_manifest.json"):
        (tmp_path / "target" / name).unlink()
    relation = read_project(fetch(tmp_path)[1]).project.by_ref["fct_orders"].relation
    assert (relation.database, relation.schema, relation.name) == ("lumen", "analytics", "fct_orders")


@pytest.mark.parametrize(
    "broken", ["{", "[1]", "null", '{"nodes": [1, 2]}', '{"nodes": {"a": 3}, "metrics": "x"}', "[" * 100_000]
)
def test_a_broken_manifest_is_named_or_passed_over(broken: str, tmp_path: Path, shop_target: Target) -> None:
    write_project(tmp_path)
    (tmp_path / "target").mkdir()
    (tmp_path / "target/manifest.json").write_text(broken)
    source, snapshot = fetch(tmp_path)
    assert snapshot.unread or snapshot.notes
    assert snapshot.is_complete == (not snapshot.unread)
    names = {one.name for one in source.interpret(snapshot, [shop_target]).definitions}
    assert "fct_orders" in names


def test_nodes_of_packages_are_not_taken(shop_target: Target, tmp_path: Path) -> None:
    write_project(tmp_path, has_manifest=True)
    _, snapshot = fetch(tmp_path)
    manifest: Any = snapshot.document("target/manifest.json")
    assert "model.dbt_utils.helper" in manifest.data["nodes"]
    assert "model.dbt_utils.helper" not in read_project(snapshot).project.by_id
