"""A project from what dbt itself wrote about it: `manifest.json`, of any version since v7, and `catalog.json`."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ktx.sources.dbt_project.checks import make_test
from ktx.sources.dbt_project.jinja import has_jinja
from ktx.sources.dbt_project.parts import node_named, plain_freshness, primary_key, read_column
from ktx.sources.dbt_project.plain import as_map, as_maps, as_name, as_text, as_texts, is_map
from ktx.sources.dbt_project.project import (
    ColumnDoc,
    DocsBlock,
    Exposure,
    Node,
    NodeKind,
    Project,
    Relation,
    TestEntry,
)
from ktx.sources.evidence import Document

_KINDS: Final[Mapping[str, NodeKind]] = {"model": "model", "seed": "seed", "snapshot": "snapshot"}


def schema_version(manifest: Mapping[str, object]) -> str:
    """Give the version of the manifest's format, such as `v12`."""
    return (
        as_text(as_map(manifest.get("metadata")).get("dbt_schema_version"))
        .rpartition("/")[2]
        .removesuffix(".json")
    )


def project_name(manifest: Mapping[str, object]) -> str:
    """Give the name of the project that the manifest is of; old ones do not say, so the package with most models counts."""
    named = as_text(as_map(manifest.get("metadata")).get("project_name"))
    if named:
        return named
    counted = Counter(
        as_text(node.get("package_name"))
        for node in map(as_map, as_map(manifest.get("nodes")).values())
        if as_text(node.get("resource_type")) == "model"
    )
    return min(counted, key=lambda name: (-counted[name], name), default="project")


def project_from_manifest(manifest: Mapping[str, object]) -> Project:
    """Read a project from a parsed manifest: its own nodes, not those of packages. Unknown keys do not matter."""
    name = project_name(manifest)

    def own(key: str) -> list[dict[str, object]]:
        entries = [as_map(one) for _, one in sorted(as_map(manifest.get(key)).items())]
        return [one for one in entries if as_text(one.get("package_name")) in {name, ""}]

    raw_nodes = own("nodes")
    nodes = [
        made
        for one in raw_nodes
        if as_text(one.get("resource_type")) in _KINDS and (made := _node(one)) is not None
    ]
    nodes += [made for one in own("sources") if (made := _source(one)) is not None]
    nodes.sort(key=lambda node: node.id)
    tested = _with_tests(
        nodes, [one for one in raw_nodes if as_text(one.get("resource_type")) == "test"], name
    )
    exposures = tuple(_exposure(one) for one in own("exposures") if _is_enabled(one))
    project = Project(
        name=name,
        nodes=tested,
        exposures=tuple(sorted(exposures, key=lambda one: one.name)),
        semantic_models=_raw(own("semantic_models")),
        metrics=_raw(own("metrics")),
        saved_queries=_raw(own("saved_queries")),
    )
    return replace(project, docs=_docs(own("docs"), project))


def with_relations(project: Project, *, manifest: Project | None, catalog: Mapping[str, object]) -> Project:
    """Give a project that was read from files with what dbt knew about where its tables are, as far as the names agree."""
    known = {one.id: one.relation for one in manifest.nodes} if manifest is not None else {}
    for kind in ("nodes", "sources"):
        for id_, entry in as_map(catalog.get(kind)).items():
            data = as_map(as_map(entry).get("metadata"))
            if as_text(data.get("name")):
                known[id_] = Relation(
                    name=as_text(data["name"]),
                    schema=as_text(data.get("schema")) or None,
                    database=as_text(data.get("database")) or None,
                )
    return replace(project, nodes=tuple(_placed(node, known.get(node.id)) for node in project.nodes))


def why_stale(
    manifest: Mapping[str, object], said: Project, files: Project, documents: Iterable[Document]
) -> str | None:
    """Say why a manifest cannot be trusted beside the files, or None: it must know the same things and say the same of them."""
    by_id = {document.id: document for document in documents}
    if not any(node.path for node in files.nodes) and not files.by_source:
        return None
    disabled = set(as_map(manifest.get("disabled")))
    ours, theirs = set(files.by_id) - disabled, set(said.by_id)
    if ours != theirs:
        first = min(ours ^ theirs)
        return f"`{first}` is only in {'the files' if first in ours else 'the manifest'}"
    for id_, entry in sorted(as_map(manifest.get("nodes")).items()):
        node = files.by_id.get(id_)
        document = by_id.get(node.path or "") if node is not None else None
        if node is not None and document is not None and not _same_code(as_map(entry), document):
            return f"`{document.id}` has changed since"
    for id_ in sorted(ours):
        problem = _differs(files.by_id[id_], said.by_id[id_])
        if problem:
            return problem
    for mine, other in zip(_semantic_names(files), _semantic_names(said), strict=True):
        if mine != other:
            first = min(mine ^ other)
            return f"`{first}` is only in {'the files' if first in mine else 'the manifest'}"
    return None


