"""PostgreSQL: every statement runs alone in a read-only transaction that is rolled back."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import psycopg
from psycopg import conninfo, errors
from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader
from sqlglot import exp

from ktx.errors import ConfigError, KtxError, QueryError
from ktx.warehouse import failures
from ktx.warehouse.driver import CatalogQueries, Driver, sample_first_rows
from ktx.warehouse.rows import Rows, make_rows

_OPTIONS = "-c default_transaction_read_only=on -c standard_conforming_strings=on"
_SAMPLE_FROM = 8
"""How many times larger than the sample a table must be before pages are picked at random."""

_CATALOG = CatalogQueries(
    tables="""
        SELECT n.nspname AS schema_name, c.relname AS table_name,
               CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized_view' WHEN 'f' THEN 'external'
                    ELSE 'table' END AS kind,
               obj_description(c.oid, 'pg_class') AS comment,
               CASE WHEN c.relkind = 'p' THEN (
                      SELECT sum(leaf.reltuples)::bigint
                      FROM pg_partition_tree(c.oid) AS part JOIN pg_class AS leaf ON leaf.oid = part.relid
                      WHERE part.isleaf HAVING min(leaf.reltuples) >= 0)
                    WHEN c.relkind IN ('r', 'm') AND c.reltuples >= 0 THEN c.reltuples::bigint END AS row_count
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND NOT c.relispartition
          AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
          AND NOT EXISTS (SELECT 1 FROM pg_depend AS d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
          AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
    """,
    columns="""
        SELECT n.nspname AS schema_name, c.relname AS table_name, a.attname AS column_name, a.attnum AS ordinal,
               CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod)
                    ELSE format_type(a.atttypid, a.atttypmod) END AS native_type,
               NOT a.attnotnull AS is_nullable, col_description(c.oid, a.attnum) AS comment
        FROM pg_attribute AS a
        JOIN pg_class AS c ON c.oid = a.attrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_type AS t ON t.oid = a.atttypid
        WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
          AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
          AND has_column_privilege(c.oid, a.attnum, 'SELECT')
    """,
    keys="""
        SELECT n.nspname AS schema_name, c.relname AS table_name, x.relname AS constraint_name,
               CASE WHEN i.indisprimary THEN 'primary' ELSE 'unique' END AS kind,
               a.attname AS column_name, place AS ordinal
        FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indrelid
        JOIN pg_class AS x ON x.oid = i.indexrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS place
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[place]
        WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT c.relispartition
          AND n.nspname NOT LIKE 'pg\\_%'
    """,
    foreign_keys="""
        SELECT n.nspname AS schema_name, c.relname AS table_name, k.conname AS constraint_name,
               a.attname AS column_name, pair.place AS ordinal,
               tn.nspname AS target_schema, t.relname AS target_table, ta.attname AS target_column
        FROM pg_constraint AS k
        JOIN pg_class AS c ON c.oid = k.conrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_class AS t ON t.oid = k.confrelid
        JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
        CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS pair(own, other, place)
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = pair.own
        JOIN pg_attribute AS ta ON ta.attrelid = t.oid AND ta.attnum = pair.other
        WHERE k.contype = 'f' AND NOT c.relispartition AND NOT t.relispartition
    """,
    unreadable="""
        SELECT n.nspname AS schema_name, c.relname AS table_name
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND NOT c.relispartition
          AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
          AND NOT EXISTS (SELECT 1 FROM pg_depend AS d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
          AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT'))
    """,
)
"""Straight from pg_catalog: information_schema hides keys from readers and pairs composite foreign keys wrongly."""


def postgres_driver(
    connection_id: str, *, url: str | None, settings: Mapping[str, str | int | None]
) -> Driver:
    """Describe a PostgreSQL database; `settings` are libpq's, and complete or override those of `url`.

    Raises:
        ConfigError: the address cannot be read.
    """
    address = _address(connection_id, url, settings)
    return Driver(
        name="postgres",
        dialect="postgres",
        open_session=lambda: PostgresSession(connection_id, address),
        catalog=_CATALOG,
        sample=_sample,
    )


class PostgresSession:
    """One connection. Statements are prepared, because the server refuses to prepare more than one at once."""

    def __init__(self, connection_id: str, address: Mapping[str, str]) -> None:
        self._connection_id = connection_id
        self._secrets = tuple(value for key, value in address.items() if key in {"password", "sslpassword"})
        self._timeout_ms = 0
        self._is_cancelled = False
        arguments = dict(address)
        arguments["options"] = f"{arguments.get('options', '')} {_OPTIONS}".strip()
        arguments.setdefault("connect_timeout", "15")
        arguments.setdefault("application_name", "ktx")
        try:
            self._connection = psycopg.connect(conninfo.make_conninfo(**arguments))
        except psycopg.Error as error:
            raise failures.unreachable(connection_id, str(error), secrets=self._secrets) from None
        self._connection.read_only = True
        for name, loader in (("date", _Dates), ("timestamp", _Timestamps), ("timestamptz", _ZonedTimestamps)):
            self._connection.adapters.register_loader(name, loader)

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, max_rows: int | None, timeout_s: float
    ) -> Rows:
        """Run one statement in a read-only transaction of its own, and roll it back, settings included."""
        self._is_cancelled = False
        try:
            self._limit_time(round(timeout_s * 1000))
            with self._connection.cursor() as cursor:
                cursor.execute(sql.encode(), list(parameters) or None, prepare=True)
                fetched = cursor.fetchall() if max_rows is None else cursor.fetchmany(max_rows + 1)
                described = [(item.name, item.type_display) for item in cursor.description or ()]
            self._connection.rollback()
        except psycopg.Error as error:
            self._roll_back_quietly()
            raise self._failure(error, timeout_s) from None
        return make_rows(described, fetched, max_rows=max_rows)

    def cancel(self) -> None:
        """Ask the server to stop the running statement, over a connection of its own."""
        self._is_cancelled = True
        try:
            self._connection.cancel_safe(timeout=5)
        except psycopg.Error as error:
            raise failures.unreachable(self._connection_id, str(error), secrets=self._secrets) from None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _limit_time(self, timeout_ms: int) -> None:
        if timeout_ms != self._timeout_ms:
            self._connection.execute("SELECT set_config('statement_timeout', %s, false)", [str(timeout_ms)])
            self._connection.commit()
            self._timeout_ms = timeout_ms

    def _roll_back_quietly(self) -> None:
        if not self._connection.closed:
            try:
                self._connection.rollback()
            except psycopg.Error:
                self._connection.close()

    def _failure(self, error: psycopg.Error, timeout_s: float) -> KtxError:
        name = self._connection_id
        detail = error.diag.message_primary or str(error)
        state = error.sqlstate or ""
        if isinstance(error, errors.QueryCanceled):
            return failures.cancelled(name) if self._is_cancelled else failures.timed_out(name, timeout_s)
        if state.startswith("22"):
            return failures.bad_value(name, detail)
        if state.startswith(("42", "25", "0A")):
            return failures.rejected(name, detail)
        if isinstance(error, psycopg.OperationalError):
            return failures.unreachable(name, detail, secrets=self._secrets)
        return QueryError(
            f"`{name}` cannot run this statement: {failures.without_quoted(failures.first_line(detail))}"
        )


def _sample(table: exp.Table, columns: Sequence[exp.Expr], rows: int, estimate: int | None) -> exp.Select:
    """Pick random pages of a large table, the same ones on every run; take the first rows of any other."""
    if estimate is None or estimate < rows * _SAMPLE_FROM:
        return sample_first_rows(table, columns, rows, estimate)
    percent = min(100.0, 200.0 * rows / estimate)
    table.set(
        "sample",
        exp.TableSample(
            method=exp.var("SYSTEM"),
            percent=exp.Literal.number(f"{percent:.6f}"),
            seed=exp.Literal.number(0),
        ),
    )
    return exp.select(*columns).from_(table).limit(rows)


def _address(connection_id: str, url: str | None, settings: Mapping[str, str | int | None]) -> dict[str, str]:
    text = url or ""
    for prefix in ("postgresql+psycopg://", "postgres+psycopg://"):
        if text.startswith(prefix):
            text = "postgresql://" + text.removeprefix(prefix)
    try:
        found = {
            key: str(value) for key, value in conninfo.conninfo_to_dict(text).items() if value is not None
        }
    except psycopg.ProgrammingError:
        raise ConfigError(
            f"`connections.{connection_id}.url` is no PostgreSQL address.",
            hint="Write `postgresql://user:password@host:5432/database`, best as `env:NAME`.",
        ) from None
    found.update({key: str(value) for key, value in settings.items() if value is not None})
    if "host" not in found and "service" not in found:
        raise ConfigError(
            f"`connections.{connection_id}` names no server.", hint="Set `url`, or `host` and `database`."
        )
    return found


def _text_of(data: object) -> str:
    return bytes(cast("bytes", data)).decode()


class _Dates(DateLoader):
    """Dates that Python cannot hold (`infinity`, before year 1) as text instead of a failed query."""

    def load(self, data: Any) -> Any:
        """Give a date, or its text."""
        try:
            return super().load(data)
        except psycopg.DataError:
            return _text_of(data)


class _Timestamps(TimestampLoader):
    """Timestamps that Python cannot hold as text."""

    def load(self, data: Any) -> Any:
        """Give a timestamp, or its text."""
        try:
            return super().load(data)
        except psycopg.DataError:
            return _text_of(data)


class _ZonedTimestamps(TimestamptzLoader):
    """Timestamps with time zone that Python cannot hold as text."""

    def load(self, data: Any) -> Any:
        """Give a timestamp, or its text."""
        try:
            return super().load(data)
        except psycopg.DataError:
            return _text_of(data)
