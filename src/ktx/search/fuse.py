"""Reciprocal rank fusion: one order out of several, by place and not by score.

Formula: Cormack, Clarke, Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", SIGIR 2009.
Two things differ. Their constant of 60 was found on lists of a thousand; in lists of thirty it makes the last place worth two thirds of the
first, so that being in two lists anywhere beats being first in one. And each item may bring how strongly its list believes in it, so that a
list whose best is a poor one says so.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

K = 5

Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class RankedList(Generic[Item]):
    """One lane's answer, best first. `weight` is what a first place in it is worth, times the item's strength; none means 1 for all."""

    lane: str
    weight: float
    items: Sequence[Item]
    strengths: Sequence[float] | None = None


@dataclass(frozen=True, kw_only=True)
class Fused(Generic[Item]):
    """One item with its fused score and the lanes that found it, in the order given."""

    item: Item
    score: float
    lanes: tuple[str, ...]


def fuse(lists: Sequence[RankedList[Item]], *, k: int = K) -> tuple[Fused[Item], ...]:
    """Add `weight * strength / (k + rank)` over all lists, rank from 1, and give the items best first.

    Equal scores are ordered by the number of lanes, then by first appearance; an item counts once per list, at its best place.

    >>> both = fuse([RankedList(lane="a", weight=1, items=["x", "y"]), RankedList(lane="b", weight=1, items=["y"])])
    >>> [(fused.item, fused.lanes) for fused in both]
    [('y', ('a', 'b')), ('x', ('a',))]
    """
    scores: dict[Item, float] = {}
    lanes: dict[Item, list[str]] = {}
    for ranked in lists:
        strengths = ranked.strengths or [1.0] * len(ranked.items)
        places: dict[Item, float] = {}
        for item, strength in zip(ranked.items, strengths, strict=True):
            places.setdefault(item, strength)
        for rank, (item, strength) in enumerate(places.items(), start=1):
            scores[item] = scores.get(item, 0.0) + ranked.weight * strength / (k + rank)
            lanes.setdefault(item, []).append(ranked.lane)
    order = sorted(scores, key=lambda item: (-scores[item], -len(lanes[item])))
    return tuple(Fused(item=item, score=scores[item], lanes=tuple(lanes[item])) for item in order)
