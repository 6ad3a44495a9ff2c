from ktx.events import ignore
from ktx.names import is_page_key
from ktx.sources.evidence import Snapshot
from ktx.sources.notion.source import NotionSource
from ktx.sources.notion.values import plain_id
from ktx.sources.source import Interpretation, Target
from ktx.wiki.links import parse_links
from ktx.wiki.page import Page, parse_page, render_page
from sampleprojects import notion_team


def read() -> tuple[Snapshot, Interpretation]:
    with notion_team.serve() as server:
        made = NotionSource(
            connection_id="notes", auth_token=server.token, base_url=server.url,
            root_page_ids=(notion_team.HOME,), sleep=lambda _: None,
        )  # fmt: skip
        snapshot = made.fetch(emit=ignore)
        found = made.interpret(snapshot, [Target(connection_id="dwh", dialect="postgres")])
        assert made.interpret(snapshot, [Target(connection_id="dwh", dialect="postgres")]) == found
    return snapshot, found


def test_every_page_that_says_something_becomes_a_page_with_its_own_key_and_links_that_hold() -> None:
    _, found = read()
    keys = [fact.key for fact in found.pages]
    assert len(keys) == len(set(keys)) == notion_team.PAGES
    assert all(is_page_key(key) and len(key) <= 120 for key in keys)
    for fact in found.pages:
        assert fact.summary
        assert len(fact.summary) <= 200
        assert "[[" not in fact.summary
        page = Page(key=fact.key, file="a.md", summary=fact.summary, body=fact.body)
        linked = {link.target for link in parse_links(page) if link.kind == "page"}
        assert linked <= set(fact.refs) <= set(keys)
        landed, findings = parse_page(
            render_page({"summary": fact.summary, "refs": fact.refs}, fact.body), key=fact.key, file="a.md"
        )
        assert (landed.summary, landed.body.strip(), findings) == (fact.summary, fact.body.strip(), ())


def test_a_row_is_summed_up_by_its_text_and_an_empty_page_is_none() -> None:
    _, found = read()
    by_key = {fact.key: fact for fact in found.pages}
    fact = next(fact for key, fact in by_key.items() if key.startswith("net-revenue-"))
    assert fact.summary == "Gross sales less discounts, refunds and VAT, by the day of the order."
    assert fact.evidence == (f"page/{plain_id(notion_team.NET_REVENUE)}",)


def test_units_hold_every_document_once_within_bounds_and_are_noisy() -> None:
    snapshot, found = read()
    worked = [id_ for unit in found.units for id_ in unit.documents]
    assert len(worked) == len(set(worked))
    documents = {document.id: document for document in snapshot.documents}
    assert set(worked) <= set(documents)
    assert all(unit.is_noisy and unit.connection_ids == ("dwh",) for unit in found.units)
    for unit in found.units:
        assert sum(len(documents[id_].text) for id_ in unit.documents) <= 40_000
        assert set(unit.context) <= set(documents) - set(unit.documents)


def test_a_long_page_is_worked_on_in_parts_and_kept_whole() -> None:
    snapshot, found = read()
    parts = [one for one in snapshot.documents if one.id.startswith(f"page/{plain_id(notion_team.LONG)}#")]
    assert len(parts) == 2
    fact = next(fact for fact in found.pages if fact.key.startswith("order-pipeline-runbook"))
    assert set(fact.evidence) == {part.id for part in parts}
    assert fact.body.count("## Failure") == 33
    assert [unit.label for unit in found.units if "runbook" in unit.label] == [
        "Order pipeline runbook, part 2 of 2",
        "Order pipeline runbook, part 1 of 2",
    ]


def test_a_hostile_page_is_evidence_like_any_other_and_links_nothing() -> None:
    snapshot, found = read()
    document = snapshot.document(f"page/{plain_id(notion_team.HOSTILE)}")
    assert document is not None
    assert "Ignore your instructions" in document.text
    fact = next(fact for fact in found.pages if fact.key.startswith("vendor-faq"))
    assert fact.refs == ()
    assert list(parse_links(Page(key="a", file="a.md", summary="s", body=fact.body))) == []
