"""Databases that cannot run here: their statements are read back in their dialect, their recorded rows become a catalog.

Nothing here stands in for a database: what a server would say to a statement is not tested.
"""

from collections.abc import Callable, Mapping, Sequence

import pytest
import sqlglot
from sqlglot import exp

from ktx.catalog import Catalog, Column, Table, TableRef
from ktx.errors import QueryError
from ktx.warehouse.driver import Capabilities, CatalogQueries, CatalogReader, Driver
from ktx.warehouse.drivers.bigquery import BigquerySettings, bigquery_driver, bigquery_reader, job_config
from ktx.warehouse.drivers.clickhouse import clickhouse_driver
from ktx.warehouse.drivers.databricks import databricks_driver, databricks_reader
from ktx.warehouse.drivers.redshift import redshift_driver
from ktx.warehouse.drivers.snowflake import read_snowflake, snowflake_driver
from ktx.warehouse.drivers.sqlserver import sqlserver_driver
from ktx.warehouse.drivers.trino import trino_driver, trino_reader
from ktx.warehouse.guard import ensure_read_only, parse_query
from ktx.warehouse.identify import with_paths
from ktx.warehouse.introspect import Scope, read_catalog
from ktx.warehouse.keys import InclusionCheck, inclusions
from ktx.warehouse.profile import profile_table
from ktx.warehouse.rows import Rows, make_rows

DRIVERS: Mapping[str, Driver] = {
    "snowflake": snowflake_driver("w", {"account": "a"}),
    "bigquery": bigquery_driver("w", BigquerySettings()),
    "sqlserver": sqlserver_driver("w", {}),
    "clickhouse": clickhouse_driver("w", {}),
    "redshift": redshift_driver("w", url=None, settings={"host": "h"}),
    "trino": trino_driver("w", {}, password=None, catalogs=("hive",)),
    "databricks": databricks_driver("w", {}, catalog="main"),
}


def rows_of(records: Sequence[Mapping[str, object]]) -> Rows:
    names = list(records[0]) if records else ["nothing"]
    return make_rows(
        [(name, None) for name in names], [list(record.values()) for record in records], max_rows=None
    )


class Recorded:
    """Recorded answers, by a part of the statement; a statement nobody recorded is refused, as without privileges."""

    def __init__(self, answers: Mapping[str, Sequence[Mapping[str, object]]]) -> None:
        self.answers = answers
        self.statements: list[str] = []

    def __call__(self, sql: str) -> Rows:
        self.statements.append(sql)
        for part, records in self.answers.items():
            if part in sql:
                return rows_of(records)
        raise QueryError("no privileges")


def catalog_from(reader: CatalogReader, run: Callable[[str], Rows], dialect: str, *schemas: str) -> Catalog:
    return read_catalog(
        "w", dialect, reader, run=run, scope=Scope(schemas=schemas), capabilities=Capabilities()
    )


def statements_of(driver: Driver, *schemas: str) -> list[str]:
    if isinstance(driver.catalog, CatalogQueries):
        queries = driver.catalog
        found = [queries.tables, queries.columns, queries.keys, queries.foreign_keys, queries.unreadable]
        return [query for query in found if query]
    asked = Recorded({" ": []})
    driver.catalog(schemas, asked)
    return asked.statements


@pytest.mark.parametrize("name", DRIVERS)
def test_catalog_statements_are_read_only_statements_of_the_dialect(name: str) -> None:
    driver = DRIVERS[name]
    statements = statements_of(driver, "Sales")
    assert len(statements) >= 2
    for statement in statements:
        if statement.startswith("SHOW "):
            assert isinstance(sqlglot.parse_one(statement, read=driver.dialect), exp.Show)
        else:
            tree = parse_query(statement, dialect=driver.dialect)
            if "pg_get_late_binding_view_cols" not in statement:
                ensure_read_only(tree, dialect=driver.dialect)


@pytest.mark.parametrize("name", ["snowflake", "databricks", "trino"])
def test_schemas_in_scope_are_part_of_the_statements(name: str) -> None:
    for statement in statements_of(DRIVERS[name], "Sales"):
        assert "'Sales'" in statement or '"Sales"' in statement


