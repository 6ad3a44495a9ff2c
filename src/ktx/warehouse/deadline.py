"""A time limit for statements of engines that have none of their own: a timer that interrupts, and says that it did."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Deadline:
    """Whether the time of one statement ran out."""

    def __init__(self) -> None:
        self.is_over = False


@contextmanager
def deadline(timeout_s: float, interrupt: Callable[[], None]) -> Generator[Deadline]:
    """Call `interrupt` once when `timeout_s` pass inside the block; never after the block has ended."""
    state = Deadline()

    def stop() -> None:
        state.is_over = True
        interrupt()

    timer = threading.Timer(timeout_s, stop)
    timer.daemon = True
    timer.start()
    try:
        yield state
    finally:
        timer.cancel()
        timer.join()
