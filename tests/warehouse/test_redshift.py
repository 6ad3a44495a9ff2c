"""Redshift's driver over a real PostgreSQL: the protocol, the session and the queries of pg_catalog are the same there.

What only Redshift has (its svv_ views) is refused by PostgreSQL, which shows how a refused view becomes a gap.
"""

from collections.abc import Iterator

import pytest

from ktx.catalog import TableRef
from ktx.errors import QueryError, WarehouseError
from ktx.warehouse.connect import open_warehouse
from ktx.warehouse.warehouse import Warehouse
from servers.postgres import PostgresServer
from servers.shop import connection_of, postgres_engine


@pytest.fixture(scope="module")
def shop(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    folder = tmp_path_factory.mktemp("redshift")
    postgres_engine(folder, postgres_server)
    url = postgres_server.url("shop").replace("postgresql://", "redshift://")
    settings = connection_of({"driver": "redshift", "url": url, "sslmode": "disable"})
    with open_warehouse("rs", settings, folder) as warehouse:
        yield warehouse


def test_catalog_has_tables_views_keys_and_comments(shop: Warehouse) -> None:
    catalog = shop.read_catalog()
    orders = catalog.table(TableRef(schema="public", name="orders"))
    customers = catalog.table(TableRef(schema="public", name="customers"))
    view = catalog.table(TableRef(schema="public", name="big_orders"))
    assert orders is not None
    assert customers is not None
    assert view is not None
    assert (orders.comment, orders.row_count, view.kind) == ("what was bought", 4, "view")
    assert customers.primary_key == ("shop_id", "customer_no")
    (key,) = orders.foreign_keys
    assert (key.columns, key.target_columns) == (("buyer_shop", "buyer"), ("shop_id", "customer_no"))
    assert [column.kind for column in orders.columns] == ["number", "number", "number", "number", "time"]


def test_views_that_the_server_does_not_have_are_gaps(shop: Warehouse) -> None:
    gaps = {gap.what for gap in shop.read_catalog().gaps}
    assert {"external tables", "columns of external tables", "columns of late-binding views"} <= gaps


@pytest.mark.parametrize(
    "statement",
    ["INSERT INTO orders (order_id) VALUES (900)", "CREATE TABLE stolen (a INTEGER)", "SELECT 1; SELECT 2"],
)
def test_session_refuses_writes_and_batches(shop: Warehouse, statement: str) -> None:
    with pytest.raises(QueryError):
        shop._execute(statement, max_rows=None, timeout_s=5)
    assert shop.query("SELECT COUNT(*) FROM orders").rows == ((4,),)


def test_time_limit_stops_the_statement(shop: Warehouse) -> None:
    endless = "SELECT COUNT(*) FROM pg_class AS a, pg_class AS b, pg_class AS c, pg_class AS d"
    with pytest.raises(WarehouseError, match="time limit"):
        shop.query(endless, timeout_s=0.3)
