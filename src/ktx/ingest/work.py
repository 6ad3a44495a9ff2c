"""One context source on its way through an ingest: what is given, what the stages have made of it, and what they share."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ktx.catalog import TableRef
from ktx.errors import ConfigError, OutsideError
from ktx.events import Emit
from ktx.findings import Finding
from ktx.ingest import manifests
from ktx.ingest.curate import Limits
from ktx.ingest.draft import Base, Draft, WarehouseFacts
from ktx.ingest.gate import Gated
from ktx.ingest.indexing import INDEX_NAME
from ktx.ingest.judge import Bench
from ktx.ingest.leaks import Secrets, known_secrets
from ktx.ingest.place import Placed
from ktx.ingest.propose import ROLE, UnitResult, UnitRun
from ktx.ingest.reconcile import Settled
from ktx.ingest.runs import RunStore
from ktx.ingest.source_report import StageReport
from ktx.ingest.tools import Surroundings
from ktx.ingest.traces import Trace
from ktx.llm.connect import open_runtime, read_roles
from ktx.llm.models import Role
from ktx.llm.runtime import Runtime
from ktx.project import (
    Project,
    ensure_state_dir,
    project_secrets,
    warehouse_connection,
    warehouse_ids,
)
from ktx.scan.store import open_store
from ktx.search.index import open_index
from ktx.search.reindex import refresh
from ktx.semantic.merge import known_names
from ktx.sources.evidence import Snapshot
from ktx.sources.source import ContextSource, Interpretation
from ktx.warehouse.connect import open_warehouse
from ktx.warehouse.warehouse import Warehouse


@dataclass(frozen=True, kw_only=True)
class Given:
    """A context source ready to be ingested: its name in provenance, what kind it is, and how many pages a run may touch."""

    source_id: str
    driver: str
    source: ContextSource
    limits: Limits = field(default_factory=Limits)
    wants_verbatim: bool = False
    """Whether documents become pages as they are, even where a model could work on them."""
    user_id: str | None = None
    """Whose pages are written; None for pages that everybody shares."""


@dataclass(frozen=True, kw_only=True)
class Diff:
    """Documents since the last run that landed."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int


@dataclass(kw_only=True)
class Work:
    """One source on its way through the stages."""

    project: Project
    given: Given
    store: RunStore
    run_id: str
    emit: Emit
    clock: Callable[[], float]
    warehouses: dict[str, Warehouse]
    base: Base
    tables: Mapping[str, Mapping[TableRef, str]]
    secrets: Secrets
    closed: frozenset[str] = frozenset()
    """Warehouses that cannot be opened now: what a source says about them is not known, so nothing of it is taken back."""
    is_plan: bool = False
    snapshot: Snapshot = field(default_factory=lambda: Snapshot(documents=(), is_complete=False))
    diff: Diff = field(default_factory=lambda: Diff(added=(), changed=(), removed=(), unchanged=0))
    meaning: Interpretation = field(default_factory=Interpretation)
    placed: Placed = field(default_factory=lambda: Placed(changes=(), unmapped=(), names={}))
    start: Draft | None = None
    units: tuple[UnitResult, ...] = ()
    settled: Settled = field(default_factory=lambda: Settled(changes=()))
    gated: Gated | None = None
    around: Surroundings | None = None
    trace: Trace | None = None
    findings: list[Finding] = field(default_factory=list[Finding])
    stages: list[StageReport] = field(default_factory=list[StageReport])
    files: tuple[str, ...] = ()
    uncommitted: tuple[str, ...] = ()
    commit: str | None = None

    @property
    def draft(self) -> Draft:
        """The disk as it was when the run began."""
        return Draft(base=self.base)

    @property
    def has_model(self) -> bool:
        """Whether a language model is configured."""
        return self.project.config.llm.provider.backend != "none"


