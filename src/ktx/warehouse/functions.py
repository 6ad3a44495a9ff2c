"""Functions that a read-only statement may not call: they reach files, the network, other sessions, or wait.

A function in FROM makes rows, and in most engines the dangerous ones live there: where an engine has a small set of
harmless ones, only those may be used (`TABLE_FUNCTIONS`). Anywhere else the denied names and prefixes apply; user-defined
functions pass, because the read-only session stands behind them.
"""

from collections.abc import Mapping

_FILES_AND_NETWORK = frozenset(
    {
        "load_file",
        "load_extension",
        "readfile",
        "writefile",
        "edit",
        "fts3_tokenizer",
        "url",
        "urlcluster",
        "file",
    }
)

_POSTGRES_NAMES = frozenset(
    {
        "set_config", "nextval", "setval", "query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema",
        "cursor_to_xml", "cursor_to_xmlschema", "table_to_xml", "table_to_xmlschema", "table_to_xml_and_xmlschema",
        "schema_to_xml", "schema_to_xmlschema", "schema_to_xml_and_xmlschema", "database_to_xml",
        "database_to_xmlschema", "database_to_xml_and_xmlschema", "lowrite", "loread", "loopen", "lo_open",
        "ts_stat", "crosstab", "connectby", "http", "http_get", "http_post", "http_put", "http_delete", "http_head",
        "xpath_table", "binary_upgrade_set_next_pg_type_oid", "txid_current", "currtid2",
    }
)  # fmt: skip
_POSTGRES_PREFIXES = (
    "pg_",
    "lo_",
    "dblink",
    "postgres_fdw_",
    "aws_",
    "plpy",
    "brin_",
    "gin_clean",
    "crosstab",
)
_POSTGRES_ALLOWED = frozenset(
    {
        "pg_typeof", "pg_column_size", "pg_table_size", "pg_relation_size", "pg_total_relation_size", "pg_size_pretty",
        "pg_size_bytes", "pg_get_expr", "pg_get_viewdef", "pg_get_constraintdef", "pg_get_indexdef",
        "pg_get_userbyid", "pg_table_is_visible", "pg_collation_for", "pg_input_is_valid", "pg_timezone_names",
        "pg_timezone_abbrevs", "pg_encoding_to_char",
    }
)  # fmt: skip

_MYSQL_NAMES = frozenset(
    {
        "sleep", "benchmark", "get_lock", "release_lock", "release_all_locks", "is_free_lock", "is_used_lock",
        "master_pos_wait", "source_pos_wait", "wait_for_executed_gtid_set", "wait_until_sql_thread_after_gtids",
        "sys_exec", "sys_eval", "sys_get", "sys_set", "lib_mysqludf_sys_info", "nextval", "setval", "lastval",
        "last_insert_id",
    }
)  # fmt: skip

DENIED_NAMES: Mapping[str, frozenset[str]] = {
    "postgres": _POSTGRES_NAMES,
    "redshift": _POSTGRES_NAMES,
    "mysql": _MYSQL_NAMES,
    "duckdb": frozenset(
        {
            "getenv", "nextval", "setval", "write_log", "query", "query_table", "glob", "sniff_csv", "sqlite_attach",
            "which_secret", "json_execute_serialized_sql", "json_serialize_plan", "from_substrait",
            "from_substrait_json", "set_config", "http_get", "http_post", "getvariable", "setseed",
        }
    ),
    "sqlite": frozenset({"load_extension", "zipfile", "fsdir", "lsmode", "sqlite_dbpage", "dbstat"}),
    "clickhouse": frozenset(
        {
            "sleep", "sleepeachrow", "file", "filecluster", "url", "urlcluster", "remote", "remotesecure", "s3",
            "s3cluster", "gcs", "hdfs", "hdfscluster", "azureblobstorage", "azureblobstoragecluster", "mysql",
            "postgresql", "mongodb", "redis", "sqlite", "odbc", "jdbc", "executable", "input", "iceberg", "hudi",
            "deltalake", "cluster", "clusterallreplicas", "dictget_remote", "loop", "ytsaurus", "getsetting",
            "catboostevaluate", "generateserialid", "addresstoline", "addresstosymbol", "demangle",
        }
    ),
    "snowflake": frozenset({"infer_schema", "get_presigned_url", "build_scoped_file_url", "build_stage_file_url"}),
    "bigquery": frozenset({"external_query", "external_object_transform", "session_user"}),
    "tsql": frozenset(
        {"openrowset", "openquery", "opendatasource", "openxml", "sp_executesql", "fn_xe_file_target_read_file",
         "fn_get_audit_file", "fn_trace_gettable", "fn_dump_dblog", "fn_dblog", "xp_cmdshell"}
    ),
    "trino": frozenset({"query", "raw_query", "procedure"}),
    "databricks": frozenset(
        {"read_files", "remote_query", "reflect", "java_method", "ai_query", "http_request", "secret", "try_secret",
         "read_kafka", "read_kinesis", "read_pubsub", "read_pulsar", "try_reflect"}
    ),
    "oracle": frozenset({"bfilename", "httpuritype", "sys_context", "xmltype"}),
}  # fmt: skip
"""By dialect, in lower case, without a schema in front."""

