"""Names to things: every column of a tree becomes a declared column behind a path word, every measure becomes leaves.

A *bound* tree is free of context. Its columns are qualified by the words that lead to them from wherever the tree is used
(`orders`, or `buyer` then `countries`); its aggregates are *leaves*, each with a home of its own.
"""

import functools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlglot import exp

from ktx.catalog import ColumnKind
from ktx.errors import LayerError, QueryError
from ktx.findings import Place
from ktx.semantic.comparisons import ensure_comparable, ensure_condition, kind_of, with_truth_values
from ktx.semantic.dialects import Facts
from ktx.semantic.expressions import conjuncts, has_aggregate, has_window, parse_expression, wrapped
from ktx.semantic.graph import Graph, find_column, is_field
from ktx.semantic.joins import Router
from ktx.semantic.source import Column, Layer, Measure, Segment, Source
from ktx.suggest import did_you_mean

_JOINER = "\x1f"
METRIC_TIME = "metric_time"
LEAF = "@leaf"
GROUP = "@group"
_COUNTS = (exp.Count, exp.CountIf, exp.ApproxDistinct)
_NUMERIC = (exp.Sum, exp.Avg, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop)


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaf:
    """One aggregate at one home: a bound call over the rows of `home` that meet all bound `conditions`.

    `time` is the field that `metric_time` means for it, as `source.column`; `balance` is set when only the rows at the
    edge of each period count: the bound time column, and which edge.
    """

    key: str
    home: str
    call: exp.Expr
    conditions: tuple[exp.Expr, ...]
    label: str
    time: tuple[str, str] | None = None
    balance: tuple[exp.Expr, str] | None = None

    @property
    def is_count(self) -> bool:
        """Whether having no rows means 0 and not NULL."""
        return isinstance(self.call, _COUNTS)

    @property
    def is_sum(self) -> bool:
        """Whether it is a plain sum."""
        return isinstance(self.call, exp.Sum)


def bound_column(words: tuple[str, ...], name: str) -> exp.Column:
    """Make a bound column."""
    return exp.column(name, _JOINER.join(words), quoted=True)


def words_of(column: exp.Column) -> tuple[str, ...]:
    """Give the path words of a bound column."""
    return tuple(column.table.split(_JOINER))


def bound_columns(tree: exp.Expr) -> list[exp.Column]:
    """Give the bound columns of a tree in order, leaving leaves and group references out."""
    return [column for column in tree.find_all(exp.Column, bfs=False) if column.table not in {LEAF, GROUP}]


def leaf_keys(tree: exp.Expr) -> list[str]:
    """Give the keys of the leaves that a tree uses, in order."""
    return list(dict.fromkeys(c.name for c in tree.find_all(exp.Column, bfs=False) if c.table == LEAF))


@contextmanager
def in_layer(what: str, place: Place) -> Generator[None]:
    """Turn a refusal raised inside into one that blames a place of the layer."""
    try:
        yield
    except QueryError as error:
        spot = f" ({place})" if str(place) else ""
        raise LayerError(f"{what} cannot be used: {error.message}{spot}", hint=error.hint) from error


class Names:
    """Which sources have a column or a measure of a name; built when a bare name is first met."""

    def __init__(self, layer: Layer) -> None:
        """Index the names of sources without case; those of their parts wait until one is asked for bare."""
        self._layer = layer
        self.sources = {name.casefold(): name for name in layer.sources}

    @functools.cached_property
    def columns(self) -> dict[str, list[str]]:
        """The sources that have a column, by its case-folded name."""
        found: dict[str, list[str]] = {}
        for source in self._layer.sources.values():
            for column in source.columns:
                _note(found, column.name, source.name)
        return found

    @functools.cached_property
    def measures(self) -> dict[str, list[str]]:
        """The sources that have a measure, by its case-folded name."""
        found: dict[str, list[str]] = {}
        for source in self._layer.sources.values():
            for measure in source.measures:
                _note(found, measure.name, source.name)
        return found


def _note(index: dict[str, list[str]], name: str, source: str) -> None:
    known = index.setdefault(name.casefold(), [])
    if not known or known[-1] != source:
        known.append(source)


