"""Which sources are aggregated, how each reaches every dimension, and what has to be counted once."""

from dataclasses import dataclass

from sqlglot import exp

from ktx.errors import QueryError
from ktx.semantic.filters import Filter
from ktx.semantic.graph import find_column
from ktx.semantic.joins import Path, Way, show_path
from ktx.semantic.resolve import METRIC_TIME, Leaf, Resolver, bound_columns, plain, words_of
from ktx.semantic.rows import last_fan, no_path
from ktx.semantic.source import Column

_SAME_WHEN_REPEATED = (exp.Min, exp.Max, exp.LogicalAnd, exp.LogicalOr, exp.ApproxDistinct)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dimension:
    """A column to group by, bound, with its output name."""

    position: int
    name: str
    field: str
    words: tuple[str, ...]
    column: Column
    granularity: str | None
    via: tuple[str, ...]

    @property
    def key(self) -> str:
        """What tells two dimensions apart."""
        return "\x1f".join((*self.words, self.column.name, self.granularity or "", *self.via))


@dataclass(frozen=True, kw_only=True, eq=False)
class Branch:
    """One SELECT over one home: its dimensions with their paths, its leaves, and the filters that it takes.

    `is_deduplicated` asks for each row of the home to count once per group. `seen_from` is set on members: the fact from
    which words are resolved, and the path from it to the members. `metric_time` is the column that this name means here.
    """

    home: str
    ways: tuple[Way, ...]
    leaves: tuple[Leaf, ...]
    filters: tuple[Filter, ...]
    skipped: tuple[tuple[Filter, str], ...] = ()
    is_deduplicated: bool = False
    is_members: bool = False
    seen_from: tuple[str, Path] | None = None
    metric_time: tuple[Path, Column] | None = None

    @property
    def fans(self) -> tuple[Path, ...]:
        """The dimension paths that go over a one-to-many step."""
        return tuple(way.path for way in self.ways if last_fan(way.path))


def fact_branches(
    resolver: Resolver,
    leaves: tuple[Leaf, ...],
    dimensions: tuple[Dimension, ...],
    filters: tuple[Filter, ...],
) -> tuple[Branch, ...]:
    """Give one branch per home, in the order of the measures.

    Raises:
        QueryError: when a home cannot reach a dimension, or only over something that it shares with a sibling.
    """
    rows = tuple(one for one in filters if not one.is_group)
    uses_time = any(one.words == (METRIC_TIME,) for one in dimensions) or any(
        words_of(column) == (METRIC_TIME,) for one in rows for column in bound_columns(one.tree)
    )
    homes: dict[tuple[str, tuple[str, str] | None], list[Leaf]] = {}
    for leaf in leaves:
        homes.setdefault((leaf.home, leaf.time if uses_time else None), []).append(leaf)
    _ensure_one_meaning(resolver, tuple(dict.fromkeys(home for home, _ in homes)), dimensions, rows)
    branches: list[Branch] = []
    for (home, _), own in homes.items():
        time = _metric_time(resolver, own[0]) if uses_time else None
        ways = tuple(
            Way(path=time[0], shape="to_one")
            if time is not None and dimension.words == (METRIC_TIME,)
            else _dimension_way(resolver, home, dimension)
            for dimension in dimensions
        )
        fans = [way for way in ways if way.shape == "fan"]
        _ensure_one_list(home, fans)
        branches.append(
            Branch(
                home=home,
                ways=ways,
                leaves=tuple(own),
                filters=rows,
                metric_time=time,
                is_deduplicated=bool(fans) and not all(is_same_when_repeated(leaf) for leaf in own),
            )
        )
    return tuple(branches)


def _ensure_one_meaning(
    resolver: Resolver, homes: tuple[str, ...], dimensions: tuple[Dimension, ...], filters: tuple[Filter, ...]
) -> None:
    """Refuse a word that leads one fact to one source and another fact to another: two aliases of one name."""
    asked = {(one.words, one.via): one.field for one in dimensions}
    for one in filters:
        for column in bound_columns(one.tree):
            asked.setdefault((words_of(column), ()), plain(column))
    asked.pop(((METRIC_TIME,), ()), None)
    for (words, via), field in asked.items():
        targets: dict[str, str] = {}
        for home in homes:
            way = resolver.router.find(home, words, via, can_cross=True)
            if way is not None:
                targets.setdefault(way.path[-1].target if way.path else home, home)
        if len(targets) > 1:
            meanings = " and ".join(f"`{target}` for `{home}`" for target, home in targets.items())
            raise QueryError(
                f"`{field}` means different things in one question: {meanings}.",
                hint="Give the joins different aliases, or ask in two questions.",
            )


def _metric_time(resolver: Resolver, leaf: Leaf) -> tuple[Path, Column]:
    """Give the column that `metric_time` means for a measure, and the way to it."""
    if leaf.time is None:
        raise QueryError(
            f"`metric_time` means nothing for `{leaf.label}`: `{leaf.home}` has no default time dimension.",
            hint=f"Set `default_time_dimension` on `{leaf.home}`, or `time_dimension` on the measure.",
        )
    words, name = (leaf.time[0],), leaf.time[1]
    way = resolver.router.to_one(leaf.home, words)
    if way is None:
        raise no_path(resolver, leaf.home, leaf.time[0])
    source = resolver.layer.sources[way.path[-1].target if way.path else leaf.home]
    column = find_column(source, name)
    if column is None or not column.is_time:
        what = "is not a time" if column is not None else "does not exist"
        raise QueryError(f"`metric_time` of `{leaf.label}` is `{source.name}.{name}`, which {what}.")
    return way.path, column


