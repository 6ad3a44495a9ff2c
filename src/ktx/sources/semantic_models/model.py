"""Semantic models and metrics as values, whichever spelling they were read from."""

from dataclasses import dataclass
from typing import Literal

from ktx.sources.dbt_project.project import Relation

EntityType = Literal["primary", "unique", "foreign", "natural"]
MetricType = Literal["simple", "ratio", "derived", "cumulative", "conversion"]


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A key: `expr` over the model's columns, its name when that is all."""

    name: str
    type: EntityType
    expr: str
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """An attribute; `granularity` is set for a time."""

    name: str
    expr: str
    is_time: bool = False
    granularity: str | None = None
    description: str = ""
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class NonAdditiveTime:
    """The time over which a measure may not be added up, and which moment counts."""

    name: str
    window: Literal["min", "max"] = "min"
    groupings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Aggregation:
    """A measure: what is aggregated, and how. `time_dimension` is a dimension of the model."""

    name: str
    agg: str
    expr: str
    percentile: float | None = None
    is_discrete: bool = False
    time_dimension: str = ""
    non_additive: NonAdditiveTime | None = None
    description: str = ""
    label: str = ""
    makes_metric: bool = False


@dataclass(frozen=True, kw_only=True)
class SemanticModel:
    """A model's meaning. `ref` is what names the dbt model, `relation` the table itself where that is known."""

    name: str
    path: str
    ref: str = ""
    relation: Relation | None = None
    description: str = ""
    label: str = ""
    primary_entity: str = ""
    time_dimension: str = ""
    entities: tuple[Entity, ...] = ()
    dimensions: tuple[Dimension, ...] = ()
    aggregations: tuple[Aggregation, ...] = ()

    @property
    def primary_entities(self) -> frozenset[str]:
        """The names under which the model's own dimensions go."""
        named = {one.name for one in self.entities if one.type == "primary"}
        return frozenset(named | ({self.primary_entity} if self.primary_entity else set[str]()))

    def dimension(self, name: str) -> Dimension | None:
        """Give the dimension of that name."""
        return next((one for one in self.dimensions if one.name == name), None)

    def entity(self, name: str) -> Entity | None:
        """Give the entity of that name."""
        return next((one for one in self.entities if one.name == name), None)


@dataclass(frozen=True, kw_only=True)
class Input:
    """A measure or metric as another metric uses it. `offset` is a shift in time, in words."""

    name: str
    alias: str = ""
    filters: tuple[str, ...] = ()
    offset: str = ""
    fill: str | None = None
    joins_timespine: bool = False


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric. For a simple one, `inputs` is its measure, or `own` holds the aggregate and `model` where it lives.

    For a ratio, `inputs` are numerator and denominator. `accumulates` says in words how a cumulative metric does.
    """

    name: str
    type: MetricType
    path: str
    inputs: tuple[Input, ...] = ()
    expr: str = ""
    own: Aggregation | None = None
    model: str = ""
    filters: tuple[str, ...] = ()
    fill: str | None = None
    joins_timespine: bool = False
    accumulates: str = ""
    description: str = ""
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Flaw:
    """An entry that is not a semantic model or a metric as MetricFlow has them."""

    path: str
    what: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Semantics:
    """All semantic models and metrics of a project, by name; the first of two equal names counts."""

    models: tuple[SemanticModel, ...] = ()
    metrics: tuple[Metric, ...] = ()
    saved_queries: tuple[tuple[str, str], ...] = ()
    flaws: tuple[Flaw, ...] = ()
