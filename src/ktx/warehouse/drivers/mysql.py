"""MySQL and MariaDB: every statement runs in a read-only transaction that is rolled back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import pymysql
import pymysql.err
from pymysql.constants import ER, FIELD_TYPE

from ktx.errors import KtxError, QueryError
from ktx.warehouse import failures
from ktx.warehouse.driver import CatalogQueries, Driver
from ktx.warehouse.rows import Rows, make_rows

_SQL_MODE = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
"""Fixed, because it decides how a statement is read: quotes, `||` and backslashes mean what the guard's parser thinks."""
_MARIADB_TIMEOUT, _MYSQL_TIMEOUT = 1969, 3024
_DATA_ERRORS = frozenset({ER.TRUNCATED_WRONG_VALUE, ER.DIVISION_BY_ZERO, 1690, 1366, 1411, 1264})
_LOST = frozenset({2003, 2006, 2013, 2014, 2055, 1053, 1927})

_CATALOG = CatalogQueries(
    tables="""
        SELECT table_schema AS schema_name, table_name AS table_name,
               CASE WHEN table_type LIKE '%VIEW' THEN 'view' ELSE 'table' END AS kind,
               CASE WHEN table_type LIKE '%VIEW' THEN NULL ELSE table_comment END AS comment,
               CASE WHEN table_type LIKE '%VIEW' THEN NULL ELSE table_rows END AS row_count
        FROM information_schema.tables
        WHERE table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED')
          AND table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')
    """,
    columns="""
        SELECT table_schema AS schema_name, table_name AS table_name, column_name AS column_name,
               ordinal_position AS ordinal, column_type AS native_type, is_nullable = 'YES' AS is_nullable,
               column_comment AS comment
        FROM information_schema.columns
        WHERE table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')
    """,
    keys="""
        SELECT table_schema AS schema_name, table_name AS table_name, index_name AS constraint_name,
               CASE index_name WHEN 'PRIMARY' THEN 'primary' ELSE 'unique' END AS kind,
               column_name AS column_name, seq_in_index AS ordinal
        FROM information_schema.statistics
        WHERE non_unique = 0 AND table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')
          AND (table_schema, table_name, index_name) NOT IN (
            SELECT table_schema, table_name, index_name FROM information_schema.statistics
            WHERE sub_part IS NOT NULL OR column_name IS NULL)
    """,
    foreign_keys="""
        SELECT table_schema AS schema_name, table_name AS table_name, constraint_name AS constraint_name,
               column_name AS column_name, ordinal_position AS ordinal,
               referenced_table_schema AS target_schema, referenced_table_name AS target_table,
               referenced_column_name AS target_column
        FROM information_schema.key_column_usage
        WHERE referenced_table_name IS NOT NULL
          AND table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')
    """,
)
"""A schema is a database here."""


class _Cursor(Protocol):
    description: Sequence[Sequence[object]] | None

    def execute(self, query: str, args: Sequence[object] | None = None) -> int: ...

    def fetchall(self) -> Sequence[tuple[object, ...]]: ...

    def fetchmany(self, size: int) -> Sequence[tuple[object, ...]]: ...

    def close(self) -> None: ...


class _Connection(Protocol):
    def cursor(self) -> _Cursor: ...

    def thread_id(self) -> int: ...

    def get_server_info(self) -> str: ...

    def close(self) -> None: ...


_connect = cast("Callable[..., _Connection]", pymysql.connect)


def mysql_driver(connection_id: str, settings: Mapping[str, object]) -> Driver:
    """Describe a MySQL or MariaDB server; `settings` are PyMySQL's."""
    return Driver(
        name="mysql",
        dialect="mysql",
        open_session=lambda: MysqlSession(connection_id, settings),
        catalog=_CATALOG,
        text_type="CHAR",
    )


