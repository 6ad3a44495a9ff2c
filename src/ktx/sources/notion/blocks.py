"""A page's blocks as Markdown. Headings are one level below the page's title."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from ktx.sources.markdown import table
from ktx.sources.notion.references import reference
from ktx.sources.notion.richtext import escaped, link, markdown, paragraph, plain, safe_url
from ktx.sources.notion.values import Values, items, mapping, plain_id, text

CHILD_TYPES: Final = ("child_page", "child_database")
"""Blocks that are pages or databases of their own: they are not read as part of the page."""

_ITEMS: Final = frozenset({"bulleted_list_item", "numbered_list_item", "to_do", "toggle"})
_SILENT: Final = frozenset({"breadcrumb", "table_of_contents"})
_CONTAINERS: Final = frozenset({"column_list", "column", "synced_block", "template", "tab"})


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block with what is below it. `gap` says in words what could not be read there."""

    id: str
    type: str
    data: Values
    children: "tuple[Block, ...]" = ()
    gap: str = ""


@dataclass(kw_only=True)
class _Page:
    unknown: Counter[str] = field(default_factory=Counter[str])


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A page's body. `unknown` counts the types of block that have no form here."""

    markdown: str
    unknown: Mapping[str, int]


def render_blocks(blocks: Sequence[Block]) -> Rendered:
    """Give blocks as Markdown. Of files there is the caption or name, and no address that expires."""
    page = _Page()
    body = _rendered(blocks, page)
    return Rendered(markdown=f"{body}\n" if body else "", unknown=dict(sorted(page.unknown.items())))


def child_blocks(blocks: Sequence[Block]) -> Iterator[Block]:
    """Give the child pages and databases, wherever in the page they stand."""
    for block in blocks:
        if block.type in CHILD_TYPES:
            yield block
        else:
            yield from child_blocks(block.children)


def _rendered(blocks: Sequence[Block], page: _Page) -> str:
    out: list[str] = []
    last = ""
    number = 0
    for block in blocks:
        number = _next_number(block, number)
        chunk = _one(block, page, number)
        if block.gap:
            chunk = "\n\n".join(part for part in (chunk, f"*({block.gap})*") if part)
        if not chunk:
            continue
        if out:
            out.append("\n" if block.type == last and block.type in _ITEMS else "\n\n")
        out.append(chunk)
        last = block.type
    return "".join(out)


def _next_number(block: Block, number: int) -> int:
    if block.type != "numbered_list_item":
        return 0
    start = block.data.get("list_start_index")
    return number + 1 if number or not isinstance(start, int) else start


def _one(block: Block, page: _Page, number: int) -> str:
    kind, data = block.type, block.data
    if kind in _SILENT:
        return ""
    if kind in _CONTAINERS:
        return _joined(paragraph(data.get("rich_text")), _rendered(block.children, page))
    if kind in _ITEMS:
        return _item(block, page, number)
    if kind in ("quote", "callout"):
        return _quote(block, page)
    if kind == "table":
        return _joined(_table(block), "")
    if kind.startswith("heading_") and kind[8:].isdigit():
        level = min(int(kind[8:]) + 1, 6)
        title = " ".join(markdown(data.get("rich_text")).split())
        return _joined(f"{'#' * level} {title}" if title else "", _rendered(block.children, page))
    renderer = _RENDERERS.get(kind)
    if renderer is not None:
        return _joined(renderer(block), _rendered(block.children, page))
    return _unknown(block, page)


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _indented(body: str, width: int) -> str:
    pad = " " * width
    return "\n".join(pad + line if line else line for line in body.split("\n"))


def _item(block: Block, page: _Page, number: int) -> str:
    marker = f"{number}. " if block.type == "numbered_list_item" else "- "
    checked = "x" if block.data.get("checked") is True else " "
    box = f"[{checked}] " if block.type == "to_do" else ""
    body = paragraph(block.data.get("rich_text"))
    if not body and not block.children:
        return ""
    first = f"{marker}{box}{_indented(body, len(marker)).lstrip()}".rstrip()
    below = _rendered(block.children, page)
    if not below:
        return first
    gap = "\n" if block.children[0].type in _ITEMS else "\n\n"
    return first + gap + _indented(below, len(marker))


