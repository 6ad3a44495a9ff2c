"""The server: what `codex` talks to, on loopback, scripted and watched in the same way as `modelserver`.

It stands in for `api.openai.com` and `chatgpt.com` behind the CONNECT proxy of `modelserver.http1`, so that the real program needs
no setting that a user would not have, and it answers `POST …/responses` with the event stream of the Responses API.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from modelserver.billing import Charge, count_tokens
from modelserver.http1 import Exchange, RawRequest
from modelserver.replies import Failure, Message, StructuredBlock, TextBlock, ThinkingBlock, ToolBlock
from modelserver.server import ModelServer, Request

HOSTS = frozenset({"api.openai.com", "chatgpt.com", "auth.openai.com"})
NAMESPACE = "mcp__ktx"
_CACHE_MIN_TOKENS = 1024
_CACHE_STEP_TOKENS = 128


@dataclass(kw_only=True, eq=False)
class CodexRequest(Request):
    """A captured Responses request, with the same questions answered as a Messages request's."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The items of the conversation as sent."""
        return self.body.get("input") or []

    @property
    def assistant_turns(self) -> int:
        """How many times the model has spoken already."""
        spoken = [_is_assistant(item) for item in self.messages]
        return sum(now and not before for before, now in zip([False, *spoken], spoken, strict=False))

    @property
    def tool_names(self) -> list[str]:
        """Every tool that the model is offered; those of a namespace as `namespace.name`."""
        return list(_tool_names(self.body.get("tools") or []))

    @property
    def system_text(self) -> str:
        """The developer messages as one text."""
        return "\n".join(_texts(self.messages, role="developer"))

    @property
    def prompt_text(self) -> str:
        """Everything the model is given to read, as one text."""
        return json.dumps(
            {key: self.body.get(key) for key in ("instructions", "tools", "input")}, ensure_ascii=False
        )

    @property
    def user_text(self) -> str:
        """The text of the last user message."""
        texts = list(_texts(self.messages, role="user"))
        return texts[-1] if texts else ""

    @property
    def tool_results(self) -> list[dict[str, Any]]:
        """The outputs of tools since the model last spoke."""
        last = max((place for place, item in enumerate(self.messages) if _is_assistant(item)), default=-1)
        return [
            {"tool_use_id": item.get("call_id"), "content": _output_text(item.get("output"))}
            for item in self.messages[last + 1 :]
            if item.get("type", "").endswith("_output")
        ]


def _is_assistant(item: Mapping[str, Any]) -> bool:
    return item.get("role") == "assistant" or item.get("type") in {
        "function_call",
        "reasoning",
        "custom_tool_call",
    }


def _tool_names(tools: list[dict[str, Any]]) -> Iterator[str]:
    for tool in tools:
        if tool.get("type") == "namespace":
            yield from (f"{tool.get('name')}.{inner.get('name')}" for inner in tool.get("tools", []))
        else:
            yield str(tool.get("name") or tool.get("type"))


def _texts(items: list[dict[str, Any]], *, role: str) -> Iterator[str]:
    for item in items:
        if item.get("type") == "message" and item.get("role") == role:
            yield "\n".join(str(part.get("text", "")) for part in item.get("content") or [])


def _output_text(output: Any) -> str:
    if isinstance(output, list):
        return "\n".join(str(part.get("text", "")) for part in output)
    return str(output)


