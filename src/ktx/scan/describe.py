"""Descriptions of tables and columns by a language model, paid for once.

A table's answer is kept under a key made of the table's own facts, the instructions and the model, so a second run asks
nothing, and one changed column asks about one table. Each answer is kept the moment it is there.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread
from pydantic import Field, ValidationError

from ktx.catalog import Catalog, Table, TableRef
from ktx.errors import BudgetError, ModelError, OutsideError, QueryError
from ktx.events import Emit, StageAdvanced, StageFinished, StageStarted, ignore
from ktx.files import digest, read_text
from ktx.llm.models import Role
from ktx.llm.runtime import Prompt
from ktx.llm.schema import Answer
from ktx.scan.redact import Samples, redact_rows
from ktx.scan.store import ScanStore
from ktx.warehouse.rows import Rows

ROLE: Role = "candidateExtraction"
SAMPLE_ROWS = 5
HOPELESS = frozenset(
    {"missing_extra", "not_logged_in", "unauthorized", "forbidden", "billing", "unknown_model", "unsupported"}
)
"""Failures that the next table would meet as well."""
_INSTRUCTIONS = Path(__file__).with_suffix(".md")
Value = TypeVar("Value", bound=Answer)


class ColumnText(Answer):
    """One column."""

    name: str = Field(description="The column's name, exactly as given.")
    description: str = Field(description="At most 16 words; empty when nothing is known.")


class TableText(Answer):
    """One table with its columns."""

    table: str = Field(description="What one row is, in at most 24 words.")
    columns: list[ColumnText] = Field(description="One entry per column, in the order given.")


class Extracts(Protocol):
    """What is needed of the model runtime."""

    async def extract(self, role: Role, prompt: Prompt, *, schema: type[Value], task: str) -> Value:
        """Give a checked answer."""
        ...


@dataclass(frozen=True, kw_only=True)
class TableTexts:
    """What a model wrote about one table; columns without a text are left out."""

    table: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a run described. `failed` names tables that keep their old texts, with the reason; `stopped` says why it ended early."""

    texts: Mapping[TableRef, TableTexts]
    calls: int = 0
    reused: int = 0
    failed: tuple[tuple[TableRef, str], ...] = ()
    stopped: ModelError | None = None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What describing would take: calls, tokens in and out."""

    calls: int
    input_tokens: int
    output_tokens: int


def description_key(table: Table, *, dialect: str, model: str, samples: Samples) -> str:
    """Give the key under which a table's answer is kept: nothing in it changes unless the answer should."""
    facts = {
        "dialect": dialect,
        "instructions": digest(read_text(_INSTRUCTIONS)),
        "model": model,
        "samples": samples,
        "table": table_facts(table),
    }
    return digest(json.dumps(facts, sort_keys=True))


def waiting_tables(catalog: Catalog, store: ScanStore, *, model: str, samples: Samples) -> tuple[Table, ...]:
    """Give the tables that no kept answer describes."""
    return tuple(
        table
        for table in catalog.tables
        if _kept(store, description_key(table, dialect=catalog.dialect, model=model, samples=samples), table)
        is None
    )


def estimate(
    catalog: Catalog,
    store: ScanStore,
    *,
    model: str,
    samples: Samples,
    sample: Callable[[Table, int], Rows],
) -> Estimate:
    """Foresee what describing would take, by building the prompts without sending them: four bytes are one token."""
    waiting = waiting_tables(catalog, store, model=model, samples=samples)
    schema = len(json.dumps(TableText.model_json_schema()))
    size = 0
    for table in waiting:
        prompt = _prompt(table, catalog.dialect, sampled_rows(table, samples, sample))
        size += len(prompt.text.encode()) + len(prompt.system[0].encode()) + schema
    columns = sum(len(table.columns) for table in waiting)
    return Estimate(
        calls=len(waiting), input_tokens=size // 4, output_tokens=40 * len(waiting) + 28 * columns
    )