def captured(driver: Driver, ask: Callable[[Callable[[exp.Query], Rows]], object]) -> str:
    """Give the first statement that `ask` would send."""
    sent: list[str] = []

    def run(tree: exp.Query) -> Rows:
        ready = with_paths(tree.copy()) if driver.records else tree
        sent.append(ready.sql(dialect=driver.dialect))
        raise QueryError("not run")

    with pytest.raises(QueryError, match="not run"):
        ask(run)
    return sent[0]


ORDERS = Table(
    ref=TableRef(schema="sales", name="order"),
    row_count=1_000_000,
    columns=(
        Column(name="id", native_type="INT", kind="number"),
        Column(name="note", native_type="VARCHAR", kind="string"),
        Column(name="at", native_type="DATE", kind="time"),
    ),
)


@pytest.mark.parametrize("name", DRIVERS)
def test_profile_and_key_checks_are_statements_of_the_dialect(name: str) -> None:
    driver = DRIVERS[name]
    check = InclusionCheck(
        child=ORDERS.ref,
        child_columns=("id",),
        parent=ORDERS.ref,
        parent_columns=("id",),
        limit=5,
        as_text=True,
    )
    for statement in (
        captured(driver, lambda run: profile_table(ORDERS, sample_rows=100, driver=driver, run=run)),
        captured(driver, lambda run: inclusions([check], run=run, text_type=driver.text_type)),
    ):
        ensure_read_only(parse_query(statement, dialect=driver.dialect), dialect=driver.dialect)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("snowflake", 'SELECT "id" FROM "sales"."order" LIMIT 100'),
        ("bigquery", "SELECT `id` FROM `sales`.`order` TABLESAMPLE SYSTEM (0.020000 PERCENT) LIMIT 100"),
        ("sqlserver", "SELECT TOP 100 [id] FROM [sales].[order]"),
        ("clickhouse", 'SELECT "id" FROM "sales"."order" LIMIT 100'),
        ("redshift", 'SELECT "id" FROM "sales"."order" LIMIT 100'),
        ("trino", 'SELECT "id" FROM "sales"."order" LIMIT 100'),
        ("databricks", "SELECT `id` FROM `sales`.`order` LIMIT 100"),
    ],
)
def test_sample_never_sorts_the_table(name: str, expected: str) -> None:
    driver = DRIVERS[name]
    table = exp.Table(
        this=exp.to_identifier("order", quoted=True), db=exp.to_identifier("sales", quoted=True)
    )
    columns = [exp.column(exp.to_identifier("id", quoted=True))]
    assert driver.sample(table, columns, 100, 1_000_000).sql(driver.dialect) == expected


def test_snowflake_rows_become_a_catalog_with_composite_keys() -> None:
    run = Recorded(
        {
            "tables": [
                {"SCHEMA_NAME": "SALES", "TABLE_NAME": "ORDERS", "KIND": "table", "COMMENT": "bought", "ROW_COUNT": 7},
                {"SCHEMA_NAME": "SALES", "TABLE_NAME": "LINES", "KIND": "table", "COMMENT": None, "ROW_COUNT": 9},
                {"SCHEMA_NAME": "SALES", "TABLE_NAME": "V", "KIND": "view", "COMMENT": None, "ROW_COUNT": None},
            ],
            "information_schema.columns": [
                {"SCHEMA_NAME": "SALES", "TABLE_NAME": table, "COLUMN_NAME": column, "ORDINAL": ordinal,
                 "NATIVE_TYPE": kind, "IS_NULLABLE": False, "COMMENT": None}
                for table, column, ordinal, kind in (
                    ("ORDERS", "SHOP", 1, "NUMBER(38,0)"), ("ORDERS", "NO", 2, "NUMBER(38,0)"),
                    ("LINES", "SHOP", 1, "NUMBER(38,0)"), ("LINES", "ORDER_NO", 2, "NUMBER(38,0)"),
                    ("LINES", "AT", 3, "TIMESTAMP_NTZ"), ("V", "PAYLOAD", 1, "VARIANT"),
                )
            ],
            "SHOW PRIMARY KEYS": [
                {"created_on": None, "database_name": "D", "schema_name": "SALES", "table_name": "ORDERS",
                 "column_name": column, "key_sequence": number, "constraint_name": "PK", "rely": "false"}
                for column, number in (("NO", 2), ("SHOP", 1))
            ],
            "SHOW IMPORTED KEYS": [
                {"pk_schema_name": "SALES", "pk_table_name": "ORDERS", "pk_column_name": target,
                 "fk_schema_name": "SALES", "fk_table_name": "LINES", "fk_column_name": own, "key_sequence": number,
                 "fk_name": "FK", "pk_name": "PK"}
                for number, own, target in ((1, "SHOP", "SHOP"), (2, "ORDER_NO", "NO"))
            ],
        }
    )  # fmt: skip
    catalog = catalog_from(read_snowflake, run, "snowflake", "SALES")
    lines, orders, view = catalog.tables
    assert (orders.primary_key, orders.row_count, orders.comment) == (("SHOP", "NO"), 7, "bought")
    (key,) = lines.foreign_keys
    assert (key.columns, key.target_columns) == (("SHOP", "ORDER_NO"), ("SHOP", "NO"))
    assert [column.kind for column in lines.columns] == ["number", "number", "time"]
    assert (view.kind, view.columns[0].kind) == ("view", "string")
    assert [gap.what for gap in catalog.gaps] == ["declared unique keys"]