class ResponsesServer(ModelServer):
    """A Responses API on a free loopback port, reached through the CONNECT proxy on the same port."""

    def __init__(self) -> None:
        super().__init__(tunnel_hosts=HOSTS)
        self.rate_headers: dict[str, str] = {}
        self._seen: dict[str, str] = {}

    def environment(self, root_pem: str) -> dict[str, str]:
        """Give the variables that lead a real program here; they are ones that users behind a proxy set."""
        return {"HTTPS_PROXY": self.url, "CODEX_CA_CERTIFICATE": root_pem}

    async def _handle(self, raw: RawRequest, exchange: Exchange) -> None:
        request = _captured(raw)
        is_turn = request.method == "POST" and request.path.endswith("/responses")
        self._count += 1
        request.request_id = f"req_{self._count:08d}"
        with self._changed:
            (self.requests if is_turn else self.other_requests).append(request)
            self._in_flight += 1
            self.peak_in_flight = max(self.peak_in_flight, self._in_flight)
            self._changed.notify_all()
        try:
            if is_turn:
                await self._turn(request, exchange)
            else:
                await self._other(request, exchange)
            request.is_finished = True
        finally:
            request.is_disconnected = not request.is_finished
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    async def _other(self, request: Request, exchange: Exchange) -> None:
        status, body = self.routes.get(request.path, (404, {"error": {"message": "Not found"}}))
        await exchange.reply(status, {"content-type": "application/json"}, json.dumps(body).encode())

    async def _turn(self, request: Request, exchange: Exchange) -> None:
        reply = self._next_reply(request)
        if isinstance(reply, Failure):
            body = reply.body
            if body is None:
                body = json.dumps(
                    {"error": {"type": reply.type, "message": reply.message, "code": None}}
                ).encode()
            await exchange.reply(reply.status, {"content-type": "application/json", **reply.headers}, body)
            return
        charge = self._charge(request)
        await self._stream(request, reply, charge, exchange)

    def _charge(self, request: Request) -> Charge:
        """Bill the prompt: what repeats the beginning of the thread's last prompt, in steps of 128 tokens, is read."""
        text = request.prompt_text
        key = str(request.body.get("prompt_cache_key"))
        before, self._seen[key] = self._seen.get(key, ""), text
        total = count_tokens(text)
        shared = 0
        for place, (left, right) in enumerate(zip(before, text, strict=False), start=1):
            if left != right:
                break
            shared = place
        read = count_tokens(text[:shared]) // _CACHE_STEP_TOKENS * _CACHE_STEP_TOKENS
        read = read if read >= _CACHE_MIN_TOKENS else 0
        return Charge(
            request_id=request.request_id, model=request.model, input_tokens=total - read, read_tokens=read
        )

    async def _stream(self, request: Request, reply: Message, charge: Charge, exchange: Exchange) -> None:
        if reply.start_delay_s:
            await asyncio.sleep(reply.start_delay_s)
        headers = {
            "content-type": "text/event-stream",
            "x-request-id": request.request_id,
            **self.rate_headers,
        }
        await exchange.start(200, {**headers, **reply.headers})
        response_id = f"resp_{request.request_id}"
        await exchange.send(_event("response.created", response={"id": response_id}))
        for place, block in enumerate(reply.blocks):
            charge.output_tokens += count_tokens(getattr(block, "text", None) or str(block))
            for frame in _block_events(place, block, request, reply.chunk_chars):
                await exchange.send(frame)
                if reply.chunk_delay_s:
                    await asyncio.sleep(reply.chunk_delay_s)
        match reply.after:
            case "cut":
                exchange.abort()
            case "hang":
                await asyncio.Event().wait()
            case "garbage":
                await exchange.send(b'event: response.output_item.done\ndata: {"type": "respon\n\n')
            case "overloaded":
                error = {
                    "code": "server_is_overloaded",
                    "message": "The server is overloaded. Please try again.",
                }
                await exchange.send(_event("response.failed", response={"id": response_id, "error": error}))
            case "complete":
                self.bill.charges.append(
                    charge
                )  # the API says a price only where it completes; nobody can know of another
                await exchange.send(_ending(reply, response_id, charge))
        await exchange.finish()


def _captured(raw: RawRequest) -> CodexRequest:
    try:
        body: Any = json.loads(raw.body) if raw.body else {}
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    return CodexRequest(
        surface="responses",
        method=raw.method,
        path=urlsplit(raw.target).path,
        headers=raw.headers,
        body=body,
        model=str(body.get("model", "")),
        host=raw.tunnel,
    )


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def _block_events(place: int, block: Any, request: Request, chunk_chars: int) -> Iterator[bytes]:
    name = f"{request.request_id}_{place}"
    match block:
        case ThinkingBlock():
            item: dict[str, Any] = {
                "type": "reasoning", "id": f"rs_{name}", "summary": [], "encrypted_content": block.signature,
            }  # fmt: skip
        case ToolBlock():
            item = {"type": "function_call", "id": f"fc_{name}", "call_id": block.call_id or f"call_{name}"}
            if f"{NAMESPACE}.{block.name}" in request.tool_names:
                item["namespace"] = NAMESPACE
            item |= {"name": block.name, "arguments": block.input_text()}
        case TextBlock() | StructuredBlock():
            text = block.text if isinstance(block, TextBlock) else json.dumps(block.value, ensure_ascii=False)
            item = {"type": "message", "role": "assistant", "id": f"msg_{name}", "content": []}
            yield _event("response.output_item.added", output_index=place, item=item)
            for start in range(0, len(text), chunk_chars):
                delta = text[start : start + chunk_chars]
                yield _event(
                    "response.output_text.delta",
                    output_index=place,
                    item_id=item["id"],
                    content_index=0,
                    delta=delta,
                )
            item = {**item, "content": [{"type": "output_text", "text": text}]}
        case _:
            raise TypeError(block)
    yield _event("response.output_item.done", output_index=place, item=item)


def _ending(reply: Message, response_id: str, charge: Charge) -> bytes:
    usage = {
        "input_tokens": charge.input_tokens + charge.read_tokens,
        "input_tokens_details": {"cached_tokens": charge.read_tokens},
        "output_tokens": charge.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": charge.prompt_tokens + charge.output_tokens,
    }
    if reply.stop_reason in {"max_tokens", "refusal"}:
        reason = "max_output_tokens" if reply.stop_reason == "max_tokens" else "content_filter"
        response = {"id": response_id, "incomplete_details": {"reason": reason}, "usage": usage}
        return _event("response.incomplete", response=response)
    return _event("response.completed", response={"id": response_id, "usage": usage})
