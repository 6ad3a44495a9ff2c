"""Which package each backend needs, without importing any."""

import importlib.util
from typing import Final

from ktx.llm.models import BackendName

_NEEDED: Final[dict[BackendName, tuple[str, str]]] = {
    "anthropic": ("anthropic", "anthropic"),
    "gateway": ("anthropic", "anthropic"),
    "vertex": ("anthropic", "vertex"),
    "claude-code": ("claude_agent_sdk", "claude-code"),
    "codex": ("openai_codex", "codex"),
}
"""The module that a backend needs, and the extra that installs it."""


def missing_extra(backend: BackendName) -> str | None:
    """Give the extra that a backend still needs; None when its package is installed."""
    module, extra = _NEEDED[backend]
    return extra if importlib.util.find_spec(module) is None else None
