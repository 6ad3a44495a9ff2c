"""From a connection of ktx.yaml to an open warehouse: the one dispatch."""

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, assert_never
from urllib.parse import unquote, urlsplit

from ktx.config.connections import (
    BigqueryConnection,
    ClickhouseConnection,
    DatabricksConnection,
    DuckdbConnection,
    MysqlConnection,
    PostgresConnection,
    PostgresFields,
    RedshiftConnection,
    SnowflakeConnection,
    SqlalchemyConnection,
    SqliteConnection,
    SqlserverConnection,
    TlsOptions,
    TrinoConnection,
    WarehouseConnection,
)
from ktx.config.secrets import SecretRef
from ktx.errors import ConfigError
from ktx.warehouse.driver import Driver
from ktx.warehouse.introspect import Scope
from ktx.warehouse.warehouse import Warehouse

_Server: TypeAlias = MysqlConnection | ClickhouseConnection | SqlserverConnection | TrinoConnection


def open_warehouse(connection_id: str, connection: WarehouseConnection, project_dir: Path) -> Warehouse:
    """Build the warehouse of a connection; sessions are opened when they are first needed.

    Raises:
        ConfigError: a setting or secret is missing, or the driver's package is not installed.
    """
    return Warehouse(
        connection_id,
        _driver(connection_id, connection, project_dir),
        scope=Scope(
            schemas=_schemas(connection_id, connection, project_dir), enabled_tables=connection.enabled_tables
        ),
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
        case PostgresConnection():
            with _extra("postgres", driver="postgres", vendors=("psycopg", "psycopg_binary")):
                from ktx.warehouse.drivers.postgres import postgres_driver
            return postgres_driver(
                connection_id,
                url=_secret(connection.url, project_dir),
                settings=_libpq_settings(connection, project_dir),
            )
        case MysqlConnection():
            with _extra("mysql", driver="mysql", vendors=("pymysql",)):
                from ktx.warehouse.drivers.mysql import mysql_driver
            return mysql_driver(connection_id, _mysql_settings(connection_id, connection, project_dir))
        case SqlalchemyConnection():
            with _extra("sqlalchemy", driver="sqlalchemy", vendors=("sqlalchemy",)):
                from ktx.warehouse.drivers.sqlalchemy import sqlalchemy_driver
            url = SecretRef.parse(connection.url).reveal(project_dir)
            return sqlalchemy_driver(connection_id, url=url, dialect=connection.dialect)
        case (
            SqlserverConnection()
            | SnowflakeConnection()
            | BigqueryConnection()
            | ClickhouseConnection()
            | RedshiftConnection()
            | DatabricksConnection()
            | TrinoConnection()
        ):
            raise _only_through_sqlalchemy(connection_id, connection.driver)
        case _:
            assert_never(connection)


_THROUGH_SQLALCHEMY = {
    "sqlserver": ("pymssql", "mssql+pymssql://user:password@host:1433/database"),
    "snowflake": (
        "snowflake-sqlalchemy",
        "snowflake://user:password@account/database?warehouse=name&role=name",
    ),
    "bigquery": ("sqlalchemy-bigquery", "bigquery://project/dataset"),
    "clickhouse": ("clickhouse-connect", "clickhousedb://user:password@host:8443/database?secure=true"),
    "redshift": (
        "sqlalchemy-redshift redshift-connector",
        "redshift+redshift_connector://user:password@host:5439/database",
    ),
    "databricks": ("databricks-sqlalchemy", "databricks://token:password@host?http_path=path&catalog=name"),
    "trino": ("'trino[sqlalchemy]'", "trino://user:password@host:443/catalog"),
}
"""Packages and address forms of the databases that have no driver of their own here yet."""


def _only_through_sqlalchemy(connection_id: str, driver: str) -> ConfigError:
    package, address = _THROUGH_SQLALCHEMY[driver]
    return ConfigError(
        f"`connections.{connection_id}`: this ktx reaches `{driver}` only through SQLAlchemy.",
        hint=f"Set `driver: sqlalchemy` and `url: {address}` (best as `env:NAME`), and run "
        f'pip install "ktx-context[sqlalchemy]" {package}',
    )


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


def _schemas(connection_id: str, connection: WarehouseConnection, project_dir: Path) -> tuple[str, ...]:
    """Give the schemas in scope: where a schema is a database, the one that the connection names is the default."""
    if connection.schemas or not isinstance(connection, MysqlConnection | ClickhouseConnection):
        return connection.schemas
    database = _server_address(connection_id, connection, project_dir).database
    return (database,) if database else ()


def _secret(reference: str | None, project_dir: Path) -> str | None:
    return None if reference is None else SecretRef.parse(reference).reveal(project_dir)


def _libpq_settings(connection: PostgresFields, project_dir: Path) -> dict[str, str | int | None]:
    return {
        "host": connection.host,
        "port": connection.port,
        "dbname": connection.database,
        "user": connection.user,
        "password": _secret(connection.password, project_dir),
        "sslmode": _sslmode(connection),
    }


def _sslmode(connection: PostgresFields) -> str | None:
    """Give TLS in libpq's words; a demand to verify the certificate is never weakened."""
    if connection.sslmode is not None:
        return connection.sslmode
    wanted = connection.ssl
    must_verify = connection.reject_unauthorized
    if isinstance(wanted, TlsOptions):
        must_verify = wanted.reject_unauthorized
    if must_verify:
        return "verify-full"
    if wanted is None and must_verify is None:
        return None
    return "disable" if wanted is False else "require"


@dataclass(frozen=True, kw_only=True)
class _ServerAddress:
    """Where a server is and who logs in, from `url` completed by the other keys."""

    host: str | None = None
    port: int | None = None
    database: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def _server_address(connection_id: str, connection: _Server, project_dir: Path) -> _ServerAddress:
    url = _secret(connection.url, project_dir)
    given = _ServerAddress() if url is None else _split_address(connection_id, connection.driver, url)
    return _ServerAddress(
        host=connection.host or given.host,
        port=connection.port or given.port,
        database=connection.database or given.database,
        user=connection.user or given.user,
        password=_secret(connection.password, project_dir) or given.password,
    )


def _split_address(connection_id: str, driver: str, url: str) -> _ServerAddress:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = None, None
    if parts is None or not parts.scheme or not parts.hostname:
        raise ConfigError(
            f"`connections.{connection_id}.url` is no address of a server.",
            hint=f"Write `{driver}://user:password@host/database`, best as `env:NAME`.",
        )
    return _ServerAddress(
        host=parts.hostname,
        port=port,
        database=unquote(parts.path.strip("/")) or None,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def _mysql_settings(connection_id: str, connection: MysqlConnection, project_dir: Path) -> dict[str, object]:
    address = _server_address(connection_id, connection, project_dir)
    if address.host is None:
        raise ConfigError(
            f"`connections.{connection_id}` names no server.", hint="Set `url`, or `host` and `database`."
        )
    settings: dict[str, object] = {
        "host": address.host,
        "port": address.port or 3306,
        "user": address.user,
        "password": address.password or "",
        "database": address.database,
    }
    match connection.ssl:
        case TlsOptions(reject_unauthorized=must_verify):
            settings.update(_mysql_tls(must_verify=must_verify))
        case True:
            settings.update(_mysql_tls(must_verify=True))
        case False:
            settings["ssl_disabled"] = True
        case None:
            pass
    return settings


def _mysql_tls(*, must_verify: bool) -> dict[str, object]:
    context = ssl.create_default_context()
    if not must_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return {"ssl": context}