def is_same_when_repeated(leaf: Leaf) -> bool:
    """Whether repeating rows cannot change an aggregate."""
    if isinstance(leaf.call, _SAME_WHEN_REPEATED):
        return True
    return isinstance(leaf.call.this, exp.Distinct) and isinstance(leaf.call, exp.Count | exp.Sum | exp.Avg)


def member_branch(
    resolver: Resolver, branches: tuple[Branch, ...], filters: tuple[Filter, ...]
) -> Branch | None:
    """Give the branch that lists dimension members, or None when facts alone say which members there are.

    Members come from the source that all dimensions hang from, when there is one besides the facts themselves. A filter on
    facts does not keep a member away; a filter that the members can reach by themselves does.
    """
    homes = {branch.home for branch in branches}
    for branch in branches:
        if branch.metric_time is not None:
            return None
        paths = [way.path for way in branch.ways]
        shared = _shared_prefix(paths)
        if not shared:
            continue
        root = shared[-1].target
        if root in homes and len(branches) > 1:
            return None
        ways = tuple(Way(path=path[len(shared) :], shape="to_one") for path in paths)
        if any(last_fan(way.path) for way in ways):
            continue
        used, skipped = _member_filters(resolver, branch, shared, filters)
        return Branch(
            home=root,
            ways=ways,
            leaves=(),
            filters=used,
            skipped=skipped,
            is_members=True,
            seen_from=(branch.home, shared),
        )
    return None


def listing_branch(
    resolver: Resolver, dimensions: tuple[Dimension, ...], filters: tuple[Filter, ...]
) -> Branch:
    """Give the branch of a question without measures: the rows of the one source that reaches all its dimensions.

    Raises:
        QueryError: when there is no such source.
    """
    if any(one.words == (METRIC_TIME,) for one in dimensions):
        raise QueryError("`metric_time` is the time of measures, and the question has none.")
    options: dict[str, None] = {}
    for dimension in dimensions:
        word = dimension.words[0]
        source = resolver.source(word)
        if source is not None:
            options[source.name] = None
        else:
            holders = resolver.graph.holders_by_alias.get(word.casefold(), [])
            options.update(dict.fromkeys(holder.name for holder, _ in holders))
    for home in options:
        ways = [resolver.router.to_one(home, one.words, one.via) for one in dimensions]
        found = tuple(way for way in ways if way is not None)
        if len(found) == len(dimensions):
            return Branch(
                home=home, ways=found, leaves=(), filters=tuple(f for f in filters if not f.is_group)
            )
    names = ", ".join(f"`{dimension.field}`" for dimension in dimensions)
    raise QueryError(
        f"No source reaches all of {names} over to-one joins, so nothing says how they go together.",
        hint="Add a measure of the source that relates them.",
    )


def _dimension_way(resolver: Resolver, home: str, dimension: Dimension) -> Way:
    way = resolver.router.find(home, dimension.words, dimension.via)
    if way is not None:
        return way
    cross = resolver.router.find(home, dimension.words, dimension.via, can_cross=True)
    if cross is None:
        raise no_path(resolver, home, ".".join(dimension.words))
    raise QueryError(
        f"`{home}` has no relation of its own to `{'.'.join(dimension.words)}`: grouping by `{dimension.field}` would go over "
        f"what they share, {show_path(home, cross.path)}, and count rows many times.",
        hint="Group by something that both reach over many-to-one joins, or ask two questions.",
    )


def _ensure_one_list(home: str, fans: list[Way]) -> None:
    """Refuse dimensions on two lists beside each other: their combinations relate to nothing."""
    firsts = {way.path[: last_fan(way.path)] for way in fans}
    longest = max(firsts, key=len, default=())
    for path in firsts:
        if longest[: len(path)] != path:
            raise QueryError(
                f"The dimensions lie on two one-to-many ways from `{home}` that have nothing to do with each other: "
                f"{show_path(home, longest)} and {show_path(home, path)}.",
                hint="Ask for them in two questions.",
            )


def _shared_prefix(paths: list[Path]) -> Path:
    shared = paths[0] if paths else ()
    for path in paths[1:]:
        count = 0
        while count < min(len(shared), len(path)) and shared[count] is path[count]:
            count += 1
        shared = shared[:count]
    return shared


def _member_filters(
    resolver: Resolver, branch: Branch, shared: Path, filters: tuple[Filter, ...]
) -> tuple[tuple[Filter, ...], tuple[tuple[Filter, str], ...]]:
    """Tell the filters on the members, and on what hangs from them, from the filters on facts."""
    used: list[Filter] = []
    skipped: list[tuple[Filter, str]] = []
    for one in (one for one in filters if not one.is_group):
        on_members = True
        for column in bound_columns(one.tree):
            way = resolver.router.find(branch.home, words_of(column), can_cross=True)
            on_members = on_members and way is not None and way.path[: len(shared)] == shared
        if on_members:
            used.append(one)
        else:
            skipped.append((one, "it is a condition on facts"))
    return tuple(used), tuple(skipped)
