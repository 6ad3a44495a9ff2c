"""A kept layer answers as the files do, and never after they changed."""

from pathlib import Path

import pytest

from ktx.project import Project, open_project
from ktx.semantic.compile import compile_query
from ktx.semantic.load import load_layer
from ktx.semantic.query import parse_query
from ktx.serve.desk import Desk
from ktx.serve.layers import KeptSources

QUESTION = parse_query({"measures": ["orders.n"], "dimensions": ["customers.name"]})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "ktx.yaml").write_text(
        "connections:\n  wh: {driver: duckdb, path: x.duckdb}\n", encoding="utf-8"
    )
    folder = tmp_path / "semantic-layer" / "wh"
    folder.mkdir(parents=True)
    (folder / "orders.yaml").write_text(
        "name: orders\ntable: orders\ngrain: [id]\ncolumns: [{name: id}, {name: customer_id}]\n"
        "measures: [{name: n, expr: count(*)}]\n"
        "joins: [{to: customers, on: orders.customer_id = customers.id, relationship: many_to_one}]\n",
        encoding="utf-8",
    )
    (folder / "customers.yaml").write_text(
        "name: customers\ntable: customers\ngrain: [id]\ncolumns: [{name: id}, {name: name}]\n",
        encoding="utf-8",
    )
    (folder / "bad.yaml").write_text("name: bad\ntable: [x]\n", encoding="utf-8")
    return open_project(tmp_path)


def test_a_second_process_builds_only_the_sources_that_a_question_needs(project: Project) -> None:
    with Desk(project=project) as first:
        before = first.layer("wh")
    (project.semantic_dir / "wh" / "orders.yaml").read_text(encoding="utf-8")
    with Desk(project=project) as second:
        kept = second.layer("wh")
    assert isinstance(kept.sources, KeptSources)
    assert not isinstance(before.sources, KeptSources)
    assert (
        compile_query(kept, QUESTION, dialect="duckdb").sql
        == compile_query(before, QUESTION, dialect="duckdb").sql
    )
    assert dict(kept.sources) == dict(load_layer(project.semantic_dir, "wh").sources)
    assert (kept.findings, kept.broken) == (before.findings, before.broken)


def test_a_changed_file_is_read_again(project: Project) -> None:
    with Desk(project=project) as first:
        first.layer("wh")
    file = project.semantic_dir / "wh" / "orders.yaml"
    file.write_text(
        file.read_text(encoding="utf-8").replace("count(*)", "count(distinct id)"), encoding="utf-8"
    )
    with Desk(project=project) as second:
        measure = second.layer("wh").sources["orders"].measure("n")
    assert measure is not None
    assert measure.expr == "count(distinct id)"


def test_a_layer_in_use_does_not_see_what_is_kept_later(project: Project) -> None:
    with Desk(project=project) as first:
        first.layer("wh")
    with Desk(project=project) as reader:
        old = reader.layer("wh")
        file = project.semantic_dir / "wh" / "orders.yaml"
        file.write_text(file.read_text(encoding="utf-8").replace("count(*)", "count(id)"), encoding="utf-8")
        with Desk(project=project) as writer:
            writer.layer("wh")
        measure = old.sources["orders"].measure("n")
    assert measure is not None
    assert measure.expr == "count(*)"


def test_a_spoilt_cache_costs_time_and_nothing_else(project: Project) -> None:
    project.state_dir.mkdir(exist_ok=True)
    (project.state_dir / "layers.sqlite").write_bytes(
        b"not a database at all, but long enough to look like a file"
    )
    with Desk(project=project) as desk:
        assert sorted(desk.layer("wh").sources) == ["customers", "orders"]
    with Desk(project=project) as desk:
        assert isinstance(desk.layer("wh").sources, KeptSources)


def test_a_link_to_nowhere_does_not_take_the_layer_away(project: Project) -> None:
    (project.semantic_dir / "wh" / "gone.yaml").symlink_to(project.root / "nowhere")
    with Desk(project=project) as desk:
        assert "orders" in desk.layer("wh").sources
