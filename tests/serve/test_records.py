"""Fields of records (DuckDB's STRUCT, PostgreSQL's composite types), from the scan to a question's rows."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from ktx.ingest.explain import explain_column
from ktx.ingest.pipeline import ingest
from ktx.project import Project, create_project, warehouse_connection
from ktx.serve.desk import Desk
from ktx.serve.query import parse_ask, sl_query
from ktx.warehouse.connect import open_warehouse
from servers.postgres import PostgresServer

CUSTOMERS = [(n, f"Ana Nr{n}", f"town {n % 3}", n * 1.5) for n in range(30)]
ORDERS = [(n, n % 30, f"k{n % 2}", float(n)) for n in range(300)]


def duckdb_project(folder: Path, server: Callable[[], PostgresServer]) -> Project:
    with duckdb.connect(str(folder / "w.duckdb")) as connection:
        connection.execute(
            'CREATE TABLE customers (id INTEGER, person STRUCT(contact_name VARCHAR, home STRUCT("Town" VARCHAR, lat DOUBLE)),'
            ' tags VARCHAR[], parts STRUCT(a INTEGER)[], "odd.name" INTEGER)'
        )
        connection.execute(
            'CREATE TABLE orders (id INTEGER, "Buyer" STRUCT(customer_id INTEGER, kind VARCHAR), total DOUBLE)'
        )
        connection.executemany(
            "INSERT INTO customers VALUES ($1, {contact_name: $2, home: {Town: $3, lat: $4}}, ['a'], [{a: 1}], $1)",
            CUSTOMERS,
        )
        connection.executemany("INSERT INTO orders VALUES ($1, {customer_id: $2, kind: $3}, $4)", ORDERS)
    return create_project(
        folder / "project", config_text="connections:\n  w: {driver: duckdb, path: ../w.duckdb}\n"
    )


def postgres_project(folder: Path, server: Callable[[], PostgresServer]) -> Project:
    running = server()
    url = running.create_database("records")
    running.execute(
        "records",
        'CREATE TYPE home AS ("Town" text, lat double precision); CREATE TYPE person AS (contact_name text, home home);'
        "CREATE TYPE buyer AS (customer_id integer, kind text);"
        'CREATE TABLE customers (id integer, person person, tags text[], parts home[], "odd.name" integer);'
        'CREATE TABLE orders (id integer, "Buyer" buyer, total double precision);'
        "INSERT INTO customers SELECT n, ROW('Ana Nr' || n, ROW('town ' || n % 3, n * 1.5)::home)::person, '{a}', NULL, n"
        " FROM generate_series(0, 29) AS n;"
        "INSERT INTO orders SELECT n, ROW(n % 30, 'k' || n % 2)::buyer, n FROM generate_series(0, 299) AS n; ANALYZE",
    )
    return create_project(
        folder / "project", config_text=f"connections:\n  w: {{driver: postgres, url: '{url}'}}\n"
    )


@pytest.fixture(params=[duckdb_project, postgres_project], ids=["duckdb", "postgres"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    made: Project = request.param(tmp_path, lambda: request.getfixturevalue("postgres_server"))
    return made


def rows(project: Project, **question: object) -> list[tuple[object, ...]]:
    with Desk(project=project) as desk:
        return [tuple(row) for row in sl_query(desk, parse_ask(question)).rows]


def test_fields_are_columns_with_a_profile_and_arrays_stay_whole(project: Project) -> None:
    with open_warehouse("w", warehouse_connection(project, "w"), project.root) as warehouse:
        customers, orders = warehouse.read_catalog().tables
        profile = warehouse.profile_table(customers)
        sampled = warehouse.sample_rows(orders, 2)
    assert [(column.name, column.kind) for column in customers.columns] == [
        ("id", "number"),
        ("person", "string"),
        ("person.contact_name", "string"),
        ("person.home", "string"),
        ("person.home.Town", "string"),
        ("person.home.lat", "number"),
        ("tags", "string"),
        ("parts", "string"),
        ("odd.name", "number"),
    ]
    found = {column.name: column for column in profile.columns}
    assert found["person.home.Town"].distinct_count == 3
    assert found["person.home.Town"].top_values == (("town 0", 10), ("town 1", 10), ("town 2", 10))
    assert (found["person.home.lat"].min_value, found["person.home.lat"].max_value) == ("0.0", "43.5")
    assert found["odd.name"].distinct_count == 30
    assert [column.name for column in sampled.columns] == ["id", "Buyer.customer_id", "Buyer.kind", "total"]
    assert {type(value) for row in sampled.rows for value in row} <= {int, str, float}


def test_a_reference_inside_a_record_is_found_joined_and_asked_through(project: Project) -> None:
    report = ingest(project).connections[0]
    assert [one.text for one in report.joins] == ["orders.Buyer.customer_id -> customers.id"]
    expected = {
        town: sum(total for _, customer, _, total in ORDERS if CUSTOMERS[customer][2] == town)
        for town in ("town 0", "town 1", "town 2")
    }
    asked = rows(
        project,
        measures=["orders.sum_total"],
        dimensions=["customers.person.home.Town"],
        order_by=["customers.person.home.Town"],
    )
    assert asked == sorted(expected.items())
    kinds = rows(
        project,
        measures=["sum(orders.total)", "max(customers.person.home.lat)"],
        filters=["orders.Buyer.kind = 'k1'"],
    )
    assert kinds == [(sum(total for _, _, kind, total in ORDERS if kind == "k1"), 43.5)]


def test_a_column_whose_own_name_has_a_dot_is_no_path(project: Project) -> None:
    ingest(project)
    asked = rows(project, measures=["customers.row_count"], dimensions=['customers."odd.name"'], limit=2)
    assert asked == [(0, 1), (1, 1)]


def test_a_field_can_be_explained(project: Project) -> None:
    ingest(project)
    explained = explain_column(project, "orders.Buyer.customer_id")
    assert [link.text for link, _ in explained.relationships] == ["orders.Buyer.customer_id -> customers.id"]
