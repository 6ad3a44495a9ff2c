"""What people ask of a table, in words: one sentence or two by a language model over what past queries show, only when asked for.

A table's words are kept under its facts, the instructions and the model, so that a second run asks nothing. No statement and no value
of a query gets here: `ktx.scan.history` has left them out.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktx.errors import ModelError
from ktx.events import Emit, StageAdvanced, StageFinished, StageStarted
from ktx.files import digest, read_text
from ktx.llm.running import run_work
from ktx.llm.runtime import Prompt
from ktx.llm.schema import Answer
from ktx.scan.describe import ROLE, Extracts
from ktx.scan.store import ScanStore

_INSTRUCTIONS: Final = Path(__file__).with_suffix(".md")
_TABLES_PER_CALL: Final = 12
_MOST_CHARS: Final = 400


class Narrative(Answer):
    """What people ask of one table."""

    table: str
    narrative: str


class Narratives(Answer):
    """What people ask of each table, under the names given."""

    tables: list[Narrative]


@dataclass(frozen=True, kw_only=True)
class Narrated:
    """Words by source name, how many calls they took, and what failed with the reason."""

    texts: Mapping[str, str]
    calls: int = 0
    failed: tuple[str, ...] = ()


def narrate_usage(
    usage: Mapping[str, Mapping[str, object]],
    store: ScanStore,
    *,
    open_extractor: Callable[[], AbstractAsyncContextManager[Extracts]],
    model: str,
    emit: Emit,
) -> Narrated:
    """Put into words how each source is used; what is known from before is not asked again. `usage` is as the manifest has it."""
    instructions = read_text(_INSTRUCTIONS)
    keys = {
        name: digest(json.dumps(["usage", instructions, model, name, facts], sort_keys=True, default=str))
        for name, facts in usage.items()
    }
    texts = {name: text for name, key in keys.items() if (text := store.description(key)) is not None}
    waiting = [name for name in sorted(usage) if name not in texts]
    if not waiting:
        return Narrated(texts=texts)
    batches = [waiting[at : at + _TABLES_PER_CALL] for at in range(0, len(waiting), _TABLES_PER_CALL)]
    failed: list[str] = []

    async def ask_all() -> None:
        async with open_extractor() as extractor:
            for done, batch in enumerate(batches, start=1):
                try:
                    told = await _ask(extractor, batch, usage, instructions)
                except ModelError as error:
                    failed.append(f"{', '.join(batch[:3])}: {error.message}")
                    told = {}
                for name, text in told.items():
                    store.keep_description(keys[name], text)
                texts.update(told)
                emit(StageAdvanced(stage="usage in words", done=done, total=len(batches)))

    emit(StageStarted(stage="usage in words", total=len(batches)))
    run_work(ask_all)
    emit(StageFinished(stage="usage in words", summary=f"{len(texts):,} tables"))
    return Narrated(texts=texts, calls=len(batches), failed=tuple(failed))


async def _ask(
    extractor: Extracts,
    batch: Sequence[str],
    usage: Mapping[str, Mapping[str, object]],
    instructions: str,
) -> dict[str, str]:
    facts = [{"table": name, **usage[name]} for name in batch]
    answer = await extractor.extract(
        ROLE,
        Prompt(system=(instructions,), text=json.dumps(facts, ensure_ascii=False, default=str)),
        schema=Narratives,
        task="usage in words",
    )
    return {
        one.table: " ".join(one.narrative.split())[:_MOST_CHARS]
        for one in answer.tables
        if one.table in batch and one.narrative.strip()
    }
