"""A project from its own files: YAML, SQL, Markdown and the headers of seeds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Final, cast

from ktx.sources.dbt_project.checks import read_tests
from ktx.sources.dbt_project.config import (
    ProjectConfig,
    Settings,
    below,
    is_under,
    read_project_config,
    settings_for,
)
from ktx.sources.dbt_project.jinja import (
    calls,
    docs_blocks,
    read_call,
    read_config,
    render_docs,
    render_static,
    snapshot_blocks,
)
from ktx.sources.dbt_project.plain import as_list, as_map, as_maps, as_text, as_texts, is_map
from ktx.sources.dbt_project.project import (
    ColumnDoc,
    DocsBlock,
    Exposure,
    Node,
    NodeKind,
    Project,
    Relation,
    Remark,
)
from ktx.sources.dbt_project.yaml11 import YamlError, parse_yaml
from ktx.sources.evidence import Document

_CODE: Final = (".sql", ".py")


@dataclass(kw_only=True)
class _Reading:
    """What is known while the files are read."""

    config: ProjectConfig
    blocks: Mapping[str, DocsBlock]
    used: set[str] = field(default_factory=set[str])
    patches: dict[tuple[str, str], tuple[str, dict[str, object]]] = field(
        default_factory=dict[tuple[str, str], tuple[str, dict[str, object]]]
    )
    remarks: list[Remark] = field(default_factory=list[Remark])

    def described(self, value: object) -> str:
        """Give a description with its docs blocks put in."""
        text, used = render_docs(as_text(value), {name: block.text for name, block in self.blocks.items()})
        self.used.update(used)
        return text.strip()

    def patch(self, kind: str, name: str) -> tuple[str | None, dict[str, object]]:
        """Give the YAML entry of a node, and its file."""
        return self.patches.get((kind, name)) or (None, dict[str, object]())

    def static(self, value: object) -> str | None:
        """Give text that needs no run of dbt, None when there is none or it does."""
        return render_static(as_text(value), self.config.variables) or None


def yaml_value(document: Document) -> object:
    """Give the value of a YAML document; None when it cannot be read."""
    if document.data is not None:
        return document.data
    try:
        return parse_yaml(document.text)
    except YamlError:
        return None


def project_config(documents: Iterable[Document]) -> ProjectConfig:
    """Give what `dbt_project.yml` says; without one, every folder may hold models."""
    found = next((one for one in documents if one.kind == "project"), None)
    return ProjectConfig(model_paths=(".",)) if found is None else read_project_config(yaml_value(found))


def project_from_files(documents: Sequence[Document]) -> Project:
    """Read a project from its documents, without its manifest."""
    config = project_config(documents)
    reading = _Reading(config=config, blocks=_blocks(documents, config))
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
        *_models(documents, reading),
        *_seeds(documents, reading),
        *_snapshots(documents, reading),
        *(one for path, data in entries for one in _sources(path, data, reading)),
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


def _docs(reading: _Reading) -> tuple[DocsBlock, ...]:
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
    entries: list[tuple[str, dict[str, object]]], key: str, reading: _Reading
) -> tuple[tuple[str, Mapping[str, object]], ...]:
    found: list[tuple[str, Mapping[str, object]]] = []
    for path, data in entries:
        for entry in as_maps(data.get(key)):
            if as_map(entry.get("config")).get("enabled") is False:
                continue
            found.append((path, cast("dict[str, object]", _documented(entry, reading))))
    return tuple(found)


def _documented(value: object, reading: _Reading) -> object:
    """Put docs blocks into the descriptions of a raw entry, its parts' too."""
    if is_map(value):
        return {
            key: reading.described(one)
            if key == "description" and isinstance(one, str)
            else _documented(one, reading)
            for key, one in as_map(value).items()
        }
    if isinstance(value, list):
        return [_documented(one, reading) for one in as_list(value)]  # pyright: ignore[reportUnknownArgumentType]
    return value


# -- models, seeds, snapshots -----------------------------------------------------------------------------------------


