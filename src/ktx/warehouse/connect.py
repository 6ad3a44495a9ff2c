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
        case RedshiftConnection():
            with _extra("redshift", driver="redshift", vendors=("psycopg", "psycopg_binary")):
                from ktx.warehouse.drivers.redshift import redshift_driver
            return redshift_driver(
                connection_id,
                url=_secret(connection.url, project_dir),
                settings=_libpq_settings(connection, project_dir),
            )
        case ClickhouseConnection():
            with _extra("clickhouse", driver="clickhouse", vendors=("clickhouse_connect",)):
                from ktx.warehouse.drivers.clickhouse import clickhouse_driver
            return clickhouse_driver(
                connection_id, _clickhouse_settings(connection_id, connection, project_dir)
            )
        case SnowflakeConnection():
            with _extra("snowflake", driver="snowflake", vendors=("snowflake",)):
                from ktx.warehouse.drivers.snowflake import snowflake_driver
            return snowflake_driver(
                connection_id, _snowflake_settings(connection_id, connection, project_dir)
            )
        case BigqueryConnection():
            with _extra("bigquery", driver="bigquery", vendors=("google",)):
                from ktx.warehouse.drivers.bigquery import BigquerySettings, bigquery_driver
            settings = BigquerySettings(
                project=connection.project,
                credentials=_secret(connection.credentials_json, project_dir),
                location=connection.location,
                max_bytes_billed=connection.max_bytes_billed,
                job_timeout_ms=connection.job_timeout_ms,
            )
            return bigquery_driver(connection_id, settings)
        case SqlserverConnection():
            with _extra("sqlserver", driver="sqlserver", vendors=("pymssql",)):
                from ktx.warehouse.drivers.sqlserver import sqlserver_driver
            return sqlserver_driver(
                connection_id, _sqlserver_settings(connection_id, connection, project_dir)
            )
        case TrinoConnection():
            with _extra("trino", driver="trino", vendors=("trino", "requests")):
                from ktx.warehouse.drivers.trino import trino_driver
            address = _server_address(connection_id, connection, project_dir)
            return trino_driver(
                connection_id,
                _trino_settings(connection_id, connection, address),
                password=address.password,
                catalogs=connection.catalogs or tuple(filter(None, [_path_part(address.database, 0)])),
            )
        case DatabricksConnection():
            with _extra("databricks", driver="databricks", vendors=("databricks", "requests")):
                from ktx.warehouse.drivers.databricks import ServicePrincipal, databricks_driver
            host = connection.host.removeprefix("https://").rstrip("/")
            token = _secret(connection.token, project_dir)
            headers = None
            if token is None:
                client_id, secret = _databricks_principal(connection_id, connection, project_dir)
                headers = ServicePrincipal(connection_id, host, client_id=client_id, secret=secret)
            return databricks_driver(
                connection_id,
                _databricks_settings(connection, host, token),
                catalog=connection.catalog,
                headers=headers,
            )
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


def _schemas(connection_id: str, connection: WarehouseConnection, project_dir: Path) -> tuple[str, ...]:
    """Give the schemas in scope: where a schema is a database, the one that the connection names is the default."""
    if isinstance(connection, BigqueryConnection) and connection.project:
        own = f"{connection.project}."
        return tuple(name.removeprefix(own) for name in connection.schemas)
    if isinstance(connection, TrinoConnection) and not connection.schemas:
        schema = _path_part(_server_address(connection_id, connection, project_dir).database, 1)
        return (schema,) if schema else ()
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


def _host(connection_id: str, address: _ServerAddress) -> str:
    if address.host is None:
        raise ConfigError(
            f"`connections.{connection_id}` names no server.", hint="Set `url`, or `host` and `database`."
        )
    return address.host


def _path_part(path: str | None, index: int) -> str | None:
    """Give one step of `catalog/schema`, as the path of an address has it."""
    parts = [part for part in (path or "").split("/") if part]
    return parts[index] if index < len(parts) else None


