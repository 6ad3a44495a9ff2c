"""From branches to one SQL tree: each branch a SELECT, the branches put together, and the question's columns on top."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from ktx.errors import QueryError
from ktx.semantic.aggregates import filtered, finished, needs_ranking, ranked_columns
from ktx.semantic.dialects import Facts, truncated
from ktx.semantic.expressions import has_window, parse_expression, parse_select, wrapped
from ktx.semantic.fanout import Branch, Dimension
from ktx.semantic.graph import find_column, is_field
from ktx.semantic.joins import Path
from ktx.semantic.resolve import GROUP, LEAF, METRIC_TIME, Leaf, Resolver, bound_columns, in_layer, words_of
from ktx.semantic.rows import Rows, is_windowed
from ktx.semantic.shapes import Shape, Spine, filled_select, shaped_value, spine_select
from ktx.semantic.source import Source
from ktx.semantic.tableref import parse_table_ref

_MARK = "\x02"
ROW = "_row"


@dataclass(frozen=True, kw_only=True, eq=False)
class Output:
    """One measure of the answer: its name, its tree over leaves, and the window over the groups when it has one."""

    name: str
    tree: exp.Expr
    shape: Shape | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Outer:
    """What happens to the groups: which columns, which groups, in which order, how many."""

    dimensions: tuple[Dimension, ...]
    outputs: tuple[Output, ...]
    having: tuple[exp.Expr, ...]
    order: tuple[tuple[str, bool], ...]
    columns: tuple[str, ...]
    spine: Spine | None = None

    @property
    def is_layered(self) -> bool:
        """Whether the groups are only an inner step."""
        return self.spine is not None or any(one.shape is not None for one in self.outputs)


@dataclass(kw_only=True)
class Script:
    """The common table expressions of a statement in the making, under names that no table of it has."""

    resolver: Resolver
    ctes: list[tuple[str, str, exp.Query]] = field(default_factory=list[tuple[str, str, exp.Query]])
    taken: set[str] = field(default_factory=set[str])
    is_recursive: bool = False
    _sources: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def facts(self) -> Facts:
        """The facts of the dialect."""
        return self.resolver.facts

    def add(self, name: str, query: exp.Query, comment: str | None = None) -> str:
        """Add a common table expression and give the token that stands for its name until the end."""
        token = self.next_token()
        if comment:
            first = query
            while isinstance(first, exp.SetOperation):
                first = first.this
            first.add_comments([f" {comment} "])
        self.ctes.append((token, name, query))
        return token

    def next_token(self) -> str:
        """Give the token that the next common table expression will get."""
        return f"{_MARK}{len(self.ctes)}"

    def table(self, source: Source) -> exp.Expr:
        """Give what stands in a FROM for a source."""
        known = self._sources.get(source.name)
        if known is not None:
            return named_table(known)
        if source.sql is not None:
            with in_layer(f"The source `{source.name}`", source.place):
                query = parse_select(source.sql, self.facts.name).copy()
            self.taken |= {table.name.casefold() for table in query.find_all(exp.Table)}
            token = self._sources[source.name] = self.add(source.name, query)
            return self._windowed(source, named_table(token)) or named_table(token)
        with in_layer(f"The source `{source.name}`", source.place):
            ref = parse_table_ref(source.table or "")
            if ref is None:
                raise QueryError(f"`{source.table}` is not a table name.")
        self.taken.add(ref.name.casefold())
        table = _table(ref.parts)
        return self._windowed(source, table) or table

    def _windowed(self, source: Source, table: exp.Expr) -> exp.Expr | None:
        """Compute the columns that look at other rows before anything is filtered away."""
        columns = [column for column in source.columns if is_windowed(column)]
        if not columns:
            return None
        trees = {column.name: parse_expression(column.expr or "", self.facts.name) for column in columns}
        rows = Rows(resolver=self.resolver, tables=lambda _: table.copy(), home=source.name)
        items: list[exp.Expr] = [
            exp.column(column.name, rows.root_alias, quoted=True)
            for column in source.columns
            if column.expr is None and not is_field(source, column.name)
        ]
        for column in columns:
            if not has_window(trees[column.name]):
                continue
            bound = self.resolver.computed(source, column)
            items.append(_as(rows.expr(bound), column.name))
        select = rows.attach(exp.Select(expressions=items))
        token = self._sources[source.name] = self.add(source.name, select)
        return named_table(token)

    def finish(self, query: exp.Query) -> exp.Query:
        """Name the common table expressions and put them before the query."""
        names: dict[str, str] = {}
        taken = set(self.taken)
        for token, wanted, _ in self.ctes:
            name, number = wanted, 2
            while name.casefold() in taken:
                name = f"{wanted}_{number}"
                number += 1
            taken.add(name.casefold())
            names[token] = name
        made = [
            exp.CTE(this=tree, alias=exp.TableAlias(this=exp.to_identifier(names[token], quoted=True)))
            for token, _, tree in self.ctes
        ]
        if made:
            query.set("with_", exp.With(expressions=made, recursive=self.is_recursive or None))
        for identifier in query.find_all(exp.Identifier):
            if identifier.name in names:
                identifier.set("this", names[identifier.name])
        return query


def named_table(token: str) -> exp.Table:
    """Give what stands in a FROM for a common table expression, by its token."""
    return exp.Table(this=exp.to_identifier(token, quoted=True))


def _table(parts: tuple[str, ...]) -> exp.Table:
    names = [exp.to_identifier(part, quoted=True) for part in parts]
    keys = ("this", "db", "catalog")
    return exp.Table(**dict(zip(keys, reversed(names), strict=False)))


def _as(tree: exp.Expr, name: str) -> exp.Alias:
    return exp.Alias(this=tree, alias=exp.to_identifier(name, quoted=True))


# ---- one branch


@dataclass(kw_only=True)
class Part:
    """A branch as SQL: its select without a name, the column of each leaf in it, and the aggregates themselves."""

    branch: Branch
    select: exp.Select
    calls: Mapping[str, exp.Expr]
    groups: tuple[exp.Expr, ...]


def emit_branch(
    script: Script, branch: Branch, dimensions: tuple[Dimension, ...], siblings: frozenset[str]
) -> Part:
    """Make the SELECT of a branch: dimensions only; the caller adds the aggregates that it wants to see."""
    rows = Rows(
        resolver=script.resolver,
        tables=script.table,
        home=branch.home,
        fans=branch.fans,
        siblings=siblings,
        seen_from=branch.seen_from,
        metric_time=branch.metric_time,
    )
    groups = [
        dimension_value(rows, branch, way.path, dimension, script.facts)
        for way, dimension in zip(branch.ways, dimensions, strict=True)
    ]
    calls: dict[str, tuple[exp.Expr, exp.Expr | None]] = {}
    for leaf in branch.leaves:
        call = rows.expr(leaf.call)
        before = rows.uses_exists
        rows.uses_exists = False
        condition = rows.condition(leaf.conditions)
        calls[leaf.key] = (call, condition)
        if rows.uses_exists or needs_ranking(call, script.facts):
            before = True
        rows.uses_exists = before
    is_staged = rows.uses_exists or branch.is_deduplicated or any(leaf.balance for leaf in branch.leaves)
    is_staged = is_staged or any(_is_awkward(group, script.facts) for group in groups)
    where = rows.condition(tuple(one.tree for one in branch.filters))
    if is_staged:
        return _staged(script, branch, rows, dimensions, groups, calls, where)
    select = rows.attach(exp.Select())
    if where is not None:
        select.set("where", exp.Where(this=where))
    return Part(
        branch=branch,
        select=select,
        calls={
            key: finished(filtered(call, condition, script.facts), script.facts)
            for key, (call, condition) in calls.items()
        },
        groups=tuple(groups),
    )


def dimension_value(rows: Rows, branch: Branch, path: Path, dimension: Dimension, facts: Facts) -> exp.Expr:
    """Give a dimension as a column of the rows, joining what leads to it."""
    source = rows.source_at(path)
    name = dimension.column.name
    if dimension.words == (METRIC_TIME,) and branch.metric_time is not None:
        name = branch.metric_time[1].name
    column = find_column(source, name)
    if column is None:
        raise QueryError(f"`{source.name}` has no column `{dimension.column.name}`.")
    value = rows.at(path, source, column)
    if dimension.granularity is None:
        return value
    return truncated(value, dimension.granularity, facts)


def _is_awkward(group: exp.Expr, facts: Facts) -> bool:
    """Whether a group must be a column of its own first: a constant reads as a position in GROUP BY."""
    return group.find(exp.Column) is None or (facts.groups_by_columns and not isinstance(group, exp.Column))


def _staged(
    script: Script,
    branch: Branch,
    rows: Rows,
    dimensions: tuple[Dimension, ...],
    groups: list[exp.Expr],
    calls: Mapping[str, tuple[exp.Expr, exp.Expr | None]],
    where: exp.Expr | None,
) -> Part:
    """Read the rows first and aggregate them after: each row of the home once per group, matches already looked up."""
    inputs: dict[str, tuple[str, exp.Expr]] = {}

    def input_of(tree: exp.Expr) -> exp.Expr:
        name, _ = inputs.setdefault(tree.sql(), (f"in_{len(inputs) + 1}", tree.copy()))
        return exp.column(name, quoted=True)

    staged: dict[str, exp.Expr] = {}
    edges: list[tuple[str, exp.Expr]] = []
    balances = {leaf.key: leaf.balance for leaf in branch.leaves}
    for key, (call, condition) in calls.items():
        call = call.copy()
        for column in list(call.find_all(exp.Column)):
            column.replace(input_of(column))
        flag: exp.Expr | None = None
        if condition is not None:
            one, zero = exp.Literal.number(1), exp.Literal.number(0)
            flag = exp.EQ(
                this=input_of(exp.Case(ifs=[exp.If(this=condition, true=one)], default=zero)),
                expression=one.copy(),
            )
        balance = balances.get(key)
        if balance is not None:
            moment = input_of(rows.expr(balance[0]))
            counted = moment if flag is None else exp.Case(ifs=[exp.If(this=flag.copy(), true=moment.copy())])
            edge = exp.Window(this=exp.Max(this=counted) if balance[1] == "max" else exp.Min(this=counted))
            periods = _periods(branch, dimensions, balance[0])
            if periods:
                edge.set("partition_by", periods)
            name = f"edge_{len(edges) + 1}"
            edges.append((name, edge))
            at_edge = exp.EQ(this=moment.copy(), expression=exp.column(name, quoted=True))
            flag = at_edge if flag is None else exp.And(this=flag, expression=at_edge)
        staged[key] = filtered(call, flag, script.facts)
    select = exp.Select(
        expressions=[_as(group, one.name) for group, one in zip(groups, dimensions, strict=True)]
        + [_as(tree, name) for name, tree in inputs.values()]
    )
    root = None
    if branch.is_deduplicated:
        select.set("distinct", exp.Distinct())
        select.append("expressions", exp.column(ROW, rows.root_alias, quoted=True))
        root = numbered(script, rows, branch.home)
    rows.attach(select, root)
    if where is not None:
        select.set("where", exp.Where(this=where))
    if not select.expressions:
        select.append("expressions", _as(exp.Literal.number(1), ROW))
    comment = f"{branch.home}: each row once per group" if branch.is_deduplicated else None
    token = script.add(f"{branch.home}_rows", select, comment)
    names = [exp.column(one.name, quoted=True) for one in dimensions]
    if edges:
        marked = exp.Select(expressions=[exp.Star(), *(_as(tree, name) for name, tree in edges)])
        marked.set("from_", exp.From(this=named_table(token)))
        token = script.add(f"{branch.home}_edges", marked, "the moment that counts in each period")
    if any(needs_ranking(call, script.facts) for call in staged.values()):
        staged, token = _ranked(script, branch, token, staged, names)
    outer = exp.Select()
    outer.set("from_", exp.From(this=named_table(token)))
    calls_done = {key: finished(call, script.facts) for key, call in staged.items()}
    return Part(branch=branch, select=outer, calls=calls_done, groups=tuple(names))


def _periods(branch: Branch, dimensions: tuple[Dimension, ...], moment: exp.Expr) -> list[exp.Expr]:
    """Give the grouped columns that are periods of a balance's own time."""
    column = bound_columns(moment)[0]
    found: list[exp.Expr] = []
    for one, way in zip(dimensions, branch.ways, strict=True):
        is_own = one.words == words_of(column) and one.column.name == column.name
        if one.words == (METRIC_TIME,) and branch.metric_time is not None:
            is_own = (
                not way.path
                and branch.metric_time[1].name == column.name
                and words_of(column) == (branch.home,)
            )
        if is_own:
            found.append(exp.column(one.name, quoted=True))
    return found


