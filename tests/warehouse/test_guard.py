"""What the guard lets through, what it refuses, and what it makes of the limit."""

import pytest

from ktx.errors import QueryError
from ktx.warehouse.guard import prepare_query

REFUSED = [
    # writing, hidden or not
    ("postgres", "INSERT INTO t VALUES (1)", "INSERT"),
    ("postgres", "WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone", "DELETE"),
    ("postgres", "WITH a AS (SELECT 1), b AS (UPDATE t SET a = 1 RETURNING a) SELECT * FROM a, b", "UPDATE"),
    ("postgres", "WITH n AS (INSERT INTO t SELECT 1 RETURNING *) SELECT * FROM n", "INSERT"),
    ("postgres", "SELECT 1 INTO stolen", "SELECT INTO"),
    ("postgres", "SELECT * FROM (SELECT 1 AS a) AS q FOR UPDATE", "FOR UPDATE"),
    ("postgres", "SELECT * FROM t WHERE id IN (SELECT id FROM u FOR SHARE)", "FOR UPDATE or FOR SHARE"),
    ("postgres", "COPY t TO '/tmp/x'", "COPY"),
    ("postgres", "COPY (SELECT 1) TO PROGRAM 'sh'", "COPY"),
    ("postgres", "TRUNCATE t", "TRUNCATE"),
    ("postgres", "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", "MERGE"),
    ("postgres", "EXPLAIN ANALYZE DELETE FROM t", "EXPLAIN"),
    ("postgres", "CALL purge()", "CALL"),
    ("postgres", "DO $$ BEGIN DELETE FROM t; END $$", ""),
    ("postgres", "SET search_path = evil", "SET"),
    ("postgres", "PREPARE p AS DELETE FROM t", "PREPARE"),
    ("postgres", "LISTEN x", ""),
    ("postgres", "VACUUM t", "VACUUM"),
    ("postgres", "CREATE TABLE x AS SELECT 1", "CREATE"),
    ("postgres", "GRANT ALL ON t TO public", "GRANT"),
    ("mysql", "SELECT * FROM t INTO OUTFILE '/tmp/x'", "cannot be read"),
    ("mysql", "SELECT 1 INTO @a", "SELECT INTO"),
    ("mysql", "SELECT * FROM t LOCK IN SHARE MODE", "FOR UPDATE or FOR SHARE"),
    ("mysql", "REPLACE INTO t VALUES (1)", ""),
    ("mysql", "HANDLER t OPEN", ""),
    ("mysql", "LOAD DATA INFILE '/x' INTO TABLE t", ""),
    ("sqlite", "ATTACH 'x.db' AS x", "ATTACH"),
    ("sqlite", "PRAGMA writable_schema = 1", "PRAGMA"),
    ("sqlite", "VACUUM INTO 'x.db'", ""),
    ("duckdb", "INSTALL httpfs", ""),
    ("duckdb", "COPY t TO 'x.csv'", "COPY"),
    ("duckdb", "EXPORT DATABASE 'x'", ""),
    ("duckdb", "FROM t SELECT a; DROP TABLE t", "2 statements"),
    ("tsql", "EXEC sp_who", "EXECUTE"),
    ("tsql", "SELECT 1 AS a INTO #x", "SELECT INTO"),
    ("bigquery", "EXPORT DATA OPTIONS (uri = 'gs://x/*') AS SELECT 1", ""),
    ("redshift", "UNLOAD ('SELECT 1') TO 's3://x' IAM_ROLE default", ""),
    ("snowflake", "REMOVE @stage", ""),
    # more than one, or none
    ("postgres", "SELECT 1; SELECT 2", "2 statements"),
    ("postgres", "SELECT 1; COMMIT; BEGIN READ WRITE; DELETE FROM t", "4 statements"),
    ("postgres", "", "no statement"),
    ("postgres", "-- nothing\n;", "no statement"),
    ("mysql", "SELECT 1 /*! UNION SELECT 2 */", "comment that MySQL executes"),
    ("mysql", "SELECT /*!50000 SLEEP(5) */ 1", "comment that MySQL executes"),
    ("mysql", "SELECT 1 /*M! INTO OUTFILE '/tmp/x' */", "comment that MySQL executes"),
    ("mysql", "/*!40000 DROP TABLE t */ SELECT 1", "comment that MySQL executes"),
    # files, network, other sessions, waiting
    ("postgres", "SELECT pg_read_file('/etc/passwd')", "`pg_read_file`"),
    ("postgres", "SELECT pg_catalog.pg_read_file('/etc/passwd')", "`pg_read_file`"),
    ("postgres", "SELECT \"pg_read_file\"('/etc/passwd')", "`pg_read_file`"),
    ("postgres", "SELECT PG_SLEEP(60)", "`pg_sleep`"),
    ("postgres", "SELECT * FROM pg_ls_dir('/')", "`pg_ls_dir`"),
    ("postgres", "SELECT * FROM ROWS FROM (pg_ls_dir('/')) AS f", "`pg_ls_dir`"),
    ("postgres", "SELECT a FROM t ORDER BY (SELECT pg_terminate_backend(1))", "`pg_terminate_backend`"),
    ("postgres", "SELECT a FROM t LIMIT (SELECT length(pg_read_file('x')))", "`pg_read_file`"),
    ("postgres", "SELECT (dblink('dbname=x', 'DELETE FROM t')).*", "`dblink`"),
    ("postgres", "SELECT lo_export(1, '/tmp/x')", "`lo_export`"),
    ("postgres", "SELECT query_to_xml('DELETE FROM t', true, true, '')", "`query_to_xml`"),
    ("postgres", "SELECT set_config('default_transaction_read_only', 'off', false)", "`set_config`"),
    ("postgres", "SELECT nextval('s')", "`nextval`"),
    ("postgres", "SELECT pg_advisory_lock(1)", "`pg_advisory_lock`"),
    ("mysql", "SELECT LOAD_FILE('/etc/passwd')", "`load_file`"),
    ("mysql", "SELECT BENCHMARK(1000000000, SHA1('x'))", "`benchmark`"),
    ("mysql", "SELECT SLEEP(100)", "`sleep`"),
    ("mysql", "SELECT GET_LOCK('x', 10)", "`get_lock`"),
    ("mysql", "SELECT @a := 1", "assignment"),
    ("mysql", "SELECT @@secure_file_priv", "session variable"),
    ("mysql", "SELECT /*+ SET_VAR(max_execution_time=0) */ 1", "hint"),
    ("sqlite", "SELECT load_extension('x')", "`load_extension`"),
    ("sqlite", "SELECT writefile('x', 'y')", "`writefile`"),
    ("sqlite", "SELECT * FROM pragma_database_list", "`pragma_database_list`"),
    ("sqlite", "SELECT * FROM pragma_table_info('t')", "`pragma_table_info`"),
    ("duckdb", "SELECT * FROM read_csv('/etc/passwd')", "READ_CSV"),
    ("duckdb", "SELECT * FROM read_text('/etc/passwd')", "`read_text`"),
    ("duckdb", "SELECT * FROM '/etc/passwd'", "/etc/passwd"),
    ("duckdb", "FROM 'data.parquet'", "data.parquet"),
    ("duckdb", 'SELECT * FROM "s3://bucket/x.parquet"', "s3://bucket"),
    ("duckdb", "SELECT * FROM glob('/*')", "`glob`"),
    ("duckdb", "SELECT * FROM query('DROP TABLE t')", "`query`"),
    ("duckdb", "SELECT * FROM sniff_csv('x')", "`sniff_csv`"),
    ("duckdb", "SELECT * FROM t, LATERAL (SELECT * FROM read_json('x'))", "read_json"),
    ("duckdb", "SELECT getenv('HOME')", "`getenv`"),
    ("duckdb", "SELECT * FROM duckdb_secrets()", "`duckdb_secrets`"),
    ("clickhouse", "SELECT * FROM url('http://169.254.169.254/', CSV)", "`url`"),
    ("clickhouse", "SELECT * FROM file('x.csv')", "`file`"),
    ("clickhouse", "SELECT * FROM remote('host', db, t)", "`remote`"),
    ("clickhouse", "SELECT 1 SETTINGS readonly = 0", "SETTINGS"),
    ("clickhouse", "SELECT sleep(3)", "`sleep`"),
    ("bigquery", "SELECT * FROM EXTERNAL_QUERY('c', 'DELETE FROM t')", "`external_query`"),
    ("snowflake", "SELECT SYSTEM$ABORT_SESSION(1)", "`system$abort_session`"),
    ("snowflake", "SELECT $1 FROM @stage/x", ""),
    ("tsql", "SELECT * FROM OPENROWSET('a', 'b', 'c')", "`openrowset`"),
    ("tsql", "SELECT * FROM t WITH (TABLOCKX, HOLDLOCK)", "TABLOCKX"),
    ("clickhouse", "SELECT 1 INTO OUTFILE 'x'", "cannot be read"),
    ("databricks", "SELECT * FROM read_files('/x')", "`read_files`"),
    ("databricks", "SELECT * FROM csv.`/x`", "/x"),
]


