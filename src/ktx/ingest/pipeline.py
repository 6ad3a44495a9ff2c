"""An ingest of database connections: scan, merge into the manifest, check the whole layer, write, commit once, reindex.

The stages of a connection are data (`STAGES`); each fills in a `_Work`. A connection that fails leaves nothing behind and
keeps no other from being done. Files are written only after every connection has been worked out, right before the commit.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ktx.catalog import Catalog, TableRef
from ktx.errors import KtxError, LayerError
from ktx.events import Emit, Notice, ignore
from ktx.findings import Finding, has_errors
from ktx.ingest import manifests
from ktx.ingest.history import HistoryChoice, history_settings, observe, summary, usage_entries
from ktx.ingest.indexing import reindex
from ktx.ingest.prose import (
    describe_connection,
    merged_texts,
    proposed_links,
    usage_in_words,
    wanted_model,
)
from ktx.ingest.report import ConnectionReport, Failure, IngestReport, Link, Step
from ktx.ingest.settings import scan_settings
from ktx.project import (
    Project,
    ensure_state_dir,
    project_lock,
    project_repository,
    warehouse_connection,
    warehouse_ids,
)
from ktx.scan.describe import Described
from ktx.scan.history import History
from ktx.scan.propose import Proposed
from ktx.scan.reading import ObservedJoin
from ktx.scan.relationships.find import Found, Proposal
from ktx.scan.run import Propose, ScanReport, scan_connection
from ktx.scan.store import ScanStore, open_store
from ktx.semantic.manifest import Shard
from ktx.semantic.merge import (
    Descriptions,
    Structure,
    known_names,
    merge_shards,
    read_decisions,
    read_inferred,
    source_names,
)
from ktx.semantic.source import Layer
from ktx.warehouse.connect import open_warehouse
from ktx.warehouse.warehouse import Warehouse


@dataclass(kw_only=True)
class _Work:
    """One connection on its way through the stages."""

    project: Project
    store: ScanStore
    connection_id: str
    emit: Emit
    choice: HistoryChoice
    history: History | str = "not read"
    old: dict[str, Shard] = field(default_factory=dict[str, Shard])
    scan: ScanReport | None = None
    names: dict[TableRef, str] = field(default_factory=dict[TableRef, str])
    descriptions: dict[TableRef, Descriptions] = field(default_factory=dict[TableRef, Descriptions])
    changes: dict[Path, str | None] = field(default_factory=dict[Path, str | None])
    layer: Layer | None = None
    findings: tuple[Finding, ...] = ()
    described: Described | None = None
    proposed: Proposed = field(default_factory=Proposed)
    steps: list[Step] = field(default_factory=list[Step])

    @property
    def scanned(self) -> ScanReport:
        """The scan, which every later stage needs."""
        if self.scan is None:
            raise AssertionError("the scan stage has not run")
        return self.scan


def ingest(
    project: Project,
    connection_ids: Sequence[str] = (),
    *,
    emit: Emit = ignore,
    history: HistoryChoice | None = None,
    lock_timeout_s: float = 60.0,
) -> IngestReport:
    """Ingest the named databases, or all, and give what was done. `history` overrides ktx.yaml about past queries.

    Raises:
        ConfigError: an id is unknown, or git cannot be used.
        OutsideError: another ktx command keeps the project's lock.
    """
    started = time.monotonic()
    chosen = tuple(dict.fromkeys(connection_ids)) or warehouse_ids(project)
    for connection_id in chosen:
        warehouse_connection(project, connection_id)
    with project_lock(project, timeout_s=lock_timeout_s), open_store(ensure_state_dir(project)) as store:
        works = [
            _Work(
                project=project,
                store=store,
                connection_id=connection_id,
                emit=emit,
                choice=history or HistoryChoice(),
            )
            for connection_id in chosen
        ]
        reports = [_run(work) for work in works]
        failures: list[Failure] = []
        commit = _or_failure(lambda: _commit(project, works, reports), "commit", failures)
        indexed = _or_failure(lambda: reindex(project, store, emit), "index", failures)
    return IngestReport(
        connections=tuple(reports),
        commit=commit,
        indexed=indexed or "",
        failures=tuple(failures),
        seconds=time.monotonic() - started,
        plan=chosen,
    )


def _scan(work: _Work) -> str:
    settings = scan_settings(work.project)
    work.old = manifests.read_shards(work.project.semantic_dir, work.connection_id)
    connection = warehouse_connection(work.project, work.connection_id)
    with open_warehouse(work.connection_id, connection, work.project.root) as warehouse:
        work.scan = scan_connection(
            warehouse,
            settings=settings,
            decided=read_decisions(work.old.values()),
            inferred_before=read_inferred(work.old.values()),
            observe=lambda catalog: _observe(work, warehouse, catalog),
            propose=_proposer(work, warehouse),
            emit=work.emit,
        )
    if not work.scan.catalog.tables:
        raise LayerError(
            f"`{work.connection_id}` has no table in scope.",
            hint="Check `schemas` and `enabled_tables` of the connection, and the rights of its user.",
        )
    tables = work.scan.catalog.tables
    return f"{len(tables):,} tables, {sum(len(table.columns) for table in tables):,} columns"


def _observe(work: _Work, warehouse: Warehouse, catalog: Catalog) -> Sequence[ObservedJoin]:
    settings = history_settings(work.project, work.connection_id, work.choice)
    work.history = (
        settings if isinstance(settings, str) else observe(warehouse, catalog, settings, emit=work.emit)
    )
    return () if isinstance(work.history, str) else work.history.joins


def _history(work: _Work) -> "str | Skipped":
    return Skipped(reason=work.history) if isinstance(work.history, str) else summary(work.history)


def _proposer(work: _Work, warehouse: Warehouse) -> Propose | None:
    choice = wanted_model(work.project)
    if isinstance(choice, str) or not work.project.config.scan.relationships.llm_proposals:
        return None

    def propose(catalog: Catalog, found: Found) -> Sequence[Proposal]:
        work.proposed = proposed_links(
            work.project, warehouse, catalog, found, work.store, choice, emit=work.emit
        )
        return work.proposed.proposals

    return propose


def _describe(work: _Work) -> "str | Skipped":
    choice = wanted_model(work.project)
    if isinstance(choice, str):
        return Skipped(reason=choice)
    described = describe_connection(
        work.project, work.connection_id, work.scanned.catalog, work.store, choice, emit=work.emit
    )
    work.descriptions = merged_texts(described)
    work.described = described
    return f"{described.calls} calls, {described.reused} tables described before"


def _merge(work: _Work) -> str:
    scan = work.scanned
    names = source_names((table.ref for table in scan.catalog.tables), known_names(work.old.values()))
    structure = Structure(
        catalog=scan.catalog,
        keys={ref: key.columns for ref, key in scan.found.keys.primary.items() if key.is_proven},
        relationships=scan.accepted,
        rejected=tuple(one for one in scan.found.decided("rejected") if one.origin == "manual"),
    )
    usage = (
        {}
        if isinstance(work.history, str)
        else usage_entries(work.history, names, work.old, today=work.choice.clock().date())
    )
    _put_into_words(work, usage, names)
    shards = merge_shards(structure, names, work.old, descriptions=work.descriptions, usage=usage)
    work.names = names
    work.changes = manifests.render_changes(work.project.semantic_dir, work.connection_id, shards, work.old)
    return f"{len(work.changes)} of {len(shards)} files change"


def _put_into_words(
    work: _Work, usage: Mapping[TableRef, dict[str, object]], names: Mapping[TableRef, str]
) -> None:
    """Have a model say what people ask of each table, where that is asked for; what it cannot say keeps its old words."""
    if not work.choice.wants_words or not usage:
        return
    facts = {
        names[ref]: {key: value for key, value in entry.items() if key != "narrative"}
        for ref, entry in usage.items()
    }
    narrated = usage_in_words(work.project, facts, work.store, emit=work.emit)
    for ref, entry in usage.items():
        if text := narrated.texts.get(names[ref]):
            entry["narrative"] = text
    for failure in narrated.failed:
        work.emit(Notice(message=f"usage is not in words for {failure}"))


def _check(work: _Work) -> str:
    work.layer = manifests.layer_with(work.project.semantic_dir, work.connection_id, work.changes)
    findings = manifests.check_changes(work.layer, work.scanned.catalog, changes=work.changes)
    folder = f"/{manifests.MANIFEST_FOLDER}/"
    ours = [
        finding for finding in findings if finding.level == "error" and folder in (finding.where.file or "")
    ]
    if ours:
        raise LayerError(
            f"The manifest of `{work.connection_id}` did not pass its own check, so nothing of it was written.",
            hint="Please report this with the findings below.",
            findings=ours,
        )
    work.findings = tuple(finding for finding in findings if finding.level != "note")
    return "with problems" if has_errors(work.findings) else "no errors"


def _remember(work: _Work) -> str:
    scan = work.scanned
    is_changed = work.store.save(scan.catalog, scan.profiles, scan.found.relationships)
    work.scan = replace(scan, profiles={})
    return "renewed" if is_changed else "unchanged"


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A stage that does not apply, and why."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a connection: its name in reports, and what it does; the text it gives is the step's detail."""

    operation: str
    run: Callable[[_Work], str | Skipped]


