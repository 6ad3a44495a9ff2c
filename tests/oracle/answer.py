"""The oracle: answers a question row by row in plain Python, following the twelve rulings and nothing else.

It walks every home row of every measure, looks up what the joins reach, groups in dictionaries, and combines the facts.
Slow and obvious on purpose. It also says when a question has no single right answer, and when refusing it is fair.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from oracle.world import (
    Ask,
    Condition,
    Getter,
    Having,
    Join,
    Leaf,
    Logic,
    Question,
    Ref,
    Truth,
    Value,
    World,
    compared,
    compute,
)

Group = tuple[Value, ...]
Spot = tuple[str, int | None]
Binding = dict[int | str, Spot]


class UnjudgedError(Exception):
    """The oracle has no opinion."""


class NoAnswerError(Exception):
    """The question has no single right answer: refusing it is the only right thing."""


@dataclass
class Answer:
    """What the question's rows must be. `may_refuse` says why a refusal would be fair, too."""

    rows: list[tuple[Value, ...]]
    may_refuse: list[str] = field(default_factory=list)


# -- ways through the joins -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One join walked in one direction."""

    join: int
    origin: str
    target: str
    name: str
    is_to_one: bool
    is_alias: bool
    is_forward: bool


Way = tuple[Step, ...]


class Map:
    """All steps of a world, with the rows that each joins, computed once by comparing every pair of rows."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows = {name: source.seen_rows for name, source in world.sources.items()}
        self.steps: dict[str, list[Step]] = {name: [] for name in world.sources}
        self.matches: dict[tuple[int, bool], list[list[int]]] = {}
        for at, join in enumerate(world.joins):
            self._add(at, join)

    def _add(self, at: int, join: Join) -> None:
        own, other = self.rows[join.source], self.rows[join.to]
        forward = [[j for j, b in enumerate(other) if join.matches(a, b)] for a in own]
        back: list[list[int]] = [[] for _ in other]
        for i, hits in enumerate(forward):
            for j in hits:
                back[j].append(i)
        self.matches[at, True], self.matches[at, False] = forward, back
        alias = join.alias is not None
        to_one = join.relationship in {"many_to_one", "one_to_one"}
        self.steps[join.source].append(Step(at, join.source, join.to, join.name, to_one, alias, True))
        if join.source != join.to:
            backwards = join.relationship in {"one_to_many", "one_to_one"}
            self.steps[join.to].append(Step(at, join.to, join.source, join.source, backwards, False, False))

    def to_one_ways(self, home: str) -> list[Way]:
        """Give every way from home that keeps its rows single; a source is met again only in another role."""
        found: list[Way] = []

        def walk(at: str, way: Way, seen: frozenset[str]) -> None:
            for step in self.steps[at]:
                if not step.is_to_one or step in way or (step.target in seen and not step.is_alias):
                    continue
                found.append((*way, step))
                walk(step.target, (*way, step), seen | {step.target})

        walk(home, (), frozenset({home}))
        return found

    def fan_ways(self, home: str, met: frozenset[str] = frozenset()) -> list[Way]:
        """Give every way that goes down at once, and perhaps up again afterwards."""
        found: list[Way] = []

        def down(at: str, way: Way, seen: frozenset[str]) -> None:
            for step in self.steps[at]:
                if step.is_to_one or step.target in seen or step in way:
                    continue
                longer = (*way, step)
                around = seen | {step.target}
                found.append(longer)
                up(step.target, longer, around)
                down(step.target, longer, around)

        def up(at: str, way: Way, seen: frozenset[str]) -> None:
            for step in self.steps[at]:
                if not step.is_to_one or step in way or (step.target in seen and not step.is_alias):
                    continue
                found.append((*way, step))
                up(step.target, (*way, step), seen | {step.target})

        down(home, (), met | {home})
        return found

    def cross_ways(self, home: str) -> list[Way]:
        """Give every way that goes up to something shared and down to a sibling."""
        return [
            (*up, *down)
            for up in self.to_one_ways(home)
            for down in self.fan_ways(up[-1].target, frozenset({home, *(step.target for step in up)}))
            if not set(up) & set(down)
        ]

    def choose(
        self, home: str, name: str, via: tuple[str, ...], notes: list[str], *, can_cross: bool = False
    ) -> Way | None:
        """Give the one way from home to a name; None when there is none at all.

        Raises:
            NoAnswerError: several ways are equally good.
        """
        if name == home and not via:
            return ()
        for ways in (self.to_one_ways(home), self.fan_ways(home), self.cross_ways(home) if can_cross else []):
            fitting = [way for way in ways if name in {way[-1].name, way[-1].target} and _passes(way, via)]
            if fitting:
                return _best(fitting, name, via, notes)
        return None


def _passes(way: Way, via: tuple[str, ...]) -> bool:
    return all(any(word in {step.name, step.target} for step in way) for word in via)


def _best(ways: list[Way], name: str, via: tuple[str, ...], notes: list[str]) -> Way:
    """Choose: fewest roles that the question does not name, then a direct join; anything else is ambiguous."""
    if len(ways) == 1:
        return ways[0]
    notes.append("there are several ways")
    unnamed = {way: sum(step.is_alias and step.name not in {name, *via} for step in way) for way in ways}
    least = min(unnamed.values())
    best = [way for way in ways if unnamed[way] == least]
    exact = [way for way in best if way[-1].name == name]
    best = exact or best
    shorter = [way for way in ways if way not in best and len(way) < min(len(one) for one in best)]
    direct = [way for way in best if len(way) == 1]
    if not shorter and len(direct) == 1:
        return direct[0]
    if not shorter and len(best) == 1:
        return best[0]
    raise NoAnswerError(f"several ways lead to {name}")


# -- the answer -----------------------------------------------------------------------------------------------------


def answer(world: World, question: Question) -> Answer:
    """Answer a question.

    Raises:
        NoAnswerError: it must be refused.
    """
    return _Oracle(world, question).answer()


class _Oracle:
    """One question over one world."""

    def __init__(self, world: World, question: Question) -> None:
        self.world = world
        self.question = question
        self.map = Map(world)
        self.notes: list[str] = []
        self._ways: dict[tuple[str, str, tuple[str, ...], bool], Way | None] = {}

    def answer(self) -> Answer:
        leaves: dict[_Key, dict[Group, Value]] = {}
        asks = [*self.question.measures, *(having.ask for having in self.question.havings)]
        homes = list(dict.fromkeys(key.home for ask in asks for key in self.leaves_of(ask)))
        self.ensure_one_meaning(homes)
        self.ensure_visible(homes)
        for ask in asks:
            for leaf in self.leaves_of(ask):
                if leaf not in leaves:
                    leaves[leaf] = self.grouped(leaf)
        groups: dict[Group, None] = {}
        for found in leaves.values():
            groups.update(dict.fromkeys(found))
        if self.question.include_empty and self.question.dimensions:
            groups.update(dict.fromkeys(self.members([key.home for key in leaves])))
        if not self.question.dimensions:
            groups = {(): None}
        rows: list[tuple[Value, ...]] = []
        for group in groups:
            values = {key: found.get(group, _nothing(key.leaf)) for key, found in leaves.items()}
            if all(self.holds(having, values) is True for having in self.question.havings):
                rows.append((*group, *(self.value_of(ask, values) for ask in self.question.measures)))
        return Answer(rows, self.notes)

    def ensure_one_meaning(self, homes: list[str]) -> None:
        """A word that leads two facts to two different sources has no single meaning."""
        asked = [(str(dim.ref.source), dim.via, False) for dim in self.question.dimensions]
        asked += [(str(ref.source), (), True) for one in self.filters() for ref in one.refs()]
        for name, via, can_cross in asked:
            ways = [(home, self.way(home, name, via, can_cross=can_cross)) for home in homes]
            if len({way[-1].target if way else home for home, way in ways}) > 1:
                raise NoAnswerError(f"{name} means several sources")
            if any(step.target in homes for _, way in ways for step in way[1:] if not step.is_to_one):
                self.note("a filter crosses a sibling")

    def ensure_visible(self, homes: list[str]) -> None:
        """A hidden column may not be asked for, in any part of a question."""
        asked = [(dim.ref, dim.via) for dim in self.question.dimensions]
        asked += [(ref, ()) for one in self.question.filters for ref in one.refs()]
        for ask in [*self.question.measures, *(having.ask for having in self.question.havings)]:
            for ref in ask.leaf.value.refs() if ask.leaf is not None and ask.leaf.value is not None else ():
                if self.world.sources[str(ref.source)].column(ref.column).visibility == "hidden":
                    raise NoAnswerError(f"{ref.sql()} is hidden")
        for ref, via in asked:
            for home in homes:
                way = self.map.choose(home, str(ref.source), via, self.notes, can_cross=True)
                source = self.world.sources[way[-1].target if way else home]
                if source.has(ref.column) and source.column(ref.column).visibility == "hidden":
                    raise NoAnswerError(f"{ref.sql()} is hidden")

    # -- measures ---------------------------------------------------------------------------------------------------

    def leaves_of(self, ask: Ask) -> list[_Key]:
        if ask.leaf is not None:
            home = self.home_of(ask.leaf)
            return [_Key(home, ask.leaf, ())]
        assert ask.measure is not None
        return self._leaves(ask.measure, ())

    def home_of(self, leaf: Leaf) -> str:
        """Give the only source that an inline aggregate speaks about."""
        assert leaf.value is not None
        (home,) = {ref.source for ref in leaf.value.refs()}
        assert home is not None
        return home

    def _leaves(self, measure: str, outer: tuple[tuple[str, Condition], ...]) -> list[_Key]:
        source, _, name = measure.partition(".")
        formula = self.world.sources[source].measures[name]
        if isinstance(formula, Leaf):
            return [_Key(source, formula, outer)]
        inside = outer if formula.filter is None else (*outer, (source, formula.filter))
        sides = [side for side in (formula.left, formula.right) if isinstance(side, str)]
        return [key for side in sides for key in self._leaves(side, inside)]

    def value_of(self, ask: Ask, values: dict[_Key, Value]) -> Value:
        if ask.leaf is not None:
            return values[_Key(self.home_of(ask.leaf), ask.leaf, ())]
        assert ask.measure is not None
        return self._value(ask.measure, (), values)

    def _value(
        self, measure: str, outer: tuple[tuple[str, Condition], ...], values: dict[_Key, Value]
    ) -> Value:
        source, _, name = measure.partition(".")
        formula = self.world.sources[source].measures[name]
        if isinstance(formula, Leaf):
            return values[_Key(source, formula, outer)]
        inside = outer if formula.filter is None else (*outer, (source, formula.filter))
        left, right = (
            self._value(side, inside, values) if isinstance(side, str) else side
            for side in (formula.left, formula.right)
        )
        return compute(formula.op, left, right)

    def holds(self, having: Having, values: dict[_Key, Value]) -> Truth:
        return compared(having.op, self.value_of(having.ask, values), having.constant)

    # -- one leaf over its home -------------------------------------------------------------------------------------

    def grouped(self, key: _Key) -> dict[Group, Value]:
        """Give the leaf's value per group that has at least one row of the home."""
        home = key.home
        dims = [self.way(home, str(dim.ref.source), dim.via) for dim in self.question.dimensions]
        if any(_fans(way) for way in dims) and key.leaf.aggregate not in {"min", "max", "count_distinct"}:
            self.note("a dimension over a fan-out")
        for dim, way in zip(self.question.dimensions, dims, strict=True):
            self.ensure_column(way[-1].target if way else home, dim.ref)
        search = _Search(self, home, dims, self.filters())
        inputs: dict[Group, list[Value]] = {}
        for at in range(len(self.map.rows[home])):
            groups = search.groups(at)
            counts = all(
                condition.truth(self._reader(home, at)) is True for _, condition in self._leaf_conditions(key)
            )
            for group in groups:
                bucket = inputs.setdefault(group, [])
                if counts:
                    bucket.append(self._input(key.leaf, home, at))
        return {group: _aggregate(key.leaf, found) for group, found in inputs.items()}

    def _leaf_conditions(self, key: _Key) -> Iterator[tuple[str, Condition]]:
        if key.leaf.filter is not None:
            yield key.home, key.leaf.filter
        for name in key.leaf.segments:
            yield key.home, self.world.sources[key.home].segments[name]
        yield from key.outer

    def _input(self, leaf: Leaf, home: str, at: int) -> Value:
        return 1 if leaf.value is None else leaf.value.value(self._reader(home, at))

    def _reader(self, home: str, at: int) -> Getter:
        """Give what a measure's own expressions see from a row: its columns, and those that it reaches to-one."""

        def read(name: str | None, column: str) -> Value:
            here, row = home, at
            for step in self.way(home, name) if name is not None else ():
                if not step.is_to_one:
                    raise UnjudgedError("a measure reaches over a fan-out")
                hits = self.map.matches[step.join, step.is_forward][row]
                if not hits:
                    return None
                here, row = step.target, hits[0]
            source = self.world.sources[here]
            self.ensure_column(here, Ref(name, column))
            return source.cell(self.map.rows[here][row], column)

        return read

    def filters(self) -> list[Condition]:
        segments: list[Condition] = []
        for name in self.question.segments:
            source, _, segment = name.partition(".")
            segments.append(_qualified(self.world.sources[source].segments[segment], source))
        return [part for one in (*self.question.filters, *segments) for part in _conjuncts(one)]

    def way(self, home: str, name: str, via: tuple[str, ...] = (), *, can_cross: bool = False) -> Way:
        key = (home, name, via, can_cross)
        if key not in self._ways:
            self._ways[key] = self.map.choose(home, name, via, self.notes, can_cross=can_cross)
        way = self._ways[key]
        if way is None:
            raise NoAnswerError(f"{home} cannot reach {name}")
        return way

    def ensure_column(self, source: str, ref: Ref) -> None:
        if not self.world.sources[source].has(ref.column):
            raise UnjudgedError(f"{ref.source} means {source} here, which has no {ref.column}")

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    # -- members without facts --------------------------------------------------------------------------------------

    def members(self, homes: list[str]) -> list[Group]:
        """Give the groups that the dimensions' own rows form, facts or no facts.

        They come from the source that all dimensions hang from, as the first fact sees it. A filter on them, or on what lies
        behind them, holds for them, too; a filter on facts does not.
        """
        dims = self.question.dimensions
        for home in homes:
            ways = [self.way(home, str(dim.ref.source), dim.via) for dim in dims]
            shared = _shared(ways)
            if not shared:
                continue
            root = shared[-1].target
            if root in homes and len(set(homes)) > 1:
                return []
            below = [way[len(shared) :] for way in ways]
            if any(_fans(way) for way in below):
                continue
            filters = [one for one in self.filters() if self._is_for_members(home, shared, one)]
            search = _Search(self, root, below, filters, seen_from=(home, shared))
            return [group for at in range(len(self.map.rows[root])) for group in search.groups(at)]
        return []

    def _is_for_members(self, home: str, shared: Way, condition: Condition) -> bool:
        """Tell whether a filter, as the fact sees it, looks at the members or at what lies behind them."""
        ways = [self.way(home, str(ref.source), can_cross=True) for ref in condition.refs()]
        return all(way[: len(shared)] == shared for way in ways)


