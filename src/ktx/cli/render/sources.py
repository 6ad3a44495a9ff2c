"""Reports of context sources and texts, for people and as JSON."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ktx.ingest.foresee import SourceEstimate
from ktx.ingest.propose import UnitResult
from ktx.ingest.source_report import ChangeReport, SourceReport, report_json
from ktx.ingest.stages import Stage
from ktx.ingest.texts import TextResult

_SHOWN = 12
_SIGNS = {"added": "+", "changed": "~", "removed": "-"}


def source_json(report: SourceReport) -> dict[str, object]:
    """Give a source's report as JSON."""
    return dict(report_json(report))


def source_text(report: SourceReport, *, is_wide: bool) -> str:
    """Give a source's report as lines."""
    shown = _SHOWN if is_wide else None
    if report.status == "failed":
        stage = next((one.stage for one in report.stages if one.status == "failed"), "opening it")
        return f"{report.source_id}: failed at {stage}, nothing of it was written.\n"
    counts = f"{report.added:,} new, {report.changed:,} changed, {report.removed:,} gone"
    lines = [
        f"{report.source_id} ({report.driver}): {report.documents:,} documents, {counts}, {report.seconds:.1f} s"
    ]
    if not report.is_complete:
        lines.append("  not everything was read, so nothing is taken away")
    lines += _units(report.units, shown)
    lines += _changes(report.changes, shown)
    left = [f"{one.target} {one.entry}: {one.reason}" for one in report.changes if one.effect == "left-out"]
    lines += _listed("left out", left, shown)
    lines += _listed(
        "no place in the layer",
        [f"{one.what} ({one.evidence}): {one.detail}" for one in report.unmapped],
        shown,
    )
    lines += _listed("not read", [f"{one.id}: {one.reason}" for one in report.unread], shown)
    told = [one for one in report.findings if one.code != "left-out"]
    lines += _listed("to know", [" ".join(filter(None, (one.message, one.fix))) for one in told], shown)
    lines += _listed("notes", list(report.notes), shown)
    lines += _listed("in files that you have not committed", list(report.uncommitted), shown)
    if report.commit and report.files:
        noun = "file" if len(report.files) == 1 else "files"
        lines.append(
            f"Committed {report.commit[:10]}: {len(report.files):,} {noun} changed. `ktx runs show {report.run_id}`"
        )
    elif report.files:
        lines.append(f"Written, not committed. `ktx runs show {report.run_id}`")
    else:
        lines.append("Nothing changed: no byte written, no commit made.")
    return "\n".join(lines) + "\n"


def texts_text(results: Sequence[TextResult]) -> str:
    """Give what became of texts as lines."""
    lines: list[str] = []
    for one in results:
        captured = [*(f"wiki/{key}" for key in one.wiki), *one.sl]
        if one.status == "not-run":
            lines.append(f"{one.label}: not done, because one before it failed")
        elif one.status == "error":
            lines.append(f"{one.label}: failed" + (f"; captured {', '.join(captured)}" if captured else ""))
        elif captured:
            commit = f" (commit {one.commit[:10]})" if one.commit else ""
            lines.append(f"{one.label}: {', '.join(captured)}{commit}")
        else:
            lines.append(f"{one.label}: nothing new")
        if one.report is not None:
            lines += _units([unit for unit in one.report.units if unit.steps], None)
    return "\n".join(lines) + "\n"


def text_json(
    results: Sequence[TextResult], *, project_dir: Path, connection_id: str | None
) -> dict[str, object]:
    """Give what became of texts as JSON."""
    return {
        "status": "done" if all(one.status == "done" for one in results) else "error",
        "projectDir": str(project_dir),
        "connectionId": connection_id,
        "results": [
            {
                "label": one.label,
                "runId": one.run_id,
                "status": one.status,
                "captured": {"wiki": list(one.wiki), "sl": list(one.sl)},
                "commitHash": one.commit,
                "error": one.error,
                "hint": one.hint,
            }
            for one in results
        ],
    }


