"""Amazon Redshift: PostgreSQL's protocol, an older catalog, and external tables and late-binding views beside it."""

from collections.abc import Callable, Mapping, Sequence

from ktx.catalog import CapabilityGap
from ktx.warehouse.driver import CatalogRecords, Driver
from ktx.warehouse.libpq import LibpqSession, libpq_address
from ktx.warehouse.records import Record, optional_records, records_of
from ktx.warehouse.rows import Rows

TABLES = """
    SELECT n.nspname AS schema_name, c.relname AS table_name,
           CASE WHEN c.relkind = 'r' THEN 'table' WHEN b.oid IS NOT NULL THEN 'materialized_view' ELSE 'view' END AS kind,
           d.description AS comment,
           CASE WHEN c.relkind = 'r' AND c.reltuples >= 1 THEN CAST(c.reltuples AS BIGINT) END AS row_count
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_class AS b
      ON b.relnamespace = c.relnamespace AND c.relkind = 'v' AND b.relname = 'mv_tbl__' || c.relname || '__0'
    LEFT JOIN pg_catalog.pg_description AS d ON d.objoid = c.oid AND d.objsubid = 0
    WHERE c.relkind IN ('r', 'v') AND SUBSTRING(c.relname, 1, 8) <> 'mv_tbl__'
      AND SUBSTRING(n.nspname, 1, 3) <> 'pg_' AND n.nspname NOT IN ('information_schema', 'catalog_history')
      AND has_schema_privilege(n.nspname, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
"""
"""A materialised view is kept as a view over a table of its own, `mv_tbl__<name>__0`."""

COLUMNS = """
    SELECT n.nspname AS schema_name, c.relname AS table_name, a.attname AS column_name, a.attnum AS ordinal,
           format_type(a.atttypid, a.atttypmod) AS native_type, NOT a.attnotnull AS is_nullable,
           d.description AS comment
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_description AS d ON d.objoid = c.oid AND d.objsubid = a.attnum
    WHERE c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
      AND SUBSTRING(n.nspname, 1, 3) <> 'pg_' AND n.nspname NOT IN ('information_schema', 'catalog_history')
"""

_PLACES = " UNION ALL ".join(f"SELECT {place} AS place" for place in range(1, 17))

KEYS = f"""
    SELECT n.nspname AS schema_name, c.relname AS table_name, k.conname AS constraint_name,
           CASE k.contype WHEN 'p' THEN 'primary' ELSE 'unique' END AS kind,
           a.attname AS column_name, p.place AS ordinal
    FROM pg_catalog.pg_constraint AS k
    JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    CROSS JOIN ({_PLACES}) AS p
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.conkey[p.place]
    WHERE k.contype IN ('p', 'u')
"""  # noqa: S608  made of constants
"""Declared keys: the planner believes them, nothing enforces them."""

FOREIGN_KEYS = f"""
    SELECT n.nspname AS schema_name, c.relname AS table_name, k.conname AS constraint_name,
           a.attname AS column_name, p.place AS ordinal,
           tn.nspname AS target_schema, t.relname AS target_table, ta.attname AS target_column
    FROM pg_catalog.pg_constraint AS k
    JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_class AS t ON t.oid = k.confrelid
    JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
    CROSS JOIN ({_PLACES}) AS p
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.conkey[p.place]
    JOIN pg_catalog.pg_attribute AS ta ON ta.attrelid = t.oid AND ta.attnum = k.confkey[p.place]
    WHERE k.contype = 'f'
"""  # noqa: S608  made of constants

EXTERNAL_TABLES = """
    SELECT schemaname AS schema_name, tablename AS table_name, 'external' AS kind, CAST(NULL AS VARCHAR) AS comment,
           CAST(NULL AS BIGINT) AS row_count
    FROM svv_external_tables WHERE redshift_database_name = current_database()
"""

EXTERNAL_COLUMNS = """
    SELECT schemaname AS schema_name, tablename AS table_name, columnname AS column_name, columnnum AS ordinal,
           external_type AS native_type, TRUE AS is_nullable, CAST(NULL AS VARCHAR) AS comment
    FROM svv_external_columns WHERE redshift_database_name = current_database()
"""

LATE_COLUMNS = """
    SELECT view_schema AS schema_name, view_name AS table_name, col_name AS column_name, col_num AS ordinal,
           col_type AS native_type, TRUE AS is_nullable, CAST(NULL AS VARCHAR) AS comment
    FROM pg_get_late_binding_view_cols() AS c(view_schema NAME, view_name NAME, col_name NAME, col_type VARCHAR, col_num INT)
"""
"""Views made WITH NO SCHEMA BINDING have no columns in pg_attribute."""


def redshift_driver(
    connection_id: str, *, url: str | None, settings: Mapping[str, str | int | None]
) -> Driver:
    """Describe a Redshift database; `settings` are libpq's, and complete or override those of `url`.

    Raises:
        ConfigError: the address cannot be read.
    """
    address = libpq_address(
        connection_id,
        url,
        settings,
        schemes=("redshift+psycopg://", "redshift+redshift_connector://", "redshift://"),
    )
    address.setdefault("port", "5439")
    address.setdefault("sslmode", "require")
    return Driver(
        name="redshift",
        dialect="redshift",
        open_session=lambda: LibpqSession(connection_id, address),
        catalog=read_redshift,
        text_type="VARCHAR(65535)",
    )


def read_redshift(schemas: Sequence[str], run: Callable[[str], Rows]) -> CatalogRecords:
    """Read the catalog in seven queries, however many tables there are."""
    del schemas
    gaps: list[CapabilityGap] = []

    def optional(what: str, statement: str) -> list[Record]:
        return optional_records(what, statement, run=run, gaps=gaps)

    tables = [*records_of(run(TABLES)), *optional("external tables", EXTERNAL_TABLES)]
    columns = records_of(run(COLUMNS))
    external = optional("columns of external tables", EXTERNAL_COLUMNS)
    late = optional("columns of late-binding views", LATE_COLUMNS)
    return CatalogRecords(
        tables=tables,
        columns=[*columns, *external, *late],
        keys=optional("declared primary and unique keys", KEYS),
        foreign_keys=optional("declared foreign keys", FOREIGN_KEYS),
        gaps=tuple(gaps),
    )