def open_work(
    project: Project,
    given: Given,
    store: RunStore,
    run_id: str,
    emit: Emit,
    clock: Callable[[], float],
    stack: contextlib.ExitStack,
) -> Work:
    """Open what the stages of a source need; the caller closes `stack`."""
    warehouses, facts, notes = _open_warehouses(project, stack)
    base = Base(
        root=project.root,
        semantic_dir=project.semantic_dir,
        wiki_dir=project.wiki_dir,
        warehouses=facts,
        connections=frozenset(project.config.connections),
        user_id=given.user_id,
    )
    tables = {name: known_names(manifests.read_shards(project.semantic_dir, name).values()) for name in facts}
    work = Work(
        project=project,
        given=given,
        store=store,
        run_id=run_id,
        emit=emit,
        clock=clock,
        warehouses=warehouses,
        base=base,
        tables=tables,
        secrets=known_secrets(project_secrets(project)),
        closed=frozenset(warehouse_ids(project)) - facts.keys(),
    )
    work.findings += notes
    if work.has_model:
        index = stack.enter_context(contextlib.closing(open_index(ensure_state_dir(project) / INDEX_NAME)))
        refresh(index, project.root)
        work.around = Surroundings(
            index=index,
            samples=project.config.scan.samples,
            queryable=frozenset(
                name
                for name in warehouses
                if warehouse_connection(project, name).query_policy == "read-only-sql"
            ),
            open_warehouse=lambda name: warehouses[name],
            lock=threading.Lock(),
        )
    return work


def _open_warehouses(
    project: Project, stack: contextlib.ExitStack
) -> tuple[dict[str, Warehouse], dict[str, WarehouseFacts], list[Finding]]:
    """Open every warehouse, with the catalog of its last scan, else the live one; what cannot be opened is noted."""
    opened: dict[str, Warehouse] = {}
    facts: dict[str, WarehouseFacts] = {}
    notes: list[Finding] = []
    with open_store(ensure_state_dir(project)) as scans:
        for name in warehouse_ids(project):
            try:
                warehouse = stack.enter_context(
                    open_warehouse(name, warehouse_connection(project, name), project.root)
                )
                catalog = scans.catalog(name)
                if catalog is None and (project.semantic_dir / name).is_dir():
                    catalog = warehouse.read_catalog()
            except (ConfigError, OutsideError) as error:
                message = f"`{name}` cannot be opened, so nothing lands on it: {error.message}"
                notes.append(
                    Finding(level="warning", code="warehouse-closed", message=message, fix=error.hint)
                )
                continue
            if catalog is None:
                notes.append(
                    Finding(
                        level="warning",
                        code="never-scanned",
                        message=f"`{name}` was never scanned, so nothing lands on it.",
                        fix=f"Run `ktx ingest {name}` first.",
                    )
                )
            opened[name] = warehouse
            facts[name] = WarehouseFacts(connection_id=name, dialect=warehouse.dialect, catalog=catalog)
    return opened, facts, notes


def unit_run_of(work: Work) -> UnitRun:
    """Give what the units of a run share; a model must be configured and the importer's changes be there."""
    units = work.project.config.ingest.work_units
    if work.around is None or work.start is None:
        raise AssertionError("units need a model and the importer's draft")
    models = _models(work)
    return UnitRun(
        source_id=work.given.source_id,
        instructions=work.given.source.instructions,
        snapshot=work.snapshot,
        start=work.start,
        store=work.store,
        secrets=work.secrets,
        around=work.around,
        step_budget=units.step_budget,
        concurrency=units.max_concurrency,
        model=models(ROLE),
        triage_model=models("triage"),
        emit=work.emit,
        clock=work.clock,
        on_call=work.trace.call if work.trace else None,
    )


def _models(work: Work) -> Callable[[Role], str]:
    roles = read_roles(work.project.config.llm)
    return lambda role: str(roles.chain(role)[0])


def bench_of(work: Work) -> Bench:
    """Give what judgements of a model share."""
    return Bench(
        source_id=work.given.source_id,
        store=work.store,
        open_runtime=lambda: runtime_of(work),
        models=_models(work),
        emit=work.emit,
    )


def runtime_of(work: Work) -> Runtime:
    """Open the way to a model, in the name of the run."""
    project = work.project
    return open_runtime(
        project.config.llm,
        project_dir=project.root,
        state_dir=ensure_state_dir(project),
        emit=work.emit,
        rate_limit=project.config.ingest.rate_limit,
        run=work.run_id,
    )
