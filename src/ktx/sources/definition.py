"""What a context source defines, in the words of the semantic layer but under its tool's own names.

An ingest finds the layer's name for each definition, rewrites what refers to it, and merges entry by entry. Expressions are
SQL of the warehouse's dialect: a definition's own columns bare, those of another definition as `name.column`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ktx.catalog import Cardinality, ColumnKind, TableRef

Scalar = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class TestFact:
    """A test that a tool runs on a column; `package` is None for the tool's own."""

    __test__ = False

    name: str
    package: str | None = None
    kwargs: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, kw_only=True)
class ColumnFact:
    """What a tool says about a column; with `expr` the column is computed from others. None means: not said."""

    name: str
    description: str | None = None
    kind: ColumnKind | None = None
    expr: str | None = None
    is_time: bool = False
    is_hidden: bool = False
    natural_granularity: str | None = None
    enum_values: tuple[Scalar, ...] = ()
    is_not_null: bool | None = None
    is_unique: bool | None = None
    tests: tuple[TestFact, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MeasureFact:
    """An aggregate. `non_additive` is a time column and which moment of a period counts."""

    name: str
    expr: str
    filter: str | None = None
    segments: tuple[str, ...] = ()
    description: str | None = None
    time_dimension: str | None = None
    non_additive: tuple[str, Literal["min", "max"]] | None = None
    evidence: tuple[str, ...] = ()
    """Ids of documents, where others than the definition's own."""


@dataclass(frozen=True, kw_only=True)
class SegmentFact:
    """A named row filter."""

    name: str
    expr: str
    description: str | None = None


@dataclass(frozen=True, kw_only=True)
class JoinFact:
    """A way to another definition, by its name. `on` qualifies every column: this side by this definition's own name, the
    other side by `to`, or by `alias` where that is given.
    """

    to: str
    on: str
    relationship: Cardinality
    alias: str | None = None


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What one source says about one table (`table`), or about a SELECT of its own (`sql`); exactly one of the two is given.

    `name` is unique within the source. `author` is the key under which descriptions are kept (`dbt`, `lookml`, …).
    `evidence` are the ids of the documents that say so.
    """

    name: str
    connection_id: str
    author: str
    evidence: tuple[str, ...]
    table: TableRef | None = None
    sql: str | None = None
    description: str | None = None
    grain: tuple[str, ...] = ()
    columns: tuple[ColumnFact, ...] = ()
    measures: tuple[MeasureFact, ...] = ()
    segments: tuple[SegmentFact, ...] = ()
    joins: tuple[JoinFact, ...] = ()
    tags: tuple[str, ...] = ()
    freshness: Mapping[str, object] | None = None
    default_time_dimension: str | None = None
    made_from: tuple[TableRef, ...] = ()
    """Tables that this one is computed from, directly or not, where the tool also says how this one is joined: an inferred
    one-to-one join to one of them leads to an earlier copy of the same rows, and makes a second way to everything behind it."""


@dataclass(frozen=True, kw_only=True)
class PageFact:
    """A wiki page that a source's structure gives without a model.

    `refs` are keys of other pages of this source; `definitions` are `name` or `name.entity` of its definitions, which become
    `sl_refs`; in `body` they are written as `` `{{name}}` `` or `` `{{name.entity}}` `` and become references of the layer,
    or plain text when the layer has no such thing. `[[key]]` links pages. `head` is further front matter that a person wrote
    (`sl_refs` of the layer, `usage_mode`, …), to be kept as it is.
    """

    key: str
    summary: str
    body: str
    evidence: tuple[str, ...]
    tags: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()
    definitions: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    head: Mapping[str, object] = field(default_factory=dict[str, object])
    is_verbatim: bool = False
    """Whether the page is the document itself, which a model would read instead of keeping it as it is."""
