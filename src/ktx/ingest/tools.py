"""The tools of a work unit: reads of evidence, layer, wiki and warehouse, and writes on the unit's own draft."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Final, TypeVar

from pydantic import Field

from ktx.catalog import Table, TableRef
from ktx.errors import KtxError, UsageError
from ktx.ingest.artifact import Json
from ktx.ingest.leaks import shown_rows
from ktx.ingest.unit import Call, Desk, Replacement
from ktx.llm.schema import ToolInput
from ktx.llm.tools import AnyTool, Tool
from ktx.scan.redact import Samples, redact_rows
from ktx.search.index import Index
from ktx.search.lanes import Scope
from ktx.search.query import WORD_LANES, discover
from ktx.sources.evidence import UnmappedReason
from ktx.warehouse.warehouse import Warehouse

_MOST_EVIDENCE_CHARS: Final = 40_000
_MOST_ROWS: Final = 50
_QUERY_TIMEOUT_S: Final = 20.0
Input = TypeVar("Input", bound=ToolInput)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What all units of a run share. `open_warehouse` is None where no raw SQL may be sent; `samples` is `scan.samples`."""

    index: Index
    samples: Samples
    queryable: frozenset[str]
    open_warehouse: Callable[[str], Warehouse]
    lock: threading.Lock


class SearchInput(ToolInput):
    """What to look for."""

    query: Annotated[str, Field(min_length=1, max_length=500)]
    limit: Annotated[int, Field(ge=1, le=25)] = 10


class ReadEvidenceInput(ToolInput):
    """Which document, and which lines of it."""

    id: str
    first_line: Annotated[int, Field(ge=1)] = 1
    last_line: Annotated[int | None, Field(ge=1)] = None


class ReadPageInput(ToolInput):
    """Which page."""

    key: str


class ReadSourceInput(ToolInput):
    """Which source."""

    connection_id: str
    name: str


class WritePageInput(ToolInput):
    """A whole page."""

    key: Annotated[str, Field(max_length=120)]
    summary: Annotated[str, Field(min_length=1, max_length=300)]
    body: Annotated[str, Field(min_length=1)]
    tags: list[str] = Field(default_factory=list[str])
    refs: list[str] = Field(default_factory=list[str])
    sl_refs: list[str] = Field(default_factory=list[str])
    connections: list[str] = Field(default_factory=list[str])
    evidence: list[str] = Field(default_factory=list[str])


class Edit(ToolInput):
    """One exact replacement."""

    old_text: str
    new_text: str


class EditPageInput(ToolInput):
    """Edits of a page's file."""

    key: str
    edits: Annotated[list[Edit], Field(min_length=1)]
    evidence: list[str] = Field(default_factory=list[str])


class DeletePageInput(ToolInput):
    """Which page to take away."""

    key: str
    evidence: list[str] = Field(default_factory=list[str])


class WriteSourceInput(ToolInput):
    """Entries of a source, as the YAML of a source file."""

    connection_id: str
    yaml: Annotated[str, Field(min_length=1, max_length=60_000)]
    evidence: list[str] = Field(default_factory=list[str])


class EditSourceInput(ToolInput):
    """Edits of a source's own file."""

    connection_id: str
    name: str
    edits: Annotated[list[Edit], Field(min_length=1)]
    evidence: list[str] = Field(default_factory=list[str])


class QueryInput(ToolInput):
    """One read-only statement."""

    connection_id: str
    sql: Annotated[str, Field(min_length=1, max_length=20_000)]
    limit: Annotated[int, Field(ge=1, le=_MOST_ROWS)] = 20


class ReportUnmappedInput(ToolInput):
    """Something that has no place in the layer."""

    evidence: str
    what: Annotated[str, Field(min_length=1, max_length=200)]
    reason: UnmappedReason
    detail: Annotated[str, Field(max_length=500)]


def unit_tools(desk: Desk, around: Surroundings) -> tuple[AnyTool, ...]:
    """Give the tools of one unit. Those that write sources or query are only there where the unit may do so."""
    reads: list[AnyTool] = [
        _tool(desk, "search", SearchInput, lambda given: _search(desk, around, given), is_read_only=True),
        _tool(
            desk,
            "read_evidence",
            ReadEvidenceInput,
            lambda given: _read_evidence(desk, given),
            is_read_only=True,
        ),
        _tool(desk, "read_page", ReadPageInput, lambda given: desk.page_text(given.key), is_read_only=True),
        _tool(
            desk,
            "read_source",
            ReadSourceInput,
            lambda given: desk.source_text(given.connection_id, given.name),
            is_read_only=True,
        ),
    ]
    writes: list[AnyTool] = [
        _tool(desk, "write_page", WritePageInput, lambda given: _write_page(desk, given)),
        _tool(
            desk,
            "edit_page",
            EditPageInput,
            lambda given: desk.edit_page(given.key, _edits(given.edits), given.evidence),
        ),
        _tool(
            desk, "delete_page", DeletePageInput, lambda given: desk.delete_page(given.key, given.evidence)
        ),
        _tool(
            desk,
            "report_unmapped",
            ReportUnmappedInput,
            lambda given: desk.report_unmapped(given.evidence, given.what, given.reason, given.detail),
        ),
    ]
    if desk.plan.connection_ids:
        writes += [
            _tool(
                desk,
                "write_source",
                WriteSourceInput,
                lambda given: desk.write_source(given.connection_id, given.yaml, given.evidence),
            ),
            _tool(
                desk,
                "edit_source",
                EditSourceInput,
                lambda given: desk.edit_source(
                    given.connection_id, given.name, _edits(given.edits), given.evidence
                ),
            ),
        ]
    if around.samples != "none" and around.queryable:
        reads.append(
            _tool(desk, "query", QueryInput, lambda given: _query(desk, around, given), is_read_only=True)
        )
    return (*reads, *writes)


