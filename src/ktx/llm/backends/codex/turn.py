"""One turn of Codex, followed from its first notification to its end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ktx.errors import ModelError
from ktx.llm.backend import Limits, Step, Watch
from ktx.llm.backends.codex.door import SERVER_NAME, Door
from ktx.llm.backends.codex.failures import failure_of
from ktx.llm.backends.codex.rpc import AppServer, Json, as_object
from ktx.llm.messages import Usage

RESOURCE_READERS: Final = ("list_mcp_resources", "list_mcp_resource_templates", "read_mcp_resource")
"""The tools of its own that Codex keeps in front of the model as soon as a run has an MCP server."""
_HARMLESS_ITEMS: Final = frozenset({"userMessage", "agentMessage", "reasoning", "contextCompaction"})


@dataclass(kw_only=True)
class Turn:
    """What a turn has shown so far. `door` is the run's tools, or None when it has none."""

    server: AppServer
    model: str
    thread_id: str
    watch: Watch
    door: Door | None = None
    now: Callable[[], float] = time.time
    turn_id: str = ""
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    requests: int = 0
    limits: Limits | None = None
    resets_in_s: float | None = None
    is_interrupted: bool = False
    request_id: str | None = None
    calls: int = 0
    """Tool calls that the model made, those included that Codex answered itself because they were unreadable."""
    _open_calls: set[str] = field(default_factory=set[str])
    _is_spent: bool = False

    async def follow(self) -> None:
        """Read notifications until the turn is over.

        Raises:
            ModelError: the turn failed, or something ran that is not a tool of the run. Whatever `watch` raises passes through.
        """
        async for method, params in self.server.notifications():
            if method == "turn/completed":
                self._finish(as_object(params.get("turn")))
                return
            await self._note(method, params)

    async def end_when_spent(self) -> None:
        """Interrupt the turn as soon as the tools of its last step have run; call after every change at the door."""
        door = self.door
        if door is None or not self._is_spent or self.is_interrupted:
            return
        if self._open_calls and door.held >= len(self._open_calls):
            await self._interrupt()

    async def _note(self, method: str, params: Json) -> None:
        if method == "turn/started":
            self.turn_id = str(as_object(params.get("turn")).get("id") or self.turn_id)
        elif method == "item/started":
            _ensure_harmless(as_object(params.get("item")))
        elif method == "item/completed":
            item = as_object(params.get("item"))
            if item.get("type") == "agentMessage":
                self.text = str(item.get("text") or "")
        elif method == "rawResponseItem/completed":
            await self._count(as_object(params.get("item")))
        elif method == "rawResponse/completed":
            await self._bill(params)
        elif method == "account/rateLimits/updated":
            self._limit(as_object(params.get("rateLimits")))
        elif method == "mcpServer/startupStatus/updated":
            _ensure_ours(str(params.get("name")))

    async def _count(self, item: Json) -> None:
        """Keep the calls that wait for an answer: they stand in a response before its bill, their answers come after it."""
        call_id = str(item.get("call_id"))
        if item.get("type") == "function_call":
            self.calls += 1
            self._open_calls.add(call_id)
        elif item.get("type") == "function_call_output":
            self._open_calls.discard(call_id)
            await self.end_when_spent()
            if self.door and not self._open_calls and self.requests < self.door.toolbox.step_budget:
                self.door.toolbox.begin_step()  # the next model request goes out now

    async def _bill(self, params: Json) -> None:
        """Take the bill of one model request; it comes before the answer to any of its calls."""
        usage = _usage(as_object(params.get("usage")))
        self.usage += usage
        self.requests += 1
        given = params.get("responseId")
        self.request_id = given if isinstance(given, str) else self.request_id
        toolbox = self.door.toolbox if self.door else None
        while toolbox and toolbox.steps < self.requests:
            toolbox.begin_step()
        self.watch(Step(number=self.requests, usage=usage, request_id=self.request_id))
        if toolbox is None:
            return
        if self.requests > toolbox.step_budget:
            await self._interrupt()
        elif self.requests == toolbox.step_budget:
            self._is_spent = True
            await self.end_when_spent()

    async def _interrupt(self) -> None:
        if self.is_interrupted:
            return
        self.is_interrupted = True
        await self.server.ask_without_waiting(
            "turn/interrupt", {"threadId": self.thread_id, "turnId": self.turn_id}
        )

    def _limit(self, snapshot: Json) -> None:
        windows = [as_object(snapshot.get(name)) for name in ("primary", "secondary")]
        used = [(window.get("usedPercent"), window.get("resetsAt")) for window in windows]
        shares = [(1 - percent / 100, resets) for percent, resets in used if isinstance(percent, int | float)]
        if not shares:
            return
        share, resets_at = min(shares, key=lambda pair: pair[0])
        self.resets_in_s = max(0.0, resets_at - self.now()) if isinstance(resets_at, int | float) else None
        self.limits = Limits(remaining_share=max(0.0, share), resets_in_s=self.resets_in_s)

    def _finish(self, turn: Json) -> None:
        status = turn.get("status")
        if status == "completed" or (status == "interrupted" and self.is_interrupted):
            return
        if status == "failed":
            raise failure_of(
                as_object(turn.get("error")), model=self.model, limits_reset_in_s=self.resets_in_s
            )
        raise ModelError("Codex interrupted the turn by itself.", kind="server_error")


def _ensure_harmless(item: Json) -> None:
    kind = str(item.get("type"))
    if kind == "mcpToolCall":
        # the resource readers, which reach our own server only, announce themselves as Codex's own
        if item.get("server") != "codex" or item.get("tool") not in RESOURCE_READERS:
            _ensure_ours(str(item.get("server")))
    elif kind not in _HARMLESS_ITEMS:
        raise ModelError(
            f"Codex began a `{kind[:100]}`, which is not a tool of this run; the run was stopped.",
            hint="Use `llm.provider.backend: claude-code` where stricter isolation is needed.",
            kind="leaked",
        )


def _ensure_ours(server: str) -> None:
    if server != SERVER_NAME:
        raise ModelError(
            f"Codex loaded the MCP server `{server[:100]}`, which is not of this run; the run was stopped.",
            hint="A system-wide Codex configuration adds it; remove it there, or use the `claude-code` backend.",
            kind="leaked",
        )


def _usage(last: Json) -> Usage:
    """Read one bill. Codex counts cached tokens inside its input tokens."""

    def count(name: str) -> int:
        value = last.get(name)
        return value if isinstance(value, int) else 0

    read, written = count("cachedInputTokens"), count("cacheWriteInputTokens")
    return Usage(
        uncached_input_tokens=max(0, count("inputTokens") - read - written),
        cache_write_5m_tokens=written,
        cache_read_tokens=read,
        output_tokens=count("outputTokens"),
    )
