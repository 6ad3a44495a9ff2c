"""Whole ingests without a model, of whole projects of other tools: what lands, what it says on the data, and that it rests."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from ingest.importers import Sample, commit, differences, equal, files, git, repository, rows, sample
from ktx.events import ignore
from ktx.ingest.run import ingest_project, open_given
from ktx.ingest.runs import open_runs
from ktx.ingest.source_report import SourceReport
from ktx.ingest.sources import ingest_source
from ktx.project import Project, create_project, ensure_state_dir, open_project
from ktx.semantic.compile import compile_query
from ktx.semantic.load import load_layer
from ktx.semantic.query import parse_query
from ktx.sources.notion.source import NotionSource
from metabaseserver.server import KEY
from sampleprojects import metabase_shop, notion_team

GOLDEN = Path(__file__).parent / "golden"
KINDS = ("dbt", "dbt_manifest", "lookml", "metabase", "looker")
SHOWN = {
    "dbt": (
        "semantic-layer/warehouse/fct_orders.yaml",
        "semantic-layer/warehouse/fct_order_items.yaml",
        "wiki/global/",
    ),
    "lookml": ("semantic-layer/warehouse/orders.yaml", "wiki/global/looker-explore-shop-orders.md"),
    "looker": ("semantic-layer/warehouse/rentals.yaml",),
    "metabase": (
        "semantic-layer/warehouse/order_items.yaml",
        "semantic-layer/warehouse/active_customers.yaml",
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def landed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    with sample(request.param, tmp_path_factory.mktemp(request.param) / "x") as made:
        report = made.ingest()
        assert report.exit_code == 0, [one.error for one in report.sources]
        yield made


def kind_of(made: Sample) -> str:
    return made.project.root.parent.parent.name.rstrip("0123456789")


def test_every_metric_lands_and_gives_the_number_of_hand_written_sql(landed: Sample) -> None:
    assert differences(landed) == {}


def test_a_run_is_one_commit_that_names_its_source_and_run(landed: Sample) -> None:
    assert git(landed.project.root, "log", "--format=%s").splitlines()[1:] == [
        git(landed.project.root, "log", "--format=%s", "-1", "--skip=1").strip(),
        "Make a ktx project",
    ]
    assert (
        git(landed.project.root, "log", "-1", "--format=%(trailers:key=Ktx-Source,valueonly)").strip()
        == "tool"
    )
    assert git(landed.project.root, "log", "-1", "--format=%(trailers:key=Ktx-Run,valueonly)").strip()
    assert git(landed.project.root, "status", "--short").strip() == ""


def test_the_tree_is_as_expected(landed: Sample) -> None:
    kind = kind_of(landed).removesuffix("_manifest")
    found = {name: text for name, text in files(landed.project).items() if "/_schema/" not in name}
    shown = {"tree.txt": "".join(f"{name}\n" for name in found).encode()}
    for wanted in SHOWN[kind]:
        name = next(name for name in found if name.startswith(wanted))
        shown[name.replace("/", "__")] = found[name]
    folder = GOLDEN / kind
    if os.environ.get("KTX_WRITE_GOLDEN"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in shown.items():
            (folder / name).write_bytes(text)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == shown


@pytest.mark.parametrize("words", [("check",), ("sl", "validate")], ids=" ".join)
def test_checks_are_clean_afterwards(landed: Sample, words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ktx", *words, "--json"],
        cwd=landed.project.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert '"error"' not in json.dumps(
        [one.get("level") for one in json.loads(done.stdout).get("findings", [])]
    )


def test_a_second_run_writes_nothing_and_commits_nothing(landed: Sample) -> None:
    before, head = files(landed.project), git(landed.project.root, "rev-parse", "HEAD")
    report = landed.ingest()
    assert report.exit_code == 0
    assert files(landed.project) == before
    assert git(landed.project.root, "rev-parse", "HEAD") == head
    assert [one.commit for one in report.sources] == [None]
    assert not any(
        change.effect in ("added", "changed", "removed") for one in report.sources for change in one.changes
    )


def test_one_changed_model_file_changes_its_own_artifact(tmp_path: Path) -> None:
    with sample("lookml", tmp_path / "x") as made:
        made.ingest()
        before = files(made.project)
        path = next((tmp_path / "x" / "tool").rglob("shipments.view.lkml"))
        path.write_text(
            path.read_text().replace("weight_g > 2000", "weight_g > 2500").replace(">2000", ">2500")
        )
        assert "measure: count" in path.read_text()
        path.write_text(path.read_text().replace("measure: count", "measure: number_of_shipments", 1))
        commit(tmp_path / "x" / "tool", "rename")
        report = made.report()
        after = files(made.project)
        assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == {
            "semantic-layer/warehouse/shipments.yaml"
        }
        assert report.files == ("semantic-layer/warehouse/shipments.yaml",)
        names = [one.name for one in made.layer().sources["shipments"].measures]
        assert "number_of_shipments" in names
        assert "count" not in names


DBT = {
    "dbt_project.yml": "name: small\nversion: '1'\nmodel-paths: [models]\n",
    "models/orders.sql": "select 1",
    "models/orders.yml": """\
