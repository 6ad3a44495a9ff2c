"""Work units given to a model: which need it, which are known from before, and each one's loop on a desk of its own."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Literal, TypeAlias, cast

import anyio

from ktx import sqlite
from ktx.errors import BudgetError, ConfigError, KtxError
from ktx.events import Emit, StageAdvanced, StageFinished, StageStarted
from ktx.files import digest
from ktx.ingest.artifact import Json
from ktx.ingest.change import Change, change_json, read_change
from ktx.ingest.draft import Draft
from ktx.ingest.leaks import Secrets
from ktx.ingest.runs import RunStore
from ktx.ingest.tools import Surroundings, prompt, unit_tools
from ktx.ingest.unit import Call, Desk
from ktx.llm.backend import LoopStop
from ktx.llm.memory import ReplyMemory
from ktx.llm.models import Role
from ktx.llm.prices import cost_usd
from ktx.llm.runtime import Prompt, Runtime
from ktx.llm.schema import Answer
from ktx.sources.evidence import Snapshot, Unmapped, UnmappedReason
from ktx.sources.source import UnitPlan

ROLE: Final[Role] = "candidateExtraction"
UnitStatus: TypeAlias = Literal["done", "known", "partial", "skipped", "refused", "failed", "not-run"]
Lane: TypeAlias = Literal["skip", "light", "full"]
_INLINE_CHARS: Final = 60_000
_TRIAGE_CHARS: Final = 2_048
_LIGHT_STEPS: Final = 8
_OVERVIEW_CHARS: Final = 24_000
_BEGUN: Final = "begun"
_STOPS: Final[dict[LoopStop, UnitStatus]] = {
    "done": "done",
    "step_budget": "partial",
    "max_tokens": "partial",
    "refusal": "refused",
}


@dataclass(frozen=True, kw_only=True)
class UnitResult:
    """What came of one unit. `partial` ran out of steps: what it had written by then counts. Money is None without a price."""

    key: str
    label: str
    status: UnitStatus
    changes: tuple[Change, ...] = ()
    unmapped: tuple[Unmapped, ...] = ()
    calls: tuple[Call, ...] = ()
    call_of: tuple[tuple[str, int], ...] = ()
    """Which call made which change, by its text."""
    lane: Lane = "full"
    steps: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    seconds: float = 0.0
    model: str = ""
    detail: str = ""
    hint: str | None = None


class Triage(Answer):
    """How much work a document is worth."""

    lane: Literal["skip", "light", "full"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class UnitRun:
    """Everything that the units of one run share. `start` is the draft with the importer's changes in it."""

    source_id: str
    instructions: str
    snapshot: Snapshot
    start: Draft
    store: RunStore
    secrets: Secrets
    around: Surroundings
    step_budget: int
    concurrency: int
    model: str
    triage_model: str
    emit: Emit
    clock: Callable[[], float] = time.monotonic
    on_call: Callable[[str, Call], None] | None = None
    """Who is told of each tool call, with the key of its unit."""


@dataclass(kw_only=True)
class _Progress:
    """What the units of a run have come to so far."""

    total: int
    done: int = 0
    money: float = 0.0
    at_work: int = 0
    is_spent: bool = False
    stopped: set[str] = field(default_factory=set[str])
    """Units that the budget stopped."""
    results: dict[str, UnitResult] = field(default_factory=dict[str, UnitResult])


def unit_key(run: UnitRun, plan: UnitPlan) -> str:
    """Give what a unit's result depends on: its documents, its notes, the instructions and the model; nothing that changes by itself."""
    documents = [
        (id_, document.digest)
        for id_ in plan.documents
        if (document := run.snapshot.document(id_)) is not None
    ]
    said = [prompt("unit"), *(prompt(f"tools/{name}") for name in _TOOL_NAMES), run.instructions]
    parts = [run.source_id, plan.key, documents, plan.notes, sorted(plan.connection_ids), said, run.model]
    return digest(json.dumps(parts, ensure_ascii=False))


_TOOL_NAMES: Final = (
    "delete_page",
    "edit_page",
    "edit_source",
    "query",
    "read_evidence",
    "read_page",
    "read_source",
    "report_unmapped",
    "search",
    "write_page",
    "write_source",
)


