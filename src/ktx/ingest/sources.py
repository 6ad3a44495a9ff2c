"""An ingest of one context source: read, diff, split, propose, reconcile, gate, apply, reindex.

The stages are data (`STAGES`); each fills in a `Work`. `plan_source` walks the same list up to the gate, without a model and without
writing. Nothing is written before `apply`, and what is written lands in one commit.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import anyio

from ktx.catalog import TableRef
from ktx.errors import ConfigError, KtxError, OutsideError
from ktx.events import Emit, Notice, StageFinished, StageStarted
from ktx.findings import Finding
from ktx.ingest import manifests
from ktx.ingest.apply import RUN_TRAILER, apply, finish_interrupted, order_of
from ktx.ingest.artifact import Artifact
from ktx.ingest.curate import Limits, curate, in_order
from ktx.ingest.draft import Base, Draft, WarehouseFacts, read_or_none
from ktx.ingest.evict import evictions, has_model_entries, with_known_evidence
from ktx.ingest.gate import Gated, dropped_findings, gate, no_mending
from ktx.ingest.indexing import INDEX_NAME, reindex
from ktx.ingest.judge import Bench, model_choose, model_judge, model_mend
from ktx.ingest.leaks import Secrets, known_secrets
from ktx.ingest.merge import Merged, merge
from ktx.ingest.place import Placed, place
from ktx.ingest.propose import ROLE, UnitResult, UnitRun, known_result, run_units
from ktx.ingest.reconcile import Settled, by_rule, settle
from ktx.ingest.runs import RunStore
from ktx.ingest.source_report import SourceReport, StageReport, change_reports, report_json
from ktx.ingest.tools import Surroundings
from ktx.llm.connect import open_runtime, read_roles
from ktx.llm.models import Role, estimated_tokens
from ktx.llm.runtime import Runtime
from ktx.project import (
    Project,
    ensure_state_dir,
    project_repository,
    project_secrets,
    warehouse_connection,
    warehouse_ids,
)
from ktx.scan.store import open_store
from ktx.search.index import open_index
from ktx.search.reindex import refresh
from ktx.semantic.merge import known_names
from ktx.sources.evidence import Snapshot
from ktx.sources.source import ContextSource, Interpretation, Target, UnitPlan
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


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A stage that does not apply, and why."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage: its name, what it does in one sentence, and the doing; the text it gives is what came of it."""

    name: str
    about: str
    run: Callable[[Work], str | Skipped]


def _read(work: Work) -> str:
    work.snapshot = work.given.source.fetch(emit=work.emit)
    partial = "" if work.snapshot.is_complete else ", not everything"
    return f"{len(work.snapshot.documents):,} documents{partial}"


def _diff(work: Work) -> str:
    before = work.store.digests(work.given.source_id)
    now = {document.id: document.digest for document in work.snapshot.documents}
    added = tuple(sorted(now.keys() - before.keys()))
    removed = tuple(sorted(before.keys() - now.keys())) if work.snapshot.is_complete else ()
    changed = tuple(sorted(id_ for id_ in now.keys() & before.keys() if now[id_] != before[id_]))
    work.diff = Diff(
        added=added, changed=changed, removed=removed, unchanged=len(now) - len(added) - len(changed)
    )
    return f"{len(added):,} new, {len(changed):,} changed, {len(removed):,} gone, {work.diff.unchanged:,} as before"


def _split(work: Work) -> str:
    targets = [
        Target(connection_id=facts.connection_id, dialect=facts.dialect, catalog=facts.catalog)
        for _, facts in sorted(work.base.warehouses.items())
    ]
    meaning = work.given.source.interpret(work.snapshot, targets)
    if work.given.wants_verbatim or not work.has_model:
        if (
            not work.has_model
            and not work.given.wants_verbatim
            and has_model_entries(work.draft, work.given.source_id)
        ):
            meaning = replace(meaning, pages=tuple(page for page in meaning.pages if not page.is_verbatim))
        meaning = replace(meaning, units=())
    else:
        meaning = replace(meaning, pages=tuple(page for page in meaning.pages if not page.is_verbatim))
    work.meaning = meaning
    return (
        f"{len(meaning.definitions):,} definitions, {len(meaning.pages):,} pages, {len(meaning.units):,} units for a model, "
        f"{len(meaning.unmapped):,} without a place"
    )