class MysqlSession:
    """One connection; PyMySQL sends one statement at a time and never a local file."""

    def __init__(self, connection_id: str, settings: Mapping[str, object]) -> None:
        self._connection_id = connection_id
        self._settings = settings
        self._secrets = tuple(str(settings[key]) for key in ("password",) if settings.get(key))
        self._timeout_s = 0.0
        self._is_cancelled = False
        self._is_closed = False
        self._connection = self._open()
        self._is_mariadb = "mariadb" in self._connection.get_server_info().lower()
        self._set("SET SESSION sql_mode = %s", _SQL_MODE)
        self._set("SET SESSION TRANSACTION READ ONLY")

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, max_rows: int | None, timeout_s: float
    ) -> Rows:
        """Run one statement in a read-only transaction of its own, and roll it back."""
        self._is_cancelled = False
        cursor = self._connection.cursor()
        try:
            self._limit_time(timeout_s)
            cursor.execute("START TRANSACTION READ ONLY")
            try:
                cursor.execute(sql, list(parameters) or None)
                described = [
                    (str(item[0]), _TYPES.get(cast("int", item[1]))) for item in cursor.description or ()
                ]
                fetched = cursor.fetchall() if max_rows is None else cursor.fetchmany(max_rows + 1)
            finally:
                cursor.execute("ROLLBACK")
        except pymysql.err.MySQLError as error:
            raise self._failure(error, timeout_s) from None
        finally:
            cursor.close()
        return make_rows(described, fetched, max_rows=max_rows)

    def cancel(self) -> None:
        """Stop the running statement, over a connection of its own."""
        self._is_cancelled = True
        helper = self._open()
        try:
            helper.cursor().execute("KILL QUERY %s", [self._connection.thread_id()])
        except pymysql.err.MySQLError as error:
            raise self._failure(error, 0) from None
        finally:
            helper.close()

    def close(self) -> None:
        """Close the connection."""
        if not self._is_closed:
            self._is_closed = True
            self._connection.close()

    def _open(self) -> _Connection:
        try:
            return _connect(
                **{"charset": "utf8mb4", "connect_timeout": 15, "autocommit": True, **self._settings},
                local_infile=False,
            )
        except pymysql.err.MySQLError as error:
            raise failures.unreachable(self._connection_id, _message(error), secrets=self._secrets) from None

    def _set(self, statement: str, *values: object) -> None:
        cursor = self._connection.cursor()
        try:
            cursor.execute(statement, list(values) or None)
        except pymysql.err.MySQLError as error:
            raise self._failure(error, self._timeout_s) from None
        finally:
            cursor.close()

    def _limit_time(self, timeout_s: float) -> None:
        if timeout_s == self._timeout_s:
            return
        if self._is_mariadb:
            self._set("SET SESSION max_statement_time = %s", timeout_s)
        else:
            self._set("SET SESSION max_execution_time = %s", round(timeout_s * 1000))
        self._timeout_s = timeout_s

    def _failure(self, error: pymysql.err.MySQLError, timeout_s: float) -> KtxError:
        name, code, detail = self._connection_id, _code(error), _message(error)
        if self._is_cancelled and code in {ER.QUERY_INTERRUPTED, _MARIADB_TIMEOUT, _MYSQL_TIMEOUT}:
            return failures.cancelled(name)
        if code in {_MARIADB_TIMEOUT, _MYSQL_TIMEOUT}:
            return failures.timed_out(name, timeout_s)
        if code in _LOST or isinstance(error, pymysql.err.InterfaceError):
            return failures.unreachable(name, detail, secrets=self._secrets)
        if code in _DATA_ERRORS or isinstance(error, pymysql.err.DataError):
            return failures.bad_value(name, detail)
        if isinstance(error, pymysql.err.IntegrityError | pymysql.err.InternalError):
            return QueryError(
                f"`{name}` cannot run this statement: {failures.without_quoted(failures.first_line(detail))}"
            )
        return failures.rejected(name, detail)


def _code(error: pymysql.err.MySQLError) -> int:
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def _message(error: pymysql.err.MySQLError) -> str:
    return str(error.args[1]) if len(error.args) > 1 else str(error)


_TYPES: Mapping[int, str] = {
    FIELD_TYPE.DECIMAL: "decimal",
    FIELD_TYPE.TINY: "tinyint",
    FIELD_TYPE.SHORT: "smallint",
    FIELD_TYPE.LONG: "int",
    FIELD_TYPE.FLOAT: "float",
    FIELD_TYPE.DOUBLE: "double",
    FIELD_TYPE.TIMESTAMP: "timestamp",
    FIELD_TYPE.LONGLONG: "bigint",
    FIELD_TYPE.INT24: "mediumint",
    FIELD_TYPE.DATE: "date",
    FIELD_TYPE.TIME: "time",
    FIELD_TYPE.DATETIME: "datetime",
    FIELD_TYPE.YEAR: "year",
    FIELD_TYPE.VARCHAR: "varchar",
    FIELD_TYPE.BIT: "bit",
    FIELD_TYPE.JSON: "json",
    FIELD_TYPE.NEWDECIMAL: "decimal",
    FIELD_TYPE.ENUM: "enum",
    FIELD_TYPE.SET: "set",
    FIELD_TYPE.BLOB: "text",
    FIELD_TYPE.VAR_STRING: "varchar",
    FIELD_TYPE.STRING: "char",
    FIELD_TYPE.GEOMETRY: "geometry",
}
"""The names of the wire's type numbers that a result can have; on the wire, text and blob are one type."""
