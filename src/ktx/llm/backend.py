"""The seam between the runtime and any way of reaching a model.

A backend answers one request (`send`); one that brings its own agent loop also runs loops (`run_loop`). Callers never ask which
backend they hold: they ask its `Capabilities`. A backend raises `ModelError` and nothing else for failures outside, with a
`kind` of `FailureKind`; cancelling the task around a call stops the call at once and leaves no process or socket behind.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, TypeGuard

from ktx.errors import ModelError
from ktx.llm.caching import CachePlan, CacheSettings
from ktx.llm.messages import Message, Part, StopReason, ToolSpec, Usage
from ktx.llm.tools import Toolbox

FailureKind: TypeAlias = Literal[
    "missing_extra",  # the vendor's package or program is not installed
    "not_logged_in",  # no credential at all
    "unauthorized",  # a credential that is refused (401)
    "forbidden",  # known, but not allowed to do this (403)
    "billing",  # no credit, no plan
    "unknown_model",
    "context_too_long",
    "bad_request",  # the provider calls our request wrong
    "unsupported",  # a feature this endpoint does not have; the message names it
    "rate_limited",
    "overloaded",
    "server_error",
    "connection",
    "garbled",  # an answer that does not follow the protocol
    "refused",  # the model declines
    "truncated",  # the answer hit `max_output_tokens`
    "invalid_answer",  # structured output that stays invalid after its repair
    "leaked",  # the isolation check of a backend failed
    "budget",
]
RETRYABLE: frozenset[str] = frozenset({"rate_limited", "overloaded", "server_error", "connection", "garbled"})

Effort: TypeAlias = Literal["low", "medium", "high"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """Everything one call needs. What never changes between calls stands in `system`, what always does comes last.

    `schema` asks for a JSON answer in the reply's text; a backend without native schemas is never given one by the runtime.
    `forced_tool` makes the model call that tool. `cache_plan` holds for backends with breakpoints, `caching` (the user's
    settings) for those that cache by themselves. A backend with breakpoints calls `on_begin` with the bill so far
    once its answer begins to arrive: from then on others may read what this request writes to the cache.
    """

    model: str
    messages: tuple[Message, ...]
    system: tuple[str, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    schema: Mapping[str, object] | None = None
    forced_tool: str | None = None
    max_output_tokens: int = 8192
    effort: Effort | None = None
    cache_plan: CachePlan = field(default_factory=CachePlan)
    caching: CacheSettings = field(default_factory=CacheSettings)
    on_begin: Callable[[Usage], None] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of its rate limit a provider says is left: the smallest remaining share, and when it is full again."""

    remaining_share: float
    resets_in_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer. `cost_usd` is set only by backends that are told their cost; `requests` counts hidden inner requests."""

    parts: tuple[Part, ...]
    stop_reason: StopReason
    usage: Usage
    model: str
    request_id: str | None = None
    cost_usd: float | None = None
    limits: Limits | None = None
    requests: int = 1


class BilledError(ModelError):
    """A failure after the provider began to bill; `usage` is what it said so far."""

    def __init__(self, error: ModelError, usage: Usage) -> None:
        super().__init__(
            error.message,
            hint=error.hint,
            kind=error.kind,
            request_id=error.request_id,
            retry_after_s=error.retry_after_s,
        )
        self.usage = usage


LoopStop: TypeAlias = Literal["done", "step_budget", "max_tokens", "refusal"]


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Where the time of a loop went: waiting for the model, running tools, and all of it."""

    total_s: float
    model_s: float
    tools_s: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a loop ended. A step is one model request, whatever the backend calls it."""

    stop_reason: LoopStop
    text: str
    steps: int
    usage: Usage
    model: str
    timings: Timings
    tool_calls: int = 0
    tool_errors: int = 0
    request_id: str | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One model request of a running loop, told to `watch` as soon as its bill is known."""

    number: int
    usage: Usage
    request_id: str | None = None


Watch: TypeAlias = Callable[[Step], None]
"""Told of every step. It may raise (a budget is spent): the backend cleans up and lets the exception through."""


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a backend can do, as data.

    `ignored_cache_fields` maps each `llm.promptCaching` field without effect here to one sentence that says why and what to do.
    `isolation` says in one or two sentences what the model can reach besides ktx's tools.
    """

    has_native_schema: bool
    has_forced_tool: bool
    has_own_loop: bool = False
    has_own_retries: bool = False
    has_cache_breakpoints: bool = False
    has_effort: bool = False
    reports_cost: bool = False
    ignored_cache_fields: Mapping[str, str] = field(default_factory=dict[str, str])
    isolation: str = "The model sees the prompt and ktx's tools of the run, nothing else."
    warnings: tuple[str, ...] = ()
    max_tool_output_chars: int = 40_000


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a live probe of one model found. `model` is the full id that answered; `detail` is one line for a person."""

    model: str
    detail: str
    usage: Usage = field(default_factory=Usage)
    request_id: str | None = None
    cost_usd: float | None = None


class Backend(Protocol):
    """A way of reaching models."""

    @property
    def name(self) -> str:
        """The backend's name in `ktx.yaml`."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    async def send(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            ModelError: with a `kind` of `FailureKind`.
        """
        ...

    async def probe(self, model: str) -> Probe:
        """Check credential and model with the smallest live request.

        Raises:
            ModelError: what is missing, in a sentence, with the way out as its hint.
        """
        ...

    async def aclose(self) -> None:
        """Let go of every socket and process."""
        ...


class LoopBackend(Backend, Protocol):
    """A backend with an agent loop of its own."""

    async def run_loop(self, request: Request, toolbox: Toolbox, *, watch: Watch) -> Outcome:
        """Run until the model is done or `toolbox.step_budget` model requests are spent.

        Tools reach the model only through `toolbox.specs()` and `toolbox.call()`; the backend calls `toolbox.begin_step()` for
        each model request it sees, so that the door can close in time. Tools of the last step still run.

        Raises:
            ModelError: the loop could not go on; whatever `watch` raises passes through.
        """
        ...


class LoginBackend(Backend, Protocol):
    """A backend that can say who is logged in without asking a model."""

    async def check_login(self) -> str:
        """Give one line for a person.

        Raises:
            ModelError: nobody is logged in.
        """
        ...


def has_login_check(backend: Backend) -> TypeGuard[LoginBackend]:
    """Tell whether the login can be checked without asking a model."""
    return hasattr(backend, "check_login")


def runs_own_loop(backend: Backend) -> TypeGuard[LoopBackend]:
    """Tell whether loops are run by the backend itself."""
    return backend.capabilities.has_own_loop
