"""The prompt cache as it is billed: prefixes, breakpoints, minimum sizes, lifetimes, and who may read what when.

Tokens are counted by a rule of thumb that is the same on every machine, so that tests can compare to the token.
Prefixes run over tools, then system, then messages. A breakpoint reads the longest known prefix among itself and the
blocks just before it, and writes one entry for itself. With mixed lifetimes the part after the read prefix is billed
at one hour up to the last one-hour breakpoint and at five minutes from there (Anthropic, "Prompt caching").
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

LOOKBACK_BLOCKS = 20
MAX_BREAKPOINTS = 4
TTL_S: Mapping[str, float] = {"5m": 300.0, "1h": 3600.0}

TOO_MANY = "A maximum of 4 blocks with cache_control may be provided. Found {found}."
WRONG_ORDER = (
    "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. "
    "Note that blocks are processed in the following order: `tools`, `system`, `messages`."
)


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What the server knows about a model; sizes in tokens."""

    id: str
    min_cache_tokens: int
    context_tokens: int = 200_000
    max_output_tokens: int = 64_000


DEFAULT_MODELS: tuple[ModelInfo, ...] = (
    ModelInfo(id="claude-opus-5-5", min_cache_tokens=512, max_output_tokens=128_000),
    ModelInfo(id="claude-sonnet-5-5", min_cache_tokens=1024),
    ModelInfo(id="claude-haiku-5-5", min_cache_tokens=4096),
    ModelInfo(id="claude-fable-5-2", min_cache_tokens=512),
    ModelInfo(id="claude-sonnet-5", min_cache_tokens=1024),
    ModelInfo(id="claude-sonnet-4-5", min_cache_tokens=1024),
    ModelInfo(id="claude-haiku-4-5", min_cache_tokens=4096),
    ModelInfo(id="claude-opus-4-1", min_cache_tokens=1024, max_output_tokens=32_000),
)


class Clock:
    """A clock that only tests move; seconds since an arbitrary start."""

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        """Read the time."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._now += seconds


def canonical(value: Any) -> str:
    """Write JSON in one form only, without cache marks, so that equal content gives equal text."""
    return json.dumps(_without_marks(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def count_tokens(value: Any) -> int:
    """Count the tokens of a text or of a JSON value: one per four bytes of UTF-8, at least one.

    >>> count_tokens("twelve bytes")
    3
    >>> count_tokens({"type": "text", "text": "abcdefgh"})
    2
    """
    if isinstance(value, dict):
        kind = value.get("type")
        if kind == "text":
            value = str(value.get("text", ""))
        elif kind == "thinking":
            value = str(value.get("thinking", ""))
    data = value if isinstance(value, str) else canonical(value)
    return max(1, -(-len(data.encode()) // 4))


def _without_marks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_marks(item) for key, item in value.items() if key != "cache_control"}
    if isinstance(value, list):
        return [_without_marks(item) for item in value]
    return value


# --- a request as a row of blocks -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PromptBlock:
    """One block of the prefix order. `ttl` is set when the block carries a breakpoint."""

    section: str
    tokens: int
    digest: str
    ttl: str | None = None


class CacheRuleError(ValueError):
    """The request breaks a rule of the prompt cache; the text is the API's."""


def prompt_blocks(body: Mapping[str, Any]) -> tuple[PromptBlock, ...]:
    """Lay a Messages request out as blocks in prefix order.

    A change of `output_config.format` changes everything from the system prompt on, a change of `tool_choice` or
    `thinking` changes the messages, as on the real API.

    Raises:
        CacheRuleError: more than four breakpoints, or a longer lifetime after a shorter one.
    """
    rows: list[tuple[str, Any, Any]] = [
        ("tools", tool, tool.get("cache_control")) for tool in body.get("tools") or []
    ]
    output_format = (body.get("output_config") or {}).get("format")
    if output_format:
        rows.append(("system", output_format, None))
    system = body.get("system") or []
    if isinstance(system, str):
        system = [{"type": "text", "text": system}]
    rows += [
        ("system", block, block.get("cache_control")) for block in system if not _is_billing_header(block)
    ]
    for message in body.get("messages") or []:
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        rows += [(f"messages/{message.get('role')}", block, block.get("cache_control")) for block in blocks]
    marks = [mark for _, _, mark in rows if mark]
    if len(marks) > MAX_BREAKPOINTS:
        raise CacheRuleError(TOO_MANY.format(found=len(marks)))
    ttls = [str(mark.get("ttl") or "5m") for mark in marks]
    if any(later == "1h" and "5m" in ttls[:place] for place, later in enumerate(ttls)):
        raise CacheRuleError(WRONG_ORDER)
    if body.get("cache_control") and len(marks) < MAX_BREAKPOINTS:
        rows = _mark_last(rows, body["cache_control"])
    return tuple(_chained(body, rows))


def _is_billing_header(block: Any) -> bool:
    """Tell whether a system block is Claude Code's note to the billing system, which no model reads."""
    return str(block.get("text", "")).startswith("x-anthropic-billing-header:")


def _mark_last(rows: list[tuple[str, Any, Any]], mark: Any) -> list[tuple[str, Any, Any]]:
    if not rows or rows[-1][2]:
        return rows
    section, content, _ = rows[-1]
    return [*rows[:-1], (section, content, mark)]


