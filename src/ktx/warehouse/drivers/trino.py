"""Trino: several catalogs behind one address, described by the coordinator's own `system` catalog."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import trino
from requests.exceptions import RequestException
from trino.auth import BasicAuthentication
from trino.exceptions import HttpError, TrinoExternalError, TrinoQueryError

from ktx.catalog import CapabilityGap
from ktx.errors import KtxError
from ktx.warehouse import dbapi, failures
from ktx.warehouse.driver import Capabilities, CatalogReader, CatalogRecords, Driver
from ktx.warehouse.records import optional_records, records_of, scoped_statement
from ktx.warehouse.rows import Rows

_HIDDEN = ("system", "jmx", "tpch", "tpcds")
"""Catalogs that hold the server's own state or made-up data; naming one in `catalogs` shows it all the same."""

_CATALOGS = "SELECT catalog_name AS catalog_name FROM system.metadata.catalogs"
_TABLES = """
    SELECT table_cat AS catalog_name, table_schem AS schema_name, table_name AS table_name,
           CASE WHEN table_type = 'VIEW' THEN 'view' ELSE 'table' END AS kind, remarks AS comment,
           CAST(NULL AS BIGINT) AS row_count
    FROM system.jdbc.tables
    WHERE table_schem <> 'information_schema'
"""
_COLUMNS = """
    SELECT table_cat AS catalog_name, table_schem AS schema_name, table_name AS table_name,
           column_name AS column_name, ordinal_position AS ordinal, type_name AS native_type,
           nullable <> 0 AS is_nullable, remarks AS comment
    FROM system.jdbc.columns
    WHERE table_schem <> 'information_schema'
"""
_COMMENTS = """
    SELECT catalog_name AS catalog_name, schema_name AS schema_name, table_name AS table_name, comment AS comment
    FROM system.metadata.table_comments
    WHERE schema_name <> 'information_schema'
"""
_MATERIALIZED = """
    SELECT catalog_name AS catalog_name, schema_name AS schema_name, name AS table_name
    FROM system.metadata.materialized_views
    WHERE schema_name <> 'information_schema'
"""


class _Cursor(dbapi.Cursor, Protocol):
    def cancel(self) -> None: ...


class _Connection(Protocol):
    def cursor(self) -> _Cursor: ...

    def close(self) -> None: ...


_connect = cast("Callable[..., _Connection]", trino.dbapi.connect)  # pyright: ignore[reportUnknownMemberType]


def trino_driver(
    connection_id: str, settings: Mapping[str, object], *, password: str | None, catalogs: Sequence[str]
) -> Driver:
    """Describe a Trino cluster; `settings` are those of its client. Without `catalogs`, every one that is not built in."""
    if password is not None:
        settings = {**settings, "auth": BasicAuthentication(str(settings.get("user") or ""), password)}
    return Driver(
        name="trino",
        dialect="trino",
        open_session=lambda: TrinoSession(connection_id, settings, secrets=(password,) if password else ()),
        catalog=trino_reader(catalogs),
        capabilities=Capabilities(
            has_primary_keys=False,
            has_foreign_keys=False,
            has_row_estimates=False,
            is_read_only_session=False,
        ),
        text_type="VARCHAR",
    )


def trino_reader(catalogs: Sequence[str]) -> CatalogReader:
    """Give what reads the tables of some catalogs, or of all that are not built in."""

    def read(schemas: Sequence[str], run: Callable[[str], Rows]) -> CatalogRecords:
        names = list(catalogs)
        if not names:
            found = [str(record["catalog_name"]) for record in records_of(run(_CATALOGS))]
            names = sorted(set(found) - set(_HIDDEN))
        gaps: list[CapabilityGap] = []

        def statement(text: str, catalog_column: str, schema_column: str) -> str:
            kept = scoped_statement(text, dialect="trino", column=catalog_column, names=names)
            return scoped_statement(kept, dialect="trino", column=schema_column, names=schemas)

        comments = optional_records(
            "table comments", statement(_COMMENTS, "catalog_name", "schema_name"), run=run, gaps=gaps
        )
        materialized = optional_records(
            "materialised views", statement(_MATERIALIZED, "catalog_name", "schema_name"), run=run, gaps=gaps
        )
        comment_by_table = {_place(record): record["comment"] for record in comments}
        special = {_place(record) for record in materialized}
        tables = [
            {
                **record,
                "kind": "materialized_view" if _place(record) in special else record["kind"],
                "comment": record["comment"] or comment_by_table.get(_place(record)),
            }
            for record in records_of(run(statement(_TABLES, "table_cat", "table_schem")))
        ]
        columns = records_of(run(statement(_COLUMNS, "table_cat", "table_schem")))
        return CatalogRecords(tables=tables, columns=columns, gaps=tuple(gaps))

    return read


def _place(record: Mapping[str, object]) -> tuple[object, object, object]:
    return record["catalog_name"], record["schema_name"], record["table_name"]


class TrinoSession:
    """One client. Trino keeps no connection: each statement is a query of its own, with its own time limit."""

    def __init__(self, connection_id: str, settings: Mapping[str, object], *, secrets: Sequence[str]) -> None:
        self._connection_id = connection_id
        self._settings = settings
        self._secrets = tuple(secrets)
        self._is_cancelled = False
        self._running: _Cursor | None = None

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, max_rows: int | None, timeout_s: float
    ) -> Rows:
        """Run one statement; the coordinator stops it after `timeout_s`."""
        self._is_cancelled = False
        limit = f"{max(1, math.ceil(timeout_s))}s"
        try:
            connection = _connect(
                **{
                    "source": "ktx",
                    "request_timeout": max(30.0, timeout_s),
                    "max_attempts": 3,
                    **self._settings,
                },
                session_properties={"query_max_run_time": limit},
            )
            try:
                cursor = connection.cursor()
                self._running = cursor
                return dbapi.fetch(cursor, sql, parameters, max_rows=max_rows, type_name=str)
            finally:
                if self._running is not None and max_rows is not None:
                    self._running.cancel()
                self._running = None
                connection.close()
        except (trino.exceptions.Error, HttpError, RequestException) as error:
            raise self._failure(error, timeout_s) from None

    def cancel(self) -> None:
        """Stop the running query at the coordinator."""
        self._is_cancelled = True
        running = self._running
        if running is not None:
            try:
                running.cancel()
            except (trino.exceptions.Error, HttpError, RequestException) as error:
                raise failures.unreachable(self._connection_id, str(error), secrets=self._secrets) from None

    def close(self) -> None:
        """Do nothing: there is no connection that stays open."""

    def _failure(self, error: Exception, timeout_s: float) -> KtxError:
        name = self._connection_id
        if not isinstance(error, TrinoQueryError):
            return failures.unreachable(name, str(error), secrets=self._secrets)
        code, detail = str(error.error_name or ""), str(error.message or error)
        if code in {"EXCEEDED_TIME_LIMIT", "EXCEEDED_CPU_LIMIT"}:
            return failures.timed_out(name, timeout_s)
        if code == "USER_CANCELED" or self._is_cancelled:
            return failures.cancelled(name)
        if code in {
            "INVALID_CAST_ARGUMENT",
            "DIVISION_BY_ZERO",
            "NUMERIC_VALUE_OUT_OF_RANGE",
            "INVALID_FUNCTION_ARGUMENT",
        }:
            return failures.bad_value(name, detail)
        if isinstance(error, TrinoExternalError):
            return failures.unreachable(name, detail, secrets=self._secrets)
        return failures.rejected(name, detail)