def known_result(run: UnitRun, plan: UnitPlan) -> UnitResult | None:
    """Give what a unit came to in an earlier run, for nothing; None when it has to be worked on.

    A unit that ran out of steps is worked on again only with more of them.
    """
    found = run.store.unit(unit_key(run, plan))
    if found is None:
        return None
    result = read_result(found)
    if result.status == "partial" and cast("int", found.get("budget") or 0) < run.step_budget:
        return None
    return replace(
        result,
        status="skipped" if result.status == "skipped" else "known",
        input_tokens=0,
        output_tokens=0,
        cost_usd=0.0,
        seconds=0.0,
    )


async def run_units(
    run: UnitRun, plans: Sequence[UnitPlan], open_runtime: Callable[[], Runtime]
) -> tuple[UnitResult, ...]:
    """Work through the units; one that fails is named and keeps no other from being done.

    Raises:
        UnwritableError: answers can no longer be kept.
    """
    progress = _Progress(total=len(plans))
    open_plans: list[UnitPlan] = []
    for plan in plans:
        known = known_result(run, plan)
        if known is None:
            open_plans.append(plan)
        else:
            progress.results[plan.key] = known
            progress.done += 1
    if open_plans:
        run.emit(StageStarted(stage="units", total=len(plans)))
        async with open_runtime() as runtime:
            await _work_through(run, open_plans, runtime, progress)
        run.emit(StageFinished(stage="units", summary=_summary(progress)))
    return tuple(progress.results[plan.key] for plan in plans)


async def _work_through(
    run: UnitRun, plans: Sequence[UnitPlan], runtime: Runtime, progress: _Progress
) -> None:
    overview = _overview(run.start)
    queue = list(reversed(plans))

    async def worker() -> None:
        while queue:
            plan = queue.pop()
            if progress.is_spent:
                result = UnitResult(
                    key=plan.key, label=plan.label, status="not-run", detail="the budget is spent"
                )
            else:
                progress.at_work += 1
                result = await _one(run, plan, runtime, overview, progress)
                progress.at_work -= 1
                if plan.key in progress.stopped:
                    if (
                        progress.at_work
                    ):  # what others have set aside is not spent yet: go on with fewer at once
                        progress.stopped.remove(plan.key)
                        queue.append(plan)
                        return
                    progress.is_spent = True
            progress.results[plan.key] = result
            progress.done += 1
            progress.money += result.cost_usd or 0.0
            money = f", ${progress.money:,.2f} so far" if progress.money else ""
            run.emit(
                StageAdvanced(
                    stage="units",
                    done=progress.done,
                    total=progress.total,
                    label=f"{plan.label}: {result.status}{money}",
                )
            )

    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(min(run.concurrency, len(plans))):
                tasks.start_soon(worker)
    except ExceptionGroup as group:  # what ends one worker ends the run, as itself
        raise group.exceptions[0] from None


async def _one(
    run: UnitRun, plan: UnitPlan, runtime: Runtime, overview: str, progress: _Progress
) -> UnitResult:
    started = run.clock()
    key = unit_key(run, plan)
    desk = Desk(
        source_id=run.source_id, plan=plan, snapshot=run.snapshot, start=run.start, secrets=run.secrets,
        on_call=partial(run.on_call, plan.key) if run.on_call else None,
    )  # fmt: skip
    try:
        lane = await _lane(run, plan, runtime)
        if lane.lane == "skip":
            result = UnitResult(
                key=plan.key, label=plan.label, status="skipped", lane="skip", detail=lane.reason[:300]
            )
        else:
            result = await _loop(run, plan, runtime, desk, overview, key=key, lane=lane.lane)
    except sqlite.UnwritableError:  # what is paid for now could not be kept
        raise
    except (KtxError, TimeoutError) as error:
        if isinstance(error, BudgetError):
            progress.stopped.add(plan.key)
        message = error.message if isinstance(error, KtxError) else "it took too long"
        return UnitResult(
            key=plan.key,
            label=plan.label,
            status="not-run" if isinstance(error, BudgetError) and not desk.calls else "failed",
            calls=tuple(desk.calls),
            seconds=run.clock() - started,
            detail=message,
            hint=error.hint if isinstance(error, KtxError) else None,
        )
    result = replace(result, seconds=run.clock() - started)
    if result.status != "refused":
        run.store.finish_unit(key, run.source_id, {**result_json(result), "budget": run.step_budget})
    return result