class _Search:
    """Looks up the groups of single rows of one home: its dimensions, and the filters that decide whether it counts.

    Conditions over the same list of matches are met by the same match; a list that is grouped by is that list itself.
    """

    def __init__(
        self,
        oracle: _Oracle,
        home: str,
        dims: list[Way],
        filters: list[Condition],
        seen_from: tuple[str, Way] | None = None,
    ) -> None:
        self.oracle = oracle
        self.seen_from = seen_from
        self.map = oracle.map
        self.home = home
        self.dims = dims
        self.grouped_fans = {way[: _last_fan(way)] for way in dims if _fans(way)}
        self.plain: list[Condition] = []
        self.lists: dict[Way, list[Condition]] = {}
        self.either: list[tuple[_Search, _Search]] = []
        for condition in filters:
            self._sort(condition)
        self.tree = _Trie()
        for position, way in enumerate(dims):
            self.tree.add(way, position)
        for condition in self.plain:
            self._add(self.tree, condition)

    def _sort(self, condition: Condition) -> None:
        bases = self._bases(condition)
        if not bases:
            self.plain.append(condition)
        elif self.grouped_fans:
            raise UnjudgedError("a list of matches is filtered beside one that is grouped")
        elif len(bases) == 1 and self._is_one_list(condition, bases):
            self.lists.setdefault(next(iter(bases)), []).append(condition)
        elif isinstance(condition, Logic) and condition.op == "or":
            sides = [
                _Search(self.oracle, self.home, [], _conjuncts(side))
                for side in (condition.left, condition.right)
            ]
            self.either.append((sides[0], sides[1]))
        else:
            raise NoAnswerError("one condition compares several lists of matches")

    def _is_one_list(self, condition: Condition, bases: set[Way]) -> bool:
        if isinstance(condition, Logic) and condition.op == "or":
            return self._bases(condition.left) == bases == self._bases(condition.right)
        return True

    def _bases(self, condition: Condition) -> set[Way]:
        found: set[Way] = set()
        for ref in condition.refs():
            way = self._way(ref)
            fan = way[: _last_fan(way)]
            if fan and all(grouped[: len(fan)] != fan for grouped in self.grouped_fans):
                found.add(way[: next(at for at, step in enumerate(way) if not step.is_to_one) + 1])
        return found

    def _way(self, ref: Ref) -> Way:
        if self.seen_from is not None:
            home, shared = self.seen_from
            way = self.oracle.way(home, str(ref.source), can_cross=True)[len(shared) :]
        else:
            way = self.oracle.way(self.home, str(ref.source), can_cross=True)
        self.oracle.ensure_column(way[-1].target if way else self.home, ref)
        return way

    def _add(self, tree: _Trie, condition: Condition) -> None:
        for ref in condition.refs():
            tree.add(self._way(ref), str(ref.source))

    def groups(self, at: int) -> list[Group]:
        """Give the groups that a row belongs to: none when a filter drops it."""
        if not self._passes_lists(at):
            return []
        found: dict[Group, None] = {}
        for rows in self._bindings(self.tree, self.home, at, is_inner=False):
            if all(self._holds(condition, rows) for condition in self.plain):
                found[tuple(self._dimension(position, rows) for position in range(len(self.dims)))] = None
        return list(found)

    def _passes_lists(self, at: int) -> bool:
        for conditions in self.lists.values():
            tree = _Trie()
            for condition in conditions:
                self._add(tree, condition)
            bindings = self._bindings(tree, self.home, at, is_inner=True)
            if not any(all(self._holds(condition, rows) for condition in conditions) for rows in bindings):
                return False
        return all(left.groups(at) or right.groups(at) for left, right in self.either)

    def _holds(self, condition: Condition, rows: Binding) -> bool:
        return condition.truth(lambda name, column: self._cell(rows[str(name)], column)) is True

    def _cell(self, spot: Spot, column: str) -> Value:
        name, at = spot
        source = self.oracle.world.sources[name]
        return None if at is None else source.cell(self.map.rows[name][at], column)

    def _dimension(self, position: int, rows: Binding) -> Value:
        dim = self.oracle.question.dimensions[position]
        value = self._cell(rows[position], dim.ref.column)
        return value if dim.granularity is None else truncated(value, dim.granularity)

    def _bindings(self, tree: _Trie, source: str, at: int | None, *, is_inner: bool) -> Iterator[Binding]:
        """Give every way to pick rows along the tree of joins; what is not joined is None, or drops out of a list."""
        options: list[list[Binding]] = []
        for step, below in tree.below.items():
            hits: list[int | None] = (
                list(self.map.matches[step.join, step.is_forward][at]) if at is not None else []
            )
            if not hits and (step.is_to_one or not is_inner):
                hits = [None]
            options.append(
                [one for hit in hits for one in self._bindings(below, step.target, hit, is_inner=is_inner)]
            )
        for parts in itertools.product(*options):
            merged: Binding = dict.fromkeys(tree.ends, (source, at))
            for part in parts:
                merged.update(part)
            yield merged


