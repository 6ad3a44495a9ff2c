"""From `llm` of ktx.yaml to a runtime: the one dispatch over backends."""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, assert_never

import anyio

from ktx.config import env
from ktx.config.model import LlmConfig, ModelChain, PromptCaching, RateLimit
from ktx.config.secrets import SecretRef
from ktx.errors import ConfigError, ModelError
from ktx.events import Emit, ignore
from ktx.llm import wire
from ktx.llm.advice import Advice, advise
from ktx.llm.backend import Backend, Capabilities, has_login_check
from ktx.llm.budget import Budget, BudgetSettings
from ktx.llm.caching import CacheSettings
from ktx.llm.ledger import Ledger
from ktx.llm.models import BACKENDS, BackendName
from ktx.llm.pacing import Governor, PacingSettings
from ktx.llm.record import Recorder
from ktx.llm.roles import RolePlan, plan_roles
from ktx.llm.runtime import Runtime
from ktx.llm.sending import Sender

ANTHROPIC_URL: Final = "https://api.anthropic.com"
_DEFAULT_KEY: Final = "env:ANTHROPIC_API_KEY"
LEDGER_NAME: Final = "ledger.sqlite"


def open_runtime(
    llm: LlmConfig,
    *,
    project_dir: Path,
    state_dir: Path,
    emit: Emit = ignore,
    rate_limit: RateLimit | None = None,
    run: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Runtime:
    """Give the runtime of a project. Nothing is sent and no vendor's package imported before the first call.

    `rate_limit` is `ingest.rateLimit` of the same file; `run` names the run in the ledger; what that run has
    spent through other runtimes counts.

    Raises:
        ConfigError: the backend is `none`, or a setting cannot be used.
    """
    roles = read_roles(llm)
    pacing = read_pacing(rate_limit or RateLimit())
    ledger = Ledger(state_dir / LEDGER_NAME)
    governors: dict[str, Governor] = {}

    def governor(provider: str) -> Governor:
        return governors.setdefault(provider, Governor(provider, pacing, emit=emit, clock=clock))

    def today() -> tuple[int, float]:
        day: date = now().astimezone(UTC).date()
        return ledger.spent_on(day)

    settings = read_budget(llm)
    is_daily = settings is not None and settings.per == "day"
    folder = env.get("KTX_LLM_RECORD")
    sender = Sender(
        run=run or f"{now():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
        budget=Budget(
            settings,
            spent_before=today if is_daily else None,
            already=ledger.spent_in(run) if run and settings is not None else (0, 0.0),
        ),
        ledger=ledger,
        recorder=Recorder(Path(folder)) if folder else None,
        governor=governor,
        clock=clock,
        now=now,
    )
    caching = read_caching(llm.prompt_caching)
    return Runtime(
        roles=roles,
        open_backend=lambda name: open_backend(name, llm, project_dir=project_dir, emit=emit),
        sender=sender,
        caching=dict.fromkeys(BACKENDS, caching),
        emit=emit,
        on_close=ledger.close,
        clock=clock,
    )


def open_backend(name: BackendName, llm: LlmConfig, *, project_dir: Path, emit: Emit = ignore) -> Backend:
    """Give a backend; sockets and processes are opened at its first call.

    Raises:
        ModelError: its package is not installed, or there is no credential.
        ConfigError: a setting of its block cannot be used.
    """
    match name:
        case "anthropic" | "gateway" | "vertex":
            return _open_messages(name, llm, project_dir=project_dir, emit=emit)
        case "claude-code":
            return _open_claude_code(project_dir=project_dir, emit=emit)
        case "codex":
            return _open_codex(project_dir=project_dir)
        case _:
            assert_never(name)


def capabilities_of(name: BackendName) -> Capabilities:
    """Give what a backend can do, without opening it.

    Raises:
        ModelError: its package is not installed.
    """
    match name:
        case "anthropic" | "gateway" | "vertex":
            return wire.capabilities(is_vertex=name == "vertex")
        case "claude-code":
            try:
                from ktx.llm.backends.claude_code.backend import CAPABILITIES as CLAUDE_CODE
            except ImportError as error:
                raise _missing_extra(name, error) from error
            return CLAUDE_CODE
        case "codex":
            try:
                from ktx.llm.backends.codex.backend import CAPABILITIES as CODEX
            except ImportError as error:
                raise _missing_extra(name, error) from error
            return CODEX
        case _:
            assert_never(name)


def read_advice(llm: LlmConfig) -> tuple[Advice, ...]:
    """Give the warnings about a configuration. Backends that are not installed have none.

    Raises:
        ConfigError: the backend is `none`.
    """
    found: dict[BackendName, Capabilities] = {}
    for choice in read_roles(llm).distinct():
        try:
            found.setdefault(choice.backend, capabilities_of(choice.backend))
        except ModelError:
            continue
    return advise(found, read_caching(llm.prompt_caching))


def check_login(name: BackendName, llm: LlmConfig, *, project_dir: Path) -> str:
    """Say who is logged in to a backend that uses a login of this machine; no model is asked. For code that is not async.

    Raises:
        ModelError: nobody is, or the backend's package is not installed.
    """

    async def look() -> str:
        backend = open_backend(name, llm, project_dir=project_dir)
        try:
            return await backend.check_login() if has_login_check(backend) else "has no login to check"
        finally:
            await backend.aclose()

    return anyio.run(look)


def read_roles(llm: LlmConfig) -> RolePlan:
    """Give every role its models.

    Raises:
        ConfigError: the backend is `none`.
    """
    backend = llm.provider.backend
    if backend == "none":
        raise ConfigError(
            "No language model is configured: `llm.provider.backend` is `none`.",
            hint="Run `ktx setup` and choose a backend, or `ktx setup --llm-backend anthropic --no-input`.",
        )
    models = llm.models
    return plan_roles(
        backend,
        {
            "default": _chain(models.default),
            "triage": _chain(models.triage),
            "candidateExtraction": _chain(models.candidate_extraction),
            "curator": _chain(models.curator),
            "reconcile": _chain(models.reconcile),
            "repair": _chain(models.repair),
        },
    )


def _chain(chain: ModelChain) -> tuple[tuple[BackendName | None, str], ...]:
    return tuple((None if choice.backend == "none" else choice.backend, choice.model) for choice in chain)


def read_caching(block: PromptCaching) -> CacheSettings:
    """Give the cache settings with ktx's own choices where the file says nothing."""
    named = {
        "enabled": "enabled",
        "system_ttl": "systemTtl",
        "tools_ttl": "toolsTtl",
        "history_ttl": "historyTtl",
        "vertex_fallback_to_5m": "vertexFallbackTo5m",
    }
    return CacheSettings(
        enabled=block.enabled,
        system_ttl=block.system_ttl or "5m",
        tools_ttl=block.tools_ttl or "5m",
        history_ttl=block.history_ttl or "5m",
        vertex_fallback_to_5m=block.vertex_fallback_to_5m,
        is_set=frozenset(named[name] for name in block.model_fields_set if name in named),
    )


def read_pacing(block: RateLimit) -> PacingSettings:
    """Give `ingest.rateLimit` in seconds."""
    return PacingSettings(
        enabled=block.enabled,
        throttle_threshold=block.throttle_threshold,
        min_concurrency=block.min_concurrency_under_pressure,
        max_wait_s=None if block.max_wait_ms is None else block.max_wait_ms / 1000,
        max_attempts=block.retry.max_attempts,
        base_delay_s=block.retry.base_delay_ms / 1000,
        max_delay_s=block.retry.max_delay_ms / 1000,
        has_jitter=block.retry.jitter,
    )


def read_budget(llm: LlmConfig) -> BudgetSettings | None:
    """Give `llm.budget`, or None when nothing limits the spending."""
    budget = llm.budget
    return None if budget is None else BudgetSettings(usd=budget.usd, tokens=budget.tokens, per=budget.per)


def _open_messages(name: BackendName, llm: LlmConfig, *, project_dir: Path, emit: Emit) -> Backend:
    try:
        from ktx.llm.backends import anthropic as messages
    except ImportError as error:
        raise _missing_extra(name, error) from error
    provider = llm.provider
    ignored = _environment_headers()
    if name == "anthropic":
        key = _secret(provider.anthropic.api_key or _DEFAULT_KEY, name, project_dir)
        base_url = messages.gateway_address(provider.anthropic.base_url or ANTHROPIC_URL)
        reach = messages.reach_anthropic(api_key=key, base_url=base_url, ignored_headers=ignored)
    elif name == "gateway":
        if not provider.gateway.base_url:
            raise ConfigError(
                "`llm.provider.gateway.base_url` is not set.",
                hint="Set it to the gateway's Anthropic-compatible address.",
            )
        reach = messages.reach_gateway(
            api_key=_secret(provider.gateway.api_key, name, project_dir),
            base_url=messages.gateway_address(provider.gateway.base_url),
            version=provider.gateway.anthropic_version,
            auth=provider.gateway.auth,
            ignored_headers=ignored,
        )
    else:
        if not provider.vertex.location:
            raise ConfigError(
                "`llm.provider.vertex.location` is not set.",
                hint="Set it to a region such as `us-east5`, or to `global`.",
            )
        reach = messages.reach_vertex(
            project=provider.vertex.project,
            location=provider.vertex.location,
            base_url=provider.vertex.base_url,
            fallback_to_5m=llm.prompt_caching.vertex_fallback_to_5m,
            ignored_headers=ignored,
        )
    return messages.MessagesBackend(reach, emit=emit)


def _missing_extra(name: BackendName, error: ImportError) -> ModelError:
    extra = "anthropic" if name == "gateway" else name
    return ModelError(
        f"The `{name}` backend needs a package that is not installed (`{error.name}`).",
        hint=f"Install it: pip install 'ktx-context[{extra}]'",
        kind="missing_extra",
    )


def _secret(reference: str | None, name: BackendName, project_dir: Path) -> str:
    if not reference:
        raise ModelError(
            f"The `{name}` backend has no key: `llm.provider.{name}.api_key` is not set.",
            hint=f"Set it, for instance to `env:{name.upper()}_API_KEY`.",
            kind="not_logged_in",
        )
    try:
        return SecretRef.parse(reference).reveal(project_dir)
    except ConfigError as error:
        raise ModelError(
            f"The `{name}` backend has no key: {error.message}", hint=error.hint, kind="not_logged_in"
        ) from error


def _environment_headers() -> tuple[str, ...]:
    """Name the headers that the SDK would take from the environment, so that it does not."""
    lines = (env.get("ANTHROPIC_CUSTOM_HEADERS") or "").split("\n")
    return tuple(line.partition(":")[0].strip() for line in lines if ":" in line)


def _open_claude_code(*, project_dir: Path, emit: Emit) -> Backend:
    try:
        from ktx.llm.backends.claude_code.backend import ClaudeCodeBackend
    except ImportError as error:
        raise ModelError(
            f"The `claude-code` backend needs a package that is not installed ({error.name}).",
            hint="Install it: pip install 'ktx-context[claude-code]'",
            kind="missing_extra",
        ) from error
    work_dir = project_dir / ".ktx" / "claude-code"
    return ClaudeCodeBackend(environment=env.snapshot(), work_dir=work_dir, emit=emit)


def _open_codex(*, project_dir: Path) -> Backend:
    try:
        import codex_cli_bin  # pyright: ignore[reportMissingTypeStubs]

        from ktx.llm.backends.codex import backend as codex
    except ImportError as error:
        raise ModelError(
            f"The `codex` backend needs a package that is not installed ({error.name}).",
            hint="Install it: pip install 'ktx-context[codex]'",
            kind="missing_extra",
        ) from error
    return codex.CodexBackend(
        program=codex_cli_bin.bundled_codex_path(),
        environment=env.snapshot(),
        homes=project_dir / ".ktx" / "codex",
    )
