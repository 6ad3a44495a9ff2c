"""The lanes that find by words: whole ones in names and texts, and parts of the words of names."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktx.search.index import Index
from ktx.search.lanes import Found, LaneName, Question, Scope, WordLane
from ktx.search.text import all_of, any_of, fold, quote

_COMMON = 2_000
"""A word that so many documents have tells little; see `_ladder`."""
_MAX_EXPANSIONS = 12
_MIN_LETTERS = 3
_CLOSE = 0.74
_Place = tuple[float, int, int, str, int]


def weigh(index: Index, text: str, terms: tuple[str, ...], scope: Scope) -> Question:
    """Give a question with the share of its meaning that each word carries: the rarer a word, the more (Robertson's IDF)."""
    counts = {
        term: sum(_count(index, table, term) for table in scope.tables) for term in dict.fromkeys(terms)
    }
    total = index.highest_id()
    weights = {term: math.log1p((total - count + 0.5) / (count + 0.5)) for term, count in counts.items()}
    sum_ = sum(weights.values())
    shares = {term: weight / sum_ for term, weight in weights.items()}
    return Question(text=text, terms=terms, counts=counts, shares=shares)


@dataclass(frozen=True, kw_only=True)
class LexicalLane(WordLane):
    """Words: BM25 over name, description and text, a name counting most. Strong is what has the words that tell most."""

    name: LaneName = "lexical"
    weight: float = 1.5

    def find(self, index: Index, question: Question, scope: Scope, *, pool: int) -> list[Found]:
        """Rank by BM25."""
        if not question.terms:
            return []
        ids = _match(index, question.terms, question.counts, scope, pool=pool)
        met = _shares_met(index, question, scope, ids)
        return [Found(id=at, strength=met[at]) for at in ids]


@dataclass(frozen=True, kw_only=True)
class TokenLane(WordLane):
    """Parts of names: longer words that contain a term, or nearly are one; whole words are the lexical lane's.

    Strong is what meets the words that tell most, and meets them nearly whole.
    """

    name: LaneName = "token"
    weight: float = 0.75

    def find(self, index: Index, question: Question, scope: Scope, *, pool: int) -> list[Found]:
        """Rank by the number of terms found in the name, then by BM25."""
        groups = {term: group for term in question.terms if (group := _expand(index, term))}
        if not groups:
            return []
        every = tuple(dict.fromkeys(word for group in groups.values() for word in group))
        found = _match(index, every, {}, scope, pool=pool, column="name")
        texts = {at: fold(name) for table in scope.tables for at, name in _names(index, table, found)}
        met = {
            at: {
                term: max((near for word, near in group.items() if word in texts[at]), default=0.0)
                for term, group in groups.items()
            }
            for at in found
        }
        found.sort(key=lambda at: -sum(near > 0 for near in met[at].values()))
        return [
            Found(id=at, strength=sum(question.shares[term] * near for term, near in met[at].items()))
            for at in found
        ]


def _count(index: Index, table: str, term: str) -> int:
    """Count the documents with a word, up to where it is common."""
    query = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {table} MATCH ? LIMIT ?)"  # noqa: S608
    return int(index.connection.execute(query, (quote(term), _COMMON)).fetchone()[0])


def _shares_met(index: Index, question: Question, scope: Scope, ids: Sequence[int]) -> dict[int, float]:
    """Add up for each document the shares of the words that it has."""
    if len(question.terms) == 1:
        return dict.fromkeys(ids, 1.0)
    met = dict.fromkeys(ids, 0.0)
    marks = ", ".join("?" * len(ids))
    for table in scope.tables:
        query = f"SELECT rowid FROM {table} WHERE {table} MATCH ? AND rowid IN ({marks})"  # noqa: S608
        for term in question.shares:
            if question.counts[term]:
                for row in index.connection.execute(query, (quote(term), *ids)):
                    met[int(row[0])] += question.shares[term]
    return met


def _match(
    index: Index,
    terms: tuple[str, ...],
    counts: Mapping[str, int],
    scope: Scope,
    *,
    pool: int,
    column: str | None = None,
) -> list[int]:
    """Give the best matches in scope, by BM25 on each rung of the ladder."""
    conditions, values = scope.conditions()
    places: dict[int, tuple[int, _Place]] = {}
    for table in scope.tables:
        query = (
            f"SELECT d.id, w.rank, d.is_always, d.sort_order, d.ref FROM {table} w JOIN document d ON d.id = w.rowid"  # noqa: S608
            f" WHERE {table} MATCH ? AND {conditions} ORDER BY w.rank LIMIT ?"
        )
        count = 0
        for rung, expression in enumerate(_ladder(terms, counts)):
            asked = f"{column} : ({expression})" if column else expression
            rows = index.connection.execute(query, [asked, *values, pool]).fetchall()
            for at, rank, always, order, ref in rows:
                places.setdefault(at, (rung, (round(rank, 6), -always, order, ref, at)))
            count += len(rows)
            if count >= pool:
                break
    return sorted(places, key=lambda at: places[at])[:pool]


def _ladder(terms: tuple[str, ...], counts: Mapping[str, int]) -> tuple[str, ...]:
    """Write the FTS5 expressions to try until enough is found, the narrow before the wide.

    Ranking costs time per match. So a document is fetched for its rarer words, and a common word beside them only ranks; where all words
    are common, those documents come first that have them in their names, and all of them.
    """
    common = tuple(term for term in terms if counts.get(term, 0) >= _COMMON)
    rare = tuple(term for term in terms if counts.get(term, 1) and term not in common)
    if not common:
        return (any_of(terms),)
    if rare:
        return (f"({any_of(rare)}) OR (({any_of(rare)}) AND ({any_of(common)}))",)
    rungs = (f"name : ({all_of(common)})", all_of(common), f"name : ({any_of(common)})", any_of(common))
    return tuple(dict.fromkeys(rungs))


def _names(index: Index, table: str, ids: Sequence[int]) -> list[tuple[int, str]]:
    marks = ", ".join("?" * len(ids))
    rows = index.connection.execute(f"SELECT rowid, name FROM {table} WHERE rowid IN ({marks})", ids)  # noqa: S608
    return [(int(row[0]), str(row[1])) for row in rows]


def _expand(index: Index, term: str) -> dict[str, float]:
    """Give the words of names that contain a term, with the share of the word that it is; without any, those nearly the same."""
    if len(term) < _MIN_LETTERS:
        return {}
    rows = index.connection.execute(
        "SELECT word FROM word_parts WHERE word_parts MATCH ? ORDER BY length(word), word LIMIT ?",
        (quote(term), _MAX_EXPANSIONS),
    )
    words = [str(row[0]) for row in rows]
    if words or len(term) == _MIN_LETTERS or not term.isalpha():
        return {word: len(term) / len(word) for word in words if word != term}
    parts = tuple(dict.fromkeys(term[at : at + 3] for at in range(len(term) - 2)))
    near = index.connection.execute(
        "SELECT word FROM word_parts WHERE word_parts MATCH ? ORDER BY rank LIMIT 200", (any_of(parts),)
    )
    close = difflib.get_close_matches(term, [str(row[0]) for row in near], n=3, cutoff=_CLOSE)
    return {word: difflib.SequenceMatcher(None, term, word).ratio() for word in close}
