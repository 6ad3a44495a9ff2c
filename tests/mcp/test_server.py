"""The MCP server, asked by the official client: in process, and as a child process on stdin and stdout."""

import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import mcp
import pytest
from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult

from ktx.mcp.reference import render_surface
from ktx.mcp.server import build_server
from ktx.project import open_project
from ktx.serve.desk import Desk
from serve.projects import make_shop, write_page

Call = tuple[str, dict[str, Any]]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    make_shop(tmp_path)
    write_page(
        tmp_path,
        "revenue-rule",
        "What counts as revenue",
        head="sl_refs: [orders.revenue]\n",
        body="Only paid orders.",
    )
    with Desk(project=open_project(tmp_path), recheck_s=0.0) as opened:
        yield opened


def call(desk: Desk, *calls: Call) -> list[CallToolResult]:
    async def main() -> list[CallToolResult]:
        async with mcp.Client(build_server(desk)) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls]

    return anyio.run(main)


def answer(desk: Desk, name: str, **arguments: Any) -> dict[str, Any]:
    (result,) = call(desk, (name, arguments))
    assert not result.is_error, text(result)
    assert json.loads(text(result)) == result.structured_content
    return result.structured_content


def refusal(desk: Desk, name: str, **arguments: Any) -> str:
    (result,) = call(desk, (name, arguments))
    assert result.is_error
    return text(result)


def text(result: CallToolResult) -> str:
    (block,) = result.content
    return block.text


def test_the_public_surface_is_the_recorded_one() -> None:
    recorded = Path(__file__).with_name("surface.json").read_text(encoding="utf-8")
    assert recorded == render_surface(), "read the diff of `python docs/generate.py`: clients will see it"


def test_every_tool_says_that_it_only_reads(desk: Desk) -> None:
    async def main() -> Any:
        async with mcp.Client(build_server(desk)) as client:
            return (await client.list_tools()).tools

    for tool in anyio.run(main):
        assert tool.annotations.read_only_hint
        assert tool.annotations.open_world_hint is False
        assert tool.description


def test_an_agent_finds_its_way_from_a_question_to_rows(desk: Desk) -> None:
    found = answer(desk, "discover_data", query="what revenue did customers bring")
    kinds = {(ref["kind"], ref["id"]) for ref in found["refs"]}
    assert ("sl_measure", "orders.revenue") in kinds
    assert ("wiki", "revenue-rule") in kinds
    assert answer(desk, "wiki_read", key="revenue-rule")["content"] == "Only paid orders."
    assert (
        "sum(amount)" in answer(desk, "sl_read_source", connectionId="warehouse", sourceName="orders")["yaml"]
    )
    rows = answer(
        desk, "sl_query", measures=["orders.revenue"], dimensions=["customers.country"], segments=["orders.paid"],
        order_by=[{"field": "revenue", "direction": "desc"}], include_empty=False, include=["sql", "plan"],
    )  # fmt: skip
    assert rows["rows"] == [["CH", 30.25], [None, 5]]
    assert rows["sql"].startswith("SELECT")
    assert rows["plan"]["facts"][0]["home"] == "orders"


def test_values_come_as_json_without_losing_digits(desk: Desk) -> None:
    sql = (
        "select 12345678901234567890.123456789::decimal(38, 9) as d, 1e400::double as i, 'nan'::double as n, "
        "date '2024-02-03' as t, '\\xAB'::blob as b, 9007199254740993 as big, interval 1 day as v, [1, 2] as l"
    )
    rows = answer(desk, "sql_execution", connectionId="warehouse", sql=sql)
    assert rows["rows"] == [
        ["12345678901234567890.123456789", None, None, "2024-02-03", "0xab", 9007199254740993, "P1D", [1, 2]]
    ]
    assert len(rows["notes"]) == 2


def test_refusals_say_what_to_do(desk: Desk) -> None:
    assert "Did you mean `revenue`?" in refusal(desk, "sl_query", measures=["orders.revenu"])
    assert "Did you mean `measures`?" in refusal(desk, "sl_query", measure=["orders.revenue"])
    assert "Did you mean `orders`?" in refusal(
        desk, "sl_read_source", connectionId="warehouse", sourceName="order"
    )
    assert "`sql` is required" in refusal(desk, "sql_execution", connectionId="warehouse").replace(
        "`sql`", "`sql`"
    )
    assert "`limit`" in refusal(desk, "discover_data", query="x", limit=1000)
    assert "Did you mean `kinds`?" in refusal(desk, "discover_data", query="x", kind=["wiki"])
    assert "Did you mean `wiki_read`?" in refusal(desk, "wiki_reed", key="x")
    assert "There is no connection" in refusal(desk, "discover_data", query="x", connectionId="nope")
    assert "not a page key" in refusal(desk, "wiki_read", key="../../ktx")


def test_a_table_that_was_never_scanned_is_an_answer_and_not_a_failure(desk: Desk) -> None:
    (result,) = answer(desk, "entity_details", connectionId="warehouse", entities=[{"table": "orders"}])[
        "results"
    ]
    assert (result["ok"], result["error"]["code"]) == (False, "scan_missing")


def test_raw_sql_is_not_offered_when_no_connection_allows_it(tmp_path: Path) -> None:
    make_shop(tmp_path)
    (tmp_path / "ktx.yaml").write_text(
        "connections:\n  warehouse: {driver: duckdb, path: shop.duckdb, query_policy: semantic-layer-only}\n"
    )
    with Desk(project=open_project(tmp_path)) as desk:
        assert "There is no tool `sql_execution`" in refusal(
            desk, "sql_execution", connectionId="warehouse", sql="select 1"
        )
        assert answer(desk, "sl_query", measures=["orders.order_count"])["rows"] == [[4]]


