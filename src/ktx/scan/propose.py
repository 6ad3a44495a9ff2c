"""References that a language model proposes, for tables to which neither names nor values gave any.

A proposal is a candidate like any other: the data decides. What a model said about a table is kept under the table's own
facts, the instructions and the model, so that a second run asks nothing and a changed table is asked about by itself.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from pydantic import Field, ValidationError

from ktx.catalog import Catalog, Table, TableRef
from ktx.errors import BudgetError, ModelError
from ktx.events import Emit, StageAdvanced, StageFinished, StageStarted, ignore
from ktx.files import digest, read_text
from ktx.llm.running import run_work
from ktx.llm.runtime import Prompt
from ktx.llm.schema import Answer
from ktx.scan.describe import (
    HOPELESS,
    ROLE,
    Estimate,
    Extracts,
    compact_json,
    sampled_rows,
    schema_bytes,
    shown_table,
    table_facts,
)
from ktx.scan.redact import Samples
from ktx.scan.relationships.find import Found, Proposal
from ktx.scan.store import ScanStore
from ktx.warehouse.rows import Rows

_INSTRUCTIONS = Path(__file__).with_suffix(".md")
_MOST_COLUMNS = 80
_MOST_KEYS = 400
_SAMPLE_ROWS = 2
_TOKENS_PER_ANSWER = 20
_TOKENS_PER_TABLE = 40
"""How long answers are on average: not every silent table is given a reference, and few are given two."""


class ProposedLink(Answer):
    """One possible reference."""

    from_table: str
    from_columns: list[str]
    to_table: str
    to_columns: list[str]
    confidence: float = Field(description="From 0 to 1.")
    reason: str = Field(description="Why, in at most 12 words, without values of rows.")


class ProposedLinks(Answer):
    """What a model says about a batch of tables."""

    links: list[ProposedLink]


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """What a run proposed. `failed` names tables that no answer came for, with the reason."""

    proposals: tuple[Proposal, ...] = ()
    calls: int = 0
    failed: tuple[tuple[TableRef, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How a model is asked: through what, which one, about how many tables at once, and with which samples."""

    open_extractor: Callable[[], AbstractAsyncContextManager[Extracts]]
    model: str
    samples: Samples
    sample: Callable[[Table, int], Rows]
    tables_per_batch: int = 40
    concurrency: int = 4


@dataclass(kw_only=True)
class _Run:
    catalog: Catalog
    found: Found
    store: ScanStore
    asking: Asking
    emit: Emit
    total: int
    calls: int = 0
    done: int = 0
    stopped: ModelError | None = None
    failed: list[tuple[TableRef, str]] = field(default_factory=list[tuple[TableRef, str]])


def silent_tables(catalog: Catalog, found: Found) -> tuple[Table, ...]:
    """Give the tables that no relationship, sure or for review, leaves or reaches, and that have a column to refer with."""
    heard = {
        ref for one in found.relationships if one.decision != "rejected" for ref in (one.source, one.target)
    }
    heard |= {one.source for one in found.relationships if one.origin == "manual"}
    return tuple(table for table in catalog.tables if table.ref not in heard and table.columns)


def waiting_batches(
    tables: Sequence[Table], store: ScanStore, *, dialect: str, model: str, samples: Samples, size: int
) -> list[Sequence[Table]]:
    """Group the tables that no kept answer speaks of; every one of them is in a batch."""
    waiting = [
        table
        for table in tables
        if store.description(_key(table, dialect=dialect, model=model, samples=samples)) is None
    ]
    return [waiting[start : start + size] for start in range(0, len(waiting), size)]


def propose_links(
    catalog: Catalog, found: Found, store: ScanStore, asking: Asking, *, emit: Emit = ignore
) -> Proposed:
    """Ask about every silent table once. The runtime is not even opened when all of them have a kept answer."""
    silent = silent_tables(catalog, found)
    batches = waiting_batches(
        silent, store, dialect=catalog.dialect, model=asking.model, samples=asking.samples, size=asking.tables_per_batch
    )  # fmt: skip
    run = _Run(catalog=catalog, found=found, store=store, asking=asking, emit=emit, total=len(batches))
    if batches:
        emit(StageStarted(stage="proposals", total=len(batches)))

        async def main() -> None:
            async with asking.open_extractor() as extractor:
                limiter = anyio.CapacityLimiter(asking.concurrency)
                async with anyio.create_task_group() as group:
                    for batch in batches:
                        group.start_soon(_ask, run, extractor, batch, limiter)

        run_work(main)
        emit(StageFinished(stage="proposals", summary=f"{run.done} of {run.total} batches answered"))
    proposals = [proposal for table in silent for proposal in _kept(run, table)]
    return Proposed(proposals=tuple(proposals), calls=run.calls, failed=tuple(sorted(run.failed)))


