"""Descriptions of tables and columns by a language model, paid for once.

A table's answer is kept under a key made of the table's own facts, the instructions and the model, so a second run asks
nothing, and one changed column asks about one table. Tables that nothing kept describes are asked about several at a time, as
many as fit into one answer; each is kept the moment the answer is there. A batch that cannot be answered whole is halved.
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
from ktx.llm.running import run_work
from ktx.llm.runtime import DEFAULT_MAX_OUTPUT_TOKENS, Prompt
from ktx.llm.schema import Answer, answer_schema
from ktx.scan.redact import Samples, redact_rows
from ktx.scan.store import ScanStore
from ktx.warehouse.rows import Rows

ROLE: Role = "candidateExtraction"
SAMPLE_ROWS = 5
_MOST_OUTPUT_TOKENS = 5_000
_MOST_TABLES = 16
_TOKENS_PER_TABLE = 40
_TOKENS_PER_COLUMN = 28
HOPELESS = frozenset(
    {"missing_extra", "not_logged_in", "unauthorized", "forbidden", "billing", "unknown_model", "unsupported"}
)
"""Failures that the next table would meet as well."""
_ABOUT_THE_SIZE = frozenset({"truncated", "context_too_long", "invalid_answer", "refused"})
"""Failures that fewer tables at once may not meet."""
_INSTRUCTIONS = Path(__file__).with_suffix(".md")
Value = TypeVar("Value", bound=Answer)


class ColumnText(Answer):
    """One column."""

    name: str = Field(description="The column's name, exactly as given.")
    description: str = Field(description="At most 16 words.")


class TableText(Answer):
    """One table with its columns."""

    table: str = Field(description="What one row is, in at most 24 words.")
    columns: list[ColumnText] = Field(
        description="One entry per column about which there is something to say."
    )


class NamedTableText(TableText):
    """The same, with the table's name."""

    name: str = Field(description="The table's name, exactly as given.")


class TableTexts(Answer):
    """The tables of one answer."""

    tables: list[NamedTableText] = Field(description="One entry per table, in the order given.")


class Extracts(Protocol):
    """What is needed of the model runtime."""

    async def extract(
        self, role: Role, prompt: Prompt, *, schema: type[Value], task: str, max_output_tokens: int = ...
    ) -> Value:
        """Give a checked answer."""
        ...


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What a model wrote about one table; columns without a text are left out."""

    table: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a run described. `failed` names tables that keep their old texts, with the reason; `stopped` says why it ended early."""

    texts: Mapping[TableRef, Texts]
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
    batches = batches_of(waiting)
    size = 0
    for batch in batches:
        prompt = _prompt(batch, catalog.dialect, samples, sample)
        size += len(prompt.text.encode()) + len(prompt.system[0].encode()) + schema_bytes(TableTexts)
    return Estimate(
        calls=len(batches), input_tokens=size // 4, output_tokens=sum(map(_output_tokens, waiting))
    )


def schema_bytes(schema: type[Answer]) -> int:
    """Give the size of what a provider is told about an answer's form."""
    return len(json.dumps(answer_schema(schema)).encode())


def batches_of(tables: Sequence[Table]) -> list[Sequence[Table]]:
    """Group neighbours into batches whose answers fit well into one reply; a very wide table is one by itself."""
    batches: list[Sequence[Table]] = []
    batch: list[Table] = []
    size = 0
    for table in tables:
        more = _output_tokens(table)
        if batch and (size + more > _MOST_OUTPUT_TOKENS or len(batch) == _MOST_TABLES):
            batches.append(batch)
            batch, size = [], 0
        batch.append(table)
        size += more
    return [*batches, batch] if batch else batches


