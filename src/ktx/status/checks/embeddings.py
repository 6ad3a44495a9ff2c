"""Whether search by meaning is on, and complete."""

from collections.abc import Iterator

from ktx.embeddings.connect import open_embedder
from ktx.embeddings.embedder import NoEmbedder, Patience
from ktx.errors import ConfigError, KtxError, OutsideError
from ktx.search.index import open_index
from ktx.search.meaning import count_missing, count_vectors
from ktx.sqlite import Error
from ktx.status.check import Check, Scene

_PATIENCE = Patience(answer_s=15.0, retries_s=0.0)


def check_embeddings(scene: Scene) -> Iterator[Check]:
    """Say which model computes vectors, and how many texts have one."""
    embedder = open_embedder(scene.config.ingest.embeddings, project_dir=scene.root, patience=_PATIENCE)
    if isinstance(embedder, NoEmbedder):
        status = "skip" if embedder.is_chosen else "warn"
        detail = f"{embedder.reason}; search goes by words"
        yield Check(id="embeddings", status=status, detail=detail, fix=embedder.fix)
        return
    length = ""
    if not (scene.is_fast and embedder.is_remote):
        try:
            length = f", {embedder.measure_dimensions()} dimensions"
        except (OutsideError, ConfigError) as error:
            yield Check(id="embeddings", status="warn", detail=error.message, fix=error.hint)
            return
    path = scene.project.state_dir / "index.sqlite"
    about = f"{embedder.model}{length}"
    if not path.exists():
        yield Check(id="embeddings", status="pass", detail=f"{about}; no index yet")
        return
    try:
        with open_index(path) as index:
            here, missing = count_vectors(index, embedder.model), count_missing(index, embedder.model)
    except (KtxError, Error):
        # The check of the index says what is wrong with it.
        yield Check(id="embeddings", status="skip", detail=f"{about}; the index cannot be read")
        return
    if missing:
        detail = f"{about}; {missing} texts have no vector yet"
        yield Check(id="embeddings", status="warn", detail=detail, fix="ktx admin reindex")
        return
    yield Check(id="embeddings", status="pass", detail=f"{about}; {here} texts have vectors")
