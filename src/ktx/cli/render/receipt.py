"""A receipt in words: what each number means, where that is written, and the rows behind it."""

from collections.abc import Iterator

from ktx.serve.answers import Definition, FactReceipt, Receipt


def receipt_lines(receipt: Receipt) -> Iterator[str]:
    """Give a receipt line by line."""
    yield "receipt:"
    for measure in receipt.measures:
        yield f"  {measure.name} = {measure.asked}" + (f" where {measure.filter}" if measure.filter else "")
        for definition in measure.definitions:
            yield from _definition_lines(definition)
        for path in measure.paths:
            way = " -> ".join((path.fact, *path.joins)) if path.joins else f"{path.fact}, its own column"
            yield f"    {path.to}: {way}{' (fan-out)' if path.is_fan_out else ''}"
    for definition in receipt.segments:
        yield from _definition_lines(definition)
    for fact in receipt.facts:
        yield from _fact_lines(fact)
    for text in receipt.group_filters:
        yield f"  groups kept: {text}"
    if receipt.row_limit.limit is not None:
        said = "cut more rows off" if receipt.row_limit.is_hit else "cut nothing off"
        yield f"  the limit of {receipt.row_limit.limit:,} rows {said}"


def _definition_lines(definition: Definition) -> Iterator[str]:
    parts = [f"{definition.kind} {definition.name}: {definition.expr}"]
    if definition.filter:
        parts.append(f"where {definition.filter}")
    if definition.segments:
        parts.append(f"in {', '.join(definition.segments)}")
    yield f"    {' '.join(parts)}"
    if definition.description:
        yield f"      {' '.join(definition.description.split())}"
    spot = f"{definition.file}:{definition.line}" if definition.line is not None else definition.file or ""
    if definition.commit is not None:
        commit = definition.commit
        spot += f" at {commit.id[:10]} ({commit.subject}, {commit.author}, {commit.at[:10]})"
    else:
        spot += ", in no commit"
    yield f"      {spot}{', changed since' if definition.dirty and definition.commit else ''}"


def _fact_lines(fact: FactReceipt) -> Iterator[str]:
    for one in fact.filters:
        way = f" through {' -> '.join(one.joins)}" if one.joins else ""
        how = {"where": "keeps rows", "exists": "keeps rows with a match"}.get(one.use, one.reason or one.use)
        yield f"  {fact.home}: {one.text} {how}{way}"
    if fact.rows is None:
        yield f"  {fact.home}: not counted, {fact.not_counted}"
        return
    rows = fact.rows
    yield (
        f"  {fact.home}: {rows.source_rows:,} rows, {rows.rows_lost:,} lost and {rows.rows_multiplied:,} added by joins, "
        f"{rows.kept_rows:,} kept by filters"
        + ("; each counts once per group" if fact.is_deduplicated else "")
    )
    for one in fact.aggregates:
        missing = f", {one.null_rows:,} of them with nothing to measure" if one.null_rows is not None else ""
        yield f"    {one.label}: {one.rows or 0:,} rows{missing}"
    for join in fact.joins:
        if join.rows_without_match:
            yield (
                f"    {join.rows_without_match:,} rows have no match in {join.joins[-1]}, "
                f"{join.rows_with_null_key:,} of them because the key is empty"
            )
    if fact.freshness is not None:
        yield f"    up to {fact.freshness.latest} by {fact.freshness.column}"
