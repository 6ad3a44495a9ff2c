"""Work for a model: a LookML model with its views, in pieces of a size that one reads at once, and each dashboard."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ktx.sources.evidence import Document, Snapshot, Unmapped
from ktx.sources.lookml.keys import page_key
from ktx.sources.lookml.project import Model, Project
from ktx.sources.source import UnitPlan

_MAX_CHARS: Final = 40_000
_MAX_TOLD: Final = 40


@dataclass(kw_only=True)
class Landed:
    """What a model gave without a model of language: names of definitions, and the warehouses they are on."""

    definitions: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """The files that say something about each definition."""
    connections: set[str] = field(default_factory=set[str])
    mismatch: str | None = None


def plan_units(
    snapshot: Snapshot,
    project: Project,
    landed: Mapping[str, Landed],
    *,
    code: Sequence[str],
    parsed: Collection[str],
    unmapped: Sequence[Unmapped],
) -> tuple[UnitPlan, ...]:
    """Plan units so that each file is worked through once: by the first model that includes it."""
    known = set(code)
    taken: set[str] = set()
    found: list[UnitPlan] = []
    for model in project.models:
        own = [path for path in sorted(model.files) if path in known and path not in taken]
        if model.path in own:
            own.remove(model.path)
            own.insert(0, model.path)
        taken.update(own)
        found += _model_units(snapshot, model, own, landed.get(model.name, Landed()), unmapped)
    broken = tuple(path for path in code if path not in parsed)
    if broken:
        notes = "These files cannot be parsed, so nothing of them has been taken over. Write no sources."
        found.append(
            UnitPlan(
                key="lookml-unparsed", label="LookML that cannot be parsed", documents=broken, notes=notes
            )
        )
    connections = tuple(sorted({each for one in landed.values() for each in one.connections}))
    for document in snapshot.documents:
        if document.id not in known:
            key = page_key("lookml-dashboard", document.id.rpartition("/")[2].partition(".")[0])
            taken_key = any(unit.key == key for unit in found)
            found.append(
                UnitPlan(
                    key=page_key("lookml-dashboard", document.id) if taken_key else key,
                    label=f"LookML dashboard {document.title}",
                    documents=(document.id,),
                    notes="Its tiles and their fields are a page already; add what they are for, if the file says so.",
                    connection_ids=connections,
                )
            )
    return tuple(found)


def _model_units(
    snapshot: Snapshot, model: Model, own: Sequence[str], landed: Landed, unmapped: Sequence[Unmapped]
) -> Iterator[UnitPlan]:
    pieces = list(_pieces(snapshot, own))
    for index, piece in enumerate(pieces):
        name = f"{model.name}" if index == 0 else f"{model.name}-{piece[0]}"
        first = [path for path in (model.path,) if path is not None and path not in piece]
        around = tuple(first + [one.id for one in snapshot.documents if one.kind == "lookml_manifest"])
        yield UnitPlan(
            key=page_key("lookml", name),
            label=f"LookML model {model.name}"
            + (f" ({index + 1} of {len(pieces)})" if len(pieces) > 1 else ""),
            documents=tuple(piece),
            context=around,
            notes=_notes(piece, landed, unmapped),
            connection_ids=tuple(sorted(landed.connections)) if landed.mismatch is None else (),
        )


def _pieces(snapshot: Snapshot, paths: Sequence[str]) -> Iterator[list[str]]:
    piece: list[str] = []
    size = 0
    for path in paths:
        document: Document | None = snapshot.document(path)
        length = len(document.text) if document is not None else 0
        if piece and size + length > _MAX_CHARS:
            yield piece
            piece, size = [], 0
        piece.append(path)
        size += length
    if piece:
        yield piece


def _notes(piece: Sequence[str], landed: Landed, unmapped: Sequence[Unmapped]) -> str:
    lines: list[str] = []
    if landed.mismatch is not None:
        lines.append(f"{landed.mismatch} Write no sources.")
    else:
        # Only what these files define: a unit's notes change with its own files.
        own = sorted(name for name, files in landed.definitions.items() if not files.isdisjoint(piece))
        shown = ", ".join(f"`{name}`" for name in own)
        if shown:
            lines.append(f"Taken over already, with joins and measures; do not repeat them: {shown}.")
    files = set(piece)
    problems = sorted({f"{one.what}: {one.detail}" for one in unmapped if one.evidence in files})
    if problems:
        lines.append("What could not be taken over:")
        lines += [f"- {text}" for text in problems[:_MAX_TOLD]]
        if len(problems) > _MAX_TOLD:
            lines.append(f"- and {len(problems) - _MAX_TOLD} more")
    return "\n".join(lines)
