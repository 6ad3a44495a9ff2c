"""LookML dashboards (`.dashboard.lookml`, YAML) as pages: what each tile shows, by definition."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ktx.sources.definition import PageFact
from ktx.sources.lookml.keys import page_key

_MAX_CHARS: Final = 2_000_000
_MAX_TILES: Final = 300
_MAX_FIELDS: Final = 60
_MAX_DEPTH: Final = 60
_MAX_MERGES: Final = 10
_MERGE: Final = re.compile(r"<<\s*:")

FieldName: TypeAlias = Callable[[str, str, str], "tuple[str, str, str] | None"]
"""Gives definition, entity and timeframe (or nothing) of a field, by model, explore and `view.field`; None when it has not landed."""


class DashboardError(ValueError):
    """A file is not a LookML dashboard that can be read."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One element: `fields` are `view.field`, `filters` field and filter expression."""

    title: str
    kind: str = ""
    model: str = ""
    explore: str = ""
    fields: tuple[str, ...] = ()
    filters: tuple[tuple[str, str], ...] = ()
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """A dashboard as its file says."""

    name: str
    title: str
    description: str = ""
    tiles: tuple[Tile, ...] = ()
    filters: tuple[str, ...] = ()


def parse_dashboards(text: str) -> tuple[Dashboard, ...]:
    """Parse one file, which may hold several dashboards.

    Raises:
        DashboardError: it is not YAML, or not a list of dashboards.
    """
    if len(text) > _MAX_CHARS:
        raise DashboardError(f"It is longer than {_MAX_CHARS} characters.")
    if _depth(text) > _MAX_DEPTH or len(_MERGE.findall(text)) > _MAX_MERGES:
        raise DashboardError("It is nested too deeply to be read.")
    try:
        data: object = YAML(typ="safe", pure=True).load(text)  # pyright: ignore[reportUnknownMemberType]
    except (YAMLError, RecursionError, ValueError) as error:
        raise DashboardError("It is not YAML that can be read.") from error
    items = cast("list[object]", data) if isinstance(data, list) else [data]
    found = [_dashboard(cast("dict[object, object]", each)) for each in items if isinstance(each, dict)]
    if not found:
        raise DashboardError("It holds no dashboard.")
    return tuple(found)


def dashboard_page(
    dashboard: Dashboard, *, path: str, field: FieldName, connections: tuple[str, ...] = ()
) -> PageFact:
    """Give the page of a dashboard."""
    lines = [f"The LookML dashboard `{dashboard.name}`.", ""]
    lines += [dashboard.description, ""] if dashboard.description else []
    landed: set[str] = set()
    for tile in dashboard.tiles:
        lines += list(_tile_lines(tile, field, landed))
    if dashboard.filters:
        lines += ["", f"People filter it by {', '.join(dashboard.filters)}."]
    told = dashboard.description or ", ".join(tile.title for tile in dashboard.tiles if tile.title)
    summary = (
        f"Looker dashboard {dashboard.title}: {told}" if told else f"Looker dashboard {dashboard.title}."
    )
    return PageFact(
        key=page_key("looker-dashboard", dashboard.name),
        summary=summary if len(summary) <= 200 else f"{summary[:199]}…",
        body="\n".join(lines),
        evidence=(path,),
        tags=("dashboard", "looker"),
        definitions=tuple(sorted(landed)),
        connections=connections if landed else (),
    )


def _tile_lines(tile: Tile, field: FieldName, landed: set[str]) -> Iterator[str]:
    shown: list[str] = []
    for name in tile.fields:
        found = field(tile.model, tile.explore, name)
        if found is None:
            shown.append(f"`{name}`")
        else:
            definition, entity, frame = found
            landed.add(f"{definition}.{entity}")
            shown.append(f"`{{{{{definition}.{entity}}}}}`" + (f" by {frame}" if frame else ""))
    yield (
        f"- **{tile.title or 'Untitled'}**"
        + (f" ({tile.kind})" if tile.kind else "")
        + (f": {', '.join(shown)}" if shown else "")
    )
    if tile.filters:
        yield "  - only where " + ", ".join(f"`{name}` is `{value}`" for name, value in tile.filters)
    if tile.text:
        yield f"  - {tile.text}"


def _dashboard(block: dict[object, object]) -> Dashboard:
    name = _text(block.get("dashboard"))
    if not name:
        raise DashboardError("It holds a dashboard without a name.")
    elements = block.get("elements")
    items = cast("list[object]", elements) if isinstance(elements, list) else []
    filters = block.get("filters")
    named = cast("list[object]", filters) if isinstance(filters, list) else []
    return Dashboard(
        name=name,
        title=_text(block.get("title")) or name,
        description=_text(block.get("description")),
        tiles=tuple(
            _tile(cast("dict[object, object]", each)) for each in items[:_MAX_TILES] if isinstance(each, dict)
        ),
        filters=tuple(
            title
            for each in named[:_MAX_FIELDS]
            if isinstance(each, dict)
            and (
                title := _text(cast("dict[object, object]", each).get("title"))
                or _text(cast("dict[object, object]", each).get("name"))
            )
        ),
    )


def _tile(block: dict[object, object]) -> Tile:
    fields = block.get("fields")
    if fields is None:
        parts = [block.get(key) for key in ("dimensions", "measures")]
        fields = [each for part in parts if isinstance(part, list) for each in cast("list[object]", part)]
    items = cast("list[object]", fields) if isinstance(fields, list) else []
    filters = block.get("filters")
    pairs = cast("dict[object, object]", filters) if isinstance(filters, dict) else {}
    return Tile(
        title=_text(block.get("title")) or _text(block.get("name")),
        kind=_text(block.get("type")),
        model=_text(block.get("model")),
        explore=_text(block.get("explore")),
        fields=tuple(each for each in items[:_MAX_FIELDS] if isinstance(each, str)),
        filters=tuple(
            (_text(name), _text(value))
            for name, value in list(pairs.items())[:_MAX_FIELDS]
            if _text(name) and _text(value)
        ),
        text=_text(block.get("body_text")) or _text(block.get("note_text")),
    )


def _text(value: object) -> str:
    """Give a scalar as one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(str(value).split())[:500] if isinstance(value, str | int | float) else ""


def _depth(text: str) -> int:
    """Give how deep brackets nest; indentation alone cannot exhaust the reader within the size allowed."""
    depth = deepest = 0
    for letter in text:
        if letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth = max(0, depth - 1)
    return deepest
