"""A search: the lanes asked, fused, and told apart by what they found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ktx.errors import ConfigError, OutsideError
from ktx.search.documents import DocumentKind
from ktx.search.fuse import RankedList, fuse
from ktx.search.index import Index
from ktx.search.lanes import Found, Lane, LaneName, NoMeaning, Question, Scope
from ktx.search.text import fold, query_terms
from ktx.search.values import DictionaryLane
from ktx.search.words import LexicalLane, TokenLane, weigh

MatchedOn = Literal["name", "display", "description", "comment", "expr", "sample_value", "body"]

LAYER_KINDS: tuple[DocumentKind, ...] = ("source", "measure", "dimension", "segment")
WORD_LANES: tuple[Lane, ...] = (LexicalLane(), TokenLane(), DictionaryLane())
LANES: tuple[Lane, ...] = (*WORD_LANES, NoMeaning())
_MIN_POOL = 25
_MAX_POOL = 300


@dataclass(frozen=True, kw_only=True)
class LaneReport:
    """What one lane did: whether it ran, how deep it was asked to look, and how much it gave."""

    lane: LaneName
    status: Literal["ok", "skipped"]
    requested_pool: int
    effective_pool: int
    returned: int
    weight: float
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One thing found. `score` only orders hits of one answer; `reasons` name the lanes that found it."""

    kind: DocumentKind
    ref: str
    connection_id: str | None
    source: str | None
    user_id: str | None
    summary: str
    detail: str
    table: str | None
    column: str | None
    file: str
    score: float
    reasons: tuple[LaneName, ...]
    matched_on: MatchedOn

    @property
    def identity(self) -> tuple[str, str, str | None, str | None]:
        """What makes two hits the same thing."""
        return (self.kind, self.ref, self.connection_id, self.user_id)


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """Hits best first, how many there were before the limit, and a report per lane."""

    hits: tuple[Hit, ...]
    total_found: int
    lanes: tuple[LaneReport, ...]


@dataclass(frozen=True, kw_only=True)
class _Row:
    id: int
    kind: DocumentKind
    ref: str
    connection_id: str | None
    source: str | None
    user_id: str | None
    summary: str
    detail: str
    table: str | None
    column: str | None
    file: str


def search(
    index: Index,
    question: str,
    scope: Scope,
    *,
    limit: int,
    by_source: bool = False,
    lanes: Sequence[Lane] = LANES,
) -> SearchResult:
    """Find what the question is about. With `by_source`, what is found inside a source counts for the source."""
    terms = query_terms(question)
    asked = weigh(index, question, terms, scope)
    pool = min(max(_MIN_POOL, 3 * limit), _MAX_POOL)
    found, failed = _ask(index, asked, scope, lanes, pool=pool)
    known = _identities(index, {one.id for every in found.values() for one in every}, by_source=by_source)
    lists = [
        RankedList(
            lane=lane.name,
            weight=lane.weight_in(scope),
            items=[known[one.id] for one in found[lane.name]],
            strengths=[one.strength for one in found[lane.name]],
        )
        for lane in lanes
        if lane.name in found
    ]
    fused = fuse(lists)
    lane_by_name: dict[str, LaneName] = {lane.name: lane.name for lane in lanes}
    documents = _documents(index, [item.item for item in fused[:limit]])
    hits = tuple(
        _hit(documents[item.item], terms, item.score, tuple(lane_by_name[name] for name in item.lanes))
        for item in fused[:limit]
        if item.item in documents
    )
    reports = _reports(index, lanes, found, failed, scope, pool=pool)
    return SearchResult(hits=hits, total_found=len(fused), lanes=reports)


def _ask(
    index: Index, question: Question, scope: Scope, lanes: Sequence[Lane], *, pool: int
) -> tuple[dict[LaneName, list[Found]], dict[LaneName, str]]:
    """Give what each lane found, and why a lane could not look; one that cannot leaves the others their answer."""
    found: dict[LaneName, list[Found]] = {}
    failed: dict[LaneName, str] = {}
    for lane in lanes:
        if lane.skipped is not None:
            failed[lane.name] = lane.skipped
            continue
        try:
            found[lane.name] = lane.find(index, question, scope, pool=pool)
        except (OutsideError, ConfigError) as error:
            failed[lane.name] = error.message
    return found, failed


def discover(
    index: Index,
    question: str,
    scope: Scope,
    *,
    limit: int,
    lanes: Sequence[Lane] = LANES,
) -> SearchResult:
    """Find over pages and the semantic layer, each ranked by itself and then fused as equals; `always` pages are added."""
    kinds = scope.kinds or ("wiki", *LAYER_KINDS)
    layer = tuple(kind for kind in kinds if kind != "wiki")
    parts: list[SearchResult] = []
    if "wiki" in kinds:
        parts.append(search(index, question, replace(scope, kinds=("wiki",)), limit=limit, lanes=lanes))
    if layer:
        parts.append(search(index, question, replace(scope, kinds=layer), limit=limit, lanes=lanes))
    hits = {hit.identity: hit for part in parts for hit in part.hits}
    fused = fuse(
        [
            RankedList(lane=str(at), weight=1.0, items=[h.identity for h in p.hits])
            for at, p in enumerate(parts)
        ]
    )
    chosen = [replace(hits[item.item], score=item.score) for item in fused][:limit]
    if "wiki" in kinds and len(chosen) < limit:
        known = {hit.identity for hit in chosen}
        always = [hit for hit in always_pages(index, scope) if hit.identity not in known]
        chosen.extend(always[: limit - len(chosen)])
    return SearchResult(
        hits=tuple(chosen),
        total_found=sum(part.total_found for part in parts),
        lanes=parts[-1].lanes if parts else (),
    )


