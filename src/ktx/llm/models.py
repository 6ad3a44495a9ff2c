"""What is known of models without asking: presets of each backend, aliases, and the shortest prefix that is cached."""

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from ktx.llm.prices import plain_model_id

BackendName: TypeAlias = Literal["anthropic", "vertex", "gateway", "claude-code", "codex"]
Role: TypeAlias = Literal["default", "triage", "candidateExtraction", "curator", "reconcile", "repair"]

BACKENDS: Final[tuple[BackendName, ...]] = ("anthropic", "vertex", "gateway", "claude-code", "codex")
ROLES: Final[tuple[Role, ...]] = (
    "default",
    "triage",
    "candidateExtraction",
    "curator",
    "reconcile",
    "repair",
)

_CLASS_BY_ROLE: Final[Mapping[Role, Literal["haiku", "sonnet", "opus"]]] = {
    "default": "sonnet",
    "triage": "haiku",
    "candidateExtraction": "sonnet",
    "curator": "opus",
    "reconcile": "opus",
    "repair": "haiku",
}
_FULL_IDS: Final = {"haiku": "claude-haiku-5-5", "sonnet": "claude-sonnet-5-5", "opus": "claude-opus-5-5"}
_CODEX_MODEL: Final = "gpt-5.5"
CLAUDE_ALIASES: Final = frozenset({"default", "sonnet", "haiku", "opus", "fable", "best", "opusplan"})
_CLAUDE_ID: Final = re.compile(r"claude-[a-z0-9][a-z0-9.@-]*(?:\[1m\])?")

# Anthropic, "Prompt caching", table of minimum lengths; the 5.5 generation counted like its predecessors of the same class.
# A model that is not listed has no known minimum.
_CACHE_MINIMUM: Final[Mapping[str, int]] = {
    "claude-opus-5-5": 512,
    "claude-fable-5-2": 512,
    "claude-sonnet-5-5": 1024,
    "claude-haiku-5-5": 4096,
    "claude-opus-5": 512,
    "claude-fable-5": 512,
    "claude-mythos-5": 512,
    "claude-opus-4-8": 1024,
    "claude-sonnet-5": 1024,
    "claude-sonnet-4-6": 1024,
    "claude-sonnet-4-5": 1024,
    "claude-opus-4-7": 2048,
    "claude-opus-4-6": 4096,
    "claude-opus-4-5": 4096,
    "claude-haiku-4-5": 4096,
}
SAFE_CACHE_MINIMUM: Final = 4096
CHARS_PER_TOKEN: Final = 3.5


def preset(backend: BackendName) -> Mapping[Role, str]:
    """Give the model of each role that setup writes for a backend.

    >>> preset("claude-code")["curator"], preset("gateway")["triage"], preset("codex")["repair"]
    ('opus', 'anthropic/claude-haiku-5-5', 'gpt-5.5')
    """
    match backend:
        case "claude-code":
            return dict(_CLASS_BY_ROLE)
        case "codex":
            return dict.fromkeys(ROLES, _CODEX_MODEL)
        case "gateway":
            return {role: f"anthropic/{_FULL_IDS[name]}" for role, name in _CLASS_BY_ROLE.items()}
        case "anthropic" | "vertex":
            return {role: _FULL_IDS[name] for role, name in _CLASS_BY_ROLE.items()}


def cache_minimum_tokens(model: str) -> int | None:
    """Give the shortest prefix that the provider caches for a model, or None when it is not known.

    >>> cache_minimum_tokens("claude-haiku-4-5-20251001"), cache_minimum_tokens("llama")
    (4096, None)
    """
    return _CACHE_MINIMUM.get(plain_model_id(model))


def estimated_tokens(chars: int) -> int:
    """Estimate tokens from characters, on the high side for English and for JSON."""
    return int(chars / CHARS_PER_TOKEN) + 1


def is_claude_code_model(model: str) -> bool:
    """Tell whether Claude Code can be given this name: an alias, or a Claude model id, either with `[1m]` for a long context.

    >>> is_claude_code_model("sonnet"), is_claude_code_model("claude-fable-5-2"), is_claude_code_model("gpt-5.5")
    (True, True, False)
    """
    return model.removesuffix("[1m]") in CLAUDE_ALIASES or _CLAUDE_ID.fullmatch(model) is not None
