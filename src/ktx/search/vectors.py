"""The lane that finds by meaning: the question's vector against all vectors of the index."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ktx.embeddings.embedder import Embedder, Vectors
from ktx.errors import ConfigError, OutsideError
from ktx.search.documents import KINDS
from ktx.search.index import Index
from ktx.search.lanes import Found, LaneName, Question, Scope
from ktx.search.meaning import DURING_A_SEARCH, count_missing, embed_missing, model_id_of

_CHUNK = 512
_LEAST_COSINE = 0.2
_WIDEN = 4


@dataclass(frozen=True, kw_only=True)
class _Matrix:
    """The vectors of an index at one revision: `documents[i]` of kind `kinds[i]` has the vector `rows[i]`."""

    revision: int
    vectors: Vectors
    documents: NDArray[np.int64]
    kinds: NDArray[np.int8]
    rows: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The last question, with its cosines to the documents of a revision."""

    text: str
    vector: NDArray[np.float32]
    revision: int
    cosines: NDArray[np.float32]


class SemanticLane:
    """Meaning: the cosine between the question and each text. Vectors are read once per revision of the index."""

    name: LaneName = "semantic"
    skipped = None

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._matrix: _Matrix | None = None
        self._asked: _Asked | None = None
        self._trouble: str | None = None

    def weight_in(self, scope: Scope) -> float:
        """Give what a first place is worth: pages are prose, of which words say less than of names."""
        return 3.0 if scope.kinds == ("wiki",) else 2.0

    def catch_up(self, index: Index) -> None:
        """Compute what few vectors are missing; many wait for a reindex. A failure is kept for `note`."""
        try:
            embed_missing(index, self._embedder, most=DURING_A_SEARCH)
            self._trouble = None
        except (OutsideError, ConfigError) as error:
            self._trouble = error.message

    def note(self, index: Index) -> str | None:
        """Say how many texts this lane cannot see yet."""
        missing = count_missing(index, self._embedder.model)
        if not missing:
            return None
        why = f" ({self._trouble.rstrip('.')})" if self._trouble else ""
        return f"{missing} texts have no vector yet{why}; `ktx admin reindex` computes them"

    def find(self, index: Index, question: Question, scope: Scope, *, pool: int) -> list[Found]:
        """Rank by cosine, which is also the strength; the conditions of the scope are asked of the best until enough of them hold.

        Raises:
            OutsideError: the question's vector cannot be computed.
            ConfigError: the key or the model is refused.
        """
        if not question.terms:
            return []
        matrix = self._read(index)
        if not len(matrix.documents):
            if count_missing(index, self._embedder.model):
                raise ConfigError("No text has a vector yet; `ktx admin reindex` computes them.")
            return []
        cosines = self._cosines(matrix, question.text)
        if scope.kinds:
            wanted = np.isin(matrix.kinds, [KINDS.index(kind) for kind in scope.kinds])
            cosines = np.where(wanted, cosines, np.float32(-1))
        size = min(2 * pool, len(cosines))
        while True:
            best = np.argpartition(cosines, -size)[-size:]
            best = best[np.lexsort((matrix.documents[best], -cosines[best]))]
            near = best[cosines[best] > _LEAST_COSINE]
            kept = _in_scope(index, matrix.documents[near].tolist(), scope)
            if len(kept) >= pool or len(near) < size or size == len(cosines):
                strengths = dict(zip(matrix.documents[near].tolist(), cosines[near].tolist(), strict=True))
                return [Found(id=at, strength=strengths[at]) for at in kept[:pool]]
            size = min(size * _WIDEN, len(cosines))

    def _cosines(self, matrix: _Matrix, text: str) -> NDArray[np.float32]:
        """Compare a text with every document; the last answer is kept, for a question is asked of pages and of the layer."""
        asked = self._asked
        if asked is not None and (asked.text, asked.revision) == (text, matrix.revision):
            return asked.cosines
        kept = asked.vector if asked is not None and asked.text == text else None
        vector = self._embedder.embed([text])[0] if kept is None else kept
        cosines: NDArray[np.float32] = (matrix.vectors @ vector)[matrix.rows]
        self._asked = _Asked(text=text, vector=vector, revision=matrix.revision, cosines=cosines)
        return cosines

    def _read(self, index: Index) -> _Matrix:
        revision = index.revision()
        if self._matrix is None or self._matrix.revision != revision:
            self._matrix = _read_matrix(index, self._embedder.model, revision)
        return self._matrix


def _read_matrix(index: Index, model: str, revision: int) -> _Matrix:
    run = index.connection.execute
    model_id = model_id_of(index, model)
    # The plus keeps SQLite from going by the index and sorting: these are most of the rows, read in the order in which they lie.
    vectors = run("SELECT meaning, data FROM vector WHERE +model_id = ?", (model_id,)).fetchall()
    place = {row[0]: at for at, row in enumerate(vectors)}
    rows = run("SELECT id, kind, meaning FROM document").fetchall()
    documents = [(at, kind, place[meaning]) for at, kind, meaning in rows if meaning in place]
    kinds = {kind: at for at, kind in enumerate(KINDS)}
    data = np.frombuffer(b"".join(row[1] for row in vectors), dtype=np.float16)
    return _Matrix(
        revision=revision,
        vectors=data.astype(np.float32).reshape(len(vectors), -1 if vectors else 0),
        documents=np.array([row[0] for row in documents], dtype=np.int64),
        kinds=np.array([kinds[row[1]] for row in documents], dtype=np.int8),
        rows=np.array([row[2] for row in documents], dtype=np.int64),
    )


def _in_scope(index: Index, ids: Sequence[int], scope: Scope) -> list[int]:
    conditions, values = scope.conditions()
    kept: set[int] = set()
    for start in range(0, len(ids), _CHUNK):
        part = ids[start : start + _CHUNK]
        marks = ", ".join("?" * len(part))
        query = f"SELECT d.id FROM document d WHERE d.id IN ({marks}) AND {conditions}"  # noqa: S608
        kept.update(int(row[0]) for row in index.connection.execute(query, [*part, *values]))
    return [at for at in ids if at in kept]
