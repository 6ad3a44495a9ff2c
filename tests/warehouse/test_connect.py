"""From ktx.yaml to a warehouse: files, missing packages, missing settings."""

import sys
from pathlib import Path

import duckdb
import pytest

from ktx.errors import ConfigError, QueryError, WarehouseError
from ktx.warehouse.connect import open_warehouse
from servers.ports import free_port
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
        ({"driver": "redshift", "host": "x"}, "psycopg", "redshift"),
        ({"driver": "clickhouse", "host": "x"}, "clickhouse_connect", "clickhouse"),
        ({"driver": "snowflake", "account": "a", "username": "u"}, "snowflake.connector", "snowflake"),
        ({"driver": "bigquery"}, "google.cloud", "bigquery"),
        ({"driver": "sqlserver", "host": "x"}, "pymssql", "sqlserver"),
        ({"driver": "trino", "host": "x"}, "trino", "trino"),
        ({"driver": "databricks", "host": "x", "http_path": "p"}, "databricks", "databricks"),
    ],
)
def test_missing_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for own in (f"ktx.warehouse.drivers.{settings['driver']}", "ktx.warehouse.libpq"):
        monkeypatch.delitem(sys.modules, own, raising=False)
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
    ("settings", "named"),
    [
        ({"driver": "snowflake", "account": "a", "username": "u", "password": "p"}, "database"),
        ({"driver": "snowflake", "account": "a", "username": "u", "database": "d"}, "password"),
        (
            {"driver": "snowflake", "account": "a", "username": "u", "database": "d", "authMethod": "rsa"},
            "private key",
        ),
        (
            {
                "driver": "snowflake",
                "account": "a",
                "username": "u",
                "database": "d",
                "authMethod": "rsa",
                "privateKey": "no key",
            },
            "privateKey",
        ),
        ({"driver": "sqlserver", "host": "x", "database": "d"}, "cannot verify"),
        ({"driver": "sqlserver", "trustServerCertificate": True}, "names no server"),
        ({"driver": "clickhouse", "database": "d"}, "names no server"),
        ({"driver": "trino", "user": "u"}, "names no server"),
        ({"driver": "redshift", "database": "d"}, "names no server"),
        ({"driver": "databricks", "host": "x", "http_path": "/p"}, "credentials"),
        ({"driver": "databricks", "host": "x", "http_path": "/p", "client_id": "i"}, "credentials"),
        ({"driver": "bigquery", "project": "p", "credentials_json": "no json"}, "credentials_json"),
    ],
)
def test_incomplete_settings_name_what_is_missing(
    tmp_path: Path, settings: dict[str, object], named: str
) -> None:
    with (
        pytest.raises(ConfigError, match=named) as caught,
        open_warehouse("w", connection_of(settings), tmp_path) as warehouse,
    ):
        warehouse.test()
    assert "connections.w" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        {"driver": "redshift", "host": "127.0.0.1", "user": "u", "password": "secret-3141", "database": "d"},
        {"driver": "clickhouse", "url": "http://u:secret-3141@127.0.0.1/d"},
        {
            "driver": "sqlserver",
            "host": "127.0.0.1",
            "user": "u",
            "password": "secret-3141",
            "trustServerCertificate": True,
        },
        {"driver": "trino", "url": "trino://u:secret-3141@127.0.0.1/hive/web"},
    ],
)
def test_server_that_does_not_answer_is_an_error_without_the_password(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    settings = {**settings, "port": free_port()} if "url" not in settings else settings
    if "url" in settings:
        settings["url"] = str(settings["url"]).replace("127.0.0.1", f"127.0.0.1:{free_port()}")
    with (
        open_warehouse("w", connection_of(settings), tmp_path) as warehouse,
        pytest.raises(WarehouseError) as caught,
    ):
        warehouse.test()
    assert "`w` cannot be reached" in caught.value.message
    assert "secret-3141" not in f"{caught.value.message} {caught.value.hint}"
