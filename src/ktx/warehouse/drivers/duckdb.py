"""DuckDB: a file, opened read-only, without access to other files, the network or the settings."""

import threading
from collections.abc import Sequence
from pathlib import Path

import duckdb

from ktx.errors import ConfigError, KtxError, QueryError, WarehouseError
from ktx.warehouse import failures
from ktx.warehouse.deadline import deadline
from ktx.warehouse.driver import Capabilities, CatalogQueries, Driver
from ktx.warehouse.rows import Rows, make_rows

_LOCKS: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "lock_configuration": "true",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
"""Settings under which a statement reaches this one file only: no other file, no network, no Python variable."""
_REPAIRS: dict[str, str | bool | int | float | list[str]] = {
    "disabled_optimizers": "compressed_materialization,statistics_propagation"
}
"""DuckDB 2.0 mistakes how many rows a group has over a join that it takes for empty: then it packs a sum into too small a type
and fails, or drops a HAVING as always true and answers wrongly. Both steps that use the mistake are left out."""

_CATALOG = CatalogQueries(
    tables="""
        SELECT schema_name, table_name, 'table' AS kind, comment,
               CASE WHEN sql ILIKE '% COLLATE %' THEN NULL ELSE estimated_size END AS row_count
        FROM duckdb_tables() WHERE NOT internal AND NOT temporary AND database_name = current_database()
        UNION ALL
        SELECT schema_name, view_name, 'view', comment, NULL
        FROM duckdb_views() WHERE NOT internal AND NOT temporary AND database_name = current_database()
    """,
    columns="""
        SELECT schema_name, table_name, column_name, column_index AS ordinal, data_type AS native_type,
               is_nullable, comment
        FROM duckdb_columns() WHERE NOT internal AND database_name = current_database()
    """,
    keys="""
        SELECT schema_name, table_name, constraint_name || constraint_index AS constraint_name,
               CASE constraint_type WHEN 'PRIMARY KEY' THEN 'primary' ELSE 'unique' END AS kind,
               unnest(constraint_column_names) AS column_name,
               generate_subscripts(constraint_column_names, 1) AS ordinal
        FROM duckdb_constraints()
        WHERE constraint_type IN ('PRIMARY KEY', 'UNIQUE') AND database_name = current_database()
    """,
    foreign_keys="""
        SELECT schema_name, table_name, constraint_name || constraint_index AS constraint_name,
               unnest(constraint_column_names) AS column_name,
               generate_subscripts(constraint_column_names, 1) AS ordinal,
               schema_name AS target_schema, referenced_table AS target_table,
               unnest(referenced_column_names) AS target_column
        FROM duckdb_constraints()
        WHERE constraint_type = 'FOREIGN KEY' AND database_name = current_database()
    """,
    spells_records=True,
)
"""DuckDB keeps foreign keys inside one schema, so the target's schema is the table's own. A table with a collation of its own has
no row estimate: only the database knows which of its texts are equal."""


def duckdb_driver(connection_id: str, path: Path) -> Driver:
    """Describe the DuckDB database in a file."""
    return Driver(
        name="duckdb",
        dialect="duckdb",
        capabilities=Capabilities(is_local=True),
        open_session=lambda: DuckdbSession(connection_id, path),
        catalog=_CATALOG,
        most_profile_cells=20_000,
        records="wrapped",
    )


class DuckdbSession:
    """One connection to the file; sessions of one process share the opened database."""

    def __init__(self, connection_id: str, path: Path) -> None:
        if not path.is_file():
            raise ConfigError(
                f"`{connection_id}` has no database file `{path}`.", hint="Correct `path` in ktx.yaml."
            )
        self._connection_id = connection_id
        self._is_cancelled = False
        self._lock = threading.Lock()
        try:
            self._connection = duckdb.connect(str(path), read_only=True, config={**_LOCKS, **_REPAIRS})
        except duckdb.IOException as error:
            if "lock" in str(error).lower():
                raise WarehouseError(
                    f"`{connection_id}` is open for writing in another program.",
                    hint="Close that program, or open the file read-only there.",
                ) from error
            raise failures.unreachable(connection_id, str(error)) from error
        except duckdb.Error as error:
            raise failures.unreachable(connection_id, str(error)) from error

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, max_rows: int | None, timeout_s: float
    ) -> Rows:
        """Run one statement that is a SELECT in DuckDB's own reading, too."""
        self._is_cancelled = False
        connection = self._connection
        with deadline(timeout_s, connection.interrupt) as limit:
            try:
                connection.execute(self._one_select(sql), list(parameters))
                described = connection.description or []
                fetched: list[tuple[object, ...]] = (
                    connection.fetchall() if max_rows is None else connection.fetchmany(max_rows + 1)
                )
            except duckdb.Error as error:
                raise self._failure(error, is_over=limit.is_over, timeout_s=timeout_s) from None
        return make_rows([(str(item[0]), str(item[1])) for item in described], fetched, max_rows=max_rows)

    def cancel(self) -> None:
        """Stop the running statement."""
        self._is_cancelled = True
        with self._lock:
            self._connection.interrupt()

    def close(self) -> None:
        """Close this session; the last one of the process closes the file."""
        with self._lock:
            self._connection.close()

    def _one_select(self, sql: str) -> duckdb.Statement:
        statements = self._connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise QueryError(
                f"`{self._connection_id}` runs one SELECT at a time; DuckDB reads something else here."
            )
        return statements[0]

    def _failure(self, error: duckdb.Error, *, is_over: bool, timeout_s: float) -> KtxError:
        name, detail = self._connection_id, str(error)
        if isinstance(error, duckdb.InterruptException):
            return failures.timed_out(name, timeout_s) if is_over else failures.cancelled(name)
        if isinstance(error, duckdb.DataError):
            return failures.bad_value(name, detail)
        if isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException | duckdb.FatalException):
            return WarehouseError(f"`{name}` failed: {failures.without_quoted(failures.first_line(detail))}")
        return failures.rejected(name, detail)