def _quote(block: Block, page: _Page) -> str:
    icon = text(mapping(block.data.get("icon")).get("emoji"))
    said = paragraph(block.data.get("rich_text"))
    body = _joined(
        f"{icon} {said}".strip() if block.type == "callout" else said, _rendered(block.children, page)
    )
    return "\n".join(f"> {line}".rstrip() for line in body.split("\n")) if body else ""


def _table(block: Block) -> str:
    rows = [
        [" ".join(markdown(cell).split()) for cell in _cells(row.data)]
        for row in block.children
        if row.type == "table_row"
    ]
    width = max((len(row) for row in rows), default=0)
    if not width:
        return ""
    filled = [row + [""] * (width - len(row)) for row in rows]
    header, rest = (
        (filled[0], filled[1:]) if block.data.get("has_column_header") is True else ([""] * width, filled)
    )
    return table(header, rest)


def _cells(data: Values) -> list[object]:
    cells = data.get("cells")
    return cast("list[object]", cells) if isinstance(cells, list) else []


def _paragraph(block: Block) -> str:
    return paragraph(block.data.get("rich_text"))


def _code(block: Block) -> str:
    body = "".join(text(span.get("plain_text")) for span in items(block.data.get("rich_text")))
    language = text(block.data.get("language")).strip().lower()
    named = "" if language == "plain text" else re.sub(r"[^a-z0-9+#.-]+", "-", language).strip("-")
    longest = max((len(run) for run in re.findall("`{3,}", body)), default=2)
    fence = "`" * (longest + 1)
    caption = paragraph(block.data.get("caption"))
    return _joined(f"{fence}{named}\n{body.rstrip()}\n{fence}", caption)


def _equation(block: Block) -> str:
    expression = text(block.data.get("expression")).strip()
    return f"$$\n{expression}\n$$" if expression else ""


def _divider(block: Block) -> str:
    del block
    return "---"


def _address(block: Block) -> str:
    url = safe_url(block.data.get("url"))
    label = " ".join(markdown(block.data.get("caption")).split())
    return link(label, url) if url else label


def _file(block: Block) -> str:
    data = block.data
    label = plain(data.get("caption")) or " ".join(text(data.get("name")).split())
    url = safe_url(mapping(data.get("external")).get("url"))
    if url and block.type == "image":
        return f"![{escaped(label)}]({url})" if "(" not in url else f"![{escaped(label)}](<{url}>)"
    if url:
        return link(escaped(label), url)
    return f"*({block.type}{f': {escaped(label)}' if label else ''})*"


def _child(block: Block) -> str:
    title = " ".join(text(block.data.get("title")).split()) or "Untitled"
    return f"- {reference(block.id, escaped(title))}" if block.id else f"- {escaped(title)}"


def _link_to_page(block: Block) -> str:
    kind = block.data.get("type")
    id_ = plain_id(block.data.get(kind)) if isinstance(kind, str) else ""
    return f"- {reference(id_, 'a page that was not read')}" if id_ else ""


def _unknown(block: Block, page: _Page) -> str:
    named = text(block.data.get("block_type")) or block.type or "without a type"
    page.unknown[named] += 1
    said = paragraph(block.data.get("rich_text") or block.data.get("title"))
    below = _rendered(block.children, page)
    if said or below:
        return _joined(said, below)
    return f"*(a block of the kind `{re.sub(r'[^A-Za-z0-9_ -]', '', named)}`)*"


_RENDERERS: Final[Mapping[str, Callable[[Block], str]]] = {
    "paragraph": _paragraph,
    "code": _code,
    "equation": _equation,
    "divider": _divider,
    "bookmark": _address,
    "embed": _address,
    "link_preview": _address,
    "image": _file,
    "video": _file,
    "audio": _file,
    "pdf": _file,
    "file": _file,
    "child_page": _child,
    "child_database": _child,
    "link_to_page": _link_to_page,
}
