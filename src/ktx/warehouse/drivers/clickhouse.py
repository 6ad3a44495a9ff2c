"""ClickHouse over HTTP: every request carries its own read-only mode, time limit, and the settings of standard SQL."""

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from ktx.errors import KtxError, WarehouseError
from ktx.warehouse import failures
from ktx.warehouse.driver import Capabilities, CatalogQueries, Driver
from ktx.warehouse.rows import Rows, make_rows

STANDARD_SQL: Mapping[str, str] = {
    "join_use_nulls": "1",
    "aggregate_functions_null_for_empty": "1",
    "cast_keep_nullable": "1",
    "union_default_mode": "DISTINCT",
    "prefer_column_name_to_alias": "1",
}
"""Without them a row without a partner has zeros, the least value of no rows is 0, and an alias hides a column."""

_TIMED_OUT, _CANCELLED, _READ_ONLY = 159, 394, 164
_CODES_OF_VALUES = frozenset({6, 27, 38, 41, 53, 69, 70, 72, 131, 153, 321, 349, 395, 407})
"""Error codes of data that does not fit an expression; their texts may quote the data."""

_CATALOG = CatalogQueries(
    tables="""
        SELECT database AS schema_name, name AS table_name,
               CASE WHEN engine = 'View' THEN 'view' WHEN engine = 'MaterializedView' THEN 'materialized_view'
                    WHEN engine IN ('S3', 'S3Queue', 'URL', 'File', 'HDFS', 'MySQL', 'PostgreSQL', 'MongoDB', 'SQLite',
                                    'ODBC', 'JDBC', 'Kafka', 'RabbitMQ', 'NATS', 'AzureBlobStorage', 'Iceberg',
                                    'DeltaLake', 'Hudi', 'Redis', 'Hive') THEN 'external'
                    ELSE 'table' END AS kind,
               comment, total_rows AS row_count
        FROM system.tables
        WHERE database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema') AND is_temporary = 0
          AND engine <> 'Dictionary' AND name NOT LIKE '.inner%'
    """,
    columns="""
        SELECT database AS schema_name, table AS table_name, name AS column_name, position AS ordinal,
               type AS native_type,
               type LIKE 'Nullable(%' OR type LIKE 'LowCardinality(Nullable(%' AS is_nullable, comment
        FROM system.columns
        WHERE database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema') AND table NOT LIKE '.inner%'
    """,
)
"""A schema is a database here. `is_in_primary_key` is left alone: a sort key finds rows, it does not tell them apart."""


class Answer(Protocol):
    """What the client gives for a query."""

    @property
    def column_names(self) -> Sequence[str]:
        """Names, in order."""
        ...

    @property
    def column_types(self) -> Sequence[object]:
        """Types, each with a `name`."""
        ...

    @property
    def result_rows(self) -> Sequence[Sequence[object]]:
        """Rows, in order."""
        ...


class Client(Protocol):
    """The part of the vendor's client that is used here."""

    def query(self, query: str, *, settings: Mapping[str, object]) -> Answer:
        """Run one query."""
        ...

    def command(self, cmd: str) -> object:
        """Run a command."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


_get_client = cast("Callable[..., Client]", clickhouse_connect.get_client)  # pyright: ignore[reportUnknownMemberType]


def clickhouse_driver(connection_id: str, settings: Mapping[str, object]) -> Driver:
    """Describe a ClickHouse server; `settings` are those of clickhouse-connect."""
    secrets = tuple(str(settings[key]) for key in ("password",) if settings.get(key))

    def connect() -> Client:
        return _get_client(
            **{"connect_timeout": 15, "client_name": "ktx", **settings},
            autogenerate_session_id=False,
            query_limit=0,
        )

    return clickhouse_driver_of(connection_id, connect, secrets=secrets)


def clickhouse_driver_of(
    connection_id: str, connect: Callable[[], Client], *, secrets: Sequence[str] = ()
) -> Driver:
    """Describe the ClickHouse that clients of `connect` reach."""
    return Driver(
        name="clickhouse",
        dialect="clickhouse",
        open_session=lambda: ClickhouseSession(connection_id, connect, secrets=secrets),
        catalog=_CATALOG,
        capabilities=Capabilities(has_primary_keys=False, has_foreign_keys=False),
        text_type="TEXT",
        length_function="lengthUTF8",
        substring_function="substringUTF8",
    )


class ClickhouseSession:
    """One client; the server keeps no session, so each request says that it only reads, and for how long."""

    def __init__(self, connection_id: str, connect: Callable[[], Client], *, secrets: Sequence[str]) -> None:
        self._connection_id = connection_id
        self._connect = connect
        self._secrets = tuple(secrets)
        self._query_id = ""
        self._is_cancelled = False
        self._client = self._open()

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, max_rows: int | None, timeout_s: float
    ) -> Rows:
        """Run one statement with `readonly=2`: nothing is written, and only settings of this request change."""
        if parameters:
            raise AssertionError("statements for ClickHouse carry their values")
        self._is_cancelled = False
        self._query_id = f"ktx-{uuid.uuid4()}"
        settings: dict[str, object] = {
            **STANDARD_SQL,
            "readonly": "2",
            "max_execution_time": str(max(1, math.ceil(timeout_s))),
            "timeout_overflow_mode": "throw",
            "query_id": self._query_id,
        }
        try:
            answer = self._client.query(sql, settings=settings)
            rows = answer.result_rows
        except ClickHouseError as error:
            raise self._failure(error, timeout_s) from None
        finally:
            self._query_id = ""
        columns = [
            (name, str(getattr(kind, "name", kind)))
            for name, kind in zip(answer.column_names, answer.column_types, strict=True)
        ]
        return make_rows(columns, rows, max_rows=max_rows)

    def cancel(self) -> None:
        """Ask the server, over a client of its own, to kill the running query."""
        query_id = self._query_id
        if not query_id:
            return
        self._is_cancelled = True
        helper = self._open()
        try:
            helper.command(f"KILL QUERY WHERE query_id = '{query_id}' ASYNC")
        except ClickHouseError as error:
            raise self._failure(error, 0) from None
        finally:
            helper.close()

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def _open(self) -> Client:
        try:
            return self._connect()
        except ClickHouseError as error:
            raise failures.unreachable(self._connection_id, str(error), secrets=self._secrets) from None

    def _failure(self, error: ClickHouseError, timeout_s: float) -> KtxError:
        name, detail = self._connection_id, failures.without_secrets(_words(error), self._secrets)
        code = _code(detail)
        if code == _TIMED_OUT:
            return failures.timed_out(name, timeout_s)
        if code == _CANCELLED or self._is_cancelled:
            return failures.cancelled(name)
        if code in {_READ_ONLY, None} and "setting" in detail.lower():
            return WarehouseError(
                f"`{name}` does not let its user set limits for a query (`readonly = 1`).",
                hint="Give the user's settings profile `readonly = 2`: it writes nothing either.",
            )
        if code is None and isinstance(error, OperationalError):
            return failures.unreachable(name, detail, secrets=self._secrets)
        if code in _CODES_OF_VALUES:
            return failures.bad_value(name, detail)
        return failures.rejected(name, detail)


def _words(error: ClickHouseError) -> str:
    """Give the server's words without the statement and settings that it adds."""
    return str(error).partition(" In scope ")[0].partition(": While processing ")[0]


def _code(detail: str) -> int | None:
    """Find the server's error code in a message: `Code: 159. DB::Exception: …`."""
    for mark in ("Code: ", "error code "):
        _, found, rest = detail.partition(mark)
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        if found and digits:
            return int(digits)
    return None
