"""Ways through the join graph: the one path from a home to what a question names, or a refusal that lists them all.

A *to-one* way keeps each row of the home single. A *fan* goes down from the home over one-to-many steps, perhaps through
a bridge. A *cross* goes up to something shared and down to a sibling; it may filter, but never group.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ktx.errors import QueryError
from ktx.semantic.graph import Edge, Graph

Path: TypeAlias = tuple[Edge, ...]
Shape = Literal["to_one", "fan", "cross"]
_MAX_DEPTH = 12
_MAX_FAN = 4
_MAX_PATHS = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Way:
    """A chosen path with its shape; `others` are longer ways that a direct join was preferred to."""

    path: Path
    shape: Shape
    others: tuple[Path, ...] = ()


def show_path(home: str, path: Path) -> str:
    """Render a path for people."""
    return " -> ".join([home, *(str(edge) for edge in path)])


class Router:
    """Finds ways from a home, and remembers them. `via` holds what the question says about choosing."""

    def __init__(self, graph: Graph, via: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """Take a graph and the question's `via`; keys and steps are compared without case."""
        self.graph = graph
        self.via = {
            key.casefold(): tuple(step.casefold() for step in steps) for key, steps in (via or {}).items()
        }
        self.used_via: set[str] = set()
        self._to_one: dict[str, tuple[Path, ...]] = {}
        self._ways: dict[tuple[str, tuple[str, ...], tuple[str, ...], bool], Way | None] = {}

    def find(
        self, home: str, words: tuple[str, ...], via: tuple[str, ...] = (), *, can_cross: bool = False
    ) -> Way | None:
        """Give the way from `home` to what `words` name, None when there is none.

        `words` end in a source or an alias; the words before it must lie on the path, in order.

        Raises:
            QueryError: when several ways are equally good.
        """
        key = (home, words, via, can_cross)
        if key not in self._ways:
            self._ways[key] = self._search(home, words, via, can_cross=can_cross)
        return self._ways[key]

    def to_one(self, home: str, words: tuple[str, ...], via: tuple[str, ...] = ()) -> Way | None:
        """Give the way only when it is to-one."""
        way = self.find(home, words, via)
        return way if way is not None and way.shape == "to_one" else None

    def _search(
        self, home: str, words: tuple[str, ...], via: tuple[str, ...], *, can_cross: bool
    ) -> Way | None:
        steps = self._steps(words, via)
        if len(words) == 1 and words[0].casefold() == home.casefold() and not steps:
            return Way(path=(), shape="to_one")
        if len(words) > 1 and (spelled := self._spelled(home, words)) and _fits(spelled, words, steps):
            return Way(path=_safe(home, spelled), shape="to_one")
        shapes: list[tuple[Shape, Callable[[str], Iterator[Path]]]] = [
            ("to_one", self._all_to_one),
            ("fan", self._all_fans),
        ]
        if can_cross:
            shapes.append(("cross", self._all_crosses))
        for shape, paths in shapes:
            found = [path for path in paths(home) if path and _fits(path, words, steps)]
            if found:
                return self._chosen(home, words, steps, found, shape)
        return None

    def _spelled(self, home: str, words: tuple[str, ...]) -> Path | None:
        """Give the way whose every to-one step is named, when there is one; only so may a step be taken twice."""
        path: Path = ()
        at = home
        for word in words[words[0].casefold() == home.casefold() :]:
            edges = [
                one
                for one in self.graph.edges(at)
                if one.is_to_one and one.name.casefold() == word.casefold()
            ]
            if len(edges) != 1:
                return None
            path, at = (*path, edges[0]), edges[0].target
        return path

    def _steps(self, words: tuple[str, ...], via: tuple[str, ...]) -> tuple[str, ...]:
        """Gather the steps that `via` demands; a step of the `*` entry counts only where it can be taken."""
        named = self.via.get(words[-1].casefold(), ())
        return tuple(step.casefold() for step in via) + named

    def _chosen(
        self, home: str, words: tuple[str, ...], steps: tuple[str, ...], found: list[Path], shape: Shape
    ) -> Way:
        named = {word.casefold() for word in words} | set(steps)
        anywhere = self.via.get("*", ())
        if anywhere:
            preferred = [
                path for path in found if any(step in edge.handles for edge in path for step in anywhere)
            ]
            if preferred and len(preferred) < len(found):
                self.used_via.update(
                    step for path in preferred for e in path for step in anywhere if step in e.handles
                )
                most = max(_hits(path, anywhere) for path in preferred)
                found = [path for path in preferred if _hits(path, anywhere) == most]
                named |= set(anywhere)
        unique: dict[tuple[str, ...], Path] = {}
        for path in found:
            unique.setdefault(tuple(f"{edge.origin}>{edge.target}:{edge.canonical}" for edge in path), path)
        penalties = {
            path: sum(edge.is_alias and edge.name.casefold() not in named for edge in path)
            for path in unique.values()
        }
        least = min(penalties.values())
        best = [path for path, penalty in penalties.items() if penalty == least]
        exact = [path for path in best if path[-1].name.casefold() == words[-1].casefold()]
        best = exact or best
        shortest = min(len(path) for path in best)
        rivals = [path for path in penalties if path not in best and len(path) < shortest]
        direct = [path for path in best if len(path) == 1]
        if len(direct) == 1 and not rivals:
            others = tuple(path for path in best if path is not direct[0])
            return Way(path=_safe(home, direct[0]), shape=shape, others=others)
        if len(best) == 1 and not rivals:
            return Way(path=_safe(home, best[0]), shape=shape)
        raise _ambiguous(home, words, [*best, *rivals])

    def _all_to_one(self, home: str) -> Iterator[Path]:
        if home not in self._to_one:
            found: list[Path] = []
            self._walk_to_one(home, (), frozenset({home}), found)
            self._to_one[home] = tuple(found)
        return iter(self._to_one[home])

    def _walk_to_one(self, at: str, path: Path, seen: frozenset[str], found: list[Path]) -> None:
        if len(path) >= _MAX_DEPTH:
            return
        for edge in self.graph.edges(at):
            if not edge.is_to_one or edge in path:
                continue
            if edge.target in seen and not edge.is_alias:
                continue
            longer = (*path, edge)
            found.append(longer)
            if len(found) > _MAX_PATHS:
                raise QueryError(
                    f"The joins around `{path[0].origin}` form too many paths to choose from.",
                    hint="Give the joins that play a role an `alias`, or disable the ones nobody needs.",
                )
            self._walk_to_one(edge.target, longer, seen | {edge.target}, found)

    def _all_fans(self, home: str) -> Iterator[Path]:
        yield from self._fans_from(home, (), frozenset({home}))

    def _fans_from(self, at: str, path: Path, seen: frozenset[str], depth: int = 0) -> Iterator[Path]:
        if depth >= _MAX_FAN:
            return
        for edge in self.graph.edges(at):
            if edge.is_to_one or (edge.target in seen and not edge.is_alias) or edge in path:
                continue
            down = (*path, edge)
            around = seen | {edge.target}
            yield down
            for beyond in self._all_to_one(edge.target):
                if not any(step.target in around and not step.is_alias for step in beyond):
                    yield (*down, *beyond)
            yield from self._fans_from(edge.target, down, around, depth + 1)

    def _all_crosses(self, home: str) -> Iterator[Path]:
        for up in self._all_to_one(home):
            seen = frozenset({home, *(edge.target for edge in up)})
            yield from self._fans_from(up[-1].target, up, seen)


