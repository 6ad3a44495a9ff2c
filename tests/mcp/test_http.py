"""The HTTP server as a background process: started, guarded, asked by many, found again, stopped."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import mcp
import pytest
from mcp.client.streamable_http import streamable_http_client

from mcp_http.httpserver import SLOW_SQL, Http, ktx
from serve.projects import CONFIG, make_shop, write_page

pytestmark = pytest.mark.slow
TOKEN = "a-token-nobody-guesses"


def until(holds: Callable[[], bool], *, within_s: float = 20.0) -> None:
    over = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < over, "it never came to be"
        time.sleep(0.02)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    make_shop(tmp_path)
    write_page(tmp_path, "revenue-rule", "What counts as revenue", body="Only paid orders.")
    yield tmp_path
    ktx(tmp_path, "mcp", "stop")


def started(root: Path, *options: str, **environment: str) -> str:
    done = ktx(root, "mcp", "start", "--port", "0", *options, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_start_prints_an_address_that_answers_and_the_state_holds_no_token(shop: Path) -> None:
    url = started(shop, KTX_MCP_TOKEN=TOKEN)
    assert Http(url).send("GET", "/health")[::2] == (200, b'{"status":"ok"}')
    state = json.loads((shop / ".ktx" / "mcp.json").read_text())
    assert set(state) == {
        "schemaVersion", "pid", "host", "port", "tokenAuth", "projectDir", "startedAt", "logPath"
    }  # fmt: skip
    assert (state["tokenAuth"], state["projectDir"]) == (True, str(shop))
    arguments = Path(f"/proc/{state['pid']}/cmdline")
    if arguments.exists():
        assert TOKEN not in arguments.read_text()
    client = Http(url, token=TOKEN)
    client.initialize()
    assert client.call("sl_query", {"measures": ["orders.revenue"]})[-1]["result"]["structuredContent"][
        "rows"
    ] == [[65.75]]
    assert ktx(shop, "mcp", "status").stdout == "running\n"
    for path in (shop / ".ktx").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    assert "sl_query answered" in ktx(shop, "mcp", "logs").stdout


def test_only_who_may_comes_in(shop: Path) -> None:
    url = started(
        shop, "--allowed-host", "box.example", "--allowed-origin", "https://app.example", KTX_MCP_TOKEN=TOKEN
    )
    bare, client = Http(url), Http(url, token=TOKEN)
    assert bare.send("POST", "/mcp", {})[0] == 401
    assert bare.send("POST", "/mcp", {}, authorization="Bearer wrong")[0] == 401
    assert bare.send("POST", "/mcp", {}, authorization="Bearer \xe9")[0] == 401
    assert client.send("POST", "/mcp", {}, host="evil.example")[0] == 421
    assert client.send("POST", "/mcp", {}, host="localhost.evil.example:80")[0] == 421
    assert client.send("POST", "/mcp", {}, origin="https://evil.example")[0] == 403
    assert client.send("POST", "/mcp", {}, origin="null")[0] == 403
    assert client.send("GET", "/mcp")[0] == 405
    assert client.send("POST", "/", {})[0] == 404
    assert client.send("POST", "/mcp", {"not": "json-rpc"}, host="BOX.example:7878")[0] == 400
    status, headers, _ = bare.send(
        "OPTIONS", "/mcp", origin="https://app.example", access_control_request_method="POST",
        access_control_request_headers="authorization,mcp-session-id",
    )  # fmt: skip
    assert (status, headers["access-control-allow-origin"]) == (200, "https://app.example")
    client.initialize()
    health = bare.send("GET", "/health", host="evil.example")
    assert health[2] == b'{"status":"ok"}'
    log = ktx(shop, "mcp", "logs").stdout
    assert "--allowed-host" in log
    assert TOKEN not in log
    assert "wrong" not in log


def test_a_server_that_others_can_reach_needs_a_token(shop: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        done = ktx(shop, "mcp", "start", "--host", host)
        assert (done.returncode, "needs a token" in done.stderr) == (2, True), done.stderr
    assert ktx(shop, "mcp", "start", KTX_MCP_TOKEN="two words").returncode == 2


def test_a_port_in_use_is_an_error_that_names_who_uses_it(shop: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = ktx(shop, "mcp", "start", "--port", str(port))
    assert done.returncode == 3
    assert f"Port {port} on `127.0.0.1` is not free" in done.stderr
    if Path("/proc/net/tcp").exists():
        assert f"process {os.getpid()} " in done.stderr
    assert "Traceback" not in done.stderr
    assert ktx(shop, "mcp", "status").stdout == "stopped\n"


def test_a_second_start_says_that_it_runs_and_refuses_another_address_or_token(shop: Path) -> None:
    url = started(shop, KTX_MCP_TOKEN=TOKEN)
    again = ktx(shop, "mcp", "start", KTX_MCP_TOKEN=TOKEN)
    assert (again.returncode, again.stdout.strip()) == (0, url)
    assert "was running already" in again.stderr
    assert "with port" in ktx(shop, "mcp", "start", "--port", "7", KTX_MCP_TOKEN=TOKEN).stderr
    assert "another token" in ktx(shop, "mcp", "start", KTX_MCP_TOKEN="other").stderr
    assert "another token" in ktx(shop, "mcp", "start").stderr
    assert "has an MCP server already" in ktx(shop, "mcp", "start", "--foreground", "--port", "0").stderr


def test_the_state_of_a_killed_server_is_stale_and_nobody_else_is_harmed(shop: Path) -> None:
    started(shop)
    file = shop / ".ktx" / "mcp.json"
    state = json.loads(file.read_text())
    os.kill(state["pid"], signal.SIGKILL)
    until(lambda: ktx(shop, "mcp", "status").stdout == "stale\n")
    # its number may belong to somebody else by now: to this test, say
    file.write_text(json.dumps({**state, "pid": os.getpid()}))
    assert ktx(shop, "mcp", "status").stdout == "stale\n"
    assert "No server is running" in ktx(shop, "mcp", "stop").stderr
    assert not file.exists()
    file.write_text(json.dumps({**state, "pid": os.getpid()}))
    restart = ktx(shop, "mcp", "start", "--port", "0")
    assert (restart.returncode, "cleared away" in restart.stderr) == (0, True)
    assert json.loads(file.read_text())["pid"] != os.getpid()


def test_an_edit_of_the_configuration_counts_without_a_restart(shop: Path) -> None:
    client = Http(started(shop))
    client.initialize()

    def raw_sql() -> str:
        result = client.call("sql_execution", {"connectionId": "warehouse", "sql": "select 1"})[-1]["result"]
        return result["content"][0]["text"]

    assert '"rows":[[1]]' in raw_sql()
    strict = CONFIG.replace("}", ", query_policy: semantic-layer-only}")
    (shop / "ktx.yaml").write_text(strict)
    until(lambda: "There is no tool `sql_execution`" in raw_sql())
    (shop / "ktx.yaml").write_text("connections: [\n")
    until(lambda: "ktx.yaml" in raw_sql())
    (shop / "ktx.yaml").write_text(CONFIG)
    until(lambda: '"rows":[[1]]' in raw_sql())


def test_a_cancelled_call_is_stopped_in_the_warehouse_and_others_are_served_meanwhile(shop: Path) -> None:
    url = started(shop)
    slow, other = Http(url), Http(url)
    slow.initialize()
    other.session = slow.session
    answers: list[dict[str, object]] = []
    asking = threading.Thread(
        target=lambda: answers.extend(
            slow.call("sql_execution", {"connectionId": "warehouse", "sql": SLOW_SQL}, id="slow")
        )
    )
    begun = time.monotonic()
    asking.start()
    until(lambda: bool(other.call("sl_query", {"measures": ["orders.revenue"]}, id=2)))
    other.send(
        "POST", "/mcp",
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "slow"}},
    )  # fmt: skip
    asking.join(timeout=20)
    assert not asking.is_alive()
    assert "error" in answers[-1]
    until(lambda: "sql_execution was cancelled" in ktx(shop, "mcp", "logs").stdout)
    assert time.monotonic() - begun < 25  # the statement alone would run into its limit of 30 s


def test_a_long_call_tells_of_its_progress_when_asked_to(shop: Path) -> None:
    client = Http(started(shop))
    client.initialize()
    (shop / "ktx.yaml").write_text(CONFIG.replace("}", ", query_timeout_ms: 5000}"))
    log = shop / ".ktx" / "logs" / "mcp.log"
    until(lambda: bool(client.call("connection_list", {})) and "ktx.yaml was read again" in log.read_text())
    messages = client.call(
        "sql_execution", {"connectionId": "warehouse", "sql": SLOW_SQL}, _meta={"progressToken": "p"}
    )
    notes = [message["params"] for message in messages if message.get("method") == "notifications/progress"]
    assert [note["progress"] for note in notes] == [2.0, 4.0]
    assert notes[0]["progressToken"] == "p"
    assert "time limit of 5 s" in messages[-1]["result"]["content"][0]["text"]


def test_a_stop_lets_calls_finish_and_cancels_those_that_do_not(shop: Path) -> None:
    url = started(shop)
    clients = [Http(url), Http(url)]
    for client in clients:
        client.initialize()
    answers: dict[str, str] = {}

    def ask(client: Http, name: str, sql: str) -> None:
        result = client.call("sql_execution", {"connectionId": "warehouse", "sql": sql})[-1]["result"]
        answers[name] = result["content"][0]["text"]

    soon = "select count(*) as n from range(12000) a, range(12000) b where a.range * b.range % 7 = 3"
    threads = [
        threading.Thread(target=ask, args=(clients[0], "never", SLOW_SQL)),
        threading.Thread(target=ask, args=(clients[1], "soon", soon)),
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    stopped = ktx(shop, "mcp", "stop")
    for thread in threads:
        thread.join(timeout=20)
    assert "The server is stopped" in stopped.stderr
    assert '"rows":[[' in answers["soon"]
    assert "being stopped" in answers["never"]
    log = (shop / ".ktx" / "logs" / "mcp.log").read_text()
    assert "Traceback" not in log
    assert log.rstrip().endswith("The server has ended.")
    assert ktx(shop, "mcp", "status").stdout == "stopped\n"


def test_many_clients_of_the_official_kind_are_served_at_once(shop: Path) -> None:
    url = started(shop)

    async def one(results: list[object]) -> None:
        async with mcp.Client(streamable_http_client(url)) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert "sl_query" in names
            for _ in range(3):
                found = await client.call_tool("discover_data", {"query": "revenue"})
                asked = await client.call_tool("sl_query", {"measures": ["orders.revenue"]})
                results.append((found.is_error, asked.structured_content["rows"]))

    async def main() -> list[object]:
        results: list[object] = []
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(one, results)
        return results

    assert anyio.run(main) == [(False, [[65.75]])] * 60


def test_tools_that_cannot_work_are_not_announced(shop: Path) -> None:
    client = Http(started(shop))
    client.initialize()
    status, _, body = client.send("POST", "/mcp", {"jsonrpc": "2.0", "id": 5, "method": "tools/list"})
    assert status == 200
    assert b'"sl_query"' in body
    assert b"memory_ingest" not in body
