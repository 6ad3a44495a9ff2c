"""What a page points at: other pages, semantic sources and what is in them, tables; each with its line.

References stand in the front matter (`refs`, `sl_refs`, `tables`, `connections`) and in the Markdown: `[[page-key]]`, and in
backticks `source.entity`, `source:name`, `table:name`, each with an optional `connection/` before it. The Markdown is read
once with a CommonMark parser, so that nothing inside a code block counts as a reference.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ktx.wiki.page import Page

LinkKind = Literal["page", "source", "entity", "table", "connection"]

_PAGE = re.compile(r"\[\[([^\[\]|#\n]+)(?:[#|][^\[\]\n]*)?\]\]")
_NAME = r"[^\W\d][\w$-]*"
_PREFIX = r"(?:(?P<connection>[A-Za-z0-9_-]+)/)?"
_EXPLICIT = re.compile(rf"{_PREFIX}(?P<kind>source|table):(?P<target>\S(?:.*\S)?)")
_ENTITY = re.compile(rf"{_PREFIX}(?P<target>{_NAME})\.(?P<entity>{_NAME})")


@dataclass(frozen=True, kw_only=True)
class Link:
    """One reference as written. `entity` is a measure, column or segment of `target`.

    `is_stated` is False for a bare `` `a.b` `` in the text, which may also be a file name or a piece of code.
    """

    kind: LinkKind
    target: str
    entity: str | None = None
    connection_id: str | None = None
    file: str
    line: int | None = None
    text: str
    is_stated: bool = True


def parse_links(page: Page) -> tuple[Link, ...]:
    """Give every reference of a page, front matter first, then in reading order."""
    return (*_head_links(page), *_body_links(page))


def parse_layer_reference(text: str) -> tuple[str | None, str, str | None]:
    """Split `[connection/]source[.entity]` into its parts.

    >>> parse_layer_reference("warehouse/orders.revenue")
    ('warehouse', 'orders', 'revenue')
    >>> parse_layer_reference("orders")
    (None, 'orders', None)
    """
    connection, slash, rest = text.strip().rpartition("/")
    source, dot, entity = rest.partition(".")
    return (connection if slash else None), source, (entity if dot else None)


def _head_links(page: Page) -> Iterator[Link]:
    def link(
        kind: LinkKind, key: str, text: str, *, target: str, entity: str | None, connection: str | None
    ) -> Link:
        return Link(
            kind=kind, target=target, entity=entity, connection_id=connection,
            file=page.file, line=page.head_lines.get(key), text=text,
        )  # fmt: skip

    for text in page.refs:
        yield link("page", "refs", text, target=text.strip(), entity=None, connection=None)
    for text in page.sl_refs:
        connection, source, entity = parse_layer_reference(text)
        yield link(
            "entity" if entity else "source",
            "sl_refs",
            text,
            target=source,
            entity=entity,
            connection=connection,
        )
    for text in page.tables:
        connection, slash, table = text.strip().rpartition("/")
        yield link(
            "table", "tables", text, target=table, entity=None, connection=connection if slash else None
        )
    for text in page.connections:
        yield link("connection", "connections", text, target=text.strip(), entity=None, connection=None)


def _body_links(page: Page) -> Iterator[Link]:
    if "`" not in page.body and "[[" not in page.body:
        return
    for token in _markdown().parse(page.body):
        if token.type != "inline" or token.map is None:
            continue
        line = page.body_line + token.map[0]
        text_run = ""
        for child in token.children or ():
            if child.type == "text":
                text_run += child.content
                continue
            yield from _page_links(page, text_run, line)
            text_run = ""
            if child.type == "code_inline":
                yield from _code_links(page, child, line)
            elif child.type in ("softbreak", "hardbreak"):
                line += 1
        yield from _page_links(page, text_run, line)


def _page_links(page: Page, text: str, line: int) -> Iterator[Link]:
    for match in _PAGE.finditer(text):
        yield Link(kind="page", target=match[1].strip(), file=page.file, line=line, text=match[0])


def _code_links(page: Page, token: Token, line: int) -> Iterator[Link]:
    text = token.content.strip()
    if match := _EXPLICIT.fullmatch(text):
        kind: LinkKind = "table" if match["kind"] == "table" else "source"
        target, entity = match["target"], None
        if kind == "source" and "." in target:
            target, _, entity = target.partition(".")
            kind = "entity"
        yield Link(
            kind=kind,
            target=target,
            entity=entity,
            connection_id=match["connection"],
            file=page.file,
            line=line,
            text=text,
        )
    elif match := _ENTITY.fullmatch(text):
        yield Link(
            kind="entity", target=match["target"], entity=match["entity"], connection_id=match["connection"],
            file=page.file, line=line, text=text, is_stated=match["connection"] is not None,
        )  # fmt: skip


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table")
