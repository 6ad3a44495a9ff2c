"""A document as Markdown, and how a reader of one kind of document says that it cannot be read."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A document as Markdown. `title` is empty where it has none; `notes` say what of it is not in the text."""

    title: str
    markdown: str
    notes: tuple[str, ...] = ()


class Unreadable(Exception):  # noqa: N818 - it never leaves this package
    """The document is broken, locked or too large: `why` continues a sentence that begins with its name."""

    def __init__(self, why: str, *, hint: str | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint
