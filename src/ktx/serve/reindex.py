"""Rebuilding the search index on request."""

import time

from ktx.embeddings.connect import open_embedder
from ktx.embeddings.embedder import NoEmbedder
from ktx.events import Emit, ignore
from ktx.project import ensure_state_dir
from ktx.search.index import Index, open_index
from ktx.search.meaning import embed_missing
from ktx.search.reindex import refresh
from ktx.serve.answers import Reindexed, VectorCount
from ktx.serve.desk import Desk
from ktx.serve.marks import values_taken
from ktx.serve.scans import value_batches


def reindex(desk: Desk, *, force: bool = False, emit: Emit = ignore) -> Reindexed:
    """Bring the search index up to date, vectors included; `force` builds it anew from the files and the last scan.

    Vectors are computed for texts that have none of the configured model; `force` does not compute them again.

    Raises:
        OutsideError: vectors cannot be computed; the rest is up to date then.
    """
    started = time.monotonic()
    with open_index(ensure_state_dir(desk.project) / "index.sqlite") as index:
        values = value_batches(desk.project, index, desk.layer, force=force)
        report = refresh(index, desk.project.root, values=values, force=force)
        values_taken(desk.project, index)
        vectors = _vectors(desk, index, emit)
        return Reindexed(
            documents=index.count_documents(),
            added=report.added,
            changed=report.changed,
            removed=report.removed,
            unchanged=report.unchanged,
            skipped=list(report.skipped),
            vectors=vectors,
            seconds=round(time.monotonic() - started, 3),
        )


def _vectors(desk: Desk, index: Index, emit: Emit) -> VectorCount:
    embedder = open_embedder(desk.project.config.ingest.embeddings, project_dir=desk.project.root)
    if isinstance(embedder, NoEmbedder):
        return VectorCount(reason=embedder.reason)
    done = embed_missing(index, embedder, emit=emit)
    return VectorCount(model=done.model, computed=done.computed, missing=done.missing)
