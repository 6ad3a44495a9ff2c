"""One work unit's desk: a draft of its own, on which a model's tools write, each write checked before it counts."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from ktx.errors import LayerError, UsageError
from ktx.findings import Finding
from ktx.ingest.artifact import Artifact, Json, page_artifact, page_entries, source_artifact, source_entries
from ktx.ingest.change import Change
from ktx.ingest.draft import Draft, as_data
from ktx.ingest.leaks import Secrets, ShownRow, row_in
from ktx.ingest.merge import is_owned, merge
from ktx.names import is_page_key
from ktx.semantic.render import render_composed
from ktx.sources.evidence import Document, Snapshot, Unmapped, UnmappedReason
from ktx.sources.source import UnitPlan
from ktx.suggest import did_you_mean
from ktx.wiki.page import split_front_matter

MOST_PAGE_CHARS: Final = 24_000
MOST_SUMMARY_CHARS: Final = 300
_LINKS: Final = ("refs", "sl_refs")
_PROTECTED: Final = {
    "person": "a person wrote it, and what people write stays",
    "import": "it follows its own tool and cannot be changed here",
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One tool call of a unit, for the report: its number, the tool, what it was about, and how it went."""

    number: int
    tool: str
    about: str
    outcome: Literal["ok", "error"]
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """An exact edit of a text: `old` must stand in it exactly once."""

    old: str
    new: str


