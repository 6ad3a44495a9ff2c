"""The same small shop in every database that can run here, and the rows it was made from."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from pydantic import TypeAdapter

from ktx.config.connections import Connection, WarehouseConnection
from ktx.warehouse.connect import open_warehouse
from ktx.warehouse.warehouse import Warehouse
from servers.mariadb import MariadbServer
from servers.postgres import PostgresServer

CUSTOMERS = [
    (1, 10, "Ann", None),
    (1, 11, "Zoë", "berlin"),
    (2, 10, "李雷", "berlin"),
    (2, 12, "O'Hara", "paris"),
]
"""(shop_id, customer_no, name, city)"""
ORDERS = [
    (100, 1, 10, "12.50", "2024-01-05"),
    (101, 1, 10, "7.25", "2024-01-06"),
    (102, 2, 12, None, "2024-02-01"),
    (103, None, None, "3.00", None),
]
"""(order_id, shop_id, customer_no, amount, placed_on)"""


@dataclass(frozen=True)
class Engine:
    """One database with the shop in it. `schema` holds the tables, `other` a second table called `orders`."""

    name: str
    settings: dict[str, object]
    folder: Path
    schema: str | None
    other: str | None
    endless: str
    """A query that runs until it is stopped."""
    writes: tuple[str, ...]
    """Statements that would change something, each to be refused by the session itself."""
    count_orders: Callable[[], int]
    """Count the orders behind the warehouse's back."""

    def open(self, **changes: object) -> Warehouse:
        return open_warehouse(self.name, connection_of({**self.settings, **changes}), self.folder)


def connection_of(settings: dict[str, object]) -> WarehouseConnection:
    adapter: TypeAdapter[Connection] = TypeAdapter(Connection)
    return adapter.validate_python(settings)  # type: ignore[return-value]


_ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 2000000000) SELECT SUM(n) FROM r"


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def _values(rows: list[tuple[object, ...]]) -> str:
    return ", ".join("(" + ", ".join(_literal(value) for value in row) + ")" for row in rows)


def _script(*, quote: str, qualify: str, comments: bool, timestamps: str = "DATE") -> list[str]:
    """Give the DDL and rows; `qualify` stands before each table of the main schema."""
    q = quote

    def name(text: str) -> str:
        return f"{q}{text}{q}"

    return [
        (
            f"CREATE TABLE {qualify}customers (shop_id INTEGER NOT NULL, customer_no INTEGER NOT NULL, "
            f"{name('Full Name')} VARCHAR(80) NOT NULL, city VARCHAR(40), PRIMARY KEY (shop_id, customer_no))"
        ),
        (
            f"CREATE TABLE {qualify}orders (order_id INTEGER PRIMARY KEY, buyer_shop INTEGER, buyer INTEGER, "
            f"amount DECIMAL(10,2), placed_on {timestamps}, "
            f"FOREIGN KEY (buyer_shop, buyer) REFERENCES {qualify}customers (shop_id, customer_no))"
        ),
        (
            f"CREATE TABLE {qualify}{name('group')} ({name('select')} INTEGER, {name('größe')} VARCHAR(20), "
            f"{name('MixedCase')} INTEGER, CONSTRAINT uq UNIQUE ({name('MixedCase')}, {name('größe')}))"
        ),
        f"CREATE TABLE {qualify}empty_one (id INTEGER, note VARCHAR(10))",
        f"CREATE VIEW {qualify}big_orders AS SELECT order_id, amount FROM {qualify}orders WHERE amount > 5",
        f"INSERT INTO {qualify}customers VALUES {_values(CUSTOMERS)}",  # type: ignore[arg-type]
        f"INSERT INTO {qualify}orders VALUES {_values(ORDERS)}",  # type: ignore[arg-type]
        f"INSERT INTO {qualify}{name('group')} VALUES (1, 'klein', 7), (2, 'groß', 7), (3, NULL, NULL)",
    ] + (
        [
            f"COMMENT ON TABLE {qualify}orders IS 'what was bought'",
            f"COMMENT ON COLUMN {qualify}orders.amount IS 'gross, in euro'",
        ]
        if comments
        else []
    )


def sqlite_engine(folder: Path) -> Engine:
    path = folder / "shop.sqlite"
    connection = sqlite3.connect(path)
    for statement in _script(quote='"', qualify="", comments=False):
        connection.execute(statement)
    connection.commit()
    connection.close()

    def count() -> int:
        reader = sqlite3.connect(path)
        try:
            return int(reader.execute("SELECT COUNT(*) FROM orders").fetchone()[0])
        finally:
            reader.close()

    return Engine(
        name="lite",
        settings={"driver": "sqlite", "path": str(path)},
        folder=folder,
        schema=None,
        other=None,
        endless=_ENDLESS,
        writes=(
            "INSERT INTO orders (order_id) VALUES (900)",
            "CREATE TABLE stolen (a INTEGER)",
            "CREATE TEMP TABLE stolen (a INTEGER)",
            f"ATTACH '{folder / 'stolen.db'}' AS other",
            f"VACUUM INTO '{folder / 'stolen.db'}'",
            "PRAGMA writable_schema = 1",
            "SELECT load_extension('x')",
            "DELETE FROM orders; SELECT 1",
        ),
        count_orders=count,
    )