STAGES = (
    Stage(operation="database-schema", run=_scan),
    Stage(operation="query-history", run=_history),
    Stage(operation="state", run=_remember),
    Stage(operation="descriptions", run=_describe),
    Stage(operation="manifest", run=_merge),
    Stage(operation="check", run=_check),
)


def _run(work: _Work) -> ConnectionReport:
    started = time.monotonic()
    driver = warehouse_connection(work.project, work.connection_id).driver
    work.emit(Notice(message=f"{work.connection_id} ({driver})"))
    failure: KtxError | None = None
    for stage in STAGES:
        mark = time.monotonic()
        if failure is not None:
            work.steps.append(Step(operation=stage.operation, status="not-run"))
            continue
        try:
            detail = stage.run(work)
        except KtxError as error:
            failure = error
            work.steps.append(
                Step(
                    operation=stage.operation,
                    status="failed",
                    detail=error.message,
                    seconds=time.monotonic() - mark,
                )
            )
            continue
        if isinstance(detail, Skipped):
            work.steps.append(Step(operation=stage.operation, status="skipped", detail=detail.reason))
            continue
        is_partial = stage.run is _describe and work.described is not None and work.described.failed
        work.steps.append(
            Step(
                operation=stage.operation,
                status="failed" if is_partial else "done",
                detail=detail,
                seconds=time.monotonic() - mark,
            )
        )
    if failure is not None:
        work.changes = {}
        return ConnectionReport(
            connection_id=work.connection_id,
            driver=driver,
            status="failed",
            steps=tuple(work.steps),
            findings=failure.findings,
            error=failure.message,
            hint=failure.hint,
            exit_code=failure.exit_code,
            seconds=time.monotonic() - started,
        )
    return _report(work, driver, seconds=time.monotonic() - started)


