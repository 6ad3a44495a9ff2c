"""The gate on real warehouses: what does not work there, leads nowhere or holds a secret stays out, and the rest goes in."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from sqlglot import exp

from ingest.drafts import ORDERS, PAGE, change
from ktx.config.connections import DuckdbConnection, SqliteConnection, WarehouseConnection
from ktx.errors import WarehouseError
from ktx.ingest.artifact import page_artifact, source_artifact
from ktx.ingest.change import Change
from ktx.ingest.draft import Base, Draft, WarehouseFacts
from ktx.ingest.gate import Gated, dropped_findings, gate
from ktx.ingest.leaks import known_secrets
from ktx.warehouse.connect import open_warehouse
from ktx.warehouse.failures import timed_out
from ktx.warehouse.warehouse import Warehouse

SCHEMA = (
    "CREATE TABLE orders (id INTEGER, customer_id INTEGER, status TEXT, amount DOUBLE PRECISION, note TEXT)",
    "CREATE TABLE customers (id INTEGER, country TEXT)",
    "INSERT INTO orders VALUES (1, 1, 'paid', 10.0, 'a'), (2, 1, 'new', 5.0, 'b'), (3, 2, 'paid', 1.0, NULL)",
    "INSERT INTO customers VALUES (1, 'DE'), (2, 'FR'), (2, 'FR')",
)
MANIFEST = """\
tables:
  orders:
    table: {prefix}orders
    columns:
      - {{name: id, type: number, pk: true}}
      - {{name: customer_id, type: number}}
      - {{name: status, type: string}}
      - {{name: amount, type: number}}
      - {{name: note, type: string}}
  customers:
    table: {prefix}customers
    columns:
      - {{name: id, type: number}}
      - {{name: country, type: string}}
