"""Aggregate calls: narrowing one to some rows, and writing percentiles and wide distinct counts for each engine."""

from sqlglot import exp

from ktx.errors import QueryError
from ktx.semantic.dialects import Facts, as_double
from ktx.semantic.expressions import wrapped

_ONE_ARGUMENT = (
    exp.Sum, exp.Avg, exp.Min, exp.Max, exp.Count, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop,
    exp.Median, exp.LogicalAnd, exp.LogicalOr, exp.PercentileCont, exp.Quantile, exp.ApproxDistinct, exp.ApproxQuantile,
    exp.Corr, exp.CovarPop, exp.CovarSamp, exp.Skewness, exp.Kurtosis, exp.Mode, exp.BitwiseAndAgg, exp.BitwiseOrAgg,
)  # fmt: skip


def filtered(call: exp.Expr, condition: exp.Expr | None, facts: Facts) -> exp.Expr:
    """Narrow an aggregate to the rows that meet a condition.

    The argument becomes NULL for other rows, which every engine skips; aggregates that see NULLs need a FILTER clause.
    """
    if condition is None:
        return call
    result = call.copy()
    if isinstance(result, exp.CountIf):
        result.set("this", exp.And(this=wrapped(result.this), expression=wrapped(condition)))
        return result
    if isinstance(result, exp.Count) and isinstance(result.this, exp.Star):
        result.set("this", _only(exp.Literal.number(1), condition))
        return result
    if isinstance(result, _ONE_ARGUMENT):
        argument = result.this
        if isinstance(argument, exp.Distinct):
            first, *rest = argument.expressions
            argument.set("expressions", [_only(first, condition), *rest])
        else:
            result.set("this", _only(argument, condition))
        return result
    if facts.has_filter:
        return exp.Filter(this=result, expression=exp.Where(this=condition))
    raise QueryError(
        f"`{call.sql(facts.name)}` cannot be filtered in {facts.name}.", hint="Filter the whole question."
    )


def measured(call: exp.Expr) -> tuple[exp.Expr, ...]:
    """Give the values whose NULLs an aggregate leaves out; none for one that counts rows or that sees NULLs."""
    if not isinstance(call, _ONE_ARGUMENT) or isinstance(call.this, exp.Star):
        return ()
    inner = call.this
    values = tuple(inner.expressions) if isinstance(inner, exp.Distinct) else (inner,)
    return tuple(one for one in values if one.find(exp.Column) is not None)


def _only(value: exp.Expr, condition: exp.Expr) -> exp.Expr:
    return exp.Case(ifs=[exp.If(this=condition.copy(), true=value.copy())])


def _wide_distinct(call: exp.Expr) -> bool:
    return (
        isinstance(call, exp.Count) and isinstance(call.this, exp.Distinct) and len(call.this.expressions) > 1
    )


def needs_ranking(call: exp.Expr, facts: Facts) -> bool:
    """Whether an aggregate is computed from ranked rows because the engine has no such call."""
    return _wide_distinct(call) or (isinstance(call, exp.PercentileCont) and facts.percentile == "ranked")


def ranked_columns(
    call: exp.Expr, groups: list[exp.Column], number: int
) -> tuple[list[tuple[str, exp.Expr]], exp.Expr]:
    """Give the window columns that an aggregate needs, and the aggregate over them.

    A percentile weighs the two rows around the wanted position by their distance to it, which is linear interpolation. A
    distinct count over several columns counts the first row of each combination without NULLs, as the SQL standard does.
    """
    if isinstance(call, exp.PercentileCont):
        return _ranked_percentile(call, groups, number)
    values = call.this.expressions
    rank, name = exp.Window(this=exp.RowNumber()), f"rank_{number}"
    rank.set("partition_by", [*(group.copy() for group in groups), *(value.copy() for value in values)])
    rank.set("order", exp.Order(expressions=[exp.Ordered(this=values[0].copy())]))
    known: list[exp.Expr] = [
        exp.Not(this=exp.Is(this=wrapped(value.copy()), expression=exp.Null())) for value in values
    ]
    condition: exp.Expr = exp.EQ(this=exp.column(name, quoted=True), expression=exp.Literal.number(1))
    for one in known:
        condition = exp.And(this=condition, expression=one)
    return [(name, rank)], exp.Count(this=_only(exp.Literal.number(1), condition))


def _ranked_percentile(
    call: exp.PercentileCont, groups: list[exp.Column], number: int
) -> tuple[list[tuple[str, exp.Expr]], exp.Expr]:
    value, rank, size = f"value_{number}", f"rank_{number}", f"size_{number}"
    is_null = exp.Case(
        ifs=[
            exp.If(
                this=exp.Is(this=wrapped(call.this.copy()), expression=exp.Null()), true=exp.Literal.number(1)
            )
        ],
        default=exp.Literal.number(0),
    )
    ranking = exp.Window(this=exp.RowNumber())
    ranking.set("partition_by", [*(group.copy() for group in groups), is_null])
    ranking.set("order", exp.Order(expressions=[exp.Ordered(this=call.this.copy())]))
    counting = exp.Window(this=exp.Count(this=call.this.copy(), big_int=True))
    if groups:
        counting.set("partition_by", [group.copy() for group in groups])

    def column(name: str) -> exp.Column:
        return exp.column(name, quoted=True)

    one = exp.Literal.number(1)
    wanted = exp.Mul(
        this=exp.Paren(this=exp.Sub(this=column(size), expression=one.copy())),
        expression=call.expression.copy(),
    )
    distance = exp.Abs(
        this=exp.Sub(
            this=exp.Sub(this=column(rank), expression=one.copy()), expression=exp.Paren(this=wanted)
        )
    )
    near = exp.And(
        this=exp.LT(this=distance, expression=one.copy()),
        expression=exp.Not(this=exp.Is(this=column(value), expression=exp.Null())),
    )
    weight = exp.Paren(this=exp.Sub(this=one.copy(), expression=distance.copy()))
    total = exp.Sum(this=_only(exp.Mul(this=column(value), expression=weight), near))
    return [(value, call.this.copy()), (rank, ranking), (size, counting)], total


def finished(call: exp.Expr, facts: Facts) -> exp.Expr:
    """Write an aggregate the way the engine spells it."""
    if isinstance(call, exp.Avg) and facts.averages_coarsely:
        result = call.copy()
        argument = result.this.expressions[0] if isinstance(result.this, exp.Distinct) else result.this
        argument.replace(as_double(wrapped(argument.copy()), facts))
        return result
    if not isinstance(call, exp.PercentileCont):
        return call
    value, fraction = call.this, call.expression
    if facts.percentile == "within_group":
        ordered = exp.Order(expressions=[exp.Ordered(this=value, nulls_first=False)])
        return exp.WithinGroup(this=exp.PercentileCont(this=fraction), expression=ordered)
    if facts.percentile == "percentile":
        return exp.Quantile(this=value, quantile=fraction)
    if facts.percentile == "exact_inclusive":
        return exp.ParameterizedAgg(this="quantileExactInclusive", expressions=[fraction], params=[value])
    return call
