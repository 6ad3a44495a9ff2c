"""ClickHouse, on the real engine inside the process: the package `chdb`, too large to be a dependency of the tests."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from ktx.catalog import TableRef
from ktx.errors import QueryError, WarehouseError
from ktx.warehouse.introspect import Scope
from ktx.warehouse.keys import InclusionCheck
from ktx.warehouse.warehouse import Warehouse
from servers.shop import CUSTOMERS, ORDERS

pytest.importorskip("chdb", reason="the ClickHouse engine comes with `pip install chdb` (900 MB)")
clickhouse_connect = pytest.importorskip("clickhouse_connect")

ORDERS_REF = TableRef(schema="shop", name="orders")
CUSTOMERS_REF = TableRef(schema="shop", name="customers")


@pytest.fixture(scope="module")
def shop() -> Iterator[Warehouse]:
    from ktx.warehouse.drivers.clickhouse import clickhouse_driver_of

    owner = clickhouse_connect.get_client(interface="chdb")
    for statement in (
        "CREATE DATABASE shop",
        "CREATE DATABASE archive",
        (
            "CREATE TABLE shop.customers (shop_id Int32, customer_no Int32, `Full Name` String, "
            "city LowCardinality(Nullable(String))) ENGINE = MergeTree ORDER BY (shop_id, customer_no)"
        ),
        (
            "CREATE TABLE shop.orders (order_id Int32, buyer_shop Nullable(Int32), buyer Nullable(Int32), "
            "amount Nullable(Decimal(10, 2)) COMMENT 'gross, in euro', placed_on Nullable(Date)) "
            "ENGINE = MergeTree ORDER BY order_id COMMENT 'what was bought'"
        ),
        "CREATE TABLE archive.orders (old_id Int32) ENGINE = Memory",
        "CREATE VIEW shop.big_orders AS SELECT order_id, amount FROM shop.orders WHERE amount > 5",
        (
            "CREATE MATERIALIZED VIEW shop.totals ENGINE = SummingMergeTree ORDER BY buyer_shop AS "
            "SELECT assumeNotNull(buyer_shop) AS buyer_shop, sum(amount) AS total FROM shop.orders GROUP BY buyer_shop"
        ),
        "CREATE TABLE shop.nested (id Int32, tags Array(String), note String) ENGINE = Memory",
        "INSERT INTO shop.nested VALUES (1, ['a', 'b'], 'größe'), (2, [], 'x')",
    ):
        owner.command(statement)
    owner.insert("shop.customers", [list(row) for row in CUSTOMERS])
    for order, shop_id, customer, amount, day in ORDERS:
        owner.command(
            "INSERT INTO shop.orders VALUES "
            f"({order}, {shop_id or 'NULL'}, {customer or 'NULL'}, {amount or 'NULL'}, "
            + (f"'{day}')" if day else "NULL)")
        )
    driver = clickhouse_driver_of("ch", lambda: clickhouse_connect.get_client(interface="chdb"))
    with Warehouse("ch", driver, scope=Scope(schemas=("shop", "archive"))) as warehouse:
        yield warehouse
    owner.close()


def test_catalog_has_kinds_comments_and_counts_and_takes_no_sort_key_for_a_key(shop: Warehouse) -> None:
    catalog = shop.read_catalog()
    assert {str(table.ref): table.kind for table in catalog.tables} == {
        "archive.orders": "table",
        "shop.big_orders": "view",
        "shop.customers": "table",
        "shop.nested": "table",
        "shop.orders": "table",
        "shop.totals": "materialized_view",
    }
    orders = catalog.table(ORDERS_REF)
    customers = catalog.table(CUSTOMERS_REF)
    assert orders is not None
    assert customers is not None
    assert (orders.comment, orders.row_count, orders.primary_key) == ("what was bought", 4, ())
    assert [(column.kind, column.is_nullable) for column in orders.columns] == [
        ("number", False), ("number", True), ("number", True), ("number", True), ("time", True)
    ]  # fmt: skip
    assert [column.is_nullable for column in customers.columns] == [False, False, False, True]
    assert {"primary keys", "foreign keys"} <= {gap.what for gap in catalog.gaps}


def test_profile_counts_nulls_and_characters(shop: Warehouse) -> None:
    catalog = shop.read_catalog()
    orders, nested = catalog.table(ORDERS_REF), catalog.table(TableRef(schema="shop", name="nested"))
    assert orders is not None
    assert nested is not None
    profile = shop.profile_table(orders)
    amounts = [Decimal(row[3]) for row in ORDERS if row[3] is not None]
    amount = profile.column("amount")
    assert amount is not None
    assert (profile.row_count, amount.null_count, amount.distinct_count) == (4, 1, len(set(amounts)))
    assert (Decimal(str(amount.min_value)), Decimal(str(amount.max_value))) == (min(amounts), max(amounts))
    note = shop.profile_table(nested).column("note")
    assert note is not None
    assert (note.min_length, note.max_length) == (1, 5)


def test_inclusion_counts_distinct_whole_keys(shop: Warehouse) -> None:
    check = InclusionCheck(
        child=ORDERS_REF,
        child_columns=("buyer_shop", "buyer"),
        parent=CUSTOMERS_REF,
        parent_columns=("shop_id", "customer_no"),
    )
    wrong = InclusionCheck(
        child=ORDERS_REF,
        child_columns=("order_id",),
        parent=CUSTOMERS_REF,
        parent_columns=("shop_id",),
    )
    found, none = shop.inclusions([check, wrong])
    children = {(row[1], row[2]) for row in ORDERS if row[1] is not None}
    assert (found.child_keys, found.matched_keys) == (len(children), len(children))
    assert (none.child_keys, none.matched_keys) == (4, 0)


def test_rows_without_a_partner_have_nulls_and_no_rows_have_no_least_value(shop: Warehouse) -> None:
    joined = shop.query(
        "SELECT o.order_id, c.shop_id FROM shop.orders AS o LEFT JOIN shop.customers AS c ON c.shop_id = o.order_id"
    )
    assert [row[1] for row in joined.rows] == [None] * 4
    empty = shop.query("SELECT COUNT(*), MAX(order_id), SUM(order_id) FROM shop.orders WHERE order_id < 0")
    assert empty.rows == ((0, None, None),)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO shop.orders (order_id) VALUES (900)",
        "CREATE TABLE shop.stolen (a Int32) ENGINE = Memory",
        "ALTER TABLE shop.orders DELETE WHERE 1",
        "TRUNCATE TABLE shop.orders",
        "SET readonly = 0",
    ],
)
def test_request_refuses_writes_by_itself(shop: Warehouse, statement: str) -> None:
    with pytest.raises((QueryError, WarehouseError)):
        shop._execute(statement, max_rows=None, timeout_s=5)
    assert shop.query("SELECT COUNT(*) FROM shop.orders").rows == ((4,),)


def test_setting_of_a_statement_cannot_lift_the_read_only_mode(shop: Warehouse) -> None:
    with pytest.raises((QueryError, WarehouseError)):
        shop._execute("SELECT 1 SETTINGS readonly = 0", max_rows=None, timeout_s=5)


def test_time_limit_stops_the_statement(shop: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="time limit of 1 s"):
        shop.query("SELECT COUNT(*) FROM numbers(1000000000000)", timeout_s=1)


def test_wrong_sql_names_the_column_and_bad_data_is_not_repeated(shop: Warehouse) -> None:
    with pytest.raises(QueryError, match="no_such_column") as wrong:
        shop.query("SELECT no_such_column FROM shop.orders")
    assert "SETTINGS" not in wrong.value.message
    with pytest.raises(QueryError, match="met a value") as caught:
        shop.query("SELECT toInt32(`Full Name`) FROM shop.customers")
    assert "Ann" not in caught.value.message