DENIED_PREFIXES: Mapping[str, tuple[str, ...]] = {
    "postgres": _POSTGRES_PREFIXES,
    "redshift": _POSTGRES_PREFIXES,
    "duckdb": (
        "read_",
        "parquet_",
        "pragma_",
        "sqlite_",
        "postgres_",
        "mysql_",
        "iceberg_",
        "delta_",
        "st_read",
        "pg_",
    ),
    "sqlite": ("pragma_",),
    "snowflake": ("system$", "ai_", "cortex"),
    "tsql": ("sp_", "xp_", "fn_dump", "fn_my"),
    "oracle": ("utl_", "dbms_"),
    "bigquery": ("ml.", "ai.", "net."),
}
"""By dialect, in lower case."""

ALLOWED_NAMES: Mapping[str, frozenset[str]] = {
    "postgres": _POSTGRES_ALLOWED,
    "redshift": _POSTGRES_ALLOWED,
    "duckdb": frozenset({"pg_typeof", "pg_get_expr", "pg_size_pretty"}),
}
"""Exceptions from the prefixes."""

TABLE_FUNCTIONS: Mapping[str, frozenset[str]] = {
    "duckdb": frozenset(
        {
            "generate_series", "explodinggenerateseries", "range", "unnest", "explode", "json_each", "json_tree",
            "generate_subscripts", "repeat", "repeat_row", "duckdb_columns", "duckdb_constraints", "duckdb_schemas",
            "duckdb_tables", "duckdb_views", "duckdb_types", "duckdb_functions", "pg_timezone_names", "summary",
        }
    ),
    "sqlite": frozenset({"json_each", "json_tree", "generate_series", "generateseries", "explodinggenerateseries"}),
    "clickhouse": frozenset(
        {"numbers", "numbers_mt", "zeros", "generate_series", "generateseries", "explodinggenerateseries", "values",
         "null", "merge", "view", "unnest"}
    ),
}  # fmt: skip
"""By dialect, the only functions that may stand in FROM; a dialect that is absent allows what is not denied."""


def why_denied(name: str, *, dialect: str, makes_rows: bool) -> str | None:
    """Say why a function may not be called, or give None; `name` may be in any case and schema-qualified.

    >>> why_denied("PG_SLEEP", dialect="postgres", makes_rows=False)
    'function `pg_sleep` is not allowed: it reaches beyond the tables of the database'
    >>> why_denied("upper", dialect="postgres", makes_rows=False) is None
    True
    """
    plain = name.lower()
    if plain in ALLOWED_NAMES.get(dialect, frozenset()):
        return None
    is_denied = (
        plain in _FILES_AND_NETWORK
        or plain in DENIED_NAMES.get(dialect, frozenset())
        or plain.startswith(DENIED_PREFIXES.get(dialect, ()))
    )
    only = TABLE_FUNCTIONS.get(dialect)
    if makes_rows and only is not None:
        is_denied = plain not in only
    return (
        f"function `{plain}` is not allowed: it reaches beyond the tables of the database"
        if is_denied
        else None
    )
