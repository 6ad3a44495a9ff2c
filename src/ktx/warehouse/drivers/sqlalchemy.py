"""Any other database that SQLAlchemy has a dialect for: its inspector for the catalog, its engine for queries."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import sqlalchemy
from sqlalchemy import exc
from sqlalchemy.engine import Engine
from sqlalchemy.engine.reflection import Inspector, ObjectKind
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeEngine

from ktx.catalog import CapabilityGap
from ktx.errors import ConfigError, KtxError, QueryError
from ktx.warehouse import failures
from ktx.warehouse.deadline import deadline
from ktx.warehouse.driver import Capabilities, CatalogRecords, Driver
from ktx.warehouse.records import Record
from ktx.warehouse.rows import Rows, make_rows

_DIALECTS: Mapping[str, str] = {
    "postgresql": "postgres",
    "mssql": "tsql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "oracle": "oracle",
    "sqlite": "sqlite",
    "duckdb": "duckdb",
    "snowflake": "snowflake",
    "bigquery": "bigquery",
    "databricks": "databricks",
    "trino": "trino",
    "presto": "presto",
    "redshift": "redshift",
    "clickhouse": "clickhouse",
    "clickhousedb": "clickhouse",
    "awsathena": "athena",
    "teradatasql": "teradata",
    "exa": "exasol",
    "hive": "hive",
    "druid": "druid",
    "starrocks": "starrocks",
    "doris": "doris",
    "risingwave": "risingwave",
    "cockroachdb": "postgres",
}
_SYSTEM_SCHEMAS = frozenset(
    {
        "information_schema",
        "pg_catalog",
        "pg_toast",
        "sys",
        "system",
        "mysql",
        "performance_schema",
        "crdb_internal",
    }
)
_READ_ONLY_OPTIONS: Mapping[str, Mapping[str, object]] = {"postgresql": {"postgresql_readonly": True}}
"""Execution options under which the database itself refuses writes, where SQLAlchemy has one."""


def sqlalchemy_driver(connection_id: str, *, url: str, dialect: str | None) -> Driver:
    """Describe the database behind a SQLAlchemy URL.

    Raises:
        ConfigError: the URL cannot be read, its dialect or driver is not installed, or its SQL dialect is unknown.
    """
    engine = _engine(connection_id, url)
    known = dialect or _DIALECTS.get(engine.dialect.name)
    if known is None:
        raise ConfigError(
            f"`connections.{connection_id}`: the SQL dialect of `{engine.dialect.name}` is not known.",
            hint="Set `dialect` to sqlglot's name for it.",
        )
    return Driver(
        name="sqlalchemy",
        dialect=known,
        open_session=lambda: SqlalchemySession(connection_id, engine),
        catalog=lambda schemas, _: _Reader(connection_id, engine).read(schemas),
        capabilities=Capabilities(
            has_schemas=engine.dialect.name != "sqlite",
            has_row_estimates=False,
            is_read_only_session=engine.dialect.name in _READ_ONLY_OPTIONS,
        ),
        text_type="CHAR" if known == "mysql" else "VARCHAR(4000)" if known == "oracle" else "TEXT",
    )


class SqlalchemySession:
    """One connection; each statement runs in a transaction that is rolled back."""

    def __init__(self, connection_id: str, engine: Engine) -> None:
        self._connection_id = connection_id
        self._secrets = (str(engine.url.password),) if engine.url.password else ()
        self._is_cancelled = False
        try:
            self._connection = engine.connect().execution_options(
                **_READ_ONLY_OPTIONS.get(engine.dialect.name, {})
            )
        except exc.SQLAlchemyError as error:
            raise failures.unreachable(connection_id, _detail(error), secrets=self._secrets) from None
        except Exception as error:  # a dialect's package lets its own exceptions through, of any kind
            raise failures.unreachable(connection_id, _detail(error), secrets=self._secrets) from error
        self._interrupt = _interrupt(self._connection.connection.driver_connection)

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, max_rows: int | None, timeout_s: float
    ) -> Rows:
        """Run one statement as it is, and roll it back."""
        self._is_cancelled = False
        with deadline(timeout_s, self._interrupt) as limit:
            try:
                result = self._connection.exec_driver_sql(sql, tuple(parameters) or None)
                names: list[tuple[str, str | None]] = [(name, None) for name in tuple(result.keys())]
                fetched = result.fetchall() if max_rows is None else result.fetchmany(max_rows + 1)
                rows = [tuple(row) for row in fetched]
                result.close()
                self._connection.rollback()
            except exc.SQLAlchemyError as error:
                raise self._failure(error, is_over=limit.is_over, timeout_s=timeout_s) from None
        if limit.is_over:
            raise failures.timed_out(self._connection_id, timeout_s)
        return make_rows(names, rows, max_rows=max_rows)

    def cancel(self) -> None:
        """Stop the running statement, where the database's own driver can."""
        self._is_cancelled = True
        self._interrupt()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _failure(self, error: exc.SQLAlchemyError, *, is_over: bool, timeout_s: float) -> KtxError:
        name, detail = self._connection_id, _detail(error)
        try:
            self._connection.rollback()
        except exc.SQLAlchemyError:
            self._connection.invalidate()
        if is_over:
            return failures.timed_out(name, timeout_s)
        if self._is_cancelled:
            return failures.cancelled(name)
        if isinstance(error, exc.DataError):
            return failures.bad_value(name, detail)
        if isinstance(error, exc.DBAPIError) and _is_lost(error):
            return failures.unreachable(name, detail, secrets=self._secrets)
        if isinstance(error, exc.ResourceClosedError):
            return QueryError(f"`{name}`: the statement gives no rows.")
        return failures.rejected(name, failures.without_secrets(detail, self._secrets))


