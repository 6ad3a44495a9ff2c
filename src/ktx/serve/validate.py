"""What is wrong with the context layer, as findings."""

from collections.abc import Iterable

from ktx.findings import Finding, has_errors
from ktx.search.known import known_names
from ktx.semantic.check import check_layer
from ktx.serve.answers import FindingInfo, Validation
from ktx.serve.desk import Desk
from ktx.serve.sources import find_source
from ktx.wiki.check import check_pages
from ktx.wiki.store import load_pages


def validate_layer(
    desk: Desk, *, connection_id: str | None = None, source_name: str | None = None
) -> Validation:
    """Check the layer of one connection or of all; with `source_name`, that source alone.

    Raises:
        UsageError: the connection is unknown, or a source is named and it is not clear of which connection.
        LayerError: there is no such source.
    """
    if connection_id is not None or source_name is not None:
        connections = [desk.connection_id(connection_id)]
    else:
        connections = sorted(desk.project.warehouses)
    findings: list[Finding] = []
    checked = 0
    for connection in connections:
        layer = desk.layer(connection)
        if source_name is not None and source_name not in layer.broken:
            find_source(layer, source_name)
        names = [source_name] if source_name is not None else None
        checked += 1 if source_name is not None else len(layer.sources) + len(layer.broken)
        findings.extend(check_layer(layer, dialect=desk.warehouse(connection).dialect, names=names))
    return Validation(ok=not has_errors(findings), checked=checked, findings=finding_infos(findings))


def validate_wiki(desk: Desk) -> Validation:
    """Check that every page can be read and that everything it points at exists."""
    pages, problems = load_pages(desk.project.wiki_dir)
    layers = [desk.layer(connection) for connection in sorted(desk.project.warehouses)]
    findings = [*problems, *check_pages(pages, known_names(layers, desk.project.config.connections))]
    return Validation(ok=not has_errors(findings), checked=len(pages), findings=finding_infos(findings))


def finding_infos(findings: Iterable[Finding]) -> list[FindingInfo]:
    """Give findings in the form of an answer."""
    return [
        FindingInfo(
            level=finding.level,
            code=finding.code,
            message=finding.message,
            file=finding.where.file,
            line=finding.where.line,
            path=finding.where.path,
            fix=finding.fix,
        )
        for finding in findings
    ]
