"""Whether the context still fits: every definition, join and page reference against the warehouse and the layer."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ktx.catalog import Catalog
from ktx.errors import OutsideError
from ktx.findings import Finding, Place, has_errors
from ktx.search.known import known_names
from ktx.semantic.check import check_layer, find_table
from ktx.semantic.drift import Drift, check_drift
from ktx.semantic.source import Layer
from ktx.semantic.tableref import parse_table_ref
from ktx.serve.answers import CheckedConnection, ContextCheck
from ktx.serve.desk import Desk
from ktx.serve.scans import scan_store
from ktx.serve.validate import finding_infos
from ktx.wiki.check import Known, check_pages
from ktx.wiki.links import Link, parse_links
from ktx.wiki.page import Page
from ktx.wiki.store import load_pages


def check_context(desk: Desk, *, connection_id: str | None = None, is_offline: bool = False) -> ContextCheck:
    """Check the layer of one connection or of all, and every page. No model is asked.

    The live catalog of each warehouse is read; with `is_offline` the one of the last scan, where there is one. A warehouse that
    cannot be reached is told, and the rest is checked all the same.

    Raises:
        UsageError: there is no such connection.
    """
    started = time.perf_counter()
    connections = [desk.connection_id(connection_id)] if connection_id else sorted(desk.project.warehouses)
    findings: list[Finding] = []
    checked: list[CheckedConnection] = []
    catalogs: dict[str, Catalog] = {}
    drifts: dict[str, Drift] = {}
    for name in connections:
        layer = desk.layer(name)
        catalog, about = _catalog(desk, name, layer, is_offline=is_offline)
        checked.append(about)
        if catalog is None:
            findings += check_layer(layer, dialect=desk.dialect(name))
            continue
        catalogs[name] = catalog
        drifts[name] = check_drift(layer, catalog)
        findings += drifts[name].findings
    pages, problems = load_pages(desk.project.wiki_dir)
    layers = [desk.layer(name) for name in sorted(desk.project.warehouses)]
    known = _known(known_names(layers, desk.project.config.connections), layers, catalogs)
    findings += [*problems, *check_pages(pages, known), *_check_references(pages, known, drifts)]
    return ContextCheck(
        ok=not has_errors(findings) and all(one.catalog != "unreachable" for one in checked),
        connections=checked,
        pages=len(pages),
        findings=finding_infos(sorted(findings, key=_order)),
        seconds=round(time.perf_counter() - started, 3),
    )


def _order(finding: Finding) -> int:
    return ("error", "warning", "note").index(finding.level)


def _catalog(
    desk: Desk, name: str, layer: Layer, *, is_offline: bool
) -> tuple[Catalog | None, CheckedConnection]:
    sources = len(layer.sources) + len(layer.broken)
    if is_offline:
        with scan_store(desk.project) as store:
            catalog = store.catalog(name) if store is not None else None
        kind = "none" if catalog is None else "last-scan"
        return catalog, CheckedConnection(connection_id=name, catalog=kind, sources=sources)
    try:
        catalog = desk.warehouse(name).read_catalog()
    except OutsideError as error:
        return None, CheckedConnection(
            connection_id=name, catalog="unreachable", sources=sources, error=error.message, hint=error.hint
        )
    return catalog, CheckedConnection(
        connection_id=name, catalog="live", sources=sources, tables=len(catalog.tables)
    )


def _known(known: Known, layers: Iterable[Layer], catalogs: dict[str, Catalog]) -> Known:
    """Take the tables from the catalogs where they were read: their spellings, and those of sources that stand on them."""
    tables = dict(known.tables)
    for layer in layers:
        catalog = catalogs.get(layer.connection_id)
        if catalog is None:
            continue
        spellings = {spelling for table in catalog.tables for spelling in (str(table.ref), table.ref.name)}
        for source in layer.sources.values():
            ref = parse_table_ref(source.table) if source.table else None
            if ref is not None and source.table and find_table(catalog, ref) is not None:
                spellings |= {source.table, ref.name}
        tables[layer.connection_id] = frozenset(spellings)
    return replace(known, tables=tables)


def _check_references(pages: Iterable[Page], known: Known, drifts: dict[str, Drift]) -> Iterator[Finding]:
    """Name the references to what is declared and no longer works."""
    if not any(drift.lost_sources or drift.lost_parts for drift in drifts.values()):
        return
    for page in pages:
        told: set[str] = set()
        for link in parse_links(page):
            if link.kind not in ("source", "entity") or link.text in told:
                continue
            lost = [name for name in _meant(page, link, known) if _is_lost(link, drifts.get(name))]
            if lost:
                told.add(link.text)
                yield Finding(
                    level="error",
                    code="wiki-drifted",
                    message=f"Page `{page.key}` points at `{link.text}`, which the warehouse `{lost[0]}` no longer supports.",
                    where=Place(file=link.file, line=link.line),
                    fix="Mend the definition, or correct the page.",
                )


def _meant(page: Page, link: Link, known: Known) -> list[str]:
    """Give the connections that a reference may mean, and that have such a source."""
    if link.connection_id is not None:
        return [link.connection_id]
    named = known.connections.intersection(page.connections) or known.entities_by_source.keys()
    return sorted(name for name in named if link.target in known.entities_by_source.get(name, {}))


def _is_lost(link: Link, drift: Drift | None) -> bool:
    if drift is None:
        return False
    if link.target in drift.lost_sources:
        return True
    return link.entity is not None and link.entity in drift.lost_parts.get(link.target, frozenset())