@pytest.mark.parametrize(("dialect", "sql", "names"), REFUSED)
def test_statement_is_refused_and_the_construct_named(dialect: str, sql: str, names: str) -> None:
    with pytest.raises(QueryError) as caught:
        prepare_query(sql, dialect=dialect, max_rows=10)
    assert names.lower() in caught.value.message.lower()


ALLOWED = [
    ("postgres", "SELECT a, count(*) FROM s.t WHERE b ~ 'x' GROUP BY a HAVING count(*) > 1 ORDER BY 2 DESC"),
    ("postgres", "-- a comment first\nSELECT 1"),
    ("postgres", "/* one */ SELECT 1 /* two */; -- three"),
    ("postgres", "((SELECT 1))"),
    ("postgres", "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1"),
    (
        "postgres",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r",
    ),
    ("postgres", "VALUES (1, 'a'), (2, 'b')"),
    ("postgres", "SELECT date_trunc('month', d)::date, sum(x) FILTER (WHERE y) OVER (PARTITION BY z) FROM t"),
    (
        "postgres",
        "SELECT j -> 'a' ->> 'b', arr[1], ARRAY[1, 2] FROM t CROSS JOIN LATERAL unnest(arr) AS u(v)",
    ),
    ("postgres", "SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b NULLS LAST"),
    ("postgres", "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x) FROM t"),
    ("postgres", "SELECT * FROM generate_series(1, 3) AS g"),
    ("postgres", "SELECT myschema.my_function(a) FROM t"),
    ("postgres", "SELECT pg_typeof(a) FROM t"),
    ("postgres", "SELECT 'insert into t; drop table x' AS harmless"),
    (
        "mysql",
        "SELECT `a`, GROUP_CONCAT(b ORDER BY c SEPARATOR ', ') FROM `t` WHERE d > NOW() - INTERVAL 1 DAY GROUP BY a",
    ),
    ("mysql", "SELECT a -- it's fine\nFROM t"),
    ("sqlite", "SELECT value FROM json_each('[1, 2]')"),
    ("sqlite", "SELECT strftime('%Y', d), total(x) FROM t GROUP BY 1"),
    ("duckdb", "SELECT * EXCLUDE (a) REPLACE (b AS c) FROM t"),
    ("duckdb", "FROM t SELECT a, list(b) GROUP BY ALL"),
    ("duckdb", "SELECT unnest([1, 2]), {'a': 1}.a, list_transform([1], x -> x + 1)"),
    ("duckdb", "SELECT * FROM range(5) AS r(n) QUALIFY row_number() OVER (ORDER BY n) < 3"),
    ("duckdb", "SELECT * FROM t PIVOT (sum(x) FOR y IN ('a', 'b'))"),
    ("duckdb", "SELECT * FROM t TABLESAMPLE 10%"),
    ("duckdb", "SELECT a FROM t ASOF JOIN u ON t.at >= u.at"),
    ("tsql", "SELECT * FROM t WITH (NOLOCK)"),
    ("mysql", "SELECT a FROM t USE INDEX (x) WHERE b"),
    ("bigquery", "SELECT * FROM t FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01'"),
    ("bigquery", "SELECT a.b, x FROM `p.d.t`, UNNEST(items) AS x WHERE _PARTITIONDATE > '2024-01-01'"),
    ("snowflake", "SELECT v:a.b::string FROM t, LATERAL FLATTEN(input => v) AS f"),
    ("tsql", "SELECT TOP 5 [a b] FROM [dbo].[t] CROSS APPLY (SELECT 1 AS x) AS q ORDER BY 1"),
    (
        "clickhouse",
        "SELECT toStartOfMonth(d), uniqExact(x) FROM t FINAL PREWHERE y = 1 GROUP BY 1 LIMIT 1 BY d",
    ),
]


