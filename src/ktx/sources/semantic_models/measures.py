"""Metrics to measures: each lands on the table of its first input, or is named with the reason why it cannot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

from sqlglot import exp

from ktx.sources.dbt_project.expressions import (
    UnknownColumn,
    Unsayable,
    as_said,
    column_of,
    mapped_columns,
    parse_plain,
    parse_row_expression,
    shown,
    written,
)
from ktx.sources.definition import MeasureFact
from ktx.sources.evidence import UnmappedReason
from ktx.sources.semantic_models.conditions import Conditions
from ktx.sources.semantic_models.model import Aggregation, Input, Metric, Semantics
from ktx.sources.semantic_models.standing import Report, Standing, describe, reason_of

Evidence = Callable[[str], tuple[str, ...]]
_MAX_DEPTH: Final = 50


class _Refused(Unsayable):
    """A metric that the layer cannot hold, with the reason that reports name."""

    def __init__(self, reason: UnmappedReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: UnmappedReason = reason


@dataclass(frozen=True, kw_only=True)
class _Landed:
    """Where a metric or measure can be named: the standing of its table, and its name there."""

    home: Standing
    name: str


@dataclass(kw_only=True)
class Measures:
    """Lands metrics and measures, each once; inputs first."""

    semantics: Semantics
    standings: Mapping[str, Standing]
    conditions: Conditions
    report: Report
    evidence: Evidence
    _landed: dict[str, _Landed | Unsayable] = field(default_factory=dict[str, "_Landed | Unsayable"])
    _stack: list[str] = field(default_factory=list[str])

    def land(self) -> None:
        """Put every metric into the draft of its home, then the measures that no metric shows."""
        for metric in self.semantics.metrics:
            found = self._metric(metric.name)
            if isinstance(found, Unsayable):
                self.report(metric.path, f"metric {metric.name}", _reason(found), str(found))
                continue
            if metric.joins_timespine or any(one.joins_timespine for one in metric.inputs):
                self.report(
                    metric.path,
                    f"metric {metric.name} (join_to_timespine)",
                    "expression_not_supported",
                    "The metric is there; periods without rows are listed when a question says `fill`.",
                )
        for standing in self._all():
            for one in standing.model.aggregations:
                if one.name in self._metrics or one.name in self._plain:
                    continue
                found = self._measure(one.name)
                if isinstance(found, Unsayable):
                    self.report(standing.model.path, f"measure {one.name}", _reason(found), str(found))

    # ---- looking up

    def _all(self) -> Sequence[Standing]:
        return [self.standings[name] for name in sorted(self.standings)]

    @cached_property
    def _metrics(self) -> Mapping[str, Metric]:
        return {metric.name: metric for metric in self.semantics.metrics}

    @cached_property
    def _owners(self) -> Mapping[str, tuple[Standing, Aggregation]]:
        """The measures that have a place, by name, with where they are."""
        found: dict[str, tuple[Standing, Aggregation]] = {}
        for standing in self._all():
            for one in standing.model.aggregations:
                found.setdefault(one.name, (standing, one))
        return found

    @cached_property
    def _plain(self) -> Mapping[str, Metric]:
        """The metrics that are exactly one measure, by that measure's name."""
        found: dict[str, Metric] = {}
        for metric in self.semantics.metrics:
            is_bare = metric.type == "simple" and not metric.filters and metric.fill is None
            if (
                is_bare
                and len(metric.inputs) == 1
                and not (metric.inputs[0].filters or metric.inputs[0].fill)
            ):
                found.setdefault(metric.inputs[0].name, metric)
        return found

    def _named(self, name: str) -> _Landed | Unsayable:
        """Give what an input names: a metric, else a measure."""
        if name in self._metrics:
            return self._metric(name)
        shown_by = self._plain.get(name)
        return self._metric(shown_by.name) if shown_by is not None else self._measure(name)

    def _metric(self, name: str) -> _Landed | Unsayable:
        key = f"metric {name}"
        if key not in self._landed:
            if key in self._stack:
                return Unsayable(f"`{name}` is defined by itself.")
            if len(self._stack) > _MAX_DEPTH:
                return Unsayable(f"`{name}` stands behind too many other metrics.")
            self._stack.append(key)
            try:
                self._landed[key] = self._build(self._metrics[name])
            except Unsayable as error:
                self._landed[key] = error
            finally:
                self._stack.pop()
        return self._landed[key]

    def _measure(self, name: str) -> _Landed | Unsayable:
        key = f"measure {name}"
        if key not in self._landed:
            try:
                owner = self._owners.get(name)
                if owner is None:
                    raise UnknownColumn(f"There is no metric or measure `{name}` that has a place.")
                self._landed[key] = self._simple(owner[0], owner[1], name, owner[0].model.path)
            except Unsayable as error:
                self._landed[key] = error
        return self._landed[key]

    # ---- building

    def _build(self, metric: Metric) -> _Landed:
        match metric.type:
            case "simple":
                return self._build_simple(metric)
            case "ratio":
                return self._build_over(metric, _ratio)
            case "derived":
                return self._build_over(metric, _derived)
            case "cumulative":
                asked = metric.inputs[0].name if metric.inputs else "the measure"
                shown_by = None if asked in self._metrics else self._plain.get(asked)
                asked = shown_by.name if shown_by is not None else asked
                raise _Refused(
                    "cumulative_metric_unsupported",
                    f"It accumulates {metric.accumulates}; a question says so of `{asked}` (`cumulative` or `rolling`).",
                )
            case "conversion":
                raise _Refused(
                    "conversion_metric_unsupported",
                    "It follows an entity from one event to another, which no measure of the layer can.",
                )

    def _build_simple(self, metric: Metric) -> _Landed:
        if metric.own is not None:
            standing = self.standings.get(metric.model)
            if standing is None:
                raise UnknownColumn(f"Its semantic model `{metric.model}` has no place.")
            return self._simple(standing, metric.own, metric.name, metric.path, metric=metric)
        used = metric.inputs[0]
        owner = self._owners.get(used.name)
        if owner is None:
            raise UnknownColumn(f"There is no measure `{used.name}` that has a place.")
        return self._simple(owner[0], owner[1], metric.name, metric.path, metric=metric, used=used)

    def _simple(
        self,
        standing: Standing,
        one: Aggregation,
        name: str,
        path: str,
        *,
        metric: Metric | None = None,
        used: Input | None = None,
    ) -> _Landed:
        """Land an aggregate under a name, with the filters of the metric and of its input."""
        time_dimension = one.time_dimension or standing.model.time_dimension
        filters = (*(metric.filters if metric else ()), *(used.filters if used else ()))
        fill = (metric.fill if metric else None) or (used.fill if used else None)
        expr = _aggregate(one, standing)
        description = describe(
            name,
            (metric.description if metric else "") or one.description,
            (metric.label if metric else "") or one.label,
        )
        self._put(
            standing,
            MeasureFact(
                name=name,
                expr=f"coalesce({expr}, {_number(fill)})" if fill else expr,
                filter=self._filter(filters, standing, time_dimension),
                description=description,
                time_dimension=self._time(standing, one.time_dimension),
                non_additive=_non_additive(one, standing),
                evidence=self.evidence(path),
            ),
        )
        return _Landed(home=standing, name=name)

    def _build_over(
        self, metric: Metric, combine: Callable[[Metric, list[exp.Expr], Standing], exp.Expr]
    ) -> _Landed:
        """Land arithmetic over other metrics on the table of the first one."""
        inputs = [self._input(metric, one) for one in metric.inputs]
        home = inputs[0].home
        foreign = next(
            (
                one
                for one in inputs
                if one.home.draft.place.target.connection_id != home.draft.place.target.connection_id
            ),
            None,
        )
        if foreign is not None:
            raise Unsayable(f"`{foreign.name}` is of another warehouse.")
        references: list[exp.Expr] = [
            column_of(one.name, None if one.home.draft is home.draft else one.home.draft.name)
            for one in inputs
        ]
        for index, used in enumerate(metric.inputs):
            if used.fill:
                references[index] = exp.Coalesce(
                    this=references[index], expressions=[exp.Literal.number(_number(used.fill))]
                )
        tree = combine(metric, references, home)
        expr = written(tree, home.draft.place)
        self._put(
            home,
            MeasureFact(
                name=metric.name,
                expr=f"coalesce({expr}, {_number(metric.fill)})" if metric.fill else expr,
                filter=self._filter(metric.filters, home, home.model.time_dimension),
                description=describe(metric.name, metric.description, metric.label),
                evidence=self.evidence(metric.path),
            ),
        )
        return _Landed(home=home, name=metric.name)

    def _input(self, metric: Metric, used: Input) -> _Landed:
        """Give what an input names; one with a filter of its own lands as a measure of its own, `metric__input`."""
        if used.offset:
            raise Unsayable(f"`{used.name}` is shifted by {used.offset}; a question says so (`offset`).")
        found = self._named(used.name)
        if isinstance(found, Unsayable):
            if isinstance(found, _Refused):
                raise _Refused(found.reason, f"It needs `{used.name}`: {found}") from None
            raise type(found)(f"It needs `{used.name}`: {found}") from None
        if not used.filters:
            return found
        name = f"{metric.name}__{used.alias or used.name}"
        self._put(
            found.home,
            MeasureFact(
                name=name,
                expr=written(column_of(found.name), found.home.draft.place),
                filter=self._filter(used.filters, found.home, found.home.model.time_dimension),
                description=f"A part of `{metric.name}`.",
                evidence=self.evidence(metric.path),
            ),
        )
        return _Landed(home=found.home, name=name)

    def _filter(self, texts: tuple[str, ...], home: Standing, time_dimension: str) -> str | None:
        trees = [self.conditions.read(text, home, time_dimension=time_dimension) for text in texts]
        if not trees:
            return None
        parts = [exp.Paren(this=one) if isinstance(one, exp.Or) and len(trees) > 1 else one for one in trees]
        return " AND ".join(dict.fromkeys(written(one, home.draft.place) for one in parts))

    def _time(self, standing: Standing, name: str) -> str | None:
        """Give the column of a measure's own time, None where it is the table's default."""
        wanted = name or standing.model.time_dimension
        column = standing.columns.get(wanted)
        if wanted and column is None:
            raise UnknownColumn(f"Its time dimension `{wanted}` has no place.")
        return None if column == standing.draft.default_time_dimension else column

    def _put(self, home: Standing, measure: MeasureFact) -> None:
        before = home.draft.measures.get(measure.name)
        if before is not None and before != measure:
            raise Unsayable(f"`{home.draft.name}` has another measure of that name.")
        home.draft.measures[measure.name] = measure


