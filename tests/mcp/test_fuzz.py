"""Ten thousand hostile calls: each gets an answer of the protocol, in time, that tells nothing it should not."""

import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import mcp
import pytest
from mcp_types import CallToolResult

from ktx.mcp.server import build_server
from ktx.mcp.tools import TOOLS
from ktx.project import open_project
from ktx.serve.desk import Desk
from serve.projects import CONFIG, make_shop, write_page

CALLS = 10_000
SECRET = "s3cr3t-of-the-warehouse"
HIDDEN = "9f1e-hidden-file"
PATHS = [
    "../../../etc/passwd", "..\\..\\secret", "/etc/passwd", "global/../../ktx", "revenue-rule\x00.md", "%2e%2e%2fktx", "~", "con", ".",
    "....//", "revenue-rule/../revenue-rule", "file:///etc/passwd", "\u2025/\u2025",
]  # fmt: skip
SQL = [
    "'; drop table orders; --", "orders; select 1", "orders.revenue) union select card_number from orders --", '"', "`", "orders.card_number",
    "select * from read_csv('/etc/passwd')", "attach '/tmp/x.db'", "copy orders to '/tmp/leak.csv'", "select getenv('HOME')",
    "with x as (select 1) delete from orders", "pragma database_list", "select * from duckdb_secrets()", "install httpfs", "select 1; select 2",
    "select " + "(" * 3000 + "1" + ")" * 3000, "select " + "1+" * 5000 + "1", "select '" + "x" * 50_000 + "'", "explain select 1", "--", "/*",
]  # fmt: skip
TEXT = [
    "", " ", "\x00", "\x1b[31m", "\r\n", "\u202e", "💥" * 400, "x" * 3000, "x" * 200_000, "\ufffe", "\uffff", "ß" * 999, "%s%n%d", "{{7*7}}",
    "${HOME}", "\u0000" * 50, "NaN", "null", "*", "NEAR(", '"unbalanced', "AND OR NOT", "a" * 60 + "*", "orders.revenue", "revenue-rule", "warehouse",
]  # fmt: skip
ODD = [
    None,
    True,
    False,
    0,
    -1,
    2**70,
    -(2**63),
    1.5,
    1e308,
    [],
    {},
    [[]],
    {"": ""},
    {"expr": "sum(orders.amount)", "name": "x"},
]


def deep(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value] if depth % 2 else {"a": value}
    return value


def hostile(chance: random.Random, level: int = 0) -> Any:
    kind = chance.randrange(12)
    if kind < 4:
        return chance.choice(TEXT)
    if kind < 6:
        return chance.choice(SQL)
    if kind < 7:
        return chance.choice(PATHS)
    if kind < 9 or level > 2:
        return chance.choice(ODD)
    if kind == 9:
        return deep(chance.choice([5, 60, 180]))
    if kind == 10:
        return [hostile(chance, level + 1) for _ in range(chance.choice([1, 2, 25]))]
    keys = [
        "expr",
        "name",
        "field",
        "granularity",
        "direction",
        "table",
        "columns",
        "db",
        "catalog",
        chance.choice(TEXT),
    ]
    return {key: hostile(chance, level + 1) for key in chance.sample(keys, 3)}


def plausible(chance: random.Random, name: str) -> Any:
    """A value of the right shape for most arguments, so that calls get past the first check."""
    match name:
        case "connectionId":
            return "warehouse"
        case "limit" | "maxRows":
            return chance.choice([1, 10, 50])
        case "kinds" | "include" | "order_by" | "segments" | "via":
            return []
        case "entities":
            return [{"table": hostile_text(chance)}]
        case "values" | "dimensions" | "filters":
            return [hostile_text(chance)]
        case "measures":
            return [
                chance.choice(
                    ["orders.revenue", hostile_text(chance), {"expr": hostile_text(chance), "name": "m"}]
                )
            ]
        case _:
            return hostile_text(chance)


def hostile_text(chance: random.Random) -> str:
    return chance.choice([*TEXT, *SQL, *PATHS])


def make_calls(seed: int, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    chance = random.Random(seed)
    schemas = {tool.name: list(tool.input_schema()["properties"]) for tool in TOOLS}
    for _ in range(count):
        name = chance.choice([*schemas, chance.choice(TEXT)])
        arguments: dict[str, Any] = {}
        for key in schemas.get(name, ["x"]):
            luck = chance.random()
            if luck < 0.45:
                arguments[key] = plausible(chance, key)
            elif luck < 0.7:
                arguments[key] = hostile(chance)
        if chance.random() < 0.1:
            arguments[chance.choice(TEXT)] = hostile(chance)
        yield name, arguments


@pytest.mark.slow
@pytest.mark.timeout(170)
def test_ten_thousand_hostile_calls_are_answered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_shop(tmp_path)
    write_page(tmp_path, "revenue-rule", "What counts as revenue", body="Only paid orders.")
    (tmp_path / "secret.md").write_text(HIDDEN)
    (tmp_path / "ktx.yaml").write_text(
        CONFIG + f"  other: {{driver: postgres, url: 'postgresql://ann:{SECRET}@127.0.0.1:9/x'}}\n"
    )
    never = re.compile(
        rf"Traceback|File \"|{re.escape(str(tmp_path))}|{SECRET}|{HIDDEN}|root:x:0|site-packages|<built-in|object at 0x"
    )
    slowest = 0.0

    async def main() -> CallToolResult:
        nonlocal slowest
        async with mcp.Client(build_server(desk)) as client:
            for name, arguments in make_calls(20_260_722, CALLS):
                begun = time.monotonic()
                result = await client.call_tool(name, arguments)
                slowest = max(slowest, time.monotonic() - begun)
                (block,) = result.content
                assert len(block.text) <= 16_000, (name, len(block.text))
                block.text.encode()
                found = never.search(block.text)
                assert found is None, (name, str(arguments)[:300], block.text[:300])
                if result.is_error:
                    assert "failed inside ktx" not in block.text, (
                        name,
                        str(arguments)[:300],
                        caplog.text[-2000:],
                    )
                else:
                    assert json.loads(block.text) == result.structured_content
            return await client.call_tool(
                "sl_query", {"connectionId": "warehouse", "measures": ["orders.revenue"]}
            )

    with Desk(project=open_project(tmp_path), recheck_s=60.0) as desk:
        last = anyio.run(main)
    assert last.structured_content["rows"] == [[65.75]]
    assert slowest < 10
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith((".csv", ".db"))) == []
