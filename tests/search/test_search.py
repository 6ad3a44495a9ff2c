"""Searching pages and the semantic layer through one index."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktx.search.documents import DocumentKind
from ktx.search.index import ColumnValues, Index, open_index
from ktx.search.lanes import Scope
from ktx.search.query import LAYER_KINDS, SearchResult, discover, search
from ktx.search.reindex import ValueBatch, refresh

MANIFEST = """
tables:
  orders:
    table: shop.orders
    descriptions: {db: One row per order, user: Every order a customer placed}
    columns:
      - {name: id, type: number, pk: true}
      - {name: status, type: string, descriptions: {ai: Where the order stands}}
      - {name: grossAmount, type: number}
      - {name: ssn, type: string}
  customers:
    table: shop.customers
    columns:
      - {name: id, type: number, pk: true}
      - {name: país, type: string, descriptions: {user: Straße und Land des Kunden}}
"""
OVERLAY = """
name: orders
measures:
  - {name: net_revenue, expr: sum(grossAmount) - sum(refunded), description: What we keep after refunds}
segments:
  - {name: paid_only, expr: "status = 'paid'"}
exclude_columns: [ssn]
"""


class Place:
    """A project folder with an open index."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.index: Index = open_index(root / ".ktx" / "index.sqlite")
        self.clock = 1_600_000_000

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        self.clock += 1
        os.utime(target, (self.clock, self.clock))

    def page(self, path: str, summary: str, body: str = "", head: str = "") -> None:
        self.write(f"wiki/{path}.md", f"---\nsummary: {summary}\n{head}---\n{body}\n")

    def find(self, question: str, *kinds: DocumentKind, **scope: str) -> list[str]:
        return [hit.ref for hit in self.result(question, *kinds, **scope).hits]

    def result(self, question: str, *kinds: DocumentKind, **scope: str) -> SearchResult:
        refresh(self.index, self.root)
        return search(self.index, question, Scope(kinds=kinds or LAYER_KINDS, **scope), limit=10)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    made.write("semantic-layer/warehouse/_schema/shop.yaml", MANIFEST)
    made.write("semantic-layer/warehouse/orders.yaml", OVERLAY)
    yield made
    made.index.close()


def test_a_source_is_found_by_its_name_and_by_its_description(place: Place) -> None:
    assert place.find("orders", "source") == ["orders"]
    assert "orders" in place.find("what did a customer place", "source")


def test_one_source_of_two_files_is_one_hit_that_knows_its_table(place: Place) -> None:
    hits = [hit for hit in place.result("orders", "source").hits if hit.ref == "orders"]
    assert [(hit.table, hit.summary) for hit in hits] == [("shop.orders", "Every order a customer placed")]


def test_identifiers_are_found_by_their_words_and_by_parts(place: Place) -> None:
    assert place.find("gross amount")[0] == "orders.grossAmount"
    assert place.find("grossamount")[0] == "orders.grossAmount"
    assert place.find("revenu")[0] == "orders.net_revenue"
    assert place.find("NetRevenue")[0] == "orders.net_revenue"


def test_a_slip_of_the_pen_still_finds_the_name(place: Place) -> None:
    assert place.find("custmers")[0] == "customers"


def test_words_are_stemmed(place: Place) -> None:
    assert place.find("refund")[0] == "orders.net_revenue"
    place.page("global/returns", "How returned goods are counted")
    assert place.find("returning", "wiki") == ["returns"]


def test_text_of_any_script_is_found_with_and_without_accents(place: Place) -> None:
    place.page("global/uriage", "売上高の定義", "返金を除く")
    place.page("global/umsatz", "Umsatz in ÜBERSICHT", "größe")
    assert place.find("pais") == ["customers.país"]
    assert place.find("PAÍS") == ["customers.país"]
    assert place.find("売上", "wiki") == ["uriage"]
    assert place.find("返金", "wiki") == ["uriage"]
    assert place.find("übersicht", "wiki") == ["umsatz"]
    assert place.find("ubersicht", "wiki") == ["umsatz"]


@pytest.mark.parametrize(
    "question",
    [
        "c++",
        '"a b',
        "foo:bar",
        "-x",
        "a AND",
        "NEAR(",
        "name:x OR *",
        "')--",
        "\x00\x01",
        "💥",
        "  ",
        "x" * 5000,
        "a " * 5000,
    ],
)
def test_no_question_breaks_the_search(place: Place, question: str) -> None:
    place.find(question)
    place.find(question, "wiki")


def test_an_excluded_or_hidden_column_is_never_found(place: Place) -> None:
    assert place.find("ssn") == []
    place.write("semantic-layer/warehouse/orders.yaml", OVERLAY.replace("exclude_columns: [ssn]", ""))
    assert place.find("ssn") == ["orders.ssn"]
    place.write(
        "semantic-layer/warehouse/o2.yaml",
        "name: orders\ncolumn_overrides: [{name: ssn, visibility: hidden}]\n",
    )
    assert place.find("ssn") == []


