"""Measures seen through time or against a total: offset, rolling, cumulative, percent of total, and filled periods.

All of them are windows over the finished groups. Periods are numbered, so that a gap in the data is a gap in the window, and a
value is never taken from the wrong period. What windows over groups cannot give exactly is refused.
"""

from dataclasses import dataclass

from sqlglot import exp

from ktx.errors import QueryError
from ktx.semantic.dialects import Facts, fill, truncated
from ktx.semantic.expressions import true_division
from ktx.semantic.fanout import Branch, Dimension
from ktx.semantic.query import MeasureAsk, Query
from ktx.semantic.resolve import LEAF, Leaf
from ktx.semantic.rows import last_fan

_IN_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_IN_DAYS = {"day": 1, "week": 7}


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """A window over the groups for one output: what was asked, the time dimension it runs along, and the ones beside it."""

    ask: MeasureAsk
    time: Dimension | None
    beside: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Spine:
    """Periods to list although nothing happened in them; `zeros` are the outputs that are then 0."""

    time: Dimension
    zeros: frozenset[str]


def is_shaped(ask: MeasureAsk) -> bool:
    """Whether a measure is asked for in any of these forms."""
    return bool(ask.offset or ask.rolling or ask.cumulative or ask.percent_of_total)


def is_additive(tree: exp.Expr, leaves: dict[str, Leaf]) -> bool:
    """Whether a measure over a union of groups is the sum over the groups: sums and counts, and what is linear in them."""
    inner = tree.unnest()
    if isinstance(inner, exp.Column) and inner.table == LEAF:
        call = leaves[inner.name].call
        if leaves[inner.name].balance is not None:
            return False
        return isinstance(call, exp.Sum | exp.Count | exp.CountIf) and not isinstance(call.this, exp.Distinct)
    if isinstance(inner, exp.Add | exp.Sub):
        return is_additive(inner.left, leaves) and is_additive(inner.right, leaves)
    if isinstance(inner, exp.Mul):
        sides = (inner.left, inner.right)
        return any(
            isinstance(one.unnest(), exp.Literal) and is_additive(other, leaves)
            for one, other in (sides, reversed(sides))
        )
    return isinstance(inner, exp.Neg) and is_additive(inner.this, leaves)


def read_shape(
    ask: MeasureAsk,
    tree: exp.Expr,
    *,
    dimensions: tuple[Dimension, ...],
    leaves: dict[str, Leaf],
    facts: Facts,
) -> Shape | None:
    """Check that a measure can be given exactly in the asked form.

    Raises:
        QueryError: when it cannot, with the reason.
    """
    if not is_shaped(ask):
        return None
    if not ask.offset and not is_additive(tree, leaves):
        raise QueryError(
            f"`{ask.expr}` does not add up over groups, so its total, running or rolling value cannot be had from them.",
            hint="Ask for its additive parts, such as the sum and the count, and divide those.",
        )
    if ask.percent_of_total:
        names = {spelling: one.name for one in dimensions for spelling in (one.name, one.field)}
        unknown = next((name for name in ask.within if name not in names), None)
        if unknown is not None:
            raise QueryError(f"`within` names `{unknown}`, which is not a dimension of the question.")
        return Shape(ask=ask, time=None, beside=tuple(names[name] for name in ask.within))
    times = [one for one in dimensions if one.granularity is not None]
    if len(times) != 1:
        raise QueryError(
            f"`{ask.expr}` is asked for through time, which needs exactly one dimension with a granularity; there are "
            f"{len(times)}."
        )
    time = times[0]
    if facts.period_index is None or time.granularity not in facts.period_index:
        raise QueryError(f"{facts.name} cannot number periods of a {time.granularity} here.")
    for period in (ask.offset, ask.rolling):
        if period is not None:
            steps(period.count, period.granularity, time.granularity or "")
    return Shape(ask=ask, time=time, beside=tuple(one.name for one in dimensions if one is not time))


def steps(count: int, granularity: str, along: str) -> int:
    """Give a stretch of time as a count of the granules of a dimension.

    >>> steps(1, "year", "month")
    12

    Raises:
        QueryError: when it is not a whole number of them.
    """
    if granularity == along:
        return count
    for table in (_IN_MONTHS, _IN_DAYS):
        if granularity in table and along in table and (count * table[granularity]) % table[along] == 0:
            return count * table[granularity] // table[along]
    raise QueryError(f"{count} {granularity} is not a whole number of periods of a {along}.")


def read_spine(
    query: Query, *, dimensions: tuple[Dimension, ...], zeros: frozenset[str], facts: Facts
) -> Spine | None:
    """Check that missing periods can be listed.

    Raises:
        QueryError: when the question has no single time to list periods of.
    """
    if query.fill is None:
        return None
    if len(dimensions) != 1 or dimensions[0].granularity is None:
        raise QueryError(
            "`fill` lists missing periods, which needs one time dimension with a granularity and no other dimension."
        )
    granularity = dimensions[0].granularity
    if facts.next_period is None or granularity not in facts.next_period:
        raise QueryError(f"{facts.name} cannot list periods of a {granularity} here.")
    return Spine(time=dimensions[0], zeros=zeros if query.fill == "zero" else frozenset())