def numbered(script: Script, rows: Rows, home: str) -> exp.Expr:
    """Give the rows of a home with a number each, in `ROW`, to tell them apart where no grain can be trusted."""
    source = rows.resolver.layer.sources[home]
    order = script.facts.row_number_order
    number = exp.Window(this=exp.RowNumber())
    if order is not None:
        inner = exp.Subquery(this=exp.Select(expressions=[exp.Null()]))
        number.set("order", exp.Order(expressions=[exp.Ordered(this=inner)]))
    items: list[exp.Expr] = [
        exp.column(column.name, quoted=True)
        for column in source.columns
        if (column.expr is None and not is_field(source, column.name)) or is_windowed(column)
    ]
    select = exp.Select(expressions=[*items, _as(number, ROW)])
    select.set("from_", exp.From(this=script.table(source)))
    return exp.Subquery(this=select)


def _ranked(
    script: Script, branch: Branch, token: str, calls: Mapping[str, exp.Expr], names: list[exp.Column]
) -> tuple[dict[str, exp.Expr], str]:
    items: list[exp.Expr] = [exp.Star()]
    done: dict[str, exp.Expr] = {}
    for number, (key, call) in enumerate(calls.items(), start=1):
        if needs_ranking(call, script.facts):
            extra, done[key] = ranked_columns(call, names, number)
            items += [_as(tree, name) for name, tree in extra]
        else:
            done[key] = call
    select = exp.Select(expressions=items)
    select.set("from_", exp.From(this=named_table(token)))
    return done, script.add(f"{branch.home}_ranked", select)