def _report(work: _Work, driver: str, *, seconds: float) -> ConnectionReport:
    scan = work.scanned
    tables = scan.catalog.tables

    def links(decision: str) -> tuple[Link, ...]:
        chosen = {
            "accepted": scan.accepted,
            "review": scan.found.decided("review"),
            "dropped": scan.dropped,
        }[decision]
        return tuple(
            Link.of(
                one,
                source=work.names.get(one.source, str(one.source)),
                target=work.names.get(one.target, str(one.target)),
            )
            for one in chosen
        )

    return ConnectionReport(
        connection_id=work.connection_id,
        driver=driver,
        status="done",
        steps=tuple(work.steps),
        tables=len(tables),
        columns=sum(len(table.columns) for table in tables),
        rows=sum(table.row_count or 0 for table in tables),
        keys=tuple(
            f"{work.names[ref]}({', '.join(key.columns)})"
            + ("" if key.is_declared else " found" if key.is_proven else " guessed, not marked")
            for ref, key in sorted(scan.found.keys.primary.items())
        ),
        joins=links("accepted"),
        review=links("review"),
        dropped=links("dropped"),
        unasked=scan.found.unasked,
        unprofiled=tuple(f"{failure.table}: {failure.reason}" for failure in scan.failures),
        gaps=tuple(f"{gap.what}: {gap.reason}" for gap in scan.catalog.gaps),
        undescribed=tuple(f"{ref}: {reason}" for ref, reason in work.described.failed)
        if work.described
        else (),
        unproposed=tuple(f"{ref}: {reason}" for ref, reason in work.proposed.failed),
        model_calls=(work.described.calls if work.described else 0) + work.proposed.calls,
        measures=_measures(work.layer),
        findings=work.findings,
        changed_files=tuple(str(path.relative_to(work.project.root)) for path in sorted(work.changes)),
        seconds=seconds,
    )


def _measures(layer: Layer | None) -> tuple[str, ...]:
    if layer is None:
        return ()
    return tuple(
        f"{name}.{measure.name}"
        for name, source in sorted(layer.sources.items())
        for measure in source.measures
    )


def _or_failure(act: Callable[[], str | None], what: str, failures: list[Failure]) -> str | None:
    """Act for all connections together; when that fails, what was found of each is still reported."""
    try:
        return act()
    except KtxError as error:
        failures.append(Failure(what=what, message=error.message, hint=error.hint, exit_code=error.exit_code))
        return None


def _commit(project: Project, works: Sequence[_Work], reports: Sequence[ConnectionReport]) -> str | None:
    done = [work for work, report in zip(works, reports, strict=True) if report.status == "done"]
    if not done:
        return None
    repository = project_repository(project)
    for work in done:
        manifests.write_changes(work.changes)
    folders = [manifests.manifest_dir(project.semantic_dir, work.connection_id) for work in done]
    ids = ", ".join(work.connection_id for work in done)
    return repository.commit(folders, f"Ingest {ids}", author=project.config.storage.git.author)
