"""References between pages: marks in the text while pages are being read, links once all titles are known."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ktx.sources.markdown import slug_of

_OPEN, _MIDDLE, _CLOSE = "\ue000", "\ue001", "\ue002"
_REFERENCE = re.compile(f"{_OPEN}([0-9a-f]{{32}}){_MIDDLE}([^{_OPEN}{_CLOSE}]*){_CLOSE}")
_SLUG_CHARS: Final = 50
_ID_CHARS: Final = 8


@dataclass(frozen=True, kw_only=True)
class Target:
    """A page that can be linked: its key in the wiki, empty where it has no page there, and its title."""

    key: str
    title: str


def reference(id_: str, label: str) -> str:
    """Mark a place that points at a page, with what to write there if that page is not read."""
    return f"{_OPEN}{id_}{_MIDDLE}{' '.join(label.split())}{_CLOSE}"


def referenced(text: str) -> tuple[str, ...]:
    """Give the ids that a text points at, in order, each once."""
    return tuple(dict.fromkeys(match[1] for match in _REFERENCE.finditer(text)))


def linked(text: str, targets: Mapping[str, Target]) -> str:
    """Turn marks into `[[key|Title]]`, and into plain words where the page was not read."""
    if _OPEN not in text:
        return text
    return "\n".join(_linked_line(line, targets) if _OPEN in line else line for line in text.split("\n"))


def page_key(title: str, id_: str) -> str:
    """Give a page's key: its title, and the last digits of its id, since the first ones are shared within a workspace.

    >>> page_key("Net revenue: rules", "1429989fe8ac4effbc8f57f56486db54")
    'net-revenue-rules-6486db54'
    """
    return f"{slug_of(title, max_chars=_SLUG_CHARS) or 'page'}-{id_[-_ID_CHARS:]}"


def _linked_line(line: str, targets: Mapping[str, Target]) -> str:
    bar = r"\|" if line.lstrip(" >").startswith("|") else "|"

    def link(match: re.Match[str]) -> str:
        target = targets.get(match[1])
        if target is None:
            return match[2]
        title = re.sub(r"[\[\]|\\]", " ", target.title).strip()
        if not target.key:
            return title
        return f"[[{target.key}{bar}{' '.join(title.split())}]]"

    return _REFERENCE.sub(link, line)
