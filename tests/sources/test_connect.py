"""Every kind of context source opens from its block of ktx.yaml, in both spellings of its keys."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ktx.errors import ConfigError
from ktx.project import Project, create_project, source_connection, warehouse_ids
from ktx.sources.connect import open_source, page_limits
from ktx.sources.dbt.source import DbtSource
from ktx.sources.looker.source import LookerSource
from ktx.sources.lookml.source import LookmlSource
from ktx.sources.metabase.source import MetabaseSource
from ktx.sources.metricflow.source import MetricflowSource
from ktx.sources.notion.source import NotionSource
from ktx.sources.source import ContextSource

BLOCKS: dict[str, tuple[type, str, str]] = {
    "dbt folder": (DbtSource, "driver: dbt, source_dir: ../dbt, path: inner", "driver: dbt, sourceDir: ../dbt, path: inner"),
    "dbt repository": (
        DbtSource,
        "driver: dbt, repoUrl: 'https://git.example/dbt.git', branch: dev, auth_token_ref: 'file:token'",
        "driver: dbt, repo_url: 'https://git.example/dbt.git', branch: dev, authToken: 'file:token'",
    ),
    "metricflow": (
        MetricflowSource,
        "driver: metricflow, metricflow: {repoUrl: 'https://git.example/mf.git', path: sl}",
        "driver: metricflow, metricflow: {repo_url: 'https://git.example/mf.git', path: sl}",
    ),
    "lookml": (
        LookmlSource,
        "driver: lookml, repoUrl: 'git@git.example:looker.git', mappings: {expectedLookerConnectionName: duck}",
        "driver: lookml, repo_url: 'git@git.example:looker.git', mappings: {expected_looker_connection_name: duck}",
    ),
    "looker": (
        LookerSource,
        "driver: looker, base_url: 'https://looker.example', client_id: a, client_secret_ref: 'file:token', mappings: {connectionMappings: {duck: warehouse, old: null}}",
        "driver: looker, baseUrl: 'https://looker.example', clientId: a, clientSecretRef: 'file:token', mappings: {connection_mappings: {duck: warehouse, old: null}}",
    ),
    "metabase": (
        MetabaseSource,
        ("driver: metabase, api_url: 'https://mb.example', api_key_ref: 'file:token', network_proxy: 'http://proxy.example:3128', "
        "mappings: {databaseMappings: {'1': warehouse, '2': null}, syncEnabled: {'2': false}, syncMode: ONLY, "
        "selections: {collections: [7], items: [9]}, defaultTagNames: [bi]}"),
        ("driver: metabase, apiUrl: 'https://mb.example', apiKey: 'file:token', networkProxy: 'http://proxy.example:3128', "
        "mappings: {database_mappings: {'1': warehouse, '2': null}, sync_enabled: {'2': false}, sync_mode: ONLY, "
        "selections: {collections: [7], items: [9]}, default_tag_names: [bi]}"),
    ),
    "notion": (
        NotionSource,
        ("driver: notion, auth_token_ref: 'file:token', crawl_mode: selected_roots, root_page_ids: [a], root_database_ids: [b], "
        "root_data_source_ids: [c], max_pages_per_run: 5, max_knowledge_creates_per_run: 3, max_knowledge_updates_per_run: 2"),
        ("driver: notion, authToken: 'file:token', crawlMode: selected_roots, rootPageIds: [a], rootDatabaseIds: [b], "
        "rootDataSourceIds: [c], maxPagesPerRun: 5, maxKnowledgeCreatesPerRun: 3, maxKnowledgeUpdatesPerRun: 2"),
    ),
}  # fmt: skip


@dataclass
class NoShelf:
    def get(self, key: str) -> str | None:
        del key

    def put(self, key: str, text: str) -> None:
        del key, text

    def drop(self, key: str) -> None:
        del key

    def keys(self) -> tuple[str, ...]:
        return ()


def project_with(tmp_path: Path, block: str) -> Project:
    config = f"connections:\n  warehouse: {{driver: duckdb, path: w.duckdb}}\n  tool: {{{block}}}\n"
    project = create_project(tmp_path, config_text=config)
    (tmp_path / "token").write_text("very-secret")
    return project


def opened(project: Project) -> ContextSource:
    return open_source(
        "tool",
        source_connection(project, "tool"),
        project_dir=project.root,
        cache_dir=project.root / "cache",
        shelf=NoShelf(),
        warehouse_ids=warehouse_ids(project),
    )


@pytest.mark.parametrize("kind", BLOCKS)
def test_both_spellings_of_a_block_give_the_same_source(tmp_path: Path, kind: str) -> None:
    wanted, documented, other = BLOCKS[kind]
    seen: list[tuple[object, object]] = []
    for number, block in enumerate((documented, other)):
        project = project_with(tmp_path / str(number), block)
        source = opened(project)
        assert isinstance(source, wanted)
        facts = {
            name: str(value).replace(str(project.root), "")
            for name, value in vars(source).items()
            if name not in ("open_tree", "shelf") and not callable(value)
        }
        seen.append((facts, page_limits(source_connection(project, "tool"))))
    assert seen[0] == seen[1]
    assert kind != "notion" or seen[0][1] == (3, 2)


def test_a_mapping_to_no_database_is_refused_by_name(tmp_path: Path) -> None:
    block = BLOCKS["looker"][1].replace("duck: warehouse", "duck: elsewhere")
    with pytest.raises(ConfigError, match="`elsewhere`") as refused:
        opened(project_with(tmp_path, block))
    assert refused.value.hint == "Databases: `warehouse`."


def test_a_source_without_a_place_says_which_keys_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not say where its files are") as refused:
        opened(project_with(tmp_path, "driver: dbt"))
    assert "`source_dir`" in (refused.value.hint or "")


def test_lookml_without_its_package_names_the_extra(tmp_path: Path) -> None:
    project_with(tmp_path, BLOCKS["lookml"][1])
    program = "import sys; sys.modules['lkml'] = None; from ktx.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "ingest", "tool"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    told = done.stdout + done.stderr
    assert "`lookml` cannot be read here: the package `lkml` is not installed." in told
    assert "pip install 'ktx-context[lookml]'" in told
    assert "Traceback" not in told
