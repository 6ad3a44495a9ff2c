"""Entries to values: one reading for legacy YAML, the current YAML under `models:`, `manifest.json` and `semantic_manifest.json`.

The current spelling keeps `type_params` at the metric itself; where both spellings have a key, either is taken.
"""

import re
from collections.abc import Mapping
from typing import Final, cast, get_args

from ktx.sources.dbt_project.plain import (
    as_flag,
    as_list,
    as_map,
    as_maps,
    as_name,
    as_text,
    as_texts,
    expression_text,
    is_map,
)
from ktx.sources.dbt_project.project import Relation
from ktx.sources.semantic_models.model import (
    Aggregation,
    Dimension,
    Entity,
    EntityType,
    Input,
    Metric,
    MetricType,
    NonAdditiveTime,
    SemanticModel,
)

AGGREGATIONS: Final = frozenset(
    {"sum", "min", "max", "average", "count", "count_distinct", "sum_boolean", "median", "percentile"}
)


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


class BadEntry(ValueError):  # noqa: N818 - it says what is bad, and is always caught
    """An entry that is not what it should be; the message says why."""


def read_semantic_model(entry: Mapping[str, object], path: str) -> SemanticModel:
    """Make a semantic model of a legacy entry or one of a manifest.

    Raises:
        BadEntry: it has no name, or a part of it is of no known kind.
    """
    name = _name(entry)
    relation = as_map(entry.get("node_relation"))
    alias = as_text(relation.get("alias"))
    return SemanticModel(
        name=name,
        path=path,
        ref=as_text(entry.get("model")),
        relation=None
        if not alias
        else Relation(
            name=alias,
            schema=as_text(relation.get("schema_name")) or None,
            database=as_text(relation.get("database")) or None,
        ),
        description=as_text(entry.get("description")),
        label=as_text(entry.get("label")),
        primary_entity=as_text(entry.get("primary_entity")),
        time_dimension=as_text(as_map(entry.get("defaults")).get("agg_time_dimension")),
        entities=tuple(read_entity(one) for one in as_maps(entry.get("entities"))),
        dimensions=tuple(read_dimension(one) for one in as_maps(entry.get("dimensions"))),
        aggregations=tuple(read_aggregation(one) for one in as_maps(entry.get("measures"))),
    )


def read_entity(entry: Mapping[str, object]) -> Entity:
    """Make an entity."""
    name = _name(entry)
    kind = as_text(entry.get("type")).lower()
    if kind not in get_args(EntityType):
        raise BadEntry(f"The entity `{name}` has the unknown type `{kind}`.")
    return Entity(
        name=name,
        type=cast("EntityType", kind),
        expr=expression_text(entry.get("expr")) or name,
        description=as_text(entry.get("description")),
    )


def read_dimension(entry: Mapping[str, object]) -> Dimension:
    """Make a dimension."""
    name = _name(entry)
    kind = as_text(entry.get("type")).lower()
    if kind not in {"categorical", "time"}:
        raise BadEntry(f"The dimension `{name}` has the unknown type `{kind}`.")
    params = as_map(entry.get("type_params"))
    granularity = as_text(params.get("time_granularity")) or as_text(entry.get("granularity"))
    return Dimension(
        name=name,
        expr=expression_text(entry.get("expr")) or name,
        is_time=kind == "time",
        granularity=granularity.lower() or None if kind == "time" else None,
        description=as_text(entry.get("description")),
        label=as_text(entry.get("label")),
    )


def read_aggregation(entry: Mapping[str, object]) -> Aggregation:
    """Make a measure, or the aggregate of a simple metric."""
    name = _name(entry)
    agg = as_text(entry.get("agg")).lower()
    if agg not in AGGREGATIONS:
        raise BadEntry(f"The measure `{name}` has the unknown aggregation `{agg}`.")
    params = {**entry, **as_map(entry.get("agg_params"))}
    percentile = params.get("percentile")
    return Aggregation(
        name=name,
        agg=agg,
        expr=expression_text(entry.get("expr")) or name,
        percentile=float(percentile) if isinstance(percentile, int | float) else None,
        is_discrete=as_flag(params.get("use_discrete_percentile"), default=False)
        or as_text(params.get("percentile_type")).lower() == "discrete",
        time_dimension=as_text(entry.get("agg_time_dimension")),
        non_additive=_non_additive(as_map(entry.get("non_additive_dimension"))),
        description=as_text(entry.get("description")),
        label=as_text(entry.get("label")),
        makes_metric=as_flag(entry.get("create_metric"), default=False),
    )