class Resolver:
    """Binds the free text of one question; gathers its leaves and the remarks that come up."""

    def __init__(self, *, graph: Graph, router: Router, names: Names, facts: Facts) -> None:
        """Start with no leaves; `mentioned` is filled before binding, and `named`, what the question calls its measures, before its filters."""
        self.graph = graph
        self.layer = graph.layer
        self.router = router
        self.names = names
        self.facts = facts
        self.mentioned: list[str] = []
        self.named: dict[str, tuple[exp.Expr, ...]] = {}
        self.leaves: dict[str, Leaf] = {}
        self.used_measures: list[str] = []
        self._keys: dict[str, str] = {}
        self._computed: dict[tuple[str, str], exp.Expr] = {}

    # ---- sources and columns

    def source(self, word: str) -> Source | None:
        """Give the source called so, by exact name or else ignoring case.

        Raises:
            LayerError: when its files cannot be used.
        """
        found = self.layer.sources.get(word)
        if found is None and (name := self.names.sources.get(word.casefold())):
            found = self.layer.sources[name]
        if found is None and word in self.layer.broken:
            reasons = self.layer.broken[word]
            first = next((one for one in reasons if one.level == "error"), reasons[0])
            raise LayerError(
                f"The source `{word}` cannot be used: {first.message} ({first.where})",
                hint=first.fix,
                findings=reasons,
            )
        return found

    def candidates(self, word: str) -> list[Source]:
        """Give what a path word may lead to: the source, or the targets of the alias."""
        found: dict[str, Source] = {}
        if source := self.source(word):
            found[source.name] = source
        for _, join in self.graph.holders_by_alias.get(word.casefold(), []):
            if target := self.layer.sources.get(join.to):
                found.setdefault(target.name, target)
        return list(found.values())

    def ensure_not_broken(self, word: str) -> None:
        """Refuse a source whose files could not be used, with the reasons."""
        findings = self.layer.broken.get(word)
        if findings:
            raise LayerError(
                f"The source `{word}` cannot be used: {findings[0].message} ({findings[0].where})",
                hint=findings[0].fix,
                findings=findings,
            )

    def canonical(self, word: str) -> str:
        """Give the declared spelling of a path word."""
        if source := self.source(word):
            return source.name
        holders = self.graph.holders_by_alias.get(word.casefold(), [])
        return next((join.alias for _, join in holders if join.alias), word)

    def ensure_column(self, words: tuple[str, ...], name: str, *, is_asked: bool) -> Column:
        """Give the declared column; `is_asked` means that it comes from the question, where hidden ones are refused."""
        targets = self.candidates(words[-1])
        if not targets:
            self.ensure_not_broken(words[-1])
            known = [
                *self.layer.sources,
                *(j.alias or "" for hs in self.graph.holders_by_alias.values() for _, j in hs),
            ]
            raise QueryError(f"There is no source or alias `{words[-1]}`.{did_you_mean(words[-1], known)}")
        for word in words[:-1]:
            if not self.candidates(word):
                raise QueryError(f"There is no source or alias `{word}` in `{'.'.join((*words, name))}`.")
        found: Column | None = None
        for target in targets:
            column = find_column(target, name)
            if column is None:
                continue
            if is_asked and column.visibility == "hidden":
                raise QueryError(
                    f"The column `{column.name}` of `{target.name}` is hidden.",
                    hint="Ask for a public column or a measure.",
                )
            found = found or column
        if found is None:
            known = [column.name for column in targets[0].columns if column.visibility != "hidden"]
            hint = f"Its columns: {', '.join(known[:30])}." if known else None
            if any(_measure(target, name) for target in targets):
                hint = f"`{name}` is a measure; ask for it in `measures`."
            raise QueryError(
                f"`{targets[0].name}` has no column `{name}`.{did_you_mean(name, known)}", hint=hint
            )
        return found

    def bare(self, name: str, index: dict[str, list[str]], kind: str) -> list[str]:
        """Give the sources that a bare name may mean: those the question mentions, else all."""
        sources = index.get(name.casefold(), [])
        if kind == "column":
            sources = [one for one in sources if self._is_visible(one, name)] or sources
        return [one for one in sources if one in self.mentioned] or sources

    def _is_visible(self, source: str, name: str) -> bool:
        column = find_column(self.layer.sources[source], name)
        return column is not None and column.visibility != "hidden"

    def field(self, words: tuple[str, ...], name: str) -> tuple[tuple[str, ...], Column]:
        """Bind a column name of the question, qualified or bare, to path words and the declared column."""
        words, name = self._as_path(words, name)
        if not words and name.casefold() == METRIC_TIME and METRIC_TIME not in self.names.columns:
            return (METRIC_TIME,), Column(name=METRIC_TIME, kind="time")
        if not words:
            found = self.bare(name, self.names.columns, "column")
            if not found:
                raise QueryError(
                    f"No source has a column `{name}`.{did_you_mean(name, self.names.columns)}",
                    hint="Write it as `source.column`.",
                )
            if len(found) > 1:
                raise _ambiguous_name("column", name, found)
            words = (found[0],)
        words = tuple(self.canonical(word) for word in words)
        return words, self.ensure_column(words, name, is_asked=True)

    def _as_path(self, words: tuple[str, ...], name: str) -> tuple[tuple[str, ...], str]:
        """Read the last words as a path into a record where they lead to no source: `customers.address.city`."""
        if not words or self.candidates(words[-1]):
            return words, name
        for cut in range(len(words) - 1, -1, -1):
            dotted = ".".join((*words[cut:], name))
            owners = (
                self.candidates(words[cut - 1])
                if cut
                else [self.layer.sources[one] for one in self.bare(dotted, self.names.columns, "column")]
            )
            if any(find_column(owner, dotted) is not None for owner in owners):
                return words[:cut], dotted
        return words, name

    # ---- binding

    def bind(self, tree: exp.Expr, source: Source | None) -> exp.Expr:
        """Bind the columns of a row-level tree: in the context of `source`, or of the question when that is None."""
        result = tree.copy()
        for column in list(result.find_all(exp.Column)):
            if isinstance(column.this, exp.Star):
                continue
            made = self._bind_one(column, source)
            if column is result:
                return made
            column.replace(made)
        return result

    def _bind_one(self, column: exp.Column, source: Source | None) -> exp.Column:
        words, name = _parts(column)
        if source is not None:
            found = find_column(source, ".".join((*words, name))) if words else None
            if found is not None and is_field(source, found.name) and not self.candidates(words[-1]):
                return bound_column((source.name,), found.name)
        if source is None:
            words, found = self.field(words, name)
            return bound_column(words, found.name)
        if not words or (len(words) == 1 and self._is_self(words[0], source)):
            found = find_column(source, name)
            if found is None:
                raise QueryError(
                    f"`{source.name}` has no column `{name}`.{did_you_mean(name, (one.name for one in source.columns))}"
                )
            return bound_column((source.name,), found.name)
        words, name = self._as_path(words, name)
        words = tuple(self.canonical(word) for word in words)
        return bound_column(words, self.ensure_column(words, name, is_asked=False).name)

    def _is_self(self, word: str, source: Source) -> bool:
        return word.casefold() == source.name.casefold()

    def computed(self, source: Source, column: Column) -> exp.Expr:
        """Give the bound tree of a computed column; its own name inside means the physical column."""
        key = (source.name, column.name)
        if key not in self._computed:
            with in_layer(f"The column `{column.name}` of `{source.name}`", column.place):
                tree = parse_expression(column.expr or "", self.facts.name)
                if has_aggregate(tree) and not has_window(tree):
                    raise QueryError(f"`{column.expr}` is an aggregate; a column is computed row by row.")
                self._computed[key] = self.bind(tree, source)
        return self._computed[key]

    def segment(self, source: Source, name: str) -> exp.Expr:
        """Give the bound condition of a segment of a source."""
        found = _segment(source, name)
        if found is None:
            known = [one.name for one in source.segments]
            raise QueryError(f"`{source.name}` has no segment `{name}`.{did_you_mean(name, known)}")
        with in_layer(f"The segment `{found.name}` of `{source.name}`", found.place):
            return self._condition(found.expr, source)

    def _condition(self, text: str, source: Source | None) -> exp.Expr:
        tree = parse_expression(text, self.facts.name)
        if has_aggregate(tree):
            raise QueryError(f"`{text}` is an aggregate, where a condition on rows is needed.")
        return self.condition(self.bind(tree, source), text)

    # ---- measures

    def measure_named(self, words: tuple[str, ...], name: str) -> tuple[Source, Measure] | None:
        """Give the declared measure of that name, qualified or bare, or None."""
        if not words:
            found = self.bare(name, self.names.measures, "measure")
            if len(found) > 1:
                raise _ambiguous_name("measure", name, found)
            sources = [self.layer.sources[one] for one in found]
        elif len(words) == 1:
            sources = [source] if (source := self.source(words[0])) else []
            if not sources and (targets := self.candidates(words[0])):
                if _measure(targets[0], name):
                    raise QueryError(
                        f"`{words[0]}` is an alias, and measures belong to sources.",
                        hint=f"Ask for `{targets[0].name}.{name}`.",
                    )
                return None
        else:
            return None
        for source in sources:
            if found_measure := _measure(source, name):
                return source, found_measure
        return None

    def measure(
        self, source: Source, measure: Measure, extra: tuple[exp.Expr, ...] = (), stack: tuple[str, ...] = ()
    ) -> exp.Expr:
        """Give a declared measure as a tree over leaves; its filter and segments go into every leaf of it."""
        label = f"{source.name}.{measure.name}"
        if label in stack:
            raise LayerError(f"The measure `{label}` is defined by itself: {' -> '.join((*stack, label))}.")
        self.used_measures.append(label)
        with in_layer(f"The measure `{label}`", measure.place):
            conditions = list(extra)
            if measure.filter and measure.filter.strip():
                conditions += conjuncts(self._condition(measure.filter, source))
            for name in measure.segments:
                conditions += conjuncts(self.segment(source, name.removeprefix(f"{source.name}.")))
            tree = parse_expression(measure.expr, self.facts.name)
            return self._leaves(tree, source, tuple(conditions), (*stack, label), label, measure)

    def inline(self, text: str, extra: tuple[exp.Expr, ...] = ()) -> exp.Expr:
        """Give an aggregate expression of the question as a tree over leaves."""
        tree = parse_expression(text, self.facts.name)
        if has_window(tree):
            raise QueryError(
                f"`{text}` holds a window function.",
                hint="Use `rolling`, `cumulative`, `offset` or `percent_of_total`.",
            )
        return self._leaves(tree, None, extra, (), text, None)

    def inline_call(self, call: exp.Expr) -> exp.Expr:
        """Give an aggregate call of the question as a leaf."""
        return self._leaves(call, None, (), (), _plain(call), None)

    def _leaves(
        self,
        tree: exp.Expr,
        source: Source | None,
        conditions: tuple[exp.Expr, ...],
        stack: tuple[str, ...],
        label: str,
        measure: Measure | None,
    ) -> exp.Expr:
        if has_window(tree):
            raise QueryError(f"`{label}` holds a window function, which a measure cannot.")

        def visit(node: exp.Expr) -> exp.Expr:
            if isinstance(node, exp.Filter):
                inner = node.this
                own = self._row_condition(node.expression.this, source)
                return self._leaf(inner, source, (*conditions, *conjuncts(own)), label, measure)
            if isinstance(node, exp.AggFunc | exp.WithinGroup | exp.IgnoreNulls | exp.RespectNulls):
                return self._leaf(node, source, conditions, label, measure)
            if isinstance(node, exp.Column):
                return self._reference(node, source, conditions, stack)
            return rebuilt(node, visit)

        return visit(tree)

    def _reference(
        self,
        column: exp.Column,
        source: Source | None,
        conditions: tuple[exp.Expr, ...],
        stack: tuple[str, ...],
    ) -> exp.Expr:
        words, name = _parts(column)
        if source is not None and not words:
            own = _measure(source, name)
            found = (source, own) if own else None
        else:
            found = self.measure_named(words, name)
        if found is not None:
            return wrapped(self.measure(*found, conditions, stack))
        shown = ".".join((*words, name))
        context = source or (self.source(words[0]) if words else None)
        if context is not None and find_column(context, name):
            raise QueryError(
                f"`{shown}` is a column, not a measure.",
                hint=f"Aggregate it, for instance `sum({shown})` or `count({shown})`.",
            )
        if context is not None:
            known = [one.name for one in context.measures]
            raise QueryError(
                f"`{context.name}` has no measure `{name}`.{did_you_mean(name, known)}",
                hint=f"Its measures: {', '.join(known)}." if known else None,
            )
        if words:
            self.ensure_not_broken(words[0])
        known = [*self.names.measures] if not words else [*self.layer.sources]
        what = f"measure `{name}`" if not words else f"source `{words[0]}`"
        raise QueryError(f"There is no {what}.{did_you_mean(name if not words else words[0], known)}")

    def _row_condition(self, tree: exp.Expr, source: Source | None) -> exp.Expr:
        if has_aggregate(tree):
            raise QueryError("A FILTER inside a measure may only look at rows.")
        return self.bind(tree, source)

    def _leaf(
        self,
        call: exp.Expr,
        source: Source | None,
        conditions: tuple[exp.Expr, ...],
        label: str,
        measure: Measure | None,
    ) -> exp.Expr:
        inner = [node for node in call.walk() if isinstance(node, exp.AggFunc) and node is not call]
        if isinstance(call, exp.WithinGroup):
            inner = [node for node in inner if node is not call.this]
        if inner:
            raise QueryError(f"`{label}` aggregates an aggregate, which has no single meaning.")
        self._ensure_supported(call, label)
        starred = [c for c in call.find_all(exp.Column) if isinstance(c.this, exp.Star)]
        bound = self.bind(call, source)
        home = self._home(bound, source, starred, label)
        for column in [c for c in bound.find_all(exp.Column) if isinstance(c.this, exp.Star)]:
            column.replace(exp.Star())
        bound = self._checked_argument(with_truth_values(bound, self._column_kind), label)
        if measure is None:
            label = _plain(bound)
        leaf = Leaf(
            key="",
            home=home,
            call=bound,
            conditions=_unique(conditions),
            label=label,
            time=self._time_of(home, measure, source),
            balance=self._balance(measure, source),
        )
        return self._registered(leaf)

    def _registered(self, leaf: Leaf) -> exp.Expr:
        parts = [leaf.home, leaf.call.sql(), *sorted(one.sql() for one in leaf.conditions), repr(leaf.time)]
        if leaf.balance:
            parts += [leaf.balance[0].sql(), leaf.balance[1]]
        identity = "\x00".join(parts)
        key = self._keys.setdefault(identity, f"leaf{len(self._keys) + 1}")
        if key not in self.leaves:
            self.leaves[key] = replace(leaf, key=key)
        return exp.column(key, LEAF, quoted=True)

    def _time_of(self, home: str, measure: Measure | None, source: Source | None) -> tuple[str, str] | None:
        if measure is not None and source is not None and measure.time_dimension:
            prefix, dot, name = measure.time_dimension.rpartition(".")
            return (prefix if dot else source.name, name)
        default = self.layer.sources[home].default_time_dimension
        return (home, default.rpartition(".")[2]) if default else None

    def _balance(self, measure: Measure | None, source: Source | None) -> tuple[exp.Expr, str] | None:
        if measure is None or measure.non_additive is None or source is None:
            return None
        name = measure.non_additive.dimension
        bound = self.bind(parse_expression(name, self.facts.name), source)
        if not isinstance(bound, exp.Column):
            raise QueryError(f"`non_additive.dimension` names one column, not `{name}`.")
        return bound, measure.non_additive.window

    def _home(self, bound: exp.Expr, source: Source | None, starred: list[exp.Column], label: str) -> str:
        """Find where an aggregate lives: the one source whose rows it runs over."""
        used = list(
            dict.fromkeys(
                words_of(column) for column in bound_columns(bound) if not isinstance(column.this, exp.Star)
            )
        )
        if starred and starred[0].table:
            named = self.source(starred[0].table)
            if named is None:
                raise QueryError(f"`count({starred[0].table}.*)` names no source.")
            used.append((named.name,))
        if source is not None and all(self.router.to_one(source.name, words) for words in used):
            return source.name
        if not used:
            if len(self.mentioned) == 1:
                return self.mentioned[0]
            raise QueryError(
                f"`{label}` does not say of which source.",
                hint="Write for instance `count(orders.id)` or `count(orders.*)`.",
            )
        options: dict[str, None] = {}
        for words in used:
            if len(words) == 1 and self.source(words[0]):
                options[self.canonical(words[0])] = None
            else:
                holders = self.graph.holders_by_alias.get(words[0].casefold(), [])
                options.update(dict.fromkeys(holder.name for holder, _ in holders))
        fitting = [home for home in options if all(self.router.to_one(home, words) for words in used)]
        if not fitting:
            names = " and ".join(f"`{'.'.join(words)}`" for words in used)
            raise QueryError(
                f"`{label}` puts {names} into one aggregate, but no source reaches all of them over to-one joins.",
                hint="Aggregate each of them on its own, for instance `sum(a.x) / count(b.y)`.",
            )
        alias_only = not any(len(words) == 1 and self.source(words[0]) for words in used)
        if alias_only and len(fitting) > 1:
            raise QueryError(
                f"`{label}` could run over {' or '.join(f'`{home}`' for home in fitting)}.",
                hint="Define it as a measure of the one that is meant.",
            )
        return fitting[0]

    def _ensure_supported(self, call: exp.Expr, label: str) -> None:
        name = type(call).__name__
        if name in self.facts.missing:
            raise QueryError(f"`{label}` needs `{call.key}`, which {self.facts.name} does not have.")

    def _checked_argument(self, call: exp.Expr, label: str) -> exp.Expr:
        """Refuse to add up what is no number, and count a condition as 0 and 1 where the engine will not."""
        ensure_comparable(call, label, self._column_kind, self.facts)
        if not isinstance(call, _NUMERIC):
            return call
        argument = (
            call.this.expressions[0]
            if isinstance(call.this, exp.Distinct) and call.this.expressions
            else call.this
        )
        kind = self.kind(argument)
        if kind in {"string", "time"}:
            raise QueryError(
                f"`{label}` takes the {call.key} of a {kind}, `{_plain(argument)}`.",
                hint="Count it, or take its minimum or maximum; if it is a number, say so with `type: number`.",
            )
        if kind == "boolean" and not self.facts.sums_booleans:
            result = call.copy()
            inner = result.this
            inner.replace(
                exp.Case(ifs=[
                    exp.If(this=inner.copy(), true=exp.Literal.number(1)),
                    exp.If(this=exp.Not(this=wrapped(inner.copy())), true=exp.Literal.number(0)),
                ])
            )  # fmt: skip
            return result
        return call

    # ---- kinds

    def kind(self, tree: exp.Expr) -> ColumnKind | None:
        """Give the kind of a bound tree where it is certain, else None."""
        return kind_of(tree, self._column_kind)

    def _column_kind(self, column: exp.Column) -> ColumnKind | None:
        if column.table == LEAF:
            return self.leaf_kind(column.name)
        if column.table == GROUP or isinstance(column.this, exp.Star):
            return None
        kinds: set[ColumnKind | None] = {
            found.kind if found.is_typed else None
            for target in self.candidates(words_of(column)[-1])
            if (found := find_column(target, column.name))
        }
        return kinds.pop() if len(kinds) == 1 else None

    def leaf_kind(self, key: str) -> ColumnKind | None:
        """Give the kind of what a leaf gives, where it is certain."""
        call = self.leaves[key].call
        if isinstance(call, exp.Min | exp.Max):
            return self.kind(call.this)
        if isinstance(call, exp.LogicalAnd | exp.LogicalOr):
            return "boolean"
        return "number" if isinstance(call, (*_COUNTS, *_NUMERIC, exp.PercentileCont, exp.Median)) else None

    def condition(self, tree: exp.Expr, text: str) -> exp.Expr:
        """Give a bound condition as it can be compared.

        Raises:
            QueryError: when it is a value and not a condition, or compares what no engine can compare.
        """
        ensure_condition(tree, text, self._column_kind)
        ensure_comparable(tree, text, self._column_kind, self.facts)
        return with_truth_values(tree, self._column_kind)


