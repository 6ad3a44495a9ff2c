"""The semantic layer as values: sources with their columns, measures, segments and joins.

Free text (`expr`, `filter`, `on`, `sql`, `table`) stays text here: only `ktx.semantic.expressions` gives it a meaning, in
the dialect of the warehouse. Every part knows its `place`, so that a problem points at a file and a line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ktx.catalog import Cardinality, ColumnKind
from ktx.findings import Finding, Place

Visibility = Literal["public", "internal", "hidden"]
ColumnRole = Literal["default", "time"]
WindowEdge = Literal["min", "max"]

NOWHERE = Place()


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of a source; one with `expr` is computed from other columns.

    `role="time"` lets a column of another kind be used as a time; `visibility="hidden"` keeps it out of every question.
    `is_typed` is False when nobody said which kind it has and `kind` is a guess.
    """

    name: str
    kind: ColumnKind = "string"
    role: ColumnRole = "default"
    visibility: Visibility = "public"
    is_typed: bool = True
    expr: str | None = None
    natural_granularity: str | None = None
    descriptions: Mapping[str, str] = field(default_factory=dict[str, str])
    enum_values: tuple[str, ...] = ()
    place: Place = NOWHERE

    @property
    def is_time(self) -> bool:
        """Whether a granularity may be asked of it."""
        return self.kind == "time" or self.role == "time"


@dataclass(frozen=True, kw_only=True)
class NonAdditive:
    """A measure that may be added up over everything except one time: balances, head counts, stock.

    Within each period asked for, only the rows at the first (`min`) or last (`max`) moment of `dimension` count.
    """

    dimension: str
    window: WindowEdge = "max"
    place: Place = NOWHERE


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """A named aggregate: over columns, or derived from other measures.

    `segments` are bare names of the same source. `time_dimension` is the column that `metric_time` means for it.
    `is_implicit` marks one that the layer derives by itself and stores nowhere.
    """

    name: str
    expr: str
    filter: str | None = None
    segments: tuple[str, ...] = ()
    description: str | None = None
    time_dimension: str | None = None
    non_additive: NonAdditive | None = None
    is_implicit: bool = False
    place: Place = NOWHERE


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A named condition on the rows of a source."""

    name: str
    expr: str
    description: str | None = None
    place: Place = NOWHERE


@dataclass(frozen=True, kw_only=True, slots=True)
class Join:
    """A way from the source that holds it to another, under a whole SQL condition.

    `relationship` is seen from the holder. `alias` names the role that the target plays; what lies behind the target
    can be reached through the alias too.
    """

    to: str
    on: str
    relationship: Cardinality = "many_to_one"
    alias: str | None = None
    place: Place = NOWHERE

    @property
    def name(self) -> str:
        """The name under which a question reaches the target through this join."""
        return self.alias or self.to


@dataclass(frozen=True, kw_only=True)
class Source:
    """A table, or a query, with what it means. Exactly one of `table` and `sql` is set.

    `table` is a dotted physical name whose parts may be quoted; `grain` names the columns that tell its rows apart.
    `default_time_dimension` is the column that `metric_time` means for its measures.
    """

    name: str
    table: str | None = None
    sql: str | None = None
    grain: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    measures: tuple[Measure, ...] = ()
    segments: tuple[Segment, ...] = ()
    joins: tuple[Join, ...] = ()
    default_time_dimension: str | None = None
    descriptions: Mapping[str, str] = field(default_factory=dict[str, str])
    place: Place = NOWHERE

    def column(self, name: str) -> Column | None:
        """Give the column of exactly that name."""
        return next((column for column in self.columns if column.name == name), None)

    def measure(self, name: str) -> Measure | None:
        """Give the measure of exactly that name."""
        return next((measure for measure in self.measures if measure.name == name), None)

    def segment(self, name: str) -> Segment | None:
        """Give the segment of exactly that name."""
        return next((segment for segment in self.segments if segment.name == name), None)

    @property
    def description(self) -> str | None:
        """The description that counts: a person's, else dbt's, else a model's, else the database's, else any."""
        for key in ("user", "dbt", "ai", "db"):
            if text := self.descriptions.get(key):
                return text
        return next((text for text in self.descriptions.values() if text), None)


Outline = Mapping[str, tuple[tuple[str, str | None], ...]]
"""Who joins whom: for each source that joins any, the targets with their aliases."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """All sources of one connection, composed and ready to be asked; two layers are equal only when they are one.

    `sources` may build its values when they are first read. `findings` are what loading had to say. `broken` holds the
    names whose files could not be used, each with the reasons: a question about one is refused with them.
    """

    connection_id: str
    sources: Mapping[str, Source] = field(default_factory=dict[str, Source])
    findings: tuple[Finding, ...] = ()
    broken: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict[str, tuple[Finding, ...]])
    kept_outline: Outline | None = None

    @property
    def outline(self) -> Outline:
        """Who joins whom, without building sources where that is kept beside them."""
        if self.kept_outline is not None:
            return self.kept_outline
        return {
            source.name: tuple((join.to, join.alias) for join in source.joins)
            for source in self.sources.values()
            if source.joins
        }
