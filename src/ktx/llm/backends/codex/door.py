"""The temporary MCP server of one run: the run's tools, on a loopback port, behind a token that nobody else has."""

import json
import secrets
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio
import mcp.types as mt
import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Receive, Scope, Send

from ktx.llm.backends.codex.groups import task_group
from ktx.llm.tools import Toolbox, as_arguments
from ktx.version import __version__

SERVER_NAME = "ktx"


@dataclass(kw_only=True)
class Door:
    """A running server. `held` counts answers of the last step, which are kept back until the turn is interrupted."""

    url: str
    token: str
    toolbox: Toolbox
    held: int = 0
    changed: anyio.Event = field(default_factory=anyio.Event)
    _scopes: set[anyio.CancelScope] = field(default_factory=set[anyio.CancelScope])

    async def call(self, name: str, arguments: str) -> tuple[str, bool]:
        """Answer one call. In the last step of the budget the tool runs, but the model gets no further turn to read of it."""
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                answer = await self.toolbox.call(name, arguments)
                if self.toolbox.steps >= self.toolbox.step_budget:
                    self.held += 1
                    self._tell()
                    await anyio.sleep_forever()
                return answer.text, answer.is_error
            finally:
                self._scopes.discard(scope)
        return "the run has ended", True

    def close(self) -> None:
        """Cancel whatever still runs."""
        for scope in tuple(self._scopes):
            scope.cancel()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


class _QuietServer(uvicorn.Server):
    """A server that leaves the signals to the program it runs in, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell whoever waits."""
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def open_door(toolbox: Toolbox) -> AsyncGenerator[Door]:
    """Serve the tools of one run until the block ends; then cancel what still runs and close the port."""
    # asyncio sets TCP_NODELAY only on sockets whose protocol is given, and waits 40 ms per call without it
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        door = Door(url=f"http://127.0.0.1:{port}/mcp", token=secrets.token_urlsafe(32), toolbox=toolbox)
        server = _QuietServer(
            uvicorn.Config(
                _guarded(_application(door, port), door.token),
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
                lifespan="on",
            )
        )
        async with task_group() as tasks:
            tasks.start_soon(_serve, server, listener)
            await server.listening.wait()
            try:
                yield door
            finally:
                door.close()
                server.should_exit = True
    finally:
        listener.close()


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve until told to stop, also when the run is cancelled: the server must close its port in its own order."""
    with anyio.CancelScope(shield=True):
        await server.serve([listener])


def _application(door: Door, port: int) -> ASGIApp:
    async def list_tools(
        context: ServerRequestContext[dict[str, object]], params: mt.PaginatedRequestParams | None
    ) -> mt.ListToolsResult:
        del context, params
        return mt.ListToolsResult(
            tools=[
                mt.Tool(
                    name=spec.name,
                    description=spec.description,
                    input_schema=dict(spec.input_schema),
                    annotations=mt.ToolAnnotations(
                        read_only_hint=spec.is_read_only,
                        destructive_hint=not spec.is_read_only,
                        open_world_hint=False,
                    ),
                )
                for spec in door.toolbox.specs()
            ]
        )

    async def call_tool(
        context: ServerRequestContext[dict[str, object]], params: mt.CallToolRequestParams
    ) -> mt.CallToolResult:
        del context
        text, is_error = await door.call(params.name, as_arguments(params.arguments or {}))
        return mt.CallToolResult(content=[mt.TextContent(type="text", text=text)], is_error=is_error)

    server: Server[dict[str, object]] = Server(
        SERVER_NAME, version=__version__, on_list_tools=list_tools, on_call_tool=call_tool
    )
    return server.streamable_http_app(
        stateless_http=True,
        json_response=True,
        transport_security=TransportSecuritySettings(allowed_hosts=[f"127.0.0.1:{port}"], allowed_origins=[]),
    )


def _guarded(application: ASGIApp, token: str) -> ASGIApp:
    """Let only requests with the run's token in, and no GET, which would open a stream that never ends."""
    expected = f"Bearer {token}".encode()

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict[bytes, bytes](scope["headers"]).get(b"authorization", b"")
            if not secrets.compare_digest(given, expected):
                return await _refuse(send, 401, "unauthorized")
            if scope["method"] == "GET":
                return await _refuse(send, 405, "method not allowed")
        return await application(scope, receive, send)

    return guard


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
