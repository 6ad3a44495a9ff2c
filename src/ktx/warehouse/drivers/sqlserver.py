"""SQL Server through FreeTDS: the sys catalog, and a transaction that is rolled back after every statement."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import pymssql

from ktx.errors import KtxError
from ktx.warehouse import dbapi, failures
from ktx.warehouse.deadline import deadline
from ktx.warehouse.driver import Capabilities, CatalogQueries, Driver
from ktx.warehouse.rows import Rows

_CATALOG = CatalogQueries(
    tables="""
        SELECT s.name AS schema_name, o.name AS table_name,
               CASE WHEN o.type = 'V' AND i.object_id IS NOT NULL THEN 'materialized_view'
                    WHEN o.type = 'V' THEN 'view' WHEN t.is_external = 1 THEN 'external' ELSE 'table' END AS kind,
               CAST(p.value AS NVARCHAR(4000)) AS comment, r.row_count AS row_count
        FROM sys.objects AS o
        JOIN sys.schemas AS s ON s.schema_id = o.schema_id
        LEFT JOIN sys.tables AS t ON t.object_id = o.object_id
        LEFT JOIN sys.indexes AS i ON i.object_id = o.object_id AND i.index_id = 1 AND o.type = 'V'
        LEFT JOIN sys.extended_properties AS p
          ON p.class = 1 AND p.major_id = o.object_id AND p.minor_id = 0 AND p.name = 'MS_Description'
        LEFT JOIN (SELECT object_id, SUM(rows) AS row_count FROM sys.partitions WHERE index_id IN (0, 1)
                   GROUP BY object_id) AS r ON r.object_id = o.object_id
        WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0 AND HAS_PERMS_BY_NAME(
            QUOTENAME(s.name) + '.' + QUOTENAME(o.name), 'OBJECT', 'SELECT') = 1
    """,
    columns="""
        SELECT s.name AS schema_name, o.name AS table_name, c.name AS column_name, c.column_id AS ordinal,
               CASE WHEN b.name IN ('decimal', 'numeric')
                    THEN CONCAT(b.name, '(', c.precision, ',', c.scale, ')')
                    WHEN b.name IN ('nchar', 'nvarchar') AND c.max_length > 0
                    THEN CONCAT(b.name, '(', c.max_length / 2, ')')
                    WHEN b.name IN ('char', 'varchar') AND c.max_length > 0 THEN CONCAT(b.name, '(', c.max_length, ')')
                    ELSE b.name END AS native_type,
               c.is_nullable AS is_nullable, CAST(p.value AS NVARCHAR(4000)) AS comment
        FROM sys.columns AS c
        JOIN sys.objects AS o ON o.object_id = c.object_id
        JOIN sys.schemas AS s ON s.schema_id = o.schema_id
        JOIN sys.types AS y ON y.user_type_id = c.user_type_id
        LEFT JOIN sys.types AS b ON b.user_type_id = y.system_type_id AND b.is_user_defined = 0
        LEFT JOIN sys.extended_properties AS p
          ON p.class = 1 AND p.major_id = c.object_id AND p.minor_id = c.column_id AND p.name = 'MS_Description'
        WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0
    """,
    keys="""
        SELECT s.name AS schema_name, o.name AS table_name, i.name AS constraint_name,
               CASE i.is_primary_key WHEN 1 THEN 'primary' ELSE 'unique' END AS kind,
               c.name AS column_name, x.key_ordinal AS ordinal
        FROM sys.indexes AS i
        JOIN sys.objects AS o ON o.object_id = i.object_id
        JOIN sys.schemas AS s ON s.schema_id = o.schema_id
        JOIN sys.index_columns AS x ON x.object_id = i.object_id AND x.index_id = i.index_id AND x.key_ordinal > 0
        JOIN sys.columns AS c ON c.object_id = x.object_id AND c.column_id = x.column_id
        WHERE i.is_unique = 1 AND i.has_filter = 0 AND i.is_disabled = 0 AND o.type = 'U' AND o.is_ms_shipped = 0
    """,
    foreign_keys="""
        SELECT s.name AS schema_name, o.name AS table_name, k.name AS constraint_name, c.name AS column_name,
               x.constraint_column_id AS ordinal, ts.name AS target_schema, t.name AS target_table,
               tc.name AS target_column
        FROM sys.foreign_keys AS k
        JOIN sys.foreign_key_columns AS x ON x.constraint_object_id = k.object_id
        JOIN sys.objects AS o ON o.object_id = k.parent_object_id
        JOIN sys.schemas AS s ON s.schema_id = o.schema_id
        JOIN sys.objects AS t ON t.object_id = k.referenced_object_id
        JOIN sys.schemas AS ts ON ts.schema_id = t.schema_id
        JOIN sys.columns AS c ON c.object_id = x.parent_object_id AND c.column_id = x.parent_column_id
        JOIN sys.columns AS tc ON tc.object_id = x.referenced_object_id AND tc.column_id = x.referenced_column_id
    """,
    unreadable="""
        SELECT s.name AS schema_name, o.name AS table_name
        FROM sys.objects AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id
        WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0 AND COALESCE(HAS_PERMS_BY_NAME(
            QUOTENAME(s.name) + '.' + QUOTENAME(o.name), 'OBJECT', 'SELECT'), 0) = 0
    """,
)
_TIMED_OUT = 20003
_LOST = frozenset({20002, 20004, 20006, 20009, 20017, 20047, 18456, 4060})
_DATA_ERRORS = frozenset({220, 232, 241, 242, 245, 248, 295, 8114, 8115, 8134, 8169, 2627})


class _Wire(Protocol):
    query_timeout: int

    def cancel(self) -> None: ...


class _Connection(dbapi.Connection, Protocol):
    @property
    def _conn(self) -> _Wire: ...

    def rollback(self) -> None: ...


_connect = cast("Callable[..., _Connection]", pymssql.connect)
_Error = pymssql.exceptions.Error


def sqlserver_driver(connection_id: str, settings: Mapping[str, object]) -> Driver:
    """Describe a SQL Server database; `settings` are those of pymssql."""
    return Driver(
        name="sqlserver",
        dialect="tsql",
        open_session=lambda: SqlserverSession(connection_id, settings),
        catalog=_CATALOG,
        capabilities=Capabilities(is_read_only_session=False),
        text_type="NVARCHAR(4000)",
    )


class SqlserverSession:
    """One connection, marked as one that only reads; its transaction is rolled back after every statement."""

    def __init__(self, connection_id: str, settings: Mapping[str, object]) -> None:
        self._connection_id = connection_id
        self._secrets = tuple(str(settings[key]) for key in ("password",) if settings.get(key))
        self._is_cancelled = False
        try:
            self._connection = _connect(
                **{"login_timeout": 15, "appname": "ktx", "charset": "UTF-8", **settings},
                encryption="require",
                read_only=True,
                autocommit=False,
            )
        except _Error as error:
            raise failures.unreachable(connection_id, _message(error), secrets=self._secrets) from None

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, max_rows: int | None, timeout_s: float
    ) -> Rows:
        """Run one statement and roll it back; the client cancels it at the server after `timeout_s`."""
        self._is_cancelled = False
        wire = self._connection._conn  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        wire.query_timeout = math.ceil(timeout_s) + 5
        cursor = self._connection.cursor()
        with deadline(timeout_s, wire.cancel) as limit:
            try:
                rows = dbapi.fetch(cursor, sql, parameters, max_rows=max_rows, type_name=_no_name)
                cursor.close()
                self._connection.rollback()
            except _Error as error:
                raise self._failure(error, is_over=limit.is_over, timeout_s=timeout_s) from None
        if limit.is_over:
            raise failures.timed_out(self._connection_id, timeout_s)
        return rows

    def cancel(self) -> None:
        """Tell the server to stop what runs."""
        self._is_cancelled = True
        self._connection._conn.cancel()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _failure(self, error: Exception, *, is_over: bool, timeout_s: float) -> KtxError:
        name, code = self._connection_id, _code(error)
        detail = failures.without_secrets(_message(error), self._secrets)
        if is_over or code == _TIMED_OUT:
            return failures.timed_out(name, timeout_s)
        if self._is_cancelled:
            return failures.cancelled(name)
        if code in _DATA_ERRORS:
            self._roll_back()
            return failures.bad_value(name, detail)
        if code in _LOST or isinstance(error, pymssql.exceptions.InterfaceError):
            return failures.unreachable(name, detail, secrets=self._secrets)
        self._roll_back()
        return failures.rejected(name, detail)

    def _roll_back(self) -> None:
        try:
            self._connection.rollback()
        except _Error as error:
            raise failures.unreachable(self._connection_id, _message(error), secrets=self._secrets) from None


def _arguments(error: Exception) -> tuple[object, ...]:
    """Give the arguments of an error; some come wrapped in a tuple of their own."""
    first = error.args[0] if len(error.args) == 1 else None
    return cast("tuple[object, ...]", first) if isinstance(first, tuple) else error.args


def _code(error: Exception) -> int:
    found = next(iter(_arguments(error)), 0)
    return found if isinstance(found, int) else 0


def _message(error: Exception) -> str:
    last = next(iter(reversed(_arguments(error))), "")
    return last.decode(errors="replace") if isinstance(last, bytes) else str(last)


def _no_name(code: object) -> str | None:
    """Give no type: the wire tells only numbers from texts."""
    del code
    return None
