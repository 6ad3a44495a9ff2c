"""Duplicates and contradictions, settled by rule: among units, across sources, and with the accepted layer."""

import itertools
from pathlib import Path

import pytest

from ingest.drafts import ORDERS, PAGE, change, draft_at, land
from ktx.ingest.artifact import page_artifact
from ktx.ingest.change import Change
from ktx.ingest.draft import Draft
from ktx.ingest.evict import evictions
from ktx.ingest.merge import merge
from ktx.ingest.reconcile import Contradiction, Settled, Verdict, settle
from ktx.sources.evidence import Snapshot

CONFLICT = page_artifact("conflict-orders-revenue")


def measure(name: str, expr: str, **facts: object) -> Change:
    value = {"name": name, "expr": expr, **({"filter": facts.pop("filter")} if "filter" in facts else {})}
    return change(f"measures.{name}", value, **facts)  # type: ignore[arg-type]


def from_unit(name: str, expr: str, unit: str, **facts: object) -> Change:
    return measure(name, expr, source="notes", by="model", unit=unit, **facts)


def run(root: Path, changes: list[Change], source: str | None = None) -> tuple[Draft, Settled]:
    """Settle and land what one source says, with what it no longer says taken out, as a run does."""
    draft = draft_at(root)
    settled = settle(draft, changes)
    gone = evictions(
        draft, source or changes[0].source, settled.changes, Snapshot(documents=(), is_complete=True)
    )
    return land(root, merge(draft, [*settled.changes, *gone])), settled


def exprs(draft: Draft) -> dict[str, str]:
    return {
        entry.partition(".")[2]: value["expr"]  # type: ignore[index,call-overload]
        for entry, value in draft.entries(ORDERS).items()
        if entry.startswith("measures.")
    }


@pytest.mark.parametrize(
    "other",
    ["sum( amount )", "SUM(orders.amount)", 'sum("amount")', "Sum(amount) -- net", "sum(\n  amount\n)"],
)
def test_the_same_definition_in_other_words_is_the_same(tmp_path: Path, other: str) -> None:
    draft, settled = run(
        tmp_path, [from_unit("revenue", "sum(amount)", "a"), from_unit("revenue", other, "b")]
    )
    assert exprs(draft) == {"revenue": "sum(amount)"}
    assert not settled.contradictions
    draft, settled = run(tmp_path, [measure("revenue", other)])
    assert not settled.contradictions
    assert list(exprs(draft)) == ["revenue"]


@pytest.mark.parametrize("other", ["sum(id)", "sum(AMOUNT) + 0", "count(amount)", "sum(distinct amount)"])
def test_another_definition_is_another(tmp_path: Path, other: str) -> None:
    draft, settled = run(
        tmp_path, [from_unit("revenue", "sum(amount)", "a"), from_unit("revenue", other, "b")]
    )
    assert len(settled.contradictions) == 1
    assert exprs(draft) == {"revenue_notes_a": "sum(amount)", "revenue_notes_b": other}


def test_a_filter_and_the_case_of_a_text_make_a_meaning(tmp_path: Path) -> None:
    draft, settled = run(
        tmp_path,
        [
            from_unit("paid", "sum(amount)", "a", filter="status = 'paid'"),
            from_unit("paid", "sum(amount)", "b", filter="status = 'PAID'"),
        ],
    )
    assert len(settled.contradictions) == 1
    assert set(exprs(draft)) == {"paid_notes_a", "paid_notes_b"}


def test_a_second_name_is_left_out_across_units_and_sources_and_the_layer(tmp_path: Path) -> None:
    draft, settled = run(
        tmp_path, [from_unit("revenue", "sum(amount)", "a"), from_unit("turnover", "SUM(amount)", "b")]
    )
    assert exprs(draft) == {"revenue": "sum(amount)"}
    assert [one.code for one in settled.findings] == ["second-name-left-out"]
    draft, settled = run(tmp_path, [measure("sales", "sum(orders.amount)")])
    assert exprs(draft) == {"revenue": "sum(amount)"}
    assert (
        "`measures.sales` of `shop/orders` is what `measures.revenue` is already"
        in settled.findings[0].message
    )


def test_an_importer_keeps_its_own_second_names(tmp_path: Path) -> None:
    draft, settled = run(tmp_path, [measure("revenue", "sum(amount)"), measure("turnover", "sum(amount)")])
    assert set(exprs(draft)) == {"revenue", "turnover"}
    assert not settled.findings


