"""The answers, exactly as agents and scripts see them: one pydantic model per answer, camelCase on the wire, absent parts left out.

The command line prints these with `--json`; the MCP server sends the same objects.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel


class Answer(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        serialize_by_alias=True,
        defer_build=True,
    )

    def plain(self) -> dict[str, Any]:
        """Give the answer as plain JSON values, without the parts that are absent."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ConnectionInfo(Answer):
    """A warehouse that can be asked."""

    id: str
    name: str
    connection_type: str = Field(description="the driver: postgres, duckdb, sqlite, …")


class ConnectionList(Answer):
    """Every warehouse of the project."""

    connections: list[ConnectionInfo]


class LaneStatus(Answer):
    """What one lane of a search did."""

    lane: Literal["lexical", "token", "dictionary", "semantic"]
    status: Literal["ok", "skipped"]
    requested_candidate_pool_limit: int
    effective_candidate_pool_limit: int
    returned_candidate_count: int
    weight: float
    reason: str | None = None


class TableRefInfo(Answer):
    """The physical identity of a table."""

    catalog: str | None = None
    db: str | None = None
    name: str


class Ref(Answer):
    """One thing that was discovered, by its identity; read it with the tool for its kind."""

    kind: Literal["wiki", "sl_source", "sl_measure", "sl_dimension", "sl_segment", "table", "column"]
    id: str
    score: float
    summary: str
    snippet: str
    matched_on: Literal["name", "display", "description", "comment", "expr", "sample_value", "body"]
    connection_id: str | None = None
    table_ref: TableRefInfo | None = None
    column_name: str | None = None


class Discovery(Answer):
    """What the project knows about a question, best first."""

    refs: list[Ref]


class WikiHit(Answer):
    """A wiki page that was found or listed."""

    key: str
    path: str
    scope: Literal["global", "user"]
    summary: str
    score: float
    match_reasons: list[str] | None = None
    snippet: str | None = None
    lanes: list[LaneStatus] | None = None


class WikiSearch(Answer):
    """Wiki pages, best first."""

    results: list[WikiHit]
    total_found: int
    lanes: list[LaneStatus] | None = None


class WikiPage(Answer):
    """A wiki page in full."""

    key: str
    summary: str
    content: str
    scope: Literal["global", "user"]
    tags: list[str] | None = None
    refs: list[str] | None = None
    sl_refs: list[str] | None = None
    stale_since: str | None = None


class ColumnInfo(Answer):
    """A physical column."""

    name: str
    native_type: str
    normalized_type: str
    dimension_type: Literal["string", "number", "time", "boolean"]
    nullable: bool
    primary_key: bool
    comment: str | None


class ForeignKeyInfo(Answer):
    """A declared foreign key; columns pair up by position."""

    columns: list[str]
    references: TableRefInfo
    referenced_columns: list[str]
    name: str | None = None


class SnapshotInfo(Answer):
    """Which scan an answer comes from."""

    sync_id: str
    extracted_at: str
    scan_run_id: str


class TableDetails(Answer):
    """A table as the last scan saw it."""

    ok: Literal[True] = True
    connection_id: str
    table_ref: TableRefInfo
    display: str
    kind: str
    comment: str | None
    estimated_rows: int | None
    columns: list[ColumnInfo]
    foreign_keys: list[ForeignKeyInfo]
    snapshot: SnapshotInfo

    def plain(self) -> dict[str, Any]:
        """Keep the nulls: here they say that the database declares nothing."""
        return self.model_dump(mode="json", by_alias=True)


class EntityError(Answer):
    """Why a table could not be described, and what may have been meant."""

    code: Literal["scan_missing", "table_not_found", "ambiguous_table", "column_not_found"]
    message: str
    candidates: list[str] | None = None


class MissingDetails(Answer):
    """A table that could not be described."""

    ok: Literal[False] = False
    connection_id: str
    table: str
    snapshot: SnapshotInfo | None = None
    error: EntityError


class EntityDetails(Answer):
    """One result per entity asked, in order."""

    results: list[TableDetails | MissingDetails]

    def plain(self) -> dict[str, Any]:
        """Give each result in its own form."""
        return {"results": [result.plain() for result in self.results]}


class DictionaryCoverage(Answer):
    """How much of a connection's values the dictionary has seen."""

    sampled_rows: int | None = None
    values_per_column: int | None = None
    profiled_columns: int
    sync_id: str | None = None
    profiled_at: str | None = None


class DictionaryScope(Answer):
    """One connection that was searched."""

    connection_id: str
    coverage: DictionaryCoverage | None = None
    status: Literal["ready", "no_profile_artifact", "no_candidate_columns"]


class ValueMatch(Answer):
    """A column in which the value was seen, in the spelling found there."""

    connection_id: str
    source_name: str
    column_name: str
    matched_value: str
    cardinality: int | None = None


