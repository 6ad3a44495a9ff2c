"""Databricks SQL: Unity Catalog's information_schema, a time limit set with the session."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import requests
from databricks import sql as databricks_sql  # pyright: ignore[reportMissingTypeStubs]
from databricks.sql import exc
from pydantic import BaseModel, ValidationError

from ktx.catalog import CapabilityGap
from ktx.errors import KtxError, WarehouseError
from ktx.warehouse import dbapi, failures
from ktx.warehouse.deadline import deadline
from ktx.warehouse.driver import Capabilities, CatalogReader, CatalogRecords, Driver
from ktx.warehouse.records import optional_records, records_of, scoped_statement
from ktx.warehouse.rows import Rows

_TABLES = """
    SELECT table_schema AS schema_name, table_name AS table_name,
           CASE table_type WHEN 'VIEW' THEN 'view' WHEN 'MATERIALIZED_VIEW' THEN 'materialized_view'
                WHEN 'METRIC_VIEW' THEN 'view' WHEN 'EXTERNAL' THEN 'external' WHEN 'FOREIGN' THEN 'external'
                ELSE 'table' END AS kind,
           comment AS comment, CAST(NULL AS BIGINT) AS row_count
    FROM information_schema.tables
    WHERE table_schema <> 'information_schema'
"""
_COLUMNS = """
    SELECT table_schema AS schema_name, table_name AS table_name, column_name AS column_name,
           ordinal_position AS ordinal, full_data_type AS native_type, is_nullable = 'YES' AS is_nullable,
           comment AS comment
    FROM information_schema.columns
    WHERE table_schema <> 'information_schema'
"""
_KEYS = """
    SELECT c.table_schema AS schema_name, c.table_name AS table_name, c.constraint_name AS constraint_name,
           CASE c.constraint_type WHEN 'PRIMARY KEY' THEN 'primary' ELSE 'unique' END AS kind,
           k.column_name AS column_name, k.ordinal_position AS ordinal
    FROM information_schema.table_constraints AS c
    JOIN information_schema.key_column_usage AS k
      ON k.constraint_schema = c.constraint_schema AND k.constraint_name = c.constraint_name
     AND k.table_name = c.table_name
    WHERE c.constraint_type IN ('PRIMARY KEY', 'UNIQUE')
"""
_FOREIGN_KEYS = """
    SELECT k.table_schema AS schema_name, k.table_name AS table_name, k.constraint_name AS constraint_name,
           k.column_name AS column_name, k.ordinal_position AS ordinal,
           t.table_schema AS target_schema, t.table_name AS target_table, t.column_name AS target_column
    FROM information_schema.referential_constraints AS r
    JOIN information_schema.key_column_usage AS k
      ON k.constraint_schema = r.constraint_schema AND k.constraint_name = r.constraint_name
    JOIN information_schema.key_column_usage AS t
      ON t.constraint_schema = r.unique_constraint_schema AND t.constraint_name = r.unique_constraint_name
     AND t.ordinal_position = k.position_in_unique_constraint
"""


class _Cursor(dbapi.Cursor, Protocol):
    def cancel(self) -> None: ...


class _Connection(Protocol):
    def cursor(self) -> _Cursor: ...

    def close(self) -> None: ...


_connect = cast("Callable[..., _Connection]", databricks_sql.connect)  # pyright: ignore[reportUnknownMemberType]
Headers = Callable[[], Mapping[str, str]]
"""Gives the headers that log a request in."""


def databricks_driver(
    connection_id: str, settings: Mapping[str, object], *, catalog: str | None, headers: Headers | None = None
) -> Driver:
    """Describe one catalog of a Databricks workspace; `settings` are those of the vendor's connector.

    `headers` logs in a service principal; without it, `settings` hold a token.
    """
    return Driver(
        name="databricks",
        dialect="databricks",
        open_session=lambda: DatabricksSession(connection_id, settings, headers=headers),
        catalog=databricks_reader(catalog),
        capabilities=Capabilities(has_row_estimates=False, is_read_only_session=False),
        text_type="STRING",
    )


def databricks_reader(catalog: str | None) -> CatalogReader:
    """Give what reads one catalog, or the session's own."""

    def read(schemas: Sequence[str], run: Callable[[str], Rows]) -> CatalogRecords:
        gaps: list[CapabilityGap] = []

        def statement(text: str, column: str) -> str:
            return scoped_statement(text, dialect="databricks", catalog=catalog, column=column, names=schemas)

        return CatalogRecords(
            tables=records_of(run(statement(_TABLES, "table_schema"))),
            columns=records_of(run(statement(_COLUMNS, "table_schema"))),
            keys=optional_records(
                "declared primary and unique keys", statement(_KEYS, "c.table_schema"), run=run, gaps=gaps
            ),
            foreign_keys=optional_records(
                "declared foreign keys", statement(_FOREIGN_KEYS, "k.table_schema"), run=run, gaps=gaps
            ),
            gaps=tuple(gaps),
        )

    return read


