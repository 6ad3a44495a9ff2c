"""What one file of the context layer gives the index: a document per page, source, measure, segment and column.

Every file is read on its own. A source that stands in two files (a manifest table and an overlay on it) has documents from both,
under one identity, and what an overlay takes away is a `Hidden` name; so one changed file never needs another one read.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from ktx.search.text import name_text, split_text
from ktx.wiki.page import Page

DocumentKind = Literal["wiki", "source", "measure", "dimension", "segment"]
KINDS: tuple[DocumentKind, ...] = ("wiki", "source", "measure", "dimension", "segment")
_MEANING_LETTERS = 1_200
"""About what the local model reads of a text."""

DESCRIPTION_ORDER = ("user", "dbt", "ai", "db")


@dataclass(frozen=True, kw_only=True)
class Document:
    """One thing to find. `ref` is its name (`orders`, `orders.revenue`, a page key); `source` is the source it is part of.

    `connections` is empty for a page that belongs to all. `name_words`, `about` and `body` are what is searched, the words
    of identifiers already apart. `table` and `column` are the physical names behind it, where there are any.
    """

    kind: DocumentKind
    ref: str
    connections: tuple[str, ...] = ()
    source: str | None = None
    user_id: str | None = None
    summary: str = ""
    detail: str = ""
    table: str | None = None
    column: str | None = None
    is_always: bool = False
    is_findable: bool = True
    sort_order: int = 0
    name_words: str
    about: str = ""
    body: str = ""


def meaning_text(kind: DocumentKind, ref: str, summary: str, body: str) -> str:
    """Give the text of a document whose vector stands for it: name, description, and the beginning of the rest.

    >>> meaning_text("measure", "orders.netRevenue", "What we keep", "orders sum(amount)")
    'net Revenue. What we keep. orders sum(amount)'
    """
    name = ref if kind in ("wiki", "source") else ref.rpartition(".")[2]
    parts = (split_text(name.replace("-", " ")), summary, " ".join(body.split()))
    return ". ".join(part for part in parts if part)[:_MEANING_LETTERS]


def meaning_digest(document: Document) -> bytes:
    """Give the digest of that text, by which vectors are kept."""
    text = meaning_text(document.kind, document.ref, document.summary, document.body)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """A column that an overlay excludes or hides: no document of that name may be found, whichever file it is from."""

    connection_id: str
    ref: str


def page_document(page: Page) -> Document:
    """Give the document of a wiki page; `usage_mode: never` and an archived page are kept but never found."""
    return Document(
        kind="wiki",
        ref=page.key,
        connections=page.connections,
        user_id=page.user_id,
        summary=page.summary,
        is_always=page.usage_mode == "always",
        is_findable=page.usage_mode != "never" and page.archived_since is None,
        sort_order=page.sort_order,
        name_words=name_text(page.key),
        about=split_text(" ".join((page.summary, *page.tags, page.intent or ""))),
        body=split_text(" ".join((page.body, *page.sl_refs, *page.tables))),
    )


def manifest_documents(connection_id: str, data: object) -> tuple[list[Document], list[Hidden]]:
    """Give the documents of a manifest shard from its parsed YAML; parts that cannot be used give none."""
    documents: list[Document] = []
    for name, table in _mapping(_mapping(data).get("tables")).items():
        documents.extend(_source_documents(connection_id, name, _mapping(table), is_own=True))
    return documents, []


def source_documents(connection_id: str, data: object) -> tuple[list[Document], list[Hidden]]:
    """Give the documents of a source or overlay file from its parsed YAML; parts that cannot be used give none."""
    entry = _mapping(data)
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        return [], []
    is_own = "table" in entry or "sql" in entry
    hidden = [
        Hidden(connection_id=connection_id, ref=f"{name}.{gone}")
        for gone in _names(entry.get("exclude_columns"))
    ]
    for field in ("column_overrides", "columns"):
        hidden.extend(
            Hidden(connection_id=connection_id, ref=f"{name}.{column['name']}")
            for column in _entries(entry.get(field))
            if column.get("visibility") == "hidden"
        )
    return list(_source_documents(connection_id, name, entry, is_own=is_own)), hidden


def _source_documents(
    connection_id: str, name: str, entry: Mapping[str, object], *, is_own: bool
) -> Iterator[Document]:
    connections = (connection_id,)
    table = _text(entry.get("table")) or None
    columns = [*_entries(entry.get("columns")), *_entries(entry.get("column_overrides"))]
    measures, segments = _entries(entry.get("measures")), _entries(entry.get("segments"))
    about = _description(entry)
    yield Document(
        kind="source",
        ref=name,
        connections=connections,
        source=name,
        summary=about or (f"{len(columns)} columns" if is_own else ""),
        table=table,
        name_words=f"{name_text(name)} {name_text(table) if table else ''}".strip(),
        about=split_text(about),
    )
    for measure in measures:
        yield _part("measure", name, measure, connections, detail=_text(measure.get("expr")))
    for segment in segments:
        yield _part("segment", name, segment, connections, detail=_text(segment.get("expr")))
    for column in columns:
        expr = _text(column.get("expr"))
        physical = None if expr else _text(column.get("name"))
        yield _part(
            "dimension",
            name,
            column,
            connections,
            detail=expr or _text(column.get("type")),
            table=table,
            column=physical,
        )


def _part(
    kind: DocumentKind,
    source: str,
    entry: Mapping[str, object],
    connections: tuple[str, ...],
    *,
    detail: str,
    table: str | None = None,
    column: str | None = None,
) -> Document:
    name = _text(entry.get("name"))
    about = _description(entry)
    enums = " ".join(
        value for values in _mapping(entry.get("enum_values")).values() for value in _names(values)
    )
    return Document(
        kind=kind,
        ref=f"{source}.{name}",
        connections=connections,
        source=source,
        summary=about,
        detail=detail,
        table=table,
        column=column,
        name_words=name_text(name),
        about=split_text(about),
        body=split_text(f"{source} {detail if kind != 'dimension' or column is None else ''} {enums}"),
    )


def _description(entry: Mapping[str, object]) -> str:
    """Give the text that wins: `description`, else `descriptions` by who wrote them."""
    short = _text(entry.get("description")).strip()
    if short:
        return short
    texts = {key: _text(value).strip() for key, value in _mapping(entry.get("descriptions")).items()}
    ordered = [*DESCRIPTION_ORDER, *sorted(texts)]
    return next((texts[key] for key in ordered if texts.get(key)), "")


def _entries(value: object) -> list[Mapping[str, object]]:
    """Give the mappings with a name in a list, or in a mapping of name to entry."""
    if isinstance(value, Mapping):
        items = _mapping(cast("object", value)).items()
        return [{**_mapping(inner), "name": name} for name, inner in items]
    if not isinstance(value, list):
        return []
    found = [_mapping(item) for item in cast("list[object]", value)]
    return [item for item in found if isinstance(item.get("name"), str)]


def _names(value: object) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [str(item) for item in cast("Sequence[object]", value) if isinstance(item, str | int | float)]


def _mapping(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) else ""