models:
  - name: orders
    description: Orders as finance counts them.
    config: {schema: shop}
    columns:
      - {name: id, tests: [not_null, unique]}
semantic_models:
  - name: orders
    model: ref('orders')
    defaults: {agg_time_dimension: created_at}
    entities: [{name: order, type: primary, expr: id}]
    dimensions: [{name: created_at, type: time, type_params: {time_granularity: day}}]
    measures:
      - {name: total_sum, agg: sum, expr: total}
      - {name: number_of_orders, agg: count, expr: "1"}
metrics:
  - {name: revenue, label: Revenue, type: simple, type_params: {measure: total_sum}}
  - {name: number_of_orders, label: N, type: simple, type_params: {measure: number_of_orders}}
""",
}
LOOKML = {
    "small.model.lkml": 'connection: "duck"\ninclude: "*.view.lkml"\nexplore: orders {}\n',
    "orders.view.lkml": """\
view: orders {
  sql_table_name: shop.orders ;;
  dimension: id { primary_key: yes type: number sql: ${TABLE}.id ;; }
  measure: revenue { type: sum sql: ${TABLE}.total - ${TABLE}.discount ;; }
  measure: orders { type: count }
}
""",
}


def write(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    "order", [("dbt", "lookml", "metabase"), ("metabase", "lookml", "dbt")], ids="-".join
)
def test_tools_that_contradict_each_other_land_side_by_side_and_rest(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    write(tmp_path / "dbt", DBT)
    write(tmp_path / "lookml", LOOKML)
    repository(tmp_path / "lookml")
    metabase_shop.build_warehouse(tmp_path / "data.duckdb")
    (tmp_path / "key").write_text(KEY)
    with metabase_shop.serve() as server:
        blocks = {
            "dbt": "  dbt: {driver: dbt, source_dir: ../dbt}\n",
            "lookml": f"  lookml: {{driver: lookml, repoUrl: 'file://{tmp_path}/lookml'}}\n",
            "metabase": f"  metabase: {{driver: metabase, api_url: '{server.url}', api_key_ref: 'file:{tmp_path}/key', "
            "mappings: {databaseMappings: {'1': warehouse, '2': null, '3': null, '4': null, '5': null}}}\n",
        }
        config = "connections:\n  warehouse: {driver: duckdb, path: ../data.duckdb}\n"
        project = create_project(tmp_path / "project", config_text=config + "".join(blocks.values()))
        ingest_project(open_project(project.root), ("warehouse",))
        found = [
            finding
            for source in order
            for report in ingest_project(open_project(project.root), (source,)).sources
            for finding in report.findings
            if report.status == "done"
        ]
        layer = load_layer(project.semantic_dir, "warehouse")
        before = files(project)
        for source in (*order, *reversed(order)):
            (report,) = ingest_project(open_project(project.root), (source,)).sources
            assert report.status == "done", report.error
            assert files(project) == before, source
    measures = {one.name for one in layer.sources["orders"].measures}
    others = {f"revenue_{source}" for source in order[1:]}
    assert {"revenue", *others} <= measures
    wanted = {
        "dbt": "SELECT sum(total) FROM shop.orders",
        "lookml": "SELECT sum(total - discount) FROM shop.orders",
        "metabase": "SELECT sum(total) FROM shop.orders WHERE status = 'paid'",
    }
    for at, source in enumerate(order):
        name = "revenue" if at == 0 else f"revenue_{source}"
        sql = compile_query(layer, parse_query({"measures": [f"orders.{name}"]}), dialect="duckdb").sql
        assert equal(rows(tmp_path / "data.duckdb", sql), rows(tmp_path / "data.duckdb", wanted[source]))
    assert sum(one.code == "contradiction" for one in found) == 2
    page = (project.wiki_dir / "global" / "conflict-orders-revenue.md").read_text()
    for name in ("revenue", *others):
        assert f"`orders.{name}`" in page
        assert f"- warehouse/orders.{name}\n" in page


@pytest.fixture
def small(tmp_path: Path) -> Project:
    """One dbt model with metrics on one table, ingested once."""
    write(tmp_path / "dbt", DBT)
    metabase_shop.build_warehouse(tmp_path / "data.duckdb")
    config = "connections:\n  warehouse: {driver: duckdb, path: ../data.duckdb}\n  dbt: {driver: dbt, source_dir: ../dbt}\n"
    project = create_project(tmp_path / "project", config_text=config)
    assert ingest_project(open_project(project.root)).exit_code == 0
    return project


def again(project: Project) -> SourceReport:
    (report,) = ingest_project(open_project(project.root), ("dbt",)).sources
    assert report.status == "done", report.error
    return report


def says_otherwise(project: Project) -> None:
    """Let dbt change every text and definition."""
    path = project.root.parent / "dbt" / "models" / "orders.yml"
    path.write_text(
        path.read_text().replace("finance counts", "sales counts").replace("expr: total}", "expr: total * 2}")
    )


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_source_file_that_a_person_deleted_stays_deleted(small: Project, is_committed: bool) -> None:
    path = small.semantic_dir / "warehouse" / "orders.yaml"
    path.unlink()
    if is_committed:
        commit(small.root, "remove")
    says_otherwise(small)
    for _ in range(2):
        report = again(small)
        assert not path.exists()
        assert report.commit is None
        assert "`warehouse/orders` was deleted by a person and stays away." in {
            one.message for one in report.findings
        }


@pytest.mark.parametrize(
    "content",
    [
        b"name: orders\nmeasures: [\n",
        "name: orders\ndescriptions: {user: Gr\u00f6\u00dfe}\n".encode("latin-1"),
        b"name: orders\nmeasures: " + b"[" * 60_000,
        b"- not a source\n",
        b"",
    ],
)
def test_a_source_file_that_a_person_broke_is_named_and_left_byte_for_byte(
    small: Project, content: bytes
) -> None:
    path = small.semantic_dir / "warehouse" / "orders.yaml"
    path.write_bytes(content)
    says_otherwise(small)
    report = again(small)
    assert path.read_bytes() == content
    assert report.commit is None
    assert any("`warehouse/orders`" in one.detail for one in report.unmapped)
    assert any("It is left as it is." in one.detail for one in report.unmapped)


def test_a_broken_file_of_a_person_changes_nothing_that_refers_to_it(tmp_path: Path) -> None:
    with sample("lookml", tmp_path / "x") as made:
        made.ingest()
        before = files(made.project)
        path = made.project.semantic_dir / "warehouse" / "orders.yaml"
        path.write_text("name: [")
        report = made.report()
        assert report.commit is None
        assert files(made.project) == {**before, "semantic-layer/warehouse/orders.yaml": b"name: ["}


def test_a_persons_uncommitted_edit_stays_theirs_in_the_file_and_out_of_the_commit(small: Project) -> None:
    path = small.semantic_dir / "warehouse" / "orders.yaml"
    text = path.read_text().replace("name: orders\n", "name: orders  # mine\n", 1)
    text = text.replace("measures:\n", "measures:\n  - name: mine\n    expr: max(total)\n", 1)
    path.write_text(text)
    says_otherwise(small)
    report = again(small)
    now = path.read_text()
    assert "# mine" in now
    assert "name: mine" in now
    assert "sales counts" in now
    assert report.commit is not None
    committed = git(small.root, "show", "HEAD:semantic-layer/warehouse/orders.yaml")
    assert "sales counts" in committed
    assert "mine" not in committed
    assert git(small.root, "status", "--short").split() == ["M", "semantic-layer/warehouse/orders.yaml"]
    assert again(small).commit is None


def test_what_dbt_no_longer_says_goes_and_a_missing_project_takes_nothing_along(small: Project) -> None:
    path = small.root.parent / "dbt" / "models" / "orders.yml"
    before = files(small)
    kept = path.read_text()
    (small.root.parent / "dbt").rename(small.root.parent / "away")
    (report,) = ingest_project(open_project(small.root), ("dbt",)).sources
    assert report.status == "failed"
    assert files(small) == before
    (small.root.parent / "away").rename(small.root.parent / "dbt")
    path.write_text(kept.partition("  - {name: number_of_orders, label")[0])
    again(small)
    names = {one.name for one in load_layer(small.semantic_dir, "warehouse").sources["orders"].measures}
    assert "revenue" in names
    path.write_text(kept)
    again(small)
    assert files(small) == before


def test_notion_lands_as_pages_within_its_limits_and_rests(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-of-notion")
    config = (
        "connections:\n"
        f"  team: {{driver: notion, auth_token_ref: 'file:{tmp_path}/token', crawl_mode: all_accessible, max_knowledge_creates_per_run: 40}}\n"
    )
    project = create_project(tmp_path / "project", config_text=config)
    with notion_team.serve() as server, open_runs(ensure_state_dir(project)) as store:
        given = open_given(project, "team", store)
        source = replace(
            cast("NotionSource", given.source),
            base_url=server.url,
            auth_token=server.token,
            sleep=lambda _: None,
        )
        given = replace(given, source=source)
        counts: list[int] = []
        for _ in range(4):
            report = ingest_source(project, given, store, emit=ignore)
            assert report.status == "done", report.error
            counts.append(len(list((project.wiki_dir / "global").iterdir())))
        assert counts[0] == 40
        assert counts[0] < counts[1] <= 80
        assert counts[2] == counts[3]
        assert report.commit is None
    done = subprocess.run(
        [sys.executable, "-m", "ktx", "check", "--json"],
        cwd=project.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    texts = {path.stem: path.read_text() for path in (project.wiki_dir / "global").iterdir()}
    assert any("Net revenue" in text for text in texts.values())
    assert not any("javascript:" in text or "Salaries" in text for text in texts.values())