def _semantic_names(project: Project) -> tuple[set[str], set[str]]:
    """Give the names of all semantic models and metrics, those that stand under models and measures too."""
    models = {as_text(one.get("name")) for _, one in project.semantic_models}
    metrics = {as_text(one.get("name")) for _, one in project.metrics}
    for _, one in project.semantic_models:
        measures = as_maps(one.get("measures"))
        metrics |= {as_text(it.get("name")) for it in measures if it.get("create_metric") is True}
    for node in project.nodes:
        said = node.raw.get("semantic_model")
        if said is True or (is_map(said) and as_map(said).get("enabled") is not False):
            models.add(as_text(as_map(said).get("name")) or node.name)
            metrics |= {as_text(it.get("name")) for it in as_maps(node.raw.get("metrics"))}
    return models, metrics


def _same_code(entry: Mapping[str, object], document: Document) -> bool:
    """Compare a file with the checksum that dbt took of it, which is of the text without the blanks around it."""
    checksum = as_map(entry.get("checksum"))
    if document.kind == "seed" or as_text(checksum.get("name")).lower() != "sha256":
        return True
    wanted = as_text(checksum.get("checksum"))
    return wanted in {
        hashlib.sha256(text.encode("utf-8")).hexdigest() for text in (document.text, document.text.strip())
    }


def _differs(ours: Node, theirs: Node) -> str | None:
    columns = {column.name: column for column in theirs.columns}
    if {column.name for column in ours.columns} != set(columns):
        return f"the columns of `{ours.name}` differ"
    pairs = [(ours.description, theirs.description)]
    pairs += [(column.description, columns[column.name].description) for column in ours.columns]
    if any(not has_jinja(own) and own.strip() != other.strip() for own, other in pairs):
        return f"the descriptions of `{ours.name}` differ"
    if {(one.name, one.column) for one in ours.tests} != {(one.name, one.column) for one in theirs.tests}:
        return f"the tests of `{ours.name}` differ"
    return None


def _placed(node: Node, known: Relation | None) -> Node:
    if known is None or known.name.casefold() != node.relation.name.casefold():
        return node
    own = node.relation
    if any(
        mine is not None and other is not None and mine.casefold() != other.casefold()
        for mine, other in ((own.schema, known.schema), (own.database, known.database))
    ):
        return node
    return replace(node, relation=known)


def _is_enabled(entry: Mapping[str, object]) -> bool:
    return as_map(entry.get("config")).get("enabled") is not False


def _raw(entries: Sequence[Mapping[str, object]]) -> tuple[tuple[str, Mapping[str, object]], ...]:
    return tuple((_path(entry), entry) for entry in entries if _is_enabled(entry))


def _path(entry: Mapping[str, object]) -> str:
    return as_text(entry.get("original_file_path")).replace("\\", "/")


def _patch(entry: Mapping[str, object]) -> str | None:
    text = as_text(entry.get("patch_path"))
    return text.rpartition("://")[2].replace("\\", "/") or None


def _relation(entry: Mapping[str, object], name: str) -> Relation:
    return Relation(
        name=name,
        schema=as_text(entry.get("schema")) or None,
        database=as_text(entry.get("database")) or None,
    )


def _columns(entry: Mapping[str, object]) -> tuple[ColumnDoc, ...]:
    found = (
        read_column(as_map(one), as_text(as_map(one).get("description")))
        for one in as_map(entry.get("columns")).values()
    )
    return tuple(one for one in found if one is not None)


def _node(entry: Mapping[str, object]) -> Node | None:
    kind = _KINDS[as_text(entry.get("resource_type"))]
    config = as_map(entry.get("config"))
    name = as_name(entry.get("name"))
    if not _is_enabled(entry) or not name:
        return None
    version, latest = as_text(entry.get("version")), as_text(entry.get("latest_version"))
    columns = _columns(entry)
    return Node(
        id=as_text(entry.get("unique_id")),
        name=name if version in {"", latest} else f"{name}.v{version}",
        kind=kind,
        relation=_relation(entry, as_text(entry.get("alias")) or name),
        path=_path(entry) or None,
        patch=_patch(entry),
        materialized=as_text(config.get("materialized")),
        description=as_text(entry.get("description")),
        columns=columns,
        primary_key=primary_key(as_maps(entry.get("constraints")), columns),
        tags=tuple(dict.fromkeys((*as_texts(config.get("tags")), *as_texts(entry.get("tags"))))),
        meta=as_map(entry.get("meta")) or as_map(config.get("meta")),
        depends_on=tuple(sorted(as_texts(as_map(entry.get("depends_on")).get("nodes")))),
    )


