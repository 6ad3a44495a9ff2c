"""The generic driver, over real databases that also have a driver of their own: both must see the same."""

import threading
from pathlib import Path

import pytest

from ktx.catalog import Catalog
from ktx.errors import ConfigError, KtxError, QueryError, WarehouseError
from ktx.warehouse.connect import open_warehouse
from ktx.warehouse.keys import InclusionCheck
from ktx.warehouse.warehouse import Warehouse
from servers.shop import Engine, connection_of

_SCHEMES = {"pg": ("postgresql://", "postgresql+psycopg://"), "maria": ("mysql://", "mysql+pymysql://")}


def generic(engine: Engine, **changes: object) -> Warehouse:
    if engine.name == "duck":
        pytest.skip(
            "duckdb-engine does not work with this SQLAlchemy and DuckDB; DuckDB has a driver of its own"
        )
    if engine.name == "lite":
        url = f"sqlite:///{engine.settings['path']}"
    else:
        own, other = _SCHEMES[engine.name]
        url = str(engine.settings["url"]).replace(own, other)
    schemas = [engine.schema, engine.other] if engine.schema else []
    settings = {"driver": "sqlalchemy", "url": url, "schemas": schemas, **changes}
    return open_warehouse("gen", connection_of(settings), engine.folder)


def shape(catalog: Catalog, names: set[str]) -> list[object]:
    return [
        (
            table.ref,
            table.kind,
            table.comment,
            table.primary_key,
            [(key.columns, key.target, key.target_columns) for key in table.foreign_keys],
            [(column.name, column.kind) for column in table.columns],
            [column.comment for column in table.columns if table.kind == "table"],
        )
        for table in catalog.tables
        if table.ref.name in names
    ]


def test_generic_driver_reads_the_catalog_as_the_own_driver_does(engine: Engine) -> None:
    with generic(engine) as warehouse, engine.open() as own:
        names = {"customers", "orders", "group", "empty_one", "big_orders"}
        assert shape(warehouse.read_catalog(), names) == shape(own.read_catalog(), names)


def test_generic_driver_profiles_and_checks_as_the_own_driver_does(engine: Engine) -> None:
    with generic(engine) as warehouse, engine.open() as own:
        found = next(table for table in own.read_catalog().tables if table.ref.name == "customers")
        assert warehouse.profile_table(found) == own.profile_table(found)
        check = InclusionCheck(
            child=found.ref, child_columns=("shop_id",), parent=found.ref, parent_columns=("customer_no",)
        )
        assert warehouse.inclusion(check) == own.inclusion(check)
        assert warehouse.query("SELECT order_id FROM orders ORDER BY 1", max_rows=2).is_truncated


def test_generic_driver_rolls_back_what_gets_past_the_guard(engine: Engine) -> None:
    with generic(engine) as warehouse:
        with pytest.raises(KtxError):
            warehouse._execute("INSERT INTO orders (order_id) VALUES (901)", max_rows=None, timeout_s=5)
        gaps = {gap.what for gap in warehouse.read_catalog().gaps}
        assert ("read-only session" in gaps) is (engine.name != "pg")
    assert engine.count_orders() == 4


def test_generic_driver_stops_a_statement_where_the_database_driver_can(engine: Engine) -> None:
    if engine.name == "maria":
        pytest.skip("PyMySQL cannot stop a running statement; the `mysql` driver can")
    with generic(engine) as warehouse:
        with pytest.raises(WarehouseError, match="time limit"):
            warehouse.query(engine.endless, timeout_s=0.3)
        timer = threading.Timer(0.3, warehouse.cancel)
        timer.start()
        with pytest.raises(WarehouseError, match="cancelled"):
            warehouse.query(engine.endless, timeout_s=60)
        timer.join()
        with pytest.raises(QueryError, match="no_such_column"):
            warehouse.query("SELECT no_such_column FROM orders")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is no SQLAlchemy URL"),
        ("nosuchdb://host/x", "no dialect `nosuchdb`"),
        ("oracle+oracledb://u:p@host/x", "needs the package `oracledb`"),
    ],
)
def test_unusable_url_says_what_is_wrong(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_warehouse("gen", connection_of({"driver": "sqlalchemy", "url": url}), tmp_path)


def test_unreachable_server_is_told_without_the_password(tmp_path: Path) -> None:
    settings = {"driver": "sqlalchemy", "url": "postgresql+psycopg://u:s3cret-pw@127.0.0.1:1/x"}
    warehouse = open_warehouse("gen", connection_of(settings), tmp_path)
    with warehouse, pytest.raises(WarehouseError, match="cannot be reached") as caught:
        warehouse.test()
    assert "s3cret-pw" not in f"{caught.value.message}{caught.value.hint}"
