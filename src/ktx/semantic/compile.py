"""A question over a layer becomes one SELECT: right, or refused with a reason.

The steps, in order: what is asked (`resolve`), which rows and groups count (`filters`), which source is aggregated where and
how it reaches each dimension (`joins`, `fanout`), the SQL (`rows`, `emit`), and the plan that says so.
"""

import weakref
from dataclasses import dataclass, replace

from sqlglot import exp

from ktx.catalog import ColumnKind
from ktx.errors import LayerError, QueryError
from ktx.semantic.census import Basis
from ktx.semantic.dialects import Facts, facts_of, set_settings
from ktx.semantic.emit import Outer, Output, Script, emit
from ktx.semantic.expressions import parse_expression
from ktx.semantic.fanout import Branch, Dimension, fact_branches, listing_branch, member_branch
from ktx.semantic.filters import Filter, read_filters
from ktx.semantic.graph import Graph, is_field
from ktx.semantic.joins import Path, Router
from ktx.semantic.plan import (
    AggregateStep,
    DimensionStep,
    FactStep,
    FilterStep,
    MeasureStep,
    OutputColumn,
    Plan,
)
from ktx.semantic.query import DimensionAsk, MeasureAsk, OrderAsk, Query
from ktx.semantic.resolve import (
    LEAF,
    Leaf,
    Names,
    Resolver,
    bound_column,
    bound_columns,
    leaf_keys,
    plain,
    words_of,
)
from ktx.semantic.rows import last_fan
from ktx.semantic.shapes import ensure_exact, is_additive, read_shape, read_spine
from ktx.semantic.source import Layer, Source
from ktx.suggest import did_you_mean

_OF_SOME_KIND = (exp.Min, exp.Max, exp.LogicalAnd, exp.LogicalOr)


@dataclass(frozen=True, kw_only=True, eq=False)
class Compiled:
    """The SQL of a question, and everything to be said about it.

    `sql` is for people and carries the asked limit. `tree` is what to run: it reads one row more than `row_limit`, so that
    whoever runs it can tell, and say, that the limit cut rows. `basis` is what `census` counts.
    """

    sql: str
    tree: exp.Query
    columns: tuple[OutputColumn, ...]
    plan: Plan
    warnings: tuple[str, ...]
    row_limit: int | None
    basis: Basis


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """The join graph of a layer and the names in it."""

    graph: Graph
    names: Names


_PREPARED: "weakref.WeakKeyDictionary[Layer, dict[str, Prepared]]" = weakref.WeakKeyDictionary()


def compile_query(layer: Layer, query: Query, *, dialect: str) -> Compiled:
    """Compile a question for a dialect (sqlglot's name of it, or a common one).

    What a layer needs to be asked is worked out once and kept as long as the layer lives.

    Raises:
        QueryError: when the question is wrong, unsafe, or its answer could not be proven right.
        LayerError: when a part of the layer that the question needs cannot be used.
    """
    facts = facts_of(dialect)
    prepared = prepare(layer, facts)
    router = Router(prepared.graph, query.via)
    resolver = Resolver(graph=prepared.graph, router=router, names=prepared.names, facts=facts)
    try:
        return _compile(resolver, query)
    except RecursionError:
        raise QueryError("The question is nested too deeply to be compiled.") from None


def prepare(layer: Layer, facts: Facts) -> Prepared:
    """Give what a layer needs to be asked in a dialect, kept as long as the layer lives."""
    kept = _PREPARED.setdefault(layer, {})
    if facts.name not in kept:
        kept[facts.name] = Prepared(graph=Graph(layer, facts.name), names=Names(layer))
    return kept[facts.name]


