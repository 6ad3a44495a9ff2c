"""Every part of a source that a question could name, put through the real compiler by itself."""

from collections.abc import Iterator

from sqlglot import exp

from ktx.errors import LayerError, QueryError
from ktx.findings import Finding, Place
from ktx.semantic.compile import compile_query
from ktx.semantic.dialects import facts_of
from ktx.semantic.expressions import parse_select
from ktx.semantic.query import DimensionAsk, MeasureAsk, Query
from ktx.semantic.source import Layer, Source
from ktx.suggest import did_you_mean


def check_source_compiles(layer: Layer, source: Source, *, dialect: str) -> Iterator[Finding]:
    """Give one finding per measure, segment, computed column and query that no question could use.

    All measures are tried in one question first, which spares a large layer most of the work.
    """
    if source.sql is not None:
        broken = list(_check_sql(source, source.sql, dialect))
        yield from broken
        if any(finding.code == "sql-unreadable" for finding in broken):
            return
    for _, finding in refused_parts(layer, source, dialect=dialect):
        yield finding


def refused_parts(
    layer: Layer, source: Source, *, dialect: str, has_implicit: bool = False
) -> Iterator[tuple[str, Finding]]:
    """Give the name of each measure, segment and computed column that the compiler refuses, with the reason.

    Measures that the layer derives by itself are right by construction, and tried only when `has_implicit`.
    """
    measures = [one for one in source.measures if has_implicit or not one.is_implicit]
    asks = tuple(MeasureAsk(expr=_name(source.name, measure.name, dialect)) for measure in measures)
    are_fine = bool(asks) and not any(
        _refused(layer, Query(measures=asks), dialect, "measure", "", source.place)
    )
    for measure, ask in zip(measures, asks, strict=True):
        if are_fine:
            break
        question = Query(measures=(ask,))
        name = f"{source.name}.{measure.name}"
        for finding in _refused(layer, question, dialect, "measure", name, measure.place):
            yield measure.name, finding
    columns = [column for column in source.columns if column.visibility == "public"]
    for column in columns:
        if column.expr is not None:
            question = Query(dimensions=(DimensionAsk(field=_name(source.name, column.name, dialect)),))
            name = f"{source.name}.{column.name}"
            for finding in _refused(layer, question, dialect, "column", name, column.place):
                yield column.name, finding
    if columns:
        shown = DimensionAsk(field=_name(source.name, columns[0].name, dialect))
        for segment in source.segments:
            name = f"{source.name}.{segment.name}"
            question = Query(dimensions=(shown,), segments=(name,))
            for finding in _refused(layer, question, dialect, "segment", name, segment.place):
                yield segment.name, finding


def _refused(
    layer: Layer, question: Query, dialect: str, kind: str, name: str, place: Place
) -> Iterator[Finding]:
    try:
        compile_query(layer, question, dialect=dialect)
    except (QueryError, LayerError) as error:
        yield Finding(
            level="error",
            code=f"{kind}-unusable",
            message=f"The {kind} `{name}` does not compile: {error.message}",
            where=place,
            fix=error.hint,
        )


def _check_sql(source: Source, sql: str, dialect: str) -> Iterator[Finding]:
    """Check that a query can be read, and gives the columns that the source declares."""
    try:
        tree = parse_select(sql, facts_of(dialect).name)
    except QueryError as error:
        yield Finding(
            level="error",
            code="sql-unreadable",
            message=f"The `sql` of `{source.name}` cannot be used: {error.message}",
            where=source.place,
            fix=error.hint,
        )
        return
    names = [name for name in tree.named_selects if name]
    if not names or any(name == "*" for name in names) or tree.find(exp.Star) is not None:
        return
    known = {name.casefold() for name in names}
    for column in source.columns:
        if column.expr is None and column.name.casefold() not in known:
            yield Finding(
                level="error",
                code="column-not-in-sql",
                message=f"`{source.name}.{column.name}` is not among the columns that its `sql` gives."
                f"{did_you_mean(column.name, names)}",
                where=column.place,
                fix="Select it in the `sql`, or remove it.",
            )


def _name(source: str, part: str, dialect: str) -> str:
    """Write `source.part`, quoted in the dialect's way where a name is not a plain word."""
    return ".".join(
        word
        if word.isidentifier() and word.isascii()
        else exp.to_identifier(word, quoted=True).sql(facts_of(dialect).name)
        for word in (source, part)
    )