@dataclass(frozen=True)
class _Key:
    """A leaf at its home, with the filters of the derived measures around it."""

    home: str
    leaf: Leaf
    outer: tuple[tuple[str, Condition], ...]


class _Trie:
    """Ways that begin alike share their first steps; `ends` are the dimensions and filter sources that end here."""

    def __init__(self) -> None:
        self.below: dict[Step, _Trie] = {}
        self.ends: list[int | str] = []

    def add(self, way: Way, position: int | str) -> None:
        node = self
        for step in way:
            node = node.below.setdefault(step, _Trie())
        node.ends.append(position)


def _last_fan(way: Way) -> int:
    return max((at + 1 for at, step in enumerate(way) if not step.is_to_one), default=0)


def _fans(way: Way) -> bool:
    return _last_fan(way) > 0


def _shared(ways: list[Way]) -> Way:
    """Give the steps that all ways begin with."""
    shared: list[Step] = []
    for steps in zip(*ways, strict=False):
        if len(set(steps)) > 1:
            break
        shared.append(steps[0])
    return tuple(shared)


def _nothing(leaf: Leaf) -> Value:
    return 0 if leaf.aggregate.startswith("count") else None


def _aggregate(leaf: Leaf, values: list[Value]) -> Value:
    if leaf.aggregate == "count_rows":
        return len(values)
    known = [value for value in values if value is not None]
    if leaf.aggregate == "count":
        return len(known)
    if leaf.aggregate == "count_distinct":
        return len(set(known))
    if not known:
        return None
    if leaf.aggregate == "min":
        return min(known)  # type: ignore[type-var]
    if leaf.aggregate == "max":
        return max(known)  # type: ignore[type-var]
    if leaf.aggregate in {"median", "percentile"}:
        return _interpolated(sorted(known), 0.5 if leaf.aggregate == "median" else 0.25)  # type: ignore[type-var]
    total = sum(known)  # type: ignore[arg-type]
    return total if leaf.aggregate == "sum" else total / len(known)