def _propose(work: Work) -> str:
    work.placed = place(
        work.given.source_id, work.meaning.definitions, work.meaning.pages, work.draft, work.tables
    )
    imported = settle(work.draft, work.placed.changes)
    checked = gate(work.draft, imported.changes, secrets=work.secrets, warehouses={})
    work.start = checked.merged.draft
    told = f"{len(work.placed.changes):,} entries from its own definitions"
    if not work.meaning.units:
        return told
    if work.is_plan:
        run = _unit_run(work)
        work.units = tuple(_foreseen(run, plan) for plan in work.meaning.units)
    else:
        work.units = _worked(work)
    proposed = sum(len(unit.changes) for unit in work.units)
    return f"{told}, {proposed:,} from {len(work.units):,} units"


def _worked(work: Work) -> tuple[UnitResult, ...]:
    try:
        run = _unit_run(work)
    except ConfigError as error:
        return tuple(
            UnitResult(
                key=plan.key, label=plan.label, status="not-run", detail=error.message, hint=error.hint
            )
            for plan in work.meaning.units
        )
    return anyio.run(run_units, run, work.meaning.units, lambda: _runtime(work))


def _foreseen(run: UnitRun, plan: UnitPlan) -> UnitResult:
    """Give a unit's known result, or say that it would be worked on."""
    known = known_result(run, plan)
    if known is not None:
        return known
    documents = [document for id_ in plan.documents if (document := run.snapshot.document(id_)) is not None]
    return UnitResult(
        key=plan.key,
        label=plan.label,
        status="not-run",
        detail="would ask a model",
        input_tokens=sum(estimated_tokens(len(document.text)) for document in documents),
    )


def _reconcile(work: Work) -> str:
    changes = [*work.placed.changes, *(change for unit in work.units for change in unit.changes)]
    is_judged = work.has_model and not work.is_plan
    bench = _bench(work) if is_judged else None
    settled = settle(work.draft, changes, judge=model_judge(bench) if bench else by_rule)
    gone = evictions(work.draft, work.given.source_id, settled.changes, work.snapshot)
    curated = curate(
        work.draft,
        settled.changes,
        work.given.limits,
        model_choose(bench) if bench else in_order,
    )
    kept = with_known_evidence(work.draft, curated.changes, work.snapshot)
    work.settled = replace(settled, changes=(*kept, *gone))
    work.findings += [*settled.findings, *curated.findings]
    return f"{len(settled.contradictions):,} contradictions, {len(gone):,} entries no longer said"


def _gate(work: Work) -> str:
    mend = no_mending
    if work.has_model and not work.is_plan and work.around is not None:
        mend = model_mend(_bench(work), work.settled.changes, work.snapshot, work.around, work.secrets)
    work.gated = gate(
        work.draft,
        work.settled.changes,
        secrets=work.secrets,
        warehouses={} if work.is_plan else work.warehouses,
        removed_files=_removed_by_people(work),
        mend=mend,
    )
    work.findings += [
        *work.gated.findings,
        *work.gated.merged.findings,
        *dropped_findings(work.gated.dropped),
    ]
    applied = len(work.gated.merged.applied)
    mended = f", {len(work.gated.mended):,} mended" if work.gated.mended else ""
    return f"{applied:,} entries change{mended}, {len(work.gated.dropped):,} left out"


def _apply(work: Work) -> "str | Skipped":
    if work.gated is None or not work.gated.merged.texts:
        _land(work)
        return Skipped(reason="nothing changed")
    repository = project_repository(work.project)
    fresh = replace(work.base)
    merged = _merged_anew(Draft(base=fresh), work)
    order = order_of(
        fresh,
        repository,
        merged.texts,
        work.gated.changes,
        run=work.run_id,
        source=work.given.source_id,
        message=_message(work, merged),
        author=work.project.config.storage.git.author,
    )
    done = apply(work.project.root, ensure_state_dir(work.project), repository, order)
    work.files, work.commit, work.uncommitted = done.files, done.commit, done.uncommitted
    _land(work)
    return f"{len(done.files):,} files" + (f", commit {done.commit[:10]}" if done.commit else "")


def _reindex(work: Work) -> "str | Skipped":
    if not work.files:
        return Skipped(reason="nothing changed")
    with open_store(ensure_state_dir(work.project)) as scans:
        return reindex(work.project, scans, work.emit)


