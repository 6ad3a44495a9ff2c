"""How fast the MCP server answers: requests per second and latency of each read tool, over HTTP and stdio, at 1, 16 and 50 clients.

    python benchmarks/mcp.py [--seconds 2] [--clients 1 16 50] [--sources 200] [--pages 200]

Makes a project in a temporary folder, starts the real server as a child process, and asks it with a client that does nothing but
write and read the protocol's bytes, so that the time seen is the server's. A "request per core second" is a request divided by
the processor time that the server itself used, which other programs on the machine change little; the latencies they do change,
and the load is printed. stdio has one client per process by its nature: N clients are N requests in flight on one pipe.

The `mcp` package alone takes its time. So beside the real server stands another of the same package with one tool that answers
"ok" and does nothing: the floor. It is asked right before each tool, and `x floor` is how many times its processor time a call takes.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

SOURCE = Path(__file__).parents[1] / "src"
FLOOR = Path(__file__).parent / "protocol" / "floor.py"
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
AGAIN = ("context_pack", "discover_data", "wiki_search", "dictionary_search")
"""Tools that know an answer again. They are asked something new each time, and once more the same each time."""

CALLS: dict[str, dict[str, object]] = {
    "connection_list": {},
    "discover_data": {"query": "net revenue of customers by country"},
    "wiki_search": {"query": "how is revenue of a product counted"},
    "wiki_read": {"key": "rule-7"},
    "entity_details": {"connectionId": "warehouse", "entities": [{"table": "main.orders_3"}]},
    "context_pack": {"question": "net revenue of customers by country"},
    "dictionary_search": {"values": ["Switzerland"]},
    "sl_read_source": {"connectionId": "warehouse", "sourceName": "orders_3"},
    "sl_query": {
        "measures": ["orders_3.order_count"],
        "dimensions": ["customers_3.country"],
    },
    "sql_execution": {
        "connectionId": "warehouse",
        "sql": "select country, count(*) from customers_3 group by 1",
    },
}
Ask = Callable[[str, dict[str, object]], Awaitable[bytes]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one tool did with so many clients."""

    count: int
    wall_s: float
    cpu_s: float
    latencies_ms: list[float]

    @property
    def cpu_ms(self) -> float:
        """Processor time of the server per call."""
        return 1000 * self.cpu_s / self.count

    def row(self, floor: "Figures | None" = None) -> str:
        """Render them as one line."""
        ordered = sorted(self.latencies_ms)
        p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
        per_core = self.count / self.cpu_s if self.cpu_s else float("nan")
        return (
            f"{self.count / self.wall_s:8.0f}/s {per_core:8.0f}/core-s"
            f"   p50 {statistics.median(ordered):7.2f} ms   p95 {p95:7.2f} ms"
            + ("" if floor is None else f"   {self.cpu_ms / floor.cpu_ms:5.2f} x floor")
        )


