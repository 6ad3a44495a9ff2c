"""Why something cannot be said in the layer's words: raised while translating, and turned into `Unmapped` per field."""

import re

from ktx.sources.evidence import UnmappedReason

_TEMPLATE = re.compile(r"\{\{|\{%|@\{|--\s*if\s+\w+\s*--|\$\{[^}]*::")


class Unsayable(Exception):  # noqa: N818 - an answer, not a failure
    """The layer cannot hold this; `detail` is one sentence for people."""

    def __init__(self, reason: UnmappedReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: UnmappedReason = reason
        self.detail = detail


def ensure_plain(text: str, what: str) -> None:
    """Refuse a text that Looker fills in while it runs.

    Raises:
        Unsayable: it holds Liquid, an unknown constant, or a comment that switches between modes.
    """
    found = _TEMPLATE.search(text)
    if found is None:
        return
    if found[0] == "@{":
        raise Unsayable(
            "looker_template_unresolved", f"Its {what} uses a constant that the manifest does not define."
        )
    raise Unsayable(
        "looker_template_unresolved", f"Its {what} is a Liquid template, which Looker fills in per question."
    )
