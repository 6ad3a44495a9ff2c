"""What a scripted model answers: values that a test writes in one line and that `wire` turns into bytes."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

StopReason = Literal[
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
]


@dataclass(frozen=True, kw_only=True)
class TextBlock:
    """Prose."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ThinkingBlock:
    """Thinking, with the signature that the server would check when it comes back."""

    thinking: str
    signature: str = "c2lnbmF0dXJl"


@dataclass(frozen=True, kw_only=True)
class ToolBlock:
    """A tool call. `raw_input` replaces the JSON of `arguments` on the wire, for replies that are not JSON."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    call_id: str | None = None
    raw_input: str | None = None

    def input_text(self) -> str:
        """Give the JSON text as it is streamed in `input_json_delta` events."""
        return json.dumps(dict(self.arguments)) if self.raw_input is None else self.raw_input


@dataclass(frozen=True, kw_only=True)
class StructuredBlock:
    """A value in whichever form the request demands: `output_config`, a forced tool, or plain JSON text."""

    value: Any


Block = TextBlock | ThinkingBlock | ToolBlock | StructuredBlock


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error reply: a status with the API's error body, sent in place of a message."""

    status: int
    type: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Message:
    """An assistant message and how it travels.

    `start_delay_s` passes before the first byte, `chunk_delay_s` between two deltas. `after` says what happens once
    the content has been sent: `complete` ends it properly, `overloaded` sends an error event, `cut` drops the
    connection, `garbage` sends bytes that are no event, `hang` sends nothing more and keeps the line open.
    """

    blocks: tuple[Block, ...] = ()
    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    start_delay_s: float = 0.0
    chunk_delay_s: float = 0.0
    chunk_chars: int = 24
    after: Literal["complete", "overloaded", "cut", "garbage", "hang"] = "complete"
    headers: Mapping[str, str] = field(default_factory=dict)
    is_silent: bool = False

    def delayed(self, start_delay_s: float, *, chunk_delay_s: float = 0.0) -> "Message":
        """Give the same message, slower."""
        return replace(self, start_delay_s=start_delay_s, chunk_delay_s=chunk_delay_s)

    def with_headers(self, **headers: str) -> "Message":
        """Give the same message with more response headers; `_` in a name stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **named})


Reply = Message | Failure


# --- messages ---------------------------------------------------------------------------------------------


def text(words: str, *, stop_reason: StopReason = "end_turn") -> Message:
    """Answer in prose."""
    return Message(blocks=(TextBlock(text=words),), stop_reason=stop_reason)


def call(name: str, /, **arguments: Any) -> Message:
    """Call one tool."""
    return Message(blocks=(ToolBlock(name=name, arguments=arguments),), stop_reason="tool_use")


def calls(*named: tuple[str, Mapping[str, Any]], words: str = "") -> Message:
    """Call several tools in one message, after optional prose."""
    prose = (TextBlock(text=words),) if words else ()
    tools = tuple(ToolBlock(name=name, arguments=arguments) for name, arguments in named)
    return Message(blocks=prose + tools, stop_reason="tool_use")


def raw_call(name: str, input_text: str) -> Message:
    """Call a tool with arguments that are sent letter for letter, valid JSON or not."""
    return Message(blocks=(ToolBlock(name=name, raw_input=input_text),), stop_reason="tool_use")


def structured(value: Any) -> Message:
    """Answer with a value in the form that the request asks for (native JSON, forced tool, or JSON text)."""
    return Message(blocks=(StructuredBlock(value=value),))


def thinking(thought: str, then: Message) -> Message:
    """Think first, then answer as `then` does."""
    return replace(then, blocks=(ThinkingBlock(thinking=thought), *then.blocks))


def refusal(words: str = "") -> Message:
    """Decline, as the safety classifiers do."""
    blocks = (TextBlock(text=words),) if words else ()
    return Message(blocks=blocks, stop_reason="refusal")


def max_tokens(words: str) -> Message:
    """Stop in the middle because the output limit is reached."""
    return text(words, stop_reason="max_tokens")


# --- failures of the line ---------------------------------------------------------------------------------


def overloaded_mid_stream(words: str = "The answer begins") -> Message:
    """Begin with status 200, then send an `overloaded_error` event."""
    return Message(blocks=(TextBlock(text=words),), after="overloaded")


def cut(words: str = "The answer begins") -> Message:
    """Begin, then drop the connection without a goodbye."""
    return Message(blocks=(TextBlock(text=words),), after="cut")


def garbage(words: str = "The answer begins") -> Message:
    """Begin, then send an event whose data is not JSON."""
    return Message(blocks=(TextBlock(text=words),), after="garbage")


def hang(words: str = "") -> Message:
    """Begin (with `words`, or with no byte at all), then stay silent until the client goes away."""
    blocks = (TextBlock(text=words),) if words else ()
    return Message(blocks=blocks, after="hang", is_silent=not words)


# --- error statuses, with the API's types and texts -------------------------------------------------------


def failure(status: int, kind: str, message: str, **headers: str) -> Failure:
    """Answer with any error; `_` in a header's name stands for `-`."""
    return Failure(
        status=status,
        type=kind,
        message=message,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def invalid_key() -> Failure:
    """401, as for a wrong key."""
    return failure(401, "authentication_error", "invalid x-api-key")


def forbidden(
    message: str = "Your API key does not have permission to use the specified resource.",
) -> Failure:
    """403."""
    return failure(403, "permission_error", message)


def unknown_model(model: str) -> Failure:
    """404, as for a model that does not exist."""
    return failure(404, "not_found_error", f"model: {model}")


def context_too_long(tokens: int = 215_000, limit: int = 200_000) -> Failure:
    """400, as for a prompt beyond the context window."""
    return failure(400, "invalid_request_error", f"prompt is too long: {tokens} tokens > {limit} maximum")


def no_credit() -> Failure:
    """400, as for an empty account."""
    message = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."
    return failure(400, "invalid_request_error", message)


def rate_limited(retry_after_s: float | None = None, **headers: str) -> Failure:
    """429, with `retry-after` when the seconds are given."""
    named = dict(headers)
    if retry_after_s is not None:
        named["retry_after"] = f"{retry_after_s:g}"
    message = "This request would exceed your organization's rate limit of 50 requests per minute."
    return failure(429, "rate_limit_error", message, **named)


def subscription_limit(resets_at: int, *, window: str = "five_hour") -> Failure:
    """429, as for a used-up subscription window; `resets_at` in epoch seconds."""
    short = {"five_hour": "5h", "seven_day": "7d"}[window]
    return failure(
        429,
        "rate_limit_error",
        "This request would exceed your account's rate limit. Please try again later.",
        anthropic_ratelimit_unified_status="rejected",
        anthropic_ratelimit_unified_reset=str(resets_at),
        anthropic_ratelimit_unified_representative_claim=window,
        **{
            f"anthropic_ratelimit_unified_{short}_status": "rejected",
            f"anthropic_ratelimit_unified_{short}_reset": str(resets_at),
            f"anthropic_ratelimit_unified_{short}_utilization": "1.0",
        },
    )


def overloaded() -> Failure:
    """529."""
    return failure(529, "overloaded_error", "Overloaded")


def server_error(status: int = 500) -> Failure:
    """5xx."""
    return failure(status, "api_error", "Internal server error")


def garbage_body(status: int = 200) -> Failure:
    """A status whose body is not JSON, as a broken proxy sends it."""
    return Failure(status=status, type="", message="", body=b"<html>bad gateway</html>")


# --- scripts ----------------------------------------------------------------------------------------------


def by_turn(*replies: Reply, then: Reply | None = None) -> "Callable[[Any], Reply]":
    """Choose by the number of assistant messages in the request: right for many conversations at once.

    Beyond the last reply, `then` (or the last one) answers.
    """

    def script(request: Any) -> Reply:
        turn = request.assistant_turns
        if turn < len(replies):
            return replies[turn]
        return then if then is not None else replies[-1]

    return script
