"""The search index after an ingest: files that changed, stored values, and vectors where there is an embedder."""

from collections.abc import Sequence

from ktx.embeddings.connect import open_embedder
from ktx.embeddings.embedder import NoEmbedder
from ktx.errors import ConfigError, OutsideError
from ktx.events import Emit, Notice, StageFinished, StageStarted
from ktx.ingest import manifests
from ktx.project import Project, ensure_state_dir, warehouse_ids
from ktx.scan.store import ScanStore
from ktx.search.index import ColumnValues, Index, open_index
from ktx.search.meaning import embed_missing
from ktx.search.reindex import ValueBatch, refresh
from ktx.semantic.merge import known_names

INDEX_NAME = "index.sqlite"


def reindex(project: Project, store: ScanStore, emit: Emit) -> str:
    """Bring the search index up to date with files and stored values, and give what was done in one line."""
    emit(StageStarted(stage="index"))
    values = [
        ValueBatch(
            connection_id=connection_id,
            stamp=store.values_stamp(connection_id),
            read=lambda connection_id=connection_id: _column_values(project, store, connection_id),
        )
        for connection_id in warehouse_ids(project)
    ]
    with open_index(ensure_state_dir(project) / INDEX_NAME) as index:
        report = refresh(index, project.root, values=values)
        _embed(project, index, emit)
    changed = report.added + report.changed + report.removed
    summary = f"{changed} of {changed + report.unchanged} files read" if changed else "already up to date"
    emit(StageFinished(stage="index", summary=summary))
    return summary


def _embed(project: Project, index: Index, emit: Emit) -> None:
    """Compute missing vectors; words find everything all the same when that fails."""
    embedder = open_embedder(project.config.ingest.embeddings, project_dir=project.root)
    if isinstance(embedder, NoEmbedder):
        return
    try:
        embed_missing(index, embedder, emit=emit)
    except (OutsideError, ConfigError) as error:
        emit(
            Notice(message=f"search by meaning is not complete: {error.message}; `ktx admin reindex` goes on")
        )


def _column_values(project: Project, store: ScanStore, connection_id: str) -> Sequence[ColumnValues]:
    names = known_names(manifests.read_shards(project.semantic_dir, connection_id).values())
    return [
        ColumnValues(
            source=names[found.table],
            column=found.column,
            values=found.values,
            cardinality=found.distinct_count,
        )
        for found in store.column_values(connection_id)
        if found.table in names
    ]
