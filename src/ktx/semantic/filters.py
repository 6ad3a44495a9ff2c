"""Filters of a question: each split at its ANDs, told apart by whether it looks at rows or at groups."""

from dataclasses import dataclass

from sqlglot import exp

from ktx.errors import QueryError
from ktx.semantic.expressions import conjuncts, has_window, parse_expression, wrapped
from ktx.semantic.resolve import GROUP, Resolver, bound_column, bound_columns, leaf_keys, plain, rebuilt
from ktx.semantic.source import Source


@dataclass(frozen=True, kw_only=True, eq=False)
class Filter:
    """One condition of the question. `is_group` ones hold leaves and perhaps grouped dimensions; others are bound rows."""

    text: str
    tree: exp.Expr
    is_group: bool


def read_filters(
    resolver: Resolver,
    texts: tuple[str, ...],
    segments: tuple[str, ...],
    groups: dict[str, int],
) -> tuple[Filter, ...]:
    """Bind all filters and segments; `groups` maps the bound text of each plain dimension to its position.

    Raises:
        QueryError: when one cannot be resolved, or mixes rows and groups in a way that has no single meaning.
    """
    found: list[Filter] = []
    for text in texts:
        tree = parse_expression(text, resolver.facts.name)
        if has_window(tree):
            raise QueryError(f"The filter `{text}` holds a window function, which has no place in a filter.")
        parts = conjuncts(tree)
        found.extend(
            _filter(resolver, part, text if len(parts) == 1 else part.sql(resolver.facts.name), groups)
            for part in parts
        )
    for name in segments:
        tree = _segment(resolver, name)
        found += [Filter(text=f"segment {name}", tree=part, is_group=False) for part in conjuncts(tree)]
    return tuple(found)


def _segment(resolver: Resolver, name: str) -> exp.Expr:
    prefix, dot, leaf = name.rpartition(".")
    if not dot:
        raise QueryError(f"A segment is asked for as `source.segment`, not `{name}`.")
    source = resolver.source(prefix)
    if source is None:
        raise QueryError(f"There is no source `{prefix}` for the segment `{name}`.")
    return resolver.segment(source, leaf)


def _filter(resolver: Resolver, tree: exp.Expr, text: str, groups: dict[str, int]) -> Filter:
    bound = resolver.condition(_bind(resolver, tree), text)
    if not leaf_keys(bound):
        return Filter(text=text, tree=bound, is_group=False)
    for column in bound_columns(bound):
        position = groups.get(column.sql())
        if position is None:
            raise QueryError(
                f"The filter `{text}` mixes aggregates with `{plain(column)}`, which is not grouped by.",
                hint="Write the two parts as separate filters, or add the column to `dimensions`.",
            )
        column.replace(exp.column(str(position), GROUP, quoted=True))
    return Filter(text=text, tree=bound, is_group=True)


def _bind(resolver: Resolver, tree: exp.Expr) -> exp.Expr:
    """Bind a filter: aggregates become leaves, names become columns or measures."""
    if isinstance(tree, exp.AggFunc | exp.Filter | exp.WithinGroup):
        return resolver.inline_call(tree)
    if isinstance(tree, exp.Column):
        return _name(resolver, tree)
    return rebuilt(tree, lambda node: _bind(resolver, node))


def _name(resolver: Resolver, column: exp.Column) -> exp.Expr:
    parts = [part.name for part in column.parts]
    words, name = tuple(parts[:-1]), parts[-1]
    named = resolver.named.get(name.casefold(), ()) if not words else ()
    if named:
        return wrapped(_own_name(resolver, name, named))
    measure = resolver.measure_named(words, name)
    has_column = _has_column(resolver, words, name)
    if measure is not None and has_column:
        where = ".".join(parts)
        raise QueryError(
            f"In a filter `{where}` may mean the column or the measure of that name.",
            hint=f"For the measure write its expression, `{measure[1].expr}`; or rename one of the two.",
        )
    if measure is not None:
        return wrapped(resolver.measure(*measure))
    found_words, found = resolver.field(words, name)
    return bound_column(found_words, found.name)


def _own_name(resolver: Resolver, name: str, trees: tuple[exp.Expr, ...]) -> exp.Expr:
    """Give the measure that the question itself calls so, unless a source that it mentions knows the name as well.

    A declared measure of that name is no rival when it is the same aggregate.
    """
    columns = [one for one in resolver.names.columns.get(name.casefold(), ()) if one in resolver.mentioned]
    measures = [one for one in resolver.names.measures.get(name.casefold(), ()) if one in resolver.mentioned]
    rivals = [f"the column `{one}.{name}`" for one in columns]
    for one in measures:
        found = resolver.measure_named((one,), name)
        if found is not None and resolver.measure(*found) not in trees:
            rivals.append(f"the measure `{one}.{name}`")
    if rivals or len(set(trees)) > 1:
        rivals = rivals or ["another one of that name"]
        raise QueryError(
            f"In a filter `{name}` may mean the measure of the question, or {' or '.join(rivals)}.",
            hint="Write the name with its source for what the layer declares, or give the measure another `name`.",
        )
    return trees[0].copy()


def _has_column(resolver: Resolver, words: tuple[str, ...], name: str) -> bool:
    if words:
        sources: list[Source] = resolver.candidates(words[-1])
    else:
        sources = [
            resolver.layer.sources[one] for one in resolver.bare(name, resolver.names.columns, "column")
        ]
    return any(column.name.casefold() == name.casefold() for source in sources for column in source.columns)
