"""Answers that a server keeps: those that files alone decide, for as long as the files stand as they did."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

_MOST = 256
_LONGEST_S = 60.0
"""A search may have done without a lane that could not look, which no file tells."""


class Kept:
    """The latest answers by what was asked. Each is given only for the state of the files that it was made from."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[Hashable, float, object]] = OrderedDict()

    def get(self, asked: Hashable, state: Hashable, *, now: float) -> object | None:
        """Give the answer to what was asked, or None when there is none for this state."""
        with self._lock:
            found = self._answers.get(asked)
            if found is None or found[0] != state or now - found[1] > _LONGEST_S:
                return None
            self._answers.move_to_end(asked)
            return found[2]

    def put(self, asked: Hashable, state: Hashable, answer: object, *, now: float) -> None:
        """Keep an answer; `state` is what was seen of the files before it was made."""
        with self._lock:
            self._answers[asked] = (state, now, answer)
            self._answers.move_to_end(asked)
            while len(self._answers) > _MOST:
                self._answers.popitem(last=False)
