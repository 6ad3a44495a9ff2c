"""Stopping what one caller asked for, and nothing else: the statements that run, and those that would come after them."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from ktx.errors import WarehouseError


class Stoppable(Protocol):
    """Something that runs and can be stopped from another thread."""

    def cancel(self) -> None:
        """Stop it; do nothing when it has ended."""
        ...


class Stop:
    """A caller's stop button. `press` may be called from any thread, more than once: a statement that was just about to start
    when the button was pressed is caught by the next press.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Stoppable] = set()
        self._is_pressed = False

    @property
    def is_pressed(self) -> bool:
        """Whether it was pressed."""
        return self._is_pressed

    def press(self) -> None:
        """Stop what runs under this button, and let nothing more begin."""
        with self._lock:
            self._is_pressed = True
            running = list(self._running)
            # inside the lock: a session that has ended must not be stopped while it works for somebody else
            for session in running:
                session.cancel()

    def ensure_going(self, connection_id: str) -> None:
        """Do nothing unless the button was pressed.

        Raises:
            WarehouseError: it was.
        """
        if self._is_pressed:
            raise WarehouseError(f"The statement on `{connection_id}` was cancelled.")

    @contextmanager
    def covering(self, session: Stoppable, connection_id: str) -> Generator[None]:
        """Let the button stop `session` while the block runs."""
        with self._lock:
            self.ensure_going(connection_id)
            self._running.add(session)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(session)


_current: ContextVar[Stop | None] = ContextVar("stop", default=None)


@contextmanager
def stoppable(stop: Stop) -> Generator[None]:
    """Put every statement that this thread runs inside the block under a stop button."""
    token = _current.set(stop)
    try:
        yield
    finally:
        _current.reset(token)


def current_stop() -> Stop | None:
    """Give the stop button of the caller, if it has one."""
    return _current.get()
