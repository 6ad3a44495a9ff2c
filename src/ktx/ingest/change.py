"""A proposed change of the layer: one entry of one artifact, with who proposes it and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import cast

from ktx.ingest.artifact import Artifact, Json, Kind
from ktx.ingest.provenance import By


@dataclass(frozen=True, kw_only=True)
class Change:
    """Set `entry` of `artifact` to `value`, or take it out when `value` is None.

    `source` is the context source's connection id, `unit` the work unit or `import`, `evidence` the ids of documents.
    """

    artifact: Artifact
    entry: str
    value: Json
    source: str
    by: By
    unit: str
    evidence: tuple[str, ...] = ()

    @property
    def is_removal(self) -> bool:
        """Whether the entry is taken out."""
        return self.value is None

    def __str__(self) -> str:
        """Render as people read it: the artifact and the entry."""
        return f"{self.artifact}: {self.entry}"


def by_artifact(changes: Iterable[Change]) -> dict[Artifact, tuple[Change, ...]]:
    """Group changes by artifact, both in a stable order."""
    ordered = sorted(changes, key=lambda one: one.artifact)
    return {artifact: tuple(group) for artifact, group in groupby(ordered, key=lambda one: one.artifact)}


def change_json(change: Change) -> dict[str, Json]:
    """Give a change as plain JSON."""
    artifact = change.artifact
    return {
        "kind": artifact.kind,
        "connection": artifact.connection_id,
        "name": artifact.name,
        "entry": change.entry,
        "value": change.value,
        "source": change.source,
        "by": change.by,
        "unit": change.unit,
        "evidence": list(change.evidence),
    }


def read_change(data: Mapping[str, Json]) -> Change:
    """Read what `change_json` wrote."""
    return Change(
        artifact=Artifact(
            kind=cast("Kind", data["kind"]), connection_id=str(data["connection"]), name=str(data["name"])
        ),
        entry=str(data["entry"]),
        value=data["value"],
        source=str(data["source"]),
        by=cast("By", data["by"]),
        unit=str(data["unit"]),
        evidence=tuple(str(one) for one in cast("list[Json]", data["evidence"])),
    )