class ValueMiss(Answer):
    """A connection in which the value was not seen; that it is absent does not follow."""

    connection_id: str
    reason: Literal["value_not_in_sample", "no_profile_artifact", "no_candidate_columns"]


class ValueResult(Answer):
    """What was found for one value."""

    value: str
    matches: list[ValueMatch]
    misses: list[ValueMiss]


class DictionarySearch(Answer):
    """Where literal values live."""

    searched: list[DictionaryScope]
    results: list[ValueResult]


class SourceHit(Answer):
    """A semantic source that was found or listed."""

    connection_id: str
    name: str
    summary: str
    score: float | None = None
    match_reasons: list[str] | None = None
    table: str | None = None
    measures: int | None = None
    dimensions: int | None = None


class SourceSearch(Answer):
    """Semantic sources, best first, or all by name."""

    results: list[SourceHit]
    total_found: int
    lanes: list[LaneStatus] | None = None


class SourceText(Answer):
    """A semantic source as it stands once its files are put together."""

    source_name: str
    yaml: str


class CommitInfo(Answer):
    """The commit that last changed a file."""

    id: str
    at: str
    author: str
    subject: str


class NonAdditiveInfo(Answer):
    """Which rows of a period count for a measure that does not add up over time."""

    dimension: str
    window: Literal["min", "max"]


class Definition(Answer):
    """A measure or segment as the layer defines it, and where. `commit` is null when git has no version of the file.

    `dirty` says that the file differs from that commit: what counted here is nowhere recorded yet.
    """

    kind: Literal["measure", "segment"]
    name: str
    expr: str
    filter: str | None = None
    segments: list[str]
    description: str | None = None
    non_additive: NonAdditiveInfo | None = None
    is_implicit: bool = False
    file: str | None = None
    line: int | None = None
    commit: CommitInfo | None = None
    dirty: bool | None = None


class PathInfo(Answer):
    """The joins that lead from a fact to something, in order; none when it is the fact's own column."""

    fact: str
    to: str
    joins: list[str]
    is_fan_out: bool = False


class MeasureReceipt(Answer):
    """Where one measure of the answer comes from: the declared measures behind it, the sources aggregated, the joins taken."""

    name: str
    asked: str
    filter: str | None = None
    definitions: list[Definition]
    facts: list[str]
    paths: list[PathInfo]


class FilterReceipt(Answer):
    """What one filter did to one fact."""

    asked: str
    text: str
    use: Literal["where", "exists", "not_applied", "groups"]
    joins: list[str]
    reason: str | None = None


class AggregateReceipt(Answer):
    """One aggregate over a fact. `rows` met its conditions and the filters; `nullRows` of them had nothing to measure."""

    label: str
    expr: str
    conditions: list[str]
    rows: int | None = None
    null_rows: int | None = None


class JoinReceipt(Answer):
    """How many rows of the fact found no partner at the end of these joins; they count in the NULL group."""

    joins: list[str]
    rows_without_match: int
    rows_with_null_key: int


class RowCounts(Answer):
    """Rows of the fact: in its source, after its joins, kept by the filters. `rowsLost` and `rowsMultiplied` are measured."""

    source_rows: int
    joined_rows: int
    rows_lost: int
    rows_multiplied: int
    kept_rows: int


class Freshness(Answer):
    """How new the rows of a fact are: the latest value of one of its time columns."""

    column: str
    latest: JsonValue


class FactReceipt(Answer):
    """One source aggregated at its own grain. `rows` is null when they were not counted; `notCounted` says why."""

    home: str
    aggregates: list[AggregateReceipt]
    filters: list[FilterReceipt]
    is_deduplicated: bool
    rows: RowCounts | None = None
    joins: list[JoinReceipt]
    not_counted: str | None = None
    freshness: Freshness | None = None


class RowLimitInfo(Answer):
    """How many rows were asked for at most, and whether there were more."""

    limit: int | None = None
    is_hit: bool


class Receipt(Answer):
    """What an answer rests on: definitions with their commits, joins, filters, and the rows that counted."""

    measures: list[MeasureReceipt]
    segments: list[Definition]
    facts: list[FactReceipt]
    group_filters: list[str]
    row_limit: RowLimitInfo
    warnings: list[str]
    notes: list[str]


class QueryAnswer(Answer):
    """The rows that answer a semantic question. `totalRows` counts them; `warnings` say what to know about them."""

    connection_id: str | None = None
    dialect: str | None = None
    headers: list[str]
    rows: list[list[JsonValue]]
    total_rows: int
    warnings: list[str]
    notes: list[str] | None = None
    sql: str | None = None
    plan: JsonValue = None
    receipt: Receipt | None = None

    def plain(self) -> dict[str, Any]:
        """Keep the nulls of a receipt: there they say that something is not known."""
        plain = super().plain()
        if self.receipt is not None:
            plain["receipt"] = self.receipt.model_dump(mode="json", by_alias=True)
        return plain