def _compile(resolver: Resolver, query: Query) -> Compiled:
    if not query.measures and not query.dimensions:
        raise QueryError("The question asks for nothing.", hint="Name at least one measure or dimension.")
    resolver.mentioned = _mentioned(resolver, query)
    measures = _read_measures(resolver, query.measures)
    for one in measures:
        known = resolver.named.get(one.name.casefold(), ())
        resolver.named[one.name.casefold()] = (*known, one.tree)
    dimensions = _read_dimensions(resolver, query.dimensions)
    plain_groups = {
        bound_column(one.words, one.column.name).sql(): one.position
        for one in dimensions
        if one.granularity is None
    }
    filters = read_filters(resolver, query.filters, query.segments, plain_groups)
    dimensions, outputs = _named(dimensions, measures)
    branches = _branches(resolver, query, dimensions, filters)
    order, shown_order = _read_order(query, dimensions, outputs)
    shapes = [
        read_shape(one.ask, one.tree, dimensions=dimensions, leaves=resolver.leaves, facts=resolver.facts)
        for one in outputs
    ]
    zeros = frozenset(one.name for one in outputs if is_additive(one.tree, resolver.leaves))
    spine = read_spine(query, dimensions=dimensions, zeros=zeros, facts=resolver.facts)
    if spine is not None or any(shapes):
        ensure_exact(branches, has_group_filters=any(one.is_group for one in filters))
    outer = Outer(
        spine=spine,
        dimensions=dimensions,
        outputs=tuple(
            Output(name=one.name, tree=one.tree, shape=shape)
            for one, shape in zip(outputs, shapes, strict=True)
        ),
        having=tuple(one.tree for one in filters if one.is_group),
        order=order,
        columns=tuple(one.name for one in (*dimensions, *outputs)),
    )
    script = Script(resolver=resolver)
    tree = emit(script, branches, outer)
    _ensure_via_used(resolver)
    columns = _columns(resolver, dimensions, outputs)
    warnings = _warnings(branches, query, dimensions)
    if any(shapes) and filters:
        warnings += (
            "The filters also hold for the earlier periods and the totals that measures are compared with.",
        )
    plan = Plan(
        dialect=resolver.facts.name,
        columns=columns,
        facts=tuple(_fact_step(resolver, branch, dimensions) for branch in branches),
        measures=tuple(_measure_step(resolver, one) for one in outputs),
        combination="single" if len(branches) == 1 else ("union" if dimensions else "cross"),
        group_filters=tuple(one.text for one in filters if one.is_group),
        order_by=shown_order,
        row_limit=query.limit,
        warnings=warnings,
    )
    basis = Basis(resolver=resolver, branches=branches, dimensions=dimensions)
    return _finished(basis, tree, plan, query.limit)


def _finished(basis: Basis, tree: exp.Query, plan: Plan, limit: int | None) -> Compiled:
    facts = basis.resolver.facts
    set_settings(tree, facts)
    _set_limit(tree, limit)
    sql = tree.sql(dialect=facts.name, pretty=True)
    _set_limit(tree, limit + 1 if limit else limit)
    return Compiled(
        sql=sql,
        tree=tree,
        columns=plan.columns,
        plan=plan,
        warnings=plan.warnings,
        row_limit=limit,
        basis=basis,
    )


def _set_limit(tree: exp.Query, limit: int | None) -> None:
    if limit is not None:
        tree.set("limit", exp.Limit(expression=exp.Literal.number(limit)))


# ---- what is asked


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """A measure as asked: its tree over leaves, the name it wants, and a longer one for when that is taken."""

    ask: MeasureAsk
    name: str
    long_name: str
    field: str
    tree: exp.Expr
    is_explicit: bool
    definitions: tuple[str, ...]


def _mentioned(resolver: Resolver, query: Query) -> list[str]:
    """Give the sources that the question names outright: bare names are looked for there first."""
    found: dict[str, None] = {}
    texts = (
        [one.expr for one in query.measures] + [one.field for one in query.dimensions] + list(query.filters)
    )
    for text in texts:
        for column in parse_expression(text, resolver.facts.name).find_all(exp.Column):
            words = [part.name for part in column.parts[:-1]]
            for word in words[-1:]:
                found.update(dict.fromkeys(one.name for one in resolver.candidates(word)))
    for name in query.segments:
        if source := resolver.source(name.rpartition(".")[0]):
            found[source.name] = None
    return list(found)


