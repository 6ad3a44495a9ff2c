"""Definitions written as layer files, so that the real compiler can be asked about them."""

import json
from pathlib import Path
from typing import Any

from ktx.catalog import Catalog
from ktx.semantic.load import load_layer
from ktx.semantic.source import Layer
from ktx.sources.definition import ColumnFact, Definition


def layer_of(definitions: tuple[Definition, ...], catalog: Catalog, folder: Path) -> Layer:
    """Write each definition as a source of its own, with the columns of its table."""
    place = folder / "wh"
    place.mkdir(parents=True)
    for definition in definitions:
        (place / f"{definition.name}.yaml").write_text(json.dumps(entry(definition, catalog)))
    return load_layer(folder, "wh")


def entry(definition: Definition, catalog: Catalog) -> dict[str, Any]:
    facts = {fact.name: fact for fact in definition.columns}
    columns = [column_entry(fact) for fact in definition.columns]
    if definition.table is not None:
        table = catalog.table(definition.table)
        assert table is not None
        columns = [
            {
                **(column_entry(facts[one.name]) if one.name in facts else {}),
                "name": one.name,
                "type": one.kind,
            }
            for one in table.columns
        ] + [column_entry(fact) for fact in definition.columns if fact.expr is not None]
    return {
        "name": definition.name,
        **({"table": ".".join(definition.table.parts)} if definition.table else {"sql": definition.sql}),
        "descriptions": {definition.author: definition.description} if definition.description else {},
        "grain": list(definition.grain),
        "columns": columns,
        "measures": [
            {"name": one.name, "expr": one.expr, **({"filter": one.filter} if one.filter else {})}
            for one in definition.measures
        ],
        "segments": [{"name": one.name, "expr": one.expr} for one in definition.segments],
        "joins": [
            {
                "to": one.to,
                "on": one.on,
                "relationship": one.relationship,
                **({"alias": one.alias} if one.alias else {}),
            }
            for one in definition.joins
        ],
    }


def column_entry(fact: ColumnFact) -> dict[str, Any]:
    return {
        "name": fact.name,
        **({"type": fact.kind} if fact.kind else {}),
        **({"role": "time"} if fact.is_time else {}),
        **({"expr": fact.expr} if fact.expr else {}),
        **({"visibility": "internal"} if fact.is_hidden else {}),
    }