# ---- all branches


def emit(script: Script, branches: tuple[Branch, ...], outer: Outer) -> exp.Query:
    """Make the whole statement, without a limit."""
    homes = frozenset(branch.home for branch in branches if not branch.is_members)
    parts = [emit_branch(script, b, outer.dimensions, homes - {b.home}) for b in branches]
    if outer.is_layered:
        return script.finish(_layered(script, parts, outer))
    if len(parts) == 1 and (outer.dimensions or not outer.having):
        return script.finish(_single(parts[0], outer))
    if not outer.dimensions:
        return script.finish(_crossed(script, parts, outer))
    return script.finish(_united(script, parts, outer))


def _layered(script: Script, parts: list[Part], outer: Outer) -> exp.Select:
    """Finish the groups first, list missing periods beside them, and run the windows over all of it."""
    inner = Outer(
        dimensions=outer.dimensions,
        outputs=tuple(Output(name=one.name, tree=one.tree) for one in outer.outputs),
        having=(),
        order=(),
        columns=outer.columns,
    )
    if len(parts) == 1:
        groups = _single(parts[0], inner)
    else:
        groups = (
            _united(script, parts, inner, is_read_again=outer.spine is not None)
            if outer.dimensions
            else _crossed(script, parts, inner)
        )
    token = script.add("groups", groups, "the finished groups")
    if outer.spine is not None:
        own = script.next_token()
        periods = script.add(
            "periods",
            spine_select(outer.spine, token, own, script.facts),
            "every period from the first to the last",
        )
        script.is_recursive = True
        names = tuple(one.name for one in outer.outputs)
        token = script.add(
            "all_periods", filled_select(outer.spine, token, periods, names), "periods without facts too"
        )
    items: dict[str, exp.Expr] = {one.name: exp.column(one.name, quoted=True) for one in outer.dimensions}
    for one in outer.outputs:
        shaped = shaped_value(one.shape, one.name, script.facts) if one.shape else None
        items[one.name] = shaped or exp.column(one.name, quoted=True)
    select = exp.Select(expressions=[_as(items[name], name) for name in outer.columns])
    select.set("from_", exp.From(this=named_table(token)))
    _finish(select, outer, items, (), lambda name: exp.column(name, quoted=True), clause="where")
    return select


