"""`ktx check`: everything that stops fitting is named, and nothing else."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from program import Outcome, called
from serve.projects import make_shop, write_page


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    make_shop(tmp_path)
    overlay = tmp_path / "semantic-layer" / "warehouse" / "big_orders.yaml"
    overlay.write_text(
        "name: big_orders\nsql: select o.id, o.amount, c.country from main.orders o join main.customers c on o.customer_id = c.id\n"
        "grain: [id]\ncolumns:\n  - {name: id, type: number}\n  - {name: amount, type: number}\n  - {name: country}\n"
        "measures:\n  - {name: total, expr: sum(amount)}\n"
    )
    write_page(
        tmp_path, "revenue", "What counts", head="sl_refs: [orders.revenue]\n",
        body="`orders.revenue` and `table:main.items`, see [[units]].",
    )  # fmt: skip
    write_page(tmp_path, "units", "What a unit is", head="sl_refs: [items.units]\n")
    return tmp_path


def change(shop: Path, *statements: str) -> None:
    with duckdb.connect(str(shop / "shop.duckdb")) as database:
        for statement in statements:
            database.execute(statement)


def check(capsys: pytest.CaptureFixture[str], shop: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    outcome = called(capsys, "check", "--json", "--project-dir", shop, *arguments)
    return outcome.code, json.loads(outcome.out)


def named(answer: dict[str, Any], level: str = "error") -> set[tuple[str, str]]:
    """Give the code of each finding with the first name in backticks."""
    return {
        (one["code"], one["message"].split("`")[1]) for one in answer["findings"] if one["level"] == level
    }


def test_a_project_that_fits_is_clean(capsys: pytest.CaptureFixture[str], shop: Path) -> None:
    code, answer = check(capsys, shop)
    assert (code, answer["ok"], named(answer)) == (0, True, set())
    assert answer["connections"] == [
        {"connectionId": "warehouse", "catalog": "live", "sources": 4, "tables": 3}
    ]
    assert answer["pages"] == 2
    assert (
        called(capsys, "check", "--project-dir", shop).err.splitlines()[-1].startswith("2 pages. No errors")
    )


def test_a_column_that_is_gone_takes_all_that_needs_it(
    capsys: pytest.CaptureFixture[str], shop: Path
) -> None:
    change(shop, "DROP TABLE items", "CREATE TABLE items (id INTEGER, order_id INTEGER, pieces INTEGER)")
    code, answer = check(capsys, shop)
    assert code == 1
    assert named(answer) == {
        ("column-missing", "items.quantity"),
        ("measure-unusable", "items.units"),
        ("wiki-drifted", "units"),
    }
    (column,) = [one for one in answer["findings"] if one["code"] == "column-missing"]
    assert column["file"] == "semantic-layer/warehouse/items.yaml"
    assert column["line"]


def test_a_key_that_is_gone_takes_the_join_and_what_reaches_through_it(
    capsys: pytest.CaptureFixture[str], shop: Path
) -> None:
    layer = shop / "semantic-layer" / "warehouse" / "orders.yaml"
    layer.write_text(
        layer.read_text().replace(
            "joins:\n", "  - {name: swiss, expr: \"customers.country = 'CH'\"}\njoins:\n"
        )
    )
    assert check(capsys, shop)[0] == 0
    change(
        shop, "CREATE TABLE kept AS SELECT * EXCLUDE (customer_id) FROM orders", "DROP TABLE orders",
        "ALTER TABLE kept RENAME TO orders",
    )  # fmt: skip
    code, answer = check(capsys, shop)
    assert code == 1
    assert named(answer) == {
        ("column-missing", "orders.customer_id"),
        ("join-column-unknown", "orders"),
        ("segment-unusable", "orders.swiss"),
        ("sql-column-missing", "big_orders"),
        ("measure-lost", "big_orders.total"),
    }


def test_a_table_that_is_gone_takes_its_definitions_joins_and_pages(
    capsys: pytest.CaptureFixture[str], shop: Path
) -> None:
    change(shop, "ALTER TABLE items RENAME TO order_items", "DROP TABLE orders")
    code, answer = check(capsys, shop)
    assert code == 1
    assert named(answer) == {
        ("table-missing", "orders"),
        ("measure-lost", "orders.revenue"),
        ("measure-lost", "orders.order_count"),
        ("segment-lost", "orders.paid"),
        ("table-missing", "items"),
        ("measure-lost", "items.units"),
        ("sql-table-missing", "big_orders"),
        ("measure-lost", "big_orders.total"),
        ("wiki-dangling-table", "revenue"),
        ("wiki-drifted", "revenue"),
        ("wiki-drifted", "units"),
    }
    assert ("tables-without-source", "warehouse") in named(answer, "note")


def test_a_join_to_a_lost_source_is_named(capsys: pytest.CaptureFixture[str], shop: Path) -> None:
    (shop / "semantic-layer/warehouse/big_orders.yaml").unlink()
    layer = shop / "semantic-layer" / "warehouse" / "customers.yaml"
    layer.write_text(layer.read_text().replace("main.customers", "main.clients"))
    code, answer = check(capsys, shop)
    assert code == 1
    assert named(answer) == {("table-missing", "customers"), ("join-lost", "orders")}


def test_what_never_fitted_is_named_without_a_warehouse(
    capsys: pytest.CaptureFixture[str], shop: Path
) -> None:
    write_page(shop, "wrong", "Wrong", head="sl_refs: [orders.revenu]\nrefs: [nowhere]\n")
    (shop / "shop.duckdb").unlink()
    code, answer = check(capsys, shop, "--offline")
    assert code == 1
    assert named(answer) == {("wiki-dangling-entity", "wrong"), ("wiki-dangling-page", "wrong")}
    assert answer["connections"][0]["catalog"] == "none"


def test_a_warehouse_out_of_reach_is_exit_3_and_the_rest_is_checked(
    capsys: pytest.CaptureFixture[str], shop: Path
) -> None:
    config = shop / "ktx.yaml"
    config.write_text(
        config.read_text() + "  sales: {driver: postgres, url: 'postgresql://me@127.0.0.1:1/sales'}\n"
    )
    code, answer = check(capsys, shop)
    assert (code, answer["ok"]) == (3, False)
    assert {one["connectionId"]: one["catalog"] for one in answer["connections"]} == {
        "sales": "unreachable",
        "warehouse": "live",
    }
    outcome: Outcome = called(capsys, "check", "--project-dir", shop)
    assert outcome.code == 3
    assert "could not be asked" in outcome.err
    write_page(shop, "wrong", "Wrong", head="sl_refs: [orders.revenu]\n")
    assert check(capsys, shop)[0] == 1, "an error is an error, whether or not a retry would find more"


def test_offline_uses_the_last_scan(capsys: pytest.CaptureFixture[str], shop: Path) -> None:
    assert called(capsys, "ingest", "--project-dir", shop).code == 0
    change(shop, "DROP TABLE items")
    assert check(capsys, shop, "--offline")[1]["connections"][0]["catalog"] == "last-scan"
    assert check(capsys, shop, "--offline")[0] == 0
    assert check(capsys, shop)[0] == 1


def test_an_unknown_connection_is_a_usage_error(capsys: pytest.CaptureFixture[str], shop: Path) -> None:
    outcome = called(capsys, "check", "--project-dir", shop, "-c", "warehous")
    assert outcome.code == 2
    assert "Did you mean `warehouse`?" in outcome.err