def ensure_exact(branches: tuple[Branch, ...], *, has_group_filters: bool) -> None:
    """Refuse windows over groups that overlap, or of which a filter took some away."""
    if has_group_filters:
        raise QueryError(
            "A filter on aggregates takes groups away that a total, a running or an earlier value would need.",
            hint="Ask without that filter, and leave rows out afterwards.",
        )
    if any(last_fan(way.path) for branch in branches for way in branch.ways):
        raise QueryError(
            "The groups overlap over a one-to-many step, so a window over them would count rows twice."
        )


def shaped_value(shape: Shape, name: str, facts: Facts) -> exp.Expr:
    """Give the window over the column `name` of the groups."""
    value = exp.column(name, quoted=True)
    partition: list[exp.Expr] = [exp.column(one, quoted=True) for one in shape.beside]
    if shape.time is None:
        total = _over(exp.Sum(this=value.copy()), partition)
        share = true_division(value, total, facts)
        return exp.Mul(this=_number(100), expression=exp.Paren(this=share))
    time = exp.column(shape.time.name, quoted=True)
    # Rows without a time stand apart: engines sort NULL first or last, and a running total must not meet them.
    missing = exp.Is(this=time.copy(), expression=exp.Null())
    partition.append(exp.Case(ifs=[exp.If(this=missing, true=_number(1))], default=_number(0)))
    granularity = shape.time.granularity or ""
    index = fill((facts.period_index or {})[granularity], time, facts)
    ask = shape.ask
    if ask.offset is not None:
        back = steps(ask.offset.count, ask.offset.granularity, granularity)
        made = _over(exp.Max(this=value), partition, index, back, back)
    elif ask.rolling is not None:
        made = _over(
            exp.Sum(this=value),
            partition,
            index,
            steps(ask.rolling.count, ask.rolling.granularity, granularity) - 1,
            0,
        )
    else:
        if ask.cumulative not in {None, "all"}:
            partition.append(truncated(time, str(ask.cumulative), facts))
        made = _over(exp.Sum(this=value), partition, index, None, 0)
    known = exp.Not(this=exp.Is(this=time.copy(), expression=exp.Null()))
    return exp.Case(ifs=[exp.If(this=known, true=made)])


def _over(
    call: exp.Expr,
    partition: list[exp.Expr],
    order: exp.Expr | None = None,
    start: int | None = None,
    end: int = 0,
) -> exp.Window:
    window = exp.Window(this=call)
    if partition:
        window.set("partition_by", partition)
    if order is not None:
        window.set("order", exp.Order(expressions=[exp.Ordered(this=order)]))
        window.set(
            "spec",
            exp.WindowSpec(
                kind="RANGE",
                start="UNBOUNDED" if start is None else (_number(start) if start else "CURRENT ROW"),
                start_side=None if start == 0 else "PRECEDING",
                end=_number(end) if end else "CURRENT ROW",
                end_side="PRECEDING" if end else None,
            ),
        )
    return window


def _number(value: int) -> exp.Literal:
    return exp.Literal(this=str(value), is_string=False)


def spine_select(spine: Spine, groups: str, token: str, facts: Facts) -> exp.Query:
    """Give the recursive query of all periods from the first to the last one of the groups; it reads itself as `token`."""
    name = spine.time.name
    first = exp.Select(
        expressions=[
            _named(exp.Min(this=exp.column(name, quoted=True)), name),
            _named(exp.Max(this=exp.column(name, quoted=True)), "last_period"),
        ]
    )
    first.set("from_", exp.From(this=exp.Table(this=exp.to_identifier(groups, quoted=True))))
    template = (facts.next_period or {})[spine.time.granularity or ""]
    following = exp.Select(
        expressions=[
            _named(fill(template, exp.column(name, quoted=True), facts), name),
            exp.column("last_period", quoted=True),
        ]
    )
    following.set("from_", exp.From(this=exp.Table(this=exp.to_identifier(token, quoted=True))))
    before = exp.LT(this=exp.column(name, quoted=True), expression=exp.column("last_period", quoted=True))
    following.set("where", exp.Where(this=before))
    return exp.Union(this=first, expression=following, distinct=False)


def _named(tree: exp.Expr, name: str) -> exp.Alias:
    return exp.Alias(this=tree, alias=exp.to_identifier(name, quoted=True))


def filled_select(spine: Spine, groups: str, periods: str, outputs: tuple[str, ...]) -> exp.Query:
    """Give the groups and, under them, the periods that no group has."""
    name = spine.time.name
    found = exp.Select(expressions=[exp.column(one, quoted=True) for one in (name, *outputs)])
    found.set("from_", exp.From(this=exp.Table(this=exp.to_identifier(groups, quoted=True))))
    values = [_named(_number(0) if one in spine.zeros else exp.Null(), one) for one in outputs]
    missing = exp.Select(expressions=[exp.column(name, quoted=True), *values])
    missing.set("from_", exp.From(this=exp.Table(this=exp.to_identifier(periods, quoted=True))))
    known = exp.Select(expressions=[exp.column(name, quoted=True)])
    known.set("from_", exp.From(this=exp.Table(this=exp.to_identifier(groups, quoted=True))))
    is_known = exp.Not(this=exp.Is(this=exp.column(name, quoted=True), expression=exp.Null()))
    known.set("where", exp.Where(this=is_known))
    absent = exp.Not(this=exp.In(this=exp.column(name, quoted=True), query=exp.Subquery(this=known)))
    missing.set("where", exp.Where(this=exp.And(this=is_known.copy(), expression=absent)))
    return exp.Union(this=found, expression=missing, distinct=False)
