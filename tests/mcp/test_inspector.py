"""MCP Inspector's command line, a client that is not ours, against the real program over stdio and HTTP."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ktx.mcp.tools import TOOLS
from mcp_http.httpserver import ktx
from serve.projects import make_shop, write_page

INSPECTOR = shutil.which("mcp-inspector")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        INSPECTOR is None,
        reason="MCP Inspector is not there; `npm install -g @modelcontextprotocol/inspector` with Node installs it",
    ),
]
NEEDED = {"context_pack", "discover_data", "wiki_read", "sl_query", "sql_execution"}


def inspect(*arguments: str, cwd: Path) -> Any:
    """Run the Inspector and give the JSON object that it prints first."""
    done = subprocess.run(
        [str(INSPECTOR), "--cli", *arguments],
        cwd=cwd,
        env={**os.environ, "HOME": str(cwd)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.startswith("{"), done.stderr
    return json.JSONDecoder().raw_decode(done.stdout)[0]


def test_the_inspector_lists_and_calls_the_tools_over_stdio(tmp_path: Path) -> None:
    make_shop(tmp_path)
    server = (sys.executable, "-m", "ktx", "--project-dir", str(tmp_path), "mcp", "stdio")
    listed = inspect(*server, "--method", "tools/list", cwd=tmp_path)
    names = {tool["name"] for tool in listed["tools"]}
    assert NEEDED <= names <= {tool.name for tool in TOOLS}
    called = ("--method", "tools/call", "--tool-name")
    answer = inspect(
        *server, *called, "sl_query", "--tool-arg", 'measures=["orders.order_count"]', cwd=tmp_path
    )
    assert answer["structuredContent"]["headers"] == ["order_count"]
    refused = inspect(*server, *called, "wiki_read", "--tool-arg", "key=nope", cwd=tmp_path)
    assert refused["isError"]
    assert "There is no wiki page `nope`." in refused["content"][0]["text"]


def test_the_inspector_asks_a_server_that_wants_a_token_over_http(tmp_path: Path) -> None:
    make_shop(tmp_path)
    write_page(tmp_path, "revenue-rule", "What counts as revenue", body="Only paid orders.")
    started = ktx(tmp_path, "mcp", "start", "--port", "0", "--json", "--token", "a-token")
    assert started.returncode == 0, started.stderr
    try:
        server = (f"http://127.0.0.1:{json.loads(started.stdout)['port']}/mcp", "--transport", "http")
        server = (*server, "--header", "Authorization: Bearer a-token")
        listed = inspect(*server, "--method", "tools/list", cwd=tmp_path)
        assert {tool["name"] for tool in listed["tools"]} >= NEEDED
        asked = ("--method", "tools/call", "--tool-name", "wiki_search", "--tool-arg", "query=revenue")
        found = inspect(*server, *asked, cwd=tmp_path)
        assert found["structuredContent"]["results"][0]["key"] == "revenue-rule"
    finally:
        ktx(tmp_path, "mcp", "stop")
