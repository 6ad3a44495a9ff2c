"""A context pack as Markdown, for people and for prompts."""

import json
from collections.abc import Iterator

from ktx.serve.answers import ContextPack, PackSource


def context_text(pack: ContextPack) -> str:
    """Write a pack as Markdown."""
    parts: list[str] = []
    for rule in pack.rules:
        stale = f" (may no longer hold since {rule.stale_since})" if rule.stale_since else ""
        parts.append(
            f"# Rule {rule.key}{stale}\n{rule.summary}" + (f"\n\n{rule.excerpt}" if rule.excerpt else "")
        )
    parts += ["\n".join(_source_lines(source)) for source in pack.sources]
    if pack.joins:
        lines = ["# Joins"]
        for join in pack.joins:
            way = " -> ".join([join.origin, *(join.steps or ())])
            lines.append(
                f"- {way}{' (many)' if join.shape == 'fan' else ''}"
                if join.problem is None
                else f"- {join.problem}"
            )
        parts.append("\n".join(lines))
    if pack.values:
        parts.append(
            "\n".join(["# Values", *(f"- {one.source}.{one.column} = {one.value!r}" for one in pack.values)])
        )
    if pack.left_out_count:
        lines = [f"# Left out ({pack.left_out_count})"]
        for one in pack.left_out:
            lines.append(f"- {one.what}: {one.tool} {json.dumps(one.arguments, ensure_ascii=False)}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) if parts else "Nothing is known about it."


def _source_lines(source: PackSource) -> Iterator[str]:
    yield f"# Source {source.name} ({source.connection_id}{f', {source.table}' if source.table else ''})"
    if source.description:
        yield source.description
    if source.grain:
        yield f"One row per {', '.join(source.grain)}."
    for measure in source.measures:
        parts = [f"- measure {measure.name}: {measure.expr}"]
        if measure.filter:
            parts.append(f"where {measure.filter}")
        if measure.segments:
            parts.append(f"in {', '.join(measure.segments)}")
        yield " ".join(parts) + (f". {measure.description}" if measure.description else "")
    for segment in source.segments or ():
        yield f"- segment {segment.name}: {segment.expr}" + (
            f". {segment.description}" if segment.description else ""
        )
    for column in source.columns:
        computed = f" = {column.expr}" if column.expr else ""
        yield f"- {column.name} ({column.type}){computed}" + (
            f": {column.description}" if column.description else ""
        )