def _single(part: Part, outer: Outer) -> exp.Select:
    def leaf(name: str) -> exp.Expr:
        return part.calls[name].copy()

    select = part.select
    items = _items(outer, part.groups, leaf)
    select.set("expressions", [_as(items[name], name) for name in outer.columns])
    if part.groups:
        select.set("group", exp.Group(expressions=[group.copy() for group in part.groups]))
    _finish(select, outer, items, part.groups, leaf, clause="having")
    return select


def _crossed(script: Script, parts: list[Part], outer: Outer) -> exp.Select:
    names = _leaf_names(parts, outer)
    select = exp.Select()
    joins: list[exp.Join] = []
    for part in parts:
        part.select.set("expressions", [_as(call, names[key]) for key, call in part.calls.items()])
        table = named_table(script.add(f"{part.branch.home}_totals", part.select))
        if select.args.get("from_") is None:
            select.set("from_", exp.From(this=table))
        else:
            joins.append(exp.Join(this=table, kind="CROSS"))
    select.set("joins", joins)

    def leaf(name: str) -> exp.Expr:
        return exp.column(names[name], quoted=True)

    items = _items(outer, (), leaf)
    select.set("expressions", [_as(items[name], name) for name in outer.columns])
    _finish(select, outer, items, (), leaf, clause="where")
    return select


