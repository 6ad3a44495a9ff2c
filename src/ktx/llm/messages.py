"""What is said to a model and what comes back, in no vendor's words.

Every part is a frozen value, so that a conversation can be kept, compared and replayed; the wire forms live with the backends.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, kw_only=True)
class Text:
    """Words, from either side."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """The model asks for a tool. `arguments` is the raw JSON text, not yet believed."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """The answer to one `ToolCall`."""

    call_id: str
    text: str
    is_error: bool = False


@dataclass(frozen=True, kw_only=True)
class Opaque:
    """A vendor's block that ktx does not read but must hand back unchanged, such as signed thinking."""

    payload: Mapping[str, object]


Part: TypeAlias = Text | ToolCall | ToolResult | Opaque
Author: TypeAlias = Literal["user", "assistant"]


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation. Results of tools are parts of a user's message."""

    author: Author
    parts: tuple[Part, ...]


def user(*texts: str) -> Message:
    """Give a user's message of one or more text parts.

    >>> user("hello").parts[0].text
    'hello'
    """
    return Message(author="user", parts=tuple(Text(text=text) for text in texts))


@dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """A tool as a model sees it. `input_schema` is JSON Schema; read-only tools may run at the same time."""

    name: str
    description: str
    input_schema: Mapping[str, object]
    is_read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens as they are billed. `uncached_input_tokens` leaves out what the prompt cache wrote or read."""

    uncached_input_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0

    @property
    def input_tokens(self) -> int:
        """Count every input token, however it was billed."""
        return self.uncached_input_tokens + self.cache_write_tokens + self.cache_read_tokens

    @property
    def cache_write_tokens(self) -> int:
        """Count tokens written to the prompt cache at either time to live."""
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens

    @property
    def total_tokens(self) -> int:
        """Count input and output tokens."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        """Add two bills.

        >>> (Usage(output_tokens=2) + Usage(output_tokens=3, cache_read_tokens=1)).total_tokens
        6
        """
        return Usage(
            uncached_input_tokens=self.uncached_input_tokens + other.uncached_input_tokens,
            cache_write_5m_tokens=self.cache_write_5m_tokens + other.cache_write_5m_tokens,
            cache_write_1h_tokens=self.cache_write_1h_tokens + other.cache_write_1h_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


StopReason: TypeAlias = Literal[
    "end", "tools", "max_tokens", "stop_sequence", "refusal", "context_full", "pause"
]
"""Why one reply ended: `tools` waits for tool results, `pause` asks for the same request again."""


def text_of(parts: tuple[Part, ...]) -> str:
    """Join the text parts.

    >>> text_of((Text(text="a"), ToolCall(call_id="1", name="t", arguments="{}"), Text(text="b")))
    'ab'
    """
    return "".join(part.text for part in parts if isinstance(part, Text))


def tool_calls_of(parts: tuple[Part, ...]) -> tuple[ToolCall, ...]:
    """Give the tool calls in their order."""
    return tuple(part for part in parts if isinstance(part, ToolCall))
