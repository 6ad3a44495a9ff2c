"""What a workspace holds, built in Notion's own shapes."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OLD = "2026-01-05T09:00:00.000Z"
Json = dict[str, Any]
SIGNED = "https://prod-files-secure.s3.us-west-2.amazonaws.com/a/b/plan.png?X-Amz-Algorithm=AWS4&X-Amz-Expires=3600&X-Amz-Signature=abc"


def uid(name: str) -> str:
    """An id as Notion writes it, the same for the same name; ids of one workspace begin alike."""
    digits = hashlib.sha256(name.encode()).hexdigest()
    return f"293d8e4e-98ab-80{digits[:2]}-8{digits[2:5]}-{digits[5:17]}"


def rt(content: str, *, link: str | None = None, href: str | None = None, **annotations: bool) -> Json:
    """A piece of rich text."""
    marks = {"bold": False, "italic": False, "strikethrough": False, "underline": False, "code": False}
    return {
        "type": "text",
        "text": {"content": content, "link": {"url": link} if link else None},
        "annotations": {**marks, "color": "default", **annotations},
        "plain_text": content,
        "href": href or link,
    }


def mention(kind: str, target: Json, plain: str) -> Json:
    """A mention of a page, a person, a date, …"""
    return {
        "type": "mention",
        "mention": {"type": kind, kind: target},
        "annotations": {"color": "default"},
        "plain_text": plain,
        "href": None,
    }


def page_mention(id_: str, title: str) -> Json:
    return mention("page", {"id": id_}, title)


def rich(*spans: str | Json) -> list[Json]:
    return [rt(span) if isinstance(span, str) else span for span in spans]


@dataclass(kw_only=True, eq=False)
class B:
    """A block; `children` are below it."""

    type: str
    data: Json = field(default_factory=dict)
    children: list["B"] = field(default_factory=list)
    id: str = ""
    in_trash: bool = False


def block(kind: str, *spans: str | Json, children: Sequence[B] = (), **data: Any) -> B:
    """A block whose content is rich text."""
    body = {"rich_text": rich(*spans), "color": "default", **data}
    return B(type=kind, data=body, children=list(children))


def p(*spans: str | Json, children: Sequence[B] = ()) -> B:
    return block("paragraph", *spans, children=children)


def h(level: int, *spans: str | Json, children: Sequence[B] = ()) -> B:
    return block(f"heading_{level}", *spans, children=children, is_toggleable=bool(children))


def li(*spans: str | Json, children: Sequence[B] = ()) -> B:
    return block("bulleted_list_item", *spans, children=children)


def ol(*spans: str | Json, children: Sequence[B] = ()) -> B:
    return block("numbered_list_item", *spans, children=children)


def code(body: str, language: str = "sql", caption: str = "") -> B:
    return block("code", body, language=language, caption=rich(caption) if caption else [])


def table(rows: Sequence[Sequence[str | Json]], *, has_header: bool = True) -> B:
    """A simple table."""
    lines = [B(type="table_row", data={"cells": [rich(cell) for cell in row]}) for row in rows]
    data = {"table_width": len(rows[0]), "has_column_header": has_header, "has_row_header": False}
    return B(type="table", data=data, children=lines)


def media(kind: str, *, external: str | None = None, caption: str = "", name: str = "") -> B:
    """An image or file: at an address of its own, or uploaded, with an address that expires."""
    where = (
        {"type": "external", "external": {"url": external}}
        if external
        else {"type": "file", "file": {"url": SIGNED, "expiry_time": "2026-01-05T10:00:00.000Z"}}
    )
    return B(
        type=kind,
        data={**where, "caption": rich(caption) if caption else [], **({"name": name} if name else {})},
    )


@dataclass(kw_only=True, eq=False)
class Page:
    """A page, or a row of a data source."""

    title: str
    blocks: list[B] = field(default_factory=list)
    id: str = ""
    edited: str = OLD
    parent: Json = field(default_factory=lambda: {"type": "workspace", "workspace": True})
    properties: Json = field(default_factory=dict)
    title_property: str = "title"
    in_trash: bool = False
    is_shared: bool = True

    def __post_init__(self) -> None:
        self.id = self.id or uid(self.title)


@dataclass(kw_only=True, eq=False)
class Source:
    """A data source with its rows."""

    title: str
    schema: Json
    rows: list[Page] = field(default_factory=list)
    description: str = ""
    id: str = ""
    edited: str = OLD

    def __post_init__(self) -> None:
        self.id = self.id or uid(f"source {self.title}")


@dataclass(kw_only=True, eq=False)
class Database:
    """A database: one data source, or several."""

    title: str
    sources: list[Source]
    id: str = ""
    parent: Json = field(default_factory=lambda: {"type": "workspace", "workspace": True})
    in_trash: bool = False
    is_shared: bool = True

    def __post_init__(self) -> None:
        self.id = self.id or uid(f"database {self.title}")


@dataclass(kw_only=True)
class Workspace:
    """Everything there is. Put pages and databases into it; where they hang comes from the blocks that hold them."""

    pages: dict[str, Page] = field(default_factory=dict)
    databases: dict[str, Database] = field(default_factory=dict)
    blocks: dict[str, list[B]] = field(default_factory=dict)

    @property
    def sources(self) -> dict[str, tuple[Database, Source]]:
        return {
            source.id: (database, source)
            for database in self.databases.values()
            for source in database.sources
        }

    def add(self, page: Page, *, below: Page | None = None) -> Page:
        """Add a page; below another one, that one gets a block for it."""
        self.pages[page.id] = page
        if below is not None:
            page.parent = {"type": "page_id", "page_id": below.id}
            self._hang(below, B(type="child_page", data={"title": page.title}, id=page.id))
        self._number(page.id, page.blocks)
        return page

    def add_database(self, database: Database, *, below: Page | None = None) -> Database:
        """Add a database with its rows."""
        self.databases[database.id] = database
        if below is not None:
            database.parent = {"type": "page_id", "page_id": below.id}
            self._hang(below, B(type="child_database", data={"title": database.title}, id=database.id))
        for source in database.sources:
            for row in source.rows:
                row.parent = {
                    "type": "data_source_id",
                    "data_source_id": source.id,
                    "database_id": database.id,
                }
                self.add(row)
        return database

    def edit(self, page: Page, *blocks: B, at: str) -> None:
        """Replace a page's blocks, but for its child pages, at some time."""
        kept = [one for one in page.blocks if one.type in ("child_page", "child_database")]
        page.blocks = [*blocks, *kept]
        page.edited = at
        self._number(page.id, page.blocks)

    def _hang(self, page: Page, child: B) -> None:
        page.blocks.append(child)
        self._number(page.id, page.blocks)

    def _number(self, owner: str, blocks: list[B]) -> None:
        self.blocks[owner] = blocks
        for at, one in enumerate(blocks):
            one.id = one.id or uid(f"{owner}/{at}/{one.type}")
            if one.type not in ("child_page", "child_database"):
                self._number(one.id, one.children)


def rows_text(value: str) -> Json:
    return {"id": "a", "type": "rich_text", "rich_text": rich(value) if value else []}


def select(name: str) -> Json:
    return {"id": "b", "type": "select", "select": {"id": "x", "name": name, "color": "red"}}


def status(name: str) -> Json:
    return {"id": "c", "type": "status", "status": {"id": "x", "name": name, "color": "green"}}


def date(start: str, end: str | None = None) -> Json:
    return {"id": "d", "type": "date", "date": {"start": start, "end": end, "time_zone": None}}


def relation(*ids: str, has_more: bool = False) -> Json:
    return {"id": "e", "type": "relation", "relation": [{"id": id_} for id_ in ids], "has_more": has_more}


def people(*names: str) -> Json:
    return {
        "id": "f",
        "type": "people",
        "people": [{"object": "user", "id": uid(name), "name": name, "type": "person"} for name in names],
    }


def walk(blocks: Sequence[B]) -> Iterator[B]:
    for one in blocks:
        yield one
        yield from walk(one.children)


def options(*names: str) -> Mapping[str, Any]:
    return {"options": [{"id": name, "name": name, "color": "default"} for name in names]}
