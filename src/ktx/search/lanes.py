"""What a lane of a search is: one way of finding documents, ranked by itself; `search.query` fuses what the lanes give.

A lane is a value with a name, a weight and `find`. What it may find is the `Scope`, turned into conditions of its SQL.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ktx.search.documents import DocumentKind
from ktx.search.index import Index

LaneName = Literal["lexical", "token", "dictionary", "semantic"]
_NOT_SHADOWED = (
    "NOT (d.kind = 'wiki' AND d.user_id IS NULL AND EXISTS (SELECT 1 FROM document s"
    " WHERE s.kind = 'wiki' AND s.ref = d.ref AND s.user_id IS NOT NULL AND s.user_id IS ?))"
)
NOT_HIDDEN = (
    "NOT (d.kind = 'dimension' AND EXISTS (SELECT 1 FROM hidden h"
    " WHERE h.ref = d.ref AND h.connection_id = d.connection_id))"
)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: the text as it came, its words that tell something, and what share of its meaning each of them carries.

    `counts` says how many documents have each word, as far as it was counted. The shares add up to 1.
    """

    text: str
    terms: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    shares: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A document that a lane found, and how much of the question it meets in the eyes of that lane, from 0 to 1."""

    id: int
    strength: float


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which documents a search may find: kinds (all when empty), one connection or all, and whose pages."""

    kinds: tuple[DocumentKind, ...] = ()
    connection_id: str | None = None
    user_id: str | None = None
    only_physical: bool = False

    @property
    def tables(self) -> tuple[str, ...]:
        """Name the word tables that hold the kinds of this scope."""
        has_pages = not self.kinds or "wiki" in self.kinds
        has_layer = not self.kinds or self.kinds != ("wiki",)
        return (("page_words",) if has_pages else ()) + (("layer_words",) if has_layer else ())

    def conditions(self) -> tuple[str, list[object]]:
        """Give the SQL conditions on the document `d`, and their parameters."""
        parts = [
            "d.is_findable",
            "(d.user_id IS NULL OR d.user_id IS ?)",
            _NOT_SHADOWED,
            NOT_HIDDEN,
        ]
        values: list[object] = [self.user_id, self.user_id]
        if self.kinds:
            parts.append(f"d.kind IN ({', '.join('?' * len(self.kinds))})")
            values.extend(self.kinds)
        if self.connection_id is not None:
            parts.append(
                "(d.connection_id = ? OR (d.kind = 'wiki' AND (NOT EXISTS (SELECT 1 FROM page_connection p"
                " WHERE p.document_id = d.id) OR EXISTS (SELECT 1 FROM page_connection p"
                " WHERE p.document_id = d.id AND p.connection_id = ?))))"
            )
            values.extend((self.connection_id, self.connection_id))
        if self.only_physical:
            parts.append("(d.column_name IS NOT NULL OR (d.kind = 'source' AND d.table_ref IS NOT NULL))")
        return " AND ".join(parts), values


class Lane(Protocol):
    """One way of finding. `find` gives documents, best first, at most `pool` of them."""

    @property
    def name(self) -> LaneName:
        """The name that answers show."""
        ...

    @property
    def skipped(self) -> str | None:
        """Why this lane is not asked at all, or None."""
        ...

    def weight_in(self, scope: Scope) -> float:
        """Give what a first place is worth in the fusion."""
        ...

    def find(self, index: Index, question: Question, scope: Scope, *, pool: int) -> list[Found]:
        """Rank documents for a question."""
        ...

    def note(self, index: Index) -> str | None:
        """Say what this lane cannot see, or None."""
        ...

    def catch_up(self, index: Index) -> None:
        """Make ready what this lane needs of an index that changed, as long as that is little."""
        ...


class WordLane:
    """What the lanes share that need nothing but the index."""

    skipped = None
    weight: float

    def weight_in(self, scope: Scope) -> float:
        """Give the same weight everywhere."""
        del scope
        return self.weight

    def note(self, index: Index) -> str | None:
        """Say nothing: words are always complete."""
        del index

    def catch_up(self, index: Index) -> None:
        """Do nothing: a refresh has written all words."""
        del index


@dataclass(frozen=True, kw_only=True)
class NoMeaning:
    """The semantic lane of a project without vectors: never asked, and says why."""

    name: LaneName = "semantic"
    skipped: str = "no embeddings are configured"

    def weight_in(self, scope: Scope) -> float:
        """Give what the lane would weigh."""
        return 3.0 if scope.kinds == ("wiki",) else 2.0

    def find(self, index: Index, question: Question, scope: Scope, *, pool: int) -> list[Found]:
        """Find nothing."""
        del index, question, scope, pool
        return []

    def note(self, index: Index) -> str | None:
        """Say nothing more than `skipped`."""
        del index

    def catch_up(self, index: Index) -> None:
        """Do nothing."""
        del index