STAGES: Final = (
    Stage(name="read", about="fetch everything in scope", run=_read),
    Stage(name="diff", about="compare the documents with those of the last run", run=_diff),
    Stage(name="split", about="read what they define, and divide the rest into work units", run=_split),
    Stage(
        name="propose", about="turn definitions into entries, and let a model work on the units", run=_propose
    ),
    Stage(
        name="reconcile",
        about="settle duplicates and contradictions, and what is no longer said",
        run=_reconcile,
    ),
    Stage(name="gate", about="compile, check references, try on the warehouse, keep secrets out", run=_gate),
    Stage(name="apply", about="write the files and commit once", run=_apply),
    Stage(name="reindex", about="bring the search index up to date", run=_reindex),
)
_PLANNED: Final = STAGES[:6]


def ingest_source(
    project: Project,
    given: Given,
    store: RunStore,
    *,
    emit: Emit,
    run_id: str | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> SourceReport:
    """Ingest one source, and give what was done; the caller holds the project's lock.

    A failure is in the report. What an earlier run was killed while writing is finished first.
    """
    started = clock()
    resume(project, store, emit=emit)
    run_id = store.begin(given.source_id, body={}, run_id=run_id)
    emit(Notice(message=f"{given.source_id} ({given.driver})"))
    try:
        with contextlib.ExitStack() as stack:
            work = _open_work(project, given, store, run_id, emit, clock, stack)
            error = _run_stages(work, STAGES)
            report = _report(work, error, seconds=clock() - started)
    except BaseException as error:
        told = error.message if isinstance(error, KtxError) else "it was interrupted"
        status = "failed" if isinstance(error, KtxError) else "interrupted"
        store.end(run_id, status=status, commit=None, body={"error": told})
        raise
    store.end(run_id, status=report.status, commit=report.commit, body=report_json(report))
    return report


def plan_source(
    project: Project,
    given: Given,
    store: RunStore,
    *,
    emit: Emit,
    clock: Callable[[], float] = time.monotonic,
) -> SourceReport:
    """Say what an ingest would do: the same stages up to the gate, with no model asked and nothing written."""
    started = clock()
    with contextlib.ExitStack() as stack:
        work = _open_work(project, given, store, "plan", emit, clock, stack)
        work.is_plan = True
        error = _run_stages(work, _PLANNED)
        return _report(work, error, seconds=clock() - started)


def resume(project: Project, store: RunStore, *, emit: Emit) -> None:
    """Finish what a killed run had begun to write."""
    done = finish_interrupted(project.root, ensure_state_dir(project), project_repository(project))
    if done is None:
        return
    order, applied = done
    emit(
        Notice(
            message=f"run {order.run} was interrupted while writing; its {len(applied.files):,} files are written now"
        )
    )
    known = store.run(order.run)
    body = dict(known.body) if known is not None else {}
    files: list[object] = list(applied.files)
    store.end(
        order.run, status="done", commit=applied.commit, body={**body, "files": [str(one) for one in files]}
    )


def _run_stages(work: Work, stages: Sequence[Stage]) -> KtxError | None:
    error: KtxError | None = None
    for stage in stages:
        mark = work.clock()
        if error is not None:
            work.stages.append(StageReport(stage=stage.name, status="not-run"))
            continue
        if not work.is_plan:
            work.store.stage(work.run_id, stage.name)
        work.emit(StageStarted(stage=stage.name))
        try:
            detail = stage.run(work)
        except KtxError as failure:
            error = failure
            work.stages.append(
                StageReport(
                    stage=stage.name, status="failed", detail=failure.message, seconds=work.clock() - mark
                )
            )
            work.emit(StageFinished(stage=stage.name, summary="failed"))
            continue
        told = detail.reason if isinstance(detail, Skipped) else detail
        work.stages.append(
            StageReport(
                stage=stage.name,
                status="skipped" if isinstance(detail, Skipped) else "done",
                detail=told,
                seconds=work.clock() - mark,
            )
        )
        work.emit(StageFinished(stage=stage.name, summary=told))
    return error


def _open_work(
    project: Project,
    given: Given,
    store: RunStore,
    run_id: str,
    emit: Emit,
    clock: Callable[[], float],
    stack: contextlib.ExitStack,
) -> Work:
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
            opened[name] = warehouse
            facts[name] = WarehouseFacts(connection_id=name, dialect=warehouse.dialect, catalog=catalog)
    return opened, facts, notes


def _unit_run(work: Work) -> UnitRun:
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
    )


def _models(work: Work) -> Callable[[Role], str]:
    roles = read_roles(work.project.config.llm)
    return lambda role: str(roles.chain(role)[0])


def _bench(work: Work) -> Bench:
    return Bench(
        source_id=work.given.source_id,
        store=work.store,
        open_runtime=lambda: _runtime(work),
        models=_models(work),
        emit=work.emit,
    )