def make_project(root: Path, *, sources: int, pages: int) -> None:
    """Write a project of so many sources and pages, scanned once."""
    (root / "ktx.yaml").write_text("connections:\n  warehouse: {driver: duckdb, path: shop.duckdb}\n")
    with duckdb.connect(root / "shop.duckdb") as database:
        for at in range(sources // 2):
            database.execute(f"CREATE TABLE customers_{at} (id INTEGER PRIMARY KEY, country VARCHAR)")
            database.execute(
                f"INSERT INTO customers_{at} VALUES (1, 'Switzerland'), (2, 'Denmark'), (3, 'France')"
            )
            database.execute(
                f"CREATE TABLE orders_{at} (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers_{at} (id),"
                " status VARCHAR, amount DECIMAL(10, 2), created TIMESTAMP)"
            )
            database.execute(
                f"INSERT INTO orders_{at} SELECT i, 1 + i % 3, 'paid', i, '2024-01-05' FROM range(200) r(i)"
            )
    folder = root / "semantic-layer" / "warehouse"
    folder.mkdir(parents=True)
    for at in range(sources // 2):
        (folder / f"orders_{at}.yaml").write_text(
            f"name: orders_{at}\nmeasures:\n"
            f"  - {{name: order_count, expr: count(*), description: How many orders of region {at}}}\n"
            f"  - {{name: net_revenue, expr: sum(amount), description: What customers of region {at} paid}}\n"
        )
    wiki = root / "wiki" / "global"
    wiki.mkdir(parents=True)
    for at in range(pages):
        (wiki / f"rule-{at}.md").write_text(
            f"---\nsummary: How revenue of product {at} is counted\nsl_refs: [orders_{at % (sources // 2)}.net_revenue]\n---\n"
            + f"Only paid orders of product {at} count as revenue.\n\n" * 12
        )
    done = subprocess.run(
        [sys.executable, "-m", "ktx", "--project-dir", str(root), "ingest", "--no-input"],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE)}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def message(number: int, method: str, params: dict[str, object]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


class HttpClient:
    """One keep-alive connection with one session."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._session = b""
        self._number = 0

    async def open(self) -> None:
        """Connect and open a session."""
        await self._connect()
        head, _ = await self._post(message(0, "initialize", HELLO))
        self._session = (
            next(line for line in head.split(b"\r\n") if line.lower().startswith(b"mcp-session-id")) + b"\r\n"
        )
        await self._post(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')

    async def ask(self, name: str, arguments: dict[str, object]) -> bytes:
        """Call a tool and give what came back."""
        self._number += 1
        return (
            await self._post(message(self._number, "tools/call", {"name": name, "arguments": arguments}))
        )[1]

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**22)

    async def _post(self, body: bytes) -> tuple[bytes, bytes]:
        if self._reader.at_eof():  # a server closes a connection that was quiet for a while
            await self._connect()
        self._writer.write(
            b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Accept: application/json, text/event-stream\r\n"
            + self._session
            + b"Content-Length: %d\r\n\r\n" % len(body)
            + body
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None
        )
        if length is not None:
            return head, await self._reader.readexactly(int(length.split(b":")[1]))
        if b"chunked" not in head.lower():
            return head, b""
        data = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            data += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return head, data


@asynccontextmanager
async def http_clients(port: int, clients: int) -> AsyncIterator[list[Ask]]:
    opened = [HttpClient(port) for _ in range(clients)]
    for client in opened:
        await client.open()
    yield [client.ask for client in opened]
    for client in opened:
        client.close()


@asynccontextmanager
async def http_server(root: Path, clients: int) -> AsyncIterator[tuple[int, list[Ask]]]:
    base = [sys.executable, "-m", "ktx", "--project-dir", str(root), "mcp"]
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs yet
        [*base, "start", "--port", "0", "--json"], env=environment(), capture_output=True, check=True
    )
    state = json.loads(done.stdout)
    try:
        async with http_clients(state["port"], clients) as asks:
            yield state["pid"], asks
    finally:
        subprocess.run([*base, "stop"], env=environment(), capture_output=True, check=True)  # noqa: ASYNC221 - nothing else runs any more


@asynccontextmanager
async def http_floor(root: Path, clients: int) -> AsyncIterator[tuple[int, list[Ask]]]:
    del root
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(FLOOR), "http", env=environment(), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        async with http_clients(port, clients) as asks:
            yield process.pid, asks
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def stdio_server(root: Path, clients: int) -> AsyncIterator[tuple[int, list[Ask]]]:
    async with piped(clients, "-m", "ktx", "--project-dir", str(root), "mcp", "stdio") as opened:
        yield opened


@asynccontextmanager
async def stdio_floor(root: Path, clients: int) -> AsyncIterator[tuple[int, list[Ask]]]:
    del root
    async with piped(clients, str(FLOOR), "stdio") as opened:
        yield opened


@asynccontextmanager
async def piped(clients: int, *command: str) -> AsyncIterator[tuple[int, list[Ask]]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=2**22,
    )
    reading, writing = process.stdout, process.stdin
    assert reading is not None
    assert writing is not None
    waiting: dict[int, asyncio.Future[bytes]] = {}
    numbers = iter(range(10**9))

    async def read() -> None:
        async for line in reading:
            waiting.pop(json.loads(line)["id"]).set_result(line)

    async def send(method: str, params: dict[str, object]) -> bytes:
        number = next(numbers)
        waiting[number] = asyncio.get_running_loop().create_future()
        writing.write(message(number, method, params) + b"\n")
        return await waiting[number]

    async def ask(name: str, arguments: dict[str, object]) -> bytes:
        return await send("tools/call", {"name": name, "arguments": arguments})

    reader = asyncio.create_task(read())
    await send("initialize", HELLO)
    writing.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
    yield process.pid, [ask] * clients
    writing.close()
    await process.wait()
    await reader


def varied(arguments: dict[str, object], number: int) -> dict[str, object]:
    """Give a question that nobody has asked yet, about as hard as the one before it."""
    word = f"region {number}"
    return {
        key: f"{value} {word}"
        if isinstance(value, str)
        else [*value, word]
        if isinstance(value, list)
        else value
        for key, value in arguments.items()
    }


async def measure(
    pid: int,
    asks: list[Ask],
    name: str,
    arguments: dict[str, object],
    seconds: float,
    *,
    is_new: bool = False,
) -> Figures:
    answer = await asks[0](name, arguments)
    numbers = iter(range(10**9))
    if b'"isError":true' in answer or b'"error":{"code":-' in answer:
        raise SystemExit(f"{name}: {answer[:500].decode()}")
    latencies: list[float] = []
    cpu, started = cpu_seconds(pid), time.perf_counter()

    async def client(ask: Ask) -> None:
        while time.perf_counter() - started < seconds:
            asked = varied(arguments, next(numbers)) if is_new else arguments
            begun = time.perf_counter()
            await ask(name, asked)
            latencies.append((time.perf_counter() - begun) * 1000)

    await asyncio.gather(*(client(ask) for ask in asks))
    wall_s = time.perf_counter() - started
    return Figures(count=len(latencies), wall_s=wall_s, cpu_s=cpu_seconds(pid) - cpu, latencies_ms=latencies)


async def run(arguments: argparse.Namespace) -> None:
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{os.cpu_count()} cores, load {load} before the start; {arguments.sources} sources, {arguments.pages} pages"
    )
    tools = arguments.tools or list(CALLS)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_project(root, sources=arguments.sources, pages=arguments.pages)
        for transport, server, floor in (
            ("http", http_server, http_floor),
            ("stdio", stdio_server, stdio_floor),
        ):
            if arguments.transport not in (None, transport):
                continue
            for clients in arguments.clients:
                async with (
                    server(root, clients) as (pid, asks),
                    floor(root, clients) as (floor_pid, floor_asks),
                ):
                    head = f"{transport:5} {clients:3} clients"
                    for name in tools:
                        least = await measure(floor_pid, floor_asks, "floor", {}, arguments.seconds / 2)
                        if name == tools[0]:
                            print(f"{head}  {'(the floor)':24} {least.row()}", flush=True)
                        for is_new in (True, False) if name in AGAIN else (False,):
                            figures = await measure(
                                pid, asks, name, CALLS[name], arguments.seconds, is_new=is_new
                            )
                            label = name if name not in AGAIN else f"{name}, {'new' if is_new else 'again'}"
                            print(f"{head}  {label:24} {figures.row(least)}", flush=True)
    print(f"load {' '.join(f'{value:.1f}' for value in os.getloadavg())} at the end")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 50])
    parser.add_argument("--sources", type=int, default=200)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--transport", choices=["http", "stdio"])
    parser.add_argument("--tools", nargs="+", choices=list(CALLS))
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
