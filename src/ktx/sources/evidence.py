"""What a context source holds, as values: documents with a digest each, and what could not be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from ktx.files import digest

UnmappedReason = Literal[
    "no_connection_mapping",
    "looker_template_unresolved",
    "derived_table_not_supported",
    "no_physical_table",
    "multiple_table_references",
    "unsupported_dialect",
    "parse_error",
    "missing_target_table",
    "cumulative_metric_unsupported",
    "conversion_metric_unsupported",
    "expression_not_supported",
    "unresolved_reference",
]


@dataclass(frozen=True, kw_only=True)
class Document:
    """One piece of evidence: a file, a page, a card.

    `id` is stable within its source and safe to show (`models/orders.yml`, `card/12`). `text` is what a model may read:
    the file's own text, or Markdown or JSON in a stable order, without anything that changes by itself (times of access,
    counts of views). Such things go into `signals`, which only help to judge what is worth reading. `data` is the parsed
    form for the source's own interpreter, where the text is not that already.
    """

    id: str
    kind: str
    title: str
    text: str
    url: str | None = None
    signals: Mapping[str, str | int | float | bool] = field(
        default_factory=dict[str, str | int | float | bool]
    )
    data: object = None

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of what the document says, in hex."""
        return digest(f"{self.kind}\n{self.title}\n{self.text}")


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A part of a source that exists and could not be read this time, and why."""

    id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Unmapped:
    """Something a document says that the layer cannot hold, or that finds no place in it, by name.

    `evidence` is a document's id, `what` names the thing as its tool does (`metric conversion_rate`), `detail` is one
    sentence for people.
    """

    evidence: str
    what: str
    reason: UnmappedReason
    detail: str


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All of a source at one moment, documents sorted by id.

    `is_complete` promises that what is absent is gone: only then may anything be removed from the layer. A source that was
    read in part, for whatever reason (a cap, a failed page, a listing that broke off), is not complete.
    """

    documents: tuple[Document, ...]
    is_complete: bool
    unread: tuple[Unread, ...] = ()
    notes: tuple[str, ...] = ()

    def document(self, id_: str) -> Document | None:
        """Give the document of exactly that id."""
        return self._by_id.get(id_)

    @cached_property
    def _by_id(self) -> dict[str, Document]:
        return {document.id: document for document in self.documents}
