"""The Messages API as data: from a request to its JSON body, and from streamed events to a reply.

Nothing here touches a network or a vendor's package, so every strange answer can be tried. Events are read as they come and
believed only as far as their types hold; what does not follow the protocol is a `garbled` failure that names the spot.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, cast

from ktx.llm.backend import Capabilities, Request
from ktx.llm.caching import Mark, Ttl
from ktx.llm.messages import Message, Opaque, Part, StopReason, Text, ToolCall, ToolResult, Usage
from ktx.llm.models import estimated_tokens

Json: TypeAlias = dict[str, object]

CAPABILITIES: Final = Capabilities(
    has_native_schema=True,
    has_forced_tool=True,
    has_cache_breakpoints=True,
    has_effort=True,
)
"""What the Messages API can do, whoever serves it."""


def capabilities(*, is_vertex: bool) -> Capabilities:
    """Give what the Messages API can do at one kind of endpoint."""
    if is_vertex:
        return CAPABILITIES
    ignored = {"vertexFallbackTo5m": "It concerns Vertex AI only; remove it, or keep it for later."}
    return replace(CAPABILITIES, ignored_cache_fields=ignored)


_STOPS: Final[Mapping[str, StopReason]] = {
    "end_turn": "end",
    "tool_use": "tools",
    "max_tokens": "max_tokens",
    "stop_sequence": "stop_sequence",
    "refusal": "refusal",
    "pause_turn": "pause",
    "model_context_window_exceeded": "context_full",
}


class GarbledError(ValueError):
    """An answer that does not follow the protocol."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """A whole streamed message."""

    parts: tuple[Part, ...]
    stop_reason: StopReason
    usage: Usage
    model: str
    message_id: str | None


def request_body(request: Request) -> Json:
    """Write the JSON body of a request, breakpoints included. `stream` is left to the sender."""
    body: Json = {"model": request.model, "max_tokens": request.max_output_tokens}
    if request.system:
        blocks: list[Json] = [{"type": "text", "text": text} for text in request.system]
        _mark(blocks[-1], request.cache_plan.system)
        body["system"] = blocks
    if request.tools:
        tools: list[Json] = [
            {"name": tool.name, "description": tool.description, "input_schema": dict(tool.input_schema)}
            for tool in request.tools
        ]
        _mark(tools[-1], request.cache_plan.tools)
        body["tools"] = tools
    if request.forced_tool is not None:
        body["tool_choice"] = {"type": "tool", "name": request.forced_tool, "disable_parallel_tool_use": True}
    output: Json = {}
    if request.schema is not None:
        output["format"] = {"type": "json_schema", "schema": dict(request.schema)}
    if request.effort is not None:
        output["effort"] = request.effort
    if output:
        body["output_config"] = output
    body["messages"] = _messages(request.messages, request.cache_plan.history)
    return body


def _messages(messages: tuple[Message, ...], marks: tuple[Mark, ...]) -> list[Json]:
    ttl_by_place: dict[tuple[int, int], Ttl] = {(mark.message, mark.part): mark.ttl for mark in marks}
    written: list[Json] = []
    for place, message in enumerate(messages):
        blocks: list[Json] = []
        for index, part in enumerate(message.parts):
            block = _block(part)
            _mark(block, ttl_by_place.get((place, index)))
            blocks.append(block)
        written.append({"role": message.author, "content": blocks})
    return written


def _block(part: Part) -> Json:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case ToolCall():
            return {
                "type": "tool_use",
                "id": part.call_id,
                "name": part.name,
                "input": _arguments(part.arguments),
            }
        case ToolResult():
            block: Json = {
                "type": "tool_result",
                "tool_use_id": part.call_id,
                "content": part.text or "(empty)",
            }
            return {**block, "is_error": True} if part.is_error else block
        case Opaque():
            return dict(part.payload)


def _arguments(raw: str) -> Json:
    """The API takes an object back; arguments that never were one go back as the text they are."""
    try:
        value: object = json.loads(raw or "{}")
    except (ValueError, RecursionError):
        return {"unreadable": raw}
    return cast("Json", value) if isinstance(value, dict) else {"unreadable": raw}


def _mark(block: Json, ttl: Ttl | None) -> None:
    if ttl is not None:
        block["cache_control"] = {"type": "ephemeral", "ttl": ttl}


@dataclass
class _Block:
    kind: str
    start: Json
    text: list[str] = field(default_factory=list[str])
    signature: list[str] = field(default_factory=list[str])
    citations: list[object] = field(default_factory=list[object])


class Listener:
    """Collects the events of one streamed message. Feed every event in order, then ask for `said()`."""

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._message: Json | None = None
        self._usage: Json = {}
        self._stop: str | None = None
        self._is_over = False

    @property
    def usage(self) -> Usage:
        """Give the bill as far as it is known. A stream that broke off never said its output, which is then estimated."""
        told = read_usage(self._usage)
        if self._stop is not None:
            return told
        heard = sum(len(piece) for block in self._blocks.values() for piece in block.text)
        return replace(told, output_tokens=max(told.output_tokens, estimated_tokens(heard) if heard else 0))

    @property
    def has_begun(self) -> bool:
        """Tell whether the message has started."""
        return self._message is not None

    def hear(self, event: object) -> None:
        """Take in one event.

        Raises:
            GarbledError: the event does not follow the protocol.
        """
        data = _object(event, "an event")
        match data.get("type"):
            case "message_start":
                self._message = _object(data.get("message"), "message_start.message")
                self._count(self._message.get("usage"))
            case "content_block_start":
                start = _object(data.get("content_block"), "content_block_start.content_block")
                self._blocks[_index(data)] = _Block(
                    kind=_text(start.get("type"), "a block's type"), start=start
                )
            case "content_block_delta":
                self._extend(_index(data), _object(data.get("delta"), "content_block_delta.delta"))
            case "message_delta":
                delta = _object(data.get("delta"), "message_delta.delta")
                if delta.get("stop_reason") is not None:
                    self._stop = _text(delta["stop_reason"], "stop_reason")
                self._count(data.get("usage"))
            case "message_stop":
                self._is_over = True
            case _:  # content_block_stop, ping, and events of later versions
                pass

    def said(self) -> Said:
        """Give the whole message.

        Raises:
            GarbledError: the stream ended early, or says nothing that can be used.
        """
        if self._message is None:
            raise GarbledError("the stream ended before a message began")
        if not self._is_over or self._stop is None:
            raise GarbledError("the stream ended in the middle of a message")
        if self._stop not in _STOPS:
            raise GarbledError(f"the unknown stop reason `{self._stop[:60]}`")
        model = self._message.get("model")
        message_id = self._message.get("id")
        return Said(
            parts=tuple(part for index in sorted(self._blocks) for part in _part(self._blocks[index])),
            stop_reason=_STOPS[self._stop],
            usage=self.usage,
            model=model if isinstance(model, str) else "",
            message_id=message_id if isinstance(message_id, str) else None,
        )

    def _extend(self, index: int, delta: Json) -> None:
        block = self._blocks.get(index)
        if block is None:
            raise GarbledError(f"a delta for block {index}, which never started")
        match delta.get("type"):
            case "text_delta":
                block.text.append(_text(delta.get("text"), "text_delta.text"))
            case "input_json_delta":
                block.text.append(_text(delta.get("partial_json"), "input_json_delta.partial_json"))
            case "thinking_delta":
                block.text.append(_text(delta.get("thinking"), "thinking_delta.thinking"))
            case "signature_delta":
                block.signature.append(_text(delta.get("signature"), "signature_delta.signature"))
            case "citations_delta":
                block.citations.append(delta.get("citation"))
            case _:
                pass

    def _count(self, usage: object) -> None:
        if usage is None:
            return
        for key, value in _object(usage, "usage").items():
            if value is not None:
                self._usage[key] = value


def _part(block: _Block) -> tuple[Part, ...]:
    text = "".join(block.text)
    match block.kind:
        case "text":
            start = block.start.get("text")
            whole = (start if isinstance(start, str) else "") + text
            return (Text(text=whole),) if whole else ()
        case "tool_use":
            name = _text(block.start.get("name"), "tool_use.name")
            given = block.start.get("input")
            arguments = text or (json.dumps(given) if isinstance(given, dict) else "{}")
            return (
                ToolCall(call_id=_text(block.start.get("id"), "tool_use.id"), name=name, arguments=arguments),
            )
        case "thinking":
            first = block.start.get("thinking")
            signed = block.start.get("signature")
            thinking = (first if isinstance(first, str) else "") + text
            signature = (signed if isinstance(signed, str) else "") + "".join(block.signature)
            return (Opaque(payload={"type": "thinking", "thinking": thinking, "signature": signature}),)
        case _:
            return (Opaque(payload=block.start),)


def read_usage(usage: Mapping[str, object]) -> Usage:
    """Read a bill. Cache writes without a split by time to live count as five minutes.

    >>> read_usage({"input_tokens": 5, "cache_creation_input_tokens": 7, "cache_creation": {"ephemeral_1h_input_tokens": 7}})
    Usage(uncached_input_tokens=5, cache_write_5m_tokens=0, cache_write_1h_tokens=7, cache_read_tokens=0, output_tokens=0)

    Raises:
        GarbledError: a count is not a whole number of tokens.
    """
    split = usage.get("cache_creation")
    by_ttl: Mapping[str, object] = cast("Json", split) if isinstance(split, dict) else {}
    written = _tokens(usage.get("cache_creation_input_tokens"))
    write_1h = min(written, _tokens(by_ttl.get("ephemeral_1h_input_tokens")))
    return Usage(
        uncached_input_tokens=_tokens(usage.get("input_tokens")),
        cache_write_5m_tokens=written - write_1h,
        cache_write_1h_tokens=write_1h,
        cache_read_tokens=_tokens(usage.get("cache_read_input_tokens")),
        output_tokens=_tokens(usage.get("output_tokens")),
    )


def _tokens(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise GarbledError("a token count that is no count")
    return value


def _object(value: object, what: str) -> Json:
    if not isinstance(value, dict):
        raise GarbledError(f"{what} is not an object")
    return cast("Json", value)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise GarbledError(f"{what} is not text")
    return value


def _index(data: Json) -> int:
    value = data.get("index")
    if isinstance(value, bool) or not isinstance(value, int):
        raise GarbledError("a block without an index")
    return value
