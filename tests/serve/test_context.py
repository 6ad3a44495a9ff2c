"""Context packs: what fits into a budget, what comes first, and how to get the rest."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import mcp
import pytest

from ktx.cli.run import run
from ktx.errors import UsageError
from ktx.mcp.server import build_server
from ktx.project import open_project
from ktx.serve.choose import Piece, choose
from ktx.serve.context import context_pack
from ktx.serve.desk import Desk
from serve.projects import make_shop, write_page

WORDS = [
    "revenue",
    "customers",
    "country",
    "orders",
    "paid",
    "items",
    "quantity",
    "where",
    "does",
    "the",
    "live",
    "in",
    "per",
    "month",
    "how",
    "many",
    "units",
    "churn",
    "売上",
    "über",
    "straße",
    "t07",
    "c3",
    "status",
    "refunds",
    "x",
]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The shop with pages, and so many further tables that no budget holds them all."""
    make_shop(tmp_path)
    write_page(
        tmp_path,
        "revenue-rule",
        "What counts as revenue",
        head="sl_refs: [orders.revenue]\n",
        body="# Revenue\n\nOnly paid orders count as revenue.\n\n"
        + "\n\n".join(f"Paragraph {at} is about something else entirely, at some length." for at in range(60))
        + "\n\nRevenue per country follows the country in which the customer lives.",
    )
    write_page(
        tmp_path, "house-rules", "Money is in CHF", head="usage_mode: always\n", body="All amounts are CHF."
    )
    write_page(
        tmp_path, "secret", "Revenue before the audit", head="usage_mode: never\n", body="Nobody reads this."
    )
    tables = {
        f"orders_t{at:02}": {
            "table": f"main.t{at:02}",
            "descriptions": {
                "db": f"Orders of revenue stream {at}. " + "It goes on and on. " * (at % 7) * 12
            },
            "columns": [
                {"name": "id", "type": "number", "pk": True},
                *(
                    {"name": f"c{one}", "type": "string", "descriptions": {"db": "revenue 売上 " * one}}
                    for one in range(12)
                ),
            ],
        }
        for at in range(60)
    }
    manifest = tmp_path / "semantic-layer" / "warehouse" / "_schema"
    manifest.mkdir()
    (manifest / "main.yaml").write_text(json.dumps({"tables": tables}, ensure_ascii=False))
    return tmp_path


@pytest.fixture
def desk(shop: Path) -> Iterator[Desk]:
    with Desk(project=open_project(shop)) as opened:
        yield opened


def compact(answer: dict[str, Any]) -> str:
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))


def test_no_pack_exceeds_its_budget(desk: Desk) -> None:
    chance = random.Random(4)
    fullest = 0.0
    for _ in range(120):
        question = " ".join(chance.choices(WORDS, k=chance.randint(0, 9))) or "?"
        tokens = round(200 * 125 ** chance.random())
        pack = context_pack(desk, question, tokens=tokens)
        text = compact(pack.plain())
        assert len(text) <= 4 * tokens, (question, tokens)
        assert len(text) / 4 <= pack.tokens <= tokens
        assert context_pack(desk, question, tokens=tokens) == pack
        fullest = max(fullest, pack.tokens / tokens)
    assert fullest > 0.95


def test_more_room_never_means_fewer_kinds(desk: Desk) -> None:
    question = "paid revenue per country of customers in CH"
    for tokens in (600, 1500, 4000, 16_000):
        pack = context_pack(desk, question, tokens=tokens)
        assert pack.rules, tokens
        measures = {(one.name, measure.name) for one in pack.sources for measure in one.measures}
        columns = {(one.name, column.name) for one in pack.sources for column in one.columns}
        assert ("orders", "revenue") in measures, tokens
        assert ("customers", "country") in columns, tokens
        ways = {(one.origin, one.target): one for one in pack.joins}
        assert ways["orders", "customers"].steps == ["customers (orders.customer_id = customers.id)"]
        assert ways["orders", "customers"].shape == "to_one"


def test_pages_that_always_hold_come_first_and_those_for_nobody_never(desk: Desk) -> None:
    for question in ("revenue per country", "nothing of the kind whatsoever"):
        pack = context_pack(desk, question, tokens=800)
        assert (pack.rules[0].key, pack.rules[0].is_always, pack.rules[0].excerpt) == (
            "house-rules", True, "All amounts are CHF.",
        )  # fmt: skip
    assert "secret" not in compact(context_pack(desk, "revenue before the audit", tokens=25_000).plain())