def _runtime(work: Work) -> Runtime:
    project = work.project
    return open_runtime(
        project.config.llm,
        project_dir=project.root,
        state_dir=ensure_state_dir(project),
        emit=work.emit,
        rate_limit=project.config.ingest.rate_limit,
        run=work.run_id,
    )


def _removed_by_people(work: Work) -> frozenset[Artifact]:
    """Give the artifacts that changes would make and that a person has deleted, committed or not."""
    missing = {
        change.artifact: work.base.path(change.artifact)
        for change in work.settled.changes
        if not change.is_removal and work.draft.text(change.artifact) is None
    }
    if not missing:
        return frozenset()
    repository = project_repository(work.project)
    folders = [folder for folder in (work.project.semantic_dir, work.project.wiki_dir) if folder.exists()]
    deleted = repository.deleted(folders, trailer=RUN_TRAILER) if folders else {}
    undone = (
        {path.resolve() for path in repository.changed(folders) if not path.exists()}
        if folders
        else set[Path]()
    )
    by_people = {path.resolve() for path, run in deleted.items() if not run} | undone
    return frozenset(artifact for artifact, path in missing.items() if path.resolve() in by_people)


def _merged_anew(draft: Draft, work: Work) -> Merged:
    """Put the changes into the files as they are now: a person may have edited one while the run went on."""
    if work.gated is None:
        raise AssertionError("the gate has not run")
    touched = {change.artifact for change in work.gated.changes}
    if all(read_or_none(work.base.path(one)) == work.base.text(one) for one in touched):
        return work.gated.merged
    return merge(draft, work.gated.changes, removed_files=_removed_by_people(work))


def _land(work: Work) -> None:
    """Remember the documents that are done with: those of failed units come again as changed."""
    failed = {
        id_
        for unit, plan in zip(work.units, work.meaning.units, strict=False)
        if unit.status in ("failed", "not-run", "refused")
        for id_ in plan.documents
    }
    digests = {
        document.id: document.digest for document in work.snapshot.documents if document.id not in failed
    }
    work.store.land(work.given.source_id, digests, is_complete=work.snapshot.is_complete)


def _message(work: Work, merged: Merged) -> str:
    """Write the commit's message: what changed, artifact by artifact."""
    by_artifact: dict[str, list[str]] = {}
    signs = {"added": "+", "changed": "~", "removed": "-"}
    for change, effect in merged.effects:
        if effect in signs:
            by_artifact.setdefault(str(change.artifact), []).append(f"{signs[effect]}{change.entry}")
    sources = sum(not name.startswith("wiki/") for name in by_artifact)
    counts = [
        f"{count} {noun}"
        for count, noun in ((sources, "sources"), (len(by_artifact) - sources, "pages"))
        if count
    ]
    lines = [
        f"{name}: {', '.join(entries[:12])}" + (f" and {len(entries) - 12} more" if len(entries) > 12 else "")
        for name, entries in sorted(by_artifact.items())
    ]
    more = [f"and {len(lines) - 60} more"] if len(lines) > 60 else []
    return f"Ingest {work.given.source_id}: {', '.join(counts) or 'evidence alone'}\n\n" + "\n".join(
        [*lines[:60], *more]
    )


def _report(work: Work, error: KtxError | None, *, seconds: float) -> SourceReport:
    gated = work.gated
    failed_units = any(unit.status in ("failed", "not-run", "refused") for unit in work.units)
    return SourceReport(
        source_id=work.given.source_id,
        driver=work.given.driver,
        run_id=work.run_id,
        status="failed" if error else "partial" if failed_units and not work.is_plan else "done",
        stages=tuple(work.stages),
        documents=len(work.snapshot.documents),
        added=len(work.diff.added),
        changed=len(work.diff.changed),
        removed=len(work.diff.removed),
        is_complete=work.snapshot.is_complete,
        units=work.units,
        changes=change_reports(gated.merged.effects, gated.dropped, work.units) if gated else (),
        unmapped=(
            *work.meaning.unmapped,
            *work.placed.unmapped,
            *(one for unit in work.units for one in unit.unmapped),
        ),
        unread=work.snapshot.unread,
        notes=work.snapshot.notes,
        findings=tuple(work.findings),
        files=work.files,
        uncommitted=work.uncommitted,
        commit=work.commit,
        error=error.message if error else None,
        hint=error.hint if error else None,
        error_findings=error.findings if error else (),
        error_exit_code=error.exit_code if error else 0,
        seconds=seconds,
    )