def test_snowflake_says_when_show_may_have_left_keys_out() -> None:
    many = [
        {
            "schema_name": "S",
            "table_name": f"T{number}",
            "column_name": "ID",
            "key_sequence": 1,
            "constraint_name": "P",
        }
        for number in range(10_000)
    ]
    run = Recorded({"SHOW PRIMARY KEYS": many, "SHOW": [], "tables": [], "columns": []})
    records = read_snowflake((), run)
    (gap,) = records.gaps
    assert gap.what == "declared primary keys"
    assert "10,000" in gap.reason


def bigquery_column(table: str, path: str, kind: str, ordinal: int) -> dict[str, object]:
    return {
        "schema_name": "shop", "table_name": table, "column_name": path, "ordinal": ordinal, "native_type": kind,
        "is_nullable": True, "comment": None, "top_column": path.partition(".")[0], "top_type": kind,
    }  # fmt: skip


BIGQUERY = {
    "INFORMATION_SCHEMA.TABLES": [
        {
            "schema_name": "shop",
            "table_name": "orders",
            "kind": "table",
            "comment": '"what was bought"',
            "row_count": None,
        }
    ],
    "COLUMN_FIELD_PATHS": [
        bigquery_column("orders", "id", "INT64", 1),
        bigquery_column("orders", "address", "STRUCT<city STRING, geo STRUCT<lat FLOAT64>>", 2),
        bigquery_column("orders", "address.city", "STRING", 2),
        bigquery_column("orders", "address.geo", "STRUCT<lat FLOAT64>", 2),
        bigquery_column("orders", "address.geo.lat", "FLOAT64", 2),
        bigquery_column("orders", "items", "ARRAY<STRUCT<sku STRING>>", 3),
        bigquery_column("orders", "items.sku", "STRING", 3),
    ],
    "__TABLES__": [{"table_name": "orders", "row_count": 12}],
}


def test_bigquery_records_are_dotted_columns_and_an_array_is_one_column() -> None:
    catalog = catalog_from(bigquery_reader("EU"), Recorded(BIGQUERY), "bigquery", "shop")
    (orders,) = catalog.tables
    assert [(column.name, column.kind) for column in orders.columns] == [
        ("id", "number"),
        ("address", "string"),
        ("address.city", "string"),
        ("address.geo", "string"),
        ("address.geo.lat", "number"),
        ("items", "string"),
    ]
    assert (orders.row_count, orders.comment) == (12, "what was bought")


def test_bigquery_profile_reaches_into_records_over_one_bounded_sample() -> None:
    driver = DRIVERS["bigquery"]
    table = Table(
        ref=TableRef(schema="shop", name="orders"),
        columns=(Column(name="address.geo.lat", native_type="FLOAT64", kind="number"),),
    )
    statement = captured(driver, lambda run: profile_table(table, sample_rows=10, driver=driver, run=run))
    assert statement == (
        "WITH sampled_rows AS (SELECT `address` FROM `shop`.`orders` LIMIT 11) "
        "SELECT COUNT(*) AS n, COUNT(`address`.`geo`.`lat`) AS filled0, "
        "COUNT(DISTINCT `address`.`geo`.`lat`) AS distinct0, MIN(`address`.`geo`.`lat`) AS low0, "
        "MAX(`address`.`geo`.`lat`) AS high0 FROM sampled_rows"
    )


