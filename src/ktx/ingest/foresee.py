"""What the units of a source would cost, before any is worked on.

A unit's number of requests is not known beforehand: it is taken from what this source's units took before, else from a stated guess.
Each request sends the instructions, the overview and the unit's documents again, the greater part of it read from the prompt cache
where the backend has one.
"""

from dataclasses import dataclass
from typing import Final

from ktx.ingest.artifact import Json
from ktx.ingest.propose import ROLE
from ktx.ingest.runs import RunStore
from ktx.ingest.source_report import SourceReport
from ktx.ingest.tools import prompt
from ktx.llm.connect import read_roles
from ktx.llm.messages import Usage
from ktx.llm.models import estimated_tokens
from ktx.llm.prices import AS_OF, cost_usd
from ktx.project import Project

GUESSED_STEPS: Final = 6
_STEP_TOKENS: Final = 500
"""What one step adds to a conversation: a call and its answer."""
_OUTPUT_TOKENS: Final = 350
_OVERVIEW_TOKENS: Final = 2_000
_TOOLS_TOKENS: Final = 2_500


@dataclass(frozen=True, kw_only=True)
class SourceEstimate:
    """What one source would take. `cost_usd` is None for a model without a listed price."""

    source_id: str
    units: int
    known_units: int
    model: str | None = None
    steps_per_unit: float = 0.0
    is_measured: bool = False
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    prices_as_of: str = AS_OF
    error: str | None = None


def foresee(project: Project, plan: SourceReport, store: RunStore) -> SourceEstimate:
    """Foresee a source's units from its plan."""
    waiting = [unit for unit in plan.units if unit.status == "not-run"]
    known = len(plan.units) - len(waiting)
    if plan.error is not None:
        return SourceEstimate(source_id=plan.source_id, units=0, known_units=0, error=plan.error)
    if not waiting:
        return SourceEstimate(source_id=plan.source_id, units=len(plan.units), known_units=known)
    choice = read_roles(project.config.llm).chain(ROLE)[0]
    measured = _mean_steps(store, plan.source_id)
    steps = measured or float(GUESSED_STEPS)
    prefix = estimated_tokens(len(prompt("unit"))) + _OVERVIEW_TOKENS + _TOOLS_TOKENS
    documents = sum(unit.input_tokens for unit in waiting)
    growth = _STEP_TOKENS * steps * (steps - 1) / 2 * len(waiting)
    written = prefix * 1 + documents + _STEP_TOKENS * steps * len(waiting)
    total = steps * (prefix * len(waiting) + documents) + growth
    output = _OUTPUT_TOKENS * steps * len(waiting)
    usage = Usage(
        cache_write_5m_tokens=round(written),
        cache_read_tokens=round(max(total - written, 0)),
        output_tokens=round(output),
    )
    return SourceEstimate(
        source_id=plan.source_id,
        units=len(plan.units),
        known_units=known,
        model=str(choice),
        steps_per_unit=steps,
        is_measured=measured is not None,
        calls=round(steps * len(waiting)),
        input_tokens=round(total),
        output_tokens=round(output),
        cost_usd=cost_usd(choice.model, usage),
    )


def _mean_steps(store: RunStore, source_id: str) -> float | None:
    """Give how many requests a unit of this source has taken on average, None before the first."""
    steps = [
        count for run in store.runs(source=source_id, limit=20) for count in _steps(run.body.get("units"))
    ]
    return sum(steps) / len(steps) if steps else None


def _steps(units: Json) -> list[int]:
    if not isinstance(units, list):
        return []
    found = [unit for unit in units if isinstance(unit, dict) and unit.get("status") in ("done", "partial")]
    return [count for unit in found if isinstance(count := unit.get("steps"), int) and count > 0]
