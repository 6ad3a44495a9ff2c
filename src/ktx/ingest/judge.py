"""Judgement by a model, where rules leave words and choices open: names for contradictions, pages worth having, repairs."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from ktx import sqlite
from ktx.errors import KtxError
from ktx.events import Emit, Notice
from ktx.files import digest
from ktx.findings import Finding
from ktx.ingest.artifact import Artifact, Json
from ktx.ingest.change import Change, change_json, read_change
from ktx.ingest.curate import Choose, in_order
from ktx.ingest.draft import Draft
from ktx.ingest.gate import Mend
from ktx.ingest.halt import run_async
from ktx.ingest.leaks import Secrets
from ktx.ingest.reconcile import Contradiction, Judge, Verdict
from ktx.ingest.runs import RunStore
from ktx.ingest.tools import Surroundings, prompt, unit_tools
from ktx.ingest.unit import Desk
from ktx.llm.memory import ReplyMemory
from ktx.llm.models import Role
from ktx.llm.runtime import Prompt, Runtime
from ktx.llm.schema import Answer
from ktx.sources.evidence import Snapshot
from ktx.sources.source import UnitPlan

_REPAIR_STEPS: Final = 8
Given = TypeVar("Given")


class Naming(Answer):
    """Names for the new meanings, in the order given, and how the meanings differ."""

    names: list[str]
    explanation: str


class Ranking(Answer):
    """Page keys, the most useful first."""

    keys: list[str]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What judgements share. `models` names the model of each role; a judgement that fails leaves things to the rules."""

    source_id: str
    store: RunStore
    open_runtime: Callable[[], Runtime]
    models: Callable[[Role], str]
    emit: Emit

    def kept(
        self, role: Role, parts: Sequence[Json], ask: Callable[[Runtime, ReplyMemory], Awaitable[Json]]
    ) -> Json:
        """Give a judgement that was made before, or make it now; None when it cannot be made."""
        key = digest(json.dumps([role, self.models(role), *parts], ensure_ascii=False))
        known = self.store.unit(key)
        if known is not None:
            return known["given"]

        async def main() -> Json:
            async with self.open_runtime() as runtime:
                return await ask(runtime, ReplyMemory(kept=self.store.scope(key)))

        try:
            given = run_async(main)
        except sqlite.UnwritableError:
            raise
        except KtxError as error:
            self.emit(Notice(message=f"`{role}` gave no judgement, so the rules decide: {error.message}"))
            return None
        self.store.finish_unit(key, self.source_id, {"given": given})
        return given


def model_judge(bench: Bench) -> Judge:
    """Let the role `reconcile` name and explain."""

    def judge(told: Contradiction) -> Verdict:
        question = json.dumps(
            {
                "source": told.artifact.name,
                "name": told.entry,
                "meanings": [
                    {
                        "said_by": one.said_by,
                        "keeps_its_name": one.is_accepted,
                        **{key: value for key, value in one.value.items() if key != "name"},
                    }
                    for one in told.meanings
                ],
            },
            ensure_ascii=False,
            indent=1,
        )

        async def ask(runtime: Runtime, memory: ReplyMemory) -> Json:
            answer = await runtime.extract(
                "reconcile",
                Prompt(system=(prompt("reconcile"),), text=question),
                schema=Naming,
                task=f"reconcile {bench.source_id}/{told.artifact.name}.{told.entry}",
                memory=memory,
            )
            return {"names": list(answer.names), "explanation": answer.explanation}

        given = bench.kept("reconcile", [prompt("reconcile"), question], ask)
        if not isinstance(given, dict):
            return Verdict()
        names = cast("list[Json]", given["names"])
        return Verdict(
            names=tuple(str(name) for name in names), explanation=str(given["explanation"])[:4_000]
        )

    return judge


def model_choose(bench: Bench) -> Choose:
    """Let the role `curator` choose pages."""

    def choose(pages: Sequence[tuple[str, str]], most: int) -> Sequence[str]:
        question = f"At most {most} pages may be added. The proposals:\n" + "\n".join(
            f"- {key}: {summary[:200]}" for key, summary in pages
        )

        async def ask(runtime: Runtime, memory: ReplyMemory) -> Json:
            answer = await runtime.extract(
                "curator",
                Prompt(system=(prompt("curator"),), text=question),
                schema=Ranking,
                task=f"curate {bench.source_id}",
                memory=memory,
            )
            return list(answer.keys)

        given = bench.kept("curator", [prompt("curator"), question], ask)
        return [str(key) for key in given] if isinstance(given, list) else in_order(pages, most)

    return choose


def model_mend(
    bench: Bench, changes: Sequence[Change], snapshot: Snapshot, around: Surroundings, secrets: Secrets
) -> Mend:
    """Let the role `repair` mend what a model wrote, once for each artifact that does not pass."""

    def mend(draft: Draft, artifact: Artifact, problems: Sequence[Finding]) -> Sequence[Change] | None:
        mine = {one.entry: one for one in changes if one.artifact == artifact}
        if any(one.by != "model" for one in mine.values()) or all(one.is_removal for one in mine.values()):
            return None
        plan = UnitPlan(
            key="repair",
            label=f"repair {artifact}",
            documents=tuple(
                sorted(
                    {
                        id_
                        for one in mine.values()
                        for id_ in one.evidence
                        if snapshot.document(id_) is not None
                    }
                )
            ),
            connection_ids=(artifact.connection_id,) if artifact.kind == "source" else (),
        )
        desk = Desk(source_id=bench.source_id, plan=plan, snapshot=snapshot, start=draft, secrets=secrets)
        told = "\n".join(f"- {one.message} {one.fix or ''} ({one.where})" for one in problems)
        question = f"Artifact: {artifact}\n\nWhat is wrong:\n{told}\n\nIts text:\n{draft.text(artifact)}"

        async def ask(runtime: Runtime, memory: ReplyMemory) -> Json:
            await runtime.loop(
                "repair",
                Prompt(system=(prompt("repair"),), text=question),
                tools=unit_tools(desk, around),
                step_budget=_REPAIR_STEPS,
                task=f"repair {bench.source_id}/{artifact.name}",
                memory=memory,
            )
            return [
                cast("Json", change_json(one)) for one in desk.changes.values() if one.artifact == artifact
            ]

        # By what is to be mended, not by the file around it, which the mended changes are a part of in the next run.
        wrong = sorted(f"{one.code}: {one.message}" for one in problems)
        told_by = [str(artifact), *(cast("Json", change_json(one)) for one in mine.values())]
        given = bench.kept("repair", [prompt("repair"), *told_by, *wrong], ask)
        if not isinstance(given, list) or not given:
            return None
        better = {one.entry: one for one in (read_change(cast("dict[str, Json]", row)) for row in given)}
        kept = {**mine, **{entry: one for entry, one in better.items() if not one.is_removal}}
        return [one for entry, one in kept.items() if not (entry in better and better[entry].is_removal)]

    return mend
