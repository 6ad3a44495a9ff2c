"""What a question rests on, counted: one more query per fact, made of the same rows, joins and conditions as its answer.

Every count is in rows of the home source. A row is known by a number that it gets before any join, so that a join which loses or
repeats rows shows, whatever the layer declares about it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from ktx.errors import LayerError
from ktx.semantic.absent import witness
from ktx.semantic.aggregates import measured
from ktx.semantic.dialects import set_settings
from ktx.semantic.emit import ROW, Script, dimension_value, named_table, numbered
from ktx.semantic.expressions import wrapped
from ktx.semantic.fanout import Branch, Dimension
from ktx.semantic.graph import NEAR, find_column
from ktx.semantic.joins import Path
from ktx.semantic.resolve import Leaf, Resolver
from ktx.semantic.rows import Rows, last_fan
from ktx.semantic.source import Column, Source


@dataclass(frozen=True, kw_only=True, eq=False)
class Basis:
    """What a compiled question was made of: enough to count the rows behind it."""

    resolver: Resolver
    branches: tuple[Branch, ...]
    dimensions: tuple[Dimension, ...]


@dataclass(frozen=True, kw_only=True)
class AggregateCount:
    """How many rows met the conditions of an aggregate, and how many of them had NULL in what it measures.

    `nulls` is None for an aggregate that leaves no NULL out, such as a count of rows.
    """

    label: str
    rows: int
    nulls: int | None


@dataclass(frozen=True, kw_only=True)
class JoinCount:
    """How many rows found no partner at the end of a way of joins, and how many of those because a key of theirs is NULL."""

    joins: tuple[str, ...]
    without_match: int
    with_null_key: int


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The rows behind one fact: in its source, after its joins, and those that the filters kept."""

    source_rows: int
    joined_rows: int
    rows_lost: int
    rows_multiplied: int
    kept_rows: int
    aggregates: tuple[AggregateCount, ...]
    joins: tuple[JoinCount, ...]
    latest: object = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Census:
    """The counting query of one fact. `time` is the column behind `latest`; None when the source has no one time."""

    home: str
    tree: exp.Query
    time: str | None
    _labels: tuple[tuple[str, bool], ...]
    _joins: tuple[tuple[str, ...], ...]

    def read(self, row: Sequence[object]) -> Counted:
        """Give the counts from the single row of the query."""
        cells = iter(row)

        def number() -> int:
            value = next(cells)
            return int(str(value)) if value is not None else 0

        source_rows, joined, single, kept = number(), number(), number(), number()
        aggregates = tuple(
            AggregateCount(label=label, rows=number(), nulls=number() if is_measured else None)
            for label, is_measured in self._labels
        )
        joins = tuple(
            JoinCount(joins=steps, without_match=number(), with_null_key=number()) for steps in self._joins
        )
        return Counted(
            source_rows=source_rows,
            joined_rows=joined,
            rows_lost=source_rows - single,
            rows_multiplied=joined - single,
            kept_rows=kept,
            aggregates=aggregates,
            joins=joins,
            latest=next(cells) if self.time is not None else None,
        )


def census_of(basis: Basis, number: int) -> Census:
    """Make the counting query of one fact, by its place among the facts of the plan.

    Raises:
        QueryError, LayerError: as the question itself would.
    """
    branch = basis.branches[number]
    script = Script(resolver=basis.resolver)
    others = {one.home for one in basis.branches if not one.is_members} - {branch.home}
    rows = Rows(
        resolver=basis.resolver,
        tables=script.table,
        home=branch.home,
        fans=branch.fans,
        siblings=frozenset(others),
        metric_time=branch.metric_time,
    )
    for way, dimension in zip(branch.ways, basis.dimensions, strict=True):
        dimension_value(rows, branch, way.path, dimension, script.facts)
    kept = rows.condition(tuple(one.tree for one in branch.filters))
    flags: dict[str, exp.Expr] = {"kept": _flag(*([] if kept is None else [kept]))}
    labels: list[tuple[str, bool]] = []
    for at, leaf in enumerate(branch.leaves, start=1):
        is_measured = _leaf_flags(rows, leaf, kept, flags, at)
        labels.append((leaf.label, is_measured))
    steps: list[tuple[str, ...]] = []
    for path in [one for one in rows.joined if not last_fan(one)]:
        if _join_flags(rows, path, flags, len(steps) + 1):
            steps.append(tuple(str(edge) for edge in path))
    home = basis.resolver.layer.sources[branch.home]
    time = _time(basis, home, branch)
    if time is not None:
        flags["latest"] = rows.at((), home, time)
    tree = _statement(script, rows, home, flags)
    return Census(
        home=branch.home,
        tree=tree,
        time=f"{home.name}.{time.name}" if time is not None else None,
        _labels=tuple(labels),
        _joins=tuple(steps),
    )