def _read_measures(resolver: Resolver, asks: tuple[MeasureAsk, ...]) -> list[_Asked]:
    found: list[_Asked] = []
    for ask in asks:
        one = _read_measure(resolver, ask)
        if any(other.name == one.name and other.tree == one.tree and other.ask == ask for other in found):
            continue
        found.append(one)
    return found


def _read_measure(resolver: Resolver, ask: MeasureAsk) -> _Asked:
    extra: tuple[exp.Expr, ...] = ()
    if ask.filter:
        extra = tuple(one.tree for one in read_filters(resolver, (ask.filter,), (), {}))
        if any(leaf_keys(tree) for tree in extra):
            raise QueryError(f"The filter `{ask.filter}` of a measure may only look at rows.")
    tree = parse_expression(ask.expr, resolver.facts.name)
    if isinstance(tree, exp.Column) and not isinstance(tree.this, exp.Star):
        words, name = tuple(part.name for part in tree.parts[:-1]), tree.name
        found = resolver.measure_named(words, name)
        if found is not None:
            source, measure = found
            before = len(resolver.used_measures)
            made = resolver.measure(source, measure, extra)
            return _Asked(
                definitions=tuple(dict.fromkeys(resolver.used_measures[before:])),
                ask=ask,
                name=ask.name or measure.name + _shape_suffix(ask),
                long_name=f"{source.name}_{measure.name}",
                field=f"{source.name}.{measure.name}",
                tree=made,
                is_explicit=ask.name is not None,
            )
    before = len(resolver.used_measures)
    made = resolver.inline(ask.expr, extra)
    if not leaf_keys(made):
        raise QueryError(
            f"`{ask.expr}` aggregates nothing.",
            hint="A measure holds an aggregate, such as `sum(orders.amount)`.",
        )
    name = ask.name or _auto_name(ask.expr) + _shape_suffix(ask)
    return _Asked(
        ask=ask,
        name=name,
        long_name=name,
        field=ask.expr,
        tree=made,
        is_explicit=ask.name is not None,
        definitions=tuple(dict.fromkeys(resolver.used_measures[before:])),
    )


def _shape_suffix(ask: MeasureAsk) -> str:
    """Tell the forms of one measure apart by name."""
    if ask.offset:
        return f"_{ask.offset.count}_{ask.offset.granularity}_earlier"
    if ask.rolling:
        return f"_last_{ask.rolling.count}_{ask.rolling.granularity}"
    if ask.cumulative:
        return "_to_date" if ask.cumulative == "all" else f"_{ask.cumulative}_to_date"
    return "_percent" if ask.percent_of_total else ""


def _auto_name(text: str) -> str:
    """Give an output name for an unnamed expression: its words, joined by `_`.

    >>> _auto_name("sum(orders.amount)")
    'sum_orders_amount'
    """
    signs = {
        "+": " plus ",
        "-": " minus ",
        "*": " times ",
        "/": " per ",
        "%": " mod ",
        "<": " lt ",
        ">": " gt ",
        "=": " eq ",
    }
    spelled = "".join(signs.get(char, char) for char in text.replace("(*)", "_rows"))
    name = "".join(char if char.isalnum() else "_" for char in spelled.lower())
    return "_".join(part for part in name.split("_") if part)[:60] or "value"


def _read_dimensions(resolver: Resolver, asks: tuple[DimensionAsk, ...]) -> tuple[Dimension, ...]:
    found: dict[str, Dimension] = {}
    for ask in asks:
        one = _read_dimension(resolver, ask, len(found))
        found.setdefault(one.key, one)
    return tuple(found.values())