def test_an_excerpt_is_whole_paragraphs_that_speak_of_the_question(desk: Desk) -> None:
    body = (desk.project.wiki_dir / "global" / "revenue-rule.md").read_text().split("---\n", 2)[2]
    pack = context_pack(desk, "revenue per country where customers live", tokens=1000)
    (rule,) = [one for one in pack.rules if one.key == "revenue-rule"]
    assert rule.excerpt is not None
    paragraphs = rule.excerpt.split("\n\n")
    assert set(paragraphs) <= {part.strip() for part in body.split("\n\n")}
    assert "Revenue per country follows the country in which the customer lives." in paragraphs
    assert rule.is_whole is False
    assert ("wiki_read", {"key": "revenue-rule"}) in [(one.tool, one.arguments) for one in pack.left_out]
    whole = context_pack(desk, "revenue per country where customers live", tokens=25_000)
    (rule,) = [one for one in whole.rules if one.key == "revenue-rule"]
    assert (rule.excerpt, rule.is_whole) == (body.strip(), True)


def test_a_hidden_column_is_never_told(desk: Desk) -> None:
    assert "card_number" not in compact(context_pack(desk, "card number of orders", tokens=25_000).plain())


def test_what_was_left_out_can_be_had_by_the_calls_that_are_named(desk: Desk) -> None:
    async def main() -> None:
        async with mcp.Client(build_server(desk)) as client:
            found = await client.call_tool(
                "context_pack", {"question": "revenue of orders per country", "tokens": 900}
            )
            pack = found.structured_content
            assert len(found.content[0].text) <= 3600
            assert pack["leftOut"]
            assert pack["leftOutCount"] >= len(pack["leftOut"])
            for one in pack["leftOut"]:
                assert one["what"]
                result = await client.call_tool(one["tool"], one["arguments"])
                assert not result.is_error, one
            real = [one for one in pack["sources"] if one["name"] in ("orders", "customers", "items")]
            asked = [f"{one['name']}.{measure['name']}" for one in real for measure in one["measures"]]
            assert "orders.revenue" in asked
            for measure in asked:
                assert not (await client.call_tool("sl_query", {"measures": [measure]})).is_error, measure

    anyio.run(main)


def test_the_bound_of_a_server_holds_for_a_larger_budget_too(desk: Desk) -> None:
    async def main() -> Any:
        async with mcp.Client(build_server(desk, max_tokens=700)) as client:
            return await client.call_tool(
                "context_pack", {"question": "revenue per country", "tokens": 20_000}
            )

    found = anyio.run(main)
    assert len(found.content[0].text) <= 2800
    assert found.structured_content["tokenBudget"] == 700
    assert found.structured_content["leftOut"]
    assert "cut" not in found.structured_content


def test_a_budget_out_of_range_is_refused(desk: Desk) -> None:
    for tokens in (0, 199, 25_001):
        with pytest.raises(UsageError, match="out of range"):
            context_pack(desk, "revenue", tokens=tokens)
    with pytest.raises(UsageError, match="no connection"):
        context_pack(desk, "revenue", connection_id="nope")


def test_the_command_prints_markdown_or_the_pack_itself(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop)
    assert run(("context", "revenue", "per", "country", "--tokens", "900")) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Rule house-rules\n")
    assert "- measure revenue: sum(amount). What customers paid" in text
    assert len(text) <= 3600
    assert run(("context", "revenue per country", "--tokens", "900", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["tokenBudget"] == 900
    assert run(("context", "revenue", "--tokens", "5")) == 2
    assert capsys.readouterr().out == ""


def test_a_page_about_what_was_found_comes_along_in_other_words(desk: Desk, shop: Path) -> None:
    write_page(
        shop,
        "house-rule",
        "A rule in words that no question has",
        head="sl_refs: [orders.revenue]\n",
        body="Round it.",
    )
    keys = {rule.key for rule in context_pack(desk, "revenue of orders", tokens=2_000).rules}
    assert "house-rule" in keys


def test_room_that_is_left_goes_to_more_of_what_stands_there_and_to_nothing_else() -> None:
    source = Piece(kind="source", key=("source", "w", "orders"), score=1.0, forms=({"name": "orders"},))
    weak = [
        Piece(
            kind="column",
            key=("column", "w", name, "c"),
            score=0.01,
            forms=({"name": "c"},),
            needs=(("source", "w", name),),
        )
        for name in ("orders", "elsewhere")
    ]
    assert choose([source], 1_000, fill=weak).keys() == {source.key, weak[0].key}
    assert choose([source], 25, fill=weak).keys() == {source.key}
    assert choose([source], 1_000).keys() == {source.key}


def test_the_source_in_which_two_found_ones_meet_comes_along(tmp_path: Path) -> None:
    make_shop(tmp_path)
    (tmp_path / "semantic-layer" / "warehouse" / "returns.yaml").write_text(
        "name: returns\ntable: main.returns\ngrain: [id]\ncolumns: [{name: id, type: number}, {name: order_id, type: number}]\n"
        "joins: [{to: orders, on: returns.order_id = orders.id, relationship: many_to_one}]\n"
    )
    with Desk(project=open_project(tmp_path)) as desk:
        pack = context_pack(desk, "items and returns", tokens=2_000)
    assert "orders" in {source.name for source in pack.sources}
    assert {("items", "orders"), ("returns", "orders")} <= {(join.origin, join.target) for join in pack.joins}
