"""What a compiled question does, as frozen data that explanations, receipts and tests read."""

from dataclasses import dataclass
from typing import Literal

from ktx.catalog import ColumnKind

FilterUse = Literal["where", "exists", "not_applied", "groups"]


@dataclass(frozen=True, kw_only=True)
class OutputColumn:
    """One column of the answer. `field` is what was asked; `kind` is None where the engine decides."""

    name: str
    field: str
    role: Literal["dimension", "measure"]
    kind: ColumnKind | None = None
    granularity: str | None = None


@dataclass(frozen=True, kw_only=True)
class DimensionStep:
    """How one fact reaches one dimension; `joins` are the steps, none when the column is its own."""

    name: str
    joins: tuple[str, ...]
    is_fan_out: bool = False


@dataclass(frozen=True, kw_only=True)
class FilterStep:
    """What one filter does to one fact: a WHERE on its rows, an EXISTS beside them, or nothing and why.

    `asked` is how the question put it, `text` what it means.
    """

    text: str
    use: FilterUse
    asked: str = ""
    joins: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class AggregateStep:
    """One aggregate over the rows of a fact: the rows that meet `conditions`; `joins` are what its own input needs."""

    label: str
    expr: str
    conditions: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MeasureStep:
    """Where one column of the answer comes from.

    `definitions` are the declared measures behind it, as `source.measure`, the outermost first; none when the question
    wrote the aggregate itself. `facts` are the sources that are aggregated for it.
    """

    name: str
    asked: str
    filter: str | None = None
    definitions: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FactStep:
    """One source aggregated at its own grain.

    `is_deduplicated` means that its rows are counted once per group although a dimension lies over a one-to-many step, so
    groups overlap and do not add up to the total.
    """

    home: str
    measures: tuple[str, ...]
    dimensions: tuple[DimensionStep, ...]
    filters: tuple[FilterStep, ...]
    aggregates: tuple[AggregateStep, ...] = ()
    is_deduplicated: bool = False
    is_members: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole way from a question to its rows."""

    dialect: str
    columns: tuple[OutputColumn, ...]
    facts: tuple[FactStep, ...]
    measures: tuple[MeasureStep, ...]
    combination: Literal["single", "union", "cross"]
    group_filters: tuple[str, ...]
    order_by: tuple[str, ...]
    row_limit: int | None
    warnings: tuple[str, ...]


def render_plan(plan: Plan) -> str:
    """Render a plan for people, one numbered step per line."""
    lines: list[str] = []
    for number, fact in enumerate(plan.facts, start=1):
        lines += [
            f"{number}. {line}" if index == 0 else f"   {line}"
            for index, line in enumerate(_fact_lines(fact))
        ]
    number = len(plan.facts) + 1
    for line in _outer_lines(plan):
        lines.append(f"{number}. {line}")
        number += 1
    lines += [f"! {warning}" for warning in plan.warnings]
    return "\n".join(lines) + "\n"


def _fact_lines(fact: FactStep) -> list[str]:
    if fact.is_members:
        lines = [f"List the members of the dimensions from `{fact.home}`, also those without any fact."]
    elif fact.measures:
        lines = [f"Aggregate `{fact.home}` at its own grain: {', '.join(fact.measures)}."]
    else:
        lines = [f"Read `{fact.home}`."]
    for dimension in fact.dimensions:
        way = " -> ".join(dimension.joins) if dimension.joins else "its own column"
        lines.append(f"group by {dimension.name}: {way}{' (fan-out)' if dimension.is_fan_out else ''}")
    if fact.is_deduplicated:
        lines.append("each row counts once per group; groups overlap, so they do not add up to the total")
    for step in fact.filters:
        way = f" through {' -> '.join(step.joins)}" if step.joins else ""
        if step.use == "not_applied":
            lines.append(f"filter {step.text}: not applied, {step.reason}")
        else:
            word = {"where": "rows where", "exists": "rows for which a match exists:"}.get(step.use, step.use)
            lines.append(f"keep {word} {step.text}{way}")
    return lines


def _outer_lines(plan: Plan) -> list[str]:
    lines: list[str] = []
    if plan.combination == "union":
        lines.append(
            "Put the results under each other and merge equal groups, NULL groups included; missing counts are 0."
        )
    elif plan.combination == "cross":
        lines.append("Put the single rows beside each other.")
    lines += [f"Keep groups where {text}." for text in plan.group_filters]
    if plan.order_by:
        lines.append(f"Sort by {', '.join(plan.order_by)}; NULLs last.")
    if plan.row_limit is not None:
        lines.append(
            f"Give at most {plan.row_limit} rows; one more is read to see whether the limit cut any."
        )
    lines.append(f"Columns: {', '.join(column.name for column in plan.columns)}.")
    return lines
