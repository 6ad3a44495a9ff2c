"""The rows of one source, widened by exactly the joins that its expressions need.

`Rows` turns bound trees into physical ones. It is the only place where a path becomes joins, so the path that was checked is
the path that runs. Aliases are copies: each path gets its own joined table.
"""

from collections.abc import Callable

from sqlglot import exp

from ktx.errors import LayerError, QueryError
from ktx.semantic.absent import guarded, is_strict, witness
from ktx.semantic.expressions import all_of, conjuncts, wrapped
from ktx.semantic.graph import NEAR, Edge, find_column, is_field
from ktx.semantic.joins import Path, Way, show_path
from ktx.semantic.resolve import METRIC_TIME, Resolver, bound_columns, plain, words_of
from ktx.semantic.source import Column, Source

Tables = Callable[[Source], exp.Expr]


def last_fan(path: Path) -> int:
    """Give how many steps of a path lie up to and including its last one-to-many step."""
    return max((index + 1 for index, edge in enumerate(path) if not edge.is_to_one), default=0)


class Rows:
    """One FROM clause in the making, rooted at `home`, or inside an EXISTS at the end of the path `base`."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        tables: Tables,
        home: str,
        base: Path = (),
        parent: "Rows | None" = None,
        fans: tuple[Path, ...] = (),
        siblings: frozenset[str] = frozenset(),
        seen_from: tuple[str, Path] | None = None,
        metric_time: tuple[Path, Column] | None = None,
    ) -> None:
        """Start with the root alone; `fans` are one-to-many paths that are joined because a dimension lies on them.

        `seen_from` gives a source and a path from it to `home` when words are to be resolved from there.
        """
        self.resolver = resolver
        self.home = home
        self.base = base
        self.parent = parent
        self.siblings = siblings
        self._seen_from = seen_from
        self._metric_time = metric_time
        self.uses_exists = False
        self._tables = tables
        self._fans = {path[: last_fan(path)] for path in fans}
        self.taken: set[str] = parent.taken if parent else set()
        self._joins: list[exp.Join] = []
        root = base[-1] if base else None
        self._root_source = resolver.layer.sources[root.target if root else home]
        self.root_alias = self._alias(root.name if root else home, "")
        self._aliases: dict[Path, str] = {base: self.root_alias}

    # ---- ways

    def way(self, words: tuple[str, ...], via: tuple[str, ...] = ()) -> Way:
        """Give the way from the home to what the words name.

        Raises:
            QueryError: when there is none, or it crosses to a sibling that is measured in the same question.
        """
        router = self.resolver.router
        if words == (METRIC_TIME,) and self._metric_time is not None:
            return Way(path=self._metric_time[0], shape="to_one")
        if self._seen_from is not None:
            start, shared = self._seen_from
            seen = router.find(start, words, via, can_cross=True)
            if seen is None or seen.path[: len(shared)] != shared:
                raise no_path(self.resolver, self.home, ".".join(words))
            return Way(path=seen.path[len(shared) :], shape="to_one")
        way = router.find(self.home, words, via, can_cross=True)
        name = ".".join(words)
        if way is None:
            raise no_path(self.resolver, self.home, name)
        if way.shape == "cross":
            crossed = [edge.target for edge in way.path if edge.target in self.siblings]
            if crossed:
                raise QueryError(
                    f"`{self.home}` has no relation of its own to `{name}`: the only way is over what they share, "
                    f"{show_path(self.home, way.path)}.",
                    hint=f"Ask about `{self.home}` and `{crossed[0]}` in two questions, or filter on something both can reach.",
                )
        return way

    def is_covered(self, path: Path) -> bool:
        """Whether a path can be joined here without leaving one row per row of this FROM."""
        if self.parent is not None and path[: len(self.base)] == self.base:
            return True
        fan = path[: last_fan(path)]
        covered = not fan or any(joined[: len(fan)] == fan for joined in self._fans)
        return covered or (self.parent is not None and self.parent.is_covered(path))

    # ---- trees

    def expr(self, tree: exp.Expr, prefix: Path = (), stack: tuple[tuple[Path, str], ...] = ()) -> exp.Expr:
        """Make a bound row-level tree physical; `prefix` is where its words start."""
        result = tree.copy()
        for column in bound_columns(result):
            made = self._place(column, prefix, stack)
            if column is result:
                return made
            column.replace(made)
        return result

    def _place(self, column: exp.Column, prefix: Path, stack: tuple[tuple[Path, str], ...]) -> exp.Expr:
        words = words_of(column)
        if words == (METRIC_TIME,) and self._metric_time is not None:
            path, time = self._metric_time
            return self.at(path, self.source_at(path), time)
        if not prefix:
            path = self.way(words).path
        else:
            start = prefix[-1].target
            way = self.resolver.router.to_one(start, words)
            if way is None:
                raise LayerError(
                    f"A computed column of `{start}` uses `{'.'.join(words)}.{column.name}`, which is not reached over "
                    f"to-one joins."
                )
            path = prefix + way.path
        source = self.resolver.layer.sources[path[-1].target if path else self.home]
        found = find_column(source, column.name)
        if found is None:
            raise QueryError(f"`{source.name}` has no column `{column.name}`.")
        return self.at(path, source, found, stack)

    def at(
        self, path: Path, source: Source, column: Column, stack: tuple[tuple[Path, str], ...] = ()
    ) -> exp.Expr:
        """Give a declared column at the end of a path, with a computed one written out."""
        if not self.is_covered(path):
            raise QueryError(
                f"`{source.name}.{column.name}` has several values per row of `{self.home}`: "
                f"{show_path(self.home, path)} fans out."
            )
        if column.expr is None or is_windowed(column):
            return self._physical(source, column.name, path)
        mark = (path, column.name)
        if mark in stack:
            if stack[-1] == mark:
                return self._physical(source, column.name, path)
            names = " -> ".join(name for _, name in (*stack, mark))
            raise LayerError(f"The computed columns of `{source.name}` are defined by each other: {names}.")
        tree = self.resolver.computed(source, column)
        if not path:
            return wrapped(self._own(tree, (*stack, mark)))
        made = wrapped(self.expr(tree, path, (*stack, mark)))
        if path == self.base or is_strict(tree):
            return made
        return guarded(made, self._physical(source, witness(path[-1], source).name, path))

    def _physical(self, source: Source, name: str, path: Path) -> exp.Expr:
        """Give a column as the warehouse has it; a field of a record is a path into it."""
        if not is_field(source, name):
            return exp.column(name, self.alias(path), quoted=True)
        first, *steps = name.split(".")
        tree: exp.Expr = exp.column(first, self.alias(path), quoted=True)
        if self.resolver.facts.wraps_records:
            tree = exp.Paren(this=tree)
        for step in steps:
            tree = exp.Dot(this=tree, expression=exp.to_identifier(step, quoted=True))
        return tree

    def _own(self, tree: exp.Expr, stack: tuple[tuple[Path, str], ...]) -> exp.Expr:
        """Make a computed column of the home itself physical: its other sources must be to-one too."""
        for column in bound_columns(tree):
            words = words_of(column)
            if self.resolver.router.to_one(self.home, words) is None:
                raise LayerError(
                    f"A computed column of `{self.home}` uses `{'.'.join(words)}.{column.name}`, which is not reached over "
                    f"to-one joins."
                )
        return self.expr(tree, (), stack)

    # ---- joins

    def alias(self, path: Path) -> str:
        """Give the alias of the table at the end of a path, joining what is still missing."""
        if path in self._aliases:
            return self._aliases[path]
        if self.parent is not None and path[: len(self.base)] != self.base:
            return self.parent.alias(path)
        near = self.alias(path[:-1])
        edge = path[-1]
        alias = self._alias(edge.name, near)
        self._aliases[path] = alias
        condition = self.edge_condition(edge, path)
        kind = "LEFT" if edge.is_to_one or self.parent is None else "INNER"
        table = exp.alias_(self._tables(self.source_at(path)), alias, table=True, quoted=True)
        self._joins.append(
            exp.Join(this=table, side="LEFT" if kind == "LEFT" else None, kind=None, on=condition)
        )
        return alias

    def edge_condition(self, edge: Edge, path: Path) -> exp.Expr:
        """Give the whole condition of the last step of a path, between the aliases at its two ends."""
        tree = edge.condition.copy()
        near, far = self.source_at(path[:-1]), self.source_at(path)
        for column in list(tree.find_all(exp.Column)):
            is_near = column.table == NEAR
            source, at = (near, path[:-1]) if is_near else (far, path)
            found = find_column(source, column.name)
            if found is None:
                raise LayerError(
                    f"The join of `{edge.origin}` to `{edge.target}` uses the unknown column `{column.name}`."
                )
            before = len(self._joins)
            made = self.at(at, source, found)
            if not is_near and len(self._joins) > before:
                raise LayerError(
                    f"The join of `{edge.origin}` to `{edge.target}` compares `{found.name}`, which is computed from a "
                    f"further source."
                )
            if column is tree:
                return made
            column.replace(made)
        return tree

    @property
    def joined(self) -> tuple[Path, ...]:
        """The paths whose ends are joined here, in the order of joining."""
        return tuple(path for path in self._aliases if path != self.base)

    def source_at(self, path: Path) -> Source:
        """Give the source at the end of a path."""
        return self.resolver.layer.sources[path[-1].target if path else self.home]

    def _alias(self, name: str, near: str) -> str:
        for candidate in (name, f"{near}_{name}" if near else name):
            if candidate.casefold() not in self.taken:
                self.taken.add(candidate.casefold())
                return candidate
        number = 2
        while f"{name}_{number}".casefold() in self.taken:
            number += 1
        self.taken.add(f"{name}_{number}".casefold())
        return f"{name}_{number}"

    def attach(self, select: exp.Select, root: exp.Expr | None = None) -> exp.Select:
        """Write FROM and the joins into a select; `root` stands in for the root's own table."""
        table = root if root is not None else self._tables(self._root_source)
        select.set("from_", exp.From(this=exp.alias_(table, self.root_alias, table=True, quoted=True)))
        select.set("joins", self._joins)
        return select

    # ---- conditions

    def condition(self, trees: tuple[exp.Expr, ...]) -> exp.Expr | None:
        """Make conditions physical and join them by AND: plain where to-one, as EXISTS where a row has many matches.

        Conditions on the same list of matches are met by the same match.
        """
        plain_parts: list[exp.Expr] = []
        matches: dict[Path, list[exp.Expr]] = {}
        for tree in (part for whole in trees for part in conjuncts(whole)):
            inner = tree.unnest()
            bases = self._bases(inner)
            if not bases:
                plain_parts.append(self.expr(inner))
            elif len(bases) == 1 and self._is_one_list(inner, bases):
                matches.setdefault(next(iter(bases)), []).append(inner)
            elif isinstance(inner, exp.Or):
                sides = [self.condition((side,)) for side in (inner.left, inner.right)]
                plain_parts.append(
                    exp.Or(**dict(zip(("this", "expression"), map(_grouped, sides), strict=True)))
                )
            else:
                raise QueryError(
                    f"`{plain(inner)}` compares lists of matches that have nothing to do with each other.",
                    hint="Split it into one filter per source.",
                )
        plain_parts += [self._exists(base, parts) for base, parts in matches.items()]
        return all_of(plain_parts)

    def _bases(self, tree: exp.Expr) -> set[Path]:
        """Give the first one-to-many steps, with what leads there, that a tree needs and this FROM lacks."""
        found: set[Path] = set()
        for column in bound_columns(tree):
            path = self.way(words_of(column)).path
            if not self.is_covered(path):
                found.add(path[: next(i for i, edge in enumerate(path) if not edge.is_to_one) + 1])
        return found

    def _is_one_list(self, tree: exp.Expr, bases: set[Path]) -> bool:
        """Whether a condition can go into one EXISTS: an OR beside a condition of the row itself cannot."""
        if not isinstance(tree, exp.Or):
            return True
        return all(self._bases(side) == bases for side in (tree.left, tree.right))

    def _exists(self, base: Path, trees: list[exp.Expr]) -> exp.Expr:
        facts = self.resolver.facts
        if not facts.has_correlated_exists:
            raise QueryError(
                f"A filter over the one-to-many way {show_path(self.home, base)} needs a correlated EXISTS, which "
                f"{facts.name} does not have."
            )
        self.uses_exists = True
        near = self.alias(base[:-1])
        del near
        inner = Rows(
            resolver=self.resolver,
            tables=self._tables,
            home=self.home,
            base=base,
            parent=self,
            siblings=self.siblings,
            seen_from=self._seen_from,
            metric_time=self._metric_time,
        )
        link = inner.edge_condition(base[-1], base)
        parts = [*conjuncts(link), *(inner.expr(tree) for tree in trees)]
        select = exp.Select(expressions=[exp.Literal.number(1)])
        inner.attach(select)
        where = all_of(parts)
        if where is not None:
            select.set("where", exp.Where(this=where))
        return exp.Exists(this=select)


def _grouped(tree: exp.Expr | None) -> exp.Expr:
    if tree is None:
        return exp.true()
    return exp.Paren(this=tree) if isinstance(tree, exp.And | exp.Or) else tree


def is_windowed(column: Column) -> bool:
    """Whether a computed column looks at other rows of its source through a window."""
    return column.expr is not None and " over" in f" {column.expr.lower()}".replace("\n", " ").replace(
        ")over", ") over"
    )


def no_path(resolver: Resolver, home: str, target: str) -> QueryError:
    """Say that there is no way, with the joins that could not be used."""
    broken = [finding.message for finding in resolver.graph.broken]
    joined = ", ".join(f"`{edge.name}`" for edge in resolver.graph.edges(home)[:12])
    hint = f"`{home}` joins {joined}." if joined else f"`{home}` joins nothing; declare a join."
    if broken:
        hint = f"{hint} Not usable: {' '.join(broken[:3])}"
    return QueryError(f"There is no join path from `{home}` to `{target}`.", hint=hint)
