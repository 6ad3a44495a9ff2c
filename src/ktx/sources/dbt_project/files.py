"""A project from its own files: YAML, SQL, Markdown and the headers of seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from ktx.sources.dbt_project.config import ProjectConfig, is_under
from ktx.sources.dbt_project.jinja import docs_blocks
from ktx.sources.dbt_project.nodes import models_of, seeds_of, snapshots_of, sources_of
from ktx.sources.dbt_project.parts import targets_of
from ktx.sources.dbt_project.plain import as_map, as_maps, as_name, as_text, as_texts
from ktx.sources.dbt_project.project import DocsBlock, Exposure, Node, Project, Remark
from ktx.sources.dbt_project.reading import Reading, documented, project_config, yaml_value
from ktx.sources.evidence import Document


def project_from_files(documents: Sequence[Document]) -> Project:
    """Read a project from its documents, without its manifest."""
    config = project_config(documents)
    reading = Reading(config=config, blocks=_blocks(documents, config))
    entries = [
        (document.id, as_map(yaml_value(document)))
        for document in documents
        if document.kind == "yaml" and is_under(document.id, config.yaml_paths)
    ]
    for path, data in entries:
        for kind in ("model", "seed", "snapshot"):
            for entry in as_maps(data.get(f"{kind}s")):
                reading.patches.setdefault((kind, as_text(entry.get("name"))), (path, entry))
    drafts = [
        *models_of(documents, reading),
        *seeds_of(documents, reading),
        *snapshots_of(documents, reading),
        *(one for path, data in entries for one in sources_of(path, data, reading)),
    ]
    nodes = _linked(_unique(drafts, reading))
    exposures = [
        made for path, data in entries for one in as_maps(data.get("exposures"))
        if (made := _exposure(path, one, reading)) is not None
    ]  # fmt: skip
    project = Project(
        name=config.name,
        nodes=nodes,
        exposures=_exposures_linked(exposures, nodes),
        semantic_models=_raw(entries, "semantic_models", reading),
        metrics=_raw(entries, "metrics", reading),
        saved_queries=_raw(entries, "saved_queries", reading),
        variables=config.variables,
        remarks=tuple(reading.remarks),
    )
    return replace(project, docs=_docs(reading))


def _docs(reading: Reading) -> tuple[DocsBlock, ...]:
    return tuple(
        replace(block, is_used=name in reading.used) for name, block in sorted(reading.blocks.items())
    )


def _blocks(documents: Sequence[Document], config: ProjectConfig) -> dict[str, DocsBlock]:
    found: dict[str, DocsBlock] = {}
    for document in documents:
        if document.kind == "markdown" and is_under(document.id, config.all_docs_paths):
            for name, text in docs_blocks(document.text):
                found.setdefault(name, DocsBlock(name=name, path=document.id, text=text))
    return found


def _raw(
    entries: list[tuple[str, dict[str, object]]], key: str, reading: Reading
) -> tuple[tuple[str, Mapping[str, object]], ...]:
    found: list[tuple[str, Mapping[str, object]]] = []
    for path, data in entries:
        for entry in as_maps(data.get(key)):
            if as_map(entry.get("config")).get("enabled") is False:
                continue
            found.append((path, cast("dict[str, object]", documented(entry, reading))))
    return tuple(found)


def _exposure(path: str, entry: Mapping[str, object], reading: Reading) -> Exposure | None:
    name = as_name(entry.get("name"))
    config = as_map(entry.get("config"))
    if not name or config.get("enabled") is False:
        return None
    owner = as_map(entry.get("owner"))
    return Exposure(
        name=name,
        path=path,
        label=as_text(entry.get("label")),
        kind=as_text(entry.get("type")),
        description=reading.described(entry.get("description")),
        url=as_text(entry.get("url")),
        maturity=as_text(entry.get("maturity")),
        owner=as_text(owner.get("name")) or ", ".join(as_texts(owner.get("email"))),
        tags=tuple(dict.fromkeys((*as_texts(entry.get("tags")), *as_texts(config.get("tags"))))),
        depends_on=as_texts(entry.get("depends_on")),
    )


def _exposures_linked(exposures: list[Exposure], nodes: tuple[Node, ...]) -> tuple[Exposure, ...]:
    project = Project(name="", nodes=nodes)
    found: dict[str, Exposure] = {}
    for one in exposures:
        ids = [target for text in one.depends_on for target in targets_of(text, project)]
        found.setdefault(one.name, replace(one, depends_on=tuple(sorted(set(ids)))))
    return tuple(found[name] for name in sorted(found))


def _unique(drafts: Iterable[tuple[Node, str]], reading: Reading) -> dict[str, tuple[Node, str]]:
    found: dict[str, tuple[Node, str]] = {}
    for node, code in drafts:
        if node.id in found:
            reading.remarks.append(
                Remark(
                    path=node.path or node.patch or "",
                    what=node.label,
                    detail=f"It is defined a second time; {found[node.id][0].path or found[node.id][0].patch} counts.",
                )
            )
            continue
        found[node.id] = (node, code)
    return found


def _linked(drafts: Mapping[str, tuple[Node, str]]) -> tuple[Node, ...]:
    project = Project(name="", nodes=tuple(node for node, _ in drafts.values()))
    return tuple(
        replace(node, depends_on=tuple(sorted({*targets_of(code, project)} - {id_})))
        for id_, (node, code) in sorted(drafts.items())
    )