"""
NONE = known_secrets(())
CUSTOMERS = source_artifact("shop", "customers")


def made(engine: str, root: Path) -> WarehouseConnection:
    if engine == "duckdb":
        with duckdb.connect(str(root / "shop.duckdb")) as db:
            for statement in SCHEMA:
                db.execute(statement)
        return DuckdbConnection(driver="duckdb", path="shop.duckdb")
    with sqlite3.connect(root / "shop.sqlite") as connection:
        for statement in SCHEMA:
            connection.execute(statement)
    return SqliteConnection(driver="sqlite", path="shop.sqlite")


@pytest.fixture(params=["duckdb", "sqlite"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    with open_warehouse("shop", made(request.param, tmp_path), tmp_path) as opened:
        yield opened


def draft_on(root: Path, warehouse: Warehouse, files: dict[str, str] | None = None) -> Draft:
    prefix = "main." if warehouse.dialect == "duckdb" else ""
    texts = {"semantic-layer/shop/_schema/main.yaml": MANIFEST.format(prefix=prefix), **(files or {})}
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    facts = WarehouseFacts(connection_id="shop", dialect=warehouse.dialect, catalog=warehouse.read_catalog())
    return Draft(
        base=Base(
            root=root, semantic_dir=root / "semantic-layer", wiki_dir=root / "wiki",
            warehouses={"shop": facts}, connections=frozenset({"shop", "dbt"}),
        )
    )  # fmt: skip


def measure(name: str, expr: str) -> Change:
    return change(f"measures.{name}", {"name": name, "expr": expr})


def join(to: str, on: str, relationship: str, **facts: str) -> Change:
    return change(
        f"joins.{facts.get('alias', to)}", {"to": to, "on": on, "relationship": relationship, **facts}
    )


def landed(gated: Gated) -> set[str]:
    return {one.entry for one in gated.merged.applied}


def reasons(gated: Gated) -> dict[str, str]:
    return {one.entry: reason for one, reason in gated.dropped}


GOOD = [measure("revenue", "sum(amount)"), change("descriptions.dbt", "Orders.")]


def test_a_measure_that_compiles_and_fails_on_the_data_is_left_out_by_name(tmp_path: Path) -> None:
    with open_warehouse("shop", made("duckdb", tmp_path), tmp_path) as warehouse:
        said = [*GOOD, measure("broken", "sum(CAST(note AS INTEGER))")]
        gated = gate(draft_on(tmp_path, warehouse), said, secrets=NONE, warehouses={"shop": warehouse})
    assert landed(gated) == {"measures.revenue", "descriptions.dbt"}
    assert reasons(gated)["measures.broken"].startswith("it cannot be asked: ")
    (told,) = dropped_findings(gated.dropped)
    assert told.message.startswith("`measures.broken` of `shop/orders` is left out: it cannot be asked: ")
    assert told.message.endswith(".")


def test_an_unknown_column_or_function_is_left_out_and_what_uses_it_too(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    said = [
        *GOOD,
        measure("typo", "sum(amuont)"),
        measure("rate", "typo / count(*)"),
        measure("fine", "revenue / count(*)"),
        change("segments.odd", {"name": "odd", "expr": "no_such_column = 1"}),
    ]
    gated = gate(draft_on(tmp_path, warehouse), said, secrets=NONE, warehouses={"shop": warehouse})
    assert landed(gated) == {"measures.revenue", "descriptions.dbt", "measures.fine"}
    assert "amuont" in reasons(gated)["measures.typo"]
    assert set(reasons(gated)) == {"measures.typo", "measures.rate", "segments.odd"}


def test_a_to_one_join_onto_a_repeated_key_is_left_out_and_what_needs_it_by_name(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    said = [
        *GOOD,
        join("customers", "orders.customer_id = customers.id", "many_to_one"),
        change("segments.german", {"name": "german", "expr": "customers.country = 'DE'"}),
        measure("german", "sum(case when customers.country = 'DE' then amount end)"),
        measure("double", "revenue * 2"),
    ]
    gated = gate(draft_on(tmp_path, warehouse), said, secrets=NONE, warehouses={"shop": warehouse})
    assert reasons(gated)["joins.customers"] == (
        "it says many_to_one, and (id) of `customers` is there more than once"
    )
    assert set(reasons(gated)) == {"joins.customers", "segments.german", "measures.german"}
    assert landed(gated) == {"measures.revenue", "descriptions.dbt", "measures.double"}
    assert "(`joins.customers` is out)" in reasons(gated)["measures.german"]


def test_a_join_that_holds_goes_in(tmp_path: Path, warehouse: Warehouse) -> None:
    said = [
        change(
            "joins.orders",
            {"to": "orders", "on": "customers.id = orders.id", "relationship": "many_to_one"},
            artifact=CUSTOMERS,
        ),
        change("measures.n", {"name": "n", "expr": "count(*)"}, artifact=CUSTOMERS),
    ]
    gated = gate(draft_on(tmp_path, warehouse), said, secrets=NONE, warehouses={"shop": warehouse})
    assert landed(gated) == {"joins.orders", "measures.n"}


def test_a_grain_that_does_not_tell_rows_apart_is_left_out(tmp_path: Path, warehouse: Warehouse) -> None:
    said = [
        change("grain", ["id"], artifact=CUSTOMERS),
        change("descriptions.dbt", "Customers.", artifact=CUSTOMERS),
    ]
    gated = gate(draft_on(tmp_path, warehouse), said, secrets=NONE, warehouses={"shop": warehouse})
    assert landed(gated) == {"descriptions.dbt"}
    assert reasons(gated) == {"grain": "(id) does not tell the rows of `customers` apart"}


def test_a_join_to_nothing_leaves_the_rest_in(tmp_path: Path, warehouse: Warehouse) -> None:
    said = [*GOOD, join("nowhere", "orders.id = nowhere.id", "many_to_one"), measure("far", "sum(nowhere.x)")]
    gated = gate(draft_on(tmp_path, warehouse), said, secrets=NONE, warehouses={"shop": warehouse})
    assert landed(gated) == {"measures.revenue", "descriptions.dbt"}
    assert set(reasons(gated)) == {"joins.nowhere", "measures.far"}


SECRET = "correct-horse-battery"


@pytest.mark.parametrize(
    "secret",
    [SECRET, "AKIAABCDEFGHIJKLMNOP", "postgres://ana:s3cretpw@db/x", "password: hunter2345", "ghp_" + "a1" * 15,
     "-----BEGIN RSA PRIVATE KEY-----"],
)  # fmt: skip
def test_a_secret_in_any_text_keeps_its_entry_out(tmp_path: Path, warehouse: Warehouse, secret: str) -> None:
    said = [
        *GOOD,
        change("column_overrides.status.dbt", {"descriptions": f"see {secret}"}),
        change("freshness.dbt", {"note": [f"{secret}"]}),
        change("tags.dbt", [secret]),
        change("measures.told", {"name": "told", "expr": "sum(amount)", "filter": f"status = '{secret}'"}),
        change("summary", "Fine.", artifact=PAGE),
        change("section.Login", f"## Login\n\nUse {secret} there.", artifact=PAGE),
        change(f"section.{secret}", "## x", artifact=PAGE),
    ]
    gated = gate(
        draft_on(tmp_path, warehouse), said, secrets=known_secrets([SECRET]), warehouses={"shop": warehouse}
    )
    assert landed(gated) == {"measures.revenue", "descriptions.dbt", "summary"}
    assert set(reasons(gated).values()) == {"it holds what looks like a secret"}
    assert not any(secret in (text or "") for text in gated.merged.texts.values())
    assert not any(secret in one.message for one in dropped_findings(gated.dropped))


LINKED = "---\nsummary: s\nsl_refs: [orders.revenue]\n---\n\nSee `orders.revenue` and [[revenue]].\n"


def test_what_another_page_points_at_is_not_taken_away(tmp_path: Path, warehouse: Warehouse) -> None:
    line = "  ktx:\n    measures.revenue: dbt import {digest}\n"
    draft = draft_on(tmp_path, warehouse)
    gated = gate(draft, GOOD[:1], secrets=NONE, warehouses={"shop": warehouse})
    text = gated.merged.texts[ORDERS] or ""
    assert line.partition("{")[0].strip().partition("\n")[0] in text
    files = {
        "semantic-layer/shop/orders.yaml": text,
        "wiki/global/other.md": LINKED,
        "wiki/global/revenue.md": "---\nsummary: r\nmeta:\n  ktx:\n    summary: dbt import 00000000\n---\n\nR.\n",
    }
    draft = draft_on(tmp_path, warehouse, files)
    gated = gate(
        draft, [change("measures.revenue", None), change("descriptions.dbt", "Orders.")],
        secrets=NONE, warehouses={"shop": warehouse},
    )  # fmt: skip
    assert landed(gated) == {"descriptions.dbt"}
    assert "points at `orders.revenue`" in reasons(gated)["measures.revenue"]
    assert page_artifact("other") not in gated.merged.texts


def test_an_imported_page_keeps_its_words_where_a_reference_leads_nowhere(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    said = [
        *GOOD,
        measure("typo", "sum(amuont)"),
        change("summary", "s", artifact=PAGE),
        change("sl_refs", ["orders.typo", "orders.revenue"], artifact=PAGE),
        change("lead", "`orders.typo` and `orders.revenue`, [[gone]] and [[gone|a page]].", artifact=PAGE),
    ]
    gated = gate(draft_on(tmp_path, warehouse), said, secrets=NONE, warehouses={"shop": warehouse})
    page = gated.merged.draft.entries(PAGE)
    assert page["lead"] == "orders.typo and `orders.revenue`, gone and a page."
    assert page["sl_refs"] == ["orders.revenue"]
    assert set(reasons(gated)) == {"measures.typo"}
    assert any(one.code == "reference-left-out" for one in gated.findings)


class Silent:
    """A warehouse that is there and does not answer."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.dialect = warehouse.dialect
        self.asked: list[float] = []

    def run(self, tree: object, *, max_rows: int, timeout_s: float) -> object:
        del tree, max_rows
        self.asked.append(timeout_s)
        raise WarehouseError("the server has gone away")


