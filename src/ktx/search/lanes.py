"""The lanes of a search: each one way of finding documents, ranked by itself; `search.query` fuses what they give.

A lane is a value with a name, a weight and `find`. What it may find is the `Scope`, turned into conditions of its SQL.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ktx.search.documents import DocumentKind
from ktx.search.index import Index
from ktx.search.text import any_of, fold, quote

LaneName = Literal["lexical", "token", "dictionary", "semantic"]
_NOT_SHADOWED = (
    "NOT (d.kind = 'wiki' AND d.user_id IS NULL AND EXISTS (SELECT 1 FROM document s"
    " WHERE s.kind = 'wiki' AND s.ref = d.ref AND s.user_id IS NOT NULL AND s.user_id IS ?))"
)
NOT_HIDDEN = (
    "NOT (d.kind = 'dimension' AND EXISTS (SELECT 1 FROM hidden h"
    " WHERE h.ref = d.ref AND h.connection_id = d.connection_id))"
)
_MAX_EXPANSIONS = 12
_COMMON = 5_000
"""A word that so many documents have tells little; see `_expression`."""
_MIN_LETTERS = 3
_CLOSE = 0.74


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: the text as it came, and its words that tell something."""

    text: str
    terms: tuple[str, ...]


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
    """One way of finding. `find` gives document ids, best first, at most `pool` of them."""

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

    def find(self, index: Index, question: Question, scope: Scope, *, pool: int) -> list[int]:
        """Rank documents for a question."""
        ...

    def note(self, index: Index) -> str | None:
        """Say what this lane cannot see, or None."""
        ...

    def catch_up(self, index: Index) -> None:
        """Make ready what this lane needs of an index that changed, as long as that is little."""
        ...


class _WordLane:
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

    def find(self, index: Index, question: Question, scope: Scope, *, pool: int) -> list[int]:
        """Find nothing."""
        del index, question, scope, pool
        return []

    def note(self, index: Index) -> str | None:
        """Say nothing more than `skipped`."""
        del index

    def catch_up(self, index: Index) -> None:
        """Do nothing."""
        del index


@dataclass(frozen=True, kw_only=True)
class LexicalLane(_WordLane):
    """Words: BM25 over name, description and text, a name counting most."""

    name: LaneName = "lexical"
    weight: float = 1.5

    def find(self, index: Index, question: Question, scope: Scope, *, pool: int) -> list[int]:
        """Rank by BM25."""
        return _match(index, question.terms, scope, pool=pool) if question.terms else []


@dataclass(frozen=True, kw_only=True)
class TokenLane(_WordLane):
    """Parts of names: longer words that contain a term, or nearly are one; whole words are the lexical lane's.

    Ranked by the share of the question's terms found in the name.
    """

    name: LaneName = "token"
    weight: float = 0.75

    def find(self, index: Index, question: Question, scope: Scope, *, pool: int) -> list[int]:
        """Rank by the share of terms found in the name or description, then by BM25."""
        groups = [group for term in question.terms if (group := _expand(index, term))]
        if not groups:
            return []
        every = tuple(dict.fromkeys(word for group in groups for word in group))
        found = _match(index, every, scope, pool=pool, column="name")
        if len(groups) == 1 or not found:
            return found
        texts = {at: fold(name) for table in scope.tables for at, name in _names(index, table, found)}
        shares = {at: sum(any(word in texts[at] for word in group) for group in groups) for at in found}
        return sorted(found, key=lambda at: -shares[at])