def plan_text(stages: Sequence[Stage], warehouses: Sequence[str], plans: Sequence[SourceReport]) -> str:
    """Give a plan as lines."""
    lines: list[str] = []
    if warehouses:
        lines += [f"Databases are scanned first: {', '.join(warehouses)}.", ""]
    for plan in plans:
        lines.append(f"{plan.source_id} ({plan.driver})")
        told = {one.stage: one for one in plan.stages}
        for stage in stages:
            done = told.get(stage.name)
            detail = (
                ""
                if done is None
                else f": {'failed, ' if done.status == 'failed' else ''}{done.detail}"
                if done.detail
                else ""
            )
            lines.append(f"  {stage.name:<10} {stage.about}{detail}")
        waiting = [unit.label for unit in plan.units if unit.status == "not-run"]
        lines += _listed("would ask a model about", waiting, _SHOWN)
        known = sum(unit.status in ("known", "skipped") for unit in plan.units)
        if known:
            lines.append(f"  units that are known from before, for nothing: {known:,}")
        lines += _changes(plan.changes, _SHOWN, verb="would change")
        lines.append("")
    if not plans:
        lines.append("There is no context source to plan for; databases are scanned whole.")
    return "\n".join(lines) + "\n"


def source_estimate_text(estimates: Sequence[SourceEstimate]) -> str:
    """Give estimates of sources as lines."""
    lines: list[str] = []
    for one in estimates:
        if one.error is not None:
            lines.append(f"{one.source_id}: cannot be foreseen: {one.error}")
        elif one.model is None:
            known = f", {one.known_units:,} known from before" if one.known_units else ""
            lines.append(f"{one.source_id}: no model is asked ({one.units:,} units{known}).")
        else:
            money = "no listed price" if one.cost_usd is None else f"about ${one.cost_usd:,.2f}"
            basis = "as its units took before" if one.is_measured else "a guess, since none was run before"
            lines.append(
                f"{one.source_id}: {one.units - one.known_units:,} units of {one.units:,} for {one.model}, about {one.calls:,} calls "
                f"({one.steps_per_unit:.1f} a unit, {basis}), {one.input_tokens:,} tokens in, most of them read from the prompt cache, "
                f"and {one.output_tokens:,} out, {money} (list prices of {one.prices_as_of})"
            )
    return "\n".join(lines) + ("\n" if lines else "")


def _units(units: Sequence[UnitResult], shown: int | None) -> Iterator[str]:
    if not units:
        return
    counts = Counter(unit.status for unit in units)
    worked = [unit for unit in units if unit.steps and unit.status not in ("known", "skipped")]
    money = sum(unit.cost_usd or 0.0 for unit in worked)
    told = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items()))
    yield f"  units ({len(units):,}): {told}" + (f", ${money:,.4f}" if money else "")
    rows = [
        (unit.label[:48], unit.status, str(len(unit.changes)), str(unit.steps), f"{unit.input_tokens + unit.output_tokens:,}",
         "-" if unit.cost_usd is None else f"{unit.cost_usd:.4f}", f"{unit.seconds:.1f}")
        for unit in worked
    ]  # fmt: skip
    if rows:
        yield from _table(("unit", "result", "changes", "steps", "tokens", "usd", "s"), rows, shown)
    bad = [
        f"{unit.label}: {unit.detail}"
        for unit in units
        if unit.status in ("failed", "refused", "not-run", "partial")
    ]
    yield from _listed("set aside", bad, shown)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], shown: int | None) -> Iterator[str]:
    limit = len(rows) if shown is None or len(rows) <= shown + 2 else shown
    kept = [head, *rows[:limit]]
    widths = [max(len(row[at]) for row in kept) for at in range(len(head))]
    for row in kept:
        cells = [
            f"{cell:<{width}}" if at < 2 else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "    " + "  ".join(cells).rstrip()
    if limit < len(rows):
        yield f"    … and {len(rows) - limit:,} more"


def _changes(changes: Sequence[ChangeReport], shown: int | None, *, verb: str = "changed") -> Iterator[str]:
    by_target: dict[str, list[str]] = {}
    for one in changes:
        if one.effect in _SIGNS:
            by_target.setdefault(one.target, []).append(f"{_SIGNS[one.effect]}{one.entry}")
    lines = [
        f"{target}: {', '.join(entries[:6])}" + (f" and {len(entries) - 6} more" if len(entries) > 6 else "")
        for target, entries in sorted(by_target.items())
    ]
    yield from _listed(verb, lines, shown)


def _listed(title: str, items: Sequence[str], shown: int | None) -> Iterator[str]:
    if not items:
        return
    yield f"  {title} ({len(items):,})"
    limit = len(items) if shown is None or len(items) <= shown + 2 else shown
    for item in items[:limit]:
        yield f"    {item}"
    if limit < len(items):
        yield f"    … and {len(items) - limit:,} more"