@pytest.mark.parametrize(("dialect", "sql"), ALLOWED)
def test_reading_statement_passes(dialect: str, sql: str) -> None:
    assert prepare_query(sql, dialect=dialect, max_rows=10)


LIMITS = [
    ("postgres", "SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a LIMIT 11"),
    ("postgres", "SELECT a FROM t ORDER BY a LIMIT 5", "SELECT a FROM t ORDER BY a LIMIT 5"),
    (
        "postgres",
        "SELECT a FROM t ORDER BY a LIMIT 5000 OFFSET 3",
        "SELECT a FROM t ORDER BY a LIMIT 11 OFFSET 3",
    ),
    ("postgres", "SELECT a FROM t FETCH FIRST 3 ROWS ONLY", "SELECT a FROM t LIMIT 3"),
    ("postgres", "SELECT 1 UNION SELECT 2 ORDER BY 1", "SELECT 1 UNION SELECT 2 ORDER BY 1 LIMIT 11"),
    ("postgres", "(SELECT a FROM t ORDER BY a) LIMIT 50", "(SELECT a FROM t ORDER BY a) LIMIT 11"),
    (
        "postgres",
        "SELECT a FROM t LIMIT 1 + 1",
        "SELECT * FROM (SELECT a FROM t LIMIT 1 + 1) AS limited LIMIT 11",
    ),
    ("postgres", "SELECT 1 -- LIMIT 5", "SELECT 1 LIMIT 11"),
    ("tsql", "SELECT a FROM t", "SELECT TOP 11 a FROM t"),
    ("mysql", "SELECT a FROM t LIMIT 2, 100", "SELECT a FROM t LIMIT 11 OFFSET 2"),
]


@pytest.mark.parametrize(("dialect", "sql", "printed"), LIMITS)
def test_limit_goes_into_the_outermost_query(dialect: str, sql: str, printed: str) -> None:
    assert prepare_query(sql, dialect=dialect, max_rows=10) == printed


def test_values_are_cut_to_one_row_more_than_asked() -> None:
    assert (
        prepare_query("VALUES (1), (2), (3), (4)", dialect="postgres", max_rows=2) == "VALUES (1), (2), (3)"
    )


def test_unreadable_sql_names_the_place() -> None:
    with pytest.raises(QueryError, match="line 2"):
        prepare_query("SELECT a\nFROM t WHERE ((", dialect="postgres", max_rows=10)


def test_deep_nesting_is_refused_and_does_not_crash() -> None:
    sql = "SELECT " + "(" * 5000 + "1" + ")" * 5000
    with pytest.raises(QueryError):
        prepare_query(sql, dialect="postgres", max_rows=10)
