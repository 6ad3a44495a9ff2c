"""The desk of a server that runs for days: it follows ktx.yaml, and a call keeps the desk that it began with."""

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from ktx.errors import KtxError
from ktx.project import Project, open_project
from ktx.serve.desk import Desk
from ktx.serve.texts import TextQueue

_log = logging.getLogger(__name__)
_Mark = tuple[int, int, int] | None


class Desks(Protocol):
    """Where a call gets its desk."""

    def using(self) -> AbstractContextManager[Desk]:
        """Hold the desk for one call.

        Raises:
            ConfigError: ktx.yaml cannot be used as it stands.
        """
        ...


class LiveDesk:
    """Opens the project anew when the stat of ktx.yaml moves. The desk before it is closed when its last call has ended.

    While ktx.yaml has errors, every call is refused with them, as on the command line: answering by settings that the file no
    longer holds could ignore a policy that somebody has just made stricter.
    """

    def __init__(
        self,
        project: Project,
        *,
        recheck_s: float = 1.0,
        finish_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = project.root
        self._config_file = project.config_file
        self._recheck_s = recheck_s
        self._clock = clock
        self._finish_s = finish_s
        self._texts = TextQueue()
        self._lock = threading.Lock()
        self._mark = self._look()
        self._looked_at = clock()
        self._error: KtxError | None = None
        self._desk = self._opened(project)
        self._users: dict[int, int] = {}

    def __enter__(self) -> "LiveDesk":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the desk; running statements are cancelled, a text being remembered may finish within `finish_s`."""
        self._texts.close(finish_s=self._finish_s)
        with self._lock:
            desk = self._desk
        desk.close()

    @contextmanager
    def using(self) -> Generator[Desk]:
        """Hold the desk that ktx.yaml describes now.

        Raises:
            ConfigError: ktx.yaml cannot be used as it stands.
        """
        with self._lock:
            self._follow()
            if self._error is not None:
                raise self._error
            desk = self._desk
            self._users[id(desk)] = self._users.get(id(desk), 0) + 1
        try:
            yield desk
        finally:
            with self._lock:
                self._users[id(desk)] -= 1
                is_left = not self._users[id(desk)] and desk is not self._desk
                if not self._users[id(desk)]:
                    del self._users[id(desk)]
            if is_left:
                desk.close()

    def _follow(self) -> None:
        """Open the project anew when ktx.yaml has changed. Call it inside the lock."""
        now = self._clock()
        if now - self._looked_at < self._recheck_s:
            return
        self._looked_at = now
        mark = self._look()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            project = open_project(self._root)
        except KtxError as error:
            _log.warning("ktx.yaml cannot be used: %s", error.message)
            self._error = error
            return
        _log.info("ktx.yaml was read again")
        self._error = None
        old, self._desk = self._desk, self._opened(project)
        if id(old) not in self._users:
            old.close()

    def _opened(self, project: Project) -> Desk:
        return Desk(project=project, recheck_s=self._recheck_s, clock=self._clock, texts=self._texts)

    def _look(self) -> _Mark:
        try:
            stat = self._config_file.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino
