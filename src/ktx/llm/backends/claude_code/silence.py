"""How long a program may say nothing before it counts as lost."""

import math
from collections.abc import Generator
from contextlib import contextmanager

import anyio


class Silence:
    """Cancels what runs in `scope` once nothing was heard for `limit_s`. While a tool of ours works, the program may wait."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.scope = anyio.CancelScope()
        self._working = 0

    def heard(self) -> None:
        """Start counting anew."""
        if self._working == 0:
            self.scope.deadline = anyio.current_time() + self.limit_s

    @contextmanager
    def working(self) -> Generator[None, None, None]:
        """Stop counting while a tool works."""
        self._working += 1
        self.scope.deadline = math.inf
        try:
            yield
        finally:
            self._working -= 1
            self.heard()
