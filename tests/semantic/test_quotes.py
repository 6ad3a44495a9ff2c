"""Names that need quotes in a manifest's joins mean the same on every engine."""

from pathlib import Path

import pytest

from ktx.semantic.compile import compile_query
from ktx.semantic.query import parse_query
from semantic.layers import layer_from

SHARD = """
    tables:
      lines:
        table: shop.lines
        columns: [{name: id, type: number, pk: true}, {name: case, type: number}]
        joins: [{to: Order Items, on: 'lines."case" = "Order Items"."case"', relationship: many_to_one}]
      Order Items:
        table: shop.Order Items
        columns: [{name: case, type: number, pk: true}, {name: label, type: string}]
"""


@pytest.mark.parametrize("dialect", ["duckdb", "postgres", "mysql", "bigquery"])
def test_quoted_names_in_a_join_are_columns_on_every_engine(tmp_path: Path, dialect: str) -> None:
    layer = layer_from(tmp_path, _schema__shop=SHARD)
    question = parse_query({"measures": ["lines.row_count"], "dimensions": ["label"], "include_empty": False})
    sql = compile_query(layer, question, dialect=dialect).sql.replace("`", '"')
    assert '"lines"."case" = "Order Items"."case"' in sql
