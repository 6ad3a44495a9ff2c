"""Whether the files of the context layer load, and what they hold."""

from collections.abc import Iterator

from ktx.config.connections import is_warehouse
from ktx.findings import Finding
from ktx.semantic.check import check_layer
from ktx.semantic.load import load_layer
from ktx.status.check import Check, Scene
from ktx.wiki.store import load_pages


def check_semantic_layer(scene: Scene) -> Iterator[Check]:
    """Load and check the semantic sources of every warehouse."""
    for name, connection in scene.config.connections.items():
        if not is_warehouse(connection):
            continue
        layer = load_layer(scene.project.semantic_dir, name)
        findings = check_layer(layer)
        errors = [finding for finding in findings if finding.level == "error"]
        count = len(layer.sources)
        if errors:
            yield Check(
                id="layer",
                subject=name,
                status="warn" if count else "fail",
                detail=f"{_counted(count, 'semantic source')}; {_first(errors)}",
                fix=errors[0].fix or f"`ktx sl validate --connection-id {name}` lists every problem.",
                needed_by=frozenset({"query"}),
                findings=findings,
            )
        elif count:
            detail = _counted(count, "semantic source")
            yield Check(id="layer", subject=name, status="pass", detail=detail, findings=findings)
        else:
            yield Check(
                id="layer",
                subject=name,
                status="fail",
                detail="no semantic sources yet",
                fix=f"`ktx ingest {name}` writes them.",
                needed_by=frozenset({"query"}),
            )


def check_wiki(scene: Scene) -> Iterator[Check]:
    """Load every wiki page."""
    pages, findings = load_pages(scene.project.wiki_dir)
    errors = [finding for finding in findings if finding.level == "error"]
    detail = _counted(len(pages), "page")
    if errors:
        yield Check(
            id="wiki",
            status="warn",
            detail=f"{detail}; {_first(errors)}",
            fix=errors[0].fix,
            findings=findings,
        )
    else:
        yield Check(id="wiki", status="pass", detail=detail, findings=findings)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _first(errors: list[Finding]) -> str:
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{errors[0].where}: {errors[0].message}{more}"