class DatabricksSession:
    """One session of a SQL warehouse."""

    def __init__(
        self, connection_id: str, settings: Mapping[str, object], *, headers: Headers | None
    ) -> None:
        self._connection_id = connection_id
        self._settings = settings
        self._headers = headers
        self._secrets = tuple(str(settings[key]) for key in ("access_token",) if settings.get(key))
        self._is_cancelled = False
        self._timeout_s = 0
        self._running: _Cursor | None = None
        self._connection = self._open()

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, max_rows: int | None, timeout_s: float
    ) -> Rows:
        """Run one statement and cancel it after `timeout_s`; the session's own limit stands behind that."""
        self._is_cancelled = False
        cursor = self._connection.cursor()
        self._running = cursor
        with deadline(timeout_s, cursor.cancel) as limit:
            try:
                self._limit_time(cursor, timeout_s)
                rows = dbapi.fetch(cursor, sql, parameters, max_rows=max_rows, type_name=str)
            except exc.Error as error:
                raise self._failure(error, is_over=limit.is_over, timeout_s=timeout_s) from None
            finally:
                self._running = None
                cursor.close()
        return rows

    def cancel(self) -> None:
        """Stop the running statement."""
        self._is_cancelled = True
        running = self._running
        if running is not None:
            running.cancel()

    def close(self) -> None:
        """Close the session."""
        self._connection.close()

    def _open(self) -> _Connection:
        settings = dict(self._settings)
        if self._headers is not None:
            settings["credentials_provider"] = lambda: self._headers
        try:
            return _connect(**settings, user_agent_entry="ktx", session_configuration={"ANSI_MODE": "true"})
        except (exc.Error, requests.RequestException, ValueError, RuntimeError) as error:
            raise failures.unreachable(self._connection_id, str(error), secrets=self._secrets) from None

    def _limit_time(self, cursor: _Cursor, timeout_s: float) -> None:
        wanted = max(1, math.ceil(timeout_s)) + 5
        if wanted != self._timeout_s:
            cursor.execute(f"SET STATEMENT_TIMEOUT = {wanted}")
            self._timeout_s = wanted

    def _failure(self, error: exc.Error, *, is_over: bool, timeout_s: float) -> KtxError:
        name, detail = self._connection_id, failures.without_secrets(str(error), self._secrets)
        if is_over:
            return failures.timed_out(name, timeout_s)
        if self._is_cancelled:
            return failures.cancelled(name)
        if isinstance(error, exc.RequestError | exc.OperationalError) and "[" not in detail:
            return failures.unreachable(name, detail, secrets=self._secrets)
        if any(mark in detail for mark in _DATA_ERRORS):
            return failures.bad_value(name, detail)
        return failures.rejected(name, detail)


class ServicePrincipal:
    """Headers of a service principal: a token from the workspace's own token endpoint, renewed before it ends.

    OAuth machine-to-machine, as Databricks documents it: client credentials, scope `all-apis`.
    """

    def __init__(
        self,
        connection_id: str,
        host: str,
        *,
        client_id: str,
        secret: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection_id = connection_id
        self._url = f"{host if '://' in host else 'https://' + host}/oidc/v1/token"
        self._login = (client_id, secret)
        self._clock = clock
        self._token = ""
        self._until = 0.0

    def __call__(self) -> Mapping[str, str]:
        """Give the headers; a token that ends within a minute is renewed first.

        Raises:
            WarehouseError: the workspace gives no token.
        """
        if self._clock() > self._until - 60:
            self._renew()
        return {"Authorization": f"Bearer {self._token}"}

    def _renew(self) -> None:
        form = {"grant_type": "client_credentials", "scope": "all-apis"}
        try:
            answer = requests.post(self._url, data=form, auth=self._login, timeout=30, allow_redirects=False)
            answer.raise_for_status()
            found = _Token.model_validate_json(answer.content)
        except (requests.RequestException, ValidationError) as error:
            reason = failures.without_secrets(failures.first_line(str(error)), self._login[1:])
            raise WarehouseError(
                f"`{self._connection_id}`: the service principal gets no token: {reason}",
                hint="Check `client_id` and `client_secret`, and that the principal may use this workspace.",
            ) from None
        self._token, self._until = found.access_token, self._clock() + found.expires_in


class _Token(BaseModel):
    access_token: str
    expires_in: float


_DATA_ERRORS = ("[CAST_INVALID_INPUT]", "[DIVIDE_BY_ZERO]", "[ARITHMETIC_OVERFLOW]", "[NUMERIC_VALUE_OUT_OF_RANGE]",
                "[CAST_OVERFLOW]", "[CANNOT_PARSE_TIMESTAMP]", "[INVALID_ARRAY_INDEX]")  # fmt: skip
"""Error classes of data that does not fit an expression; their texts quote the data."""
