"""Receipts: every count is compared with one that plain SQL gives over the same rows."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ktx.catalog import Catalog, Table, TableRef
from ktx.cli.run import run
from ktx.project import open_project
from ktx.scan.store import open_store
from ktx.serve.desk import Desk
from ktx.serve.query import parse_ask, sl_query
from serve.projects import make_shop


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The shop, with a dangling key, an order without customer, amounts that are missing, and two addresses of one customer."""
    make_shop(tmp_path)
    layer = tmp_path / "semantic-layer" / "warehouse"
    orders = (layer / "orders.yaml").read_text()
    orders = orders.replace(
        "segments:",
        "  - {name: paid_revenue, expr: sum(amount), segments: [paid]}\n"
        "  - {name: average, expr: revenue / order_count}\nsegments:",
    ).replace(
        "relationship: many_to_one}",
        "relationship: many_to_one}\n  - {to: parcels, on: orders.id = parcels.order_id, relationship: one_to_many}\n  - {to: wrong, on: orders.customer_id = wrong.customer_id, relationship: many_to_one}",
    )
    (layer / "orders.yaml").write_text(orders)
    for name, grain in (("parcels", "id"), ("wrong", "id")):
        key = "order_id" if name == "parcels" else "customer_id"
        (layer / f"{name}.yaml").write_text(
            f"name: {name}\ntable: main.{name}\ngrain: [{grain}]\ncolumns:\n  - {{name: id, type: number}}\n"
            f"  - {{name: {key}, type: number}}\n  - {{name: kind, type: string}}\n"
        )
    with duckdb.connect(tmp_path / "shop.duckdb") as database:
        database.execute("CREATE TABLE loose AS SELECT * FROM orders")
        database.execute("DROP TABLE orders")
        database.execute("ALTER TABLE loose RENAME TO orders")
        database.execute(
            "INSERT INTO orders VALUES (5, 99, 'paid', 7, '2024-03-01', NULL), (6, 2, 'paid', NULL, '2024-03-09', NULL),"
            " (7, NULL, 'open', NULL, '2024-01-09', NULL)"
        )
        database.execute("CREATE TABLE parcels (id INTEGER, order_id INTEGER, kind VARCHAR)")
        database.execute(
            "INSERT INTO parcels VALUES (1, 1, 'box'), (2, 1, 'bag'), (3, 2, 'box'), (4, 5, 'box'), (5, 77, 'bag')"
        )
        database.execute("CREATE TABLE wrong (id INTEGER, customer_id INTEGER, kind VARCHAR)")
        database.execute("INSERT INTO wrong VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, 'a')")
    return tmp_path


@pytest.fixture
def desk(shop: Path) -> Iterator[Desk]:
    with Desk(project=open_project(shop), recheck_s=0.0) as opened:
        yield opened


def receipt(desk: Desk, **question: Any) -> dict[str, Any]:
    answer = sl_query(desk, parse_ask({**question, "include": ["receipt"]}))
    return answer.plain()["receipt"]


def sql(desk: Desk, statement: str) -> int:
    """Count with a connection of our own."""
    with Desk(project=desk.project) as other:
        (row,) = other.warehouse("warehouse").query(statement).rows
    return int(str(row[0]))


def test_rows_before_and_after_joins_and_filters_are_those_of_plain_sql(desk: Desk) -> None:
    (fact,) = receipt(
        desk,
        measures=["orders.revenue", "orders.order_count", "orders.paid_revenue"],
        dimensions=["customers.country"],
        filters=["orders.amount > 6 or orders.amount is null"],
    )["facts"]
    kept = "(amount > 6 or amount is null)"
    assert fact["rows"] == {
        "sourceRows": sql(desk, "select count(*) from orders"),
        "joinedRows": sql(
            desk, "select count(*) from orders o left join customers c on o.customer_id = c.id"
        ),
        "rowsLost": 0,
        "rowsMultiplied": 0,
        "keptRows": sql(desk, f"select count(*) from orders where {kept}"),
    }
    revenue, count, paid = fact["aggregates"]
    assert revenue["rows"] == sql(desk, f"select count(*) from orders where {kept}")
    assert revenue["nullRows"] == sql(desk, f"select count(*) from orders where {kept} and amount is null")
    assert (count["rows"], count["nullRows"]) == (revenue["rows"], None)
    assert paid["rows"] == sql(desk, f"select count(*) from orders where {kept} and status = 'paid'")
    assert paid["nullRows"] == sql(
        desk, f"select count(*) from orders where {kept} and status = 'paid' and amount is null"
    )
    assert paid["nullRows"] < revenue["nullRows"]


def test_dangling_keys_and_empty_keys_are_told_apart(desk: Desk) -> None:
    (fact,) = receipt(desk, measures=["orders.revenue"], dimensions=["customers.country"])["facts"]
    (join,) = fact["joins"]
    assert join["joins"] == ["customers (orders.customer_id = customers.id)"]
    unmatched = "not exists (select 1 from customers c where c.id = o.customer_id)"
    assert join["rowsWithoutMatch"] == sql(desk, f"select count(*) from orders o where {unmatched}") == 3
    assert join["rowsWithNullKey"] == sql(desk, "select count(*) from orders where customer_id is null") == 2


