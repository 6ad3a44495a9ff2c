"""How sources reach each other, for those who compose a question: the ways that the compiler itself would take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ktx.errors import QueryError
from ktx.semantic.compile import prepare
from ktx.semantic.dialects import facts_of
from ktx.semantic.joins import Router
from ktx.semantic.source import Layer


@dataclass(frozen=True, kw_only=True)
class Between:
    """The way from one source to another, or the `problem` that keeps the compiler from choosing one.

    `to_one`: each row of the origin has at most one partner, so its measures may be grouped by the target. `fan`: a row
    may have many.
    """

    origin: str
    target: str
    shape: Literal["to_one", "fan"]
    steps: tuple[str, ...] = ()
    problem: str | None = None


def ways_between(layer: Layer, names: Sequence[str], *, dialect: str) -> tuple[Between, ...]:
    """Give one way per pair of sources that are joined at all, from the side that has one partner where there is one."""
    router = Router(prepare(layer, facts_of(dialect)).graph)
    found: list[Between] = []
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            both = [way for way in (_way(router, one, other), _way(router, other, one)) if way is not None]
            both.sort(key=lambda way: (way.shape != "to_one", way.problem is not None))
            found += both[:1]
    return tuple(found)


def _way(router: Router, origin: str, target: str) -> Between | None:
    try:
        way = router.find(origin, (target,))
    except QueryError as error:
        return Between(origin=origin, target=target, shape="to_one", problem=error.message)
    if way is None or way.shape == "cross":
        return None
    return Between(origin=origin, target=target, shape=way.shape, steps=tuple(str(edge) for edge in way.path))
