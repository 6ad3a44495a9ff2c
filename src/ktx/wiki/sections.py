"""The parts of a page's text: blocks that can be told apart without breaking one, and sections by their headings."""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt


@dataclass(frozen=True, kw_only=True)
class Block:
    """A heading, paragraph, list, table or code block with the blank lines after it; `level` is 1 to 6 for headings, else 0."""

    text: str
    level: int = 0
    title: str = ""


@lru_cache(maxsize=512)
def split_blocks(text: str) -> tuple[Block, ...]:
    """Split Markdown into its blocks; joined again they give the text.

    >>> [(block.level, block.title, block.text) for block in split_blocks("# Rule\\n\\nOnly paid.\\n")]
    [(1, 'Rule', '# Rule\\n\\n'), (0, '', 'Only paid.\\n')]
    """
    lines = text.splitlines(keepends=True)
    tokens = _markdown().parse(text)
    starts: dict[int, tuple[int, str]] = {}
    for at, token in enumerate(tokens):
        if token.level or token.map is None or token.nesting < 0:
            continue
        is_heading = token.type == "heading_open"
        title = tokens[at + 1].content.strip() if is_heading else ""
        starts.setdefault(token.map[0], (int(token.tag[1:]) if is_heading else 0, title))
    if not starts:
        return (Block(text=text),) if text else ()
    first = sorted(starts)
    starts[0] = starts.pop(first[0])
    first[0] = 0
    ends = [*first[1:], len(lines)]
    return tuple(
        Block(text="".join(lines[start:end]), level=starts[start][0], title=starts[start][1])
        for start, end in zip(first, ends, strict=True)
    )


def section_of(blocks: tuple[Block, ...], title: str) -> tuple[Block, ...]:
    """Give the section under a heading, subsections included; empty when no heading is called so, in any letter case."""
    wanted = title.strip().lstrip("#").strip().casefold()
    for at, block in enumerate(blocks):
        if block.level and block.title.casefold() == wanted:
            end = next(
                (to for to in range(at + 1, len(blocks)) if 0 < blocks[to].level <= block.level), len(blocks)
            )
            return blocks[at:end]
    return ()


@cache
def _markdown() -> "MarkdownIt":
    # Imported by those who split a page: a search of a cold shell does not, and waits for every import.
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")
