"""Where prompt-cache breakpoints go: pure planning, no vendor.

A provider caches the prefix of a request up to each marked block and reads it back when a later request starts with the same
bytes. The rules planned for here (Anthropic, "Prompt caching"): at most four marks; the order is tools, system, messages; a
mark with a longer time to live never follows one with a shorter; a lookup goes back at most twenty blocks from a mark; a prefix
shorter than a minimum that depends on the model is not cached at all.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final, Literal, TypeAlias

from ktx.llm.messages import Message, Part, Text, ToolCall, ToolResult, ToolSpec

Ttl: TypeAlias = Literal["5m", "1h"]

MAX_MARKS: Final = 4
LOOKBACK_BLOCKS: Final = 20


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """`llm.promptCaching` as it stands in `ktx.yaml`. `is_set` names the fields that were written there."""

    enabled: bool = True
    system_ttl: Ttl = "5m"
    tools_ttl: Ttl = "5m"
    history_ttl: Ttl = "5m"
    vertex_fallback_to_5m: bool = True
    is_set: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A breakpoint after one part of one message, both counted from zero."""

    message: int
    part: int
    ttl: Ttl


@dataclass(frozen=True, kw_only=True)
class CachePlan:
    """The breakpoints of one request: after the last tool, after the last system block, inside the history."""

    tools: Ttl | None = None
    system: Ttl | None = None
    history: tuple[Mark, ...] = ()


def plan_marks(
    settings: CacheSettings,
    *,
    has_tools: bool,
    has_system: bool,
    messages: Sequence[Message] = (),
    is_loop: bool = False,
) -> CachePlan:
    """Place the breakpoints of one request.

    A single call is marked before its last text, which is its own and never asked again. A loop is marked at its end, and once
    more where the step before was marked: that place was written, so it is read whatever the new step added, also when that is
    more than a lookup goes back. A mark with a short time to live is raised where a longer one follows.

    >>> ask = Message(author="user", parts=(Text(text="a long report"), Text(text="one question about it")))
    >>> plan = plan_marks(CacheSettings(history_ttl="1h"), has_tools=True, has_system=True, messages=[ask])
    >>> plan.tools, plan.system, [(mark.message, mark.part, mark.ttl) for mark in plan.history]
    ('1h', '1h', [(0, 0, '1h')])
    >>> plan_marks(CacheSettings(enabled=False), has_tools=True, has_system=True) == CachePlan()
    True
    """
    if not settings.enabled:
        return CachePlan()
    history = (
        _loop_marks(messages, settings.history_ttl)
        if is_loop
        else _call_marks(messages, settings.history_ttl)
    )
    history_ttl: Ttl = settings.history_ttl if history else "5m"
    system = _longest(settings.system_ttl, history_ttl) if has_system else None
    tools = _longest(settings.tools_ttl, system or "5m", history_ttl)
    return CachePlan(tools=tools if has_tools else None, system=system, history=history)


def without_1h(settings: CacheSettings) -> CacheSettings:
    """Give the same settings for an endpoint that knows five minutes only.

    >>> without_1h(CacheSettings(tools_ttl="1h")).tools_ttl
    '5m'
    """
    return replace(settings, system_ttl="5m", tools_ttl="5m", history_ttl="5m")


def shorten(plan: CachePlan) -> CachePlan:
    """Give the same breakpoints with five minutes each."""
    return CachePlan(
        tools="5m" if plan.tools else None,
        system="5m" if plan.system else None,
        history=tuple(replace(mark, ttl="5m") for mark in plan.history),
    )


def shared_part(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Give what calls of one kind have in common: the first message without its last part, which is each call's own.

    >>> ask = Message(author="user", parts=(Text(text="a long report"), Text(text="one question about it")))
    >>> [part.text for part in shared_part([ask])[0].parts]
    ['a long report']
    """
    if not messages or len(messages[0].parts) < 2:
        return ()
    return (replace(messages[0], parts=messages[0].parts[:-1]),)


def prefix_name(
    model: str,
    *,
    system: Sequence[str],
    tools: Sequence[ToolSpec],
    messages: Sequence[Message],
    shape: object = None,
) -> str:
    """Name a prefix: equal names mean equal bytes. `shape` is whatever else a provider counts in, such as the answer's schema.

    >>> prefix_name("m", system=["s"], tools=[], messages=[]) == prefix_name("m", system=["t"], tools=[], messages=[])
    False
    """
    said = [(message.author, [asdict(part) for part in message.parts]) for message in messages]
    told = [model, list(system), [asdict(tool) for tool in tools], said, shape]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=dict).encode()).hexdigest()


def prompt_chars(system: Sequence[str], tools: Sequence[ToolSpec], messages: Sequence[Message]) -> int:
    """Count the characters of a prompt, tools and their schemas included."""
    defined = sum(
        len(tool.name) + len(tool.description) + len(json.dumps(dict(tool.input_schema))) for tool in tools
    )
    said = sum(part_chars(part) for message in messages for part in message.parts)
    return defined + sum(len(block) for block in system) + said


def part_chars(part: Part) -> int:
    """Count the characters that a part puts into a prompt."""
    match part:
        case Text():
            return len(part.text)
        case ToolCall():
            return len(part.name) + len(part.arguments)
        case ToolResult():
            return len(part.text)
        case _:
            return len(json.dumps(part.payload, default=str))


def _call_marks(messages: Sequence[Message], ttl: Ttl) -> tuple[Mark, ...]:
    if not messages:
        return ()
    place = len(messages) - 1
    markable = _markable(messages[place])
    if len(markable) < 2:
        return ()
    return (Mark(message=place, part=markable[-2], ttl=ttl),)


def _loop_marks(messages: Sequence[Message], ttl: Ttl) -> tuple[Mark, ...]:
    asked = [
        place for place, message in enumerate(messages) if message.author == "user" and _markable(message)
    ]
    return tuple(Mark(message=place, part=_markable(messages[place])[-1], ttl=ttl) for place in asked[-2:])


def _markable(message: Message) -> list[int]:
    """Empty text cannot carry a breakpoint, and a vendor's own block must go back unchanged."""
    return [
        place
        for place, part in enumerate(message.parts)
        if isinstance(part, ToolResult | ToolCall) or (isinstance(part, Text) and part.text)
    ]


def _longest(*ttls: Ttl) -> Ttl:
    return "1h" if "1h" in ttls else "5m"
