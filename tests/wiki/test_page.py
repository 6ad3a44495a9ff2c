"""Reading and editing pages."""

import pytest

from ktx.errors import LayerError
from ktx.wiki.page import edit_page, parse_page, render_page

TEXT = """---
# what finance agreed on
summary: Net revenue is gross minus refunds
tags: [finance,  revenue]
sl_refs:
  - orders.net_revenue   # the measure
usage_mode: always
sort_order: 2
connections: warehouse
owner: ana
---

# Net revenue

Ünïcode stays.
"""


def test_a_page_gives_its_head_and_body() -> None:
    page, findings = parse_page(TEXT, key="net-revenue", file="wiki/global/net-revenue.md")
    assert page.summary == "Net revenue is gross minus refunds"
    assert page.tags == ("finance", "revenue")
    assert page.connections == ("warehouse",)
    assert (page.usage_mode, page.sort_order, page.scope) == ("always", 2, "global")
    assert page.body.strip().startswith("# Net revenue")
    assert [(f.code, f.where.line) for f in findings] == [("wiki-unknown-key", 10)]


def test_an_edit_keeps_comments_unknown_keys_and_the_body() -> None:
    edited = edit_page(TEXT, head={"sort_order": 5, "usage_mode": None, "summary": "Gross less refunds"})
    assert "# what finance agreed on" in edited
    assert "# the measure" in edited
    assert "owner: ana" in edited
    assert "usage_mode" not in edited
    assert edited.endswith("# Net revenue\n\nÜnïcode stays.\n")
    page, _ = parse_page(edited, key="k", file="f")
    assert (page.sort_order, page.summary) == (5, "Gross less refunds")


def test_an_edit_of_nothing_changes_no_byte() -> None:
    assert edit_page(TEXT) == TEXT
    assert edit_page(TEXT, head={}) == TEXT


def test_a_rendered_page_reads_back() -> None:
    text = render_page({"tags": ("a", "b"), "summary": "One: two # three", "refs": ()}, "Body with `code`")
    assert text.index("summary") < text.index("tags")
    page, findings = parse_page(text, key="k", file="f")
    assert (page.summary, page.tags, page.refs, findings) == ("One: two # three", ("a", "b"), (), ())
    assert page.body.strip() == "Body with `code`"


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("# No head\n", "has no front matter", 1),
        ("---\ntags: [a]\n---\n", "`summary` of page `k` is required", 1),
        ("---\nsummary: x\nusage_mode: sometimes\n---\n", "`usage_mode`", 3),
        ("---\nsummary: x\nsort_order: [1]\n---\n", "`sort_order`", 3),
        ("---\nsummary: 'x\ntags: []\n---\n", "not valid YAML", None),
        ("---\n- a\n- b\n---\n", "not a mapping", 1),
        ("---\nsummary: x\nstale_since: soon\n---\n", "`stale_since`", 3),
    ],
)
def test_a_bad_head_is_refused_with_its_line(text: str, said: str, line: int | None) -> None:
    with pytest.raises(LayerError) as refused:
        parse_page(text, key="k", file="wiki/global/k.md")
    finding = refused.value.findings[0]
    assert said in finding.message
    assert finding.where.file == "wiki/global/k.md"
    if line is not None:
        assert finding.where.line == line
