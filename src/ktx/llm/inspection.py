"""What a model can do for ktx, found out live: whether it answers, gives structured values, uses tools; and, from data, whether
its prompt cache will engage and what it costs.
"""

from dataclasses import dataclass
from typing import Final, Literal

from ktx.errors import ConfigError, ModelError
from ktx.llm.backend import Backend
from ktx.llm.caching import CacheSettings
from ktx.llm.models import Role, cache_minimum_tokens
from ktx.llm.prices import AS_OF, price_of
from ktx.llm.roles import Choice
from ktx.llm.runtime import Runtime
from ktx.llm.schema import Answer, ToolInput
from ktx.llm.tools import Tool

_WORD: Final = "lantern"


@dataclass(frozen=True, kw_only=True)
class Trait:
    """One thing that was looked at. `unknown` was not looked at, because something before it failed."""

    status: Literal["ok", "no", "unknown"]
    detail: str
    fix: str | None = None


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found about one model."""

    choice: Choice
    roles: tuple[Role, ...]
    reachable: Trait
    structured: Trait
    tools: Trait
    cache: Trait
    price: Trait

    @property
    def is_usable(self) -> bool:
        """Tell whether every live trait holds."""
        return all(trait.status == "ok" for trait in (self.reachable, self.structured, self.tools))


class _Echo(Answer):
    word: str


class _Word(ToolInput):
    word: str


async def inspect_model(
    runtime: Runtime, choice: Choice, *, roles: tuple[Role, ...], caching: CacheSettings
) -> Inspection:
    """Look at one model with three small live requests, each only if the one before went well."""
    pinned = runtime.pinned(choice)
    backend: Backend | None = None
    not_looked = Trait(status="unknown", detail="not tried, the model does not answer")
    try:
        backend = runtime.backend(choice.backend)
        probe = await runtime.probe(choice)
        reachable = Trait(status="ok", detail=probe.detail)
    except (ModelError, ConfigError) as error:
        reachable = Trait(status="no", detail=error.message, fix=error.hint)
    is_up = reachable.status == "ok"
    return Inspection(
        choice=choice,
        roles=roles,
        reachable=reachable,
        structured=await _structured(pinned) if is_up else not_looked,
        tools=await _tools(pinned) if is_up else not_looked,
        cache=cache_trait(backend, choice.model, caching),
        price=price_trait(choice.model, backend),
    )


async def _structured(runtime: Runtime) -> Trait:
    try:
        echo = await runtime.extract(
            "default", f"Give back the word {_WORD}.", schema=_Echo, task="check", max_output_tokens=1024
        )
    except ModelError as error:
        return Trait(status="no", detail=error.message, fix=error.hint)
    if echo.word.strip().casefold() != _WORD:
        return Trait(status="ok", detail="valid, though not the word that was asked for")
    return Trait(status="ok", detail="valid")


async def _tools(runtime: Runtime) -> Trait:
    heard: list[str] = []

    def hear(given: _Word) -> str:
        heard.append(given.word)
        return "heard"

    tool = Tool(name="say_word", description="Say one word aloud.", input=_Word, run=hear, is_read_only=True)
    try:
        await runtime.loop(
            "default",
            f"Call the tool say_word with the word {_WORD}, then stop.",
            tools=[tool],
            step_budget=2,
            task="check",
            max_output_tokens=1024,
        )
    except ModelError as error:
        return Trait(status="no", detail=error.message, fix=error.hint)
    if not heard:
        return Trait(
            status="no", detail="it was offered a tool and did not call it", fix="Choose another model."
        )
    return Trait(status="ok", detail="called")


def cache_trait(backend: Backend | None, model: str, caching: CacheSettings) -> Trait:
    """Say whether the prompt cache will engage, and why not."""
    if not caching.enabled:
        return Trait(status="no", detail="off", fix="Set `llm.promptCaching.enabled` to true.")
    if backend is None:
        return Trait(status="unknown", detail="the backend could not be opened")
    if not backend.capabilities.has_cache_breakpoints:
        return Trait(status="ok", detail="the backend caches on its own")
    lifetimes = f"tools {caching.tools_ttl}, system {caching.system_ttl}, history {caching.history_ttl}"
    minimum = cache_minimum_tokens(model)
    if minimum is None:
        return Trait(
            status="ok", detail=f"on ({lifetimes}); the shortest prefix this model caches is not known"
        )
    return Trait(status="ok", detail=f"on ({lifetimes}) for prefixes of {minimum:,} tokens and more")


def price_trait(model: str, backend: Backend | None) -> Trait:
    """Say what a million tokens cost, or that nobody knows."""
    price = price_of(model)
    if price is not None:
        return Trait(
            status="ok", detail=f"${price.input:g} in, ${price.output:g} out per million (list, {AS_OF})"
        )
    if backend is not None and backend.capabilities.reports_cost:
        return Trait(status="ok", detail="told by the backend after each call")
    return Trait(
        status="unknown", detail="not known, so no cost is shown; use `llm.budget.tokens` for a limit"
    )
