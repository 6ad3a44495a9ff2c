"""What the project knows about a question: pages, sources, measures, columns and tables in one list."""

from typing import Literal

from ktx.search.documents import DocumentKind
from ktx.search.lanes import Scope
from ktx.search.query import Hit, discover
from ktx.search.text import query_terms
from ktx.semantic.tableref import parse_table_ref
from ktx.serve.answers import Discovery, Ref, TableRefInfo
from ktx.serve.desk import Desk
from ktx.serve.wiki import page_snippet

RefKind = Literal["wiki", "sl_source", "sl_measure", "sl_dimension", "sl_segment", "table", "column"]
_KIND_BY_REF: dict[RefKind, DocumentKind] = {
    "wiki": "wiki",
    "sl_source": "source",
    "sl_measure": "measure",
    "sl_dimension": "dimension",
    "sl_segment": "segment",
    "table": "source",
    "column": "dimension",
}
_REF_BY_KIND: dict[DocumentKind, RefKind] = {
    "wiki": "wiki",
    "source": "sl_source",
    "measure": "sl_measure",
    "dimension": "sl_dimension",
    "segment": "sl_segment",
}


def discover_data(
    desk: Desk,
    query: str,
    *,
    connection_id: str | None = None,
    kinds: tuple[RefKind, ...] = (),
    limit: int = 10,
) -> Discovery:
    """Find what the project knows about something, best first.

    A physical table or column that the semantic layer has comes as its source or dimension, with its physical name beside it;
    as `table` or `column` only when just these kinds are asked for.
    """
    is_physical = bool(kinds) and not {"sl_source", "sl_dimension"}.intersection(kinds)
    scope = Scope(
        kinds=tuple(dict.fromkeys(_KIND_BY_REF[kind] for kind in kinds)),
        connection_id=desk.known_connection(connection_id),
        user_id=desk.user_id,
        only_physical=is_physical and {"table", "column"}.issuperset(kinds),
    )
    with desk.searching() as index:
        result = discover(index, query, scope, limit=limit, lanes=desk.lanes())
    terms = query_terms(query)
    return Discovery(refs=[_ref(desk, hit, terms, is_physical=is_physical) for hit in result.hits])


def _ref(desk: Desk, hit: Hit, terms: tuple[str, ...], *, is_physical: bool) -> Ref:
    kind = _REF_BY_KIND[hit.kind]
    name = hit.ref
    table = table_ref_info(hit.table) if hit.table else None
    if is_physical and hit.kind in ("source", "dimension") and hit.table:
        kind = "table" if hit.kind == "source" else "column"
        name = hit.table if hit.kind == "source" else f"{hit.table}.{hit.column}"
    snippet = (
        page_snippet(desk, hit, terms)
        if hit.kind == "wiki"
        else " ".join(part for part in (hit.detail, hit.summary) if part)
    )
    return Ref(
        kind=kind,
        id=name,
        score=round(hit.score, 6),
        summary=hit.summary,
        snippet=snippet[:300],
        matched_on=hit.matched_on,
        connection_id=hit.connection_id,
        table_ref=table,
        column_name=hit.column if table else None,
    )


def table_ref_info(text: str) -> TableRefInfo:
    """Give the parts of a physical name as the layer writes it; a text that is no name stays whole."""
    ref = parse_table_ref(text)
    if ref is None:
        return TableRefInfo(name=text)
    return TableRefInfo(catalog=ref.catalog, db=ref.schema, name=ref.name)
