"""The layer of one connection, from its files: `load_layer`.

Loading never fails because of a file: what cannot be used is named in the layer's findings, and everything else loads.
"""

import gc
from collections.abc import Iterable
from pathlib import Path

from ktx.findings import Finding, Place
from ktx.semantic.compose import Composed, Draft, compose
from ktx.semantic.files import (
    LayerFile,
    ManifestTable,
    SourceFile,
    layer_paths,
    parse_manifest_file,
    parse_source_file,
    read_layer_file,
    refused_links,
)
from ktx.semantic.format import ColumnEntry, JoinEntry, MeasureEntry, SegmentEntry, merged_descriptions
from ktx.semantic.source import Column, Join, Layer, Measure, NonAdditive, Segment, Source


def load_layer(semantic_dir: Path, connection_id: str) -> Layer:
    """Load all sources of a connection from `semantic_dir/<connection_id>/`; no folder gives an empty layer."""
    folder = semantic_dir / connection_id
    # Everything made here is kept, so each pass of the collector would look at all of it and free nothing.
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        files = [read_layer_file(path, folder=folder) for path in layer_paths(folder)]
        return layer_of(connection_id, files, findings=refused_links(folder))
    finally:
        if was_collecting:
            gc.enable()


def layer_of(connection_id: str, files: Iterable[LayerFile], *, findings: Iterable[Finding] = ()) -> Layer:
    """Give the layer that these files describe; `findings` are about those that could not be taken."""
    tables: list[ManifestTable] = []
    sources: list[SourceFile] = []
    remarks = list(findings)
    for file in files:
        if file.is_manifest:
            found, problems = parse_manifest_file(file)
            tables.extend(found)
            remarks.extend(problems)
        else:
            parsed = parse_source_file(file)
            if parsed is None:
                remarks.append(_empty(file))
            else:
                sources.append(parsed)
    composed = compose(tables, sources, build=_source)
    return _layer(connection_id, composed, remarks)


def layer_with(
    base: Layer, tables: Iterable[ManifestTable], files: Iterable[SourceFile], *, names: frozenset[str]
) -> Layer:
    """Give a loaded layer with the sources of `names` composed anew from `tables` and `files`; all else is taken over.

    `tables` and `files` hold what the named sources are made of, and every file that disables joins.
    """
    composed = compose(list(tables), list(files), build=_source)
    kept = {name: source for name, source in base.sources.items() if name not in names}
    stale = {id(finding) for name in names for finding in base.broken.get(name, ())}
    touched = {base.sources[name].place.file for name in names if name in base.sources}
    return Layer(
        connection_id=base.connection_id,
        sources={
            **kept,
            **{name: source for name, source in composed.sources.items() if name in names},
        },
        findings=(
            *(one for one in base.findings if id(one) not in stale and one.where.file not in touched),
            *composed.findings,
        ),
        broken={
            **{name: problems for name, problems in base.broken.items() if name not in names},
            **{name: problems for name, problems in composed.broken.items() if name in names},
        },
    )


def _layer(connection_id: str, composed: Composed, findings: list[Finding]) -> Layer:
    return Layer(
        connection_id=connection_id,
        sources=composed.sources,
        findings=(*findings, *composed.findings),
        broken=composed.broken,
    )


def _source(draft: Draft) -> Source:
    return Source(
        name=draft.name,
        table=draft.table,
        sql=draft.sql,
        grain=draft.grain,
        columns=tuple(_column(column, place) for column, place in draft.columns),
        measures=tuple(
            _measure(measure, place, is_implicit=measure.name in draft.implicit)
            for measure, place in draft.measures
        ),
        segments=tuple(_segment(segment, place) for segment, place in draft.segments),
        joins=tuple(_join(join, place) for join, place in draft.joins),
        default_time_dimension=draft.default_time_dimension,
        descriptions=draft.descriptions,
        place=draft.place,
    )


def _column(entry: ColumnEntry, place: Place) -> Column:
    return Column(
        name=entry.name,
        kind=entry.type or ("time" if entry.role == "time" else "string"),
        is_typed=entry.type is not None or entry.role == "time",
        role=entry.role or "default",
        visibility=entry.visibility or "public",
        expr=entry.expr,
        natural_granularity=entry.natural_granularity,
        descriptions=merged_descriptions(entry.description, entry.descriptions),
        enum_values=tuple(str(value) for values in entry.enum_values.values() for value in values),
        place=place,
    )


def _measure(entry: MeasureEntry, place: Place, *, is_implicit: bool) -> Measure:
    bare = entry.non_additive
    return Measure(
        name=entry.name,
        expr=entry.expr,
        filter=entry.filter,
        segments=tuple(entry.segments),
        description=_sentence(entry.description, entry.descriptions),
        time_dimension=entry.time_dimension,
        non_additive=None
        if bare is None
        else NonAdditive(dimension=bare.dimension, window=bare.window, place=place),
        is_implicit=is_implicit,
        place=place,
    )


def _segment(entry: SegmentEntry, place: Place) -> Segment:
    return Segment(
        name=entry.name,
        expr=entry.expr,
        description=_sentence(entry.description, entry.descriptions),
        place=place,
    )


def _join(entry: JoinEntry, place: Place) -> Join:
    return Join(to=entry.to, on=entry.on, relationship=entry.relationship, alias=entry.alias, place=place)


def _sentence(short: str | None, by_author: dict[str, str]) -> str | None:
    everything = merged_descriptions(short, by_author)
    return next(
        (everything[author] for author in ("user", "dbt", "ai", "db") if everything.get(author)), short
    )


def _empty(file: LayerFile) -> Finding:
    return Finding(
        level="warning",
        code="empty-file",
        message="The file is empty.",
        where=Place(file=file.file),
        fix="Start it with `name:`, or delete it.",
    )
