"""Reciprocal rank fusion: one order out of several, by place and not by score.

Formula: Cormack, Clarke, Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", SIGIR 2009.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

K = 60

Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class RankedList(Generic[Item]):
    """One lane's answer, best first; `weight` is what a first place in it is worth."""

    lane: str
    weight: float
    items: Sequence[Item]


@dataclass(frozen=True, kw_only=True)
class Fused(Generic[Item]):
    """One item with its fused score and the lanes that found it, in the order given."""

    item: Item
    score: float
    lanes: tuple[str, ...]


def fuse(lists: Sequence[RankedList[Item]], *, k: int = K) -> tuple[Fused[Item], ...]:
    """Add `weight / (k + rank)` over all lists, rank from 1, and give the items best first.

    Equal scores are ordered by the number of lanes, then by first appearance; an item counts once per list.

    >>> both = fuse([RankedList(lane="a", weight=1, items=["x", "y"]), RankedList(lane="b", weight=1, items=["y"])])
    >>> [(fused.item, fused.lanes) for fused in both]
    [('y', ('a', 'b')), ('x', ('a',))]
    """
    scores: dict[Item, float] = {}
    lanes: dict[Item, list[str]] = {}
    for ranked in lists:
        for rank, item in enumerate(dict.fromkeys(ranked.items), start=1):
            scores[item] = scores.get(item, 0.0) + ranked.weight / (k + rank)
            lanes.setdefault(item, []).append(ranked.lane)
    order = sorted(scores, key=lambda item: (-scores[item], -len(lanes[item])))
    return tuple(Fused(item=item, score=scores[item], lanes=tuple(lanes[item])) for item in order)