def _ratio(_metric: Metric, references: list[exp.Expr], _home: Standing) -> exp.Expr:
    return exp.Div(this=references[0], expression=references[1])


def _derived(metric: Metric, references: list[exp.Expr], home: Standing) -> exp.Expr:
    named: dict[str, exp.Expr] = {}
    for used, reference in zip(metric.inputs, references, strict=True):
        named.setdefault(used.name, reference)
    named.update({used.alias: one for used, one in zip(metric.inputs, references, strict=True) if used.alias})
    tree = parse_plain(metric.expr, home.draft.place.target.dialect)
    if any(isinstance(node, exp.AggFunc | exp.Window) for node in tree.walk()):
        raise Unsayable(f"`{shown(metric.expr)}` aggregates what is already aggregated.")

    def change(column: exp.Column) -> exp.Expr:
        if column.table or column.name not in named:
            raise UnknownColumn(f"`{column.sql()}` is no input of the metric.")
        return named[column.name].copy()

    return mapped_columns(tree, change)


def _aggregate(one: Aggregation, standing: Standing) -> str:
    """Write the aggregate of a measure."""
    tree = parse_row_expression(one.expr, standing.draft.place)
    text = as_said(one.expr, tree, standing.draft.place)
    match one.agg:
        case "sum" | "min" | "max" | "median":
            return f"{one.agg}({text})"
        case "average":
            return f"avg({text})"
        case "count":
            return "count(*)" if isinstance(tree, exp.Literal) else f"count({text})"
        case "count_distinct":
            return f"count(distinct {text})"
        case "sum_boolean":
            return f"sum(case when {text} then 1 else 0 end)"
        case "percentile":
            return f"percentile({text}, {_fraction(one)})"
        case _:
            raise Unsayable(f"`{one.agg}` is no aggregation that the layer knows.")