PERSONS = "name: orders\nmeasures:\n  - name: revenue\n    expr: sum(amount) * 2\n"


def test_a_persons_definition_keeps_its_name(tmp_path: Path) -> None:
    draft_at(tmp_path, files={"semantic-layer/shop/orders.yaml": PERSONS})
    draft, settled = run(tmp_path, [measure("revenue", "sum(amount)")])
    assert exprs(draft) == {"revenue": "sum(amount) * 2", "revenue_dbt": "sum(amount)"}
    (told,) = settled.contradictions
    assert [(one.name, one.said_by, one.is_accepted) for one in told.meanings] == [
        ("revenue", "a person", True),
        ("revenue_dbt", "`dbt`", False),
    ]
    page = draft.text(CONFLICT) or ""
    assert "`orders.revenue`, said by a person: `sum(amount) * 2`" in page
    assert "`orders.revenue_dbt`, said by `dbt`: `sum(amount)`" in page


def test_a_column_that_would_hide_a_physical_one_gets_another_name(tmp_path: Path) -> None:
    draft, settled = run(
        tmp_path,
        [change("columns.status", {"name": "status", "type": "string", "expr": "upper(orders.status)"})],
    )
    assert [entry for entry in draft.entries(ORDERS) if entry.startswith("columns.")] == [
        "columns.status_dbt"
    ]
    assert settled.contradictions[0].meanings[0].said_by == "the warehouse"


def test_what_builds_on_a_renamed_measure_follows_it_and_pages_do_too(tmp_path: Path) -> None:
    draft_at(tmp_path, files={"semantic-layer/shop/orders.yaml": PERSONS})
    said = [
        measure("revenue", "sum(amount)"),
        measure("share", "revenue / count(*)"),
        measure("other", "sum(revenues)"),
        measure("per_customer", "orders.revenue / 2", artifact=ORDERS),
        change("summary", "x", artifact=PAGE),
        change(
            "lead",
            "`orders.revenue` counts; `orders.revenues` does not, nor x.orders.revenue_a",
            artifact=PAGE,
        ),
        change("sl_refs", ["orders.revenue", "orders"], artifact=PAGE),
    ]
    draft, _ = run(tmp_path, said)
    found = exprs(draft)
    assert found["share"].lower() == "revenue_dbt / count(*)"
    assert found["per_customer"] == "orders.revenue_dbt / 2"
    assert found["other"] == "sum(revenues)"
    page = draft.entries(PAGE)
    assert page["lead"] == "`orders.revenue_dbt` counts; `orders.revenues` does not, nor x.orders.revenue_a"
    assert page["sl_refs"] == ["orders.revenue_dbt", "orders"]


def test_what_builds_on_a_left_out_second_name_uses_the_first(tmp_path: Path) -> None:
    run(tmp_path, [measure("revenue", "sum(amount)")])
    draft, _ = run(
        tmp_path,
        [from_unit("turnover", "sum(amount)", "a"), from_unit("rate", "turnover / count(*)", "a")],
        source="notes",
    )
    assert exprs(draft)["rate"].lower() == "revenue / count(*)"
    assert "turnover" not in exprs(draft)


def test_a_column_called_like_a_renamed_measure_stays(tmp_path: Path) -> None:
    draft_at(tmp_path, files={"semantic-layer/shop/orders.yaml": PERSONS.replace("revenue", "amount")})
    draft, _ = run(tmp_path, [measure("amount", "sum(amount)"), measure("double", "sum(amount) * 2 + 1")])
    assert exprs(draft) == {
        "amount": "sum(amount) * 2", "amount_dbt": "sum(amount)", "double": "sum(amount) * 2 + 1",
    }  # fmt: skip


def test_texts_of_two_units_stand_under_one_another_with_their_names(tmp_path: Path) -> None:
    said = [
        change("summary", "Refunds.", artifact=PAGE, source="notes", by="model", unit="a"),
        change("section.Rule", "## Rule\n\nTwo days.", artifact=PAGE, source="notes", by="model", unit="a"),
        change(
            "section.Rule", "## Rule\n\nThree days.", artifact=PAGE, source="notes", by="model", unit="b # 1"
        ),
        change("section.Rule", "## Rule\n\nTwo days.\n", artifact=PAGE, source="notes", by="model", unit="c"),
    ]
    draft, settled = run(tmp_path, said)
    entries = draft.entries(PAGE)
    assert entries["section.Rule"] == "## Rule\n\nTwo days."
    assert [key for key in entries if key.startswith("section.")] == ["section.Rule", "section.Rule (b # 1)"]
    assert not settled.contradictions
    assert not merge(draft, settle(draft, said).changes).texts


