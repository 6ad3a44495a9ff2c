"""A small project with a DuckDB shop in which a naive join counts twice."""

from pathlib import Path

import duckdb

CONFIG = "connections:\n  warehouse: {driver: duckdb, path: shop.duckdb}\n"
ORDERS = """
name: orders
descriptions: {user: One row per order}
table: main.orders
grain: [id]
columns:
  - {name: id, type: number}
  - {name: customer_id, type: number}
  - {name: status, type: string}
  - {name: amount, type: number}
  - {name: created, type: time}
  - {name: card_number, type: string, visibility: hidden}
measures:
  - {name: revenue, expr: sum(amount), description: What customers paid}
  - {name: order_count, expr: count(*)}
segments:
  - {name: paid, expr: "status = 'paid'"}
joins:
  - {to: customers, on: orders.customer_id = customers.id, relationship: many_to_one}
"""
CUSTOMERS = """
name: customers
table: main.customers
grain: [id]
columns:
  - {name: id, type: number}
  - {name: country, type: string, descriptions: {user: Where the customer lives}}
"""
ITEMS = """
name: items
table: main.items
grain: [id]
columns:
  - {name: id, type: number}
  - {name: order_id, type: number}
  - {name: quantity, type: number}
measures:
  - {name: units, expr: sum(quantity)}
joins:
  - {to: orders, on: items.order_id = orders.id, relationship: many_to_one}
"""


def make_shop(root: Path) -> Path:
    """Write the project into `root` and give it."""
    (root / "ktx.yaml").write_text(CONFIG)
    layer = root / "semantic-layer" / "warehouse"
    layer.mkdir(parents=True)
    for name, text in (("orders", ORDERS), ("customers", CUSTOMERS), ("items", ITEMS)):
        (layer / f"{name}.yaml").write_text(text)
    with duckdb.connect(root / "shop.duckdb") as database:
        database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, country VARCHAR)")
        database.execute("INSERT INTO customers VALUES (1, 'CH'), (2, 'DE'), (3, 'FR')")
        database.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers (id), status VARCHAR,"
            " amount DECIMAL(10, 2), created TIMESTAMP, card_number VARCHAR)"
        )
        database.execute(
            "INSERT INTO orders VALUES (1, 1, 'paid', 10.25, '2024-01-05', '4111'), (2, 1, 'paid', 20, '2024-02-01', '4222'),"
            " (3, 2, 'open', 30.5, '2024-02-03', '4333'), (4, NULL, 'paid', 5, '2024-02-04', '4444')"
        )
        database.execute("CREATE TABLE items (id INTEGER, order_id INTEGER, quantity INTEGER)")
        database.execute("INSERT INTO items VALUES (1, 1, 2), (2, 1, 3), (3, 2, 1), (4, 3, 4)")
    return root


def write_page(
    root: Path, key: str, summary: str, *, head: str = "", body: str = "", place: str = "global"
) -> None:
    """Write a wiki page."""
    path = root / "wiki" / place / f"{key}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\nsummary: {summary}\n{head}---\n{body}\n", encoding="utf-8")