class PackRule(Answer):
    """What the team wrote down. `excerpt` is whole paragraphs; `isWhole` when it is all of the page."""

    key: str
    summary: str
    is_always: bool | None = None
    stale_since: str | None = None
    excerpt: str | None = None
    is_whole: bool | None = None


class PackMeasure(Answer):
    """A measure that can be asked as `source.name`."""

    name: str
    expr: str
    filter: str | None = None
    segments: list[str] | None = None
    description: str | None = None


class PackColumn(Answer):
    """A column to group and filter by."""

    name: str
    type: str
    description: str | None = None
    expr: str | None = None


class PackSegment(Answer):
    """A named condition."""

    name: str
    expr: str
    description: str | None = None


class PackSource(Answer):
    """A semantic source with those of its parts that the question may need."""

    connection_id: str
    name: str
    table: str | None = None
    description: str | None = None
    grain: list[str] | None = None
    measures: list[PackMeasure]
    columns: list[PackColumn]
    segments: list[PackSegment] | None = None


class PackJoin(Answer):
    """How one source reaches another: `to_one` may be grouped by, over `fan` a row has many partners."""

    connection_id: str
    origin: str
    target: str
    shape: Literal["to_one", "fan"]
    steps: list[str] | None = None
    problem: str | None = None


class PackValue(Answer):
    """A stored value that the question seems to name, in its stored spelling."""

    connection_id: str
    source: str
    column: str
    value: str


class LeftOut(Answer):
    """Something relevant that is not here, and the call that gives it."""

    what: str
    tool: str
    arguments: dict[str, JsonValue]


class ContextPack(Answer):
    """What there is to know for a question, within a budget. `tokens` is letters of the compact JSON by four, rounded up."""

    tokens: int
    token_budget: int
    rules: list[PackRule]
    sources: list[PackSource]
    joins: list[PackJoin]
    values: list[PackValue]
    left_out: list[LeftOut]
    left_out_count: int


class CompiledAnswer(Answer):
    """A semantic question as SQL, not executed."""

    connection_id: str
    dialect: str
    headers: list[str]
    sql: str
    warnings: list[str]
    plan: JsonValue = None


class SqlAnswer(Answer):
    """The rows of a SQL statement."""

    headers: list[str]
    header_types: list[str] | None = None
    rows: list[list[JsonValue]]
    row_count: int
    is_truncated: bool | None = None
    notes: list[str] | None = None


class FindingInfo(Answer):
    """One problem in the layer, with its place and the way out."""

    level: Literal["error", "warning", "note"]
    code: str
    message: str
    file: str | None = None
    line: int | None = None
    path: str | None = None
    fix: str | None = None


class Validation(Answer):
    """What is wrong with the layer; `ok` when nothing is an error."""

    ok: bool
    checked: int
    findings: list[FindingInfo]


class VectorCount(Answer):
    """The texts that got a vector, and those without one; without a model there is a `reason`."""

    model: str | None = None
    computed: int = 0
    missing: int = 0
    reason: str | None = None


class Reindexed(Answer):
    """What bringing the search index up to date did, in files; `documents` counts what can be found, by kind."""

    documents: dict[str, int]
    added: int
    changed: int
    removed: int
    unchanged: int
    skipped: list[str]
    vectors: VectorCount
    seconds: float


class CheckedConnection(Answer):
    """One connection that was checked, and what against: the warehouse itself, the last scan of it, or the files alone."""

    connection_id: str
    catalog: Literal["live", "last-scan", "none", "unreachable"]
    sources: int
    tables: int | None = None
    error: str | None = None
    hint: str | None = None


class ContextCheck(Answer):
    """Whether the context still fits; `ok` when nothing is an error and every warehouse could be asked."""

    ok: bool
    connections: list[CheckedConnection]
    pages: int
    findings: list[FindingInfo]
    seconds: float


class MemoryRun(Answer):
    """The run that works on a text."""

    run_id: str = Field(description="ask `memory_ingest_status` about it")


class Captured(Answer):
    """What a text has become."""

    wiki: list[str] = Field(description="keys of pages that were made or changed")
    sl: list[str] = Field(description="definitions that were made or changed, as `connection/source.name`")
    xrefs: list[str] = Field(description="keys of pages that these pages point at")


class MemoryStatus(Answer):
    """How the run of a text stands."""

    run_id: str
    status: Literal["running", "done", "error"]
    stage: str = Field(description="where it is; once done, also what was left out and why")
    done: bool = Field(description="whether it is over, well or not")
    captured: Captured
    error: str | None = Field(
        description="why it failed, or which part did; what is captured has landed all the same"
    )
    commit_hash: str | None = Field(description="the git commit that holds what was captured")
    skills_loaded: list[str] = Field(
        description="always empty: the instructions are fixed, nothing is loaded on the way"
    )
    signal_detected: bool = Field(description="whether the text held anything worth keeping")

    def plain(self) -> dict[str, Any]:
        """Give the answer as plain JSON values, `null` included: its shape is always the same."""
        return self.model_dump(mode="json", by_alias=True)
