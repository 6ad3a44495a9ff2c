"""Rebuilding the search index on request."""

from ktx.project import ensure_state_dir
from ktx.search.index import open_index
from ktx.search.reindex import refresh
from ktx.serve.answers import Reindexed
from ktx.serve.desk import Desk
from ktx.serve.scans import value_batches, values_taken


def reindex(desk: Desk, *, force: bool = False) -> Reindexed:
    """Bring the search index up to date; `force` builds it anew from the files and the last scan."""
    with open_index(ensure_state_dir(desk.project) / "index.sqlite") as index:
        values = value_batches(desk.project, index, desk.layer, force=force)
        report = refresh(index, desk.project.root, values=values, force=force)
        values_taken(desk.project, index)
        return Reindexed(
            documents=index.count_documents(),
            added=report.added,
            changed=report.changed,
            removed=report.removed,
            unchanged=report.unchanged,
            skipped=list(report.skipped),
            seconds=round(report.wall_s, 3),
        )