@dataclass(frozen=True, kw_only=True)
class DictionaryLane(_WordLane):
    """Sampled values: the columns in which a value of the question was seen, whole values before parts of one."""

    name: LaneName = "dictionary"
    weight: float = 2.0

    def find(self, index: Index, question: Question, scope: Scope, *, pool: int) -> list[int]:
        """Rank columns whose sampled values the question names."""
        terms = question.terms
        if not terms or (scope.kinds and "dimension" not in scope.kinds) or not index.value_connections():
            return []
        conditions, values = scope.conditions()
        runs = list(
            word_runs(
                [term.replace("  ", "").replace(" ", "") if not term.isascii() else term for term in terms]
            )
        )
        marks = ", ".join("?" * len(runs))
        join = (
            " CROSS JOIN document d ON d.kind = 'dimension' AND d.connection_id = v.connection_id"
            " AND d.ref = v.source || '.' || v.column_name"
        )
        whole = index.connection.execute(
            f"SELECT d.id, max(length(v.folded)) FROM value v{join} WHERE v.folded IN ({marks}) AND {conditions}"  # noqa: S608
            " GROUP BY d.id ORDER BY 2 DESC, d.id LIMIT ?",
            [*runs, *values, pool],
        )
        found = [int(row[0]) for row in whole]
        partial = index.connection.execute(
            "SELECT d.id FROM (SELECT rowid, rank FROM value_words WHERE value_words MATCH ? ORDER BY rank LIMIT ?) w"  # noqa: S608
            f" CROSS JOIN value v ON v.id = w.rowid{join} WHERE {conditions} ORDER BY w.rank",
            [any_of(terms), pool * 4, *values],
        )
        return list(dict.fromkeys([*found, *(int(row[0]) for row in partial)]))[:pool]


def _match(
    index: Index, terms: tuple[str, ...], scope: Scope, *, pool: int, column: str | None = None
) -> list[int]:
    """Give the best matches in scope. SQLite walks them in rank order and stops when there are enough."""
    conditions, values = scope.conditions()
    found: list[tuple[float, int, int, str, int]] = []
    for table in scope.tables:
        expression = _expression(index, table, terms)
        rows = index.connection.execute(
            f"SELECT d.id, w.rank, d.is_always, d.sort_order, d.ref FROM {table} w JOIN document d ON d.id = w.rowid"  # noqa: S608
            f" WHERE {table} MATCH ? AND {conditions} ORDER BY w.rank LIMIT ?",
            [f"{column} : ({expression})" if column else expression, *values, pool],
        )
        found.extend((round(rank, 6), -always, order, ref, at) for at, rank, always, order, ref in rows)
    return [at for *_, at in sorted(found)][:pool]


def _expression(index: Index, table: str, terms: tuple[str, ...]) -> str:
    """Write the FTS5 expression for any of the terms, where words that are everywhere only help to rank.

    Ranking costs time per match, so a document is fetched for its rarer words; a common word beside them still counts.
    """
    if len(terms) < 2:
        return any_of(terms)
    counts = {
        term: int(
            index.connection.execute(
                f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {table} MATCH ? LIMIT ?)",  # noqa: S608
                (quote(term), _COMMON),
            ).fetchone()[0]
        )
        for term in terms
    }
    common = tuple(term for term in terms if counts[term] >= _COMMON)
    rare = tuple(term for term in terms if 0 < counts[term] < _COMMON)
    if not common or not rare:
        return any_of(terms)
    return f"({any_of(rare)}) OR (({any_of(rare)}) AND ({any_of(common)}))"


def _names(index: Index, table: str, ids: Sequence[int]) -> list[tuple[int, str]]:
    marks = ", ".join("?" * len(ids))
    rows = index.connection.execute(f"SELECT rowid, name FROM {table} WHERE rowid IN ({marks})", ids)  # noqa: S608
    return [(int(row[0]), str(row[1])) for row in rows]


def _expand(index: Index, term: str) -> list[str]:
    """Give the words of names that contain a term, shortest first; without any, those that are nearly the same."""
    if len(term) < _MIN_LETTERS:
        return []
    rows = index.connection.execute(
        "SELECT word FROM word_parts WHERE word_parts MATCH ? ORDER BY length(word), word LIMIT ?",
        (quote(term), _MAX_EXPANSIONS),
    )
    words = [str(row[0]) for row in rows]
    if words or len(term) == _MIN_LETTERS or not term.isalpha():
        return [word for word in words if word != term]
    parts = tuple(dict.fromkeys(term[at : at + 3] for at in range(len(term) - 2)))
    near = index.connection.execute(
        "SELECT word FROM word_parts WHERE word_parts MATCH ? ORDER BY rank LIMIT 200", (any_of(parts),)
    )
    return difflib.get_close_matches(term, [str(row[0]) for row in near], n=3, cutoff=_CLOSE)


def word_runs(terms: list[str], *, longest: int = 4) -> list[str]:
    """Give the runs of neighbouring words, longer ones first: what may be a whole value."""
    return [
        " ".join(terms[at : at + size])
        for size in range(longest, 0, -1)
        for at in range(len(terms) - size + 1)
    ]
