"""Messages and errors as the Messages API writes them: one JSON object, or a row of server-sent events."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelserver.billing import Charge, count_tokens
from modelserver.replies import Block, Failure, Message, StructuredBlock, TextBlock, ThinkingBlock, ToolBlock

GOOGLE_STATUS = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
}
STRUCTURED_TOOL = "StructuredOutput"


def settled_blocks(
    blocks: Sequence[Block], body: Mapping[str, Any]
) -> tuple[TextBlock | ThinkingBlock | ToolBlock, ...]:
    """Turn structured answers into the form that this request asks for, and tools into the names that it offers."""
    return tuple(_settled(block, body) for block in blocks)


def _offered(name: str, body: Mapping[str, Any]) -> str:
    """Give the name under which a request offers a tool: programs put their MCP server's name before it."""
    names = [str(tool.get("name")) for tool in body.get("tools") or []]
    prefixed = [known for known in names if known.startswith("mcp__") and known.endswith(f"__{name}")]
    return prefixed[0] if name not in names and len(prefixed) == 1 else name


def _settled(block: Block, body: Mapping[str, Any]) -> TextBlock | ThinkingBlock | ToolBlock:
    if isinstance(block, ToolBlock):
        return replace(block, name=_offered(block.name, body))
    if not isinstance(block, StructuredBlock):
        return block
    choice = body.get("tool_choice") or {}
    names = [tool.get("name") for tool in body.get("tools") or []]
    if not (body.get("output_config") or {}).get("format"):
        forced = choice.get("name") if choice.get("type") == "tool" else None
        if choice.get("type") == "any" and len(names) == 1:
            forced = names[0]
        if STRUCTURED_TOOL in names:
            forced = STRUCTURED_TOOL
        if forced:
            return ToolBlock(name=str(forced), arguments=block.value)
    return TextBlock(text=json.dumps(block.value, ensure_ascii=False))


def stop_reason(message: Message, blocks: Sequence[Block]) -> str:
    """Give the scripted stop reason, or the one that follows from the content."""
    if message.stop_reason:
        return message.stop_reason
    return "tool_use" if any(isinstance(block, ToolBlock) for block in blocks) else "end_turn"


def usage(charge: Charge, *, output_tokens: int) -> dict[str, Any]:
    """Give the `usage` object of a charge."""
    return {
        "input_tokens": charge.input_tokens,
        "cache_creation_input_tokens": charge.write_tokens,
        "cache_read_input_tokens": charge.read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": charge.write_5m_tokens,
            "ephemeral_1h_input_tokens": charge.write_1h_tokens,
        },
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def content_block(block: TextBlock | ThinkingBlock | ToolBlock, *, call_id: str) -> dict[str, Any]:
    """Give a block as it stands in a finished message."""
    match block:
        case TextBlock():
            return {"type": "text", "text": block.text}
        case ThinkingBlock():
            return {"type": "thinking", "thinking": block.thinking, "signature": block.signature}
        case ToolBlock():
            try:
                parsed = json.loads(block.input_text())
            except ValueError:
                parsed = {}
            return {"type": "tool_use", "id": block.call_id or call_id, "name": block.name, "input": parsed}


def output_tokens(blocks: Sequence[TextBlock | ThinkingBlock | ToolBlock]) -> int:
    """Count what a message costs as output."""
    return sum(block_tokens(block) for block in blocks)


def block_tokens(block: TextBlock | ThinkingBlock | ToolBlock) -> int:
    """Count what one block costs as output."""
    match block:
        case TextBlock():
            return count_tokens(block.text)
        case ThinkingBlock():
            return count_tokens(block.thinking)
        case ToolBlock():
            return count_tokens(block.name) + count_tokens(block.input_text())


def event(name: str, data: Mapping[str, Any]) -> bytes:
    """Frame one server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def message_start(message_id: str, model: str, charge: Charge) -> bytes:
    """Frame the event that opens a stream."""
    opening = {
        "model": model,
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage(charge, output_tokens=1),
    }
    return event("message_start", {"type": "message_start", "message": opening})


def block_events(
    index: int, block: TextBlock | ThinkingBlock | ToolBlock, *, call_id: str, chunk_chars: int
) -> Iterator[bytes]:
    """Frame one content block: start, deltas, stop."""
    match block:
        case TextBlock():
            opening: dict[str, Any] = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": part} for part in _parts(block.text, chunk_chars)]
        case ThinkingBlock():
            opening = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [
                {"type": "thinking_delta", "thinking": part} for part in _parts(block.thinking, chunk_chars)
            ]
            deltas.append({"type": "signature_delta", "signature": block.signature})
        case ToolBlock():
            opening = {"type": "tool_use", "id": block.call_id or call_id, "name": block.name, "input": {}}
            parts = ["", *_parts(block.input_text(), chunk_chars)]
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    yield event(
        "content_block_start", {"type": "content_block_start", "index": index, "content_block": opening}
    )
    if index == 0:
        yield event("ping", {"type": "ping"})
    for delta in deltas:
        yield event("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta})
    yield event("content_block_stop", {"type": "content_block_stop", "index": index})


def message_end(reason: str, sequence: str | None, charge: Charge) -> Iterator[bytes]:
    """Frame the two events that close a stream."""
    delta = {"stop_reason": reason, "stop_sequence": sequence}
    final = usage(charge, output_tokens=charge.output_tokens)
    del final["service_tier"], final["cache_creation"]
    yield event("message_delta", {"type": "message_delta", "delta": delta, "usage": final})
    yield event("message_stop", {"type": "message_stop"})


def error_event(request_id: str) -> bytes:
    """Frame the error that an overloaded server sends in the middle of a stream."""
    error = {"type": "overloaded_error", "message": "Overloaded"}
    return event("error", {"type": "error", "error": error, "request_id": request_id})


def error_body(failure: Failure, request_id: str, *, is_google: bool = False) -> bytes:
    """Give the body of an error reply."""
    if failure.body is not None:
        return failure.body
    if is_google and failure.status in GOOGLE_STATUS:
        google = {"code": failure.status, "message": failure.message, "status": GOOGLE_STATUS[failure.status]}
        return json.dumps({"error": google}).encode()
    error = {"type": failure.type, "message": failure.message}
    return json.dumps({"type": "error", "error": error, "request_id": request_id}).encode()


def _parts(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