def read_metric(entry: Mapping[str, object], path: str, *, model: str = "") -> Metric:
    """Make a metric; `model` is the semantic model under which it stands.

    Raises:
        BadEntry: it has no name, is of no known type, or lacks what its type needs.
    """
    name = _name(entry)
    if "calculation_method" in entry:
        raise BadEntry(f"The metric `{name}` is written for dbt_metrics, which MetricFlow has replaced.")
    kind = as_text(entry.get("type")).lower() or "simple"
    if kind not in get_args(MetricType):
        raise BadEntry(f"The metric `{name}` has the unknown type `{kind}`.")
    params = {
        **entry,
        **{key: one for key, one in as_map(entry.get("type_params")).items() if one is not None},
    }
    own, home = _own_aggregation(params, name, model)
    fill = params.get("fill_nulls_with")
    return Metric(
        name=name,
        type=cast("MetricType", kind),
        path=path,
        inputs=_inputs(cast("MetricType", kind), params, name, has_own=own is not None),
        expr=expression_text(params.get("expr")) or "",
        own=own if kind == "simple" else None,
        model=home,
        filters=read_filters(entry.get("filter")),
        fill=expression_text(fill),
        joins_timespine=as_flag(params.get("join_to_timespine"), default=False),
        accumulates=_accumulates(params) if kind == "cumulative" else "",
        description=as_text(entry.get("description")),
        label=as_text(entry.get("label")),
    )


def read_filters(value: object) -> tuple[str, ...]:
    """Give the conditions of a filter, all of which must hold: text, a list, or the form of the manifests."""
    if is_map(value):
        data = as_map(value)
        if "where_sql_template" in data:
            return as_texts(data.get("where_sql_template"))
        return tuple(text for one in as_list(data.get("where_filters")) for text in read_filters(one))
    return tuple(
        text for one in as_list(value) for text in (read_filters(one) if is_map(one) else as_texts([one]))
    )


def _own_aggregation(params: Mapping[str, object], name: str, model: str) -> tuple[Aggregation | None, str]:
    """Give the aggregate that a simple metric states itself, and its semantic model."""
    nested = as_map(params.get("metric_aggregation_params"))
    if nested:
        merged = {**nested, "name": name, "expr": params.get("expr")}
        return read_aggregation(merged), as_text(nested.get("semantic_model")) or model
    if as_text(params.get("agg")):
        plain = {
            key: one for key, one in params.items() if key not in {"description", "label", "type_params"}
        }
        return read_aggregation({**plain, "name": name}), model
    return None, model


def _inputs(kind: MetricType, params: Mapping[str, object], name: str, *, has_own: bool) -> tuple[Input, ...]:
    match kind:
        case "simple":
            values = [] if has_own else [params.get("measure")]
        case "ratio":
            values = [params.get("numerator"), params.get("denominator")]
        case "derived":
            values = as_list(params.get("input_metrics")) or as_list(params.get("metrics"))
        case "cumulative":
            nested = as_map(params.get("cumulative_type_params"))
            values = [params.get("input_metric") or params.get("measure") or nested.get("metric")]
        case "conversion":
            return ()
    found = tuple(_input(one) for one in values)
    if any(not one.name for one in found) or (not found and not has_own):
        raise BadEntry(f"The metric `{name}` does not say what it is made of.")
    return found


def _input(value: object) -> Input:
    if not is_map(value):
        return Input(name=as_text(value))
    data = as_map(value)
    window = data.get("offset_window")
    return Input(
        name=as_text(data.get("name")),
        alias=as_text(data.get("alias")),
        filters=read_filters(data.get("filter")),
        offset=window_text(window) or as_text(data.get("offset_to_grain")),
        fill=expression_text(data.get("fill_nulls_with")),
        joins_timespine=as_flag(data.get("join_to_timespine"), default=False),
    )


def window_text(value: object) -> str:
    """Give a window in words, whether it was text or a count with a granularity."""
    data = as_map(value)
    return (
        f"{as_text(data.get('count'))} {as_text(data.get('granularity'))}".strip() if data else as_text(value)
    )


def _accumulates(params: Mapping[str, object]) -> str:
    nested = {
        **params,
        **{k: v for k, v in as_map(params.get("cumulative_type_params")).items() if v is not None},
    }
    window, grain = window_text(nested.get("window")), as_text(nested.get("grain_to_date"))
    if window:
        return f"over the last {window}"
    return f"within each {grain}" if grain else "over all time"


def _non_additive(data: Mapping[str, object]) -> NonAdditiveTime | None:
    if not as_text(data.get("name")):
        return None
    window = as_text(data.get("window_choice")) or as_text(data.get("window_agg")) or "min"
    if window.lower() not in {"min", "max"}:
        raise BadEntry(f"`{window}` is no moment of a period; `min` and `max` are.")
    return NonAdditiveTime(
        name=as_text(data.get("name")),
        window="max" if window.lower() == "max" else "min",
        groupings=as_texts(data.get("window_groupings")) or as_texts(data.get("group_by")),
    )


def _name(entry: Mapping[str, object]) -> str:
    name = as_text(entry.get("name"))
    if not name:
        raise BadEntry("An entry has no name.")
    if _NAME.fullmatch(name) is None:
        raise BadEntry(f"`{as_name(name)}` is no name: letters, digits and `_` are.")
    return name
