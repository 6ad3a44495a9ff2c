"""What waits for a person, and what they decide: decisions go into the manifest, which git keeps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ktx.catalog import Relationship
from ktx.errors import UsageError
from ktx.files import write_text
from ktx.ingest import manifests
from ktx.ingest.report import Link, link_id
from ktx.project import Project, ensure_state_dir, project_lock, project_repository, warehouse_ids
from ktx.scan.store import open_store
from ktx.semantic.decide import accept_join, reject_join
from ktx.semantic.manifest import Shard
from ktx.semantic.merge import known_names, read_decisions, read_inferred
from ktx.suggest import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A relationship that only a person can decide about."""

    connection_id: str
    link: Link


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What was decided; `commit` is None when the manifest said so already."""

    accepted: tuple[str, ...]
    rejected: tuple[str, ...]
    commit: str | None


def list_waiting(project: Project, connection_id: str | None = None) -> tuple[Waiting, ...]:
    """Give what the last scans left for review and nobody has decided since, surest first."""
    found = [
        Waiting(connection_id=name, link=_link(one, shards))
        for name, one, shards in _open(project, connection_id)
        if one.decision == "review" and not _is_decided(one, shards)
    ]
    return tuple(sorted(found, key=lambda one: (-one.link.score, one.connection_id, one.link.text)))


def decide(project: Project, *, accept: Sequence[str] = (), reject: Sequence[str] = ()) -> Decided:
    """Write decisions into the manifest and commit them; ids are those that `list_waiting` and the ingest report give.

    Raises:
        UsageError: an id is unknown, or both accepted and rejected.
    """
    both = set(accept) & set(reject)
    if both:
        raise UsageError(f"`{min(both)}` is both accepted and rejected.")
    with project_lock(project):
        known = {link_id(one): (name, one) for name, one, _ in _open(project, None)}
        for wanted in (*accept, *reject):
            if wanted not in known:
                raise UsageError(
                    f"No relationship has the id `{wanted}`.{did_you_mean(wanted, known)}",
                    hint="`ktx review` lists what waits, `ktx ingest --json` every relationship with its id.",
                )
        for wanted in (*accept, *reject):
            name, one = known[wanted]
            shards = manifests.read_shards(project.semantic_dir, name)
            change = accept_join if wanted in accept else reject_join
            _write(project, name, shards, change(shards, one))
        folders = sorted(
            {manifests.manifest_dir(project.semantic_dir, known[one][0]) for one in (*accept, *reject)}
        )
        message = f"Review relationships: {len(accept)} accepted, {len(reject)} rejected"
        commit = project_repository(project).commit(
            folders, message, author=project.config.storage.git.author
        )
    return Decided(accepted=tuple(accept), rejected=tuple(reject), commit=commit)


def _open(
    project: Project, connection_id: str | None
) -> Iterator[tuple[str, Relationship, dict[str, Shard]]]:
    """Give every relationship of the last scans whose tables are in the manifest, refuted ones left out."""
    with open_store(ensure_state_dir(project)) as store:
        for name in warehouse_ids(project):
            if connection_id is not None and name != connection_id:
                continue
            shards = manifests.read_shards(project.semantic_dir, name)
            present = known_names(shards.values())
            for one in store.relationships(name):
                is_open = one.decision != "rejected" or one.origin == "manual"
                if is_open and one.source in present and one.target in present:
                    yield name, one, shards


def _is_decided(one: Relationship, shards: dict[str, Shard]) -> bool:
    settled = (*read_decisions(shards.values()), *read_inferred(shards.values()))
    return any(link_id(known) == link_id(one) for known in settled)


def _link(one: Relationship, shards: dict[str, Shard]) -> Link:
    names = known_names(shards.values())
    return Link.of(one, source=names[one.source], target=names[one.target])


def _write(project: Project, connection_id: str, old: dict[str, Shard], new: dict[str, Shard]) -> None:
    for path, text in manifests.render_changes(project.semantic_dir, connection_id, new, old).items():
        if text is not None:
            write_text(path, text)
