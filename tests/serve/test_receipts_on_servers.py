"""Receipts on real servers: the counting query is theirs too, and what is counted there is what plain SQL counts."""

from pathlib import Path

import pytest

from ktx.ingest.pipeline import ingest
from ktx.project import create_project, open_project
from ktx.serve.desk import Desk
from ktx.serve.query import parse_ask, sl_query
from servers.mariadb import MariadbServer
from servers.postgres import PostgresServer

SCRIPT = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, country VARCHAR(20));
INSERT INTO customers VALUES (1, 'CH'), (2, 'DE');
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, amount DECIMAL(10, 2), created TIMESTAMP NULL);
INSERT INTO orders VALUES (1, 1, 10, '2024-01-05 00:00:00'), (2, 1, NULL, '2024-02-01 00:00:00'),
  (3, 99, 5, '2024-02-03 00:00:00'), (4, NULL, 7, '2024-02-04 00:00:00'), (5, 2, 1, NULL);
CREATE TABLE parcels (id INTEGER PRIMARY KEY, order_id INTEGER, kind VARCHAR(20));
INSERT INTO parcels VALUES (1, 1, 'box'), (2, 1, 'bag'), (3, 3, 'box');
"""
OVERLAY = """
name: orders
measures:
  - {name: revenue, expr: sum(amount)}
joins:
  - {to: customers, on: orders.customer_id = customers.id, relationship: many_to_one}
  - {to: parcels, on: orders.id = parcels.order_id, relationship: one_to_many}
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["postgres", "mysql"])
def test_a_server_counts_what_plain_sql_counts(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: PostgresServer | MariadbServer = request.getfixturevalue(
        "postgres_server" if engine == "postgres" else "mariadb_server"
    )
    server.create_database("receipts")
    server.execute("receipts", SCRIPT)
    url = server.url("receipts")
    create_project(tmp_path, config_text=f"connections:\n  shop: {{driver: {engine}, url: '{url}'}}\n")
    question = {
        "measures": ["orders.revenue"],
        "dimensions": ["customers.country"],
        "filters": ["parcels.kind = 'box' or orders.amount > 6"],
        "include": ["receipt"],
    }
    overlay = tmp_path / "semantic-layer" / "shop" / "orders.yaml"
    overlay.parent.mkdir(parents=True, exist_ok=True)
    overlay.write_text(OVERLAY)
    assert all(not one.error for one in ingest(open_project(tmp_path)).connections)
    with Desk(project=open_project(tmp_path)) as desk:
        answer = sl_query(desk, parse_ask(question))
        kept = (
            "select count(*) from orders o where amount > 6"
            " or exists (select 1 from parcels p where p.order_id = o.id and p.kind = 'box')"
        )
        ((expected,),) = desk.warehouse("shop").query(kept).rows
    assert answer.receipt is not None
    (fact,) = answer.receipt.facts
    assert fact.not_counted is None
    assert fact.rows is not None
    rows = fact.rows
    assert (rows.source_rows, rows.joined_rows, rows.rows_lost, rows.rows_multiplied) == (5, 5, 0, 0)
    assert rows.kept_rows == fact.aggregates[0].rows == expected == 3
    (join,) = [one for one in fact.joins if one.joins[-1].startswith("customers")]
    assert (join.rows_without_match, join.rows_with_null_key) == (2, 1)
    assert fact.freshness is not None
    assert str(fact.freshness.latest).startswith("2024-02-04")