def test_a_way_of_two_joins_says_at_which_of_them_rows_found_nothing(desk: Desk) -> None:
    (fact,) = receipt(desk, measures=["items.units"], dimensions=["customers.country"])["facts"]
    assert [(one["rowsWithoutMatch"], len(one["joins"])) for one in fact["joins"]] == [(0, 1), (0, 2)]
    desk.close()
    with duckdb.connect(desk.project.root / "shop.duckdb") as database:
        database.execute("INSERT INTO items VALUES (5, 4, 1), (6, 5, 2), (7, 123, 1), (8, NULL, 1)")
    with Desk(project=desk.project) as fresh:
        (fact,) = receipt(fresh, measures=["items.units"], dimensions=["customers.country"])["facts"]
    near, far = fact["joins"]
    assert (near["rowsWithoutMatch"], near["rowsWithNullKey"]) == (2, 1)
    assert (far["rowsWithoutMatch"], far["rowsWithNullKey"]) == (2, 1)


def test_rows_that_a_join_repeats_are_measured_and_not_believed(desk: Desk) -> None:
    (fan,) = receipt(desk, measures=["orders.revenue"], dimensions=["parcels.kind"])["facts"]
    joined = sql(desk, "select count(*) from orders o left join parcels p on o.id = p.order_id")
    assert fan["isDeduplicated"]
    assert fan["rows"]["joinedRows"] == joined == 8
    assert fan["rows"]["rowsMultiplied"] == joined - sql(desk, "select count(*) from orders")
    assert fan["rows"]["keptRows"] == fan["aggregates"][0]["rows"] == 7
    whole = receipt(desk, measures=["orders.revenue"], dimensions=["wrong.kind"])
    (lied,) = whole["facts"]
    assert any("declared many_to_one" in warning for warning in whole["warnings"])
    joined = sql(desk, "select count(*) from orders o left join wrong w on o.customer_id = w.customer_id")
    assert lied["rows"]["rowsMultiplied"] == joined - 7 == 2


def test_filters_say_which_fact_they_reached_and_how(desk: Desk) -> None:
    def filters(fact: dict[str, Any]) -> list[tuple[str, str, int]]:
        return [(one["asked"], one["use"], len(one["joins"])) for one in fact["filters"]]

    items, orders = receipt(desk, measures=["items.units", "orders.revenue"], segments=["orders.paid"])[
        "facts"
    ]
    assert (items["home"], filters(items)) == ("items", [("segment orders.paid", "where", 1)])
    assert (orders["home"], filters(orders)) == ("orders", [("segment orders.paid", "where", 0)])
    assert items["rows"]["keptRows"] == sql(
        desk, "select count(*) from items i join orders o on i.order_id = o.id where o.status = 'paid'"
    )
    (orders,) = receipt(desk, measures=["orders.revenue"], filters=["parcels.kind = 'box'"])["facts"]
    assert filters(orders) == [("parcels.kind = 'box'", "exists", 1)]
    box = "exists (select 1 from parcels p where p.order_id = o.id and p.kind = 'box')"
    assert orders["rows"]["keptRows"] == sql(desk, f"select count(*) from orders o where {box}") == 3
    assert orders["rows"]["rowsMultiplied"] == 0


def test_freshness_is_the_latest_value_of_the_one_time_column(desk: Desk) -> None:
    (fact,) = receipt(desk, measures=["orders.revenue"])["facts"]
    assert fact["freshness"] == {"column": "orders.created", "latest": "2024-03-09T00:00:00"}
    (fact,) = receipt(desk, measures=["items.units"])["facts"]
    assert fact["freshness"] is None