def _source(entry: Mapping[str, object]) -> Node | None:
    name = as_name(entry.get("name"))
    if not _is_enabled(entry) or not name:
        return None
    columns = _columns(entry)
    config = as_map(entry.get("config"))
    return Node(
        id=as_text(entry.get("unique_id")),
        name=name,
        kind="source",
        source_name=as_text(entry.get("source_name")),
        relation=_relation(entry, as_text(entry.get("identifier")) or name),
        patch=_path(entry) or None,
        materialized="source",
        description=as_text(entry.get("description")),
        columns=columns,
        primary_key=primary_key(as_maps(entry.get("constraints")), columns),
        tags=tuple(dict.fromkeys((*as_texts(entry.get("tags")), *as_texts(config.get("tags"))))),
        meta={**as_map(entry.get("source_meta")), **as_map(entry.get("meta"))} or as_map(config.get("meta")),
        freshness=plain_freshness(entry.get("freshness"), entry.get("loaded_at_field")),
    )


def _exposure(entry: Mapping[str, object]) -> Exposure:
    owner = as_map(entry.get("owner"))
    config = as_map(entry.get("config"))
    depends_on = (
        f"metric {id_.rpartition('.')[2]}" if id_.startswith("metric.") else id_
        for id_ in as_texts(as_map(entry.get("depends_on")).get("nodes"))
    )
    return Exposure(
        name=as_name(entry.get("name")),
        path=_path(entry),
        label=as_text(entry.get("label")),
        kind=as_text(entry.get("type")),
        description=as_text(entry.get("description")),
        url=as_text(entry.get("url")),
        maturity=as_text(entry.get("maturity")),
        owner=as_text(owner.get("name")) or ", ".join(as_texts(owner.get("email"))),
        tags=tuple(dict.fromkeys((*as_texts(entry.get("tags")), *as_texts(config.get("tags"))))),
        depends_on=tuple(sorted(set(depends_on))),
    )


def _with_tests(
    nodes: Sequence[Node], entries: Sequence[Mapping[str, object]], name: str
) -> tuple[Node, ...]:
    project = Project(name=name, nodes=tuple(nodes))
    found: dict[str, list[TestEntry]] = {}
    for entry in entries:
        facts = as_map(entry.get("test_metadata"))
        kwargs = as_map(facts.get("kwargs"))
        if not facts:
            continue
        id_ = as_text(entry.get("attached_node")) or _tested(as_text(kwargs.get("model")), project)
        package = as_text(facts.get("namespace"))
        full_name = f"{package}.{as_text(facts.get('name'))}" if package else as_text(facts.get("name"))
        column = as_text(entry.get("column_name")) or None
        made = make_test(full_name, column, kwargs, as_map(entry.get("config")))
        if made is not None:
            found.setdefault(id_, []).append(made)
    return tuple(replace(node, tests=tuple(found.get(node.id, ()))) for node in nodes)


def _tested(model: str, project: Project) -> str:
    node = node_named(model, project)
    return node.id if node is not None else ""


def _docs(entries: Sequence[Mapping[str, object]], project: Project) -> tuple[DocsBlock, ...]:
    texts = [node.description for node in project.nodes]
    texts += [column.description for node in project.nodes for column in node.columns]
    texts += [one.description for one in project.exposures]
    texts += [_all_descriptions(one) for _, one in (*project.semantic_models, *project.metrics)]
    said = "\n\x00".join(texts)
    found: dict[str, DocsBlock] = {}
    for entry in entries:
        text = as_text(entry.get("block_contents"))
        name = as_text(entry.get("name"))
        if name:
            found.setdefault(
                name, DocsBlock(name=name, path=_path(entry), text=text, is_used=bool(text) and text in said)
            )
    return tuple(found[name] for name in sorted(found))


def _all_descriptions(entry: Mapping[str, object]) -> str:
    parts = [
        entry,
        *(one for key in ("entities", "dimensions", "measures") for one in as_maps(entry.get(key))),
    ]
    return "\n\x00".join(as_text(one.get("description")) for one in parts)