def _interpolated(ordered: list[Value], fraction: float) -> float:
    """Give the value at a fraction of the way through sorted numbers, on a straight line between two neighbours."""
    numbers = [float(str(value)) for value in ordered]
    place = (len(numbers) - 1) * fraction
    below = int(place)
    above = min(below + 1, len(numbers) - 1)
    return numbers[below] + (numbers[above] - numbers[below]) * (place - below)


def truncated(value: Value, granularity: str) -> Value:
    """Give the first day of the period; weeks begin on Monday."""
    if not isinstance(value, dt.date):
        return None
    day = value.date() if isinstance(value, dt.datetime) else value
    if granularity == "day":
        return day
    if granularity == "week":
        return day - dt.timedelta(days=day.weekday())
    if granularity == "month":
        return day.replace(day=1)
    if granularity == "quarter":
        return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    if granularity == "year":
        return day.replace(month=1, day=1)
    if granularity == "hour":
        if not isinstance(value, dt.datetime):
            return dt.datetime(day.year, day.month, day.day)
        return value.replace(minute=0, second=0)
    raise AssertionError(granularity)


def _conjuncts(condition: Condition) -> list[Condition]:
    if isinstance(condition, Logic) and condition.op == "and":
        return [*_conjuncts(condition.left), *_conjuncts(condition.right)]
    return [condition]


def _qualified(condition: Condition, source: str) -> Condition:
    """Write a source's name in front of every bare column."""
    import dataclasses

    def walk(node: object) -> object:
        if isinstance(node, Ref):
            return Ref(source, node.column)
        if dataclasses.is_dataclass(node) and not isinstance(node, type):
            return dataclasses.replace(
                node, **{one.name: walk(getattr(node, one.name)) for one in dataclasses.fields(node)}
            )
        return node

    return walk(condition)  # type: ignore[return-value]