def test_a_definition_names_its_file_line_and_commit(shop: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=Ana", "-c", "user.email=ana@example.com")
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        command = ["git", *identity, "-C", str(shop), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def definitions() -> list[dict[str, Any]]:
        with Desk(project=open_project(shop)) as desk:
            (measure,) = receipt(desk, measures=["orders.average"])["measures"]
        return measure["definitions"]

    assert [(one["name"], one["commit"], one["dirty"]) for one in definitions()] == [
        ("orders.average", None, None), ("orders.revenue", None, None), ("orders.order_count", None, None),
    ]  # fmt: skip
    git("init", "-q")
    assert [one["dirty"] for one in definitions()] == [True, True, True]
    git("add", "semantic-layer")
    git("commit", "-qm", "Say what revenue is")
    head = git("rev-parse", "HEAD").strip()
    (shop / "other.txt").write_text("x")
    git("add", "other.txt")
    git("commit", "-qm", "Something else")
    average, revenue, _ = definitions()
    path = shop / "semantic-layer" / "warehouse" / "orders.yaml"
    lines = path.read_text().splitlines()
    assert "name: average" in lines[average["line"] - 1]
    assert "name: revenue" in lines[revenue["line"] - 1]
    assert average["file"] == "semantic-layer/warehouse/orders.yaml"
    assert (average["commit"]["id"], average["commit"]["subject"], average["commit"]["author"]) == (
        head, "Say what revenue is", "Ana",
    )  # fmt: skip
    assert (average["dirty"], average["expr"], revenue["description"]) == (
        False, "revenue / order_count", "What customers paid",
    )  # fmt: skip
    path.write_text(path.read_text() + "# a remark\n")
    changed = definitions()[0]
    assert (changed["commit"]["id"], changed["dirty"]) == (head, True)


def test_an_expression_of_the_question_has_no_definition_but_all_the_rest(desk: Desk) -> None:
    found = receipt(
        desk, measures=[{"expr": "sum(orders.amount)", "name": "gross", "filter": "customers.country = 'CH'"}]
    )
    (measure,) = found["measures"]
    assert (measure["name"], measure["definitions"], measure["facts"]) == ("gross", [], ["orders"])
    assert measure["filter"] == "customers.country = 'CH'"
    assert measure["paths"][0]["joins"] == ["customers (orders.customer_id = customers.id)"]
    assert found["facts"][0]["aggregates"][0]["rows"] == sql(
        desk, "select count(*) from orders join customers on customer_id = customers.id where country = 'CH'"
    )


def test_a_table_on_a_server_is_counted_only_when_it_is_known_to_be_small(shop: Path) -> None:
    (shop / "ktx.yaml").write_text(
        f"connections:\n  warehouse: {{driver: sqlalchemy, url: 'sqlite:///{shop / 'shop.sqlite'}'}}\n"
    )
    with closing(sqlite3.connect(shop / "shop.sqlite")) as database:
        database.execute(
            "CREATE TABLE orders (id INTEGER, customer_id INTEGER, status TEXT, amount REAL, created TEXT)"
        )
        database.execute(
            "INSERT INTO orders VALUES (1, 1, 'paid', 2.5, '2024-01-05'), (2, 1, 'paid', NULL, '2024-01-06')"
        )
        database.commit()

    def counted() -> dict[str, Any]:
        with Desk(project=open_project(shop)) as desk:
            (fact,) = receipt(desk, measures=["orders.revenue"])["facts"]
        return fact

    def scanned(row_count: int) -> None:
        table = Table(
            ref=TableRef(catalog=None, schema="main", name="orders"),
            kind="table",
            columns=(),
            row_count=row_count,
        )
        catalog = Catalog(connection_id="warehouse", dialect="sqlite", tables=(table,))
        with open_store(shop / ".ktx") as store:
            store.save(catalog, profiles={}, relationships=())

    fact = counted()
    assert (fact["rows"], fact["aggregates"][0]["rows"], fact["freshness"]) == (None, None, None)
    assert "`ktx ingest warehouse`" in fact["notCounted"]
    (shop / ".ktx").mkdir(exist_ok=True)
    scanned(3_000_000)
    assert "about 3,000,000 rows" in counted()["notCounted"]
    scanned(2)
    fact = counted()
    assert (fact["notCounted"], fact["rows"]["sourceRows"], fact["aggregates"][0]["nullRows"]) == (None, 2, 1)


def test_a_null_group_and_a_cut_are_said(desk: Desk) -> None:
    answer = sl_query(desk, parse_ask({"measures": ["orders.revenue"], "dimensions": ["customers.country"]}))
    assert answer.notes == [
        "`country` is NULL in 1 of 4 rows: what has no `customers.country` is kept there, not dropped."
    ]
    answer = sl_query(
        desk,
        parse_ask(
            {
                "measures": ["orders.revenue"],
                "dimensions": ["customers.country"],
                "limit": 2,
                "include": ["receipt"],
            }
        ),
    )
    assert answer.notes is None
    assert "there are more" in answer.warnings[0]
    assert answer.receipt is not None
    assert (answer.receipt.row_limit.limit, answer.receipt.row_limit.is_hit) == (2, True)
    assert answer.receipt.warnings == answer.warnings


def test_the_command_prints_a_receipt_beside_the_rows(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop)
    arguments = (
        "sl",
        "query",
        "--measure",
        "orders.revenue",
        "--dimension",
        "customers.country",
        "--receipt",
    )
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith("country\trevenue\n")
    assert "measure orders.revenue: sum(amount)" in err
    assert (
        "3 rows have no match in customers (orders.customer_id = customers.id), 2 of them because the key is empty"
        in err
    )
    assert run((*arguments, "--json")) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["receipt"]["facts"][0]["rows"]["sourceRows"] == 7
    assert run(("sl", "query", "--measure", "orders.revenue", "--json")) == 0
    assert "receipt" not in json.loads(capsys.readouterr().out)
