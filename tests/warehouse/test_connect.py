"""From ktx.yaml to a warehouse: files, missing packages, missing settings."""

import sys
from pathlib import Path

import duckdb
import pytest

from ktx.errors import ConfigError, QueryError, WarehouseError
from ktx.warehouse.connect import open_warehouse
from servers.shop import connection_of


def test_file_is_found_relative_to_the_project_by_path_or_url(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    duckdb.connect(str(tmp_path / "data" / "a.duckdb")).close()
    for place in (
        {"path": "data/a.duckdb"},
        {"url": "duckdb:///data/a.duckdb"},
        {"url": f"duckdb:///{tmp_path}/data/a.duckdb"},
        {"url": "data/a.duckdb"},
    ):
        with open_warehouse("d", connection_of({"driver": "duckdb", **place}), tmp_path) as warehouse:
            assert warehouse.query("SELECT 1 AS one").rows == ((1,),)


@pytest.mark.parametrize("driver", ["sqlite", "duckdb"])
def test_missing_file_is_named_and_not_created(tmp_path: Path, driver: str) -> None:
    warehouse = open_warehouse("d", connection_of({"driver": driver, "path": "nothing.db"}), tmp_path)
    with warehouse, pytest.raises(ConfigError, match=r"nothing\.db"):
        warehouse.test()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("driver", ["sqlite", "duckdb"])
def test_file_that_is_no_database_is_an_error_and_no_traceback(tmp_path: Path, driver: str) -> None:
    (tmp_path / "x.db").write_text("this is no database, only text that is long enough" * 50)
    warehouse = open_warehouse("d", connection_of({"driver": driver, "path": "x.db"}), tmp_path)
    with warehouse, pytest.raises(WarehouseError, match="`d` cannot be reached"):
        warehouse.test()


@pytest.mark.parametrize(
    "settings", [{"driver": "sqlite"}, {"driver": "duckdb", "url": "postgresql://host/x"}]
)
def test_address_that_names_no_file_is_a_configuration_error(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_warehouse("d", connection_of(settings), tmp_path)
    assert "connections.d" in caught.value.message
    assert "path" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("settings", "module", "extra"),
    [
        ({"driver": "duckdb", "path": "x"}, "duckdb", "duckdb"),
        ({"driver": "postgres", "host": "x"}, "psycopg", "postgres"),
        ({"driver": "mysql", "host": "x"}, "pymysql", "mysql"),
    ],
)
def test_missing_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"ktx.warehouse.drivers.{settings['driver']}", raising=False)
    with pytest.raises(ConfigError, match="needs a package that is not installed") as caught:
        open_warehouse("d", connection_of(settings), tmp_path)
    assert caught.value.hint == f'pip install "ktx-context[{extra}]"'


def test_missing_variable_of_a_password_is_named(tmp_path: Path) -> None:
    settings = {"driver": "postgres", "host": "x", "password": "env:KTX_TEST_NO_SUCH_VARIABLE"}
    with pytest.raises(ConfigError, match="KTX_TEST_NO_SUCH_VARIABLE"):
        open_warehouse("d", connection_of(settings), tmp_path)


def test_python_variables_are_not_tables_of_duckdb(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "a.duckdb")).close()
    numbers = pytest.importorskip(
        "numpy", reason="numpy comes with `pip install 'ktx-context[demo]'`"
    ).arange(3)
    assert len(numbers) == 3
    warehouse = open_warehouse("d", connection_of({"driver": "duckdb", "path": "a.duckdb"}), tmp_path)
    with warehouse, pytest.raises(QueryError, match="numbers"):
        warehouse._execute("SELECT * FROM numbers", max_rows=None, timeout_s=5)


def test_two_warehouses_read_one_duckdb_file_at_once(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "a.duckdb")).close()
    settings = connection_of({"driver": "duckdb", "path": "a.duckdb"})
    with open_warehouse("a", settings, tmp_path) as first, open_warehouse("b", settings, tmp_path) as second:
        first.test()
        second.test()


@pytest.mark.parametrize(
    "settings",
    [
        {"driver": "sqlserver", "host": "x"},
        {"driver": "snowflake", "account": "a", "username": "u"},
        {"driver": "bigquery", "project": "p"},
        {"driver": "clickhouse", "host": "x", "database": "d"},
        {"driver": "redshift", "host": "x"},
        {"driver": "databricks", "host": "x", "http_path": "/p"},
        {"driver": "trino", "host": "x"},
    ],
)
def test_database_without_a_driver_of_its_own_says_how_to_reach_it(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match=f"`{settings['driver']}` only through SQLAlchemy") as caught:
        open_warehouse("w", connection_of(settings), tmp_path)
    assert "driver: sqlalchemy" in str(caught.value.hint)
    assert "pip install" in str(caught.value.hint)