def estimate_proposals(
    catalog: Catalog,
    found: Found,
    store: ScanStore,
    *,
    model: str,
    samples: Samples,
    sample: Callable[[Table, int], Rows],
    tables_per_batch: int,
) -> Estimate:
    """Foresee what proposing would take after a search that found `found`, by building the prompts without sending them."""
    batches = waiting_batches(
        silent_tables(catalog, found), store, dialect=catalog.dialect, model=model, samples=samples, size=tables_per_batch
    )  # fmt: skip
    size = 0
    for batch in batches:
        prompt = proposal_prompt(batch, catalog, found, samples=samples, sample=sample)
        size += len(prompt.text.encode()) + len(prompt.system[0].encode()) + schema_bytes(ProposedLinks)
    return Estimate(
        calls=len(batches),
        input_tokens=size // 4,
        output_tokens=sum(_TOKENS_PER_ANSWER + _TOKENS_PER_TABLE * len(batch) for batch in batches),
    )


def proposal_prompt(
    batch: Sequence[Table],
    catalog: Catalog,
    found: Found,
    *,
    samples: Samples,
    sample: Callable[[Table, int], Rows],
) -> Prompt:
    """Write what is asked about a batch: its tables whole, and of the others the keys."""
    own = {table.ref for table in batch}
    tables = [
        shown_table(
            table, sampled_rows(table, samples, sample, limit=_SAMPLE_ROWS), most_columns=_MOST_COLUMNS
        )
        for table in batch
    ]
    schemas = {table.ref.schema for table in batch}
    others = sorted(
        (key for ref, key in found.keys.primary.items() if ref not in own),
        key=lambda key: (key.table.schema not in schemas, key.table),
    )
    keys = {str(key.table): list(key.columns) for key in others[:_MOST_KEYS]}
    data = {"dialect": catalog.dialect, "keys": keys, "tables": tables}
    return Prompt(system=(read_text(_INSTRUCTIONS),), text=compact_json(data))


async def _ask(
    run: _Run, extractor: Extracts, batch: Sequence[Table], limiter: anyio.CapacityLimiter
) -> None:
    async with limiter:
        if run.stopped is not None:
            run.failed.extend((table.ref, run.stopped.message) for table in batch)
            return
        asking = run.asking
        try:
            prompt = await anyio.to_thread.run_sync(
                lambda: proposal_prompt(
                    batch, run.catalog, run.found, samples=asking.samples, sample=asking.sample
                )
            )
            run.calls += 1
            task = f"propose references of {batch[0].ref} and {len(batch) - 1} more"
            answer = await extractor.extract(ROLE, prompt, schema=ProposedLinks, task=task)
        except ModelError as error:
            if isinstance(error, BudgetError) or error.kind in HOPELESS:
                run.stopped = error
            if isinstance(error, BudgetError):
                run.calls -= 1
            run.failed.extend((table.ref, error.message) for table in batch)
            return
        for table in batch:
            links = [link for link in answer.links if link.from_table == str(table.ref)]
            key = _key(table, dialect=run.catalog.dialect, model=asking.model, samples=asking.samples)
            run.store.keep_description(key, ProposedLinks(links=links).model_dump_json())
        run.done += 1
        run.emit(StageAdvanced(stage="proposals", done=run.done, total=run.total, label=str(batch[-1].ref)))


def _kept(run: _Run, table: Table) -> list[Proposal]:
    key = _key(table, dialect=run.catalog.dialect, model=run.asking.model, samples=run.asking.samples)
    body = run.store.description(key)
    if body is None:
        return []
    try:
        links = ProposedLinks.model_validate_json(body).links
    except ValidationError:
        return []
    refs: Mapping[str, Table] = {str(one.ref): one for one in run.catalog.tables}
    found: list[Proposal] = []
    for link in links:
        target = refs.get(link.to_table)
        if target is not None and _are_columns(table, link.from_columns, target, link.to_columns):
            found.append(
                Proposal(
                    table=table.ref,
                    columns=tuple(link.from_columns),
                    target=target.ref,
                    target_columns=tuple(link.to_columns),
                    confidence=min(max(link.confidence, 0.0), 1.0),
                    reason=link.reason.strip(),
                )
            )
    return found


def _are_columns(table: Table, own: Sequence[str], target: Table, other: Sequence[str]) -> bool:
    """Whether a model named columns that exist, paired up, and not a column as the key of itself."""
    return (
        0 < len(own) == len(other)
        and all(table.column(name) for name in own)
        and all(target.column(name) for name in other)
        and (table.ref, tuple(own)) != (target.ref, tuple(other))
    )


def _key(table: Table, *, dialect: str, model: str, samples: Samples) -> str:
    facts = {
        "dialect": dialect,
        "instructions": digest(read_text(_INSTRUCTIONS)),
        "kind": "proposals",
        "model": model,
        "samples": samples,
        "table": table_facts(table),
    }
    return digest(json.dumps(facts, sort_keys=True))