def _hits(path: Path, steps: tuple[str, ...]) -> int:
    return sum(any(step in edge.handles for edge in path) for step in steps)


def _fits(path: Path, words: tuple[str, ...], steps: tuple[str, ...]) -> bool:
    last = words[-1].casefold()
    if last not in {path[-1].name.casefold(), path[-1].target.casefold()}:
        return False
    rest = [word.casefold() for word in words[:-1]]
    if rest and rest[0] == path[0].origin.casefold():
        rest = rest[1:]
    for edge in path[:-1]:
        if rest and rest[0] in {edge.name.casefold(), edge.target.casefold()}:
            rest = rest[1:]
    if rest:
        return False
    return all(any(step in edge.handles for edge in path) for step in steps)


def _safe(home: str, path: Path) -> Path:
    for edge in path:
        if edge.conflict:
            raise QueryError(
                f"The way {show_path(home, path)} cannot be trusted: {edge.conflict}.",
                hint="Make both declarations agree, or remove one of them.",
            )
    return path


def _ambiguous(home: str, words: tuple[str, ...], paths: list[Path]) -> QueryError:
    target = words[-1]
    shown = "; ".join(f"({n}) {show_path(home, path)}" for n, path in enumerate(paths[:6], start=1))
    choices = _choices(paths)
    example = f'`"via": {{"{target}": ["{choices[0]}"]}}`' if choices else "an alias"
    return QueryError(
        f"There are {len(paths)} ways from `{home}` to `{target}`, and they can give different answers: {shown}.",
        hint=f"Choose one with {example} in the question (steps to choose by: {', '.join(choices)}), "
        f"or give the joins an `alias` and ask by it.",
    )


def _choices(paths: list[Path]) -> list[str]:
    """Name, for each path, a step that no other path has."""
    result: list[str] = []
    for path in paths:
        others = {handle for other in paths if other is not path for edge in other for handle in edge.handles}
        own = [
            handle
            for edge in path
            for handle in sorted(edge.handles)
            if handle not in others and " " not in handle
        ]
        own.sort(key=lambda handle: ("." in handle, len(handle)))
        if own:
            result.append(own[0])
    return result
