"""Definitions as a layer on a real warehouse: what ingest does with them, without its merging."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp

from ktx.catalog import Catalog
from ktx.config.connections import DuckdbConnection
from ktx.semantic.compile import compile_query
from ktx.semantic.load import load_layer
from ktx.semantic.manifest import render_shard
from ktx.semantic.merge import Structure, merge_shards, source_names
from ktx.semantic.query import parse_query
from ktx.semantic.source import Layer
from ktx.sources.definition import Definition
from ktx.sources.source import Target
from ktx.warehouse.connect import open_warehouse


def read_target(file: Path, connection_id: str = "wh") -> Target:
    """Give a DuckDB file as a target, its catalog read by the real driver."""
    with open_warehouse(
        connection_id, DuckdbConnection(driver="duckdb", path=str(file)), file.parent
    ) as warehouse:
        return Target(connection_id=connection_id, dialect="duckdb", catalog=warehouse.read_catalog())


@dataclass
class Landed:
    """A layer made of definitions; `names` are the layer's names of the definitions."""

    layer: Layer
    names: dict[str, str]


def land(definitions: Iterable[Definition], catalog: Catalog, folder: Path) -> Landed:
    """Write the manifest of a catalog and an overlay per definition, and load them."""
    definitions = list(definitions)
    tables = source_names([table.ref for table in catalog.tables], {})
    names = {one.name: tables[one.table] for one in definitions if one.table is not None}
    definitions = [_renamed(one, names, catalog.dialect) for one in definitions]
    place = folder / "wh"
    shards = merge_shards(Structure(catalog=catalog, keys={}, relationships=[]), tables, {}, descriptions={})
    for name, shard in shards.items():
        path = place / "_schema" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render_shard(shard))
    for one in definitions:
        (place / f"{one.name}.yaml").write_text(json.dumps(overlay(one)))
    return Landed(layer=load_layer(folder, "wh"), names=names)


def _renamed(one: Definition, names: dict[str, str], dialect: str) -> Definition:
    """Put the layer's names in the place of the source's own."""

    def text(sql: str | None) -> str | None:
        if sql is None:
            return None
        tree = sqlglot.parse_one(sql, dialect=dialect)
        for column in tree.find_all(exp.Column):
            if column.table in names:
                column.set("table", exp.to_identifier(names[column.table]))
        return tree.sql(dialect=dialect)

    return replace(
        one,
        name=names[one.name],
        columns=tuple(replace(column, expr=text(column.expr)) for column in one.columns),
        measures=tuple(
            replace(measure, expr=text(measure.expr) or "", filter=text(measure.filter))
            for measure in one.measures
        ),
        joins=tuple(replace(join, to=names[join.to], on=text(join.on) or "") for join in one.joins),
    )


def overlay(one: Definition) -> dict[str, Any]:
    """Give the overlay that says what a definition says."""
    made: dict[str, Any] = {"name": one.name}
    if one.description:
        made["descriptions"] = {one.author: one.description}
    if one.grain:
        made["grain"] = list(one.grain)
    if one.tags:
        made["tags"] = {one.author: list(one.tags)}
    if one.freshness:
        made["freshness"] = {one.author: dict(one.freshness)}
    if one.default_time_dimension:
        made["default_time_dimension"] = {one.author: one.default_time_dimension}
    facts = [(column, _column(column, one.author)) for column in one.columns]
    made["columns"] = [{**fact, "expr": column.expr} for column, fact in facts if column.expr is not None]
    made["column_overrides"] = [fact for column, fact in facts if column.expr is None]
    made["measures"] = [_measure(measure) for measure in one.measures]
    made["joins"] = [
        {
            "to": join.to,
            "on": join.on,
            "relationship": join.relationship,
            **({"alias": join.alias} if join.alias else {}),
        }
        for join in one.joins
    ]
    return {key: value for key, value in made.items() if value or key == "name"}


def answer(layer: Layer, ask: dict[str, Any], rows: Any) -> list[tuple[Any, ...]]:
    """Compile a question and give its rows; `rows` runs SQL."""
    return rows(compile_query(layer, parse_query(ask), dialect="duckdb").sql)


def _column(column: Any, author: str) -> dict[str, Any]:
    constraints = {
        key: value
        for key, value in (("not_null", column.is_not_null), ("unique", column.is_unique))
        if value is not None
    }
    made = {
        "name": column.name,
        "type": column.kind,
        "role": "time" if column.is_time else None,
        "natural_granularity": column.natural_granularity,
        "descriptions": {author: column.description} if column.description else None,
        "constraints": {author: constraints} if constraints else None,
        "enum_values": {author: list(column.enum_values)} if column.enum_values else None,
        "tests": {
            author: [
                {"name": test.name, "package": test.package, "kwargs": dict(test.kwargs)}
                for test in column.tests
            ]
        }
        if column.tests
        else None,
    }
    return {key: value for key, value in made.items() if value is not None}


def _measure(measure: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"name": measure.name, "expr": measure.expr}
    if measure.filter:
        made["filter"] = measure.filter
    if measure.time_dimension:
        made["time_dimension"] = measure.time_dimension
    if measure.description:
        made["description"] = measure.description
    if measure.non_additive:
        made["non_additive"] = {"dimension": measure.non_additive[0], "window": measure.non_additive[1]}
    return made
