"""Reading what the program writes: steps, bills, texts, limits and the end of a run.

The program's own count of turns is not the number of model requests, and its own sum of tokens leaves some failures out, so both
are kept here from the stream events of every request.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, cast

from ktx.errors import ModelError
from ktx.events import Emit, Waiting
from ktx.llm.backend import Limits, Step, Watch
from ktx.llm.backends.claude_code.failures import Failure
from ktx.llm.backends.claude_code.isolation import STRUCTURED_TOOL, find_leaks, leak_error
from ktx.llm.messages import Usage
from ktx.llm.models import estimated_tokens

_FOR_THE_SDK: Final = frozenset({"control_request", "control_response", "control_cancel_request", "result"})
_MAX_NUMBER: Final = 1e15

Frame = Mapping[str, object]


def as_mapping(value: object) -> Mapping[str, object]:
    """Give a decoded JSON object, or an empty one for anything else."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _as_list(value: object) -> list[Mapping[str, object]]:
    return [as_mapping(item) for item in cast("list[object]", value)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _int(value: object) -> int:
    return max(0, value) if isinstance(value, int) else 0


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or not -_MAX_NUMBER < value < _MAX_NUMBER:
        return None
    return float(value)


def read_usage(usage: Mapping[str, object]) -> Usage:
    """Read a `usage` object of the Messages API."""
    split = as_mapping(usage.get("cache_creation"))
    written = _int(usage.get("cache_creation_input_tokens"))
    for_an_hour = _int(split.get("ephemeral_1h_input_tokens"))
    return Usage(
        uncached_input_tokens=_int(usage.get("input_tokens")),
        cache_write_5m_tokens=max(0, written - for_an_hour),
        cache_write_1h_tokens=for_an_hour,
        cache_read_tokens=_int(usage.get("cache_read_input_tokens")),
        output_tokens=_int(usage.get("output_tokens")),
    )


@dataclass(kw_only=True)
class Record:
    """What one run has said so far. `on_frame` is given every frame before anything reacts to it."""

    tools: frozenset[str]
    servers: frozenset[str]
    emit: Emit
    watch: Watch | None = None
    begin_step: Callable[[], object] = lambda: None
    on_begin: Callable[[Usage], None] | None = None
    """Told the bill so far when an answer begins, so that a call which is cancelled then is billed."""
    step_budget: int | None = None
    stop: Callable[[], None] = lambda: None
    """Ends the program at once; set when there is one."""
    heard: Callable[[], None] = lambda: None
    """Told that the program said something."""
    on_ready: Callable[[], object] = lambda: None
    """Told once the program has described itself: it has read what it was started with."""
    is_stopped: bool = False
    """Whether ktx ended the program, so that its sudden end is no failure."""
    model: str = ""
    steps: int = 0
    usage: Usage = field(default_factory=Usage)
    texts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    structured: str | None = None
    tool_calls: int = 0
    tool_errors: int = 0
    request_id: str | None = None
    cost_usd: float | None = None
    model_s: float = 0.0
    stop_reason: str | None = None
    limits: Limits | None = None
    resets_at: float | None = None
    failure: Failure | None = None
    result: Mapping[str, object] | None = None
    is_over_budget: bool = False
    error: BaseException | None = None
    """What made ktx itself stop the run; it is raised once the program is gone."""
    _open: Usage | None = None
    _heard_chars: int = 0

    def on_frame(self, frame: Frame) -> bool:
        """Take a frame in; True when the SDK needs it too."""
        self.heard()
        kind = _text(frame.get("type"))
        if self.error is None:
            try:
                self._take(kind, frame)
            except ModelError as error:
                self._give_up(error)
        is_state = kind == "system" and frame.get("subtype") == "session_state_changed"
        return kind in _FOR_THE_SDK or is_state

    def _take(self, kind: str | None, frame: Frame) -> None:
        if kind == "stream_event":
            self._take_event(as_mapping(frame.get("event")))
        elif kind == "assistant":
            self._take_assistant(frame)
        elif kind == "user":
            content = _as_list(as_mapping(frame.get("message")).get("content"))
            self.tool_errors += sum(block.get("is_error") is True for block in content)
        elif kind == "system":
            self._take_system(frame)
        elif kind == "rate_limit_event":
            self._take_limits(as_mapping(frame.get("rate_limit_info")))
        elif kind == "result":
            self._take_result(frame)

    def _give_up(self, error: Exception) -> None:
        self.error = error
        self._end_program()

    def _end_program(self) -> None:
        self.is_stopped = True
        self.stop()

    # --- one model request -----------------------------------------------------------------------------

    def _take_event(self, event: Mapping[str, object]) -> None:
        kind = event.get("type")
        if kind == "message_start":
            message = as_mapping(event.get("message"))
            self.model = _text(message.get("model")) or self.model
            self._open = read_usage(as_mapping(message.get("usage")))
            self._heard_chars = 0
            self.steps += 1
            self.begin_step()
            if self.on_begin is not None:
                self.on_begin(self.spent())
            if self.step_budget is not None and self.steps > self.step_budget:
                self.is_over_budget = True
                self._end_program()
        elif kind == "content_block_delta":
            delta = as_mapping(event.get("delta"))
            pieces = (_text(delta.get(name)) for name in ("text", "thinking", "partial_json"))
            self._heard_chars += sum(len(piece) for piece in pieces if piece)
        elif kind == "message_delta":
            self.stop_reason = _text(as_mapping(event.get("delta")).get("stop_reason"))
            if self.stop_reason is not None:
                self._close_step(read_usage(as_mapping(event.get("usage"))).output_tokens)

    def _close_step(self, output_tokens: int) -> None:
        if self._open is None:
            return
        billed = replace(self._open, output_tokens=output_tokens)
        self._open = None
        self.usage += billed
        if self.watch is not None:
            try:
                self.watch(Step(number=self.steps, usage=billed, request_id=self.request_id))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where the run is awaited
                self._give_up(error)

    def _take_assistant(self, frame: Frame) -> None:
        message = as_mapping(frame.get("message"))
        content = _as_list(message.get("content"))
        self.request_id = _text(frame.get("request_id")) or self.request_id
        if message.get("model") == "<synthetic>":
            self.failure = Failure(
                text="".join(_text(block.get("text")) or "" for block in content),
                error=_text(frame.get("error")),
                api_error=_text(frame.get("api_error")),
                api_error_type=_text(frame.get("api_error_type")),
                status=_int(frame.get("api_error_status")) or None,
                request_id=_text(frame.get("request_id")),
            )
            if message.get("stop_reason") == "refusal":
                self.stop_reason = "refusal"
            return
        for block in content:
            if block.get("type") == "text":
                self.texts.append((str(message.get("id")), str(block.get("text", ""))))
            elif block.get("type") == "tool_use" and block.get("name") == STRUCTURED_TOOL:
                self.structured = json.dumps(block.get("input"), ensure_ascii=False)
            elif block.get("type") == "tool_use":
                self.tool_calls += 1

    # --- everything around it --------------------------------------------------------------------------

    def _take_system(self, frame: Frame) -> None:
        subtype = frame.get("subtype")
        if subtype == "init":
            self.on_ready()
            leaks = find_leaks(frame, tools=self.tools, servers=self.servers)
            if leaks:
                raise leak_error(leaks)
            self.model = _text(frame.get("model")) or self.model
        elif subtype == "model_fallback":
            raise ModelError(
                f"Claude Code wanted to answer with `{frame.get('fallback_model')}` because "
                f"`{frame.get('original_model')}` is not available.",
                hint="Name a model in `llm.models` that the account may use.",
                kind="unknown_model",
            )
        elif subtype == "api_retry":
            reason = f"Claude Code tries again ({_text(frame.get('error')) or 'no reason given'})"
            self.emit(Waiting(reason=reason, wait_s=_int(frame.get("retry_delay_ms")) / 1000))

    def _take_limits(self, info: Mapping[str, object]) -> None:
        self.resets_at = _number(info.get("resetsAt")) or self.resets_at
        windows = [as_mapping(window) for window in as_mapping(info.get("unifiedWindows")).values()]
        said = [
            _number(share)
            for share in (*(window.get("utilization") for window in windows), info.get("utilization"))
        ]
        used = [share for share in said if share is not None]
        if info.get("status") == "rejected":
            used.append(1.0)
        if used:
            wait_s = max(0.0, self.resets_at - time.time()) if self.resets_at else None
            self.limits = Limits(remaining_share=min(1.0, max(0.0, 1.0 - max(used))), resets_in_s=wait_s)

    def _take_result(self, frame: Frame) -> None:
        self.result = frame
        self.cost_usd = _number(frame.get("total_cost_usd"))
        self.model_s = _int(frame.get("duration_api_ms")) / 1000

    # --- what it amounts to ----------------------------------------------------------------------------

    def spent(self) -> Usage:
        """Give everything billed so far. What a broken answer cost as output is never told, so it is estimated from its length."""
        if self._open is None:
            return self.usage
        heard = estimated_tokens(self._heard_chars) if self._heard_chars else 0
        return self.usage + replace(self._open, output_tokens=max(self._open.output_tokens, heard))

    def all_text(self) -> str:
        """Give the whole text: the program lets an answer that was cut off go on in further messages."""
        return "".join(text for _, text in self.texts)

    def last_text(self) -> str:
        """Give the text of the last message."""
        last = self.texts[-1][0] if self.texts else ""
        return "".join(text for message_id, text in self.texts if message_id == last)

    def final_failure(self) -> Failure:
        """Give the cause of a failed run with all that was learnt around it."""
        failure = self.failure or Failure()
        result = self.result or {}
        return Failure(
            text=failure.text or _text(result.get("result")) or "; ".join(_errors(result)),
            error=failure.error,
            api_error=failure.api_error,
            api_error_type=failure.api_error_type,
            status=failure.status or _int(result.get("api_error_status")) or None,
            terminal_reason=_text(result.get("terminal_reason")),
            request_id=failure.request_id or self.request_id,
            resets_at=failure.resets_at or self.resets_at,
        )


def _errors(result: Mapping[str, object]) -> list[str]:
    errors = result.get("errors")
    return [str(error) for error in cast("list[object]", errors)] if isinstance(errors, list) else []
