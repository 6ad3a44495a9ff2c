"""A time limit for statements of engines that have none of their own: they are interrupted, and it is said that they were.

One thread watches all of them. A thread per statement would cost more than most statements.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Deadline:
    """Whether the time of one statement ran out."""

    def __init__(self, interrupt: Callable[[], None]) -> None:
        """Take what stops the statement."""
        self.is_over = False
        self._lock = threading.Lock()
        self._interrupt: Callable[[], None] | None = interrupt
        self._stopping: threading.Thread | None = None

    def fire(self) -> None:
        """Interrupt the statement, in a thread of its own, unless it has ended."""
        with self._lock:
            if self._interrupt is None:
                return
            self.is_over = True
            self._stopping = threading.Thread(target=self._interrupt, name="ktx-interrupt", daemon=True)
            self._stopping.start()

    def end(self) -> None:
        """Say that the statement has ended, and wait for an interrupt that is on its way."""
        with self._lock:
            self._interrupt = None
            stopping = self._stopping
        if stopping is not None:
            stopping.join()


class _Watch:
    """The deadlines to come, and the thread that waits for the next one; it goes when there has been none for a while."""

    _IDLE_S = 60.0

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Deadline]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def add(self, at: float, one: Deadline) -> None:
        """Fire a deadline when its time has come (`time.monotonic`)."""
        with self._changed:
            heapq.heappush(self._waiting, (at, next(self._numbers), one))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="ktx-deadlines", daemon=True)
                self._thread.start()
            elif self._waiting[0][2] is one:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                while not self._waiting or self._waiting[0][0] > now:
                    wait_s = self._waiting[0][0] - now if self._waiting else self._IDLE_S
                    if not self._changed.wait(wait_s) and not self._waiting:
                        self._thread = None
                        return
                    now = time.monotonic()
                one = heapq.heappop(self._waiting)[2]
            one.fire()


_WATCH = _Watch()


@contextmanager
def deadline(timeout_s: float, interrupt: Callable[[], None]) -> Generator[Deadline]:
    """Call `interrupt` once when `timeout_s` pass inside the block; never after the block has ended."""
    state = Deadline(interrupt)
    _WATCH.add(time.monotonic() + timeout_s, state)
    try:
        yield state
    finally:
        state.end()
