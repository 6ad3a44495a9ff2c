"""The nodes of a project from its files: models and their versions, seeds, snapshots, and tables of sources."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from ktx.sources.dbt_project.checks import read_tests
from ktx.sources.dbt_project.config import Settings, below, defaults_of_tests, is_under, settings_for
from ktx.sources.dbt_project.jinja import read_config, snapshot_blocks
from ktx.sources.dbt_project.parts import plain_freshness, primary_key
from ktx.sources.dbt_project.plain import as_map, as_maps, as_name, as_text, as_texts
from ktx.sources.dbt_project.project import ColumnDoc, Node, NodeKind, Relation, TestEntry
from ktx.sources.dbt_project.reading import Reading, columns_of, documented
from ktx.sources.evidence import Document

_CODE: Final = (".sql", ".py")


def models_of(documents: Sequence[Document], reading: Reading) -> Iterator[tuple[Node, str]]:
    """Give every model with its code, each version of one by itself."""
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
    name: str, path: str, entry: dict[str, object], files: Mapping[str, Document], reading: Reading
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
    reading: Reading,
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
    columns = columns_of(entry, reading)
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
        tests=_tests(entry, columns, patch, reading),
        primary_key=primary_key(as_maps(entry.get("constraints")), columns),
        tags=settings.tags,
        meta=settings.meta,
        raw=as_map(documented(entry, reading)),
    )


def _relation(kind: NodeKind, name: str, settings: Settings) -> Relation:
    if kind == "snapshot" and settings.target_schema:
        return Relation(
            name=settings.alias or name,
            schema=settings.target_schema,
            database=settings.target_database or settings.database,
        )
    return Relation(name=settings.alias or name, database=settings.database, custom_schema=settings.schema)


def _tests(
    entry: Mapping[str, object], columns: Sequence[ColumnDoc], path: str | None, reading: Reading
) -> tuple[TestEntry, ...]:
    defaults = defaults_of_tests(reading.config, path or "")
    return (
        *read_tests(entry, column=None, defaults=defaults),
        *(
            test
            for column in columns
            for test in read_tests(column.raw, column=column.name, defaults=defaults)
        ),
    )


def seeds_of(documents: Sequence[Document], reading: Reading) -> Iterator[tuple[Node, str]]:
    """Give every seed, which has no code."""
    for document in documents:
        if document.kind == "seed":
            name = PurePosixPath(document.id).stem
            path, entry = reading.patch("seed", name)
            made = _node("seed", name, document, path, entry, reading, code="")
            if made is not None:
                yield made, ""


def snapshots_of(documents: Sequence[Document], reading: Reading) -> Iterator[tuple[Node, str]]:
    """Give every snapshot with its code, whether it is a block of SQL or an entry of YAML."""
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


def sources_of(path: str, data: Mapping[str, object], reading: Reading) -> Iterator[tuple[Node, str]]:
    """Give every table of the sources in one YAML file, none with code."""
    for source in as_maps(data.get("sources")):
        name = as_name(source.get("name"))
        for table in as_maps(source.get("tables")):
            made = _source(path, name, source, table, reading)
            if made is not None:
                yield made, ""


def _source(
    path: str, name: str, source: Mapping[str, object], table: Mapping[str, object], reading: Reading
) -> Node | None:
    table_name = as_name(table.get("name"))
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
    columns = columns_of(table, reading)
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
        tests=_tests(table, columns, path, reading),
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
