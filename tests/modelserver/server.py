"""The server: a Messages API on loopback that a test scripts, watches, and compares bills with."""

import asyncio
import json
import re
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from modelserver import wire
from modelserver.billing import (
    DEFAULT_MODELS,
    Bill,
    CacheRuleError,
    Charge,
    Clock,
    ModelInfo,
    Plan,
    PromptCache,
    find_model,
    prompt_blocks,
)
from modelserver.http1 import Connection, Exchange, RawRequest
from modelserver.replies import Failure, Message, Reply, failure, invalid_key, overloaded, text, unknown_model
from modelserver.rules import check_request
from modelserver.tls import Authority

Script = Callable[["Request"], Reply]
_VERTEX = re.compile(
    r"/vertex/v1/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/publishers/anthropic/models/"
    r"(?P<model>[^:]+):(?P<verb>rawPredict|streamRawPredict)$"
)
_READ_S = 0.05
"""Time for a client to read what was sent: a reset connection throws away what still waits to be read."""
_GATEWAY_VERSIONS = ("2023-06-01",)


@dataclass(kw_only=True, eq=False)
class Request:
    """A captured request. `surface` says by which door it came; header names are in lower case."""

    surface: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    model: str = ""
    host: str | None = None
    at_s: float = field(default_factory=time.monotonic)
    request_id: str = ""
    status: int | None = None
    is_finished: bool = False
    is_disconnected: bool = False

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation as sent."""
        return self.body.get("messages") or []

    @property
    def assistant_turns(self) -> int:
        """How many assistant messages the conversation holds already."""
        return sum(message.get("role") == "assistant" for message in self.messages)

    @property
    def tool_names(self) -> list[str]:
        """The tools that the model is offered, in order."""
        return [str(tool.get("name")) for tool in self.body.get("tools") or []]

    @property
    def system_text(self) -> str:
        """The system prompt as one text."""
        return "\n".join(_texts(self.body.get("system")))

    @property
    def prompt_text(self) -> str:
        """Everything the model is given to read, tools included, as one text: for finding what must not be there."""
        return json.dumps(
            {key: self.body.get(key) for key in ("tools", "system", "messages")}, ensure_ascii=False
        )

    @property
    def user_text(self) -> str:
        """The text blocks of the last user message."""
        users = [message for message in self.messages if message.get("role") == "user"]
        return "\n".join(_texts(users[-1].get("content"))) if users else ""

    @property
    def tool_results(self) -> list[dict[str, Any]]:
        """The `tool_result` blocks of the last message, `content` flattened to text."""
        content = self.messages[-1].get("content") if self.messages else []
        blocks = content if isinstance(content, list) else []
        return [
            {**block, "content": "\n".join(_texts(block.get("content")))}
            for block in blocks
            if block.get("type") == "tool_result"
        ]


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for block in content if isinstance(content, list) else []:
        if isinstance(block, dict) and block.get("type") == "text":
            yield str(block.get("text"))


class ModelServer:
    """A Messages API on a free loopback port, in a background thread. Use it as a context manager.

    `url` speaks as the API does, `gateway_url` as a strict gateway does (both auth headers, version 2023-06-01),
    `vertex_url` as Vertex does, `token_url` issues tokens for service accounts. The same port is a CONNECT proxy that
    answers in the place of `tunnel_hosts` with certificates of `authority`.
    """

    def __init__(
        self,
        *,
        models: tuple[ModelInfo, ...] = DEFAULT_MODELS,
        keys: frozenset[str] | None = None,
        tunnel_hosts: frozenset[str] = frozenset({"api.anthropic.com"}),
        routes: Mapping[str, tuple[int, Any]] | None = None,
    ) -> None:
        self.models = {model.id: model for model in models}
        self.keys = keys
        self.tunnel_hosts = tunnel_hosts
        self.routes = dict(routes or {})
        self.clock = Clock()
        self.cache = PromptCache(self.clock)
        self.bill = Bill()
        self.limits: dict[str, str] = default_limits()
        self.requests: list[Request] = []
        self.other_requests: list[Request] = []
        self.tunnels: list[str] = []
        self.tokens: set[str] = {"test-access-token"}
        self.peak_in_flight = 0
        self.default: Reply = text("ok")
        self._queue: deque[Reply] | None = None
        self._script: Script | None = None
        self._in_flight = 0
        self._count = 0
        self._changed = threading.Condition()
        self._authority: Authority | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self.port = 0

    # --- life ------------------------------------------------------------------------------------------

    def start(self, port: int = 0) -> Self:
        """Listen; returns when connections are accepted."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        self.port = listener.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listener, ready)), daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def stop(self) -> None:
        """Drop every connection and end the thread."""
        if self._loop and self._stopping and self._thread:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._thread = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(Connection(reader, writer, self._handle, self._tls_for).serve())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(connected, sock=listener)
        ready.set()
        await self._stopping.wait()
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # aborted transports close their sockets in the next rounds of the loop

    # --- addresses -------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Base URL of the API's own surface."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def gateway_url(self) -> str:
        """Base URL of the strict gateway."""
        return f"{self.url}/gateway"

    @property
    def vertex_url(self) -> str:
        """Base URL of the Vertex surface."""
        return f"{self.url}/vertex/v1"

    @property
    def token_url(self) -> str:
        """Where a service account trades its assertion for an access token."""
        return f"{self.url}/token"

    @property
    def authority(self) -> Authority:
        """The certificate authority of the tunnel, made when first asked for."""
        if self._authority is None:
            self._authority = Authority()
        return self._authority

    # --- script ----------------------------------------------------------------------------------------

    def reply(self, *replies: Reply) -> None:
        """Queue replies; a request beyond the last one gets a 400 that says so."""
        if self._queue is None:
            self._queue = deque()
        self._queue.extend(replies)

    def script(self, script: Script | None) -> None:
        """Answer each request with what a function of it returns."""
        self._script = script

    def reset(self) -> None:
        """Forget requests, script, cache and bill; stay on the same port."""
        self.requests.clear()
        self.other_requests.clear()
        self.tunnels.clear()
        self.bill = Bill()
        self.cache = PromptCache(self.clock)
        self.peak_in_flight = 0
        self._queue = self._script = None

    def wait_until(self, condition: Callable[["ModelServer"], bool], *, timeout_s: float = 10.0) -> bool:
        """Block until something that the server can see is true; False when time is up."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), timeout_s)

    def wait_for_requests(self, count: int, *, timeout_s: float = 10.0) -> None:
        """Block until that many message requests have come in.

        Raises:
            TimeoutError: they did not come.
        """
        if not self.wait_until(lambda server: len(server.requests) >= count, timeout_s=timeout_s):
            raise TimeoutError(f"{len(self.requests)} of {count} requests after {timeout_s} s")

    def _next_reply(self, request: Request) -> Reply:
        if self._queue:
            return self._queue.popleft()
        if self._script:
            return self._script(request)
        if self._queue is None:
            return self.default
        return failure(
            400, "invalid_request_error", f"the script has no reply for request {len(self.requests)}"
        )

    # --- answering -------------------------------------------------------------------------------------

    def _tls_for(self, host: str) -> ssl.SSLContext | None:
        self.tunnels.append(host)
        return self.authority.server_context(host) if host in self.tunnel_hosts else None

    async def _handle(self, raw: RawRequest, exchange: Exchange) -> None:
        path = unquote(urlsplit(raw.target).path)
        request = _captured(raw, path)
        self._count += 1
        request.request_id = f"req_{self._count:024d}"
        is_message = request.surface != "other" and not path.endswith(("/count_tokens", "/models"))
        with self._changed:
            (self.requests if is_message else self.other_requests).append(request)
            self._in_flight += 1
            self.peak_in_flight = max(self.peak_in_flight, self._in_flight)
            self._changed.notify_all()
        try:
            await self._route(request, exchange)
            request.is_finished = True
        finally:
            request.is_disconnected = not request.is_finished
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    async def _route(self, request: Request, exchange: Exchange) -> None:
        if request.path == "/token":
            return await self._issue_token(request, exchange)
        if request.surface == "other":
            status, body = self.routes.get(
                request.path, (404, {"error": {"type": "not_found_error", "message": "Not found"}})
            )
            return await self._json(request, exchange, status, body)
        refused = self._refusal(request)
        if refused:
            return await self.fail(request, exchange, refused)
        if "/models" in request.path and request.method == "GET":
            return await self._models(request, exchange)
        model = find_model(request.model, self.models)
        if model is None:
            return await self.fail(request, exchange, unknown_model(request.model))
        try:
            blocks = prompt_blocks(request.body)
        except CacheRuleError as error:
            return await self.fail(request, exchange, failure(400, "invalid_request_error", str(error)))
        if request.path.endswith("/count_tokens") or request.path.endswith("count-tokens:rawPredict"):
            count = sum(block.tokens for block in blocks)
            return await self._json(request, exchange, 200, {"input_tokens": count})
        problem = check_request(
            request.body,
            version=request.headers.get("anthropic-version") or request.body.get("anthropic_version"),
            max_output_tokens=model.max_output_tokens,
        )
        total = sum(block.tokens for block in blocks)
        if problem is None and total > model.context_tokens:
            message = f"prompt is too long: {total} tokens > {model.context_tokens} maximum"
            problem = failure(400, "invalid_request_error", message)
        reply = problem or self._next_reply(request)
        if isinstance(reply, Failure):
            return await self.fail(request, exchange, reply)
        plan = self.cache.plan(blocks, min_tokens=model.min_cache_tokens)
        await _Answer(self, request, exchange, reply, plan).send()
        return None

    def _refusal(self, request: Request) -> Failure | None:
        """Check credentials and the version header as each surface does."""
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        key = request.headers.get("x-api-key", "")
        if request.surface == "vertex":
            if bearer not in self.tokens:
                return failure(401, "authentication_error", "Request had invalid authentication credentials.")
            if not request.body.get("anthropic_version"):
                return failure(400, "invalid_request_error", "anthropic_version: Field required")
            return None
        if request.surface == "gateway":
            if not (bearer and key):
                return failure(401, "authentication_error", "both authorization and x-api-key are expected")
            if request.headers.get("anthropic-version") not in _GATEWAY_VERSIONS:
                return failure(400, "invalid_request_error", "anthropic-version: expected 2023-06-01")
        elif not request.headers.get("anthropic-version"):
            return failure(400, "invalid_request_error", "anthropic-version: header is required")
        if not (bearer or key):
            return failure(401, "authentication_error", "x-api-key header is required")
        if self.keys is not None and not {key, bearer} & self.keys:
            return invalid_key()
        return None

    async def _models(self, request: Request, exchange: Exchange) -> None:
        rows = [
            {"type": "model", "id": model, "display_name": model, "created_at": "2026-01-01T00:00:00Z"}
            for model in self.models
        ]
        asked = request.path.rsplit("/models", 1)[1].strip("/")
        if asked:
            found = find_model(asked, self.models)
            if not found:
                return await self.fail(request, exchange, unknown_model(asked))
            return await self._json(
                request, exchange, 200, {**rows[0], "id": asked, "display_name": found.id}
            )
        page = {"data": rows, "has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]}
        return await self._json(request, exchange, 200, page)

    async def _issue_token(self, request: Request, exchange: Exchange) -> None:
        if request.body.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return await self._json(request, exchange, 400, {"error": "unsupported_grant_type"})
        token = f"test-access-token-{self._count}"
        self.tokens.add(token)
        grant = {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}
        return await self._json(request, exchange, 200, grant)

    async def _json(self, request: Request, exchange: Exchange, status: int, body: Any) -> None:
        request.status = status
        headers = {"content-type": "application/json", "request-id": request.request_id}
        await exchange.reply(status, headers, json.dumps(body).encode())

    async def fail(self, request: Request, exchange: Exchange, reply: Failure) -> None:
        """Answer with an error in the words of the surface."""
        request.status = reply.status
        headers = {"content-type": "application/json", "request-id": request.request_id, **reply.headers}
        if reply.status in (429, 500, 503, 529) and request.surface == "anthropic":
            headers.setdefault("x-should-retry", "true")
        body = wire.error_body(reply, request.request_id, is_google=request.surface == "vertex")
        await exchange.reply(reply.status, headers, body)


def _captured(raw: RawRequest, path: str) -> Request:
    if path == "/token":
        pairs = (part.split("=", 1) for part in raw.body.decode().split("&") if "=" in part)
        body: Any = {name: unquote(value.replace("+", " ")) for name, value in pairs}
    else:
        try:
            body = json.loads(raw.body) if raw.body else {}
        except ValueError:
            body = {}
    body = body if isinstance(body, dict) else {}
    vertex = _VERTEX.match(path)
    surface, model = "other", str(body.get("model", ""))
    if vertex:
        surface = "vertex"
        model = model if vertex["model"] == "count-tokens" else vertex["model"]
    elif re.match(r"/gateway/v1/(messages|models)(/|$)", path):
        surface = "gateway"
    elif re.match(r"/v1/(messages|models)(/|$)", path):
        surface = "anthropic"
    return Request(
        surface=surface,
        method=raw.method,
        path=path,
        headers=raw.headers,
        body=body,
        model=model,
        host=raw.tunnel or raw.headers.get("host"),
    )


def default_limits() -> dict[str, str]:
    """Give the rate-limit headers of a calm organisation; tests replace or empty `ModelServer.limits`."""
    limits = {"requests": 1000, "input-tokens": 450_000, "output-tokens": 90_000, "tokens": 540_000}
    headers: dict[str, str] = {}
    for name, limit in limits.items():
        headers[f"anthropic-ratelimit-{name}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{name}-remaining"] = str(limit - 1)
        headers[f"anthropic-ratelimit-{name}-reset"] = "2099-01-01T00:00:00Z"
    return headers


class _Answer:
    """One message on its way out."""

    def __init__(
        self, server: ModelServer, request: Request, exchange: Exchange, reply: Message, plan: Plan
    ) -> None:
        self._server = server
        self._request = request
        self._exchange = exchange
        self._reply = reply
        self._plan = plan
        self._blocks = wire.settled_blocks(reply.blocks, request.body)
        number = request.request_id.removeprefix("req_")
        self._message_id = f"msg_{number}"
        self._call_ids = [f"toolu_{number[4:]}_{place}" for place in range(len(self._blocks))]
        self._charge = Charge(
            request_id=request.request_id,
            model=request.model,
            input_tokens=plan.input_tokens,
            read_tokens=plan.read_tokens,
            write_5m_tokens=plan.write_5m_tokens,
            write_1h_tokens=plan.write_1h_tokens,
        )

    async def send(self) -> None:
        if self._reply.start_delay_s:
            await asyncio.sleep(self._reply.start_delay_s)
        if self._reply.is_silent:
            await asyncio.Event().wait()
        is_streamed = self._request.body.get("stream") or self._request.path.endswith(":streamRawPredict")
        if self._reply.after == "overloaded" and not is_streamed:
            await self._server.fail(self._request, self._exchange, overloaded())
            return
        self._server.cache.publish(self._plan)
        self._server.bill.charges.append(self._charge)
        self._request.status = 200
        await (self._send_stream() if is_streamed else self._send_whole())

    def _headers(self, content_type: str) -> dict[str, str]:
        limits = self._server.limits if self._request.surface == "anthropic" else {}
        return {
            "content-type": content_type,
            "request-id": self._request.request_id,
            "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
            **limits,
            **self._reply.headers,
        }

    async def _send_whole(self) -> None:
        if self._reply.after == "cut":
            self._exchange.abort()
        if self._reply.after == "hang":
            await asyncio.Event().wait()
        self._charge.output_tokens = wire.output_tokens(self._blocks)
        message = {
            "id": self._message_id,
            "type": "message",
            "role": "assistant",
            "model": self._request.model,
            "content": [
                wire.content_block(block, call_id=call_id)
                for block, call_id in zip(self._blocks, self._call_ids, strict=True)
            ],
            "stop_reason": wire.stop_reason(self._reply, self._blocks),
            "stop_sequence": self._reply.stop_sequence,
            "usage": wire.usage(self._charge, output_tokens=self._charge.output_tokens),
        }
        body = json.dumps(message, ensure_ascii=False).encode()
        if self._reply.after == "garbage":
            body = body[: len(body) // 2]
        await self._exchange.reply(200, self._headers("application/json"), body)

    async def _send_stream(self) -> None:
        headers = self._headers("text/event-stream; charset=utf-8")
        await self._exchange.start(200, {**headers, "cache-control": "no-cache"})
        await self._exchange.send(wire.message_start(self._message_id, self._request.model, self._charge))
        for place, block in enumerate(self._blocks):
            is_open = place == len(self._blocks) - 1 and self._reply.after != "complete"
            await self._send_block(place, block, is_open=is_open)
            self._charge.output_tokens += wire.block_tokens(block)
        match self._reply.after:
            case "overloaded":
                await self._exchange.send(wire.error_event(self._request.request_id))
            case "cut":
                await asyncio.sleep(_READ_S)
                self._exchange.abort()
            case "garbage":
                await self._exchange.send(b'event: content_block_delta\ndata: {"type": "content_bl\n\n')
            case "hang":
                await asyncio.Event().wait()
            case "complete":
                reason = wire.stop_reason(self._reply, self._blocks)
                for frame in wire.message_end(reason, self._reply.stop_sequence, self._charge):
                    await self._exchange.send(frame)
        await self._exchange.finish()

    async def _send_block(self, place: int, block: Any, *, is_open: bool) -> None:
        frames = list(
            wire.block_events(
                place, block, call_id=self._call_ids[place], chunk_chars=self._reply.chunk_chars
            )
        )
        if not self._reply.chunk_delay_s:
            await self._exchange.send(b"".join(frames[:-1] if is_open else frames))
            return
        for frame in frames[:-1] if is_open else frames:
            await self._exchange.send(frame)
            await asyncio.sleep(self._reply.chunk_delay_s)