def always_pages(index: Index, scope: Scope) -> tuple[Hit, ...]:
    """Give the pages with `usage_mode: always` in scope, by `sort_order` and key."""
    conditions, values = replace(scope, kinds=("wiki",), only_physical=False).conditions()
    found = index.connection.execute(
        f"SELECT d.id FROM document d WHERE d.is_always = 1 AND {conditions} ORDER BY d.sort_order, d.ref",  # noqa: S608
        values,
    )
    rows = _rows(index, ids := [int(row[0]) for row in found])
    return tuple(_hit(rows[at], (), 0.0, ()) for at in ids)


def _rows(index: Index, ids: set[int] | list[int]) -> dict[int, _Row]:
    marks = ", ".join("?" * len(ids))
    found = index.connection.execute(f"{_SELECT} WHERE d.id IN ({marks})", list(ids))
    return {row[0]: _row(row) for row in found}


_SELECT = (
    "SELECT d.id, d.kind, d.ref, d.connection_id, d.source, d.user_id, d.summary, d.detail, d.table_ref, d.column_name, f.path"
    " FROM document d JOIN file f ON f.id = d.file_id"
)


def _row(row: tuple[Any, ...]) -> _Row:
    at, kind, ref, connection, source, user, summary, detail, table, column, file = row
    return _Row(
        id=at, kind=kind, ref=ref, connection_id=connection, source=source, user_id=user, summary=summary,
        detail=detail, table=table, column=column, file=file,
    )  # fmt: skip


def _identities(
    index: Index, ids: set[int], *, by_source: bool
) -> dict[int, tuple[str, str, str | None, str | None]]:
    marks = ", ".join("?" * len(ids))
    found = index.connection.execute(
        f"SELECT id, kind, ref, connection_id, user_id, source FROM document WHERE id IN ({marks})",  # noqa: S608
        list(ids),
    )
    return {
        at: ("source", source, connection, None)
        if by_source and source is not None
        else (kind, ref, connection, user)
        for at, kind, ref, connection, user, source in found
    }


def _documents(
    index: Index, identities: Sequence[tuple[str, str, str | None, str | None]]
) -> dict[tuple[str, str, str | None, str | None], _Row]:
    """Give each thing as one row; a thing described in several files takes from each what the others lack."""
    merged: dict[tuple[str, str, str | None, str | None], _Row] = {}
    for identity in identities:
        kind, ref, connection, user = identity
        found = index.connection.execute(
            f"{_SELECT} WHERE d.kind = ? AND d.ref = ? AND d.connection_id IS ? AND d.user_id IS ?"
            " ORDER BY d.table_ref IS NOT NULL, d.id",
            (kind, ref, connection, user),
        )
        for row in map(_row, found):
            first = merged.get(identity)
            merged[identity] = row if first is None else replace(
                first,
                summary=first.summary or row.summary,
                detail=first.detail or row.detail,
                table=first.table or row.table,
                column=first.column or row.column,
            )  # fmt: skip
    return merged


def _hit(row: _Row, terms: Sequence[str], score: float, reasons: tuple[LaneName, ...]) -> Hit:
    return Hit(
        kind=row.kind, ref=row.ref, connection_id=row.connection_id, source=row.source, user_id=row.user_id,
        summary=row.summary, detail=row.detail, table=row.table, column=row.column, file=row.file,
        score=score, reasons=reasons, matched_on=_matched_on(row, terms, reasons),
    )  # fmt: skip


def _matched_on(row: _Row, terms: Sequence[str], reasons: Sequence[LaneName]) -> MatchedOn:
    """Tell what the question met first: the name, the description, the expression, a value, or the text."""
    stems = [term.replace(" ", "") for term in terms]
    stems = [stem[: max(4, len(stem) - 3)] for stem in stems]
    name = fold(row.ref.rpartition(".")[2] if row.kind not in ("wiki", "source") else row.ref)
    if any(stem in name.replace("_", "").replace("-", "") for stem in stems):
        return "name"
    if tuple(reasons) == ("dictionary",):
        return "sample_value"
    if any(stem in fold(row.summary).replace(" ", "") for stem in stems):
        return "description"
    if row.kind in ("measure", "segment") and any(stem in fold(row.detail) for stem in stems):
        return "expr"
    return "sample_value" if "dictionary" in reasons else "body"


def _reports(
    index: Index,
    lanes: Sequence[Lane],
    found: Mapping[LaneName, list[Found]],
    failed: Mapping[LaneName, str],
    scope: Scope,
    *,
    pool: int,
) -> tuple[LaneReport, ...]:
    return tuple(
        LaneReport(
            lane=lane.name,
            status="ok" if lane.name in found else "skipped",
            requested_pool=pool,
            effective_pool=pool if lane.name in found else 0,
            returned=len(found.get(lane.name, ())),
            weight=lane.weight_in(scope),
            reason=failed.get(lane.name) or lane.note(index),
        )
        for lane in lanes
        if not (lane.name == "dictionary" and scope.kinds == ("wiki",))
    )
