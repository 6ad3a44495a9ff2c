"""Snowflake: one database's INFORMATION_SCHEMA, keys by SHOW, a time limit and a tag on every statement."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import snowflake.connector
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from snowflake.connector import errors
from sqlglot import exp, parse_one

from ktx.catalog import CapabilityGap
from ktx.errors import ConfigError, KtxError
from ktx.warehouse import dbapi, failures
from ktx.warehouse.driver import Capabilities, CatalogRecords, Driver
from ktx.warehouse.history import HistoryReader
from ktx.warehouse.records import Record, optional_records, records_of, scoped_statement
from ktx.warehouse.rows import Rows

_TABLES = """
    SELECT table_schema AS schema_name, table_name AS table_name,
           CASE table_type WHEN 'VIEW' THEN 'view' WHEN 'MATERIALIZED VIEW' THEN 'materialized_view'
                WHEN 'EXTERNAL TABLE' THEN 'external' ELSE 'table' END AS kind,
           comment AS comment, row_count AS row_count
    FROM information_schema.tables
    WHERE table_schema <> 'INFORMATION_SCHEMA'
"""
_COLUMNS = """
    SELECT table_schema AS schema_name, table_name AS table_name, column_name AS column_name,
           ordinal_position AS ordinal,
           CASE WHEN data_type = 'NUMBER' THEN 'NUMBER(' || numeric_precision || ',' || numeric_scale || ')'
                WHEN data_type = 'TEXT' THEN 'VARCHAR(' || character_maximum_length || ')'
                ELSE data_type END AS native_type,
           is_nullable = 'YES' AS is_nullable, comment AS comment
    FROM information_schema.columns
    WHERE table_schema <> 'INFORMATION_SCHEMA'
"""
_SHOWN = {
    "primary": ("declared primary keys", "SHOW PRIMARY KEYS"),
    "unique": ("declared unique keys", "SHOW UNIQUE KEYS"),
    "foreign": ("declared foreign keys", "SHOW IMPORTED KEYS"),
}
"""INFORMATION_SCHEMA names the constraints but not their columns; SHOW does, for one schema or a whole database."""
_SHOW_LIMIT = 10_000
"""SHOW gives at most so many rows and does not say that there were more."""
_TIMED_OUT, _CANCELLED = 630, 604
_LOST = frozenset({250001, 250003, 251001, 390114, 390195, 390318})

_HISTORY = """
    SELECT MIN(query_text) AS sql, COUNT(*) AS executions, user_name AS user_name, schema_name AS schema_name,
           COUNT_IF(error_code IS NOT NULL) AS errors, MIN(start_time) AS first_seen, MAX(start_time) AS last_seen
    FROM snowflake.account_usage.query_history
    WHERE query_type = 'SELECT' AND database_name = CURRENT_DATABASE() AND query_tag <> 'ktx'
    GROUP BY query_parameterized_hash, user_name, schema_name
    ORDER BY executions DESC
    LIMIT 20000
"""
"""Statements that differ in their literals only are one row already; `MOST_QUERIES` of them are read."""


def history_statement(days: int) -> str:
    """Give the statement for the past queries of so many days, ktx's own left out by their tag."""
    tree = parse_one(_HISTORY, read="snowflake").assert_is(exp.Select)
    since = f"start_time >= DATEADD(DAY, -{int(days)}, CURRENT_TIMESTAMP())"
    return tree.where(since, dialect="snowflake").sql(dialect="snowflake")


_connect = cast("Callable[..., dbapi.Connection]", snowflake.connector.connect)


def snowflake_driver(connection_id: str, settings: Mapping[str, object]) -> Driver:
    """Describe a Snowflake database; `settings` are those of the vendor's connector.

    Of a key pair, `private_key_text` is the PEM text and `passphrase` opens it.

    Raises:
        ConfigError: the private key cannot be read.
    """
    settings = dict(settings)
    text, passphrase = settings.pop("private_key_text", None), settings.pop("passphrase", None)
    if text is not None:
        settings["private_key"] = _private_key(connection_id, str(text), cast("str | None", passphrase))
    return Driver(
        name="snowflake",
        dialect="snowflake",
        open_session=lambda: SnowflakeSession(connection_id, settings),
        catalog=read_snowflake,
        capabilities=Capabilities(is_read_only_session=False),
        text_type="VARCHAR",
        history=HistoryReader(
            statement=history_statement,
            advice="Grant the role IMPORTED PRIVILEGES on the database SNOWFLAKE.",
            has_window=True,
        ),
    )


