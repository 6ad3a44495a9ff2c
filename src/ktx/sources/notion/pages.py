"""One page's content: its blocks, fetched to a bounded depth and number, and remembered until the page changes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, cast

from ktx.errors import SourceError
from ktx.sources.api import Refused
from ktx.sources.notion.blocks import CHILD_TYPES, Block, child_blocks, render_blocks
from ktx.sources.notion.client import NotionClient
from ktx.sources.notion.values import Values, is_trashed, mapping, plain_id, text
from ktx.sources.source import Shelf

MAX_BLOCKS: Final = 2_000
MAX_DEPTH: Final = 10
MAX_CHARS: Final = 1_000_000
_FORM: Final = 1
"""Raised when pages are rendered in another way: what is on the shelf is then read again."""

_SETTLED: Final = timedelta(minutes=2)
"""Notion gives the time of a change by the minute, so that a page changed just now may change again unseen."""

Now = Callable[[], datetime]


class PartialError(SourceError):
    """A page's blocks could not be listed to the end."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """A page's body with marks for references, and what hangs below it, as (`child_page` or `child_database`, id)."""

    body: str
    children: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    gap: str = ""


class PageShelf:
    """Contents by page, as of the time of each page's last change."""

    def __init__(self, shelf: Shelf, *, now: Now) -> None:
        self._shelf = shelf
        self._now = now

    def has(self, id_: str) -> bool:
        """Tell whether some version of the page was read."""
        return self._shelf.get(f"page/{id_}") is not None

    def get(self, id_: str, edited: str) -> Content | None:
        """Give the content if the page has not changed since it was read."""
        try:
            value = mapping(json.loads(self._shelf.get(f"page/{id_}") or "null"))
        except (ValueError, RecursionError):
            return None
        if value.get("form") != _FORM or not edited or value.get("edited") != edited:
            return None
        pairs = cast("list[list[str]]", value.get("children") or [])
        return Content(
            body=str(value.get("body")),
            children=tuple((pair[0], pair[1]) for pair in pairs),
            notes=tuple(cast("list[str]", value.get("notes") or [])),
            gap=str(value.get("gap") or ""),
        )

    def put(self, id_: str, edited: str, content: Content) -> None:
        """Keep a content, if the page has been quiet for long enough."""
        if not self._is_settled(edited):
            return
        value = {
            "form": _FORM, "edited": edited, "body": content.body, "children": content.children,
            "notes": content.notes, "gap": content.gap,
        }  # fmt: skip
        self._shelf.put(f"page/{id_}", json.dumps(value, ensure_ascii=False))

    def known(self) -> tuple[str, ...]:
        """Give the pages and databases that the last run found, as `kind/id`."""
        try:
            listed = json.loads(self._shelf.get("known") or "[]")
        except ValueError:
            return ()
        return tuple(str(id_) for id_ in cast("list[object]", listed)) if isinstance(listed, list) else ()

    def remember(self, ids: set[str]) -> None:
        """Keep what this run found."""
        self._shelf.put("known", json.dumps(sorted(ids)))

    def _is_settled(self, edited: str) -> bool:
        try:
            return self._now() - datetime.fromisoformat(edited) >= _SETTLED
        except (ValueError, TypeError):
            return False


def fetch_content(client: NotionClient, page_id: str) -> Content:
    """Fetch the blocks of a page.

    Raises:
        PartialError: the listing of its blocks breaks off or does not end.
        SourceError: they cannot be read.
    """
    walk = _Walk(client=client)
    blocks = walk.below(page_id, depth=1)
    rendered = render_blocks(blocks)
    body = rendered.markdown
    if len(body) > MAX_CHARS:
        body = body[: body.rfind("\n", 0, MAX_CHARS) + 1]
        walk.gaps.add(f"only its first {MAX_CHARS:,} characters were kept")
    notes = [f"{count} x `{name}`" for name, count in rendered.unknown.items()]
    return Content(
        body=body,
        children=tuple((block.type, block.id) for block in child_blocks(blocks) if block.id),
        notes=(f"kinds of block without a form here: {', '.join(notes)}",) if notes else (),
        gap=" and ".join(sorted(walk.gaps)),
    )


@dataclass(kw_only=True)
class _Walk:
    client: NotionClient
    left: int = MAX_BLOCKS
    gaps: set[str] = field(default_factory=set[str])

    def below(self, id_: str, *, depth: int) -> tuple[Block, ...]:
        listing = self.client.blocks(id_, at_most=self.left)
        if listing.gap:
            raise PartialError(f"its blocks could not be listed to the end: {listing.gap}")
        out: list[Block] = []
        for value in listing.results:
            if self.left <= 0:
                self.gaps.add(f"only its first {MAX_BLOCKS:,} blocks were read")
                break
            if not is_trashed(value):
                self.left -= 1
                out.append(self._block(value, depth=depth))
        return tuple(out)

    def _block(self, value: Values, *, depth: int) -> Block:
        kind = text(value.get("type"))
        block = Block(id=plain_id(value.get("id")), type=kind, data=mapping(value.get(kind)))
        if value.get("has_children") is not True or kind in CHILD_TYPES or not block.id:
            return block
        if depth >= MAX_DEPTH:
            self.gaps.add(f"what is nested deeper than {MAX_DEPTH} levels was not read")
            return _with(block, gap="nested too deeply to be read")
        try:
            return _with(block, children=self.below(block.id, depth=depth + 1))
        except Refused as error:
            if kind == "synced_block" and error.status in (403, 404):
                return _with(block, gap="a synced block whose original is not shared with the integration")
            raise


def _with(block: Block, *, children: tuple[Block, ...] = (), gap: str = "") -> Block:
    return Block(id=block.id, type=block.type, data=block.data, children=children, gap=gap)