class _Reader:
    """The catalog, through SQLAlchemy's inspector: one bulk call per schema and kind of fact."""

    def __init__(self, connection_id: str, engine: Engine) -> None:
        self._connection_id = connection_id
        self._engine = engine
        self._gaps: list[CapabilityGap] = []

    def read(self, schemas: Sequence[str]) -> CatalogRecords:
        tables: list[Record] = []
        columns: list[Record] = []
        keys: list[Record] = []
        foreign_keys: list[Record] = []
        try:
            with self._engine.connect() as connection:
                inspector = sqlalchemy.inspect(connection)
                for schema in self._schemas(inspector, schemas):
                    tables.extend(self._tables(inspector, schema))
                    columns.extend(self._columns(inspector, schema))
                    keys.extend(self._keys(inspector, schema))
                    foreign_keys.extend(self._foreign_keys(inspector, schema))
        except exc.SQLAlchemyError as error:
            secrets = (str(self._engine.url.password),) if self._engine.url.password else ()
            raise failures.unreachable(self._connection_id, _detail(error), secrets=secrets) from None
        return CatalogRecords(
            tables=tables, columns=columns, keys=keys, foreign_keys=foreign_keys, gaps=tuple(self._gaps)
        )

    def _schemas(self, inspector: Inspector, wanted: Sequence[str]) -> list[str | None]:
        if self._engine.dialect.name == "sqlite":
            return [None]
        if wanted:
            return list(wanted)
        found = [name for name in inspector.get_schema_names() if name.lower() not in _SYSTEM_SCHEMAS]
        return [*found] or [None]

    def _tables(self, inspector: Inspector, schema: str | None) -> Iterable[Record]:
        comments = {
            key[1]: value.get("text")
            for key, value in self._ask(
                "comments", lambda: inspector.get_multi_table_comment(schema=schema)
            ).items()
        }
        materialized = set(
            self._names("materialised views", lambda: inspector.get_materialized_view_names(schema))
        )
        views = set(self._names("views", lambda: inspector.get_view_names(schema)))
        for name in sorted({*inspector.get_table_names(schema), *views, *materialized}):
            kind = "materialized_view" if name in materialized else "view" if name in views else "table"
            yield {
                "schema_name": schema,
                "table_name": name,
                "kind": kind,
                "comment": comments.get(name),
                "row_count": None,
            }

    def _columns(self, inspector: Inspector, schema: str | None) -> Iterable[Record]:
        found = inspector.get_multi_columns(schema=schema, kind=ObjectKind.ANY)
        for (_, table), columns in found.items():
            for ordinal, column in enumerate(columns):
                yield {
                    "schema_name": schema,
                    "table_name": table,
                    "column_name": column["name"],
                    "ordinal": ordinal,
                    "native_type": self._type_name(column["type"]),
                    "is_nullable": column["nullable"],
                    "comment": column.get("comment"),
                }

    def _keys(self, inspector: Inspector, schema: str | None) -> Iterable[Record]:
        primary = self._ask("primary keys", lambda: inspector.get_multi_pk_constraint(schema=schema))
        for (_, table), key in primary.items():
            if key:
                yield from _key_records(schema, table, "primary", "primary", key["constrained_columns"])
        unique = self._ask("unique keys", lambda: inspector.get_multi_unique_constraints(schema=schema))
        for (_, table), constraints in unique.items():
            for number, constraint in enumerate(constraints):
                name = str(constraint.get("name") or f"unique_{number}")
                yield from _key_records(schema, table, name, "unique", constraint["column_names"])

    def _foreign_keys(self, inspector: Inspector, schema: str | None) -> Iterable[Record]:
        found = self._ask("foreign keys", lambda: inspector.get_multi_foreign_keys(schema=schema))
        for (_, table), constraints in found.items():
            for number, key in enumerate(constraints):
                pairs = zip(key["constrained_columns"], key["referred_columns"], strict=False)
                for ordinal, (own, other) in enumerate(pairs):
                    yield {
                        "schema_name": schema,
                        "table_name": table,
                        "constraint_name": str(key.get("name") or f"fk_{number}"),
                        "column_name": own,
                        "ordinal": ordinal,
                        "target_schema": key.get("referred_schema") or schema,
                        "target_table": key["referred_table"],
                        "target_column": other,
                    }

    def _ask(self, what: str, read: Callable[[], Mapping[Any, Any]]) -> Mapping[Any, Any]:
        try:
            return read()
        except NotImplementedError:
            self._note(what, "the dialect's inspector does not read them")
        except exc.SQLAlchemyError as error:
            self._note(what, _detail(error))
        return {}

    def _names(self, what: str, read: Callable[[], list[str]]) -> list[str]:
        try:
            return read()
        except NotImplementedError:
            self._note(what, "the dialect's inspector does not read them")
            return []

    def _note(self, what: str, reason: str) -> None:
        gap = CapabilityGap(what=what, reason=failures.first_line(reason))
        if gap not in self._gaps:
            self._gaps.append(gap)

    def _type_name(self, kind: "TypeEngine[Any]") -> str:
        try:
            return kind.compile(dialect=self._engine.dialect)
        except exc.CompileError:
            return str(kind)


