"""SQLite: a file, opened read-only behind SQLite's own authorizer."""

import time
from collections.abc import Sequence
from pathlib import Path

from ktx import sqlite
from ktx.errors import ConfigError, WarehouseError
from ktx.warehouse import failures
from ktx.warehouse.driver import Capabilities, CatalogQueries, Driver
from ktx.warehouse.rows import Rows, make_rows

_CATALOG = CatalogQueries(
    tables="""
        SELECT NULL AS schema_name, m.name AS table_name, m.type AS kind, NULL AS comment, NULL AS row_count
        FROM sqlite_master AS m
        WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite!_%' ESCAPE '!'
          AND NOT EXISTS (
            SELECT 1 FROM pragma_table_list AS l WHERE l.schema = 'main' AND l.name = m.name AND l.type = 'shadow')
    """,
    columns="""
        SELECT NULL AS schema_name, m.name AS table_name, c.name AS column_name, c.cid AS ordinal,
               c.type AS native_type, NOT (c."notnull" OR (c.pk > 0 AND c.type = 'INTEGER')) AS is_nullable,
               NULL AS comment
        FROM sqlite_master AS m JOIN pragma_table_xinfo(m.name) AS c
        WHERE m.type IN ('table', 'view') AND c.hidden <> 1
    """,
    keys="""
        SELECT NULL AS schema_name, m.name AS table_name, 'primary' AS constraint_name, 'primary' AS kind,
               c.name AS column_name, c.pk AS ordinal
        FROM sqlite_master AS m JOIN pragma_table_xinfo(m.name) AS c
        WHERE m.type = 'table' AND c.pk > 0
        UNION ALL
        SELECT NULL, m.name, i.name, 'unique', x.name, x.seqno
        FROM sqlite_master AS m JOIN pragma_index_list(m.name) AS i JOIN pragma_index_info(i.name) AS x
        WHERE m.type = 'table' AND i."unique" AND i.origin <> 'pk' AND NOT i.partial
          AND NOT EXISTS (SELECT 1 FROM pragma_index_info(i.name) AS e WHERE e.name IS NULL)
    """,
    foreign_keys="""
        SELECT NULL AS schema_name, m.name AS table_name, 'fk_' || f.id AS constraint_name, f."from" AS column_name,
               f.seq AS ordinal, NULL AS target_schema,
               COALESCE((SELECT t.name FROM sqlite_master AS t WHERE t.type = 'table'
                         AND lower(t.name) = lower(f."table")), f."table") AS target_table,
               f."to" AS target_column
        FROM sqlite_master AS m JOIN pragma_foreign_key_list(m.name) AS f
        WHERE m.type = 'table'
    """,
)


def sqlite_driver(connection_id: str, path: Path) -> Driver:
    """Describe the SQLite database in a file."""
    return Driver(
        name="sqlite",
        dialect="sqlite",
        open_session=lambda: SqliteSession(connection_id, path),
        catalog=_CATALOG,
        capabilities=Capabilities(
            has_schemas=False, has_comments=False, has_row_estimates=False, is_local=True
        ),
    )


class SqliteSession:
    """One connection to the file."""

    def __init__(self, connection_id: str, path: Path) -> None:
        if not path.is_file():
            raise ConfigError(
                f"`{connection_id}` has no database file `{path}`.", hint="Correct `path` in ktx.yaml."
            )
        self._connection_id = connection_id
        self._is_cancelled = False
        self._ends_at = float("inf")
        try:
            self._connection = sqlite.open_read_only(path)
            self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except sqlite.Error as error:
            raise failures.unreachable(connection_id, str(error)) from error
        sqlite.stop_when(self._connection, self._is_over)

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, max_rows: int | None, timeout_s: float
    ) -> Rows:
        """Run one statement; SQLite itself refuses a second one and whatever the authorizer does not allow."""
        self._is_cancelled = False
        self._ends_at = time.monotonic() + timeout_s
        try:
            cursor = self._connection.execute(sql, tuple(parameters))
            names = [(str(column[0]), None) for column in cursor.description or ()]
            fetched: list[tuple[object, ...]] = (
                cursor.fetchall() if max_rows is None else cursor.fetchmany(max_rows + 1)
            )
            cursor.close()
        except sqlite.Error as error:
            raise self._failure(error, timeout_s) from error
        finally:
            self._ends_at = float("inf")
        return make_rows(names, fetched, max_rows=max_rows)

    def cancel(self) -> None:
        """Stop the running statement."""
        self._is_cancelled = True
        self._connection.interrupt()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _is_over(self) -> bool:
        return self._is_cancelled or time.monotonic() > self._ends_at

    def _failure(self, error: sqlite.Error, timeout_s: float) -> Exception:
        if sqlite.is_interrupt(error):
            if self._is_cancelled:
                return failures.cancelled(self._connection_id)
            return failures.timed_out(self._connection_id, timeout_s)
        if sqlite.is_lock(error):
            return WarehouseError(
                f"`{self._connection_id}` is locked by another program.",
                hint="Try again when it has finished.",
            )
        return failures.rejected(self._connection_id, str(error))
