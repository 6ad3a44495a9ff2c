"""Vectors of texts in the index: which are missing, and computing those.

A vector belongs to a text and a model, not to a document: equal texts share one, a rebuilt index keeps them, and another model has its
own. They are computed in batches when the index is brought up to date; a question computes only its own vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ktx.embeddings.embedder import Embedder
from ktx.events import Emit, StageAdvanced, StageFinished, StageStarted, ignore
from ktx.search.documents import meaning_text
from ktx.search.index import Index
from ktx.search.lanes import NOT_HIDDEN

STAGE = "vectors"
DURING_A_SEARCH = 32
"""Up to so many new texts get their vectors right before a search; more wait for a reindex."""

_CHUNK = 512
_COUNTED = "vectors"
_MISSING = (
    "FROM document d LEFT JOIN vector v ON v.model_id = ? AND v.meaning = d.meaning"
    f" WHERE v.id IS NULL AND d.is_findable AND {NOT_HIDDEN}"
)


@dataclass(frozen=True, kw_only=True)
class VectorReport:
    """Texts that got a vector of the model, and those that still have none."""

    model: str
    computed: int
    missing: int


def embed_missing(
    index: Index, embedder: Embedder, *, most: int | None = None, emit: Emit = ignore
) -> VectorReport:
    """Give every text in the index a vector, or none at all when more than `most` lack one.

    Each batch is stored on its own: what was computed stays when the next one fails. Once all are there, those of other models and
    of texts that are gone are deleted.

    Raises:
        OutsideError: the embedder does not answer.
        ConfigError: it refuses the key or the model.
    """
    model_id = model_id_of(index, embedder.model)
    missing = count_missing(index, embedder.model)
    if not missing or (most is not None and missing > most):
        return VectorReport(model=embedder.model, computed=0, missing=missing)
    emit(StageStarted(stage=STAGE, total=missing))
    rows = index.connection.execute(
        f"SELECT d.meaning, min(d.id) {_MISSING} GROUP BY d.meaning ORDER BY 2", (model_id,)
    ).fetchall()
    done = 0
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        texts = _texts(index, [int(row[1]) for row in chunk])
        vectors = embedder.embed([texts[int(row[1])] for row in chunk])
        halves = vectors.astype("float16")
        with index.writing():
            index.connection.executemany(
                "INSERT OR IGNORE INTO vector (model_id, meaning, data) VALUES (?, ?, ?)",
                [(model_id, row[0], half.tobytes()) for row, half in zip(chunk, halves, strict=True)],
            )
            index.bump_revision()
        done += len(chunk)
        emit(StageAdvanced(stage=STAGE, done=done, total=len(rows)))
    _forget_others(index, model_id)
    emit(StageFinished(stage=STAGE, summary=f"{done:,} texts by {embedder.model}"))
    return VectorReport(model=embedder.model, computed=done, missing=count_missing(index, embedder.model))


def count_missing(index: Index, model: str) -> int:
    """Count the texts without a vector of a model; the count is kept until the index changes."""
    mark = f"{index.revision()} {model} "
    kept = index.setting(_COUNTED)
    if kept is not None and kept.startswith(mark):
        return int(kept.removeprefix(mark))
    query = f"SELECT count(DISTINCT d.meaning) {_MISSING}"
    found = int(index.connection.execute(query, (model_id_of(index, model),)).fetchone()[0])
    index.set_setting(_COUNTED, f"{mark}{found}")
    return found


def count_vectors(index: Index, model: str) -> int:
    """Count the vectors of a model."""
    query = "SELECT count(*) FROM vector WHERE model_id = (SELECT id FROM vector_model WHERE name = ?)"
    return int(index.connection.execute(query, (model,)).fetchone()[0])


def _texts(index: Index, ids: Sequence[int]) -> dict[int, str]:
    """Put together again the texts whose digests stand at these documents."""
    found: dict[int, str] = {}
    marks = ", ".join("?" * len(ids))
    for table in ("page_words", "layer_words"):
        rows = index.connection.execute(
            f"SELECT d.id, d.kind, d.ref, d.summary, w.body FROM document d JOIN {table} w ON w.rowid = d.id"  # noqa: S608
            f" WHERE d.id IN ({marks})",
            list(ids),
        )
        found.update(
            (int(at), meaning_text(kind, ref, summary, body)) for at, kind, ref, summary, body in rows
        )
    return found


def model_id_of(index: Index, model: str) -> int:
    """Give the number of a model in the index."""
    run = index.connection.execute
    row = run("SELECT id FROM vector_model WHERE name = ?", (model,)).fetchone()
    if row is None:
        run("INSERT OR IGNORE INTO vector_model (name) VALUES (?)", (model,))
        row = run("SELECT id FROM vector_model WHERE name = ?", (model,)).fetchone()
    return int(row[0])


def _forget_others(index: Index, model_id: int) -> None:
    with index.writing():
        index.connection.execute("DELETE FROM vector_model WHERE id <> ?", (model_id,))
        index.connection.execute(
            "DELETE FROM vector WHERE model_id <> ? OR meaning NOT IN (SELECT meaning FROM document)",
            (model_id,),
        )
