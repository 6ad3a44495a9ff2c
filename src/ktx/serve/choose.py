"""The best set of pieces that fits: every kind gets its floor, then whatever says most per letter.

The score counts squared: short pieces that say little would else crowd out longer ones that say much. A greedy choice is not the optimum of this knapsack, but it is the same every time, it is quick, and it never exceeds the room.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
PieceKind = Literal["rule", "source", "measure", "column", "segment", "join", "value"]
Key = tuple[str, ...]

FLOORS: tuple[tuple[PieceKind, float], ...] = (
    ("rule", 0.25),
    ("measure", 0.25),
    ("column", 0.2),
    ("join", 0.15),
    ("value", 0.08),
)
"""What share of the room each kind is sure of, in the order in which they choose; room that a kind leaves is anyone's."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Something that may be told, longest form first in `forms`; `needs` are the pieces without which it says nothing."""

    kind: PieceKind
    key: Key
    score: float
    forms: tuple[Mapping[str, object], ...]
    needs: tuple[Key, ...] = ()


def letters(content: object) -> int:
    """Give the length of a piece as compact JSON, with the comma after it."""
    return len(_compact(content)) + 1


def choose(
    pieces: Sequence[Piece], room: int, *, fill: Sequence[Piece] = ()
) -> dict[Key, Mapping[str, object]]:
    """Choose pieces whose letters add up to at most `room`, each in the longest form that fits.

    What is left of it goes to `fill`: pieces that say too little to bring anything along, but more of what stands there anyway.

    >>> choose([Piece(kind="value", key=("a",), score=1.0, forms=({"v": 1},))], 8)
    {('a',): {'v': 1}}
    >>> choose([Piece(kind="value", key=("a",), score=1.0, forms=({"v": 1},))], 7)
    {}
    """
    chosen = _Chosen((*pieces, *fill), room)
    for kind, share in FLOORS:
        best_first = sorted(
            (piece for piece in pieces if piece.kind == kind), key=lambda one: (-one.score, one.key)
        )
        left = min(int(room * share), chosen.room)
        for piece in best_first:
            left -= chosen.take(piece, left)
    by_worth = sorted(pieces, key=lambda one: (-(one.score**2) / max(chosen.cost(one), 1), one.key))
    for piece in by_worth:
        chosen.take(piece, chosen.room)
    for piece in sorted(pieces, key=lambda one: (-one.score, one.key)):
        chosen.widen(piece)
    for piece in sorted(fill, key=lambda one: (-one.score, one.key)):
        if piece.needs and all(key in chosen.forms for key in piece.needs):
            chosen.take(piece, chosen.room)
    return chosen.forms


class _Chosen:
    """What was chosen so far, and the room that is left."""

    def __init__(self, pieces: Sequence[Piece], room: int) -> None:
        self.room = room
        self.forms: dict[Key, Mapping[str, object]] = {}
        self._pieces = {piece.key: piece for piece in pieces}
        self._sizes = {piece.key: tuple(map(letters, piece.forms)) for piece in pieces}

    def cost(self, piece: Piece) -> int:
        """Give what the shortest form of a piece costs, with what it needs and is not there yet."""
        own = 0 if piece.key in self.forms else self._sizes[piece.key][-1]
        return own + sum(self.cost(self._pieces[key]) for key in self._missing(piece))

    def take(self, piece: Piece, room: int) -> int:
        """Choose a piece with what it needs when that fits into `room`, and give what it cost; else 0."""
        if piece.key in self.forms or any(key not in self._pieces for key in piece.needs):
            return 0
        room = min(room, self.room)
        missing = [self._pieces[key] for key in self._missing(piece)]
        needed = sum(self._sizes[one.key][-1] for one in missing)
        sizes = self._sizes[piece.key]
        at = next((at for at, size in enumerate(sizes) if size + needed <= room), None)
        if at is None:
            return 0
        for one in missing:
            self.forms[one.key] = one.forms[-1]
        self.forms[piece.key] = piece.forms[at]
        self.room -= sizes[at] + needed
        return sizes[at] + needed

    def widen(self, piece: Piece) -> None:
        """Tell a chosen piece in a longer form when there is room for it."""
        form = self.forms.get(piece.key)
        if form is None:
            return
        sizes = self._sizes[piece.key]
        now = piece.forms.index(form)
        for at in range(now):
            if sizes[at] - sizes[now] <= self.room:
                self.room -= sizes[at] - sizes[now]
                self.forms[piece.key] = piece.forms[at]
                return

    def _missing(self, piece: Piece) -> list[Key]:
        return [key for key in dict.fromkeys(piece.needs) if key not in self.forms and key in self._pieces]