def test_a_warehouse_that_cannot_be_reached_is_given_up_soon_and_all_lands_with_a_note(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    silent = Silent(warehouse)
    said = [*GOOD, *(measure(f"n{number}", f"count(*) + {number}") for number in range(6))]
    gated = gate(
        draft_on(tmp_path, warehouse),
        said,
        secrets=NONE,
        warehouses={"shop": silent},  # type: ignore[dict-item]
    )
    assert landed(gated) == {one.entry for one in said}
    assert not gated.dropped
    assert [one.message for one in gated.findings] == [
        "`measures.revenue` of `shop/orders` was not tried on `shop`: the server has gone away",
        "`measures.n0` of `shop/orders` was not tried on `shop`: the server has gone away",
        "`shop` could not be asked 3 times, so nothing more was tried on it: the server has gone away",
    ]
    assert len(silent.asked) == 3
    assert all(0 < limit <= 60 for limit in silent.asked)


class Slow(Silent):
    """A warehouse that stops one statement at its time limit."""

    def __init__(self, warehouse: Warehouse) -> None:
        super().__init__(warehouse)
        self.warehouse = warehouse

    def run(self, tree: exp.Query, *, max_rows: int, timeout_s: float) -> object:
        if "1234" in tree.sql():
            raise timed_out("shop", timeout_s)
        return self.warehouse.run(tree, max_rows=max_rows, timeout_s=timeout_s)


def test_one_slow_measure_lands_untried_and_the_others_are_still_tried(tmp_path: Path) -> None:
    with open_warehouse("shop", made("duckdb", tmp_path), tmp_path) as warehouse:
        said = [measure("slow", "sum(amount) + 1234"), *GOOD, measure("broken", "sum(CAST(note AS INTEGER))")]
        slow = Slow(warehouse)
        gated = gate(
            draft_on(tmp_path, warehouse),
            said,
            secrets=NONE,
            warehouses={"shop": slow},  # type: ignore[dict-item]
        )
    assert landed(gated) == {"measures.slow", "measures.revenue", "descriptions.dbt"}
    assert set(reasons(gated)) == {"measures.broken"}
    (told,) = gated.findings
    assert told.message.startswith("`measures.slow` of `shop/orders` was not tried on `shop`: ")
    assert "time limit" in told.message


def test_with_no_warehouse_at_hand_what_compiles_lands(tmp_path: Path, warehouse: Warehouse) -> None:
    gated = gate(draft_on(tmp_path, warehouse), GOOD, secrets=NONE, warehouses={})
    assert landed(gated) == {"measures.revenue", "descriptions.dbt"}
    assert not gated.findings


COPIED = """\
tables:
  orders:
    table: {prefix}orders
    columns: [{{name: id, type: number, pk: true}}, {{name: amount, type: number}}]
    joins: [{{to: customers, "on": orders.id = customers.id, relationship: one_to_one, source: inferred}}]
  customers:
    table: {prefix}customers
    columns: [{{name: id, type: number, pk: true}}, {{name: country, type: string}}]
    joins: [{{to: orders, "on": customers.id = orders.id, relationship: one_to_one, source: inferred}}]
"""
THEIRS = {
    "none": {},
    "on the same source": {
        "semantic-layer/shop/orders.yaml": "name: orders\nmeasures:\n  - {name: far, expr: sum(amount), filter: customers.country = 'DE'}\n"
    },
    "on the other side": {
        "semantic-layer/shop/customers.yaml": "name: customers\nmeasures:\n  - {name: far, expr: count(*), filter: orders.amount > 1}\n"
    },
}


@pytest.mark.parametrize("whose", THEIRS)
def test_a_join_to_a_copy_is_taken_out_unless_somebodys_definition_needs_it(
    tmp_path: Path, warehouse: Warehouse, whose: str
) -> None:
    prefix = "main." if warehouse.dialect == "duckdb" else ""
    manifest = {"semantic-layer/shop/_schema/main.yaml": COPIED.format(prefix=prefix)}
    draft = draft_on(tmp_path, warehouse, {**manifest, **THEIRS[whose]})
    said = [*GOOD, change("disable_joins.orders.id = customers.id", True)]
    gated = gate(draft, said, secrets=NONE, warehouses={"shop": warehouse})
    is_out = whose == "none"
    assert landed(gated) == {"measures.revenue", "descriptions.dbt"} | ({said[-1].entry} if is_out else set())
    joins = gated.merged.draft.layer("shop").sources["orders"].joins
    assert [join.to for join in joins] == ([] if is_out else ["customers"])
