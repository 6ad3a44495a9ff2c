"""Small layers for tests, written as files the way a person writes them."""

from pathlib import Path
from textwrap import dedent

from ktx.semantic.load import load_layer
from ktx.semantic.source import Layer

MANIFEST = """
    tables:
      orders:
        table: shop.orders
        descriptions: {db: orders table, ai: Orders of the shop.}
        columns:
          - {name: id, type: number, pk: true, nullable: false}
          - {name: customer_id, type: number}
          - {name: amount, type: "NUMERIC(10,2)"}
          - {name: tax_rate, type: number}
          - {name: placed_at, type: timestamp without time zone, descriptions: {db: when}}
          - {name: secret, type: string}
        joins:
          - {to: customers, on: orders.customer_id = customers.id, relationship: many_to_one, source: formal}
      customers:
        table: shop.customers
        columns:
          - {name: id, type: number, pk: true}
          - {name: name, type: string}
        joins:
          - {to: orders, on: customers.id = orders.customer_id, relationship: one_to_many, source: formal}
"""


def write_layer(root: Path, **files: str) -> Path:
    """Write files into the folder of the connection `wh` (`__` in a name is a folder) and give the layer's folder."""
    for name, text in files.items():
        path = root / "semantic-layer" / "wh" / (name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return root / "semantic-layer"


def layer_from(root: Path, **files: str) -> Layer:
    """Write files and load the connection `wh`."""
    return load_layer(write_layer(root, **files), "wh")