def rebuilt(tree: exp.Expr, visit: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """Give a node of the same kind with every child replaced by what `visit` makes of it."""
    result = tree.copy()
    for child in list(result.iter_expressions()):
        made = visit(child)
        if made is not child:
            child.replace(made)
    return result


def _unique(conditions: tuple[exp.Expr, ...]) -> tuple[exp.Expr, ...]:
    return tuple({one.sql(): one for one in conditions}.values())


def _plain(tree: exp.Expr) -> str:
    shown = tree.copy()
    for column in shown.find_all(exp.Column):
        column.set("table", exp.to_identifier(column.table.replace(_JOINER, ".")))
        column.set("this", exp.to_identifier(column.name))
    return shown.sql()


def plain(tree: exp.Expr) -> str:
    """Render a bound tree for people."""
    return _plain(tree)


def _parts(column: exp.Column) -> tuple[tuple[str, ...], str]:
    words = tuple(part.name for part in column.parts)
    return words[:-1], words[-1]


def _measure(source: Source, name: str) -> Measure | None:
    found = source.measure(name)
    if found is None:
        alike = [one for one in source.measures if one.name.casefold() == name.casefold()]
        found = alike[0] if len(alike) == 1 else None
    return found


def _segment(source: Source, name: str) -> Segment | None:
    found = source.segment(name)
    if found is None:
        alike = [one for one in source.segments if one.name.casefold() == name.casefold()]
        found = alike[0] if len(alike) == 1 else None
    return found


def _ambiguous_name(kind: str, name: str, sources: list[str]) -> QueryError:
    options = [f"`{source}.{name}`" for source in sources[:8]]
    return QueryError(
        f"The {kind} `{name}` is ambiguous: {', '.join(options)}.", hint=f"Write {options[0]} or another."
    )