def _models(documents: Sequence[Document], reading: _Reading) -> Iterator[tuple[Node, str]]:
    config = reading.config
    files = {
        PurePosixPath(document.id).stem: document
        for document in reversed(documents)
        if document.id.endswith(_CODE) and is_under(document.id, config.model_paths)
    }
    versioned: set[str] = set()
    for (kind, name), (path, entry) in sorted(reading.patches.items()):
        if kind != "model" or not as_maps(entry.get("versions")):
            continue
        for made, stem in _versions(name, path, entry, files, reading):
            versioned.add(stem)
            yield made
    for stem, document in sorted(files.items()):
        if stem in versioned:
            continue
        path, entry = reading.patch("model", stem)
        made = _node("model", stem, document, path, entry, reading)
        if made is not None:
            yield made, document.text


def _versions(
    name: str, path: str, entry: dict[str, object], files: Mapping[str, Document], reading: _Reading
) -> Iterator[tuple[tuple[Node, str], str]]:
    """Give each version of a model; the latest answers to the bare name, the others to `name.vN`."""
    versions = as_maps(entry.get("versions"))
    numbers = [as_text(one.get("v")) for one in versions]
    latest = as_text(entry.get("latest_version")) or max(numbers, key=_version_order)
    for number, version in zip(numbers, versions, strict=True):
        stem = as_text(version.get("defined_in")) or f"{name}_v{number}"
        document = files.get(stem) or (files.get(name) if number == latest else None)
        if document is None:
            continue
        both = {
            **entry,
            **{key: one for key, one in version.items() if key not in {"v", "columns", "defined_in"}},
        }
        if "columns" in version:
            both["columns"] = _version_columns(as_maps(entry.get("columns")), as_maps(version["columns"]))
        own_alias = as_text(as_map(version.get("config")).get("alias")) or as_text(version.get("alias"))
        both["config"] = {
            **as_map(entry.get("config")),
            **as_map(version.get("config")),
            "alias": own_alias or f"{name}_v{number}",
        }
        known = name if number == latest else f"{name}.v{number}"
        made = _node("model", known, document, path, both, reading, id_=f"{name}.v{number}")
        if made is not None:
            yield (made, document.text), PurePosixPath(document.id).stem


