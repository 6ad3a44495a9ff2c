"""Whether what the pages point at exists, as findings with file, line and the nearest name."""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ktx.findings import Finding, Level, Place
from ktx.suggest import did_you_mean, nearest
from ktx.wiki.links import Link, parse_links
from ktx.wiki.page import Page


@dataclass(frozen=True, kw_only=True)
class Known:
    """The names a page may point at.

    `entities_by_source` maps connection to source to the measures, columns and segments in it; `tables` maps connection to the
    full and bare spellings of its tables.
    """

    connections: frozenset[str] = frozenset()
    entities_by_source: Mapping[str, Mapping[str, frozenset[str]]] = field(
        default_factory=dict[str, Mapping[str, frozenset[str]]]
    )
    tables: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])


def check_pages(
    pages: Iterable[Page], known: Known, *, only: Container[str] | None = None
) -> tuple[Finding, ...]:
    """Check every reference of every page. A shared page may point at shared pages, a user's page at theirs as well.

    `only` keeps the checks to the pages of these keys; the others are still there to be pointed at.
    """
    pages = tuple(pages)
    shared, own = _keys(pages)
    return tuple(
        finding
        for page in pages
        if only is None or page.key in only
        for _, finding in _check_page(page, shared | own.get(page.user_id, set()), known)
    )


def dangling_links(page: Page, pages: Iterable[Page], known: Known) -> tuple[Link, ...]:
    """Give the references of one page that lead to nothing, each as it stands there first; doubtful ones are left out."""
    shared, own = _keys(pages)
    found = _check_page(page, shared | own.get(page.user_id, set()), known)
    return tuple(link for link, finding in found if finding.level == "error")


def _keys(pages: Iterable[Page]) -> tuple[set[str], dict[str | None, set[str]]]:
    """Give the keys of shared pages, and those of each user."""
    shared: set[str] = set()
    own: dict[str | None, set[str]] = {}
    for page in pages:
        (shared if page.user_id is None else own.setdefault(page.user_id, set())).add(page.key)
    return shared, own


def _check_page(page: Page, keys: set[str], known: Known) -> Iterator[tuple[Link, Finding]]:
    seen: set[tuple[str, str | None, str, str | None]] = set()
    for link in parse_links(page):
        identity = (link.kind, link.connection_id, link.target, link.entity)
        if identity in seen:
            continue
        seen.add(identity)
        finding = _check_link(page, link, keys, known)
        if finding is not None:
            yield link, finding


def _check_link(page: Page, link: Link, keys: set[str], known: Known) -> Finding | None:
    if link.connection_id is not None and link.connection_id not in known.connections:
        return _dangling(page, link, "connection", link.connection_id, known.connections, code="connection")
    match link.kind:
        case "page":
            return None if link.target in keys else _dangling(page, link, "page", link.target, keys)
        case "connection":
            if link.target in known.connections:
                return None
            return _dangling(page, link, "connection", link.target, known.connections)
        case "table":
            tables = _tables(page, link, known)
            return None if link.target in tables else _dangling(page, link, "table", link.target, tables)
        case "source" | "entity":
            return _check_source(page, link, known)


def _check_source(page: Page, link: Link, known: Known) -> Finding | None:
    connections = tuple(_connections(page, link, known))
    found = [
        entities[link.target]
        for connection in connections
        if link.target in (entities := known.entities_by_source.get(connection, {}))
    ]
    if not found:
        sources = {name for one in connections for name in known.entities_by_source.get(one, {})}
        if link.is_stated:
            return _dangling(page, link, "source", link.target, sources)
        if (
            f"{link.target}.{link.entity}" in _tables(page, link, known)
            or nearest(link.target, sources) is None
        ):
            return None
        return _dangling(page, link, "source", link.target, sources, level="warning")
    names = {name for one in found for name in one}
    if link.entity is None or link.entity in names:
        return None
    return _dangling(page, link, f"measure, column or segment of `{link.target}`", link.entity, names)


def _connections(page: Page, link: Link, known: Known) -> Iterable[str]:
    if link.connection_id is not None:
        return (link.connection_id,)
    named = known.connections.intersection(page.connections)
    return named or known.entities_by_source.keys() | known.tables.keys()


def _tables(page: Page, link: Link, known: Known) -> set[str]:
    return {
        table
        for connection in _connections(page, link, known)
        for table in known.tables.get(connection, frozenset[str]())
    }


def _dangling(
    page: Page,
    link: Link,
    what: str,
    name: str,
    candidates: Iterable[str],
    *,
    level: Level = "error",
    code: str | None = None,
) -> Finding:
    return Finding(
        level=level,
        code=f"wiki-dangling-{code or link.kind}",
        message=f"Page `{page.key}` points at `{link.text}`, but there is no {what} `{name}`.{did_you_mean(name, candidates)}",
        where=Place(file=link.file, line=link.line),
        fix="Correct the reference, or remove it.",
    )
