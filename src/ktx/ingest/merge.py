"""Changes put into files, entry by entry: what is written, what is left, and why.

One rule decides. What a person wrote, edited or took out is never written over; what ktx wrote and nobody touched follows its
source. Between sources, what an importer wrote stays until its own source says otherwise, and what a source has said already does
not come back once another has changed it: so sources in any order come to rest. `ktx.ingest.reconcile` has settled before that no
two changes want the same entry to be different things.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, cast

from ktx.errors import LayerError
from ktx.findings import Finding, Place
from ktx.ingest.artifact import (
    Artifact,
    Data,
    Json,
    drop_source_entry,
    entry_digest,
    page_entries,
    set_section,
    set_source_entry,
    source_entries,
)
from ktx.ingest.change import Change, by_artifact
from ktx.ingest.draft import Draft
from ktx.ingest.provenance import Origin, read_origins, write_origins
from ktx.semantic.save import edit_source, render_source
from ktx.wiki.page import edit_page, render_page

Effect: TypeAlias = Literal["added", "changed", "removed", "same", "kept"]
"""`same` was there already; `kept` left a person's version alone."""
UNITED: Final = frozenset({"tags", "refs", "sl_refs", "connections", "tables"})
"""Lists of a page to which every source adds its own."""
_TEXT_ENTRIES: Final = ("lead", "section.")


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A draft with changes in it. `effects` pairs each change with what came of it; `findings` are remarks for people."""

    draft: Draft
    texts: Mapping[Artifact, str | None]
    effects: tuple[tuple[Change, Effect], ...]
    findings: tuple[Finding, ...] = ()

    @property
    def applied(self) -> tuple[Change, ...]:
        """The changes that changed something."""
        return tuple(change for change, effect in self.effects if effect in ("added", "changed", "removed"))


@dataclass(kw_only=True)
class _File:
    """One artifact on its way."""

    artifact: Artifact
    text: str | None
    data: Data
    body: str
    origins: dict[str, tuple[Origin, ...]]
    effects: list[tuple[Change, Effect]] = field(default_factory=list[tuple[Change, Effect]])
    findings: list[Finding] = field(default_factory=list[Finding])
    is_changed: bool = False

    def entries(self) -> dict[str, Json]:
        """Give the entries as they are now."""
        if self.artifact.kind == "source":
            return source_entries(self.data)
        return page_entries(self.data, self.body)


def merge(
    draft: Draft, changes: Iterable[Change], *, removed_files: frozenset[Artifact] = frozenset()
) -> Merged:
    """Put changes into a draft. `removed_files` are artifacts that a person deleted: they stay away.

    Raises:
        LayerError: a change is no valid part of a file; `ktx.ingest` checks that where changes are made.
    """
    texts: dict[Artifact, str | None] = {}
    effects: list[tuple[Change, Effect]] = []
    findings: list[Finding] = []
    for artifact, group in by_artifact(changes).items():
        if artifact in removed_files and draft.text(artifact) is None:
            effects.extend((one, "kept") for one in group)
            findings.append(
                _remark("removed-by-a-person", f"`{artifact}` was deleted by a person and stays away.")
            )
            continue
        file = _open(draft, artifact)
        for change in group:
            file.effects.append((change, _apply(file, change)))
        text = _text(file) if file.is_changed else file.text
        if text != file.text:
            texts[artifact] = text
        effects.extend(file.effects)
        findings.extend(file.findings)
    return Merged(
        draft=draft.with_texts(texts), texts=texts, effects=tuple(effects), findings=tuple(findings)
    )


def is_owned(current: Json, origins: Sequence[Origin]) -> bool:
    """Tell whether an entry is as ktx wrote it: it has a line of origin, and nobody touched it since."""
    return any(entry_digest(current) == origin.digest for origin in origins)


def _open(draft: Draft, artifact: Artifact) -> _File:
    data = draft.data(artifact)
    return _File(
        artifact=artifact,
        text=draft.text(artifact),
        data=copy.deepcopy(data) if data is not None else _empty(artifact),
        body=draft.body(artifact) if artifact.kind == "page" else "",
        origins=read_origins(data) if data else {},
    )


def _empty(artifact: Artifact) -> Data:
    return {"name": artifact.name} if artifact.kind == "source" else {}


def _apply(file: _File, change: Change) -> Effect:
    entries = file.entries()
    current = entries.get(change.entry)
    origins = file.origins.get(change.entry, ())
    if change.is_removal:
        return _remove(file, change, current, origins)
    proposed = _normal(change)
    if _is_united(change, origins):
        proposed = _union(current, proposed)
    if change.entry not in entries:
        if origins:
            file.findings.append(
                _remark(
                    "removed-by-a-person",
                    f"`{change.entry}` of `{file.artifact}` was taken out by a person and stays out.",
                    fix="Delete its line under `meta.ktx` to have it written again.",
                )
            )
            return "kept"
        _set(file, change, proposed, ())
        return "added"
    if entry_digest(current) == entry_digest(proposed):
        if origins:
            _note_origin(file, change, proposed, origins)
        return "same"
    if is_owned(current, origins):
        holder = None if _is_united(change, origins) else _holder(change, current, proposed, origins)
        if holder is None:
            _set(file, change, proposed, origins)
            return "changed"
        file.findings.append(
            _remark(
                "kept-another-sources-version",
                f"`{change.entry}` of `{file.artifact}` differs from what `{change.source}` says; what `{holder}` says stays.",
            )
        )
        return "kept"
    file.findings.append(
        _remark(
            "kept-a-persons-version",
            f"`{change.entry}` of `{file.artifact}` differs from what `{change.source}` says; the person's version stays.",
        )
    )
    return "kept"


def _is_united(change: Change, origins: Sequence[Origin]) -> bool:
    """Tell whether an entry is a list that several sources share."""
    is_list = change.artifact.kind == "page" and change.entry in UNITED
    return is_list and any(origin.source != change.source for origin in origins)


def _union(current: Json, proposed: Json) -> Json:
    if not isinstance(current, list) or not isinstance(proposed, list):
        return proposed
    return [*current, *(one for one in proposed if one not in current)]


def _holder(change: Change, current: Json, proposed: Json, origins: Sequence[Origin]) -> str | None:
    """Give the other source whose version stays; None when this change may take its place."""
    mine = next((one for one in origins if one.source == change.source), None)
    holders = [one for one in origins if one.digest == entry_digest(current)]
    if mine in holders:
        return None
    if mine is not None:
        return holders[0].source if mine.digest == entry_digest(proposed) else None
    imported = next((one.source for one in holders if one.by == "import"), None)
    return imported if imported is not None or change.by == "import" else None


def _remove(file: _File, change: Change, current: Json, origins: Sequence[Origin]) -> Effect:
    others = tuple(origin for origin in origins if origin.source != change.source)
    if current is None:
        if len(others) != len(origins):
            _put_origins(file, change.entry, others)
        return "same"
    is_mine_alone = is_owned(current, origins) and not is_owned(current, others)
    if others and not is_mine_alone:
        _put_origins(file, change.entry, others)
        return "same"
    if not origins:
        return "kept"
    _put_origins(file, change.entry, ())
    if not is_owned(current, origins):
        file.findings.append(
            _remark(
                "kept-a-persons-version",
                f"`{change.source}` no longer has `{change.entry}` of `{file.artifact}`; a person edited it, so it stays.",
            )
        )
        return "kept"
    if file.artifact.kind == "source":
        drop_source_entry(file.data, change.entry)
    elif change.entry.startswith(_TEXT_ENTRIES):
        file.body = set_section(file.body, change.entry, None)
    else:
        file.data.pop(change.entry, None)
    file.is_changed = True
    return "removed"


def _set(file: _File, change: Change, value: Json, origins: Sequence[Origin]) -> None:
    if file.artifact.kind == "source":
        set_source_entry(file.data, change.entry, copy.deepcopy(value))
    elif change.entry.startswith(_TEXT_ENTRIES):
        file.body = set_section(file.body, change.entry, value)
    else:
        file.data[change.entry] = value
    is_shared = change.by == "model" or _is_united(change, origins)
    others = tuple(one for one in origins if one.source != change.source and is_shared)
    _put_origins(file, change.entry, (*others, _origin(change, file.entries().get(change.entry))))


def _note_origin(file: _File, change: Change, value: Json, origins: Sequence[Origin]) -> None:
    """Add this source to those that say the same, or renew what it names as evidence."""
    mine = _origin(change, value)
    known = next((one for one in origins if one.source == change.source), None)
    if known is None:
        _put_origins(file, change.entry, (*origins, mine))
    elif known.evidence != mine.evidence and known.by == mine.by and known.digest == mine.digest:
        _put_origins(file, change.entry, tuple(mine if one is known else one for one in origins))


def _put_origins(file: _File, entry: str, origins: tuple[Origin, ...]) -> None:
    if origins:
        file.origins[entry] = origins
    else:
        file.origins.pop(entry, None)
    file.is_changed = True


def _origin(change: Change, value: Json) -> Origin:
    return Origin(source=change.source, by=change.by, digest=entry_digest(value), evidence=change.evidence)


def _normal(change: Change) -> Json:
    """Give the value as it reads back from a file, so that equal things are equal."""
    if change.artifact.kind == "page" and isinstance(change.value, str):
        return change.value.strip("\n") if change.entry.startswith(_TEXT_ENTRIES) else change.value.strip()
    return change.value


def _text(file: _File) -> str | None:
    """Give the file's new text; None when nothing but its name is left."""
    data = file.data
    write_origins(data, file.origins)
    if file.artifact.kind == "source":
        if not source_entries(data):
            return None
        if file.text is None:
            return render_source(cast("Mapping[str, object]", data))
        return edit_source(file.text, cast("Mapping[str, object]", data), file=str(file.artifact))
    if not file.body.strip() and not data.get("summary"):
        return None
    if file.text is None:
        if not data.get("summary"):
            raise LayerError(f"`{file.artifact}` has no summary.")
        return render_page(cast("Mapping[str, object]", data), file.body)
    before = page_head(file.text, file.artifact)
    head: dict[str, object] = {key: value for key, value in data.items() if before.get(key) != value}
    head.update({key: None for key in before if key not in data})
    return edit_page(file.text, head=head, body=file.body)


def page_head(text: str, artifact: Artifact) -> Data:
    """Give a page's front matter as data."""
    from ktx.ingest.draft import as_data
    from ktx.wiki.page import split_front_matter

    return as_data(split_front_matter(text)[0], artifact)


def _remark(code: str, message: str, fix: str | None = None) -> Finding:
    return Finding(level="note", code=code, message=message, where=Place(), fix=fix)
