"""Notes as work units of one run, on a small shop with a scripted model."""

import re
import sqlite3
from pathlib import Path

from ktx.ingest.curate import Limits
from ktx.ingest.pipeline import ingest
from ktx.ingest.runs import open_runs
from ktx.ingest.source_report import SourceReport
from ktx.ingest.sources import ingest_source
from ktx.ingest.work import Given
from ktx.project import Project, create_project, ensure_state_dir, project_lock
from ktx.sources.source import ContextSource
from ktx.sources.text.source import TextItem, TextSource
from modelserver.server import ModelServer

CONFIG = """\
connections:
  shop: {driver: sqlite, path: ../shop.sqlite}
llm:
  provider: {backend: anthropic, anthropic: {api_key: test-key, base_url: "URL"}}
  models:
    default: claude-sonnet-5-5
    triage: claude-haiku-5-5
ingest:
  workUnits: {maxConcurrency: 4}
  rateLimit: {retry: {maxAttempts: ATTEMPTS, baseDelayMs: 1, maxDelayMs: 5, jitter: false}}
"""


def note_project(folder: Path, server: ModelServer, *, attempts: int = 1) -> Project:
    """A scanned project of one table, whose model is the server's."""
    connection = sqlite3.connect(folder / "shop.sqlite")
    connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, total REAL)")
    connection.commit()
    connection.close()
    config = CONFIG.replace("URL", server.url).replace("ATTEMPTS", str(attempts))
    made = create_project(folder / "project", config_text=config)
    ingest(made, ["shop"])
    return made


def told(
    project: Project, source: ContextSource, *, limits: Limits | None = None, source_id: str = "notes"
) -> SourceReport:
    """Ingest a source as one run."""
    given = Given(source_id=source_id, driver="text", source=source, limits=limits or Limits())
    with project_lock(project), open_runs(ensure_state_dir(project)) as store:
        return ingest_source(project, given, store, emit=lambda _: None)


def notes(**contents: str) -> TextSource:
    """Notes by name, each a unit of its own."""
    items = tuple(
        TextItem(label=name, content=content.encode(), name=f"{name}.md")
        for name, content in contents.items()
    )
    return TextSource(items=items, writable_ids=("shop",))


def page(key: str, body: str, **more: object) -> tuple[str, dict[str, object]]:
    """A call that writes a page."""
    return "write_page", {"key": key, "summary": f"About {key}.", "body": body, **more}


def pages(project: Project) -> set[str]:
    """The keys of the shared pages."""
    return {file.stem for file in (project.wiki_dir / "global").glob("*.md")}


def label(request) -> str:
    """The unit that a request is about."""
    found = re.search(r"Unit: (\w+)", request.prompt_text)
    assert found
    return found.group(1)