def duckdb_engine(folder: Path) -> Engine:
    path = folder / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        for statement in _script(quote='"', qualify="", comments=True):
            connection.execute(statement)
        connection.execute("CREATE SCHEMA archive")
        connection.execute("CREATE TABLE archive.orders (old_id INTEGER)")

    def count() -> int:
        copy = folder / "copy.duckdb"
        copy.write_bytes(path.read_bytes())
        with duckdb.connect(str(copy)) as reader:
            row = reader.execute("SELECT COUNT(*) FROM orders").fetchone()
        assert row is not None
        return int(row[0])

    return Engine(
        name="duck",
        settings={"driver": "duckdb", "path": str(path)},
        folder=folder,
        schema="main",
        other="archive",
        endless=_ENDLESS,
        writes=(
            "INSERT INTO orders (order_id) VALUES (900)",
            "CREATE TABLE stolen (a INTEGER)",
            "CREATE TEMP TABLE stolen (a INTEGER)",
            f"ATTACH '{folder / 'stolen.db'}' AS other",
            f"COPY orders TO '{folder / 'stolen.csv'}'",
            "SELECT * FROM read_text('/etc/hostname')",
            "SELECT * FROM '/etc/hostname'",
            "SELECT * FROM glob('/etc/*')",
            "SET enable_external_access = true",
            "INSTALL httpfs",
            "SELECT 1; SELECT 2",
        ),
        count_orders=count,
    )


def postgres_engine(folder: Path, server: PostgresServer) -> Engine:
    server.create_database("shop")
    script = _script(quote='"', qualify="", comments=True)
    server.execute("shop", "; ".join(script))
    server.execute(
        "shop",
        "CREATE SCHEMA archive; CREATE TABLE archive.orders (old_id INTEGER);"
        "CREATE MATERIALIZED VIEW totals AS SELECT sum(amount) AS total FROM orders;"
        "CREATE TABLE events (id INTEGER, at DATE) PARTITION BY RANGE (at);"
        "CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');"
        "INSERT INTO events VALUES (1, '2024-03-01');"
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;"
        "CREATE FOREIGN TABLE outside (line TEXT) SERVER files OPTIONS (filename '/dev/null');"
        "CREATE SEQUENCE counter;"
        "CREATE TABLE hidden (a INTEGER); CREATE EXTENSION pg_stat_statements; ANALYZE;"
        f"GRANT USAGE ON SCHEMA archive TO {server.reader};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public, archive TO {server.reader};"
        f"REVOKE ALL ON hidden FROM {server.reader}",
    )

    def count() -> int:
        import psycopg

        with psycopg.connect(server.url("shop")) as connection:
            row = connection.execute("SELECT COUNT(*) FROM orders").fetchone()
        assert row is not None
        return int(row[0])

    return Engine(
        name="pg",
        settings={"driver": "postgres", "url": server.url("shop")},
        folder=folder,
        schema="public",
        other="archive",
        endless=_ENDLESS.replace("SELECT 1 UNION", "SELECT 1::bigint UNION"),
        writes=(
            "INSERT INTO orders (order_id) VALUES (900)",
            "CREATE TABLE stolen (a INTEGER)",
            "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone",
            "SELECT 1; COMMIT; BEGIN READ WRITE; INSERT INTO orders (order_id) VALUES (900)",
            "SELECT nextval('counter')",
            "SELECT order_id INTO stolen FROM orders",
            "SELECT order_id FROM orders FOR UPDATE",
        ),
        count_orders=count,
    )


def mariadb_engine(folder: Path, server: MariadbServer) -> Engine:
    server.create_database("shop")
    server.create_database("archive")
    script = _script(quote="`", qualify="", comments=False)
    script[1] = script[1].replace("amount DECIMAL(10,2)", "amount DECIMAL(10,2) COMMENT 'gross, in euro'")
    script[1] += " COMMENT = 'what was bought'"
    server.execute("shop", "; ".join(script))
    server.execute("archive", "CREATE TABLE orders (old_id INTEGER)")
    server.execute(None, "ANALYZE TABLE shop.orders")

    def count() -> int:
        import pymysql

        connection = pymysql.connect(
            host=server.host, port=server.port, user=server.user, password=server.password, database="shop"
        )
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM orders")
            row = cursor.fetchone()
        assert row is not None
        return int(row[0])

    return Engine(
        name="maria",
        settings={"driver": "mysql", "url": server.url("shop"), "schemas": ["shop", "archive"]},
        folder=folder,
        schema="shop",
        other="archive",
        endless="SELECT COUNT(*) FROM information_schema.columns a, information_schema.columns b, "
        "information_schema.columns c",
        writes=(
            "INSERT INTO orders (order_id) VALUES (900)",
            "CREATE TABLE stolen (a INTEGER)",
            "DELETE FROM orders",
            "SELECT 1; DELETE FROM orders",
        ),
        count_orders=count,
    )


@pytest.fixture(scope="session", params=["sqlite", "duckdb", "postgres", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp(str(request.param))
    match request.param:
        case "sqlite":
            return sqlite_engine(folder)
        case "duckdb":
            return duckdb_engine(folder)
        case "postgres":
            return postgres_engine(folder, request.getfixturevalue("postgres_server"))
        case _:
            return mariadb_engine(folder, request.getfixturevalue("mariadb_server"))