async def _lane(run: UnitRun, plan: UnitPlan, runtime: Runtime) -> Triage:
    """Ask how much a noisy unit is worth; a question that fails means: work on it."""
    if not plan.is_noisy:
        return Triage(lane="full", reason="")
    documents = [run.snapshot.document(id_) for id_ in plan.documents]
    texts = [
        f"{document.title}\n{json.dumps(dict(document.signals), sort_keys=True) if document.signals else ''}\n{document.text[:_TRIAGE_CHARS]}"
        for document in documents
        if document is not None
    ]
    name = digest(json.dumps(["triage", prompt("triage"), run.triage_model, texts], ensure_ascii=False))
    kept = run.store.unit(name)
    if kept is not None:
        return Triage.model_validate(kept)
    asked = Prompt(system=(prompt("triage"),), text="\n\n---\n\n".join(texts)[: 8 * _TRIAGE_CHARS])
    try:
        answer = await runtime.extract(
            "triage",
            asked,
            schema=Triage,
            task=f"triage {run.source_id}/{plan.key}",
            memory=ReplyMemory(kept=run.store.scope(name)),
        )
    except (BudgetError, ConfigError, sqlite.UnwritableError):
        raise
    except KtxError:
        return Triage(lane="full", reason="triage failed")
    run.store.finish_unit(name, run.source_id, cast("dict[str, Json]", answer.model_dump()))
    return answer


async def _loop(
    run: UnitRun, plan: UnitPlan, runtime: Runtime, desk: Desk, overview: str, *, key: str, lane: Lane
) -> UnitResult:
    budget = min(run.step_budget, _LIGHT_STEPS) if lane == "light" else run.step_budget
    scope = run.store.scope(key)
    begun = scope.get(_BEGUN) if scope.size() > 1 else None
    if begun is None:
        scope.put(_BEGUN, overview)
    outcome = await runtime.loop(
        ROLE,
        Prompt(
            system=(prompt("unit"), run.instructions),
            context=begun or overview,  # answers that are kept were given to the words of that time
            text=_task(run, plan),
        ),
        tools=unit_tools(desk, run.around),
        step_budget=budget,
        task=f"{run.source_id}/{plan.key}",
        memory=ReplyMemory(kept=scope),
    )
    status = _STOPS[outcome.stop_reason]
    usage = outcome.usage
    cost = outcome.cost_usd if outcome.cost_usd is not None else cost_usd(outcome.model, usage)
    return UnitResult(
        key=plan.key,
        label=plan.label,
        status=status,
        changes=tuple(desk.changes.values()) if status != "refused" else (),
        unmapped=tuple(desk.unmapped),
        calls=tuple(desk.calls),
        call_of=tuple(
            (str(desk.changes[at]), number) for at, number in desk.call_of.items() if at in desk.changes
        ),
        lane=lane,
        steps=outcome.steps,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_usd=cost,
        model=outcome.model,
        detail=_detail(status, outcome.text, budget),
    )


def _detail(status: UnitStatus, text: str, budget: int) -> str:
    told = " ".join(text.split())[:400]
    if status == "partial":
        return f"stopped after {budget} steps" + (f"; {told}" if told else "")
    return told if status != "refused" else f"the model declined{f': {told}' if told else ''}"


def _task(run: UnitRun, plan: UnitPlan) -> str:
    """Write what is this unit's own: its documents come last, and those that do not fit are read by tool."""
    lines = [f"Unit: {plan.label}", f"Source: {run.source_id}"]
    if plan.connection_ids:
        lines.append(f"You may write sources of: {', '.join(plan.connection_ids)}")
    else:
        lines.append("This unit writes pages only.")
    if plan.notes:
        lines += ["", plan.notes]
    room = _INLINE_CHARS
    shown: list[str] = []
    by_tool: list[str] = []
    for id_ in plan.documents:
        document = run.snapshot.document(id_)
        if document is None:
            continue
        if len(document.text) <= room:
            room -= len(document.text)
            inside = document.text.replace("</document", "<\\/document")
            shown.append(f'<document id="{id_}" title="{document.title}">\n{inside}\n</document>')
        else:
            by_tool.append(f"- `{id_}` ({document.title}, {len(document.text):,} characters)")
    if by_tool:
        lines += ["", "Read these with `read_evidence`:", *by_tool]
    if plan.context:
        lines += [
            "",
            "For context only, with `read_evidence`: " + ", ".join(f"`{id_}`" for id_ in plan.context[:60]),
        ]
    return "\n".join([*lines, "", *shown])


