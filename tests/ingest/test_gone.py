"""What cannot be read for a day is not gone: nothing is evicted before a source says by itself, and whole, that it is."""

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktx.ingest.pipeline import ingest
from ktx.ingest.runs import open_runs
from ktx.ingest.source_report import SourceReport
from ktx.ingest.sources import ingest_source
from ktx.ingest.work import Given
from ktx.project import Project, create_project, ensure_state_dir, project_lock
from ktx.sources.metabase.source import MetabaseSource
from ktx.sources.notion.source import NotionSource
from ktx.sources.source import ContextSource, MemoryShelf
from loopback import Loopback
from notionserver.server import Fault, NotionServer
from sampleprojects import metabase_shop, notion_team


def told(project: Project, source: ContextSource, source_id: str) -> SourceReport:
    given = Given(source_id=source_id, driver=source_id, source=source)
    with project_lock(project), open_runs(ensure_state_dir(project)) as store:
        return ingest_source(project, given, store, emit=lambda _: None)


def git(project: Project, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=project.root, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def metabase() -> Iterator[Loopback]:
    with metabase_shop.serve() as server:
        yield server


@pytest.fixture
def notion() -> Iterator[NotionServer]:
    with notion_team.serve() as server:
        yield server


def metabase_source(server: Loopback) -> MetabaseSource:
    return MetabaseSource(
        api_url=server.url,
        api_key=metabase_shop.KEY,
        database_mappings={"1": "warehouse", "2": "warehouse", "3": None, "4": None, "5": "warehouse"},
        sync_enabled=metabase_shop.ENABLED,
        connection_id="metabase",
        shelf=MemoryShelf(),
        sleep=lambda _: None,
    )


def notion_source(server: NotionServer) -> NotionSource:
    return NotionSource(
        connection_id="notion",
        auth_token=server.token,
        base_url=server.url,
        crawl_mode="selected_roots",
        root_page_ids=(notion_team.HOME,),
        sleep=lambda _: None,
    )


def page_saying(project: Project, words: str) -> Path:
    (found,) = (file for file in (project.wiki_dir / "global").glob("*.md") if words in file.read_text())
    return found


def test_a_metabase_that_fails_takes_nothing_away(tmp_path: Path, metabase: Loopback) -> None:
    metabase_shop.build_warehouse(tmp_path / "warehouse.duckdb")
    config = "connections:\n  warehouse: {driver: duckdb, path: ../warehouse.duckdb}\nscan: {relationships: {enabled: false}}\n"
    project = create_project(tmp_path / "project", config_text=config)
    ingest(project, ["warehouse"])
    first = told(project, metabase_source(metabase), "metabase")
    assert len(first.changes) > 20
    head = git(project, "rev-parse", "HEAD")

    metabase.fail(".", "500", always=True)
    failed = told(project, metabase_source(metabase), "metabase")
    assert (failed.status, failed.exit_code, failed.commit) == ("failed", 3, None)

    metabase.heal()
    metabase.fail("/api/(card|collection|dashboard)", "500", always=True)
    partly = told(project, metabase_source(metabase), "metabase")
    assert partly.status == "failed" or not partly.is_complete
    assert git(project, "rev-parse", "HEAD") == head

    metabase.heal()
    again = told(project, metabase_source(metabase), "metabase")
    assert (again.status, again.commit) == ("done", None)
    assert git(project, "rev-parse", "HEAD") == head
    assert git(project, "status", "--porcelain") == ""


def test_pages_that_notion_does_not_give_stay_and_a_page_in_its_trash_goes(
    tmp_path: Path, notion: NotionServer
) -> None:
    sqlite3.connect(tmp_path / "shop.sqlite").close()
    config = "connections:\n  shop: {driver: sqlite, path: ../shop.sqlite}\n"
    project = create_project(tmp_path / "project", config_text=config)
    first = told(project, notion_source(notion), "notion")
    pages = {file.name for file in (project.wiki_dir / "global").glob("*.md")}
    assert len(pages) > 40
    assert first.is_complete, (first.notes, first.unread)
    head = git(project, "rev-parse", "HEAD")

    handbook = notion_team.HANDBOOK.replace("-", "")
    notion.faults.append(Fault(where=f"blocks/.*{handbook[:8]}.*/children", kind="500", times=10_000))
    partial = told(project, notion_source(notion), "notion")
    assert not partial.is_complete
    assert git(project, "rev-parse", "HEAD") == head

    notion.faults.clear()
    notion.faults.append(Fault(where=".", kind="500", times=10_000))
    failed = told(project, notion_source(notion), "notion")
    assert (failed.status, failed.commit) == ("failed", None)
    assert git(project, "rev-parse", "HEAD") == head

    notion.faults.clear()
    doomed = [page for page in notion.workspace.pages.values() if page.title in ("VAT", "Currencies")]
    assert len(doomed) == 2
    edited, vat = (
        page_saying(project, "Everything is in NOK"),
        page_saying(project, "Amounts in reports are without VAT"),
    )
    edited.write_text(edited.read_text().replace("Everything is in NOK", "Nearly everything is in NOK"))
    for page in doomed:
        page.in_trash = True
    last = told(project, notion_source(notion), "notion")
    left = {file.name for file in (project.wiki_dir / "global").glob("*.md")}
    assert last.is_complete
    assert pages - left == {vat.name}
    assert "Nearly everything" in edited.read_text()