def _version_order(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return 0.0, text


def _version_columns(base: list[dict[str, object]], own: list[dict[str, object]]) -> list[dict[str, object]]:
    """Give the columns of a version: `include`d ones of the model, and its own."""
    rule = next((one for one in own if "include" in one), None)
    named = [one for one in own if "include" not in one]
    replaced = {as_text(one.get("name")) for one in named}
    if rule is None:
        return named
    wanted, left = as_texts(rule["include"]), as_texts(rule.get("exclude"))
    is_all = bool({"all", "*"} & set(wanted))
    kept = [
        one for one in base
        if (is_all or as_text(one.get("name")) in wanted) and as_text(one.get("name")) not in {*left, *replaced}
    ]  # fmt: skip
    return [*kept, *named]


def _node(
    kind: NodeKind,
    name: str,
    document: Document,
    patch: str | None,
    entry: dict[str, object],
    reading: _Reading,
    *,
    id_: str | None = None,
    code: str | None = None,
) -> Node | None:
    text = document.text if code is None else code
    folders = {
        "model": reading.config.model_paths,
        "seed": reading.config.seed_paths,
        "snapshot": reading.config.snapshot_paths,
    }[kind]
    in_file = read_config(text) if document.id.endswith(".sql") else {}
    top = {key: entry[key] for key in ("tags", "meta", "enabled") if key in entry}
    settings = settings_for(
        reading.config,
        f"{kind}s",
        below(document.id, folders),
        top,
        as_map(entry.get("config")),
        in_file,
    )
    if not settings.is_enabled:
        return None
    columns = _columns(entry, reading)
    return Node(
        id=f"{kind}.{reading.config.name}.{id_ or name}",
        name=name,
        kind=kind,
        relation=_relation(kind, name, settings),
        path=document.id,
        patch=patch,
        materialized=settings.materialized or {"model": "view"}.get(kind, kind),
        description=reading.described(entry.get("description")),
        columns=columns,
        tests=(
            *read_tests(entry, column=None),
            *(test for column in columns for test in read_tests(column.raw, column=column.name)),
        ),
        primary_key=primary_key(as_maps(entry.get("constraints")), columns),
        tags=settings.tags,
        meta=settings.meta,
        raw=as_map(_documented(entry, reading)),
    )


def _relation(kind: NodeKind, name: str, settings: Settings) -> Relation:
    if kind == "snapshot" and settings.target_schema:
        return Relation(
            name=settings.alias or name,
            schema=settings.target_schema,
            database=settings.target_database or settings.database,
        )
    return Relation(name=settings.alias or name, database=settings.database, custom_schema=settings.schema)


def primary_key(constraints: Sequence[Mapping[str, object]], columns: Sequence[ColumnDoc]) -> tuple[str, ...]:
    """Give the declared primary key: that of the whole table, else of one column."""
    for one in constraints:
        if as_text(one.get("type")) == "primary_key" and as_texts(one.get("columns")):
            return as_texts(one.get("columns"))
    return tuple(column.name for column in columns if column.is_primary)


def read_column(entry: Mapping[str, object], description: str) -> ColumnDoc | None:
    """Make a column of its entry, in YAML or in a manifest; None without a name."""
    name = as_text(entry.get("name"))
    if not name:
        return None
    kinds = {as_text(one.get("type")) for one in as_maps(entry.get("constraints"))}
    tags = (*as_texts(entry.get("tags")), *as_texts(as_map(entry.get("config")).get("tags")))
    return ColumnDoc(
        name=name,
        description=description,
        data_type=as_text(entry.get("data_type")),
        is_not_null="not_null" in kinds or "primary_key" in kinds,
        is_unique="unique" in kinds,
        is_primary="primary_key" in kinds,
        tags=tuple(dict.fromkeys(tags)),
        raw=entry,
    )


def _columns(entry: Mapping[str, object], reading: _Reading) -> tuple[ColumnDoc, ...]:
    found: dict[str, ColumnDoc] = {}
    for one in as_maps(entry.get("columns")):
        made = read_column(one, reading.described(one.get("description")))
        if made is not None:
            found.setdefault(made.name, made)
    return tuple(found.values())


def _seeds(documents: Sequence[Document], reading: _Reading) -> Iterator[tuple[Node, str]]:
    for document in documents:
        if document.kind == "seed":
            name = PurePosixPath(document.id).stem
            path, entry = reading.patch("seed", name)
            made = _node("seed", name, document, path, entry, reading, code="")
            if made is not None:
                yield made, ""


def _snapshots(documents: Sequence[Document], reading: _Reading) -> Iterator[tuple[Node, str]]:
    seen: set[str] = set()
    for document in documents:
        if document.id.endswith(".sql") and is_under(document.id, reading.config.snapshot_paths):
            for name, code in snapshot_blocks(document.text):
                seen.add(name)
                path, entry = reading.patch("snapshot", name)
                made = _node("snapshot", name, document, path, entry, reading, code=code)
                if made is not None:
                    yield made, code
    by_id = {document.id: document for document in documents}
    for (kind, name), (path, entry) in sorted(reading.patches.items()):
        if kind == "snapshot" and name not in seen and "relation" in entry:
            made = _node("snapshot", name, by_id[path], path, entry, reading, code="")
            if made is not None:
                yield made, f"{{{{ {as_text(entry['relation'])} }}}}"


# -- sources ----------------------------------------------------------------------------------------------------------


def _sources(path: str, data: Mapping[str, object], reading: _Reading) -> Iterator[tuple[Node, str]]:
    for source in as_maps(data.get("sources")):
        name = as_text(source.get("name"))
        for table in as_maps(source.get("tables")):
            made = _source(path, name, source, table, reading)
            if made is not None:
                yield made, ""


def _source(
    path: str, name: str, source: Mapping[str, object], table: Mapping[str, object], reading: _Reading
) -> Node | None:
    table_name = as_text(table.get("name"))
    if not name or not table_name:
        return None
    layers = [{key: one[key] for key in ("tags", "meta", "enabled") if key in one} for one in (source, table)]
    settings = settings_for(
        reading.config,
        "sources",
        (*below(path, reading.config.yaml_paths)[:-1], name, table_name),
        layers[0],
        as_map(source.get("config")),
        layers[1],
        as_map(table.get("config")),
    )
    if not settings.is_enabled:
        return None
    columns = _columns(table, reading)
    database = source.get("database") or source.get("catalog")
    return Node(
        id=f"source.{reading.config.name}.{name}.{table_name}",
        name=table_name,
        kind="source",
        source_name=name,
        relation=Relation(
            name=reading.static(table.get("identifier")) or table_name,
            schema=reading.static(source.get("schema")) if "schema" in source else name,
            database=reading.static(database),
        ),
        patch=path,
        materialized="source",
        description=reading.described(table.get("description")),
        columns=columns,
        tests=(
            *read_tests(table, column=None),
            *(test for column in columns for test in read_tests(column.raw, column=column.name)),
        ),
        primary_key=primary_key(as_maps(table.get("constraints")), columns),
        tags=settings.tags,
        meta=settings.meta,
        freshness=_freshness(source, table),
        raw=table,
    )


def _freshness(source: Mapping[str, object], table: Mapping[str, object]) -> Mapping[str, object] | None:
    merged: dict[str, object] = {}
    loaded: object = None
    for one in (source, table):
        settings = {**one, **as_map(one.get("config"))}
        loaded = settings.get("loaded_at_field") or loaded
        if "freshness" in settings:
            if settings["freshness"] is None:
                merged = {}
                loaded = None
            merged.update(as_map(settings["freshness"]))
    return plain_freshness(merged, loaded)


def plain_freshness(value: object, loaded_at: object) -> Mapping[str, object] | None:
    """Give what is said about freshness, without what is empty; None when no period is given."""
    data = as_map(value)
    found: dict[str, object] = {}
    for key in ("error_after", "warn_after"):
        period = {name: one for name, one in sorted(as_map(data.get(key)).items()) if one is not None}
        if "count" in period:
            found[key] = period
    if not found:
        return None
    for key, one in (("filter", data.get("filter")), ("loaded_at_field", loaded_at)):
        if as_text(one):
            found[key] = as_text(one)
    return dict(sorted(found.items()))


# -- exposures, and what refers to what -------------------------------------------------------------------------------


def _exposure(path: str, entry: Mapping[str, object], reading: _Reading) -> Exposure | None:
    name = as_text(entry.get("name"))
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
        ids = [target for text in one.depends_on for target in _targets(text, project)]
        found.setdefault(one.name, replace(one, depends_on=tuple(sorted(set(ids)))))
    return tuple(found[name] for name in sorted(found))


def _unique(drafts: Iterable[tuple[Node, str]], reading: _Reading) -> dict[str, tuple[Node, str]]:
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
        replace(node, depends_on=tuple(sorted({*_targets(code, project)} - {id_})))
        for id_, (node, code) in sorted(drafts.items())
    )


def _targets(text: str, project: Project) -> Iterator[str]:
    """Give the ids of what a text refers to."""
    metric = read_call(text.strip("{} "))
    if metric is not None and metric.name == "metric" and metric.args:
        yield f"metric {as_text(metric.args[-1])}"
    for call in calls(text):
        node = node_of(call.name, call.args, call.kwargs, project)
        if node is not None:
            yield node.id


def node_of(name: str, args: Sequence[object], kwargs: Mapping[str, object], project: Project) -> Node | None:
    """Give the node that a `ref` or `source` call names."""
    texts = [as_text(one) for one in args]
    if name == "source":
        return project.by_source.get((texts[0], texts[1])) if len(texts) == 2 else None
    version = as_text(kwargs.get("v", kwargs.get("version")))
    if version and (found := project.by_ref.get(f"{texts[-1]}.v{version}")):
        return found
    return project.by_ref.get(texts[-1])


def node_named(text: str, project: Project) -> Node | None:
    """Give the node that a text such as `ref('orders')` names."""
    found = next(iter(calls(text)), None)
    return node_of(found.name, found.args, found.kwargs, project) if found is not None else None