UNITS = {
    "a": [
        from_unit("revenue", "sum(amount)", "a"),
        from_unit("half", "revenue / 2", "a"),
        change("summary", "From a.", artifact=PAGE, source="notes", by="model", unit="a"),
        change("tags", ["x", "y"], artifact=PAGE, source="notes", by="model", unit="a"),
    ],
    "b": [
        from_unit("revenue", "sum(amount) - 1", "b"),
        from_unit("half", "revenue / 2", "b"),
        from_unit("turnover", "sum(id)", "b"),
        change("summary", "From b.", artifact=PAGE, source="notes", by="model", unit="b"),
        change("tags", ["z"], artifact=PAGE, source="notes", by="model", unit="b"),
    ],
    "c": [
        from_unit("sales", "sum(id)", "c"),
        change("segments.paid", {"name": "paid", "expr": "status = 'paid'"}, source="notes", by="model", unit="c"),
    ],
    "import": [measure("count", "count(*)", source="notes"), measure("revenue", "sum(amount)", source="notes")],
}  # fmt: skip


def test_the_order_in_which_units_finish_changes_nothing(tmp_path: Path) -> None:
    seen: set[str] = set()
    for number, order in enumerate(itertools.permutations(UNITS)):
        root = tmp_path / str(number)
        draft, _ = run(root, [one for unit in order for one in UNITS[unit]], source="notes")
        told = {
            path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
            for folder in ("semantic-layer", "wiki")
            for path in sorted((root / folder).rglob("*"))
            if path.is_file()
        }
        seen.add(str(sorted(told.items())))
        del draft
    assert len(seen) == 1


SAYS = {
    "dbt": [
        measure("revenue", "sum(amount)"),
        measure("share", "revenue / count(*)"),
        change("descriptions.dbt", "Orders."),
        change("segments.paid", {"name": "paid", "expr": "status = 'paid'"}),
    ],
    "lookml": [
        measure("revenue", "sum(amount) - 1", source="lookml"),
        measure("share", "revenue / count(*)", source="lookml"),
        measure("sales", "sum(amount)", source="lookml"),
        change("segments.paid", {"name": "paid", "expr": "status <> 'new'"}, source="lookml"),
    ],
    "notes": [
        from_unit("revenue", "sum(amount) - 2", "a"),
        change("segments.paid", {"name": "paid", "expr": "status = 'paid'"}, source="notes", by="model", unit="a"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("order", list(itertools.permutations(SAYS)), ids="-".join)
def test_sources_in_any_order_come_to_rest_after_one_round(tmp_path: Path, order: tuple[str, ...]) -> None:
    for source in order:
        run(tmp_path, SAYS[source])
    before = tree(tmp_path)
    for source in (*order, *reversed(order), *sorted(order)):
        run(tmp_path, SAYS[source])
        assert tree(tmp_path) == before, source


def tree(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_judge_gives_words_and_names_and_nothing_else(tmp_path: Path) -> None:
    said = [from_unit("revenue", "sum(amount)", "a"), from_unit("revenue", "sum(amount) - 1", "b")]

    def judge(told: Contradiction) -> Verdict:
        assert [one.name for one in told.meanings][:1] != []
        return Verdict(names=("gross", "net"), explanation="Gross is before the fee.")

    settled = settle(draft_at(tmp_path), said, judge=judge)
    assert {one.entry for one in settled.changes if one.artifact == ORDERS} == {
        "measures.gross",
        "measures.net",
    }
    for names in (("revenue", "net"), ("x", "x"), ("gross",), ("a b", "c"), ("1", "2")):
        bad = settle(draft_at(tmp_path), said, judge=lambda _, names=names: Verdict(names=names))
        assert {one.entry for one in bad.changes if one.artifact == ORDERS} == {
            "measures.revenue_notes_a", "measures.revenue_notes_b",
        }  # fmt: skip
