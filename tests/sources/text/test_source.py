import pytest

from ktx.errors import UsageError
from ktx.events import Event, StageFinished, ignore
from ktx.names import is_page_key
from ktx.sources.source import ContextSource
from ktx.sources.text.source import TextItem, TextSource, verbatim_page
from ktx.wiki.page import parse_page, render_page
from sources.text.documents import pdf


def note(text: str, *, name: str = "", label: str = "") -> TextItem:
    return TextItem(label=label or name or "text 1", content=text.encode(), name=name)


def read(*items: TextItem, connections: tuple[str, ...] = ()) -> TextSource:
    return TextSource(items=items, connection_ids=connections)


def test_a_file_becomes_one_document_one_unit_and_one_page() -> None:
    source: ContextSource = read(
        note("# Refunds\n\nRefunds count on the day they are paid. More.\n", name="Refund Policy.md"),
        connections=("warehouse",),
    )
    snapshot = source.fetch(emit=ignore)
    found = source.interpret(snapshot, [])
    assert [document.id for document in snapshot.documents] == ["text/refund-policy.md"]
    assert not snapshot.is_complete
    [unit] = found.units
    assert (unit.documents, unit.connection_ids, unit.is_noisy) == (
        ("text/refund-policy.md",),
        ("warehouse",),
        False,
    )
    [page] = found.pages
    assert page.key == "refund-policy"
    assert page.summary == "Refunds count on the day they are paid."
    assert page.body == "# Refunds\n\nRefunds count on the day they are paid. More.\n"
    assert page.connections == ("warehouse",)
    assert page.evidence == ("text/refund-policy.md",)
    assert found.definitions == found.unmapped == ()


def test_the_next_version_of_a_file_is_the_same_document() -> None:
    one, two = (read(note(text, name="docs/rules.md")).fetch(emit=ignore) for text in ("Old.", "New."))
    assert one.documents[0].id == two.documents[0].id == "text/rules.md"
    assert one.documents[0].digest != two.documents[0].digest


def test_text_without_a_file_is_called_by_its_title_and_content() -> None:
    said = note("Churn means no order for 90 days.")
    again = read(said, said).fetch(emit=ignore)
    [document] = again.documents
    assert document.id.startswith("text/churn-means-no-order-for-90-days-")
    assert read(note("# Churn\n\nOther.")).fetch(emit=ignore).documents[0].id.startswith("text/churn-")
    assert read(note("収益は純額。")).fetch(emit=ignore).documents[0].id.startswith("text/note-")


def test_front_matter_is_kept_and_fills_the_page() -> None:
    text = (
        "---\nsummary: Net of refunds and tax\ntags: [finance, revenue]\nrefs: refunds\nconnections: [dwh]\n"
        "sl_refs: [orders.revenue]\nusage_mode: always\n---\n\n# Net revenue\n\nBody stays.\n"
    )
    page = verbatim_page(note(text, name="net.md"), connection_ids=("warehouse",))
    assert page.summary == "Net of refunds and tax"
    assert (page.tags, page.refs, page.connections) == (("finance", "revenue"), ("refunds",), ("dwh",))
    assert page.head == {"sl_refs": ["orders.revenue"], "usage_mode": "always"}
    assert page.body == "# Net revenue\n\nBody stays.\n"
    rendered = render_page({"summary": page.summary, "tags": page.tags, **page.head}, page.body)
    landed, findings = parse_page(rendered, key=page.key, file="wiki/global/net.md")
    assert (landed.sl_refs, landed.usage_mode, findings) == (("orders.revenue",), "always", ())


def test_verbatim_gives_the_same_page_for_the_same_text() -> None:
    item = note("# Churn\n\nNo order for 90 days.\n")
    assert verbatim_page(item) == verbatim_page(item)
    assert verbatim_page(item).key == "churn"
    other = verbatim_page(note("# Churn\n\nNo log-in for 30 days.\n"))
    assert other.key == "churn"
    assert other.body != verbatim_page(item).body


def test_a_large_file_becomes_parts_and_one_whole_page() -> None:
    chapters = [f"# Chapter {n}\n\n{'Refunds count on the day they are paid. ' * 400}\n\n" for n in range(12)]
    text = "---\nsummary: All rules\n---\n\n" + "".join(chapters)
    source = read(note(text, name="handbook.md"))
    snapshot = source.fetch(emit=ignore)
    found = source.interpret(snapshot, [])
    assert [document.id for document in snapshot.documents] == [
        f"text/handbook.md#chapter-{n}" for n in (0, 10, 2, 4, 6, 8)
    ]
    assert all(len(document.text) <= 40_100 for document in snapshot.documents)
    [page] = found.pages
    assert page.body == "".join(chapters)
    assert page.summary == "All rules"
    assert [unit.label for unit in found.units] == [f"handbook.md, part {n} of 6" for n in range(1, 7)]
    assert all(len(unit.documents) == 1 and len(unit.context) == 5 for unit in found.units)


def test_files_of_one_name_are_told_apart_and_equal_ones_are_one() -> None:
    same = read(note("Same.", name="a/readme.md"), note("Same.", name="b/readme.md")).fetch(emit=ignore)
    assert [document.id for document in same.documents] == ["text/readme.md"]
    source = read(note("One.", name="a/readme.md"), note("Two.", name="b/readme.md"))
    snapshot = source.fetch(emit=ignore)
    pages = source.interpret(snapshot, []).pages
    assert len({document.id for document in snapshot.documents}) == 2
    assert len({page.key for page in pages}) == 2
    assert "readme" in {page.key for page in pages}


def test_names_never_reach_outside_and_keys_are_keys() -> None:
    for name in (
        "../../etc/passwd",
        "..\\..\\boot.ini",
        ".md",
        "\x00\n.md",
        "収益.md",
        "a" * 400 + ".md",
        "# [x](y).md",
    ):
        source = read(note("Text.", name=name))
        snapshot = source.fetch(emit=ignore)
        [page] = source.interpret(snapshot, []).pages
        assert is_page_key(page.key), name
        assert ".." not in snapshot.documents[0].id
        assert snapshot.documents[0].id.isprintable()


def test_one_unreadable_file_hides_no_other() -> None:
    events: list[Event] = []
    source = read(
        note("Good.", name="good.md"),
        TextItem(label="./chart.png", content=b"\x89PNG\r\n", name="chart.png"),
        TextItem(label="./scan.pdf", content=pdf([["Net revenue"]]), name="scan.pdf"),
    )
    snapshot = source.fetch(emit=events.append)
    assert [document.id for document in snapshot.documents] == ["text/good.md", "text/scan.pdf"]
    [gap] = snapshot.unread
    assert gap.id == "./chart.png"
    assert gap.reason == "`chart.png` is a picture, which cannot be read."
    assert events[-1] == StageFinished(stage="documents", summary="2 read")


def test_when_nothing_can_be_read_the_first_reason_is_raised() -> None:
    with pytest.raises(UsageError, match=r"`a\.png` is a picture"):
        read(TextItem(label="a", content=b"\x89PNG\r\n", name="a.png")).fetch(emit=ignore)
    with pytest.raises(UsageError, match="No text was given"):
        read().fetch(emit=ignore)


def test_the_order_of_the_items_changes_nothing() -> None:
    items = [note(f"# Rule {n}\n\nText {n}.", name=f"rule-{n}.md") for n in range(5)]
    one, two = read(*items), read(*reversed(items))
    assert one.fetch(emit=ignore).documents == two.fetch(emit=ignore).documents
    assert one.interpret(one.fetch(emit=ignore), []) == two.interpret(two.fetch(emit=ignore), [])
