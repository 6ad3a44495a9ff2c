"""Documents of what was read: text for people and models in a stable order, the values beside it for our interpreter."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ktx.sources.evidence import Document
from ktx.sources.metabase.native import Filled
from ktx.sources.metabase.wire import (
    CardInfo,
    CollectionInfo,
    DashboardInfo,
    DatabaseInfo,
    OldMetricInfo,
    SegmentInfo,
    TableInfo,
)
from ktx.sources.prose import clean, one_line

_NOISE = frozenset({"lib/uuid", "ident", "lib/metadata", "info", "lib/options"})


@dataclass(frozen=True, kw_only=True)
class DatabaseData:
    """A database, the connection it is mapped to (None: none), and how many cards were left out for want of one."""

    info: DatabaseInfo
    connection_id: str | None
    left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class TableData:
    """A table and its database."""

    info: TableInfo
    database_id: int


@dataclass(frozen=True, kw_only=True)
class CardData:
    """A card, where it lies, and its SQL, or why there is none."""

    info: CardInfo
    path: tuple[str, ...]
    sql: Filled | None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class DashboardData:
    """A dashboard, where it lies, and the ids of its cards."""

    info: DashboardInfo
    path: tuple[str, ...]
    cards: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CollectionData:
    """A collection and where it lies, its own name included."""

    info: CollectionInfo
    path: tuple[str, ...]


def database_document(data: DatabaseData) -> Document:
    """Give the document of a database."""
    lines = [f"# Database {one_line(data.info.name)}", f"Engine: {one_line(data.info.engine)}"]
    return Document(
        id=f"database/{data.info.id}",
        kind="database",
        title=one_line(data.info.name),
        text=_text(lines),
        data=data,
    )


def table_document(data: TableData) -> Document:
    """Give the document of a table: what Metabase's data reference says about it."""
    info = data.info
    name = ".".join(part for part in (info.schema_, info.name) if part)
    lines = [f"# Table {one_line(name)}", clean(info.description), ""]
    for field in sorted(info.fields, key=lambda one: (one.name, one.id)):
        if field.active is False:
            continue
        about = [field.effective_type or field.base_type, field.semantic_type or ""]
        words = ", ".join(part.removeprefix("type/") for part in about if part)
        said = f": {one_line(field.description, 1000)}" if field.description else ""
        lines.append(f"- {one_line(field.name)} ({words}){said}")
    return Document(id=f"table/{info.id}", kind="table", title=one_line(name), text=_text(lines), data=data)


def card_document(data: CardData, url: str) -> Document:
    """Give the document of a card. How often and when it is used stands in the signals only."""
    info = data.info
    lines = [f"# {info.kind.capitalize()}: {one_line(info.name)}"]
    lines.append(f"Collection: {_path(data.path)}")
    lines += ["", clean(info.description)] if info.description else []
    if data.sql is not None:
        lines += ["", "```sql", clean(data.sql.sql), "```"]
        for variable in data.sql.variables:
            lines.append(f"Variable {one_line(variable.name)} ({variable.kind}): {variable.state}")
    else:
        query = json.dumps(stripped(info.dataset_query), sort_keys=True, ensure_ascii=False)
        lines += ["", f"Its SQL is not known: {one_line(data.problem)}", "", "```json", clean(query), "```"]
    described = [column for column in info.result_metadata if column.description]
    lines += [""] if described else []
    for column in sorted(described, key=lambda one: one.name):
        lines.append(f"- {one_line(column.name)}: {one_line(column.description, 1000)}")
    seen = {
        "views": info.view_count,
        "dashboards": info.dashboard_count,
        "last_used_at": info.last_used_at,
        "updated_at": info.updated_at,
    }
    return Document(
        id=f"card/{info.id}",
        kind=info.kind,
        title=one_line(info.name),
        text=_text(lines),
        url=f"{url}/{info.kind if info.kind in ('model', 'metric') else 'question'}/{info.id}",
        signals={name: value for name, value in seen.items() if value is not None},
        data=data,
    )


def dashboard_document(data: DashboardData, titles: Mapping[int, str], url: str) -> Document:
    """Give the document of a dashboard."""
    info = data.info
    lines = [f"# Dashboard: {one_line(info.name)}", f"Collection: {_path(data.path)}"]
    lines += ["", clean(info.description)] if info.description else []
    lines.append("")
    lines += [f"- card/{card}: {titles.get(card, '')}".rstrip(": ") for card in data.cards]
    for parameter in sorted(info.parameters, key=lambda one: (one.name, one.type or "")):
        lines.append(f"Filter: {one_line(parameter.name)} ({one_line(parameter.type)})")
    for dashcard in info.dashcards:
        text = (dashcard.visualization_settings or {}).get("text")
        if dashcard.card_id is None and isinstance(text, str):
            lines += ["", clean(text, 4000)]
    seen = {"views": info.view_count, "updated_at": info.updated_at}
    return Document(
        id=f"dashboard/{info.id}",
        kind="dashboard",
        title=one_line(info.name),
        text=_text(lines),
        url=f"{url}/dashboard/{info.id}",
        signals={name: value for name, value in seen.items() if value is not None},
        data=data,
    )


def collection_document(data: CollectionData) -> Document:
    """Give the document of a collection."""
    lines = [f"# Collection: {_path(data.path)}", "", clean(data.info.description)]
    return Document(
        id=f"collection/{data.info.id}",
        kind="collection",
        title=_path(data.path),
        text=_text(lines),
        data=data,
    )


def segment_document(info: SegmentInfo | OldMetricInfo) -> Document:
    """Give the document of a saved segment, or of a metric of the older kind."""
    kind = "segment" if isinstance(info, SegmentInfo) else "metric"
    query = json.dumps(stripped(info.definition), sort_keys=True, ensure_ascii=False)
    lines = [
        f"# {kind.capitalize()}: {one_line(info.name)}",
        clean(info.description),
        "",
        f"On table/{info.table_id}",
    ]
    lines += ["", "```json", clean(query), "```"]
    return Document(
        id=f"{kind}/{info.id}", kind=kind, title=one_line(info.name), text=_text(lines), data=info
    )


def stripped(value: object, depth: int = 0) -> object:
    """Give a query without the marks that change with every save."""
    if depth > 80:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(key): stripped(one, depth + 1)
            for key, one in cast("Mapping[object, object]", value).items()
            if key not in _NOISE
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [stripped(one, depth + 1) for one in cast("Sequence[object]", value)]
    return value


def _path(path: tuple[str, ...]) -> str:
    return " / ".join(one_line(name, 100) for name in path) or "Our analytics"


def _text(lines: list[str]) -> str:
    return "\n".join(lines).strip() + "\n"