def _chained(body: Mapping[str, Any], rows: Iterable[tuple[str, Any, Any]]) -> Iterable[PromptBlock]:
    digest = hashlib.sha256(str(body.get("model")).encode())
    seeded = False
    for section, content, mark in rows:
        if section.startswith("messages") and not seeded:
            digest.update(canonical([body.get("tool_choice"), body.get("thinking")]).encode())
            seeded = True
        digest.update(f"\x00{section}\x00{canonical(content)}".encode())
        yield PromptBlock(
            section=section,
            tokens=count_tokens(content),
            digest=digest.hexdigest(),
            ttl=str(mark.get("ttl") or "5m") if mark else None,
        )


# --- the cache --------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Entry:
    ttl_s: float
    expires: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a request reads and writes, decided when it arrives."""

    input_tokens: int
    read_tokens: int
    write_5m_tokens: int
    write_1h_tokens: int
    writes: tuple[tuple[str, float], ...]

    @property
    def total_tokens(self) -> int:
        """The whole prompt."""
        return self.input_tokens + self.read_tokens + self.write_5m_tokens + self.write_1h_tokens


class PromptCache:
    """The cache of one organisation. An entry can be read once the response that writes it has begun."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def plan(self, blocks: tuple[PromptBlock, ...], *, min_tokens: int) -> Plan:
        """Decide what is read (and refresh it), written, and neither."""
        totals: list[int] = []
        for block in blocks:
            totals.append((totals[-1] if totals else 0) + block.tokens)
        marked = [place for place, block in enumerate(blocks) if block.ttl and totals[place] >= min_tokens]
        with self._lock:
            hit = self._longest_hit(blocks, marked)
            self._refresh(blocks[: hit + 1])
        last = marked[-1] if marked else -1
        last_1h = max((place for place in marked if blocks[place].ttl == "1h"), default=-1)
        read = totals[hit] if hit >= 0 else 0
        upto_1h = max(read, totals[last_1h] if last_1h >= 0 else 0)
        upto_last = max(upto_1h, totals[last] if last >= 0 else 0)
        return Plan(
            read_tokens=read,
            write_1h_tokens=upto_1h - read,
            write_5m_tokens=upto_last - upto_1h,
            input_tokens=(totals[-1] if totals else 0) - upto_last,
            writes=tuple(
                (blocks[place].digest, TTL_S[blocks[place].ttl or "5m"]) for place in marked if place > hit
            ),
        )

    def publish(self, plan: Plan) -> None:
        """Make the entries of a plan readable: its response has begun."""
        now = self._clock.now()
        with self._lock:
            for digest, ttl_s in plan.writes:
                known = self._entries.get(digest)
                longest = max(ttl_s, known.ttl_s) if known and known.expires > now else ttl_s
                self._entries[digest] = _Entry(ttl_s=longest, expires=now + longest)

    def _longest_hit(self, blocks: tuple[PromptBlock, ...], marked: list[int]) -> int:
        now = self._clock.now()
        for place in reversed(marked):
            for candidate in range(place, max(-1, place - LOOKBACK_BLOCKS), -1):
                entry = self._entries.get(blocks[candidate].digest)
                if entry and entry.expires > now:
                    return candidate
        return -1

    def _refresh(self, blocks: Iterable[PromptBlock]) -> None:
        now = self._clock.now()
        for block in blocks:
            entry = self._entries.get(block.digest)
            if entry and entry.expires > now:
                entry.expires = now + entry.ttl_s


# --- the bill ---------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Charge:
    """What one answered request costs. Output grows while it streams."""

    request_id: str
    model: str
    input_tokens: int = 0
    read_tokens: int = 0
    write_5m_tokens: int = 0
    write_1h_tokens: int = 0
    output_tokens: int = 0

    @property
    def write_tokens(self) -> int:
        """Tokens written to the cache, whatever their lifetime."""
        return self.write_5m_tokens + self.write_1h_tokens

    @property
    def prompt_tokens(self) -> int:
        """The whole prompt: uncached, written and read."""
        return self.input_tokens + self.write_tokens + self.read_tokens

    @property
    def input_units(self) -> float:
        """The prompt's price in units of one uncached input token (writes 1.25 and 2, reads 0.1)."""
        return (
            self.input_tokens
            + 1.25 * self.write_5m_tokens
            + 2 * self.write_1h_tokens
            + 0.1 * self.read_tokens
        )


@dataclass(kw_only=True)
class Bill:
    """All charges since the server started or was reset."""

    charges: list[Charge] = field(default_factory=list)

    @property
    def total(self) -> Charge:
        """The sum of all charges."""
        total = Charge(request_id="", model="")
        for charge in tuple(self.charges):
            total.input_tokens += charge.input_tokens
            total.read_tokens += charge.read_tokens
            total.write_5m_tokens += charge.write_5m_tokens
            total.write_1h_tokens += charge.write_1h_tokens
            total.output_tokens += charge.output_tokens
        return total

    def of(self, model: str) -> "Bill":
        """The part of the bill that one model made."""
        return Bill(charges=[charge for charge in self.charges if charge.model == model])


_DATED = re.compile(r"(?:[-@]\d{8}|-latest)$")


def find_model(name: str, models: Mapping[str, ModelInfo]) -> ModelInfo | None:
    """Find a model by id, with or without a date, a vendor prefix or a `[1m]` suffix."""
    plain = name.rsplit("/", 1)[-1].removesuffix("[1m]")
    return models.get(plain) or models.get(_DATED.sub("", plain))
