"""MCP over streamable HTTP: one process, one port, many clients, and an end that lets running calls finish."""

import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import anyio
import uvicorn
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import ASGIApp, Receive, Scope, Send

from ktx.errors import OutsideError
from ktx.mcp.gate import Rules, guarded
from ktx.mcp.owner import port_owner
from ktx.mcp.server import Calls, build_server
from ktx.serve.fit import DEFAULT_MAX_TOKENS
from ktx.serve.live import Desks

_log = logging.getLogger(__name__)
_FINISH_S = 5.0
"""How long running calls may take to finish once the server is told to stop; then they are stopped in the database too."""
_LAST_WORDS_S = 8.0
"""When uvicorn gives up on connections, whatever they do."""


def bind(host: str, port: int) -> socket.socket:
    """Bind a listening socket; port 0 takes a free one.

    Raises:
        OutsideError: the port is in use, or the host is not one of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise OutsideError(f"The host `{host}` cannot be resolved: {error.strerror}.") from error
    # asyncio sets TCP_NODELAY only on sockets whose protocol is given, and waits 40 ms per call without it
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError as error:
        listener.close()
        owner = port_owner(port)
        who = f", used by {owner}" if owner else ""
        raise OutsideError(
            f"Port {port} on `{host}` is not free: {(error.strerror or str(error)).lower()}{who}.",
            hint="Stop that program, or choose another port with --port.",
        ) from error
    return listener


def serve_http(
    desks: Desks,
    listener: socket.socket,
    rules: Rules,
    *,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    on_listening: Callable[[], None] = lambda: None,
) -> None:
    """Answer on `listener` until SIGTERM or SIGINT; `on_listening` is called once requests are answered."""
    anyio.run(partial(_serve, desks, listener, rules, max_tokens=max_tokens, on_listening=on_listening))


async def _serve(
    desks: Desks,
    listener: socket.socket,
    rules: Rules,
    *,
    max_tokens: int,
    on_listening: Callable[[], None],
) -> None:
    calls = Calls()
    async with _application(desks, rules, calls, max_tokens=max_tokens) as application:
        server = _QuietServer(
            uvicorn.Config(
                application,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=int(_LAST_WORDS_S),
            )
        )
        async with anyio.create_task_group() as group:
            group.start_soon(_stop_on_signal, server, calls)
            group.start_soon(_say_when_up, server, on_listening)
            await server.serve([listener])
            group.cancel_scope.cancel()


@asynccontextmanager
async def _application(
    desks: Desks, rules: Rules, calls: Calls, *, max_tokens: int
) -> AsyncGenerator[ASGIApp]:
    """Give the application. Sessions are kept, because a client's cancellation arrives as a request of its own."""
    sessions = StreamableHTTPSessionManager(build_server(desks, max_tokens=max_tokens, calls=calls))

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await sessions.handle_request(scope, receive, send)

    async with sessions.run():
        yield guarded(application, rules, is_closing=lambda: calls.is_closing)


class _QuietServer(uvicorn.Server):
    """A server that leaves the signals to us, and says when it listens."""

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


async def _say_when_up(server: _QuietServer, on_listening: Callable[[], None]) -> None:
    await server.listening.wait()
    on_listening()


async def _stop_on_signal(server: uvicorn.Server, calls: Calls) -> None:
    """At a signal take no new calls and let those in flight finish; after a while, or at a second signal, stop them."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            break
        calls.close()
        server.should_exit = True
        _log.info("stopping, with %d calls in flight", len(calls))
        with anyio.move_on_after(_FINISH_S):
            async for _ in signals:
                break
        await calls.stop_all()