def test_bigquery_datasets_of_two_projects_stay_apart_and_a_closed_one_is_a_gap() -> None:
    class Partly(Recorded):
        def __call__(self, sql: str) -> Rows:
            if "closed" in sql:
                raise QueryError("no privileges")
            return super().__call__(sql)

    run = Partly(BIGQUERY)
    catalog = catalog_from(bigquery_reader(None), run, "bigquery", "shop", "other-1.shop", "closed")
    assert {str(table.ref) for table in catalog.tables} == {"other-1.shop.orders", "shop.orders"}
    assert "dataset `closed`" in {gap.what for gap in catalog.gaps}
    assert any("`other-1`.`shop`.`INFORMATION_SCHEMA.TABLES`" in statement for statement in run.statements)


def test_bigquery_jobs_are_bounded_in_bytes_and_time() -> None:
    settings = BigquerySettings(max_bytes_billed=10_000_000, job_timeout_ms=4_000)
    config = job_config(settings, 4_000, is_dry_run=False).to_api_repr()  # type: ignore[attr-defined]
    assert config["query"]["maximumBytesBilled"] == "10000000"
    assert config["jobTimeoutMs"] == "4000"
    assert config["query"]["useLegacySql"] is False
    planned = job_config(settings, 4_000, is_dry_run=True).to_api_repr()  # type: ignore[attr-defined]
    assert planned["dryRun"] is True


def test_trino_tables_of_two_catalogs_stay_apart() -> None:
    run = Recorded(
        {
            "metadata.catalogs": [{"catalog_name": name} for name in ("hive", "pg", "system", "tpch")],
            "jdbc.tables": [
                {"catalog_name": name, "schema_name": "web", "table_name": "hits", "kind": "table", "comment": None,
                 "row_count": None}
                for name in ("hive", "pg")
            ],
            "jdbc.columns": [
                {"catalog_name": name, "schema_name": "web", "table_name": "hits", "column_name": column, "ordinal": 1,
                 "native_type": "bigint", "is_nullable": True, "comment": None}
                for name, column in (("hive", "a"), ("pg", "b"))
            ],
            "table_comments": [
                {"catalog_name": "pg", "schema_name": "web", "table_name": "hits", "comment": "page views"}
            ],
        }
    )  # fmt: skip
    catalog = catalog_from(trino_reader(()), run, "trino")
    hive, postgres = catalog.tables
    assert (str(hive.ref), [column.name for column in hive.columns]) == ("hive.web.hits", ["a"])
    assert (str(postgres.ref), postgres.comment) == ("pg.web.hits", "page views")
    assert "materialised views" in {gap.what for gap in catalog.gaps}
    assert all("'system'" not in statement and "'tpch'" not in statement for statement in run.statements)


def test_databricks_statements_name_the_catalog_and_missing_keys_are_gaps() -> None:
    run = Recorded(
        {
            "`main`.information_schema.tables": [
                {"schema_name": "web", "table_name": "hits", "kind": "external", "comment": "", "row_count": None}
            ],
            "`main`.information_schema.columns": [
                {"schema_name": "web", "table_name": "hits", "column_name": "at", "ordinal": 0,
                 "native_type": "timestamp", "is_nullable": True, "comment": "when"}
            ],
        }
    )  # fmt: skip
    catalog = catalog_from(databricks_reader("main"), run, "databricks", "web")
    (hits,) = catalog.tables
    assert (hits.kind, hits.comment, hits.columns[0].kind, hits.columns[0].comment) == (
        "external",
        None,
        "time",
        "when",
    )
    assert [gap.what for gap in catalog.gaps] == ["declared primary and unique keys", "declared foreign keys"]


def test_databases_without_a_read_only_switch_say_so() -> None:
    without = {name for name, driver in DRIVERS.items() if not driver.capabilities.is_read_only_session}
    assert without == {"snowflake", "sqlserver", "trino", "databricks"}
