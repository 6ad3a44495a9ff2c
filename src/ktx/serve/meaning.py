"""Search by meaning for a project: the lanes that a question goes through."""

from ktx.embeddings.connect import open_embedder
from ktx.embeddings.embedder import NoEmbedder, Patience
from ktx.project import Project
from ktx.search.lanes import Lane, NoMeaning
from ktx.search.query import WORD_LANES

_PATIENCE = Patience(answer_s=10.0, retries_s=2.0)
"""Somebody waits: a server that is slow leaves the answer to the other lanes."""


def open_lanes(project: Project) -> tuple[Lane, ...]:
    """Give the lanes of a project, that of meaning included where there is an embedder."""
    embedder = open_embedder(project.config.ingest.embeddings, project_dir=project.root, patience=_PATIENCE)
    if isinstance(embedder, NoEmbedder):
        return (*WORD_LANES, NoMeaning(skipped=embedder.reason))
    from ktx.search.vectors import SemanticLane

    return (*WORD_LANES, SemanticLane(embedder))
