"""Where prompt-cache breakpoints go: pure planning, no vendor.

A provider caches the prefix of a request up to each marked block and reads it back when a later request starts with the same
bytes. The rules planned for here (Anthropic, "Prompt caching"): at most four marks; the order is tools, system, messages; a
mark with a longer time to live never follows one with a shorter; a lookup goes back at most twenty blocks from a mark; a prefix
shorter than a minimum that depends on the model is not cached at all.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

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
    vertex_fallback_to_5m: bool = False
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