def test_an_edited_file_counts_at_the_next_call(desk: Desk) -> None:
    assert answer(desk, "sl_query", measures=["orders.order_count"])["rows"] == [[4]]
    path = desk.project.semantic_dir / "warehouse" / "orders.yaml"
    path.write_text(path.read_text().replace("count(*)", "count(*) * 10"))
    assert answer(desk, "sl_query", measures=["orders.order_count"])["rows"] == [[40]]
    write_page(desk.project.root, "churn", "Who left")
    assert answer(desk, "wiki_search", query="churn")["results"][0]["key"] == "churn"


def test_hostile_calls_are_answered_and_the_server_lives_on(desk: Desk) -> None:
    chance = random.Random(11)
    nasty: list[Any] = [
        "", " ", "\x00", "💥" * 50, "../../etc/passwd", "'; drop table orders; --", "x" * 3000, "\u202e", "%s%n", "{{7*7}}", -1, 0,
        2**70, 1.5, True, None, [], {}, [[]], {"a": {"b": []}}, ["x"] * 60, {"expr": "(select 1)", "name": "x, (select 2)"},
        {"field": "orders.created", "granularity": "day'; --"}, "orders.revenue", "orders.card_number", "sum(orders.amount) over ()",
    ]  # fmt: skip
    keys = [
        "query", "key", "connectionId", "entities", "values", "sourceName", "measures", "dimensions", "filters", "segments", "sql",
        "order_by", "limit", "include", "maxRows", "kinds", "via", "include_empty", "zzz",
    ]  # fmt: skip
    names = [
        "connection_list", "discover_data", "wiki_search", "wiki_read", "entity_details", "dictionary_search", "sl_read_source",
        "sl_query", "sql_execution", "no_such_tool",
    ]  # fmt: skip
    calls: list[Call] = []
    for _ in range(300):
        arguments = {key: chance.choice(nasty) for key in chance.sample(keys, k=chance.randint(0, 4))}
        calls.append((chance.choice(names), arguments))
    for result in call(desk, *calls, ("sl_query", {"measures": ["orders.order_count"]})):
        last = result
        if result.is_error:
            assert "Traceback" not in text(result)
            assert "failed inside ktx" not in text(result), text(result)
            assert len(text(result)) < 5000
    assert last.structured_content["rows"] == [[4]]


def test_a_failure_of_ours_is_masked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (desk.project.state_dir / "index.sqlite").mkdir(parents=True)
    message = refusal(desk, "wiki_search", query="x")
    assert "Traceback" not in message


def test_many_clients_are_served_at_once(desk: Desk) -> None:
    async def main() -> list[CallToolResult]:
        results: list[CallToolResult] = []
        async with mcp.Client(build_server(desk)) as client, anyio.create_task_group() as group:

            async def one(at: int) -> None:
                name, arguments = [
                    ("discover_data", {"query": "revenue"}),
                    ("sl_query", {"measures": ["orders.revenue"]}),
                    ("sql_execution", {"connectionId": "warehouse", "sql": "select count(*) from orders"}),
                ][at % 3]
                results.append(await client.call_tool(name, arguments))

            for at in range(30):
                group.start_soon(one, at)
        return results

    results = anyio.run(main)
    assert [result.is_error for result in results] == [False] * 30


@pytest.mark.slow
def test_stdio_speaks_only_the_protocol_on_stdout(tmp_path: Path) -> None:
    make_shop(tmp_path)
    source = Path(__file__).parents[2] / "src"
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "ktx", "--project-dir", str(tmp_path), "mcp", "stdio"],
        env={"PYTHONPATH": str(source), "PATH": os.environ["PATH"]},
    )

    async def main() -> tuple[list[str], Any]:
        with (tmp_path / "stderr.log").open("w") as log:
            async with mcp.Client(stdio_client(server, errlog=log)) as client:
                names = [tool.name for tool in (await client.list_tools()).tools]
                rows = await client.call_tool("sl_query", {"measures": ["orders.revenue"]})
                await client.call_tool("wiki_read", {"key": "nope"})
        return names, rows.structured_content

    names, rows = anyio.run(main)
    assert "sl_query" in names
    assert rows["rows"] == [[65.75]]
    assert (tmp_path / "stderr.log").read_text() == ""


def test_a_question_asked_again_is_answered_from_what_files_say_now(tmp_path: Path) -> None:
    make_shop(tmp_path)
    write_page(tmp_path, "revenue-rule", "What counts as revenue", body="Only paid orders.")
    question = {"query": "what counts as revenue"}
    with Desk(project=open_project(tmp_path), recheck_s=0.0) as desk:
        first, again = call(desk, ("wiki_search", question), ("wiki_search", question))
        assert again == first
        write_page(tmp_path, "revenue-rule", "What counts as revenue", body="All orders, paid or not.")
        (changed,) = call(desk, ("wiki_search", question))
        assert "paid or not" in text(changed)


def test_an_answer_is_known_again_without_a_look_at_any_file(tmp_path: Path) -> None:
    make_shop(tmp_path)
    write_page(tmp_path, "revenue-rule", "What counts as revenue", body="Only paid orders.")
    question = {"query": "what counts as revenue"}
    now = [100.0]
    with Desk(project=open_project(tmp_path), recheck_s=5.0, clock=lambda: now[0]) as desk:
        (first,) = call(desk, ("wiki_search", question))
        write_page(tmp_path, "revenue-rule", "What counts as revenue", body="All orders, paid or not.")
        assert call(desk, ("wiki_search", question)) == [first]
        now[0] += 6.0
        assert call(desk, ("wiki_search", question)) != [first]
