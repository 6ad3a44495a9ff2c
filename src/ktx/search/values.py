"""Sampled values that a question names, with the columns in which they were seen; and the lane that finds those columns."""

from collections.abc import Sequence
from dataclasses import dataclass

from ktx.search.index import Index
from ktx.search.lanes import Found, LaneName, Question, Scope, WordLane
from ktx.search.text import any_of, query_terms, words_of

_VISIBLE = (
    "NOT EXISTS (SELECT 1 FROM hidden h WHERE h.ref = v.source || '.' || v.column_name"
    " AND h.connection_id = v.connection_id)"
)
_COLUMNS = "v.connection_id, v.source, v.column_name, v.value"


@dataclass(frozen=True, kw_only=True)
class DictionaryLane(WordLane):
    """Sampled values: the columns in which a value of the question was seen, whole values before parts of one.

    A whole value is as strong as can be, a part of one as strong as the share of the value that it is.
    """

    name: LaneName = "dictionary"
    weight: float = 2.0

    def find(self, index: Index, question: Question, scope: Scope, *, pool: int) -> list[Found]:
        """Rank columns whose sampled values the question names."""
        terms = question.terms
        if not terms or (scope.kinds and "dimension" not in scope.kinds) or not index.value_connections():
            return []
        conditions, values = scope.conditions()
        runs = word_runs(terms)
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
        found = {int(row[0]): 1.0 for row in whole}
        partial = index.connection.execute(
            "SELECT d.id, v.value FROM"  # noqa: S608
            " (SELECT rowid, rank FROM value_words WHERE value_words MATCH ? ORDER BY rank LIMIT ?) w"
            f" CROSS JOIN value v ON v.id = w.rowid{join} WHERE {conditions} ORDER BY w.rank",
            [any_of(terms), pool * 4, *values],
        )
        for at, value in partial:
            found.setdefault(int(at), _share_named(str(value), terms))
        return [Found(id=at, strength=strength) for at, strength in found.items()][:pool]


@dataclass(frozen=True, kw_only=True)
class NamedValue:
    """A value as it is stored. `is_whole` when words of the question are the whole of it, not a part."""

    connection_id: str
    source: str
    column: str
    value: str
    is_whole: bool


def named_values(
    index: Index, question: str, *, connection_id: str | None = None, limit: int = 20
) -> tuple[NamedValue, ...]:
    """Give the values that the question names, whole ones first, the longer before the shorter."""
    terms = list(query_terms(question))
    if not terms:
        return ()
    runs = word_runs(terms)
    marks = ", ".join("?" * len(runs))
    only = (connection_id, connection_id)
    whole = index.connection.execute(
        f"SELECT {_COLUMNS} FROM value v WHERE v.folded IN ({marks}) AND (? IS NULL OR v.connection_id = ?) AND {_VISIBLE}"  # noqa: S608
        " ORDER BY length(v.folded) DESC, v.connection_id, v.source, v.column_name, v.value LIMIT ?",
        [*runs, *only, limit],
    ).fetchall()
    partial = index.connection.execute(
        "SELECT v.connection_id, v.source, v.column_name, v.value FROM"  # noqa: S608
        " (SELECT rowid, rank FROM value_words WHERE value_words MATCH ? ORDER BY rank LIMIT ?) w"
        f" CROSS JOIN value v ON v.id = w.rowid WHERE (? IS NULL OR v.connection_id = ?) AND {_VISIBLE}"
        " ORDER BY round(w.rank, 6), v.connection_id, v.source, v.column_name, v.value",
        [any_of(tuple(terms)), limit * 4, *only],
    ).fetchall()
    found: dict[tuple[str, ...], bool] = {}
    for rows, is_whole in ((whole, True), (partial, False)):
        for row in rows:
            found.setdefault(tuple(map(str, row)), is_whole)
    return tuple(
        NamedValue(connection_id=one[0], source=one[1], column=one[2], value=one[3], is_whole=is_whole)
        for one, is_whole in list(found.items())[:limit]
    )


def word_runs(terms: Sequence[str], *, longest: int = 4) -> list[str]:
    """Give the runs of neighbouring words, longer ones first: what may be a whole value."""
    words = [term.replace(" ", "") if not term.isascii() else term for term in terms]
    return [
        " ".join(words[at : at + size])
        for size in range(longest, 0, -1)
        for at in range(len(words) - size + 1)
    ]


def _share_named(value: str, terms: Sequence[str]) -> float:
    """Give the share of a value's words that are among the terms; those of a script without blanks count as one word."""
    words = words_of(value)
    named = {word for term in terms for word in term.split()}
    return sum(word in named for word in words) / len(words) if words else 0.0
