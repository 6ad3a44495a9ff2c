"""The stages of an ingest of one context source, as data: each fills in a `Work` and says in a line what came of it.

Nothing is written before `apply`, and what is written lands in one commit.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from ktx.errors import ConfigError
from ktx.ingest.apply import RUN_TRAILER, apply, order_of
from ktx.ingest.artifact import Artifact
from ktx.ingest.curate import curate, in_order
from ktx.ingest.draft import Draft, read_or_none
from ktx.ingest.evict import evictions, has_model_entries, with_known_evidence
from ktx.ingest.gate import dropped_findings, gate, no_mending
from ktx.ingest.halt import run_async
from ktx.ingest.indexing import reindex
from ktx.ingest.judge import model_choose, model_judge, model_mend
from ktx.ingest.merge import Merged, merge
from ktx.ingest.place import place
from ktx.ingest.propose import UnitResult, UnitRun, known_result, run_units
from ktx.ingest.reconcile import by_rule, settle
from ktx.ingest.work import Diff, Work, bench_of, runtime_of, unit_run_of
from ktx.llm.models import estimated_tokens
from ktx.project import (
    ensure_state_dir,
    project_repository,
)
from ktx.scan.store import open_store
from ktx.sources.source import Target, UnitPlan


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
    if work.closed:  # a page that is there may refer to what cannot be looked up now
        there = work.draft.pages.keys()
        meaning = replace(
            meaning,
            pages=tuple(page for page in meaning.pages if page.is_verbatim or page.key not in there),
        )
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
        run = unit_run_of(work)
        work.units = tuple(_foreseen(run, plan) for plan in work.meaning.units)
    else:
        work.units = _worked(work)
        if work.trace is not None:
            for unit in work.units:
                work.trace.unit(unit)
    proposed = sum(len(unit.changes) for unit in work.units)
    return f"{told}, {proposed:,} from {len(work.units):,} units"


def _worked(work: Work) -> tuple[UnitResult, ...]:
    try:
        run = unit_run_of(work)
    except ConfigError as error:
        return tuple(
            UnitResult(
                key=plan.key, label=plan.label, status="not-run", detail=error.message, hint=error.hint
            )
            for plan in work.meaning.units
        )
    return run_async(partial(run_units, run, work.meaning.units, lambda: runtime_of(work)))


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
    bench = bench_of(work) if is_judged else None
    settled = settle(work.draft, changes, judge=model_judge(bench) if bench else by_rule)
    gone = () if work.closed else evictions(work.draft, work.given.source_id, settled.changes, work.snapshot)
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
        mend = model_mend(bench_of(work), work.settled.changes, work.snapshot, work.around, work.secrets)
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
PLANNED: Final = STAGES[:6]


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
        f"{count} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((sources, "source"), (len(by_artifact) - sources, "page"))
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
