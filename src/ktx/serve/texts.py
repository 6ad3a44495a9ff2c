"""The texts that agents hand over, worked through in one thread of a server, one after the other.

A text that waits or is worked on is written down as a run (`ktx.ingest.runs`) before anybody is told its id; how it ends is
written down too, whatever happens, for the run names the process that has it.
"""

import logging
import threading
from collections import deque
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ktx.errors import ConfigError, KtxError, OutsideError
from ktx.project import Project, ensure_state_dir, open_project, project_lock
from ktx.serve.stop import Stop, stoppable

if TYPE_CHECKING:
    from ktx.ingest.runs import RunStore

_log = logging.getLogger(__name__)
LABEL: Final = "memory"
MOST_WAITING: Final = 50
_LOCK_TRY_S: Final = 0.5
_STOPPED_S: Final = 5.0
"""How long a run may take to end once it was stopped: cancelling a model's work takes a moment, and a commit is finished."""
WAITS_FOR_LOCK: Final = "waiting: another ktx command is writing to the project"
ENDED: Final = "The server was stopped before this text was done."
AGAIN: Final = "Give the text again: what a model was paid for is not asked again."
CRASHED: Final = "It failed inside ktx; the log of the server that worked on it says more."


@dataclass(frozen=True, kw_only=True)
class Order:
    """A text to be remembered, with the run that stands for it. `project` is as it was when the text was given."""

    run_id: str
    project: Project
    content: str
    connection_id: str | None


class TextQueue:
    """The texts of one server. Its thread lives while there are some; `close` ends it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Order] = deque()
        self._current: Order | None = None
        self._thread: threading.Thread | None = None
        self._stop = Stop()
        self._is_closed = False
        self._known: set[str] = set()
        self._lost: dict[str, str] = {}

    def add(self, order: Order) -> None:
        """Put a text at the end of the line.

        Raises:
            OutsideError: the line is full, or the server is being stopped.
        """
        with self._lock:
            if self._is_closed:
                raise OutsideError("The server is being stopped.", hint="Give the text to the next one.")
            if len(self._waiting) >= MOST_WAITING:
                raise OutsideError(
                    f"{MOST_WAITING} texts are waiting to be remembered already.",
                    hint="Wait until some are done, then give this one again.",
                )
            self._waiting.append(order)
            self._known.add(order.run_id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ktx texts", daemon=True)
                self._thread.start()

    def place(self, run_id: str) -> int | None:
        """Tell how many texts come before this one; 0 when it is worked on, None when it is not here, or no longer."""
        with self._lock:
            if self._current is not None and self._current.run_id == run_id:
                return 0
            before = 0 if self._current is None else 1
            ids = [order.run_id for order in self._waiting]
            return before + ids.index(run_id) if run_id in ids else None

    def is_known(self, run_id: str) -> bool:
        """Tell whether this server was given the text of a run."""
        with self._lock:
            return run_id in self._known

    def lost(self, run_id: str) -> str | None:
        """Say how a run ended whose end could not be written down."""
        with self._lock:
            return self._lost.get(run_id)

    def close(self, *, finish_s: float = 0.0) -> None:
        """Take no more texts, let the one under way finish within `finish_s`, stop it then; those that wait are ended as failed."""
        with self._lock:
            self._is_closed = True
            waiting, thread = tuple(self._waiting), self._thread
            self._waiting.clear()
        for order in waiting:
            self._record(order, ENDED, AGAIN)
        if thread is None:
            return
        try:
            thread.join(timeout=finish_s)
        finally:
            self._stop.press()
        thread.join(timeout=_STOPPED_S)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._current = self._waiting.popleft() if self._waiting else None
                if self._current is None:
                    self._thread = None
                    return
                order = self._current
            try:
                with stoppable(self._stop):
                    _remember(order, self._stop)
            except KtxError as error:
                self._record(order, error.message, error.hint)
            except Exception:  # noqa: BLE001 - the border: the run is told as failed, the log knows, the next text has its turn
                _log.exception("a text could not be remembered")
                self._record(order, CRASHED, None)

    def _record(self, order: Order, error: str, hint: str | None) -> None:
        try:
            from ktx.ingest.runs import open_runs

            with open_runs(order.project.state_dir) as store:
                run = store.run(order.run_id)
                if run is None or run.status not in ("done", "partial"):
                    store.end(order.run_id, status="failed", commit=None, body={"error": error, "hint": hint})
        except Exception:  # noqa: BLE001 - a full disk, a damaged file: then this process remembers as long as it lives
            _log.exception("the end of a run could not be written down")
            with self._lock:
                self._lost[order.run_id] = error


def ensure_model(project: Project) -> None:
    """Do nothing when a language model is configured and its package is there.

    Raises:
        ConfigError: there is none, or its package is not installed.
    """
    from ktx.llm.installed import missing_extra

    backend = project.config.llm.provider.backend
    if backend == "none":
        raise ConfigError(
            "Remembering needs a language model, and none is configured.",
            hint="`ktx setup --llm-backend …` adds one; `ktx ingest --text … --verbatim` keeps a text as it is.",
        )
    extra = missing_extra(backend)
    if extra is not None:
        raise ConfigError(
            f"The package for `{backend}` is not installed.", hint=f"pip install 'ktx-context[{extra}]'"
        )


def _remember(order: Order, stop: Stop) -> None:
    """Ingest a text by ktx.yaml as it is now; how it went is in its run."""
    # Imported by the thread that works: a question needs none of it.
    from ktx.ingest.runs import open_runs
    from ktx.ingest.texts import ingest_text
    from ktx.sources.text.source import TextItem

    project = open_project(order.project.root)
    ensure_model(project)
    with open_runs(ensure_state_dir(project)) as store, _locked(project, order, store, stop):
        ingest_text(
            project,
            TextItem(label=LABEL, content=order.content.encode()),
            store,
            connection_id=order.connection_id,
            run_id=order.run_id,
        )


@contextmanager
def _locked(project: Project, order: Order, store: "RunStore", stop: Stop) -> Generator[None]:
    """Hold the project, however long another command has it; the run says that it waits.

    Raises:
        OutsideError: the server was stopped meanwhile.
    """
    with ExitStack() as stack:
        is_told = False
        while True:
            if stop.is_pressed:
                raise OutsideError(ENDED, hint=AGAIN)
            try:
                stack.enter_context(project_lock(project, timeout_s=_LOCK_TRY_S))
                break
            except OutsideError:
                if not is_told:
                    store.stage(order.run_id, WAITS_FOR_LOCK)
                    is_told = True
        yield