def _leaf_flags(rows: Rows, leaf: Leaf, kept: exp.Expr | None, flags: dict[str, exp.Expr], at: int) -> bool:
    conditions = [one for one in (kept, rows.condition(leaf.conditions)) if one is not None]
    values = [rows.expr(value) for value in measured(leaf.call)]
    flags[f"rows_{at}"] = _flag(*conditions)
    if not values:
        return False
    missing: exp.Expr = _is_null(values[0])
    for value in values[1:]:
        missing = exp.Or(this=missing, expression=_is_null(value))
    flags[f"nulls_{at}"] = _flag(*conditions, missing)
    return True


def _join_flags(rows: Rows, path: Path, flags: dict[str, exp.Expr], at: int) -> bool:
    """Flag rows that come as far as the last step of a path and find no partner there."""
    edge = path[-1]
    try:
        far = exp.column(witness(edge, rows.source_at(path)).name, rows.alias(path), quoted=True)
        before: list[exp.Expr] = []
        if len(path) > 1:
            near = witness(path[-2], rows.source_at(path[:-1]))
            before = [_known(exp.column(near.name, rows.alias(path[:-1]), quoted=True))]
    except LayerError:
        return False
    near_source = rows.source_at(path[:-1])
    keys: exp.Expr | None = None
    for column in edge.condition.find_all(exp.Column):
        found = find_column(near_source, column.name) if column.table == NEAR else None
        if found is not None:
            empty = _is_null(rows.at(path[:-1], near_source, found))
            keys = empty if keys is None else exp.Or(this=keys, expression=empty)
    flags[f"unmatched_{at}"] = _flag(*before, _is_null(far))
    flags[f"null_keys_{at}"] = exp.Literal.number(0) if keys is None else _flag(*before, _is_null(far), keys)
    return True


def _time(basis: Basis, home: Source, branch: Branch) -> Column | None:
    """Choose the column that says how new the rows are: the default time, else the one grouped by, else the only one."""
    if home.default_time_dimension:
        column = find_column(home, home.default_time_dimension.rpartition(".")[2])
        return column if column is not None and column.visibility != "hidden" else None
    grouped = [
        one.column
        for one, way in zip(basis.dimensions, branch.ways, strict=True)
        if not way.path and one.column.is_time
    ]
    times = grouped or [one for one in home.columns if one.is_time and one.visibility != "hidden"]
    return times[0] if len(times) == 1 else None


def _statement(script: Script, rows: Rows, home: Source, flags: dict[str, exp.Expr]) -> exp.Query:
    """Flag every joined row, fold the flags per row of the home, and add them up."""
    number = exp.column(ROW, rows.root_alias, quoted=True)
    inner = exp.Select(expressions=[number, *(_as(flag, name) for name, flag in flags.items())])
    rows.attach(inner, numbered(script, rows, home.name))
    flagged = script.add(f"{home.name}_flags", inner)
    folded = exp.Select(
        expressions=[
            _as(exp.Count(this=exp.Star()), "copies"),
            *(_as(exp.Max(this=exp.column(name, quoted=True)), name) for name in flags),
        ]
    )
    folded.set("from_", exp.From(this=named_table(flagged)))
    folded.set("group", exp.Group(expressions=[exp.column(ROW, quoted=True)]))
    single = script.add(f"{home.name}_single", folded)
    every = exp.Select(expressions=[exp.Count(this=exp.Star())])
    every.set("from_", exp.From(this=script.table(home)))
    totals: list[exp.Expr] = [
        _as(exp.Subquery(this=every), "source_rows"),
        _as(exp.Sum(this=exp.column("copies", quoted=True)), "joined_rows"),
        _as(exp.Count(this=exp.Star()), "single_rows"),
    ]
    for name in flags:
        column = exp.column(name, quoted=True)
        totals.append(_as(exp.Max(this=column) if name == "latest" else exp.Sum(this=column), name))
    outer = exp.Select(expressions=totals)
    outer.set("from_", exp.From(this=named_table(single)))
    query = script.finish(outer)
    set_settings(query, script.facts)
    return query


def _flag(*conditions: exp.Expr) -> exp.Expr:
    one, zero = exp.Literal.number(1), exp.Literal.number(0)
    if not conditions:
        return one
    joined = wrapped(conditions[0].copy())
    for condition in conditions[1:]:
        joined = exp.And(this=joined, expression=wrapped(condition.copy()))
    return exp.Case(ifs=[exp.If(this=joined, true=one)], default=zero)


def _is_null(value: exp.Expr) -> exp.Expr:
    return exp.Is(this=wrapped(value.copy()), expression=exp.Null())


def _known(value: exp.Expr) -> exp.Expr:
    return exp.Not(this=_is_null(value))


def _as(tree: exp.Expr, name: str) -> exp.Alias:
    return exp.Alias(this=tree, alias=exp.to_identifier(name, quoted=True))