@dataclass(kw_only=True)
class Desk:
    """What one unit has done so far. `start` is the draft it began with; nothing is shared with other units."""

    source_id: str
    plan: UnitPlan
    snapshot: Snapshot
    start: Draft
    secrets: Secrets
    on_call: Callable[[Call], None] | None = None
    """Who is told of each tool call as it is over."""
    draft: Draft = field(init=False)
    changes: dict[tuple[Artifact, str], Change] = field(
        default_factory=dict[tuple[Artifact, str], Change], init=False
    )
    call_of: dict[tuple[Artifact, str], int] = field(
        default_factory=dict[tuple[Artifact, str], int], init=False
    )
    unmapped: list[Unmapped] = field(default_factory=list[Unmapped], init=False)
    calls: list[Call] = field(default_factory=list[Call], init=False)
    shown: list[ShownRow] = field(default_factory=list[ShownRow], init=False)

    def __post_init__(self) -> None:
        """Begin with the draft as it is."""
        self.draft = self.start

    # -- reading -----------------------------------------------------------------------------------------------------

    def document(self, id_: str) -> Document:
        """Give a document that this unit may read.

        Raises:
            UsageError: there is none of that id, or it is not this unit's.
        """
        allowed = (*self.plan.documents, *self.plan.context)
        document = self.snapshot.document(id_) if id_ in allowed else None
        if document is None:
            raise UsageError(f"There is no evidence `{id_[:200]}` for this unit.{did_you_mean(id_, allowed)}")
        return document

    def page_text(self, key: str) -> str:
        """Give a page's file as it is now.

        Raises:
            UsageError: there is none.
        """
        text = self.draft.text(page_artifact(key)) if is_page_key(key) else None
        if text is None and is_page_key(key):
            text = self.draft.base.shared_text(key)
        if text is None:
            raise UsageError(f"There is no wiki page `{key[:120]}`.{did_you_mean(key, self.draft.pages)}")
        return text

    def source_text(self, connection_id: str, name: str) -> str:
        """Give a source's own file, where it has one, and the source as it stands.

        Raises:
            UsageError: there is none.
        """
        self._ensure_connection(connection_id, is_write=False)
        layer = self.draft.layer(connection_id)
        own = self.draft.text(source_artifact(connection_id, name))
        source = layer.sources.get(name)
        if own is None and source is None:
            raise UsageError(
                f"`{connection_id}` has no source `{name[:120]}`.{did_you_mean(name, layer.sources)}"
            )
        parts = [f"# its own file\n{own}" if own else "# it has no file of its own yet\n"]
        if source is not None:
            parts.append(f"# as it stands, manifest included\n{render_composed(source)}")
        return "\n".join(parts)

    # -- writing -----------------------------------------------------------------------------------------------------

    def write_page(self, key: str, *, head: Mapping[str, Json], body: str, evidence: Sequence[str]) -> str:
        """Write a whole page; parts that are protected stay as they are."""
        if not is_page_key(key):
            raise UsageError(
                f"`{key[:120]}` is no page key.",
                hint="Use letters, digits, `_` and `-`, beginning with a letter or digit.",
            )
        if len(body) > MOST_PAGE_CHARS:
            raise UsageError(
                f"The page has {len(body):,} characters; {MOST_PAGE_CHARS:,} is the most. Split it."
            )
        artifact = page_artifact(key)
        present = self.draft.entries(artifact)
        if "summary" not in head and "summary" not in present:
            raise UsageError(f"Page `{key}` needs a summary.")
        # Whose page it is stands in it from the beginning; a later hand does not change that.
        head = {name: value for name, value in head.items() if name != "source" or not present}
        wanted = page_entries(head, split_front_matter(body)[1])
        removed = [
            entry
            for entry in present
            if (entry.startswith(("section.", "lead")) or entry in _LINKS) and entry not in wanted
        ]
        return self._propose(artifact, wanted, removed, evidence, is_strict=False)

    def edit_page(self, key: str, edits: Sequence[Replacement], evidence: Sequence[str]) -> str:
        """Edit a page's text."""
        artifact = page_artifact(key)
        text = _edited(self.page_text(key), edits, what=f"page `{key}`")
        head, body, _ = split_front_matter(text)
        return self._propose_difference(artifact, page_entries(as_data(head, artifact), body), evidence)

    def delete_page(self, key: str, evidence: Sequence[str]) -> str:
        """Take a page away that this source's evidence, and a model, had made."""
        self.page_text(key)
        artifact = page_artifact(key)
        entries = list(self.draft.entries(artifact))
        origins = self.draft.origins(artifact)
        if any(
            not any(one.source == self.source_id and one.by == "model" for one in origins.get(entry, ()))
            for entry in entries
            if entry != "source"
        ):
            raise UsageError(f"Page `{key}` was not made from this evidence, so it stays.")
        return self._propose(artifact, {}, entries, evidence)

    def write_source(self, connection_id: str, text: str, evidence: Sequence[str]) -> str:
        """Add or replace entries of a source, given as the YAML of a source file."""
        self._ensure_connection(connection_id, is_write=True)
        probe = source_artifact(connection_id, "the YAML")
        data = as_data(text, probe)
        name = data.get("name")
        if not isinstance(name, str) or not name.strip():
            raise UsageError("The YAML has no `name`.")
        return self._propose(source_artifact(connection_id, name), _entries(data), [], evidence)

    def edit_source(
        self, connection_id: str, name: str, edits: Sequence[Replacement], evidence: Sequence[str]
    ) -> str:
        """Edit the text of a source's own file."""
        self._ensure_connection(connection_id, is_write=True)
        artifact = source_artifact(connection_id, name)
        text = self.draft.text(artifact)
        if text is None:
            raise UsageError(f"`{artifact}` has no file of its own; use `write_source`.")
        data = as_data(_edited(text, edits, what=f"`{artifact}`"), artifact)
        if data.get("name") != name:
            raise UsageError("The `name` of a source cannot be changed.")
        return self._propose_difference(artifact, _entries(data), evidence)

    def report_unmapped(self, evidence: str, what: str, reason: UnmappedReason, detail: str) -> str:
        """Note what the layer cannot hold."""
        self.document(evidence)
        self.unmapped.append(Unmapped(evidence=evidence, what=what, reason=reason, detail=detail))
        return "noted"

    # -- the rules ---------------------------------------------------------------------------------------------------

    def _propose_difference(
        self, artifact: Artifact, wanted: Mapping[str, Json], evidence: Sequence[str]
    ) -> str:
        present = self.draft.entries(artifact)
        changed = {key: value for key, value in wanted.items() if present.get(key) != value}
        return self._propose(artifact, changed, [key for key in present if key not in wanted], evidence)

    def _propose(
        self,
        artifact: Artifact,
        wanted: Mapping[str, Json],
        removed: Sequence[str],
        evidence: Sequence[str],
        *,
        is_strict: bool = True,
    ) -> str:
        ids = tuple(self.document(id_).id for id_ in evidence) or self.plan.documents
        present = self.draft.entries(artifact)
        proposals: list[Change] = []
        stays: list[str] = []
        for entry, value in (*wanted.items(), *((key, None) for key in removed)):
            if value is not None and present.get(entry) == value:
                continue
            protection = self._protection(artifact, entry)
            if protection is None:
                proposals.append(self._change(artifact, entry, value, ids))
            elif is_strict and entry not in ("summary", "tags"):
                raise UsageError(
                    f"`{entry}` of `{artifact}` stays as it is: {_PROTECTED[protection]}.",
                    hint="Use another name, or say on a page what the evidence says differently.",
                )
            else:
                stays.append(entry)
        self._ensure_clean(proposals)
        merged = merge(self.draft, proposals)
        problems = _new_problems(merged.draft.check(artifact), self.start, artifact)
        if problems:
            raise LayerError(
                "Nothing was written: " + " ".join(_sentence(one) for one in problems[:8]),
            )
        self.draft = merged.draft
        for change in proposals:
            self._remember(change)
        note = f" Left as they are, because they are not yours: {', '.join(stays)}." if stays else ""
        what = ", ".join(change.entry for change in proposals) or "nothing new"
        return f"written to `{artifact}`: {what}.{note}"

    def _change(self, artifact: Artifact, entry: str, value: Json, evidence: tuple[str, ...]) -> Change:
        return Change(
            artifact=artifact,
            entry=entry,
            value=value,
            source=self.source_id,
            by="model",
            unit=self.plan.key,
            evidence=evidence,
        )

    def _remember(self, change: Change) -> None:
        key = (change.artifact, change.entry)
        if change.is_removal and change.entry not in self.start.entries(change.artifact):
            self.changes.pop(key, None)
            self.call_of.pop(key, None)
            return
        self.changes[key] = change
        self.call_of[key] = len(self.calls) + 1

    def _protection(self, artifact: Artifact, entry: str) -> str | None:
        """Say who an entry is kept for, as it stood when the unit began."""
        entries = self.start.entries(artifact)
        origins = self.start.origins(artifact).get(entry, ())
        if entry not in entries:
            return "person" if origins else None
        if not origins or not is_owned(entries[entry], origins):
            return "person"
        return "import" if any(origin.by == "import" for origin in origins) else None

    def _ensure_clean(self, changes: Sequence[Change]) -> None:
        """Refuse secrets, and rows that this unit has seen."""
        evidence = "\n".join(
            document.text
            for id_ in (*self.plan.documents, *self.plan.context)
            if (document := self.snapshot.document(id_)) is not None
        )
        for change in changes:
            text = change.entry + "\n" + "\n".join(_texts(change.value))
            if self.secrets.found_in(text):
                raise UsageError(
                    f"`{change.entry}` holds what looks like a secret.",
                    hint="Leave it out; say where it is kept.",
                )
            if self.shown and row_in(text, self.shown, evidence=evidence):
                raise UsageError(
                    f"`{change.entry}` repeats a row of the warehouse.",
                    hint="Rows never go into files. Say what a column means, not what its rows hold.",
                )

    def _ensure_connection(self, connection_id: str, *, is_write: bool) -> None:
        known = self.plan.connection_ids if is_write else sorted(self.draft.base.warehouses)
        if connection_id not in known:
            names = ", ".join(f"`{one}`" for one in known) or "none"
            verb = "write sources of" if is_write else "read sources of"
            raise UsageError(
                f"This unit cannot {verb} `{connection_id[:80]}`.", hint=f"Connections: {names}."
            )


def _entries(data: Mapping[str, Json]) -> dict[str, Json]:
    try:
        return source_entries(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            "The YAML is not a source file: every measure, segment, column and join needs its `name` (a join its `to`)."
        ) from error


def _edited(text: str, edits: Sequence[Replacement], *, what: str) -> str:
    for edit in edits:
        count = text.count(edit.old) if edit.old else 0
        if count != 1:
            found = "is not there" if count == 0 else f"stands there {count} times"
            raise UsageError(f"In {what}, `{edit.old[:120]}` {found}; it must be there exactly once.")
        text = text.replace(edit.old, edit.new)
    return text


def _new_problems(found: Sequence[Finding], start: Draft, artifact: Artifact) -> list[Finding]:
    """Give the problems that the unit has made; what was wrong before is not its fault."""
    if not found:
        return []
    old = {(one.code, one.message) for one in start.check(artifact)}
    return [one for one in found if (one.code, one.message) not in old]


def _sentence(finding: Finding) -> str:
    text = re.sub(r"[.\s]+$", "", finding.message)
    return f"{text}." + (f" {finding.fix}" if finding.fix else "")


def _texts(value: Json) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return []