def _output_tokens(table: Table) -> int:
    """Foresee the length of the answer about one table."""
    return _TOKENS_PER_TABLE + _TOKENS_PER_COLUMN * len(table.columns)


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

        run_work(main)
        summary = f"{run.done} tables described in {run.calls} calls, {len(run.failed)} failed"
        emit(StageFinished(stage="descriptions", summary=summary))
    texts: dict[TableRef, Texts] = {}
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

    def fail(self, batch: Sequence[Table], reason: str) -> None:
        """Name the tables that keep their old texts."""
        self.failed.extend((table.ref, reason) for table in batch)

    def keep(self, batch: Sequence[Table], answer: TableTexts) -> list[Table]:
        """Keep what was said of each table at once, and give the tables of which nothing was."""
        said = {one.name: one for one in reversed(answer.tables)}
        left_out: list[Table] = []
        for table in batch:
            text = said.get(str(table.ref))
            if text is None:
                left_out.append(table)
                continue
            key = description_key(table, dialect=self.catalog.dialect, model=self.model, samples=self.samples)
            self.store.keep_description(key, text.model_dump_json(exclude={"name"}))
            self.done += 1
            self.emit(
                StageAdvanced(stage="descriptions", done=self.done, total=self.total, label=str(table.ref))
            )
        return left_out


async def _describe_all(run: _Run, extractor: Extracts, waiting: Sequence[Table], concurrency: int) -> None:
    limiter = anyio.CapacityLimiter(concurrency)

    async def one(batch: Sequence[Table]) -> None:
        async with limiter:
            await _describe(run, extractor, batch)

    async with anyio.create_task_group() as group:
        for batch in batches_of(waiting):
            group.start_soon(one, batch)


async def _describe(run: _Run, extractor: Extracts, batch: Sequence[Table]) -> None:
    if run.stopped is not None:
        run.fail(batch, run.stopped.message)
        return
    try:
        answer = await _ask(run, extractor, batch)
    except ModelError as error:
        if error.kind in _ABOUT_THE_SIZE and len(batch) > 1:
            middle = len(batch) // 2
            await _describe(run, extractor, batch[:middle])
            await _describe(run, extractor, batch[middle:])
            return
        if isinstance(error, BudgetError) or error.kind in HOPELESS:
            run.stopped = error
        if isinstance(error, BudgetError):
            run.calls -= 1
        run.fail(batch, error.message)
        return
    left_out = run.keep(batch, answer)
    if len(left_out) < len(batch):
        if left_out:
            await _describe(run, extractor, left_out)
    else:
        run.fail(batch, "the model's answer left it out")


async def _ask(run: _Run, extractor: Extracts, batch: Sequence[Table]) -> TableTexts:
    prompt = await anyio.to_thread.run_sync(_prompt, batch, run.catalog.dialect, run.samples, run.sample)
    run.calls += 1
    more = f" and {len(batch) - 1} more" if len(batch) > 1 else ""
    return await extractor.extract(
        ROLE,
        prompt,
        schema=TableTexts,
        task=f"describe {batch[0].ref}{more}",
        max_output_tokens=max(DEFAULT_MAX_OUTPUT_TOKENS, 2 * sum(map(_output_tokens, batch))),
    )


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


def _prompt(
    batch: Sequence[Table], dialect: str, samples: Samples, sample: Callable[[Table, int], Rows]
) -> Prompt:
    tables = [shown_table(table, sampled_rows(table, samples, sample)) for table in batch]
    data = {"dialect": dialect, "tables": tables}
    return Prompt(system=(read_text(_INSTRUCTIONS),), text=compact_json(data))


def shown_table(
    table: Table, rows: Sequence[Mapping[str, str | None]], *, most_columns: int | None = None
) -> dict[str, object]:
    """Give what a model sees of a table; sample rows are lists, in the order of the columns."""
    facts = table_facts(table, most_columns=most_columns)
    names = [column.name for column in table.columns[:most_columns]]
    shown = [[row.get(name) for name in names] for row in rows]
    return {**facts, **({"sample_rows": shown} if shown else {})}


def compact_json(data: object) -> str:
    """Write JSON with as few letters as it takes: each is paid for."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


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


def _kept(store: ScanStore, key: str, table: Table) -> Texts | None:
    body = store.description(key)
    if body is None:
        return None
    try:
        answer = TableText.model_validate_json(body)
    except ValidationError:
        return None
    known = {column.name for column in table.columns}
    columns = {one.name: one.description.strip() for one in answer.columns if one.name in known}
    return Texts(
        table=answer.table.strip() or None, columns={name: text for name, text in columns.items() if text}
    )
