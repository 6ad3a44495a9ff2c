"""What is read from past queries, without a database: templates, scopes, columns, joins, and what is left out."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from ktx.catalog import Catalog, Column, Evidence, Table, TableRef
from ktx.ingest.history import usage_entries
from ktx.scan.history import History, HistorySettings, make_templates, read_usage
from ktx.scan.relationships.find import Settings, find_relationships
from ktx.semantic.manifest import Shard, ShardTable
from ktx.warehouse.drivers.bigquery import history_statement as bigquery_statement
from ktx.warehouse.drivers.snowflake import history_statement as snowflake_statement
from ktx.warehouse.guard import ensure_read_only, parse_query
from ktx.warehouse.history import MOST_QUERIES, HistoryReader, PastQueries, PastQuery, read_history
from ktx.warehouse.rows import make_rows

SEEN = datetime(2026, 3, 1, tzinfo=UTC)


def table(name: str, *columns: str, schema: str = "public", key: str | None = None) -> Table:
    return Table(
        ref=TableRef(schema=schema, name=name),
        columns=tuple(Column(name=column, native_type="int", kind="number") for column in columns),
        primary_key=(key,) if key else (),
    )


CATALOG = Catalog(
    connection_id="w",
    dialect="postgres",
    tables=(
        table("orders", "old", schema="archive"),
        table("customers", "id", "shop", "name", "city", key="id"),
        table("orders", "id", "buyer", "shop", "status", "placed", key="id"),
    ),
)
ORDERS, CUSTOMERS = TableRef(schema="public", name="orders"), TableRef(schema="public", name="customers")


def past(*statements: str, executions: int = 10, user: str = "ann", **changes: object) -> PastQueries:
    queries = [PastQuery(sql=sql, executions=executions, user=user, **changes) for sql in statements]  # type: ignore[arg-type]
    return PastQueries(queries=tuple(queries), has_window=False)


def read(*statements: str, settings: HistorySettings | None = None, **changes: object) -> History:
    return read_usage(past(*statements, **changes), CATALOG, settings or HistorySettings())  # type: ignore[arg-type]


def test_statements_that_differ_in_values_are_one_template_with_one_id() -> None:
    queries = past(
        "SELECT id FROM orders WHERE status = 'a' AND shop IN (1, 2) -- Ann's",
        "select id from orders where status = 'b' and shop in (3)",
        "SELECT id FROM orders WHERE status = $1 AND shop IN ($2, $3)",
    ).queries
    (template,), _ = make_templates(queries, "postgres")
    assert template.executions == 30
    assert template.sql == "SELECT id FROM orders WHERE status = ? AND shop IN (?)"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM orders o JOIN customers c ON o.buyer = c.id",
        "SELECT count(*) FROM customers, orders WHERE customers.id = buyer",
        "WITH o AS (SELECT buyer AS b FROM public.orders) SELECT city FROM o JOIN customers c ON c.id = o.b",
        "SELECT 1 FROM (SELECT buyer FROM orders WHERE status = 'x') q LEFT JOIN customers ON customers.id = q.buyer",
    ],
)
def test_join_is_found_however_it_is_written(sql: str) -> None:
    (join,) = read(sql).joins
    assert (join.left, join.left_columns, join.right, join.right_columns) == (
        CUSTOMERS,
        ("id",),
        ORDERS,
        ("buyer",),
    )
    assert join.executions == 10


def test_join_on_two_columns_is_one_join() -> None:
    (join,) = read("SELECT 1 AS x FROM orders o JOIN customers c ON o.buyer = c.id AND c.shop = o.shop").joins
    assert (join.left_columns, join.right_columns) == (("id", "shop"), ("buyer", "shop"))


def test_filters_and_groups_hold_columns_and_no_values() -> None:
    found = read(
        "SELECT date_trunc('month', placed), count(*) FROM orders "
        "WHERE status = 'paid by Ann' AND placed >= DATE '2024-01-01' AND (shop = 4711 OR shop = 4712) GROUP BY 1"
    )
    usage = found.usage[ORDERS]
    assert usage.filters == ("placed >= CAST(? AS DATE)", "shop = ? OR shop = ?", "status = ?")
    assert len(usage.group_bys) == 1
    assert "placed" in usage.group_bys[0]
    assert not any(value in repr(found) for value in ("Ann", "4711", "2024-01-01"))


def test_same_name_in_another_schema_is_another_table() -> None:
    assert set(read("SELECT old FROM archive.orders WHERE old > 3").usage) == {
        TableRef(schema="archive", name="orders")
    }
    assert set(read("SELECT id FROM orders WHERE id > 3").usage) == {ORDERS}
    assert set(read("SELECT old FROM orders WHERE old > 3", schema="archive").usage) == {
        TableRef(schema="archive", name="orders")
    }


def test_what_is_no_question_is_left_out_and_counted() -> None:
    found = read(
        "INSERT INTO orders VALUES (1)",
        "CREATE TABLE x (a int)",
        "SELECT relname FROM pg_class",
        "SELECT table_name FROM information_schema.tables",
        "SELECT 1",
        "SELECT * FROM orders LIMIT 10",
        "SELECT count(*) FROM orders",
        "SELECT max(id) FROM orders /* ktx */",
        "SELECT a FROM unknown_table WHERE a = 1",
        "this is no SQL (",
    )
    assert found.usage == {}
    assert found.dropped == {
        "asked by ktx": 1, "no query": 2, "no table in scope": 1, "not understood": 1, "system catalog": 2,
        "trivial probe": 3,
    }  # fmt: skip


def test_failing_rare_and_program_queries_are_left_out_by_their_own_settings() -> None:
    sql = "SELECT id FROM orders WHERE id > 1"
    assert read(sql, executions=4).dropped == {"too rare": 1}
    assert read(sql, settings=HistorySettings(failing=(0.5, 5)), errors=6).dropped == {"fails": 1}
    assert not read(sql, settings=HistorySettings(failing=(0.5, 5)), errors=None).dropped
    programs = HistorySettings(programs=("^svc_",))
    assert read(sql, settings=programs, user="svc_dbt").dropped == {"service accounts only": 1}
    mixed = PastQueries(
        queries=(*past(sql, user="svc_dbt").queries, *past(sql, user="ann").queries), has_window=False
    )
    assert read_usage(mixed, CATALOG, programs).usage[ORDERS].executions == 20


def test_history_without_a_table_in_scope_keeps_nothing_and_warns() -> None:
    found = read("SELECT id FROM orders WHERE id > 1", settings=HistorySettings(schemas=("nowhere",)))
    assert found.usage == {}
    assert "scope" in found.warnings[0]


def test_query_that_does_not_fit_the_catalog_still_counts_for_its_tables() -> None:
    found = read("SELECT o.id FROM orders o WHERE o.status = 'x' AND no_such = 3")
    assert found.usage[ORDERS].filters == ("status = ?",)


def test_observed_join_leads_to_a_reference_only_towards_a_key() -> None:
    joins = read("SELECT 1 AS x FROM orders o JOIN customers c ON o.buyer = c.id WHERE c.city = 'x'").joins
    found = find_relationships(CATALOG, {}, settings=Settings(observed=joins))
    (one,) = [one for one in found.relationships if one.source_columns == ("buyer",)]
    assert (one.source, one.target, one.target_columns, one.decision) == (
        ORDERS,
        CUSTOMERS,
        ("id",),
        "review",
    )
    assert (
        Evidence(
            signal="observed join", strength=0.9, detail="joined so in past queries (10 to 100 executions)"
        )
        in one.evidence
    )
    other = read("SELECT 1 AS x FROM orders o JOIN customers c ON o.status = c.name WHERE c.city = 'x'").joins
    assert other
    assert find_relationships(CATALOG, {}, settings=Settings(observed=other)).relationships == (
        find_relationships(CATALOG, {}, settings=Settings()).relationships
    )


def entries(history: History, usage: dict[str, object] | None, today: date) -> dict[str, object]:
    old = {"public": Shard(tables={"orders": ShardTable(table="public.orders", usage=usage)})}
    return usage_entries(history, {ORDERS: "orders", CUSTOMERS: "customers"}, old, today=today)[ORDERS]


def test_table_that_a_window_no_longer_shows_is_stale_since_the_run_that_found_it() -> None:
    queries = PastQueries(queries=past("SELECT id FROM customers WHERE id > 1").queries, has_window=True)
    history = read_usage(queries, CATALOG, HistorySettings())
    used: dict[str, object] = {
        "narrative": "Daily revenue.",
        "frequencyTier": "high",
        "commonFilters": ["status = ?"],
    }
    first = entries(history, used, date(2026, 3, 1))
    assert first == {"narrative": "Daily revenue.", "frequencyTier": "unused", "staleSince": "2026-03-01"}
    assert entries(history, first, date(2026, 4, 1)) == first
    assert entries(history, None, date(2026, 4, 1)) == {"frequencyTier": "unused"}


def test_recorded_rows_keep_what_was_not_recorded_unknown() -> None:
    rows = make_rows(
        [(name, None) for name in ("SQL", "EXECUTIONS", "USER_NAME", "SCHEMA_NAME", "ERRORS", "FIRST_SEEN", "LAST_SEEN")],
        [["SELECT 1", 7, "ANN", "SALES", 2, SEEN, SEEN], ["SELECT 2", 1, None, None, None, None, None]],
        max_rows=None,
    )  # fmt: skip
    reader = HistoryReader(statement=snowflake_statement, advice="", has_window=True)
    first, second = read_history(reader, window_days=3, run=lambda _: rows).queries
    assert (first.executions, first.user, first.schema, first.errors, first.last_seen) == (
        7,
        "ANN",
        "SALES",
        2,
        SEEN,
    )
    assert (second.user, second.errors, second.first_seen, second.last_seen) == (None, None, None, None)


@pytest.mark.parametrize(
    ("statement", "dialect", "parts"),
    [
        (
            bigquery_statement("EU")(30),
            "bigquery",
            ("`region-eu.INFORMATION_SCHEMA.JOBS_BY_PROJECT`", "30", "'ktx'"),
        ),
        (bigquery_statement(None)(7), "bigquery", ("region-us", "7")),
        (snowflake_statement(30), "snowflake", ("CURRENT_DATABASE()", "-30", "query_tag <> 'ktx'")),
    ],
)
def test_history_statements_are_bounded_read_only_statements_of_the_dialect(
    statement: str, dialect: str, parts: tuple[str, ...]
) -> None:
    ensure_read_only(parse_query(statement, dialect=dialect), dialect=dialect)
    assert all(part in statement for part in parts)


def test_record_that_is_too_long_is_cut_and_says_so() -> None:
    for statement in (bigquery_statement("EU")(30), snowflake_statement(30)):
        assert statement.endswith(f"ORDER BY executions DESC LIMIT {MOST_QUERIES}")
    rows = make_rows(
        [("sql", None), ("executions", None)],
        [["SELECT id FROM orders WHERE id > 1", 9]] * MOST_QUERIES,
        max_rows=None,
    )
    queries = read_history(
        HistoryReader(statement=snowflake_statement, advice="", has_window=True),
        window_days=1,
        run=lambda _: rows,
    )
    assert queries.is_cut
    (warning,) = read_usage(
        replace(queries, queries=queries.queries[:5]), CATALOG, HistorySettings()
    ).warnings
    assert "most executed" in warning


def test_snowflake_names_are_read_in_their_own_case() -> None:
    catalog = Catalog(
        connection_id="w", dialect="snowflake", tables=(table("ORDERS", "ID", "STATUS", schema="SALES"),)
    )
    found = read_usage(
        past("select status from orders where id > 5", schema="SALES"), catalog, HistorySettings()
    )
    (usage,) = found.usage.values()
    assert usage.filters == ("ID > ?",)
