"""What a source no longer says: entries that only it had led to, when its snapshot is whole."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ktx.errors import LayerError
from ktx.ingest.artifact import Artifact, page_artifact, source_artifact
from ktx.ingest.change import Change, by_artifact
from ktx.ingest.draft import Draft
from ktx.sources.evidence import Snapshot


def evictions(
    draft: Draft, source_id: str, proposed: Iterable[Change], snapshot: Snapshot
) -> tuple[Change, ...]:
    """Give the removals that follow from a snapshot; none when it is not complete.

    What an importer wrote goes when the source no longer defines it. What a model wrote goes when none of its documents is
    left: a model that says less than before has not taken anything back.
    """
    if not snapshot.is_complete:
        return ()
    wanted = {(change.artifact, change.entry) for change in proposed}
    return tuple(_evictions(draft, source_id, wanted, snapshot))


def with_known_evidence(draft: Draft, changes: Iterable[Change], snapshot: Snapshot) -> tuple[Change, ...]:
    """Let what is said as before keep the evidence that an incomplete snapshot lacks; a complete one leaves changes as they are."""
    if snapshot.is_complete:
        return tuple(changes)
    kept: list[Change] = []
    for artifact, group in by_artifact(changes).items():
        try:
            origins, entries = draft.origins(artifact), draft.entries(artifact)
        except LayerError:
            origins, entries = {}, {}
        for change in group:
            known = next((one for one in origins.get(change.entry, ()) if one.source == change.source), None)
            is_same = known is not None and entries.get(change.entry) == change.value
            if known is not None and is_same and change.by == known.by:
                more = (id_ for id_ in change.evidence if id_ not in known.evidence)
                kept.append(replace(change, evidence=(*known.evidence, *more)))
            else:
                kept.append(change)
    return tuple(kept)


def has_model_entries(draft: Draft, source_id: str) -> bool:
    """Tell whether a model has written anything from this source's evidence."""
    return any(
        origin.source == source_id and origin.by == "model"
        for artifact in owned_artifacts(draft, source_id)
        for origins in draft.origins(artifact).values()
        for origin in origins
    )


def owned_artifacts(draft: Draft, source_id: str) -> Iterator[Artifact]:
    """Give the artifacts that have an entry from this source."""
    for connection_id, files in sorted(draft.base.source_files.items()):
        for name, (_, text, _) in sorted(files.items()):
            if f" {source_id} " in text or f": {source_id} " in text:
                yield source_artifact(connection_id, name)
    for key in sorted(draft.base.pages):
        artifact = page_artifact(key)
        if f"{source_id} " in (draft.text(artifact) or ""):
            yield artifact


def _evictions(
    draft: Draft, source_id: str, wanted: set[tuple[Artifact, str]], snapshot: Snapshot
) -> Iterator[Change]:
    for artifact in owned_artifacts(draft, source_id):
        try:
            origins = draft.origins(artifact)
        except LayerError:
            continue
        for entry, lines in origins.items():
            mine = next((one for one in lines if one.source == source_id), None)
            if mine is None or (artifact, entry) in wanted:
                continue
            if mine.by == "model" and any(snapshot.document(id_) is not None for id_ in mine.evidence):
                continue
            yield Change(
                artifact=artifact,
                entry=entry,
                value=None,
                source=source_id,
                by=mine.by,
                unit="evict",
                evidence=mine.evidence,
            )
