"""Runs as rows and, one at a time, as lines for people."""

from collections.abc import Iterator, Mapping, Sequence

from ktx.cli.render.columns import aligned
from ktx.ingest.artifact import Data, Json
from ktx.ingest.recall import KnownRun, rows_of

_SIGNS = {"added": "+", "changed": "~", "removed": "-"}
_SET_ASIDE = ("failed", "refused", "not-run", "partial")
RUN_HEADERS = ("run", "source", "when", "status", "units", "changes", "usd", "commit")


def run_row(run: KnownRun) -> tuple[str, ...]:
    """Give a run as a row under `RUN_HEADERS`."""
    is_recorded = run.report is not None
    return (
        run.id,
        run.source,
        run.started_at[:19].replace("T", " "),
        run.status,
        f"{run.units:,}" if is_recorded else "",
        f"{run.changes:,}" if is_recorded else "",
        "" if run.cost_usd is None else f"{run.cost_usd:.4f}",
        run.commit.commit[:10] if run.commit else "",
    )


def run_text(run: KnownRun) -> str:
    """Give everything that is known of a run as lines."""
    lines = [f"run {run.id} of {run.source}: {run.status}"]
    lines.append(f"  began {run.started_at}" + (f", ended {run.ended_at}" if run.ended_at else ""))
    if run.commit:
        lines.append(f"  commit {run.commit.commit[:10]} {run.commit.subject}")
    if run.report is None:
        lines.append("  Its record is gone; only its commit is left.")
    else:
        if run.status in ("running", "interrupted"):
            lines.append(f"  it came to the stage `{run.stage}`")
        for part in (_outcome, _stages, _documents, _units, _changes, _rest):
            lines += part(run.report)
    if run.commit:
        lines += ["", f"`ktx diff {run.id}` shows the change by definition, metric values included."]
    return "\n".join(lines) + "\n"


def _outcome(report: Mapping[str, Json]) -> Iterator[str]:
    if error := report.get("error"):
        yield f"  error: {error}"
        if hint := report.get("hint"):
            yield f"  hint: {hint}"


def _stages(report: Mapping[str, Json]) -> Iterator[str]:
    rows = [
        (_text(one, "stage"), _text(one, "status"), f"{_number(one, 'seconds'):.1f}", _text(one, "detail"))
        for one in rows_of(report, "steps")
    ]
    yield from _titled("stages", aligned(("stage", "result", "s", "what"), rows, right=("s",)))


def _documents(report: Mapping[str, Json]) -> Iterator[str]:
    told = report.get("documents")
    if isinstance(told, dict):
        counts = ", ".join(
            f"{_number(told, key):,.0f} {word}"
            for key, word in (("added", "new"), ("changed", "changed"), ("removed", "gone"))
        )
        partial = "" if told.get("complete") else "; not everything was read, so nothing is taken away"
        yield ""
        yield f"documents: {_number(told, 'total'):,.0f}, of them {counts}{partial}"


def _units(report: Mapping[str, Json]) -> Iterator[str]:
    units = rows_of(report, "units")
    rows = [
        (
            _text(one, "label")[:48],
            _text(one, "status"),
            f"{_number(one, 'changes'):,.0f}",
            f"{_number(one, 'steps'):,.0f}",
            f"{_number(one, 'input_tokens') + _number(one, 'output_tokens'):,.0f}",
            "-" if one.get("cost_usd") is None else f"{_number(one, 'cost_usd'):.4f}",
            f"{_number(one, 'seconds'):.1f}",
        )
        for one in units
    ]
    headers = ("unit", "result", "changes", "steps", "tokens", "usd", "s")
    yield from _titled("units", aligned(headers, rows, right=headers[2:]))
    yield from _listed(
        "set aside",
        [
            f"{_text(one, 'label')}: {_text(one, 'status')}: {_text(one, 'detail')}"
            + (f" {one['hint']}" if one.get("hint") else "")
            for one in units
            if one.get("status") in _SET_ASIDE
        ],
    )


def _changes(report: Mapping[str, Json]) -> Iterator[str]:
    units = {_text(one, "key"): one for one in rows_of(report, "units")}
    lines: list[str] = []
    for one in rows_of(report, "changes"):
        sign = _SIGNS.get(_text(one, "effect"))
        if sign is not None:
            lines.append(f"{sign} {_text(one, 'target')} {_text(one, 'entry')}")
            lines += [f"    {line}" for line in _why(one, units)]
    yield from _titled("changes", (f"  {line}" for line in lines))
    others = [one for one in rows_of(report, "changes") if one.get("effect") not in _SIGNS]
    yield from _listed(
        "not changed",
        [
            f"{_text(one, 'target')} {_text(one, 'entry')}: {_text(one, 'reason') or _text(one, 'effect')}"
            for one in others
        ],
    )


def _why(change: Data, units: Mapping[str, Data]) -> Iterator[str]:
    """Tell the evidence of a change, and the unit and the tool call that led to it."""
    if evidence := _texts(change.get("evidence")):
        more = f" and {len(evidence) - 4} more" if len(evidence) > 4 else ""
        yield f"from {', '.join(evidence[:4])}{more}"
    unit = units.get(_text(change, "unit"))
    if unit is None:
        return
    call = next((one for one in rows_of(unit, "calls") if one.get("number") == change.get("call")), None)
    if call is not None:
        about = f" {call['about']}" if call.get("about") else ""
        yield f"by call {call['number']} of unit {_text(unit, 'label')}: {_text(call, 'tool')}{about}"
    else:
        yield f"by unit {_text(unit, 'label')}"


def _rest(report: Mapping[str, Json]) -> Iterator[str]:
    findings = [
        f"{_text(one, 'level')}: {_text(one, 'message')}" + (f" {one['fix']}" if one.get("fix") else "")
        for one in rows_of(report, "findings")
        if one.get("code") != "left-out"
    ]
    yield from _listed("findings", findings)
    unmapped = [
        f"{_text(one, 'what')} ({_text(one, 'evidence')}): {_text(one, 'detail')}"
        for one in rows_of(report, "unmapped")
    ]
    yield from _listed("no place in the layer", unmapped)
    unread = [f"{_text(one, 'id')}: {_text(one, 'reason')}" for one in rows_of(report, "unread")]
    yield from _listed("not read", unread)
    yield from _listed("notes", _texts(report.get("notes")))
    yield from _listed("files", _texts(report.get("files")))
    yield from _listed("in files that you had not committed", _texts(report.get("uncommitted")))


def _titled(title: str, lines: Iterator[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield from ("", title, *found)


def _listed(title: str, items: Sequence[str]) -> Iterator[str]:
    yield from _titled(f"{title} ({len(items):,})", (f"  {item}" for item in items))


def _text(data: Mapping[str, Json], key: str) -> str:
    value = data.get(key)
    return "" if value is None else str(value)


def _number(data: Mapping[str, Json], key: str) -> float:
    value = data.get(key)
    return value if isinstance(value, int | float) else 0


def _texts(value: Json) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
