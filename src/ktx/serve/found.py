"""What the index has to say about a question, for a context pack: pages, parts of the layer, values, and pages about those parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ktx.search.index import Index
from ktx.search.lanes import Scope
from ktx.search.query import LAYER_KINDS, Hit, always_pages, search
from ktx.search.values import NamedValue, named_values
from ktx.search.words import LexicalLane
from ktx.serve.desk import Desk

FADE = 0.1
"""How much less each next result of a search says than the one before it."""
_PAGES, _PARTS, _VALUES = 12, 60, 20
_SOURCES, _MENTIONS = 3, 3


@dataclass(frozen=True, kw_only=True)
class Found:
    """Each list best first. `mentions` are pages that speak of the first sources, whether or not they speak of the question."""

    always: tuple[Hit, ...]
    pages: tuple[Hit, ...]
    parts: tuple[Hit, ...]
    mentions: tuple[Hit, ...]
    values: tuple[NamedValue, ...]
    total: int


def find(desk: Desk, question: str, connection_id: str | None) -> Found:
    """Ask the index; every lane that the project has is asked."""
    scope = Scope(kinds=("wiki",), connection_id=connection_id, user_id=desk.user_id)
    layer = replace(scope, kinds=LAYER_KINDS)
    with desk.searching() as index:
        pages = search(index, question, scope, limit=_PAGES, lanes=desk.lanes())
        parts = search(index, question, layer, limit=_PARTS, lanes=desk.lanes())
        return Found(
            always=always_pages(index, scope),
            pages=pages.hits,
            parts=parts.hits,
            mentions=_mentions(index, parts.hits, scope),
            values=named_values(index, question, connection_id=connection_id, limit=_VALUES),
            total=pages.total_found + parts.total_found,
        )


def place_scores(hits: Sequence[Hit]) -> list[float]:
    """Give each hit its share of the best one, less for each place further down."""
    best = hits[0].score if hits else 1.0
    return [hit.score / (best or 1.0) / (1 + FADE * at) for at, hit in enumerate(hits)]


def _mentions(index: Index, parts: Sequence[Hit], scope: Scope) -> tuple[Hit, ...]:
    sources = list(dict.fromkeys(hit.source for hit in parts if hit.source is not None))[:_SOURCES]
    found = [search(index, name, scope, limit=_MENTIONS, lanes=(LexicalLane(),)) for name in sources]
    return tuple({hit.identity: hit for result in found for hit in result.hits}.values())