def _fraction(one: Aggregation) -> str:
    if one.percentile is None or not 0 <= one.percentile <= 1:
        raise Unsayable(f"`{one.percentile}` is no fraction from 0 to 1, as a percentile takes it.")
    if one.is_discrete:
        raise Unsayable("It is a discrete percentile; the layer's percentiles are interpolated.")
    return repr(one.percentile)


def _non_additive(one: Aggregation, standing: Standing) -> tuple[str, Literal["min", "max"]] | None:
    bare = one.non_additive
    if bare is None:
        return None
    column = standing.columns.get(bare.name)
    if column is None:
        raise UnknownColumn(f"`{bare.name}`, over which it is not additive, has no place.")
    if bare.groupings:
        shown_groups = ", ".join(f"`{group}`" for group in bare.groupings)
        raise Unsayable(
            f"The moment that counts differs by {shown_groups}; the layer has one moment per period."
        )
    return column, bare.window


def _number(text: str | None) -> str:
    try:
        value = float(text or "")
    except ValueError:
        raise Unsayable(f"`{shown(text or '')}` is no number to fill with.") from None
    return str(int(value)) if value.is_integer() else repr(value)


def _reason(error: Unsayable) -> UnmappedReason:
    return error.reason if isinstance(error, _Refused) else reason_of(error)