@cache
def prompt(name: str) -> str:
    """Read a prompt or a tool's description."""
    return (resources.files("ktx.ingest") / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip()


def _tool(
    desk: Desk, name: str, model: type[Input], run: Callable[[Input], str], *, is_read_only: bool = False
) -> Tool[Input]:
    def noted(given: Input) -> str:
        about = str(getattr(given, "key", "") or getattr(given, "name", "") or getattr(given, "id", ""))
        try:
            answer = run(given)
        except KtxError as error:
            _note(desk, name, about, error.message, is_error=True)
            raise
        _note(desk, name, about, "" if is_read_only else answer, is_error=False)
        return answer

    return Tool(
        name=name, description=prompt(f"tools/{name}"), input=model, run=noted, is_read_only=is_read_only
    )


def _note(desk: Desk, tool: str, about: str, detail: str, *, is_error: bool) -> None:
    with desk.lock:  # tools that only read run at the same time
        call = Call(
            number=len(desk.calls) + 1,
            tool=tool,
            about=about[:120],
            outcome="error" if is_error else "ok",
            detail=detail[:400],
        )
        desk.calls.append(call)
    if desk.on_call is not None:
        desk.on_call(call)


def _search(desk: Desk, around: Surroundings, given: SearchInput) -> str:
    with around.lock:
        found = discover(around.index, given.query, Scope(), limit=given.limit, lanes=WORD_LANES)
    lines = [
        f"{hit.kind} {f'{hit.connection_id}/' if hit.connection_id else ''}{hit.ref}: {hit.summary}"
        for hit in found.hits
    ]
    mine = [
        f"wiki {artifact.name} (written in this unit)"
        for artifact in {artifact for artifact, _ in desk.changes}
        if artifact.kind == "page"
    ]
    return "\n".join((*lines, *sorted(mine))) or "nothing found"


def _read_evidence(desk: Desk, given: ReadEvidenceInput) -> str:
    document = desk.document(given.id)
    lines = document.text.splitlines()
    last = min(given.last_line or len(lines), len(lines))
    text = "\n".join(lines[given.first_line - 1 : last])
    if len(text) <= _MOST_EVIDENCE_CHARS:
        return text
    shown = text[:_MOST_EVIDENCE_CHARS]
    at = given.first_line + shown.count("\n")
    return f"{shown}\n… the document goes on; ask from line {at} …"


def _write_page(desk: Desk, given: WritePageInput) -> str:
    head: dict[str, Json] = {
        "summary": given.summary,
        "tags": list(given.tags),
        "refs": list(given.refs),
        "sl_refs": list(given.sl_refs),
        "connections": list(given.connections),
        "source": desk.source_id,
    }
    return desk.write_page(given.key, head=head, body=given.body, evidence=given.evidence)


def _edits(edits: Sequence[Edit]) -> list[Replacement]:
    return [Replacement(old=edit.old_text, new=edit.new_text) for edit in edits]


def _query(desk: Desk, around: Surroundings, given: QueryInput) -> str:
    if given.connection_id not in around.queryable:
        known = ", ".join(f"`{one}`" for one in sorted(around.queryable))
        raise UsageError(f"`{given.connection_id[:80]}` cannot be queried.", hint=f"Connections: {known}.")
    rows = around.open_warehouse(given.connection_id).query(
        given.sql, max_rows=given.limit, timeout_s=_QUERY_TIMEOUT_S
    )
    names = [column.name for column in rows.columns]
    told = redact_rows(Table(ref=TableRef(name="result")), rows.rows, names, samples=around.samples)
    desk.shown.extend(shown_rows(rows.rows))
    lines = [
        "\t".join(names),
        *("\t".join("NULL" if row[name] is None else str(row[name]) for name in names) for row in told),
    ]
    more = "\n… more rows left out …" if rows.is_truncated else ""
    return "\n".join(lines) + more
