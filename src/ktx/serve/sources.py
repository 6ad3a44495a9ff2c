"""Semantic sources: found, listed, read as the compiler sees them."""

from ktx.errors import LayerError
from ktx.search.lanes import Scope
from ktx.search.query import LAYER_KINDS, search
from ktx.semantic.render import render_composed
from ktx.semantic.source import Layer, Source
from ktx.serve.answers import SourceHit, SourceSearch, SourceText
from ktx.serve.desk import Desk
from ktx.serve.lanes import lane_statuses
from ktx.suggest import did_you_mean


def source_search(
    desk: Desk, query: str, *, connection_id: str | None = None, limit: int = 10
) -> SourceSearch:
    """Find sources by what is in them: names, descriptions, measures, columns, sampled values."""
    scope = Scope(kinds=LAYER_KINDS, connection_id=desk.known_connection(connection_id))
    with desk.searching() as index:
        result = search(index, query, scope, limit=limit, by_source=True, lanes=desk.lanes())
    return SourceSearch(
        results=[
            SourceHit(
                connection_id=hit.connection_id or "",
                name=hit.ref,
                summary=hit.summary,
                score=round(hit.score, 6),
                match_reasons=list(hit.reasons),
                table=hit.table,
            )
            for hit in result.hits
        ],
        total_found=result.total_found,
        lanes=lane_statuses(result.lanes),
    )


def source_list(desk: Desk, *, connection_id: str | None = None, limit: int | None = None) -> SourceSearch:
    """List the sources of one connection, or of all, by name."""
    chosen = desk.known_connection(connection_id)
    connections = [chosen] if chosen is not None else sorted(desk.project.warehouses)
    hits = [
        SourceHit(
            connection_id=connection,
            name=name,
            summary=source.description or "",
            table=source.table,
            measures=len(source.measures),
            dimensions=sum(column.visibility == "public" for column in source.columns),
        )
        for connection in connections
        for name, source in sorted(desk.layer(connection).sources.items())
    ]
    return SourceSearch(results=hits[: limit or len(hits)], total_found=len(hits))


def sl_read_source(desk: Desk, connection_id: str | None, source_name: str) -> SourceText:
    """Give a source as it stands once manifest and overlay are put together, derived measures included.

    Raises:
        UsageError: the connection is unknown.
        LayerError: there is no such source, or its files cannot be used.
    """
    chosen = desk.connection_id(connection_id)
    text = desk.source_text(
        chosen, source_name, lambda layer: render_composed(find_source(layer, source_name))
    )
    return SourceText(source_name=source_name, yaml=text)


def find_source(layer: Layer, name: str) -> Source:
    """Give the source of that name.

    Raises:
        LayerError: there is none, or its files cannot be used.
    """
    source = layer.sources.get(name)
    if source is not None:
        return source
    if name in layer.broken:
        message = f"Source `{name}` cannot be used as its file stands."
        raise LayerError(message, findings=layer.broken[name])
    message = (
        f"Connection `{layer.connection_id}` has no source `{name[:120]}`.{did_you_mean(name, layer.sources)}"
    )
    raise LayerError(
        message, hint="List the sources with `ktx sl`, or find one with the tool `discover_data`."
    )
