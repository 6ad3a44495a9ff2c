"""What a person should know of a configuration before anything is asked: cache fields without effect, and limits of isolation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ktx.llm.backend import Capabilities
from ktx.llm.caching import CacheSettings
from ktx.llm.models import BackendName


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One warning: about which backend, what, and the way out."""

    backend: BackendName
    code: Literal["ignored-cache-field", "isolation"]
    message: str
    fix: str | None = None


def advise(capabilities: Mapping[BackendName, Capabilities], caching: CacheSettings) -> tuple[Advice, ...]:
    """Name each configured cache field that a backend in use ignores, and say what its model can reach besides ktx's tools.

    >>> blind = Capabilities(has_native_schema=True, has_forced_tool=False, ignored_cache_fields={"toolsTtl": "Remove it."})
    >>> advise({"codex": blind}, CacheSettings(is_set=frozenset({"toolsTtl", "enabled"})))[0].message
    '`codex` does not honour `llm.promptCaching.toolsTtl` as set.'
    """
    found: list[Advice] = []
    for name, able in capabilities.items():
        found += [
            Advice(
                backend=name,
                code="ignored-cache-field",
                message=f"`{name}` does not honour `llm.promptCaching.{field}` as set.",
                fix=why,
            )
            for field, why in able.ignored_cache_fields.items()
            if field in caching.is_set
        ]
        found += [Advice(backend=name, code="isolation", message=warning) for warning in able.warnings]
    return tuple(found)
