"""From a connection of ktx.yaml to an open warehouse: the one dispatch."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import assert_never

from ktx.config.connections import (
    BigqueryConnection,
    ClickhouseConnection,
    DatabricksConnection,
    DuckdbConnection,
    MysqlConnection,
    PostgresConnection,
    RedshiftConnection,
    SnowflakeConnection,
    SqlalchemyConnection,
    SqliteConnection,
    SqlserverConnection,
    TrinoConnection,
    WarehouseConnection,
)
from ktx.errors import ConfigError
from ktx.warehouse.driver import Driver
from ktx.warehouse.introspect import Scope
from ktx.warehouse.warehouse import Warehouse


def open_warehouse(connection_id: str, connection: WarehouseConnection, project_dir: Path) -> Warehouse:
    """Build the warehouse of a connection; sessions are opened when they are first needed.

    Raises:
        ConfigError: a setting or secret is missing, or the driver's package is not installed.
    """
    return Warehouse(
        connection_id,
        _driver(connection_id, connection, project_dir),
        scope=Scope(schemas=connection.schemas, enabled_tables=connection.enabled_tables),
        timeout_s=connection.query_timeout_ms / 1000,
        max_connections=connection.max_connections,
    )


def _driver(connection_id: str, connection: WarehouseConnection, project_dir: Path) -> Driver:
    match connection:
        case SqliteConnection():
            from ktx.warehouse.drivers.sqlite import sqlite_driver

            return sqlite_driver(connection_id, _file(connection_id, connection, project_dir))
        case DuckdbConnection():
            with _extra("duckdb", driver="duckdb", vendors=("duckdb",)):
                from ktx.warehouse.drivers.duckdb import duckdb_driver
            return duckdb_driver(connection_id, _file(connection_id, connection, project_dir))
        case (
            PostgresConnection()
            | MysqlConnection()
            | SqlserverConnection()
            | SnowflakeConnection()
            | BigqueryConnection()
            | ClickhouseConnection()
            | RedshiftConnection()
            | DatabricksConnection()
            | TrinoConnection()
            | SqlalchemyConnection()
        ):
            raise ConfigError(f"`{connection_id}`: this ktx has no driver for `{connection.driver}`.")
        case _:
            assert_never(connection)


@contextmanager
def _extra(extra: str, *, driver: str, vendors: tuple[str, ...]) -> Generator[None]:
    """Turn a vendor package that is not installed into a sentence that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in vendors:
            raise
        raise ConfigError(
            f"The driver `{driver}` needs a package that is not installed.",
            hint=f'pip install "ktx-context[{extra}]"',
        ) from error


def _file(connection_id: str, connection: SqliteConnection | DuckdbConnection, project_dir: Path) -> Path:
    """Find the database file: `path`, or `url` as `sqlite:///relative` or `sqlite:////absolute`."""
    if connection.path:
        return project_dir / Path(connection.path).expanduser()
    url = connection.url or ""
    scheme, separator, rest = url.partition("://")
    if separator and scheme in {connection.driver, "file"}:
        return project_dir / Path(rest.removeprefix("/")).expanduser()
    if url and not separator:
        return project_dir / Path(url.removeprefix("file:")).expanduser()
    if not url:
        raise ConfigError(
            f"`connections.{connection_id}` names no database file.", hint="Set `path`, relative to ktx.yaml."
        )
    raise ConfigError(
        f"`connections.{connection_id}.url` is no `{connection.driver}:///` address.",
        hint=f"Set `path`, relative to ktx.yaml, or `url: {connection.driver}:///file`.",
    )
