import pytest

from ktx.sources.notion.blocks import Block, child_blocks, render_blocks
from ktx.sources.notion.properties import clocked_properties, property_text
from ktx.sources.notion.references import Target, linked, page_key, referenced
from ktx.sources.notion.richtext import markdown, notion_page, paragraph, safe_url
from ktx.sources.notion.values import plain_id
from ktx.wiki.links import parse_links
from ktx.wiki.page import Page
from notionserver.content import (
    SIGNED,
    B,
    block,
    code,
    h,
    li,
    media,
    mention,
    ol,
    p,
    page_mention,
    rich,
    rt,
    table,
    uid,
)

ID = plain_id(uid("Net revenue"))


def tree(one: B) -> Block:
    return Block(
        id=plain_id(one.id) if one.id else "",
        type=one.type,
        data=one.data,
        children=tuple(map(tree, one.children)),
    )


def shown(*blocks: B) -> str:
    return render_blocks([tree(one) for one in blocks]).markdown


def test_annotations_leave_blanks_outside_and_names_alone() -> None:
    spans = rich(
        rt("a "), rt(" bold ", bold=True), rt("both", bold=True, italic=True), " order_items_v2 2*3 `x`"
    )
    assert markdown(spans) == "a  **bold** ***both*** order_items_v2 2\\*3 \\`x\\`"
    assert markdown(rich(rt("a `b` c", code=True))) == "``a `b` c``"
    assert markdown(rich(rt("spl", bold=True), rt("it", bold=True), rt(" x"))) == "**split** x"


def test_text_cannot_become_markup_or_a_link_of_the_wiki() -> None:
    typed = "[[other-page]] <script>alert(1)</script> \n# heading\n> quote\n- list\n1. one\n---"
    text = paragraph(rich(typed))
    page = Page(key="a", file="a.md", summary="s", body=text)
    assert list(parse_links(page)) == []
    assert "<script" not in text.replace("\\<", "")
    assert [line[:2] for line in text.split("\n")[1:]] == ["\\#", "\\>", "\\-", "1\\", "\\-"]


def test_addresses_that_expire_or_run_code_are_left_out() -> None:
    assert safe_url("https://example.com/a?b=1") == "https://example.com/a?b=1"
    for bad in (
        SIGNED,
        "javascript:alert(1)",
        "data:text/html,x",
        "https://x.test/a?sig=1&se=2",
        "http://[",
        "file:///etc/passwd",
        None,
        7,
    ):
        assert safe_url(bad) == ""
    assert markdown(rich(rt("plan", link=SIGNED))) == "plan"
    body = shown(media("image", caption="Plan"), media("file", name="a.csv"), media("video", external=SIGNED))
    assert body == "*(image: Plan)*\n\n*(file: a.csv)*\n\n*(video)*\n"


def test_mentions_and_links_to_pages_become_links_of_the_wiki_once_titles_are_known() -> None:
    text = markdown(rich("see ", page_mention(ID, "Old title"), " and ", rt("here", href=f"/{ID}")))
    assert referenced(text) == (ID,)
    key = page_key("Net | [revenue]", ID)
    assert key.startswith("net-revenue-")
    assert linked(text, {ID: Target(key=key, title="Net | [revenue]")}).count(f"[[{key}|Net revenue]]") == 2
    assert linked(text, {}) == "see Old title and here"
    broken = markdown(rich(page_mention(ID, "two\nlines")))
    assert linked(broken, {}) == "two lines"
    assert linked(f"| a {text} |", {ID: Target(key="k", title="T")}).startswith("| a see [[k\\|T]]")
    assert notion_page(f"https://www.notion.so/acme/Net-revenue-{ID}?pvs=4") == ID
    assert notion_page(f"https://evil.test/{ID}") == ""


def test_a_link_in_a_table_is_one_cell_and_one_reference() -> None:
    body = linked(
        shown(table([["Metric", "Where"], ["x", page_mention(ID, "N")]])),
        {ID: Target(key="net-1", title="N")},
    )
    page = Page(key="a", file="a.md", summary="s", body=body)
    assert [link.target for link in parse_links(page)] == ["net-1"]


def test_lists_nest_and_numbers_run_until_something_else_comes() -> None:
    body = shown(
        ol("one", children=[li("a"), li("b", children=[p("text")])]),
        ol("two"),
        p("x"),
        ol("again"),
        li("dot"),
    )
    assert body == "1. one\n   - a\n   - b\n\n     text\n2. two\n\nx\n\n1. again\n\n- dot\n"


def test_quotes_callouts_code_and_tables_keep_their_content() -> None:
    assert (
        shown(block("callout", "Mind", icon={"emoji": "💡"}, children=[code("a\nb")]))
        == "> 💡 Mind\n>\n> ```sql\n> a\n> b\n> ```\n"
    )
    assert shown(code("```\nx", "plain text")) == "````\n```\nx\n````\n"
    assert shown(code("x", 'sql"><b')) == "```sql-b\nx\n```\n"
    assert shown(table([["a|b", "c"], ["1", ""]])) == "| a\\|b | c |\n| --- | --- |\n| 1 |  |\n"
    assert shown(table([["1", "2"]], has_header=False)) == "|  |  |\n| --- | --- |\n| 1 | 2 |\n"