def _read_dimension(resolver: Resolver, ask: DimensionAsk, position: int) -> Dimension:
    tree = parse_expression(ask.field, resolver.facts.name)
    if not isinstance(tree, exp.Column) or isinstance(tree.this, exp.Star):
        raise QueryError(
            f"A dimension is a column, not `{ask.field}`.",
            hint="Declare a computed column in the layer and ask for that.",
        )
    parts = [part.name for part in tree.parts]
    words, column = resolver.field(tuple(parts[:-1]), parts[-1])
    if ask.granularity is not None and not column.is_time:
        raise QueryError(
            f"`{ask.field}` is a {column.kind}, so it has no granularity `{ask.granularity}`.",
            hint="Ask for it without a granularity, or declare it with `type: time`.",
        )
    is_path = any(is_field(source, column.name) for source in resolver.candidates(words[-1]))
    name = column.name.replace(".", "_") if is_path else column.name
    return Dimension(
        position=position,
        name=f"{name}_{ask.granularity}" if ask.granularity else name,
        field=ask.field,
        words=words,
        column=column,
        granularity=ask.granularity,
        via=ask.via,
    )


def _named(
    dimensions: tuple[Dimension, ...], measures: list[_Asked]
) -> tuple[tuple[Dimension, ...], tuple[_Asked, ...]]:
    """Give every column a name of its own: the short one, the one with its source when short ones collide, else a number.

    Raises:
        QueryError: when two measures were given the same name on purpose.
    """
    explicit = [one.name.casefold() for one in measures if one.is_explicit]
    for name in explicit:
        if explicit.count(name) > 1:
            raise QueryError(
                f"Two measures of the question are named `{name}`.", hint="Give each a name of its own."
            )
    short = [one.name.casefold() for one in (*dimensions, *measures)]
    taken = set(explicit)

    def free(name: str, long_name: str, *, is_explicit: bool = False) -> str:
        if is_explicit:
            return name
        wanted = long_name if short.count(name.casefold()) > 1 else name
        result, number = wanted, 2
        while result.casefold() in taken:
            result = f"{wanted}_{number}"
            number += 1
        taken.add(result.casefold())
        return result

    named = tuple(_renamed(one, free(one.name, "_".join((*one.words, one.name)))) for one in dimensions)
    outputs = tuple(
        replace(one, name=free(one.name, one.long_name, is_explicit=one.is_explicit)) for one in measures
    )
    return named, outputs


def _renamed(one: Dimension, name: str) -> Dimension:
    return Dimension(
        position=one.position,
        name=name,
        field=one.field,
        words=one.words,
        column=one.column,
        granularity=one.granularity,
        via=one.via,
    )


# ---- which rows and groups


def _branches(
    resolver: Resolver, query: Query, dimensions: tuple[Dimension, ...], filters: tuple[Filter, ...]
) -> tuple[Branch, ...]:
    leaves = tuple(resolver.leaves.values())
    if not leaves:
        branches: tuple[Branch, ...] = (listing_branch(resolver, dimensions, filters),)
    else:
        branches = fact_branches(resolver, leaves, dimensions, filters)
        if dimensions and query.include_empty:
            members = member_branch(resolver, branches, filters)
            branches = (*branches, members) if members is not None else branches
    for branch in branches:
        for source in _sources(resolver, branch):
            _ensure_sound(source)
    return branches


def _sources(resolver: Resolver, branch: Branch) -> list[Source]:
    names = {branch.home: None} | {edge.target: None for way in branch.ways for edge in way.path}
    return [resolver.layer.sources[name] for name in names]


def _ensure_sound(source: Source) -> None:
    """Refuse a source whose own statements contradict each other."""
    if (source.table is None) == (source.sql is None):
        which = "both `table` and `sql`" if source.table is not None else "neither `table` nor `sql`"
        raise LayerError(f"The source `{source.name}` has {which}.", hint="It needs exactly one of them.")
    for kind, names in (
        ("column", [column.name for column in source.columns]),
        ("measure", [measure.name for measure in source.measures]),
        ("segment", [segment.name for segment in source.segments]),
    ):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise LayerError(
                f"The source `{source.name}` has two {kind}s named `{twice}`.", hint="Rename one of them."
            )


