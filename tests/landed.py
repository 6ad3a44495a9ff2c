"""Definitions of a context source as files of a layer, the way an ingest would land them, to be tried with the real compiler."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
from ruamel.yaml import YAML

from ktx.catalog import Catalog, Column, ColumnKind, Table, TableRef
from ktx.semantic.check import check_layer
from ktx.semantic.compile import compile_query
from ktx.semantic.load import load_layer
from ktx.semantic.query import parse_query
from ktx.semantic.source import Layer
from ktx.sources.definition import ColumnFact, Definition
from ktx.sources.source import Target


def catalog_of(path: Path, connection_id: str) -> Catalog:
    """Read the catalog of a DuckDB file, with its primary keys."""
    with duckdb.connect(str(path), read_only=True) as db:
        rows = db.execute(
            "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns ORDER BY 1, 2, ordinal_position"
        ).fetchall()
        keys = db.execute(
            "SELECT schema_name, table_name, constraint_column_names FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'"
        ).fetchall()
    columns: dict[TableRef, list[Column]] = {}
    for schema, table, name, native in rows:
        ref = TableRef(schema=schema, name=table)
        columns.setdefault(ref, []).append(Column(name=name, native_type=native, kind=_kind(native)))
    primary = {TableRef(schema=schema, name=table): tuple(names) for schema, table, names in keys}
    tables = tuple(
        Table(ref=ref, columns=tuple(columns[ref]), primary_key=primary.get(ref, ()))
        for ref in sorted(columns, key=str)
    )
    return Catalog(connection_id=connection_id, dialect="duckdb", tables=tables)


def target_of(path: Path, connection_id: str) -> Target:
    return Target(connection_id=connection_id, dialect="duckdb", catalog=catalog_of(path, connection_id))


def land(root: Path, definitions: Sequence[Definition], target: Target) -> Layer:
    """Write one connection's definitions under `root` and load the layer."""
    assert target.catalog is not None
    mine = [one for one in definitions if one.connection_id == target.connection_id]
    folder = root / "semantic-layer" / target.connection_id
    by_table = {one.table: one.name for one in reversed(mine) if one.table is not None}
    names = {
        table.ref: by_table.get(table.ref, str(table.ref).replace(".", "__"))
        for table in target.catalog.tables
    }
    manifest = {
        "tables": {
            names[table.ref]: {
                "table": str(table.ref),
                "columns": [
                    {
                        "name": c.name,
                        "type": c.native_type,
                        **({"pk": True} if c.name in table.primary_key else {}),
                    }
                    for c in table.columns
                ],
            }
            for table in target.catalog.tables
        }
    }
    _write(folder / "_schema" / "all.yaml", manifest)
    for name in sorted({by_table[one.table] if one.table else one.name for one in mine}):
        same = [one for one in mine if (by_table[one.table] if one.table else one.name) == name]
        if any(_says(one) for one in same):
            _write(folder / f"{name}.yaml", _file(name, same, target))
    return load_layer(root / "semantic-layer", target.connection_id)


def values(layer: Layer, path: Path, measure: str) -> list[tuple[Any, ...]]:
    """Ask for one measure and give the rows."""
    return ask(layer, path, {"measures": [measure]})


def ask(layer: Layer, path: Path, question: dict[str, Any]) -> list[tuple[Any, ...]]:
    compiled = compile_query(layer, parse_query(question), dialect="duckdb")
    return rows(path, compiled.sql)


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as db:
        return [tuple(_plain(value) for value in row) for row in db.execute(sql).fetchall()]


def problems(layer: Layer, target: Target) -> list[str]:
    """Give the errors of the whole layer."""
    found = check_layer(layer, target.catalog, dialect="duckdb")
    return [f"{one.code} {one.where}: {one.message}" for one in found if one.level == "error"]


def _file(name: str, definitions: Iterable[Definition], target: Target) -> dict[str, Any]:
    data: dict[str, Any] = {"name": name}
    for one in definitions:
        if one.sql is not None:
            data["sql"] = one.sql
            data["columns"] = [{"name": c.name, "type": c.kind or "string", **_about(c)} for c in one.columns]
        else:
            computed = [c for c in one.columns if c.expr is not None]
            said = [c for c in one.columns if c.expr is None]
            data.setdefault("columns", []).extend(
                {"name": c.name, "type": c.kind or "string", "expr": c.expr, **_about(c)} for c in computed
            )
            data.setdefault("column_overrides", []).extend({"name": c.name, **_about(c)} for c in said)
        if one.description:
            data.setdefault("descriptions", {})[one.author] = one.description
        if one.grain:
            data["grain"] = list(one.grain)
        for measure in one.measures:
            entry: dict[str, Any] = {"name": measure.name, "expr": measure.expr}
            if measure.filter:
                entry["filter"] = measure.filter
            if measure.segments:
                entry["segments"] = list(measure.segments)
            if measure.time_dimension:
                entry["time_dimension"] = measure.time_dimension
            if measure.description:
                entry["descriptions"] = {one.author: measure.description}
            data.setdefault("measures", []).append(entry)
        data.setdefault("segments", []).extend({"name": s.name, "expr": s.expr} for s in one.segments)
        for join in one.joins:
            entry = {"to": join.to, "on": join.on, "relationship": join.relationship}
            data.setdefault("joins", []).append({**entry, **({"alias": join.alias} if join.alias else {})})
    return {key: value for key, value in data.items() if value not in ([], {}, None)}


def _about(column: ColumnFact) -> dict[str, Any]:
    about: dict[str, Any] = {"descriptions": {"tool": column.description}} if column.description else {}
    if column.is_hidden:
        about["visibility"] = "hidden"
    if column.is_time:
        about["role"] = "time"
    return about


def _says(one: Definition) -> bool:
    return bool(
        one.sql or one.description or one.grain or one.columns or one.measures or one.segments or one.joins
    )


def _write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(data, file)


def _kind(native: str) -> ColumnKind:
    word = native.upper()
    if any(part in word for part in ("INT", "DECIMAL", "DOUBLE", "FLOAT", "NUMERIC")):
        return "number"
    if any(part in word for part in ("DATE", "TIME")):
        return "time"
    return "boolean" if word.startswith("BOOL") else "string"


def _plain(value: Any) -> Any:
    return round(float(value), 6) if isinstance(value, float) or type(value).__name__ == "Decimal" else value