def test_headings_are_below_the_title_and_may_hold_blocks() -> None:
    assert shown(h(1, "A", children=[p("in")]), h(4, "D"), h(2)) == "## A\n\nin\n\n##### D\n"


def test_unknown_kinds_are_named_and_their_text_is_kept() -> None:
    rendered = render_blocks(
        [
            tree(B(type="unsupported", data={"block_type": "ai_block"})),
            tree(B(type="new", data={"rich_text": rich("text")})),
        ]
    )
    assert rendered.markdown == "*(a block of the kind `ai_block`)*\n\ntext\n"
    assert rendered.unknown == {"ai_block": 1, "new": 1}


def test_child_pages_are_found_wherever_they_stand() -> None:
    child = B(type="child_page", data={"title": "In a column"}, id=uid("c"))
    columns = B(type="column_list", data={}, children=[B(type="column", data={}, children=[child])])
    assert [one.id for one in child_blocks([tree(columns)])] == [plain_id(uid("c"))]


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        "x",
        [],
        [None],
        [{"type": 5}],
        [{"type": "mention"}],
        [{"type": "mention", "mention": {"type": "page"}}],
        {"a": 1},
    ],
)
def test_malformed_rich_text_and_blocks_give_something_or_nothing(value: object) -> None:
    assert isinstance(paragraph(value), str)
    for kind in (
        "paragraph",
        "code",
        "table",
        "image",
        "to_do",
        "callout",
        "heading_x",
        "heading_2",
        "link_to_page",
        "equation",
        "",
    ):
        data = {
            "rich_text": value,
            "caption": value,
            "external": value,
            "type": value,
            "expression": value,
            "cells": value,
        }
        assert isinstance(render_blocks([Block(id="", type=kind, data=data)]).markdown, str)


def test_properties_say_their_value_in_one_line() -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"type": "number", "number": 0.1}, "0.1"),
        ({"type": "checkbox", "checkbox": False}, "no"),
        ({"type": "multi_select", "multi_select": [{"name": "a"}, {"name": "b"}]}, "a, b"),
        ({"type": "date", "date": {"start": "2026-01-01", "end": "2026-02-01"}}, "2026-01-01 to 2026-02-01"),
        ({"type": "formula", "formula": {"type": "boolean", "boolean": True}}, "yes"),
        ({"type": "rollup", "rollup": {"type": "array", "array": [{"type": "select", "select": {"name": "x"}}] * 2}}, "x"),
        ({"type": "rollup", "rollup": {"type": "incomplete", "incomplete": {}}}, ""),
        ({"type": "unique_id", "unique_id": {"prefix": "INC", "number": 7}}, "INC-7"),
        ({"type": "unique_id", "unique_id": {"prefix": None, "number": 7}}, "7"),
        ({"type": "files", "files": [{"name": "a.pdf", "file": {"url": SIGNED}}]}, "a.pdf"),
        ({"type": "url", "url": "https://example.com"}, "<https://example.com>"),
        ({"type": "email", "email": "ingrid@example.com"}, "ingrid@example.com"),
        ({"type": "select", "select": None}, ""),
        ({"type": "hologram", "hologram": {"a": 1}}, "(of the kind `hologram`)"),
        ({"type": "people", "people": [{"name": "Ingrid"}], "has_more": True}, "Ingrid and more"),
        ({"type": 3}, ""),
    ]  # fmt: skip
    for entry, value in cases:
        assert property_text(entry) == value, entry


def test_formulas_that_follow_the_clock_are_known() -> None:
    schema = {
        "Age": {"type": "formula", "formula": {"expression": "dateBetween(now(), prop('x'), 'days')"}},
        "Sum": {"type": "formula", "formula": {"expression": "prop('known') + 1"}},
        "Bad": None,
    }
    assert clocked_properties({"properties": schema}) == {"Age"}


def test_ids_are_taken_out_of_addresses() -> None:
    plain = "1429989fe8ac4effbc8f57f56486db54"
    for text in (
        plain,
        "1429989f-e8ac-4eff-bc8f-57f56486db54",
        f"https://www.notion.so/acme/Title-with-abcdef-{plain}?v=2#x",
        f"https://acme.notion.site/{plain.upper()}/",
    ):
        assert plain_id(text) == plain
    for text in ("", "x", plain[:-1], f"{plain}/more", None, 5, "../../etc"):
        assert plain_id(text) == ""


def test_mentions_without_names_still_say_something() -> None:
    spans = [mention("user", {"id": "x"}, ""), mention("date", {}, "someday"), mention("weird", {}, "what")]
    assert markdown(spans) == "@someone" + "someday" + "what"
