"""Documents of what was read from Looker: text in a stable order, without what changes by itself."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ktx.sources.evidence import Document
from ktx.sources.looker.wire import DashboardInfo, ExploreInfo, FieldInfo, LookInfo, QueryInfo
from ktx.sources.loose import as_list, as_mapping
from ktx.sources.prose import clean, one_line

Signals = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, kw_only=True)
class DashboardData:
    """A dashboard and the names of the folders that it lies in."""

    info: DashboardInfo
    path: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LookData:
    """A Look and the names of the folders that it lies in."""

    info: LookInfo
    path: tuple[str, ...]


def explore_id(model: str, explore: str) -> str:
    """Give the id of an explore's document."""
    return f"explore/{one_line(model, 200)}/{one_line(explore, 200)}"


def explore_document(info: ExploreInfo, url: str) -> Document:
    """Give the document of an explore: its tables, joins, and fields with their SQL."""
    lines = [f"# Explore {one_line(info.model_name)} / {one_line(info.name)}"]
    if info.label:
        lines.append(f"Label: {one_line(info.label)}")
    lines += ["", clean(info.description, 4000), ""] if info.description else [""]
    lines.append(f"View: {one_line(info.view_name)}; table: {one_line(info.sql_table_name, 4000)}")
    for one in (*info.always_filter, *info.conditionally_filter):
        lines.append(f"Filter: {one_line(one.name)} is {one_line(one.value)}")
    for join in info.joins:
        condition = join.sql_on or (f"foreign key {join.foreign_key}" if join.foreign_key else "")
        parts = [join.type or "left_outer", join.relationship or "", one_line(condition, 2000)]
        lines.append(f"Join: {one_line(join.name)} ({'; '.join(part for part in parts if part)})")
    for title, fields in (("Dimensions", info.fields.dimensions), ("Measures", info.fields.measures)):
        lines += ["", f"## {title}", "", *(_field(one) for one in sorted(fields, key=lambda one: one.name))]
    return Document(
        id=explore_id(info.model_name, info.name),
        kind="explore",
        title=one_line(info.label or info.name),
        text=_text(lines),
        url=f"{url}/explore/{info.model_name}/{info.name}",
        data=info,
    )


def _field(one: FieldInfo) -> str:
    conditions = ", ".join(f"{item.field} is {item.condition}" for item in one.filters)
    parts = [
        one.type,
        f"sql: {one_line(one.sql, 1000)}" if one.sql else "",
        f"only where {one_line(conditions, 1000)}" if conditions else "",
        one_line(one.description, 1000),
    ]
    return f"- {one_line(one.name)}: " + "; ".join(part for part in parts if part)


def dashboard_document(data: DashboardData, signals: Signals, url: str) -> Document:
    """Give the document of a dashboard: its texts, tiles and filters."""
    info = data.info
    title = one_line(info.title) or f"Dashboard {one_line(info.id)}"
    lines = [f"# Dashboard: {title}", f"Folder: {folder_path(data.path)}"]
    lines += ["", clean(info.description, 4000)] if info.description else []
    for one in info.dashboard_filters:
        lines.append(f"Filter: {one_line(one.title or one.name)} on {one_line(one.dimension)}")
    for element in info.dashboard_elements:
        if element.deleted:
            continue
        head = element.title or element.title_text or (element.look.title if element.look else None)
        lines += ["", f"## Tile: {one_line(head) or 'without a title'}"]
        lines += [
            clean(text, 4000)
            for text in (element.subtitle_text, element.body_text, element.note_text)
            if text
        ]
        if element.asks is not None:
            lines += query_lines(element.asks)
        elif element.merge_result_id is not None:
            lines.append("It merges the results of several queries.")
    return Document(
        id=f"dashboard/{one_line(info.id)}",
        kind="dashboard",
        title=title,
        text=_text(lines),
        url=f"{url}/dashboards/{info.id}",
        signals=signals,
        data=data,
    )


def look_document(data: LookData, signals: Signals, url: str) -> Document:
    """Give the document of a Look."""
    info = data.info
    title = one_line(info.title) or f"Look {one_line(info.id)}"
    lines = [f"# Look: {title}", f"Folder: {folder_path(data.path)}"]
    lines += ["", clean(info.description, 4000)] if info.description else []
    lines += ["", *query_lines(info.query)] if info.query is not None else []
    return Document(
        id=f"look/{one_line(info.id)}",
        kind="look",
        title=title,
        text=_text(lines),
        url=f"{url}/looks/{info.id}",
        signals=signals,
        data=data,
    )


def folder_path(path: tuple[str, ...]) -> str:
    """Write where something lies."""
    return " / ".join(one_line(name, 100) for name in path) or "no folder"


def query_lines(query: QueryInfo) -> Iterator[str]:
    """Say what a query asks."""
    yield f"Explore: {one_line(query.model)} / {one_line(query.view)}"
    if query.fields:
        yield "Fields: " + ", ".join(one_line(field, 200) for field in query.fields)
    if query.pivots:
        yield "Pivot: " + ", ".join(one_line(field, 200) for field in query.pivots)
    for name, value in sorted((query.filters or {}).items()):
        yield f"Where {one_line(name, 200)} is {one_line(str(value), 400)}"
    if query.filter_expression:
        yield f"Where {one_line(query.filter_expression, 1000)}"
    if query.sorts:
        yield "Sort: " + ", ".join(one_line(sort, 200) for sort in query.sorts)
    yield from _dynamic(query.dynamic_fields)


def _dynamic(text: str | None) -> Iterator[str]:
    """Say which fields people made for one query only."""
    try:
        fields = as_list(json.loads(text or "[]"))
    except (ValueError, RecursionError):
        return
    for one in (as_mapping(field) for field in fields):
        name = one.get("label") or one.get("measure") or one.get("table_calculation") or one.get("dimension")
        meaning = one.get("expression") or f"{one.get('type') or 'of'} of {one.get('based_on')}"
        conditions = as_mapping(one.get("filters"))
        only = "".join(f", only where {key} is {conditions[key]}" for key in sorted(conditions))
        if isinstance(name, str):
            yield f"Custom field {one_line(name, 200)}: {one_line(str(meaning) + only, 1000)}"


def _text(lines: list[str]) -> str:
    return "\n".join(lines).strip() + "\n"
