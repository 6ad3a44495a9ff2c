"""PostgreSQL: the catalog straight from pg_catalog, samples by random pages."""

from collections.abc import Mapping, Sequence

from sqlglot import exp

from ktx.warehouse.driver import CatalogQueries, Driver, sample_first_rows
from ktx.warehouse.history import HistoryReader
from ktx.warehouse.libpq import LibpqSession, libpq_address

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
        WITH RECURSIVE field AS (
            SELECT n.nspname AS schema_name, c.relname AS table_name, CAST(a.attname AS TEXT) AS column_name,
                   a.atttypid AS type_id, a.atttypmod AS modifier, NOT a.attnotnull AS is_nullable,
                   col_description(c.oid, a.attnum) AS comment, ARRAY[CAST(a.attnum AS INTEGER)] AS place
            FROM pg_attribute AS a
            JOIN pg_class AS c ON c.oid = a.attrelid
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
              AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
              AND has_column_privilege(c.oid, a.attnum, 'SELECT')
            UNION ALL
            SELECT f.schema_name, f.table_name, f.column_name || '.' || a.attname, a.atttypid, a.atttypmod, TRUE, NULL,
                   f.place || CAST(a.attnum AS INTEGER)
            FROM field AS f
            JOIN pg_type AS t ON t.oid = f.type_id AND t.typtype = 'c'
            JOIN pg_attribute AS a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE strpos(a.attname, '.') = 0 AND (strpos(f.column_name, '.') = 0 OR cardinality(f.place) > 1)
        )
        SELECT f.schema_name, f.table_name, f.column_name,
               row_number() OVER (PARTITION BY f.schema_name, f.table_name ORDER BY f.place) AS ordinal,
               CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod)
                    ELSE format_type(f.type_id, f.modifier) END AS native_type,
               f.is_nullable, f.comment
        FROM field AS f JOIN pg_type AS t ON t.oid = f.type_id
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


_HISTORY = """
    SELECT s.query AS sql, s.calls AS executions, r.rolname AS user_name, CAST(NULL AS TEXT) AS schema_name,
           CAST(NULL AS BIGINT) AS errors, CAST(NULL AS TIMESTAMP) AS first_seen, CAST(NULL AS TIMESTAMP) AS last_seen,
           i.stats_reset AS since
    FROM pg_stat_statements AS s
    JOIN pg_database AS d ON d.oid = s.dbid AND d.datname = current_database()
    LEFT JOIN pg_roles AS r ON r.oid = s.userid
    CROSS JOIN pg_stat_statements_info AS i
    WHERE s.toplevel
    ORDER BY s.calls DESC
    LIMIT 20000
"""
"""Sums since the last reset: no window, no times of a single execution, no failures."""


def postgres_driver(
    connection_id: str, *, url: str | None, settings: Mapping[str, str | int | None]
) -> Driver:
    """Describe a PostgreSQL database; `settings` are libpq's, and complete or override those of `url`.

    Raises:
        ConfigError: the address cannot be read.
    """
    address = libpq_address(
        connection_id, url, settings, schemes=("postgresql+psycopg://", "postgres+psycopg://")
    )
    return Driver(
        name="postgres",
        dialect="postgres",
        open_session=lambda: LibpqSession(connection_id, address, options=_OPTIONS),
        catalog=_CATALOG,
        records="wrapped",
        sample=_sample,
        history=HistoryReader(
            statement=lambda _: _HISTORY,
            advice="Put pg_stat_statements into shared_preload_libraries (PostgreSQL 14 or later), run CREATE EXTENSION "
            "pg_stat_statements in this database, and grant pg_read_all_stats to the user.",
            has_window=False,
            hidden="<insufficient privilege>",
        ),
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