def _private_key(connection_id: str, text: str, passphrase: str | None) -> bytes:
    """Give a PEM key as the unencrypted DER bytes that the connector takes."""
    try:
        key = serialization.load_pem_private_key(text.encode(), passphrase.encode() if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(
            f"`connections.{connection_id}.privateKey` is no PEM text of a private key, or `passphrase` does not open it.",
            hint="Point `privateKey` with `file:` to the .p8 file, and set `passphrase` when it is encrypted.",
        ) from None
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_snowflake(schemas: Sequence[str], run: Callable[[str], Rows]) -> CatalogRecords:
    """Read the catalog of the connection's database: two queries, and three SHOWs for each schema in scope or for all."""
    gaps: list[CapabilityGap] = []
    shown: dict[str, list[Record]] = {kind: [] for kind in _SHOWN}
    for kind, (what, statement) in _SHOWN.items():
        for place in [f"SCHEMA {_quoted(schema)}" for schema in schemas] or ["DATABASE"]:
            found = optional_records(what, f"{statement} IN {place}", run=run, gaps=gaps)
            if len(found) >= _SHOW_LIMIT:
                reason = f"Snowflake shows the first {_SHOW_LIMIT:,} columns of them only; name `schemas` to see more"
                gaps.append(CapabilityGap(what=what, reason=reason))
            shown[kind].extend(found)
    return CatalogRecords(
        tables=records_of(run(_statement(_TABLES, schemas))),
        columns=records_of(run(_statement(_COLUMNS, schemas))),
        keys=[_key(record, kind) for kind in ("primary", "unique") for record in shown[kind]],
        foreign_keys=[_foreign_key(record) for record in shown["foreign"]],
        gaps=tuple(dict.fromkeys(gaps)),
    )


def _statement(statement: str, schemas: Sequence[str]) -> str:
    return scoped_statement(statement, dialect="snowflake", column="table_schema", names=schemas)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _key(record: Record, kind: str) -> Record:
    return {
        "schema_name": record["schema_name"],
        "table_name": record["table_name"],
        "constraint_name": record["constraint_name"],
        "kind": kind,
        "column_name": record["column_name"],
        "ordinal": record["key_sequence"],
    }


def _foreign_key(record: Record) -> Record:
    return {
        "schema_name": record["fk_schema_name"],
        "table_name": record["fk_table_name"],
        "constraint_name": record["fk_name"],
        "column_name": record["fk_column_name"],
        "ordinal": record["key_sequence"],
        "target_schema": record["pk_schema_name"],
        "target_table": record["pk_table_name"],
        "target_column": record["pk_column_name"],
    }


class SnowflakeSession:
    """One connection; the connector sends one statement at a time."""

    def __init__(self, connection_id: str, settings: Mapping[str, object]) -> None:
        self._connection_id = connection_id
        self._settings = settings
        hidden = ("password", "private_key_passphrase")
        self._secrets = tuple(str(settings[key]) for key in hidden if settings.get(key))
        self._timeout_s = 0
        self._is_cancelled = False
        self._connection = self._open()
        self._session_id = str(self._fetch("SELECT CURRENT_SESSION()", (), max_rows=1).rows[0][0])

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, max_rows: int | None, timeout_s: float
    ) -> Rows:
        """Run one statement; Snowflake itself stops it after `timeout_s`."""
        self._is_cancelled = False
        try:
            self._limit_time(max(1, math.ceil(timeout_s)))
            return self._fetch(sql, parameters, max_rows=max_rows)
        except errors.Error as error:
            raise self._failure(error, timeout_s) from None

    def cancel(self) -> None:
        """Stop what this session runs, over a connection of its own."""
        self._is_cancelled = True
        helper = self._open()
        try:
            helper.cursor().execute(f"SELECT SYSTEM$CANCEL_ALL_QUERIES({int(self._session_id)})")
        except errors.Error as error:
            raise self._failure(error, 0) from None
        finally:
            helper.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _open(self) -> dbapi.Connection:
        try:
            return _connect(
                **{"login_timeout": 30, "application": "ktx", **self._settings},
                session_parameters={"QUERY_TAG": "ktx", "ABORT_DETACHED_QUERY": True},
            )
        except errors.Error as error:
            raise failures.unreachable(self._connection_id, str(error), secrets=self._secrets) from None

    def _limit_time(self, timeout_s: int) -> None:
        if timeout_s != self._timeout_s:
            self._fetch(f"ALTER SESSION SET STATEMENT_TIMEOUT_IN_SECONDS = {timeout_s}", (), max_rows=1)
            self._timeout_s = timeout_s

    def _fetch(self, sql: str, parameters: Sequence[object], *, max_rows: int | None) -> Rows:
        cursor = self._connection.cursor()
        try:
            return dbapi.fetch(cursor, sql, parameters, max_rows=max_rows, type_name=_type_name)
        finally:
            cursor.close()

    def _failure(self, error: errors.Error, timeout_s: float) -> KtxError:
        name = self._connection_id
        detail = failures.without_secrets(str(error.raw_msg or error), self._secrets)
        if error.errno == _TIMED_OUT:
            return failures.timed_out(name, timeout_s)
        if error.errno == _CANCELLED or self._is_cancelled:
            return failures.cancelled(name)
        if error.errno in _LOST or isinstance(error, errors.InterfaceError | errors.OperationalError):
            return failures.unreachable(name, detail, secrets=self._secrets)
        if (error.sqlstate or "").startswith("22"):
            return failures.bad_value(name, detail)
        return failures.rejected(name, detail)


_TYPES = (
    "NUMBER", "FLOAT", "VARCHAR", "DATE", "TIMESTAMP", "VARIANT", "TIMESTAMP_LTZ", "TIMESTAMP_TZ", "TIMESTAMP_NTZ",
    "OBJECT", "ARRAY", "BINARY", "TIME", "BOOLEAN", "GEOGRAPHY", "GEOMETRY", "VECTOR",
)  # fmt: skip
"""By the connector's type numbers."""


def _type_name(code: object) -> str | None:
    return _TYPES[code] if isinstance(code, int) and 0 <= code < len(_TYPES) else None