def _clickhouse_settings(
    connection_id: str, connection: ClickhouseConnection, project_dir: Path
) -> dict[str, object]:
    address = _server_address(connection_id, connection, project_dir)
    host = _host(connection_id, address)
    scheme = (_secret(connection.url, project_dir) or "").partition("://")[0]
    is_secure = connection.ssl or scheme in {"https", "clickhouses"} or address.port in {443, 8443}
    settings: dict[str, object] = {
        "host": host,
        "port": address.port or (8443 if is_secure else 8123),
        "secure": is_secure,
        "username": address.user,
        "password": address.password or "",
        "send_receive_timeout": connection.query_timeout_ms // 1000 + 10,
    }
    database = address.database or next(iter(connection.schemas), None)
    return {**settings, "database": database} if database else settings


def _snowflake_settings(
    connection_id: str, connection: SnowflakeConnection, project_dir: Path
) -> dict[str, object]:
    settings: dict[str, object] = {
        "account": connection.account,
        "user": connection.username,
        "warehouse": connection.warehouse,
        "database": connection.database,
        "role": connection.role,
    }
    place = f"`connections.{connection_id}`"
    if connection.database is None:
        raise ConfigError(f"{place} names no database.", hint="Set `database`.")
    if connection.auth_method == "password":
        password = _secret(connection.password, project_dir)
        if password is None:
            raise ConfigError(f"{place} has no password.", hint="Set `password`, best as `env:NAME`.")
        settings["password"] = password
    else:
        key = _secret(connection.private_key, project_dir)
        if key is None:
            raise ConfigError(f"{place} has no private key.", hint="Set `privateKey`, best as `file:path`.")
        settings["authenticator"] = "SNOWFLAKE_JWT"
        settings["private_key_text"] = key
        settings["passphrase"] = _secret(connection.passphrase, project_dir)
    return {key: value for key, value in settings.items() if value is not None}


def _sqlserver_settings(
    connection_id: str, connection: SqlserverConnection, project_dir: Path
) -> dict[str, object]:
    address = _server_address(connection_id, connection, project_dir)
    host = _host(connection_id, address)
    if not connection.trust_server_certificate:
        raise ConfigError(
            f"`connections.{connection_id}`: the client library of `sqlserver` cannot verify a server's certificate.",
            hint="Set `trustServerCertificate: true` to encrypt without verifying, or use `driver: sqlalchemy` "
            "with `mssql+pyodbc://…`, which verifies.",
        )
    return {
        "server": host,
        "port": str(address.port or 1433),
        "user": address.user,
        "password": address.password or "",
        "database": address.database or "",
    }


def _trino_settings(
    connection_id: str, connection: TrinoConnection, address: _ServerAddress
) -> dict[str, object]:
    host = _host(connection_id, address)
    is_secure = connection.ssl or address.password is not None or address.port in {443, 8443}
    settings: dict[str, object] = {
        "host": host,
        "port": address.port or (443 if is_secure else 8080),
        "http_scheme": "https" if is_secure else "http",
        "user": address.user or "ktx",
    }
    catalog = next(iter(connection.catalogs), None) or _path_part(address.database, 0)
    schema = next(iter(connection.schemas), None) or _path_part(address.database, 1)
    chosen = {"catalog": catalog, "schema": schema if catalog else None}
    return {**settings, **{key: value for key, value in chosen.items() if value}}


def _databricks_settings(connection: DatabricksConnection, host: str, token: str | None) -> dict[str, object]:
    settings: dict[str, object] = {"server_hostname": host, "http_path": connection.http_path}
    if token is not None:
        settings["access_token"] = token
    if connection.catalog is not None:
        settings["catalog"] = connection.catalog
    return settings


def _databricks_principal(
    connection_id: str, connection: DatabricksConnection, project_dir: Path
) -> tuple[str, str]:
    secret = _secret(connection.client_secret, project_dir)
    if connection.client_id is None or secret is None:
        raise ConfigError(
            f"`connections.{connection_id}` has no credentials.",
            hint="Set `token`, or `client_id` and `client_secret` of a service principal, best as `env:NAME`.",
        )
    return connection.client_id, secret


def _mysql_settings(connection_id: str, connection: MysqlConnection, project_dir: Path) -> dict[str, object]:
    address = _server_address(connection_id, connection, project_dir)
    host = _host(connection_id, address)
    settings: dict[str, object] = {
        "host": host,
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