def _overview(draft: Draft) -> str:
    """Say what there is already, the same for every unit of a run."""
    lines = ["What the layer has now:"]
    for connection_id, layer in sorted((name, draft.layer(name)) for name in draft.base.warehouses):
        lines.append(f"\nSources of `{connection_id}`:")
        for name, source in sorted(layer.sources.items()):
            measures = [measure.name for measure in source.measures if not measure.is_implicit]
            told = f" - measures: {', '.join(measures[:20])}" if measures else ""
            lines.append(f"- {name}{told}")
    lines.append("\nWiki pages:")
    lines += [f"- {key}: {page.summary[:120]}" for key, page in sorted(draft.pages.items())]
    text = "\n".join(lines)
    return text if len(text) <= _OVERVIEW_CHARS else text[:_OVERVIEW_CHARS] + "\n… more; use `search` …"


def _summary(progress: _Progress) -> str:
    counts: dict[str, int] = {}
    for result in progress.results.values():
        counts[result.status] = counts.get(result.status, 0) + 1
    return ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items()))


def result_json(result: UnitResult) -> dict[str, Json]:
    """Give a result as plain JSON."""
    return {
        "key": result.key,
        "label": result.label,
        "status": result.status,
        "changes": [cast("Json", change_json(one)) for one in result.changes],
        "unmapped": [
            {"evidence": one.evidence, "what": one.what, "reason": one.reason, "detail": one.detail}
            for one in result.unmapped
        ],
        "calls": [
            {
                "number": one.number,
                "tool": one.tool,
                "about": one.about,
                "outcome": one.outcome,
                "detail": one.detail,
            }
            for one in result.calls
        ],
        "call_of": [[text, number] for text, number in result.call_of],
        "lane": result.lane,
        "steps": result.steps,
        "input_tokens": result.input_tokens,
        "output_tokens": result.output_tokens,
        "cost_usd": result.cost_usd,
        "seconds": result.seconds,
        "model": result.model,
        "detail": result.detail,
        "hint": result.hint,
    }


def read_result(data: dict[str, Json]) -> UnitResult:
    """Read what `result_json` wrote."""

    def rows(key: str) -> list[dict[str, Json]]:
        return cast("list[dict[str, Json]]", data[key])

    return UnitResult(
        key=str(data["key"]),
        label=str(data["label"]),
        status=cast("UnitStatus", data["status"]),
        changes=tuple(read_change(one) for one in rows("changes")),
        unmapped=tuple(
            Unmapped(
                evidence=str(one["evidence"]),
                what=str(one["what"]),
                reason=cast("UnmappedReason", one["reason"]),
                detail=str(one["detail"]),
            )
            for one in rows("unmapped")
        ),
        calls=tuple(
            Call(
                number=cast("int", one["number"]),
                tool=str(one["tool"]),
                about=str(one["about"]),
                outcome=cast('Literal["ok", "error"]', one["outcome"]),
                detail=str(one["detail"]),
            )
            for one in rows("calls")
        ),
        call_of=tuple(
            (str(text), cast("int", number)) for text, number in cast("list[list[Json]]", data["call_of"])
        ),
        lane=cast("Lane", data["lane"]),
        steps=cast("int", data["steps"]),
        input_tokens=cast("int", data["input_tokens"]),
        output_tokens=cast("int", data["output_tokens"]),
        cost_usd=cast("float | None", data["cost_usd"]),
        seconds=cast("float", data["seconds"]),
        model=str(data["model"]),
        detail=str(data["detail"]),
        hint=cast("str | None", data["hint"]),
    )
