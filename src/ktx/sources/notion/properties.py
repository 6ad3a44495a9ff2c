"""Properties of pages, and of databases, as small tables."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from ktx.sources.markdown import shortened, table
from ktx.sources.notion.references import reference
from ktx.sources.notion.richtext import date_text, escaped, link, markdown, plain, safe_url
from ktx.sources.notion.values import Values, items, mapping, plain_id, text

_MAX_VALUES: Final = 100
_UNTOLD: Final = frozenset(
    {
        "title",
        "button",
        "created_time",
        "created_by",
        "last_edited_time",
        "last_edited_by",
        "last_visited_time",
    }
)
"""Left out: the title is the page's, the others change by themselves or say nothing of the business."""

_BY_THE_CLOCK = re.compile(r"\b(?:now|today)\s*\(", re.IGNORECASE)


def page_title(page: Values) -> str:
    """Give a page's title, whatever its property is called."""
    for value in mapping(page.get("properties")).values():
        entry = mapping(value)
        if entry.get("type") == "title":
            return shortened(plain(entry.get("title")), 200) or "Untitled"
    return "Untitled"


def property_table(page: Values, *, hidden: frozenset[str] = frozenset()) -> str:
    """Give a page's filled properties as a table sorted by name; empty when there are none."""
    rows: list[tuple[str, str]] = []
    for name, value in mapping(page.get("properties")).items():
        entry = mapping(value)
        if text(entry.get("type")) not in _UNTOLD and name not in hidden:
            shown = property_text(entry)
            if shown:
                rows.append((" ".join(escaped(text(name)).split()), shown))
    return table(["Property", "Value"], sorted(rows)) if rows else ""


def property_text(entry: Values) -> str:
    """Give one property's value as Markdown of one line; empty when it has none."""
    kind = entry.get("type")
    if not isinstance(kind, str):
        return ""
    value = entry.get(kind)
    renderer = _RENDERERS.get(kind)
    if renderer is not None:
        shown = renderer(value)
    elif kind in ("number", "string", "boolean", "checkbox"):
        shown = _scalar(value)
    else:
        shown = f"(of the kind `{re.sub(r'[^A-Za-z0-9_]', '', kind)}`)" if value else ""
    more = " and more" if entry.get("has_more") is True and shown else ""
    return " ".join(shown.split()) + more


def clocked_properties(source: Values) -> frozenset[str]:
    """Name the formulas of a database that change by themselves: their values say when they were read."""
    return frozenset(
        name
        for name, value in mapping(source.get("properties")).items()
        if _BY_THE_CLOCK.search(text(mapping(mapping(value).get("formula")).get("expression")))
    )


def schema_table(source: Values) -> str:
    """Give the columns of a database with their kinds and choices, sorted by name."""
    rows: list[tuple[str, str, str]] = []
    for name, value in mapping(source.get("properties")).items():
        entry = mapping(value)
        kind = text(entry.get("type"))
        settings = mapping(entry.get(kind))
        choices = ", ".join(
            escaped(text(option.get("name"))) for option in items(settings.get("options"))[:_MAX_VALUES]
        )
        said = choices or (f"`{text(settings.get('expression'))}`" if settings.get("expression") else "")
        related = plain_id(settings.get("data_source_id") or settings.get("database_id"))
        if related:
            said = reference(related, "another database")
        rows.append(
            (
                " ".join(escaped(text(name)).split()),
                kind.replace("_", " "),
                said or text(entry.get("description")),
            )
        )
    return table(["Property", "Kind", "Choices"], sorted(rows)) if rows else ""


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.15g}"
    return escaped(text(value))


def _named(value: object) -> str:
    return escaped(text(mapping(value).get("name")))


def _names(value: object) -> str:
    return ", ".join(name for name in (_named(entry) for entry in items(value)[:_MAX_VALUES]) if name)


def _files(value: object) -> str:
    def one(entry: Values) -> str:
        url = safe_url(mapping(entry.get("external")).get("url"))
        name = escaped(text(entry.get("name")))
        return link(name, url) if url and name != url else name

    return ", ".join(shown for shown in (one(entry) for entry in items(value)[:_MAX_VALUES]) if shown)


def _url(value: object) -> str:
    url = safe_url(value)
    return link("", url) if url else ""


def _relation(value: object) -> str:
    ids = [plain_id(entry.get("id")) for entry in items(value)[:_MAX_VALUES]]
    return ", ".join(reference(id_, "a page that was not read") for id_ in ids if id_)


def _unique_id(value: object) -> str:
    entry = mapping(value)
    prefix, number = text(entry.get("prefix")), entry.get("number")
    return f"{prefix}-{number}" if prefix and number is not None else _scalar(number)


def _computed(value: object) -> str:
    """Give what a formula or rollup came to: its own `type` names the kind."""
    entry = mapping(value)
    kind = entry.get("type")
    if kind == "array":
        shown = (property_text(part) for part in items(entry.get("array"))[:_MAX_VALUES])
        return ", ".join(dict.fromkeys(part for part in shown if part))
    if kind in ("incomplete", "unsupported"):
        return ""
    return property_text(entry)


_RENDERERS: Final[Mapping[str, Callable[[object], str]]] = {
    "title": markdown,
    "rich_text": markdown,
    "select": _named,
    "status": _named,
    "multi_select": _names,
    "people": _names,
    "date": lambda value: date_text(mapping(value)),
    "files": _files,
    "url": _url,
    "email": lambda value: escaped(text(value)),
    "phone_number": lambda value: escaped(text(value)),
    "relation": _relation,
    "unique_id": _unique_id,
    "formula": _computed,
    "rollup": _computed,
    "verification": lambda value: text(mapping(value).get("state")),
    "created_by": _named,
    "last_edited_by": _named,
    "created_time": lambda value: text(value),
    "last_edited_time": lambda value: text(value),
}