def test_a_connection_filter_is_a_condition_and_changes_no_row(place: Place) -> None:
    place.write(
        "semantic-layer/crm/accounts.yaml",
        "name: accounts\ntable: accounts\ncolumns: [{name: status, type: string}]\n",
    )
    place.page("global/both", "status of anything")
    place.page("global/crm-only", "status in the crm", head="connections: crm\n")
    before = place.index.connection.total_changes
    assert set(place.find("status")) == {"orders.status", "accounts.status", "orders.paid_only"}
    after = place.index.connection.total_changes
    assert after > before
    assert set(place.find("status", connection_id="crm")) == {"accounts.status"}
    assert set(place.find("status", "wiki", connection_id="crm")) == {"both", "crm-only"}
    assert place.find("status", "wiki", connection_id="warehouse") == ["both"]
    assert place.index.connection.total_changes == after


def test_a_users_page_shadows_the_shared_one_and_others_never_see_it(place: Place) -> None:
    place.page("global/revenue", "revenue for all")
    place.page("user/ana/revenue", "revenue as ana sees it")
    hits = place.result("revenue", "wiki", user_id="ana").hits
    assert [(hit.ref, hit.user_id) for hit in hits] == [("revenue", "ana")]
    hits = place.result("revenue", "wiki", user_id="bob").hits
    assert [(hit.ref, hit.user_id) for hit in hits] == [("revenue", None)]


def test_usage_mode_and_sort_order_mean_what_they_say(place: Place) -> None:
    place.page("global/b", "margin rule")
    place.page("global/a", "margin rule", head="sort_order: 5\n")
    place.page("global/c", "margin rule", head="sort_order: 9\nusage_mode: always\n")
    place.page("global/d", "margin rule", head="usage_mode: never\n")
    place.page("global/e", "margin rule", head="archived_since: 2024-01-01\n")
    assert place.find("margin rule", "wiki") == ["c", "b", "a"]
    found = discover(place.index, "nothing of the kind", Scope(), limit=10)
    assert [hit.ref for hit in found.hits] == ["c"]


def test_values_point_at_their_column(place: Place) -> None:
    refresh(place.index, place.root)
    columns = [
        ColumnValues(
            source="orders", column="status", values=("awaiting pickup", "paid", "Zürich Hbf"), cardinality=3
        ),
        ColumnValues(source="orders", column="ssn", values=("078-05-1120",), cardinality=9),
    ]
    batch = ValueBatch(connection_id="warehouse", stamp="1", read=lambda: columns)
    refresh(place.index, place.root, values=[batch])
    result = place.result("which are awaiting pickup?")
    assert (result.hits[0].ref, result.hits[0].matched_on) == ("orders.status", "sample_value")
    assert "dictionary" in result.hits[0].reasons
    assert place.find("zurich") == ["orders.status"]
    assert place.find("078-05-1120") == []
    refresh(place.index, place.root, values=[])
    assert place.find("pickup") == []


def test_every_lane_reports_what_it_did(place: Place) -> None:
    lanes = {lane.lane: lane for lane in place.result("orders").lanes}
    assert lanes["lexical"].status == "ok"
    assert lanes["lexical"].returned > 0
    assert (lanes["semantic"].status, lanes["semantic"].reason) == ("skipped", "no embeddings are configured")


def test_hits_inside_a_source_count_for_the_source(place: Place) -> None:
    refresh(place.index, place.root)
    result = search(place.index, "net revenue", Scope(kinds=LAYER_KINDS), limit=5, by_source=True)
    assert [hit.ref for hit in result.hits] == ["orders"]


def test_a_value_named_in_pieces_is_found_whole(place: Place) -> None:
    place.write("semantic-layer/w/_schema/shop.yaml", MANIFEST)
    values = [ColumnValues(source="orders", column="status", values=("billing-api", "billing"))]
    refresh(place.index, place.root, values=[ValueBatch(connection_id="w", stamp="1", read=lambda: values)])
    found = search(place.index, "releases of billing-api", Scope(kinds=LAYER_KINDS), limit=5)
    assert [(hit.ref, hit.reasons) for hit in found.hits] == [("orders.status", ("dictionary",))]


def test_a_document_with_more_of_the_question_outranks_one_that_two_lanes_know_little_of(
    place: Place,
) -> None:
    place.page("global/refund-rules", "How refunds of shipped orders are booked")
    place.page("global/shippedness", "A word")
    place.page("global/parcels", "Orders")
    refresh(place.index, place.root)
    assert place.find("refunds of shipped orders", "wiki")[0] == "refund-rules"


def test_words_that_are_everywhere_still_find_those_that_have_all_of_them_first(place: Place) -> None:
    columns = "\n".join(
        f"      - {{name: id_{at}, type: number, description: its name}}" for at in range(2_100)
    )
    place.write(
        "semantic-layer/w/_schema/shop.yaml",
        f"tables:\n  big:\n    table: shop.big\n    columns:\n{columns}\n"
        "  other:\n    table: shop.other\n    columns:\n      - {name: name_of_id, type: string}\n",
    )
    refresh(place.index, place.root)
    found = place.find("id name", *LAYER_KINDS)
    assert found[0] == "other.name_of_id"
    assert len(found) > 5
    assert place.find("name", *LAYER_KINDS)[0] == "other.name_of_id"
