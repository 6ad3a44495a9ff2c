"""An ingest of one context source: read, diff, split, propose, reconcile, gate, apply, reindex.

The stages are data (`ktx.ingest.stages`). `plan_source` walks the same list up to the gate, without a model and without writing.
"""

import contextlib
import time
from collections.abc import Callable, Sequence

from ktx.errors import KtxError
from ktx.events import Emit, Notice, StageFinished, StageStarted
from ktx.ingest.apply import finish_interrupted
from ktx.ingest.halt import ensure_going
from ktx.ingest.leaks import known_secrets
from ktx.ingest.runs import RunStore
from ktx.ingest.source_report import SourceReport, StageReport, change_reports, report_json
from ktx.ingest.stages import PLANNED, STAGES, Skipped, Stage
from ktx.ingest.traces import open_trace
from ktx.ingest.work import Given, Work, open_work
from ktx.project import (
    Project,
    ensure_state_dir,
    project_repository,
    project_secrets,
)


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
    trace = open_trace(
        ensure_state_dir(project), run=run_id, source=given.source_id, forward=emit,
        secrets=known_secrets(project_secrets(project)), kept=store.run_ids(),
    )  # fmt: skip
    emit = trace.emit
    emit(Notice(message=f"{given.source_id} ({given.driver})"))
    try:
        with contextlib.ExitStack() as stack:
            work = open_work(project, given, store, run_id, emit, clock, stack)
            work.trace = trace
            error = _run_stages(work, STAGES)
            report = _report(work, error, seconds=clock() - started)
    except BaseException as error:
        told = error.message if isinstance(error, KtxError) else "it was interrupted"
        status = "failed" if isinstance(error, KtxError) else "interrupted"
        store.end(run_id, status=status, commit=None, body={"error": told})
        trace.write(event="run-finished", status=status, error=told)
        raise
    store.end(run_id, status=report.status, commit=report.commit, body=report_json(report))
    trace.write(event="run-finished", status=report.status, error=report.error, commit=report.commit)
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
        work = open_work(project, given, store, "plan", emit, clock, stack)
        work.is_plan = True
        error = _run_stages(work, PLANNED)
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
            if not work.files:
                ensure_going()
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
