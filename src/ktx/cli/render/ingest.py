"""The report of an ingest as text for people and as JSON."""

from collections.abc import Iterator, Sequence

from ktx.ingest.prose import ProseEstimate
from ktx.ingest.report import ConnectionReport, IngestReport, Link

_SHOWN = 12


def ingest_json(report: IngestReport) -> dict[str, object]:
    """Give the report as JSON: the plan, and per connection the steps and the details."""
    return {
        "plan": [{"connectionId": name} for name in report.plan],
        "commit": report.commit,
        "failures": list(report.failures),
        "seconds": round(report.seconds, 3),
        "results": [_connection_json(one) for one in report.connections],
    }


def ingest_text(report: IngestReport, *, is_wide: bool) -> str:
    """Give the report as lines."""
    shown = None if not is_wide else _SHOWN
    lines = [line for one in report.connections for line in _connection(one, shown)]
    failed = {one.what for one in report.failures}
    index = "not refreshed" if "index" in failed else report.indexed
    if "commit" in failed:
        lines.append(f"Not committed. Search index: {index}.")
    elif report.commit:
        files = sum(len(one.changed_files) for one in report.connections)
        noun = "file" if files == 1 else "files"
        lines.append(f"Committed {report.commit[:10]}: {files} {noun} changed. Search index: {index}.")
    elif any(one.status == "done" for one in report.connections):
        lines.append(f"Nothing changed: no byte written, no commit made. Search index: {index}.")
    lines.append(f"{report.seconds:.1f} s in all.")
    return "\n".join(lines) + "\n"


def estimate_text(estimates: Sequence[ProseEstimate]) -> str:
    """Give an estimate as lines."""
    lines: list[str] = []
    for one in estimates:
        if one.model is None:
            lines.append(f"{one.connection_id}: no model is asked, because {one.reason}.")
            continue
        money = "no listed price" if one.cost_usd is None else f"about ${one.cost_usd:,.2f}"
        lines.append(
            f"{one.connection_id}: {one.calls:,} calls of {one.model}, about {one.input_tokens:,} tokens in and "
            f"{one.output_tokens:,} out, {money} (list prices of {one.prices_as_of})"
        )
        if one.proposal_calls:
            lines.append(
                f"  {one.proposal_calls:,} of the calls ask for references of tables that names and values leave alone "
                "(`scan.relationships.llmProposals`)"
            )
        if one.most_proposal_calls:
            lines.append(
                f"  and at most {one.most_proposal_calls:,} more, for references of tables that names and values leave alone "
                "(`scan.relationships.llmProposals`)"
            )
    return "\n".join(lines) + "\n"


def _connection(one: ConnectionReport, shown: int | None) -> Iterator[str]:
    if one.status == "failed":
        yield f"{one.connection_id}: failed, nothing of it was written."
        yield ""
        return
    yield f"{one.connection_id}: {one.tables:,} tables, {one.columns:,} columns, {one.rows:,} rows, {one.seconds:.1f} s"
    yield from _listed("keys", one.keys, shown)
    yield from _links("joins", one.joins, shown)
    yield from _measures(one.measures, shown)
    yield from _links("for review (ktx review)", one.review, shown)
    yield from _links("dropped, no longer true", one.dropped, None)
    yield from _listed("not looked at, the budget was spent", one.unasked, shown)
    yield from _listed("tables that could not be profiled", one.unprofiled, shown)
    if one.model_calls:
        yield f"  model calls ({one.model_calls:,})"
    yield from _listed("not described, old texts kept", one.undescribed, shown)
    yield from _listed("no model answered about references of", one.unproposed, shown)
    yield from _listed("not known of this database", one.gaps, None)
    problems = [finding for finding in one.findings if finding.level in {"error", "warning"}]
    yield from _listed("problems in the layer", [f"{one.where}: {one.message}" for one in problems], shown)
    yield ""


def _measures(measures: Sequence[str], shown: int | None) -> Iterator[str]:
    by_source: dict[str, list[str]] = {}
    for measure in measures:
        source, _, name = measure.rpartition(".")
        by_source.setdefault(source, []).append(name)
    lines = [f"{source}: {_some(names, 5)}" for source, names in by_source.items()]
    if lines:
        yield f"  measures ({len(measures):,})"
        yield from _items(lines, shown)


def _some(names: Sequence[str], most: int) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _links(title: str, links: Sequence[Link], shown: int | None) -> Iterator[str]:
    width = max((len(link.text) for link in links), default=0)
    yield from _listed(title, [f"{link.text:<{min(width, 60)}}  {_reasons(link)}" for link in links], shown)


def _reasons(link: Link) -> str:
    sure = "" if link.origin != "inferred" else f"{link.score:.2f}: "
    return f"[{link.origin}] {sure}{link.evidence}"


def _listed(title: str, items: Sequence[str], shown: int | None) -> Iterator[str]:
    if not items:
        return
    yield f"  {title} ({len(items):,})"
    yield from _items(items, shown)


def _items(items: Sequence[str], shown: int | None) -> Iterator[str]:
    limit = len(items) if shown is None or len(items) <= shown + 2 else shown
    for item in items[:limit]:
        yield f"    {item}"
    if limit < len(items):
        yield f"    … and {len(items) - limit:,} more"


def _connection_json(one: ConnectionReport) -> dict[str, object]:
    return {
        "connectionId": one.connection_id,
        "driver": one.driver,
        "status": one.status,
        "error": one.error,
        "hint": one.hint,
        "steps": [
            {
                "operation": step.operation,
                "status": step.status,
                "detail": step.detail,
                "seconds": round(step.seconds, 3),
            }
            for step in one.steps
        ],
        "tables": one.tables,
        "columns": one.columns,
        "rows": one.rows,
        "keys": list(one.keys),
        "joins": [_link_json(link) for link in one.joins],
        "review": [_link_json(link) for link in one.review],
        "dropped": [_link_json(link) for link in one.dropped],
        "unasked": list(one.unasked),
        "unprofiled": list(one.unprofiled),
        "gaps": list(one.gaps),
        "undescribed": list(one.undescribed),
        "unproposed": list(one.unproposed),
        "modelCalls": one.model_calls,
        "measures": list(one.measures),
        "findings": list(one.findings),
        "changedFiles": list(one.changed_files),
        "seconds": round(one.seconds, 3),
    }


def _link_json(link: Link) -> dict[str, object]:
    return {
        "id": link.id,
        "join": link.text,
        "relationship": link.cardinality,
        "source": link.origin,
        "decision": link.decision,
        "score": link.score,
        "evidence": link.evidence,
    }