def _key_records(
    schema: str | None, table: str, name: str, kind: str, columns: Sequence[str | None]
) -> Iterable[Record]:
    for ordinal, column in enumerate(columns):
        yield {
            "schema_name": schema,
            "table_name": table,
            "constraint_name": name,
            "kind": kind,
            "column_name": column,
            "ordinal": ordinal,
        }


def _engine(connection_id: str, url: str) -> Engine:
    try:
        return sqlalchemy.create_engine(url, poolclass=NullPool, hide_parameters=True)
    except exc.NoSuchModuleError as error:
        scheme = url.partition("://")[0]
        raise ConfigError(
            f"`connections.{connection_id}`: SQLAlchemy has no dialect `{scheme}` here.",
            hint="Install the package that brings it (see SQLAlchemy's list of dialects).",
        ) from error
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"`connections.{connection_id}` needs the package `{error.name}`.",
            hint=f"pip install {error.name}",
        ) from error
    except (exc.ArgumentError, ValueError):
        raise ConfigError(
            f"`connections.{connection_id}.url` is no SQLAlchemy URL.",
            hint="Write `dialect+driver://user:password@host/database`, best as `env:NAME`.",
        ) from None
    except (
        Exception
    ) as error:  # a dialect's package may look for credentials here, and says so in its own words
        detail = failures.first_line(failures.without_secrets(str(error), ()))
        raise ConfigError(f"`connections.{connection_id}` cannot be prepared: {detail}") from error


def _interrupt(raw: object) -> Callable[[], None]:
    """Find how the database's own driver stops a statement from another thread; without a way, do nothing."""
    for name in ("cancel", "interrupt"):
        found = getattr(raw, name, None)
        if callable(found):
            return cast("Callable[[], None]", found)
    return _do_nothing


def _do_nothing() -> None:
    """Leave the statement to end by itself."""


def _is_lost(error: exc.DBAPIError) -> bool:
    return error.connection_invalidated or "connection" in type(error.orig).__name__.lower()


def _detail(error: Exception) -> str:
    """Give the database's own words, without the statement and parameters that SQLAlchemy adds."""
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        arguments = error.orig.args
        return str(arguments[1]) if len(arguments) > 1 and isinstance(arguments[0], int) else str(error.orig)
    return str(error)
