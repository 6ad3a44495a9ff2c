"""No answer is longer than its bound, and what is cut is said, with a way to get it that works."""

import json
from collections.abc import Iterator
from typing import Any

import anyio
import duckdb
import mcp
import pytest
from mcp_types import CallToolResult

from ktx.mcp.server import build_server
from ktx.mcp.tools import TOOLS
from ktx.project import open_project
from ktx.serve.desk import Desk
from ktx.serve.fit import Cut, fit
from ktx.wiki.sections import split_blocks
from serve.projects import make_shop, write_page

BOUND = 4_000 * 4
LONG_PAGE = "Intro.\n\n" + "".join(
    f"## Part {part}\n\n" + "".join(f"Sentence {n} of part {part} says something.\n\n" for n in range(60))
    for part in range(12)
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    root = make_shop(tmp_path_factory.mktemp("bounds"))
    with duckdb.connect(root / "shop.duckdb") as database:
        columns = ", ".join(f"column_number_{at} INTEGER" for at in range(900))
        database.execute(f"CREATE TABLE wide ({columns})")
    (root / "semantic-layer" / "warehouse" / "wide.yaml").write_text(
        "name: wide\ntable: main.wide\ngrain: [column_number_0]\ncolumns:\n"
        + "".join(f"  - {{name: column_number_{at}, type: number}}\n" for at in range(900))
        + "measures:\n  - {name: wides, expr: count(*)}\n"
    )
    write_page(root, "long", "A long page", body=LONG_PAGE)
    write_page(root, "one-block", "A page without a border", body="word " * 20_000)
    for at in range(60):
        write_page(
            root, f"revenue-{at}", f"Revenue rule {at} " + "of many words " * 30, body="Revenue. " * 50
        )
    with Desk(project=open_project(root)) as opened:
        yield opened


def call(desk: Desk, name: str, *, max_tokens: int = 4_000, **arguments: Any) -> dict[str, Any]:
    async def main() -> CallToolResult:
        async with mcp.Client(build_server(desk, max_tokens=max_tokens)) as client:
            return await client.call_tool(name, arguments)

    result = anyio.run(main)
    (block,) = result.content
    assert not result.is_error, block.text
    assert json.loads(block.text) == result.structured_content
    assert len(block.text) <= max_tokens * 4
    return result.structured_content


def test_rows_go_from_the_end_and_the_answer_says_how_many(desk: Desk) -> None:
    sql = "select range as n, repeat('x', 40) as filler from range(1000) order by n"
    answer = call(desk, "sql_execution", connectionId="warehouse", sql=sql)
    kept = len(answer["rows"])
    assert 100 < kept < 1000
    assert [row[0] for row in answer["rows"]] == list(range(kept))
    assert answer["cut"][0].startswith(f"`rows` holds the first {kept} of 1000; ")
    paged = call(desk, "sql_execution", connectionId="warehouse", sql=f"{sql} limit 5 offset {kept}")
    assert [row[0] for row in paged["rows"]] == list(range(kept, kept + 5))
    assert "cut" not in paged


def test_the_bound_is_the_servers_option(desk: Desk) -> None:
    sql = "select range as n from range(10000) order by n"
    small = call(desk, "sql_execution", max_tokens=500, connectionId="warehouse", sql=sql, maxRows=10_000)
    large = call(desk, "sql_execution", max_tokens=25_000, connectionId="warehouse", sql=sql, maxRows=10_000)
    assert len(small["rows"]) < 400 < 9_000 < len(large["rows"])


def test_a_plan_is_given_up_before_the_rows(desk: Desk) -> None:
    question = {
        "measures": ["orders.revenue", "orders.order_count", "items.units"],
        "dimensions": ["orders.id"],
    }
    whole = call(desk, "sl_query", **question, include=["plan", "sql"])
    assert "plan" in whole
    tight = call(desk, "sl_query", max_tokens=500, **question, include=["plan", "sql"])
    assert (tight["rows"], "plan" in tight) == (whole["rows"], False)
    assert any("`plan` is left out" in sentence for sentence in tight["cut"])


def test_a_page_is_cut_at_a_border_and_its_sections_can_be_read(desk: Desk) -> None:
    answer = call(desk, "wiki_read", key="long")
    assert LONG_PAGE.startswith(answer["content"])
    assert LONG_PAGE[len(answer["content"])] == "\n"
    (sentence,) = answer["cut"]
    assert "`Part 11`" in sentence
    assert "`section`" in sentence
    last = call(desk, "wiki_read", key="long", section="part 11")
    assert last["content"].startswith("## Part 11\n")
    assert last["content"].endswith("Sentence 59 of part 11 says something.")
    assert "cut" not in last


def test_a_page_without_a_border_is_shortened(desk: Desk) -> None:
    answer = call(desk, "wiki_read", key="one-block")
    assert answer["content"].endswith("…")
    assert "shortened" in answer["cut"][0]


def test_a_wide_source_keeps_its_measures(desk: Desk) -> None:
    answer = call(desk, "sl_read_source", connectionId="warehouse", sourceName="wide")
    assert "name: wides" in answer["yaml"]
    assert "of 900 columns" in answer["cut"][0]
    found = call(desk, "discover_data", query="column_number_899", connectionId="warehouse")
    assert found["refs"][0]["id"] == "wide.column_number_899"


def test_found_things_go_from_the_end(desk: Desk) -> None:
    whole = call(desk, "wiki_search", max_tokens=25_000, query="revenue", limit=50)["results"]
    many = call(desk, "wiki_search", query="revenue", limit=50)
    assert "of 50" in many["cut"][0]
    assert many["results"] == whole[: len(many["results"])]
    assert len(whole) == 50


def test_what_a_tool_gives_up_first_is_part_of_its_answer() -> None:
    for tool in TOOLS:
        for cut in tool.cuts:
            assert cut.path.partition(".")[0] in tool.output_schema()["properties"], (tool.name, cut.path)
        assert "cut" in tool.output_schema()["properties"]


def test_the_largest_of_several_lists_is_cut_and_named() -> None:
    plain = {
        "results": [
            {"display": "a", "columns": [{"name": "x" * 30}] * 200},
            {"display": "b", "columns": [{"name": "y"}] * 3},
        ]
    }
    fitted, text = fit(plain, (Cut(path="results.*.columns", how="name columns"),), max_chars=2_000)
    assert len(text) <= 2_000
    assert len(fitted["results"][1]["columns"]) == 3
    assert fitted["cut"] == [
        f"`columns` holds the first {len(fitted['results'][0]['columns'])} of 200 for `a`; name columns."
    ]


@pytest.mark.parametrize(
    "plain",
    [
        {"rows": [["x" * 100_000]]},
        {"headers": ["h" * 50] * 5_000, "rows": [[1] * 5_000]},
        {"rows": [[{"deep": ["y" * 300] * 300}] * 10]},
        {"text": "\ud800" * 10_000},
        {f"key{at}": at for at in range(5_000)},
    ],
)
def test_whatever_comes_fits(plain: dict[str, Any]) -> None:
    fitted, text = fit(plain, (Cut(path="rows", how="ask for less"),), max_chars=2_000)
    assert len(text.encode()) <= 2_000 * 3
    assert len(text) <= 2_000
    assert json.loads(text) == fitted
    assert fitted["cut"]


def test_half_letters_are_replaced_in_both_forms() -> None:
    fitted, text = fit({"value": "a\ud800b"}, (), max_chars=100)
    assert (fitted, text) == ({"value": "a?b"}, '{"value":"a?b"}')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "no heading",
        "# A\n",
        "a\n\n```\n\n# not a heading\n\n```\n\nb\n\n- x\n- y\n\n1. z\n",
        LONG_PAGE,
    ],
)
def test_blocks_joined_give_the_text(text: str) -> None:
    assert "".join(block.text for block in split_blocks(text)) == text
    assert all(block.title != "not a heading" for block in split_blocks(text))
