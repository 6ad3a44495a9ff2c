"""A world as what people have: the layer's YAML files, and the SQL that creates the tables."""

from __future__ import annotations

import json
from typing import Literal

from oracle.world import Col, Derived, Formula, Join, Kind, Leaf, Src, Value, World, literal

Engine = Literal["duckdb", "sqlite", "postgres", "mysql"]

_KINDS: dict[Kind, str] = {"int": "number", "float": "number", "str": "string", "date": "time", "ts": "time"}
_TYPES: dict[Engine, dict[Kind, str]] = {
    "duckdb": {"int": "BIGINT", "float": "DOUBLE", "str": "VARCHAR", "date": "DATE", "ts": "TIMESTAMP"},
    "sqlite": {"int": "INTEGER", "float": "REAL", "str": "TEXT", "date": "TEXT", "ts": "TEXT"},
    "postgres": {
        "int": "BIGINT",
        "float": "DOUBLE PRECISION",
        "str": "TEXT",
        "date": "DATE",
        "ts": "TIMESTAMP",
    },
    "mysql": {"int": "BIGINT", "float": "DOUBLE", "str": "VARCHAR(20)", "date": "DATE", "ts": "DATETIME"},
}
_INVERSE = {"many_to_one": "one_to_many", "one_to_many": "many_to_one", "one_to_one": "one_to_one"}


def physical(source: str) -> str:
    """Give the table behind a source; never the source's own name."""
    return f"t_{source}"


def layer_files(world: World) -> dict[str, str]:
    """Render the layer as path → text, JSON being YAML; paths are relative to the connection's folder."""
    tables: dict[str, object] = {}
    files: dict[str, str] = {}
    for source in world.sources.values():
        joins = _joins(world, source)
        if source.form == "manifest":
            tables[source.name] = {
                "table": physical(source.name),
                "columns": [_manifest_column(source, col) for col in source.columns if col.expr is None],
                "joins": joins,
            }
            overlay = {"name": source.name, **_meaning(source)}
            computed = [_column(col) for col in source.columns if col.expr is not None]
            if computed:
                overlay["columns"] = computed
            hidden = [col.name for col in source.columns if col.expr is None and col.visibility != "public"]
            if hidden:
                overlay["column_overrides"] = [{"name": name, "visibility": "hidden"} for name in hidden]
            files[f"{source.name}.yaml"] = json.dumps(overlay, indent=1)
            continue
        body: dict[str, object] = {"name": source.name}
        if source.form == "sql":
            query = f"select * from {physical(source.name)}"
            body["sql"] = query if source.sql_filter is None else f"{query} where {source.sql_filter.sql()};"
        else:
            body["table"] = physical(source.name)
        body |= {
            "grain": list(source.grain),
            "columns": [_column(col) for col in source.columns],
            "joins": joins,
            **_meaning(source),
        }
        files[f"{source.name}.yaml"] = json.dumps(body, indent=1)
    if tables:
        files["_schema/main.yaml"] = json.dumps({"tables": tables}, indent=1)
    return files


def table_script(world: World, engine: Engine) -> list[str]:
    """Render the statements that create and fill the tables."""
    script: list[str] = []
    for source in world.sources.values():
        columns = [col for col in source.columns if col.expr is None]
        body = (
            ", ".join(f"{col.name} {_TYPES[engine][col.kind]}" for col in columns) or "nothing_here INTEGER"
        )
        script.append(
            f"CREATE TABLE {physical(source.name)} ({body}){' ENGINE=MEMORY' if engine == 'mysql' else ''}"
        )
        if source.rows and columns:
            rows = ", ".join(
                f"({', '.join(literal(row[col.name]) for col in columns)})" for row in source.rows
            )
            script.append(f"INSERT INTO {physical(source.name)} VALUES {rows}")
    return script


def _meaning(source: Src) -> dict[str, object]:
    out: dict[str, object] = {"measures": [_measure(name, one) for name, one in source.measures.items()]}
    if source.segments:
        out["segments"] = [{"name": name, "expr": one.sql()} for name, one in source.segments.items()]
    return out


def _measure(name: str, formula: Formula) -> dict[str, object]:
    out: dict[str, object] = {"name": name, "expr": formula.sql()}
    if formula.filter is not None:
        out["filter"] = formula.filter.sql()
    if isinstance(formula, Leaf) and formula.segments:
        out["segments"] = list(formula.segments)
    return out


def _column(col: Col) -> dict[str, object]:
    out: dict[str, object] = {"name": col.name, "type": _KINDS[col.kind]}
    if col.expr is not None:
        out["expr"] = col.expr.sql()
    if col.visibility != "public":
        out["visibility"] = col.visibility
    return out


def _manifest_column(source: Src, col: Col) -> dict[str, object]:
    out: dict[str, object] = {"name": col.name, "type": _KINDS[col.kind]}
    if col.name in source.grain:
        out["pk"] = True
    return out


def _joins(world: World, source: Src) -> list[object]:
    out: list[object] = []
    for join in world.joins:
        if join.source == source.name and join.declared in {"own", "both"}:
            out.append(_join(join))
        if join.to == source.name and join.declared in {"other", "both"}:
            out.append(
                {"to": join.source, "on": _mirrored(join), "relationship": _INVERSE[join.relationship]}
            )
    return out


def _join(join: Join) -> dict[str, object]:
    out: dict[str, object] = {"to": join.to, "on": join.on(), "relationship": join.relationship}
    if join.alias is not None:
        out["alias"] = join.alias
    return out


def _mirrored(join: Join) -> str:
    head = [f"{join.to}.{other} = {join.source}.{own}" for own, other in join.pairs]
    rest = join.on().split(" and ")[len(join.pairs) :]
    return " and ".join([*head, *rest])


def shown(value: Value) -> Value | str:
    """Give a value as JSON holds it."""
    return value if value is None or isinstance(value, int | float | str) else literal(value).strip("'")


def is_derived(formula: Formula) -> bool:
    """Tell whether a measure is computed from others."""
    return isinstance(formula, Derived)