def describe_tables(
    catalog: Catalog,
    store: ScanStore,
    *,
    open_extractor: Callable[[], AbstractAsyncContextManager[Extracts]],
    model: str,
    samples: Samples,
    sample: Callable[[Table, int], Rows],
    concurrency: int = 4,
    emit: Emit = ignore,
) -> Described:
    """Describe every table that no kept answer describes. The runtime is not even opened when there is none."""
    waiting = waiting_tables(catalog, store, model=model, samples=samples)
    run = _Run(
        catalog=catalog,
        store=store,
        model=model,
        samples=samples,
        sample=sample,
        emit=emit,
        total=len(waiting),
    )
    if waiting:
        emit(StageStarted(stage="descriptions", total=len(waiting)))

        async def main() -> None:
            async with open_extractor() as extractor:
                await _describe_all(run, extractor, waiting, concurrency)

        anyio.run(main)
        summary = f"{run.calls - len(run.failed)} tables described, {len(run.failed)} failed"
        emit(StageFinished(stage="descriptions", summary=summary))
    texts: dict[TableRef, TableTexts] = {}
    for table in catalog.tables:
        key = description_key(table, dialect=catalog.dialect, model=model, samples=samples)
        kept = _kept(store, key, table)
        if kept is not None:
            texts[table.ref] = kept
    return Described(
        texts=texts,
        calls=run.calls,
        reused=len(catalog.tables) - len(waiting),
        failed=tuple(sorted(run.failed)),
        stopped=run.stopped,
    )


@dataclass(kw_only=True)
class _Run:
    catalog: Catalog
    store: ScanStore
    model: str
    samples: Samples
    sample: Callable[[Table, int], Rows]
    emit: Emit
    total: int
    calls: int = 0
    done: int = 0
    stopped: ModelError | None = None
    failed: list[tuple[TableRef, str]] = field(default_factory=list[tuple[TableRef, str]])


async def _describe_all(run: _Run, extractor: Extracts, waiting: Sequence[Table], concurrency: int) -> None:
    limiter = anyio.CapacityLimiter(concurrency)
    async with anyio.create_task_group() as group:
        for table in waiting:
            group.start_soon(_describe, run, extractor, table, limiter)


async def _describe(run: _Run, extractor: Extracts, table: Table, limiter: anyio.CapacityLimiter) -> None:
    async with limiter:
        if run.stopped is not None:
            run.failed.append((table.ref, run.stopped.message))
            return
        try:
            rows = await anyio.to_thread.run_sync(sampled_rows, table, run.samples, run.sample)
            prompt = _prompt(table, run.catalog.dialect, rows)
            run.calls += 1
            answer = await extractor.extract(ROLE, prompt, schema=TableText, task=f"describe {table.ref}")
        except ModelError as error:
            if isinstance(error, BudgetError) or error.kind in HOPELESS:
                run.stopped = error
            if isinstance(error, BudgetError):
                run.calls -= 1
            run.failed.append((table.ref, error.message))
            return
        key = description_key(table, dialect=run.catalog.dialect, model=run.model, samples=run.samples)
        run.store.keep_description(key, answer.model_dump_json())
        run.done += 1
        run.emit(StageAdvanced(stage="descriptions", done=run.done, total=run.total, label=str(table.ref)))


def sampled_rows(
    table: Table, samples: Samples, sample: Callable[[Table, int], Rows], limit: int = SAMPLE_ROWS
) -> list[dict[str, str | None]]:
    """Give a few rows as they may leave the machine; none when samples are off or the table cannot be read."""
    if samples == "none":
        return []
    try:
        rows = sample(table, limit)
    except (QueryError, OutsideError):
        return []
    return redact_rows(table, rows.rows, [column.name for column in rows.columns], samples=samples)


def _prompt(table: Table, dialect: str, rows: list[dict[str, str | None]]) -> Prompt:
    data = {"dialect": dialect, **table_facts(table), **({"sample_rows": rows} if rows else {})}
    return Prompt(system=(read_text(_INSTRUCTIONS),), text=json.dumps(data, ensure_ascii=False, indent=1))


def table_facts(table: Table, *, most_columns: int | None = None) -> dict[str, object]:
    """Give what a model is told of a table beside its rows; nothing in it changes unless the table does."""
    columns = [
        {
            "name": column.name,
            "type": column.native_type,
            **({"comment": column.comment} if column.comment else {}),
        }
        for column in table.columns[:most_columns]
    ]
    comment = {"comment": table.comment} if table.comment else {}
    return {"table": str(table.ref), **comment, "columns": columns}


def _kept(store: ScanStore, key: str, table: Table) -> TableTexts | None:
    body = store.description(key)
    if body is None:
        return None
    try:
        answer = TableText.model_validate_json(body)
    except ValidationError:
        return None
    known = {column.name for column in table.columns}
    columns = {one.name: one.description.strip() for one in answer.columns if one.name in known}
    return TableTexts(
        table=answer.table.strip() or None, columns={name: text for name, text in columns.items() if text}
    )
