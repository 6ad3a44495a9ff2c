"""What people ask about their language models: which does which job, does it work, what did it cost, what would it say."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from ktx.errors import UsageError
from ktx.events import Emit
from ktx.llm.connect import LEDGER_NAME, open_runtime, read_caching, read_roles
from ktx.llm.inspection import Inspection, inspect_model
from ktx.llm.ledger import Entry, GroupBy, Ledger, Total, sum_up
from ktx.llm.models import ROLES, Role
from ktx.llm.prices import AS_OF
from ktx.llm.roles import PURPOSE
from ktx.project import Project, ensure_state_dir
from ktx.suggest import did_you_mean


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class RoleRow(_Said):
    """One role: what it is for, which models do it in order, and where that is written."""

    role: str
    purpose: str
    backend: str
    model: str
    fallbacks: tuple[str, ...]
    why: str


class UsageRow(_Said):
    """What a group of requests took. `cost_usd` and `saved_usd` count requests with a known price only."""

    key: str
    requests: int
    failures: int
    uncached_input_tokens: int
    cache_write_tokens: int
    cache_read_tokens: int
    output_tokens: int
    hit_rate: float | None
    cost_usd: float | None
    saved_usd: float | None
    unpriced_requests: int
    duration_s: float
    retries: int
    waited_s: float


class UsageAnswer(_Said):
    """The ledger, summed. `prices_as_of` is the date of the price table."""

    by: str | None
    since: str | None
    rows: tuple[UsageRow, ...]
    total: UsageRow
    prices_as_of: str


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What a model said, and what it took; `usage` is None when nothing was sent."""

    text: str
    backend: str
    model: str
    usage: UsageRow


def list_models(project: Project) -> tuple[RoleRow, ...]:
    """Give every role with its models.

    Raises:
        ConfigError: no backend is configured, or a role has no model.
    """
    plan = read_roles(project.config.llm)
    rows: list[RoleRow] = []
    for role in ROLES:
        first, *rest = plan.chain(role)
        rows.append(
            RoleRow(
                role=role,
                purpose=PURPOSE[role],
                backend=first.backend,
                model=first.model,
                fallbacks=tuple(str(choice) for choice in rest),
                why=plan.why(role),
            )
        )
    return tuple(rows)


def parse_role(text: str) -> Role:
    """Read a role's name.

    Raises:
        UsageError: there is no such role.
    """
    for role in ROLES:
        if role.casefold() == text.replace("_", "").replace("-", "").casefold():
            return role
    raise UsageError(
        f"There is no role `{text}`.{did_you_mean(text, ROLES)}", hint=f"Roles: {', '.join(ROLES)}."
    )


async def check_models(project: Project, *, role: Role | None, emit: Emit) -> tuple[Inspection, ...]:
    """Try every model in use, or those of one role, live and one after another.

    Raises:
        ConfigError: no backend is configured.
    """
    plan = read_roles(project.config.llm)
    wanted = plan.distinct() if role is None else plan.chain(role)
    caching = read_caching(project.config.llm.prompt_caching)
    async with open_runtime(
        project.config.llm,
        project_dir=project.root,
        state_dir=ensure_state_dir(project),
        emit=emit,
        rate_limit=project.config.ingest.rate_limit,
    ) as runtime:
        return tuple(
            [
                await inspect_model(
                    runtime,
                    choice,
                    roles=tuple(name for name in ROLES if choice in plan.chains.get(name, ())),
                    caching=caching,
                )
                for choice in wanted
            ]
        )


async def try_role(project: Project, role: Role, text: str, *, emit: Emit) -> Tried:
    """Ask a role's model something.

    Raises:
        ModelError: it gave no answer.
    """
    run = f"try-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    state_dir = ensure_state_dir(project)
    async with open_runtime(
        project.config.llm,
        project_dir=project.root,
        state_dir=state_dir,
        emit=emit,
        rate_limit=project.config.ingest.rate_limit,
        run=run,
    ) as runtime:
        answer = await runtime.text(role, text, task="try")
    entries = [entry for entry in _entries(state_dir / LEDGER_NAME) if entry.run == run]
    last = entries[-1]
    return Tried(text=answer, backend=last.backend, model=last.model, usage=_row(sum_up(entries, None)[0]))


def read_usage(project: Project, *, by: GroupBy | None = None, days: int | None = None) -> UsageAnswer:
    """Sum the ledger, over the last so many days or over everything."""
    since = None if days is None else datetime.now(UTC) - timedelta(days=days)
    entries = _entries(project.state_dir / LEDGER_NAME, since=since)
    return UsageAnswer(
        by=by,
        since=None if since is None else since.isoformat(timespec="seconds"),
        rows=tuple(_row(total) for total in sum_up(entries, by)) if by is not None and entries else (),
        total=_row(sum_up(entries, None)[0]),
        prices_as_of=AS_OF,
    )


def _entries(path: Path, *, since: datetime | None = None) -> tuple[Entry, ...]:
    if not path.exists():
        return ()
    ledger = Ledger(path)
    try:
        return ledger.entries(since=since)
    finally:
        ledger.close()


def _row(total: Total) -> UsageRow:
    usage = total.usage
    return UsageRow(
        key=total.key,
        requests=total.requests,
        failures=total.failures,
        uncached_input_tokens=usage.uncached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        output_tokens=usage.output_tokens,
        hit_rate=total.hit_rate,
        cost_usd=total.cost_usd,
        saved_usd=total.saved_usd,
        unpriced_requests=total.unpriced,
        duration_s=total.duration_s,
        retries=total.retries,
        waited_s=total.waited_s,
    )