def _united(script: Script, parts: list[Part], outer: Outer, *, is_read_again: bool = False) -> exp.Select:
    names = _leaf_names(parts, outer)
    leaves = {leaf.key: leaf for part in parts for leaf in part.branch.leaves}
    groups = [one.name for one in outer.dimensions]
    tokens: dict[str, str] = {}
    totals: list[str] = []
    pieces: list[exp.Select] = []
    facts_count = sum(not part.branch.is_members for part in parts)
    for part in parts:
        items: list[exp.Expr] = [_as(group, name) for group, name in zip(part.groups, groups, strict=True)]
        part.select.set("expressions", items + [_as(call, names[key]) for key, call in part.calls.items()])
        if part.groups:
            part.select.set("group", exp.Group(expressions=[group.copy() for group in part.groups]))
        suffix = "members" if part.branch.is_members else "totals"
        what = (
            "all members, with or without facts" if part.branch.is_members else "aggregated at its own grain"
        )
        token = script.add(f"{part.branch.home}_{suffix}", part.select, f"{part.branch.home}: {what}")
        totals.append(token)
        tokens |= dict.fromkeys(part.calls, token)
    # A statement that reads the union twice needs the types of its NULL columns to be plain, DuckDB above all.
    is_typed = (script.facts.pads_need_type and facts_count > 2) or is_read_again
    for index, part in enumerate(parts):
        token = totals[index]
        padded = [_pad(key, part, names, tokens, is_typed=is_typed and index == 0) for key in names]
        piece = exp.Select(expressions=[exp.column(name, quoted=True) for name in groups] + padded)
        piece.set("from_", exp.From(this=named_table(token)))
        pieces.append(piece)
    union: exp.Query = pieces[0]
    for piece in pieces[1:]:
        union = exp.Union(this=union, expression=piece, distinct=False)
    token = script.add("all_groups", union, "one row per group and source")
    select = exp.Select()
    select.set("from_", exp.From(this=named_table(token)))

    def leaf(name: str) -> exp.Expr:
        value = _merged(leaves[name], exp.column(names[name], quoted=True), script.facts)
        return (
            exp.Coalesce(this=value, expressions=[exp.Literal.number(0)]) if leaves[name].is_count else value
        )

    columns = tuple(exp.column(name, quoted=True) for name in groups)
    made = _items(outer, columns, leaf)
    select.set("expressions", [_as(made[name], name) for name in outer.columns])
    select.set("group", exp.Group(expressions=[column.copy() for column in columns]))
    _finish(select, outer, made, columns, leaf, clause="having")
    return select


