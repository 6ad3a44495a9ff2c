"""What only PostgreSQL has."""

import contextlib
import traceback

import psycopg
import pytest

from ktx.errors import ConfigError, QueryError, WarehouseError
from ktx.warehouse.connect import open_warehouse
from ktx.warehouse.warehouse import Warehouse
from servers.postgres import PostgresServer
from servers.shop import connection_of, postgres_engine


@pytest.fixture(scope="module")
def shop(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> PostgresServer:
    postgres_engine(tmp_path_factory.mktemp("pg"), postgres_server)
    return postgres_server


def opened(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory, **settings: object) -> Warehouse:
    return open_warehouse(
        "pg",
        connection_of({"driver": "postgres", "url": server.url("shop"), **settings}),
        tmp_path_factory.mktemp("p"),
    )


def test_partitions_are_one_table_and_materialized_and_foreign_tables_are_named(
    shop: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with opened(shop, tmp_path_factory) as warehouse:
        catalog = warehouse.read_catalog()
    kinds = {str(table.ref): table.kind for table in catalog.tables}
    assert kinds == {
        "archive.orders": "table",
        "public.big_orders": "view",
        "public.customers": "table",
        "public.empty_one": "table",
        "public.events": "table",
        "public.group": "table",
        "public.hidden": "table",
        "public.orders": "table",
        "public.outside": "external",
        "public.totals": "materialized_view",
    }
    events = next(table for table in catalog.tables if table.ref.name == "events")
    assert events.row_count == 1


def test_reader_sees_keys_and_is_told_which_tables_are_closed_to_it(
    shop: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with opened(shop, tmp_path_factory, url=shop.url("shop", as_reader=True)) as warehouse:
        catalog = warehouse.read_catalog()
    names = {table.ref.name for table in catalog.tables}
    orders = next(table for table in catalog.tables if str(table.ref) == "public.orders")
    assert "hidden" not in names
    assert [gap.what for gap in catalog.gaps] == ["table `public.hidden`"]
    assert len(orders.foreign_keys) == 1


def test_what_a_function_writes_is_rolled_back_even_where_the_server_lets_it_write(
    shop: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with opened(shop, tmp_path_factory) as warehouse:
        with contextlib.suppress(QueryError):  # PostgreSQL 16 refuses it, 15 does not
            warehouse._execute("SELECT lo_from_bytea(0, 'x')", max_rows=None, timeout_s=5)
        warehouse._execute(
            "SELECT set_config('default_transaction_read_only', 'off', false)", max_rows=None, timeout_s=5
        )
        setting = warehouse._execute("SHOW default_transaction_read_only", max_rows=None, timeout_s=5)
        assert setting.rows == (("on",),)
    with psycopg.connect(shop.url("shop")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM pg_largeobject_metadata").fetchone() == (0,)


def test_wrong_password_is_told_without_the_password(
    shop: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = f"postgresql://{shop.user}:wr0ng-secret@{shop.host}:{shop.port}/shop"
    with opened(shop, tmp_path_factory, url=url) as warehouse, pytest.raises(WarehouseError) as caught:
        warehouse.test()
    assert "password authentication failed" in caught.value.message
    assert "wr0ng-secret" not in f"{caught.value.message} {caught.value.hint} {caught.value.__cause__}"


def test_unreachable_server_is_told_with_its_address(tmp_path_factory: pytest.TempPathFactory) -> None:
    connection = connection_of(
        {"driver": "postgres", "host": "127.0.0.1", "port": 1, "database": "x", "password": "pw"}
    )
    with (
        open_warehouse("pg", connection, tmp_path_factory.mktemp("p")) as warehouse,
        pytest.raises(WarehouseError, match=r"`pg` cannot be reached: .*127\.0\.0\.1.*refused"),
    ):
        warehouse.test()


def test_connection_without_a_server_is_a_configuration_error(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with pytest.raises(ConfigError, match=r"`connections\.pg` names no server"):
        open_warehouse("pg", connection_of({"driver": "postgres"}), tmp_path_factory.mktemp("p"))


def test_values_of_rows_stay_out_of_error_messages(
    shop: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with opened(shop, tmp_path_factory) as warehouse, pytest.raises(QueryError) as caught:
        warehouse.query('SELECT CAST("Full Name" AS INTEGER) FROM customers')
    assert "Ann" not in "".join(traceback.format_exception(caught.value))


def test_types_without_order_or_equality_are_profiled_and_odd_values_are_read(
    shop: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shop.execute(
        "shop",
        "DROP SCHEMA IF EXISTS odd CASCADE; CREATE SCHEMA odd; CREATE TYPE odd.mood AS ENUM ('calm', 'wild');"
        "CREATE DOMAIN odd.price AS NUMERIC(8, 2);"
        "CREATE TABLE odd.things (j JSON, jb JSONB, u UUID, p POINT, b BYTEA, a INTEGER[], m odd.mood, pr odd.price,"
        " f DOUBLE PRECISION, t TIMESTAMP, z TIMESTAMPTZ, d DATE, flag BOOLEAN, bits BIT(3), span INTERVAL);"
        "INSERT INTO odd.things VALUES ('{}', '{\"a\": 1}', gen_random_uuid(), '(1,2)', 'x', '{1,2}', 'calm', 3.5,"
        " 'NaN', 'infinity', '-infinity', 'infinity', true, B'101', '1 day')",
    )
    with opened(shop, tmp_path_factory, schemas=["odd"]) as warehouse:
        (table,) = warehouse.read_catalog().tables
        profile = warehouse.profile_table(table)
        rows = warehouse.sample_rows(table, 5)
    kinds = {column.name: column.kind for column in table.columns}
    assert (kinds["pr"], kinds["m"], kinds["t"], kinds["flag"], kinds["span"]) == (
        "number", "string", "time", "boolean", "string",
    )  # fmt: skip
    assert all(column.distinct_count == 1 for column in profile.columns)
    values = dict(zip((column.name for column in rows.columns), rows.rows[0], strict=True))
    assert values["f"] != values["f"]
    assert (values["t"], values["d"]) == ("infinity", "infinity")


def test_large_table_is_sampled_by_pages_and_the_same_way_each_time(
    shop: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shop.execute(
        "shop",
        "DROP SCHEMA IF EXISTS big CASCADE; CREATE SCHEMA big; CREATE TABLE big.rows AS"
        " SELECT n, CASE n % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' ELSE 'c' END AS word FROM generate_series(1, 60000) AS n;"
        " ANALYZE big.rows",
    )
    with opened(shop, tmp_path_factory, schemas=["big"]) as warehouse:
        (table,) = warehouse.read_catalog().tables
        first = warehouse.profile_table(table, sample_rows=1000)
        second = warehouse.profile_table(table, sample_rows=1000)
    assert first == second
    assert first.row_count == 60000
    assert 0 < first.profiled_rows <= 1001
    word = first.column("word")
    assert word is not None
    assert {value for value, _ in word.top_values} == {"a", "b", "c"}
