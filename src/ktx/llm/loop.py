"""The agent loop for backends that have none: ask, run the tools, ask again, within a budget of steps.

A conversation is kept here and handed to whichever backend answers next, so that a switch to a fallback in the middle goes on
where the first one stopped.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from ktx.errors import ModelError
from ktx.llm.backend import LoopStop, Outcome, Reply, Timings
from ktx.llm.messages import Message, Text, Usage, text_of, tool_calls_of
from ktx.llm.tools import Toolbox

_MAX_PAUSES: Final = 5
Ask = Callable[[tuple[Message, ...]], Awaitable[Reply]]


@dataclass
class Conversation:
    """A loop under way."""

    messages: list[Message]
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    request_id: str | None = None
    cost_usd: float | None = None
    model_s: float = 0.0
    pauses: int = 0


async def run_loop(
    conversation: Conversation,
    toolbox: Toolbox,
    ask: Ask,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Go on until the model is done or the steps are spent; tools of the last step still run.

    Raises:
        ModelError: `ask` raised it; the conversation stays as it was before that step, so another `ask` can go on.
    """
    started = clock()
    while True:
        asked_at = clock()
        reply = await ask(tuple(conversation.messages))
        conversation.model_s += clock() - asked_at
        toolbox.begin_step()
        _take_in(conversation, reply)
        stop = await _answer(conversation, toolbox, reply)
        if stop is not None:
            return _outcome(conversation, toolbox, reply, stop, clock() - started)


def _take_in(conversation: Conversation, reply: Reply) -> None:
    conversation.usage += reply.usage
    conversation.model = reply.model
    conversation.request_id = reply.request_id
    if reply.cost_usd is not None:
        conversation.cost_usd = (conversation.cost_usd or 0.0) + reply.cost_usd


async def _answer(conversation: Conversation, toolbox: Toolbox, reply: Reply) -> LoopStop | None:
    """Act on a reply; give why the loop is over, or None when it goes on."""
    match reply.stop_reason:
        case "refusal":
            return "refusal"
        case "max_tokens":
            return "max_tokens"
        case "context_full":
            raise ModelError(
                f"The conversation no longer fits into the context of `{reply.model}`.",
                hint="Choose a model with a larger context, or a smaller step budget.",
                kind="context_too_long",
                request_id=reply.request_id,
            )
        case "end" | "tools" | "stop_sequence" | "pause":
            pass
    calls = tool_calls_of(reply.parts)
    is_paused = reply.stop_reason == "pause"
    if not calls and not is_paused:
        return "done"
    if is_paused:
        conversation.pauses += 1
        if conversation.pauses > _MAX_PAUSES:
            raise ModelError(
                f"`{reply.model}` pauses again and again.", kind="garbled", request_id=reply.request_id
            )
    parts = reply.parts or (Text(text="(continue)"),)
    results = await toolbox.call_all(calls)
    conversation.messages.append(Message(author="assistant", parts=parts))
    if results:
        conversation.messages.append(Message(author="user", parts=results))
    return "step_budget" if toolbox.steps >= toolbox.step_budget else None


def _outcome(
    conversation: Conversation, toolbox: Toolbox, reply: Reply, stop: LoopStop, total_s: float
) -> Outcome:
    return Outcome(
        stop_reason=stop,
        text=text_of(reply.parts),
        steps=toolbox.steps,
        usage=conversation.usage,
        model=conversation.model,
        timings=Timings(total_s=total_s, model_s=conversation.model_s, tools_s=toolbox.tools_s),
        tool_calls=toolbox.calls,
        tool_errors=toolbox.errors,
        request_id=conversation.request_id,
        cost_usd=conversation.cost_usd,
    )