def _merged(leaf: Leaf, column: exp.Column, facts: Facts) -> exp.Expr:
    """Merge the one value and the NULLs that a group has for a leaf."""
    if isinstance(leaf.call, exp.LogicalAnd | exp.LogicalOr) and facts.has_boolean_aggregates:
        return exp.LogicalOr(this=column)
    return exp.Max(this=column)


def _pad(
    key: str, part: Part, names: Mapping[str, str], tokens: Mapping[str, str], *, is_typed: bool
) -> exp.Expr:
    if key in part.calls:
        return exp.column(names[key], quoted=True)
    value: exp.Expr = exp.Null()
    if is_typed:
        typed = exp.Select(expressions=[exp.column(names[key], quoted=True)])
        typed.set("from_", exp.From(this=named_table(tokens[key])))
        typed.set(
            "where", exp.Where(this=exp.EQ(this=exp.Literal.number(1), expression=exp.Literal.number(0)))
        )
        value = exp.Subquery(this=typed)
    return _as(value, names[key])


def _leaf_names(parts: list[Part], outer: Outer) -> dict[str, str]:
    """Name each leaf's column: like the output that is nothing but this leaf, else like what it was written as."""
    whole = {one.tree.name: one.name for one in outer.outputs if isinstance(one.tree, exp.Column)}
    taken = {one.name.casefold() for one in outer.dimensions}
    names: dict[str, str] = {}
    for part in parts:
        for leaf in part.branch.leaves:
            wanted = whole.get(leaf.key) or _slug(leaf.label)
            name, number = wanted, 2
            while name.casefold() in taken:
                name = f"{wanted}_{number}"
                number += 1
            taken.add(name.casefold())
            names[leaf.key] = name
    return names


def _slug(label: str) -> str:
    text = "".join(char if char.isalnum() else "_" for char in label.lower())
    return "_".join(part for part in text.split("_") if part)[:60] or "value"


def _items(
    outer: Outer, groups: tuple[exp.Expr, ...], leaf: Callable[[str], exp.Expr]
) -> dict[str, exp.Expr]:
    items: dict[str, exp.Expr] = {
        one.name: group.copy() for one, group in zip(outer.dimensions, groups, strict=True)
    }
    for one in outer.outputs:
        items[one.name] = _filled(one.tree, leaf, groups)
    return items


def _filled(tree: exp.Expr, leaf: Callable[[str], exp.Expr], groups: tuple[exp.Expr, ...]) -> exp.Expr:
    result = tree.copy()
    for column in list(result.find_all(exp.Column)):
        if column.table == LEAF:
            made = leaf(column.name)
        elif column.table == GROUP:
            made = groups[int(column.name)].copy()
        else:
            continue
        if column is result:
            return made
        column.replace(wrapped(made))
    return result


def _finish(
    select: exp.Select,
    outer: Outer,
    items: Mapping[str, exp.Expr],
    groups: tuple[exp.Expr, ...],
    leaf: Callable[[str], exp.Expr],
    *,
    clause: str,
) -> None:
    conditions = [wrapped(_filled(tree, leaf, groups)) for tree in outer.having]
    if conditions:
        joined = conditions[0]
        for condition in conditions[1:]:
            joined = exp.And(this=joined, expression=condition)
        made = exp.Having(this=joined) if clause == "having" else exp.Where(this=joined)
        select.set(clause, made)
    if outer.order:
        ordered = [
            exp.Ordered(this=items[name].copy(), desc=is_descending, nulls_first=False)
            for name, is_descending in outer.order
        ]
        select.set("order", exp.Order(expressions=ordered))