def _read_order(
    query: Query, dimensions: tuple[Dimension, ...], outputs: tuple[_Asked, ...]
) -> tuple[tuple[tuple[str, bool], ...], tuple[str, ...]]:
    """Give the columns to sort by: what was asked, then the dimensions, so that equal rows keep one order."""
    order: dict[str, bool] = {}
    for ask in query.order_by:
        name = _ordered_column(ask, dimensions, outputs)
        order.setdefault(name, ask.direction == "desc")
    for one in dimensions:
        order.setdefault(one.name, False)
    return tuple(order.items()), tuple(
        f"{name}{' descending' if is_down else ''}" for name, is_down in order.items()
    )


def _ordered_column(ask: OrderAsk, dimensions: tuple[Dimension, ...], outputs: tuple[_Asked, ...]) -> str:
    wanted = ask.field.casefold()
    names = [one.name for one in (*dimensions, *outputs)]
    exact = [name for name in names if name.casefold() == wanted]
    if exact:
        return exact[0]
    found = [
        one.name
        for one in outputs
        if wanted in {one.field.casefold(), one.ask.expr.casefold(), one.long_name.casefold()}
    ]
    for one in dimensions:
        plain_name = ".".join((*one.words, one.column.name))
        spelled = {
            one.field,
            plain_name,
            one.column.name,
            f"{plain_name}_{one.granularity}",
            f"{one.field}_{one.granularity}",
        }
        spelled.add(f"{one.words[-1]}.{one.column.name}")
        spelled.add("_".join((*one.words, one.column.name)))
        if wanted in {name.casefold() for name in spelled}:
            found.append(one.name)
    if not found:
        found = [one.name for one in outputs if one.field.rpartition(".")[2].casefold() == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        raise QueryError(
            f"`order_by` names `{ask.field}`, which may be {' or '.join(f'`{name}`' for name in found)}."
        )
    raise QueryError(
        f"`order_by` names `{ask.field}`, which is not in the question.{did_you_mean(ask.field, names)}",
        hint=f"Sort by one of: {', '.join(names)}.",
    )


# ---- what is said about it


def _columns(
    resolver: Resolver, dimensions: tuple[Dimension, ...], outputs: tuple[_Asked, ...]
) -> tuple[OutputColumn, ...]:
    groups = tuple(
        OutputColumn(
            name=one.name,
            field=".".join((*one.words, one.column.name)),
            role="dimension",
            kind="time" if one.granularity else one.column.kind,
            granularity=one.granularity,
        )
        for one in dimensions
    )
    return groups + tuple(
        OutputColumn(name=one.name, field=one.field, role="measure", kind=_measure_kind(resolver, one.tree))
        for one in outputs
    )


def _measure_kind(resolver: Resolver, tree: exp.Expr) -> ColumnKind | None:
    if isinstance(tree, exp.Column) and tree.table == LEAF:
        call = resolver.leaves[tree.name].call
        if isinstance(call, exp.ArrayAgg | exp.GroupConcat | exp.JSONArrayAgg | exp.JSONObjectAgg | exp.Mode):
            return None
        return resolver.leaf_kind(tree.name) if isinstance(call, _OF_SOME_KIND) else "number"
    return "number" if isinstance(tree.unnest(), exp.Div | exp.Add | exp.Sub | exp.Mul) else None


def _ensure_via_used(resolver: Resolver) -> None:
    for step in resolver.router.via.get("*", ()):
        if step not in resolver.router.used_via:
            raise QueryError(
                f"`via` names `{step}`, which chose between no two ways of this question.",
                hint="Leave it out, or name an alias or a key column of the join to take.",
            )


def _warnings(
    branches: tuple[Branch, ...], query: Query, dimensions: tuple[Dimension, ...]
) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for branch in branches:
        for way, dimension in zip(branch.ways, dimensions, strict=True):
            if way.others:
                longer = "; ".join(" -> ".join(edge.name for edge in path) for path in way.others[:3])
                found[
                    f"`{dimension.field}` is reached from `{branch.home}` by its own join; a longer way exists: {longer}."
                ] = None
            for edge in way.path:
                if edge.is_to_one and not edge.is_proven:
                    found[
                        f"The join from `{edge.origin}` to `{edge.name}` is declared {edge.relationship}, but its keys do not hold "
                        f"the grain of `{edge.target}`; rows that match twice would count twice."
                    ] = None
        if branch.is_deduplicated:
            names = ", ".join(
                f"`{d.field}`" for way, d in zip(branch.ways, dimensions, strict=True) if last_fan(way.path)
            )
            found[
                f"A row of `{branch.home}` can belong to several groups of {names}: it counts once in each, so the groups do not "
                f"add up to the total."
            ] = None
        for one, reason in branch.skipped:
            del reason
            found[
                f"The filter `{one.text}` is about facts, so members of the dimensions are listed whether they meet it or not."
            ] = None
    facts = [branch for branch in branches if not branch.is_members]
    has_no_members = query.include_empty and bool(dimensions) and len(facts) == len(branches)
    if (
        has_no_members
        and facts[0].leaves
        and len({way.path[:1] for branch in facts for way in branch.ways}) > 1
    ):
        found[
            "Members without facts are listed only where one source holds all dimensions; here the facts alone decide."
        ] = None
    return tuple(found)


def _fact_step(resolver: Resolver, branch: Branch, dimensions: tuple[Dimension, ...]) -> FactStep:
    return FactStep(
        home=branch.home,
        measures=tuple(dict.fromkeys(leaf.label for leaf in branch.leaves)),
        dimensions=tuple(
            DimensionStep(
                name=one.name,
                joins=tuple(str(edge) for edge in way.path),
                is_fan_out=bool(last_fan(way.path)),
            )
            for one, way in zip(dimensions, branch.ways, strict=True)
        ),
        filters=tuple(_filter_step(resolver, branch, one) for one in branch.filters)
        + tuple(
            FilterStep(text=one.text, use="not_applied", asked=one.text, reason=reason)
            for one, reason in branch.skipped
        ),
        aggregates=tuple(_aggregate_step(resolver, leaf) for leaf in branch.leaves),
        is_deduplicated=branch.is_deduplicated,
        is_members=branch.is_members,
    )


def _filter_step(resolver: Resolver, branch: Branch, one: Filter) -> FilterStep:
    start = branch.seen_from[0] if branch.seen_from else branch.home
    longest: Path = ()
    for column in bound_columns(one.tree):
        way = resolver.router.find(start, words_of(column), can_cross=True)
        if way is not None and len(way.path) > len(longest):
            longest = way.path
    fans = {path[: last_fan(path)] for path in branch.fans}
    is_exists = bool(last_fan(longest)) and longest[: last_fan(longest)] not in fans and not branch.is_members
    return FilterStep(
        text=plain(one.tree),
        use="exists" if is_exists else "where",
        asked=one.text,
        joins=tuple(str(e) for e in longest),
    )


def _aggregate_step(resolver: Resolver, leaf: Leaf) -> AggregateStep:
    joins: dict[str, None] = {}
    for tree in (leaf.call, *leaf.conditions):
        for column in bound_columns(tree):
            way = (
                None
                if isinstance(column.this, exp.Star)
                else resolver.router.find(leaf.home, words_of(column), can_cross=True)
            )
            joins.update(dict.fromkeys(str(edge) for edge in (way.path if way is not None else ())))
    return AggregateStep(
        label=leaf.label,
        expr=plain(leaf.call),
        conditions=tuple(plain(one) for one in leaf.conditions),
        joins=tuple(joins),
    )


def _measure_step(resolver: Resolver, one: _Asked) -> MeasureStep:
    leaves = [resolver.leaves[key] for key in leaf_keys(one.tree)]
    return MeasureStep(
        name=one.name,
        asked=one.ask.expr,
        filter=one.ask.filter,
        definitions=one.definitions,
        facts=tuple(dict.fromkeys(leaf.home for leaf in leaves)),
        aggregates=tuple(dict.fromkeys(leaf.label for leaf in leaves)),
    )
