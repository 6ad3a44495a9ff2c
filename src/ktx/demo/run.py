"""`ktx demo`: a warehouse of real data and a dbt project, ingested, and one question that naive SQL answers wrongly."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ktx.demo.warehouse import build_warehouse
from ktx.errors import UsageError
from ktx.events import Emit, StageFinished, StageStarted, ignore
from ktx.files import read_text, write_text
from ktx.ingest.run import ProjectReport, ingest_project
from ktx.project import (
    CONFIG_NAME,
    Project,
    create_project,
    open_project,
    project_repository,
    warehouse_connection,
)
from ktx.semantic.compile import compile_query
from ktx.semantic.load import load_layer
from ktx.semantic.query import parse_query
from ktx.warehouse.connect import open_warehouse
from ktx.warehouse.rows import Rows

CONNECTION = "demo"
_MARK = "# A ktx demo project."
_FILES = Path(__file__).parent / "files"
QUESTION: Mapping[str, object] = {
    "measures": ["order_items.revenue", "refunds.refunded", "order_items.items"],
    "dimensions": ["customers.segment"],
    "include_empty": False,
}
NAIVE_SQL = """\
SELECT c.segment, SUM(i.amount) AS revenue, SUM(r.amount) AS refunded, COUNT(*) AS items
FROM shop.customers AS c
JOIN shop.orders AS o ON o.customer_id = c.id
JOIN shop.order_items AS i ON i.order_id = o.id
LEFT JOIN shop.refunds AS r ON r.order_id = o.id
GROUP BY c.segment
ORDER BY c.segment"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Rows under their headers."""

    headers: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    @classmethod
    def of(cls, found: Rows) -> "Answer":
        """Take what a warehouse gave."""
        return cls(headers=tuple(column.name for column in found.columns), rows=found.rows)


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """What the demo did and showed: the ingest, the question, and its answers by naive and by compiled SQL."""

    root: Path
    is_new: bool
    ingest: ProjectReport
    question: Mapping[str, object]
    compiled_sql: str
    naive_sql: str
    answer: Answer
    naive_answer: Answer


def run_demo(root: Path, *, emit: Emit = ignore) -> DemoReport:
    """Make the demo project in `root`, or take up the one that is there, ingest it and ask the question.

    Raises:
        UsageError: `root` holds something else.
        ConfigError: the demo's packages are not installed.
    """
    is_new = _ensure_place(root)
    warehouse = root / "warehouse.duckdb"
    if not warehouse.exists():
        emit(StageStarted(stage="warehouse"))
        build_warehouse(warehouse)
        emit(StageFinished(stage="warehouse", summary=f"{warehouse.name}, flights of 2013 and a small shop"))
    project = _make(root) if is_new else open_project(root)
    report = ingest_project(project, emit=emit)
    compiled, answer, naive = _ask(project)
    return DemoReport(
        root=root,
        is_new=is_new,
        ingest=report,
        question=QUESTION,
        compiled_sql=compiled,
        naive_sql=NAIVE_SQL,
        answer=answer,
        naive_answer=naive,
    )


def _ensure_place(root: Path) -> bool:
    """Tell whether the demo is new here."""
    config = root / CONFIG_NAME
    if config.is_file() and read_text(config).startswith(_MARK):
        return False
    leftovers = (
        [path.name for path in root.iterdir() if path.name != "warehouse.duckdb"] if root.is_dir() else []
    )
    if root.exists() and (not root.is_dir() or leftovers):
        raise UsageError(
            f"`{root}` is not empty and not a ktx demo.",
            hint="Name a new folder: ktx demo my-demo",
        )
    return True


def _make(root: Path) -> Project:
    write_text(root / ".gitignore", read_text(_FILES / "gitignore"))
    for folder in ("semantic-layer", "wiki", "dbt", "notes"):
        for path in sorted((_FILES / folder).rglob("*.*")):
            write_text(root / path.relative_to(_FILES), read_text(path))
    project = create_project(root, config_text=read_text(_FILES / CONFIG_NAME))
    repository = project_repository(project)
    beside = [root / name for name in (".gitignore", "dbt", "notes")]
    repository.commit(
        beside, "Keep data out of git, and a dbt project in it", author=project.config.storage.git.author
    )
    return project


def _ask(project: Project) -> tuple[str, Answer, Answer]:
    layer = load_layer(project.semantic_dir, CONNECTION)
    with open_warehouse(CONNECTION, warehouse_connection(project, CONNECTION), project.root) as warehouse:
        compiled = compile_query(layer, parse_query(QUESTION), dialect=warehouse.dialect)
        return compiled.sql, Answer.of(warehouse.query(compiled.sql)), Answer.of(warehouse.query(NAIVE_SQL))
