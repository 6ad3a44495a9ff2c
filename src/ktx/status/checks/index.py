"""Whether the search index can be used; each search brings it up to date by itself."""

from collections.abc import Iterator

from ktx.errors import KtxError
from ktx.search.index import open_index
from ktx.sqlite import Error
from ktx.status.check import Check, Scene


def check_index(scene: Scene) -> Iterator[Check]:
    """Open the index, if there is one."""
    path = scene.project.state_dir / "index.sqlite"
    if not path.exists():
        yield Check(id="index", status="skip", detail="not there yet; the first search builds it")
        return
    try:
        with open_index(path) as index:
            files, documents = len(index.files()), sum(index.count_documents().values())
    except (KtxError, Error) as error:
        yield Check(
            id="index",
            status="fail",
            detail=str(error),
            fix="`ktx admin reindex --force` builds it anew.",
            needed_by=frozenset({"search"}),
        )
        return
    yield Check(id="index", status="pass", detail=f"{documents} entries from {files} files")
