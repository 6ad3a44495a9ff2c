"""What the API refuses before a model sees it: shapes, tool names, tool results, schemas. Texts as the API words them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from modelserver.replies import Failure, failure

_TOOL_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
_UNSUPPORTED_KEYWORDS = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems"),
}
SAMPLING = ("temperature", "top_p", "top_k")


def check_request(body: Mapping[str, Any], *, version: str | None, max_output_tokens: int) -> Failure | None:
    """Give the first rule that a Messages request breaks, as the reply the API would send."""
    for problem in _problems(body, version=version, max_output_tokens=max_output_tokens):
        return failure(400, "invalid_request_error", problem)
    return None


def _problems(body: Mapping[str, Any], *, version: str | None, max_output_tokens: int) -> Iterator[str]:
    if not isinstance(body.get("max_tokens"), int):
        yield "max_tokens: Field required"
    elif body["max_tokens"] > max_output_tokens:
        yield (
            f"max_tokens: {body['max_tokens']} > {max_output_tokens}, which is the maximum allowed number of "
            f"output tokens for {body.get('model')}"
        )
    if version and version >= "2026-10-21":
        yield from (f"{name}: Extra inputs are not permitted" for name in SAMPLING if name in body)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "messages: at least one message is required"
        return
    if messages[0].get("role") != "user":
        yield 'messages: first message must use the "user" role'
    yield from _tool_problems(body.get("tools") or [])
    yield from _message_problems(messages)
    output_format = (body.get("output_config") or {}).get("format")
    if output_format:
        yield from schema_problems(output_format.get("schema"), "output_config.format.schema")


def _tool_problems(tools: list[Any]) -> Iterator[str]:
    names = [str(tool.get("name")) for tool in tools]
    for place, name in enumerate(names):
        if not _TOOL_NAME.match(name):
            yield f"tools.{place}.custom.name: String should match pattern '{_TOOL_NAME.pattern}'"
    if len(set(names)) != len(names):
        yield "tools: Tool names must be unique."
    for place, tool in enumerate(tools):
        if not str(tool.get("type", "custom")).startswith("custom"):
            continue
        if (tool.get("input_schema") or {}).get("type") != "object":
            yield f"tools.{place}.custom.input_schema.type: Field required"


def _message_problems(messages: list[Any]) -> Iterator[str]:
    open_calls: list[str] = []
    for place, message in enumerate(messages):
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        if not blocks and place < len(messages) - 1:
            yield f"messages.{place}: all messages must have non-empty content except for the optional final assistant message"
        for block in blocks:
            if block.get("type") == "text" and not str(block.get("text", "")):
                yield "messages: text content blocks must be non-empty"
        answered = [str(block.get("tool_use_id")) for block in blocks if block.get("type") == "tool_result"]
        missing = [call for call in open_calls if call not in answered]
        if missing:
            yield (
                f"messages.{place - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
            )
        for spot, call in enumerate(answered):
            if call not in open_calls:
                yield (
                    f"messages.{place}.content.{spot}: unexpected `tool_use_id` found in `tool_result` blocks: {call}. "
                    "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
        open_calls = [str(block.get("id")) for block in blocks if block.get("type") == "tool_use"]


def schema_problems(schema: Any, where: str) -> Iterator[str]:
    """Walk a structured-output schema for what the API does not take."""
    if isinstance(schema, list):
        for item in schema:
            yield from schema_problems(item, where)
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not False:
        yield f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false"
    for keyword in _UNSUPPORTED_KEYWORDS.get(str(kind), ()):
        if keyword in schema:
            yield f"{where}: For '{kind}' type, property '{keyword}' is not supported"
    for key, value in schema.items():
        if key in ("properties", "$defs", "definitions") and isinstance(value, dict):
            for item in value.values():
                yield from schema_problems(item, where)
        elif key in ("items", "anyOf", "allOf", "oneOf"):
            yield from schema_problems(value, where)
