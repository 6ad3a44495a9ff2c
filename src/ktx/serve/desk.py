"""The desk at which questions are answered: an opened project, and what has been opened for it so far.

Everything heavy is imported and opened on first use, and kept: a one-off command pays only for what it needs, a server once.
Files may change while a server runs: the layer is loaded again, and the index refreshed, when a stat says so.
"""

import os
import threading
import time
from collections.abc import Callable, Generator, Hashable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ktx.errors import ConfigError, UsageError
from ktx.project import Project, ensure_state_dir
from ktx.serve.kept import Kept
from ktx.serve.texts import TextQueue
from ktx.suggest import did_you_mean

if TYPE_CHECKING:
    from ktx.search.index import Index
    from ktx.search.lanes import Lane
    from ktx.search.reindex import ValueBatch
    from ktx.semantic.source import Layer
    from ktx.serve.scans import Scanned
    from ktx.warehouse.warehouse import Warehouse


LOCAL_USER = "local"


@dataclass(kw_only=True)
class _Open:
    """What is open; guarded by `lock`, the index by `index_lock`, which may be held while `lock` is taken and never the other way."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    index_lock: threading.RLock = field(default_factory=threading.RLock)
    layers: "dict[str, tuple[str, Layer]]" = field(default_factory=dict[str, "tuple[str, Layer]"])
    looked_at: dict[str, tuple[float, str]] = field(default_factory=dict[str, tuple[float, str]])
    warehouses: "dict[str, Warehouse]" = field(default_factory=dict[str, "Warehouse"])
    scans: "dict[str, tuple[str, Scanned | None]]" = field(
        default_factory=dict[str, "tuple[str, Scanned | None]"]
    )
    texts: "dict[tuple[str, str], tuple[Layer, str]]" = field(
        default_factory=dict[tuple[str, str], "tuple[Layer, str]"]
    )
    looks: dict[str, tuple[float, bool]] = field(default_factory=dict[str, tuple[float, bool]])
    index: "Index | None" = None
    index_checked_at: float | None = None
    lanes: "tuple[Lane, ...] | None" = None
    state: tuple[float, Hashable] | None = None
    kept: Kept = field(default_factory=Kept)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A project ready to be asked. `recheck_s` is how long a look at the files is believed; a one-off command never looks twice."""

    project: Project
    recheck_s: float = 1.0
    clock: Callable[[], float] = time.monotonic
    user_id: str = LOCAL_USER
    texts: TextQueue = field(default_factory=TextQueue, repr=False, compare=False)
    """What is being remembered. Whoever made the queue closes it: it outlives a desk that an edit of ktx.yaml replaces."""
    _open: _Open = field(default_factory=_Open, repr=False, compare=False)

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened; running statements are cancelled."""
        with self._open.lock:
            warehouses = list(self._open.warehouses.values())
            self._open.warehouses.clear()
        for warehouse in warehouses:
            warehouse.close()
        with self._open.index_lock:
            if self._open.index is not None:
                self._open.index.close()
                self._open.index = None

    @contextmanager
    def using(self) -> "Generator[Desk]":
        """Hold this desk for one call; `ktx.serve.live` has one that follows ktx.yaml."""
        yield self

    def seen(self, name: str, look: Callable[[], bool]) -> bool:
        """Give what a look at the project's surroundings said, looking again when the last look is older than `recheck_s`."""
        now = self.clock()
        with self._open.lock:
            kept = self._open.looks.get(name)
        if kept is not None and now - kept[0] < self.recheck_s:
            return kept[1]
        seen = look()
        with self._open.lock:
            self._open.looks[name] = (now, seen)
        return seen

    def connection_id(self, given: str | None) -> str:
        """Give the warehouse meant: the named one, or the only one.

        Raises:
            UsageError: there is no such warehouse, or none was named and there are several.
        """
        known = self.project.warehouses
        if given is not None:
            if given in known:
                return given
            if given in self.project.config.connections:
                message = f"Connection `{given}` is a context source, not a warehouse."
                raise UsageError(message, hint=_choices(known))
            message = f"There is no connection `{given[:80]}`.{did_you_mean(given, known)}"
            raise UsageError(message, hint=_choices(known))
        if len(known) == 1:
            return next(iter(known))
        if not known:
            message = "The project has no warehouse connection."
            raise ConfigError(message, hint="Add one under `connections` in ktx.yaml.")
        message = "The project has several warehouses, so the question must name one."
        raise UsageError(message, hint=_choices(known))

    def known_connection(self, given: str | None) -> str | None:
        """Give the connection that narrows a search, context sources included; None stays None.

        Raises:
            UsageError: there is no such connection.
        """
        known = self.project.config.connections
        if given is None or given in known:
            return given
        message = f"There is no connection `{given[:80]}`.{did_you_mean(given, known)}"
        raise UsageError(message, hint=_choices(known))

    def layer(self, connection_id: str) -> "Layer":
        """Give the semantic layer of a connection as its files stand now."""
        from ktx.serve.layers import open_layer

        with self._open.lock:
            mark = self._fingerprint(connection_id)
            kept = self._open.layers.get(connection_id)
            if kept is not None and kept[0] == mark:
                return kept[1]
            layer = open_layer(
                self.project.semantic_dir,
                connection_id,
                state_dir=self._state_dir(),
                mark=mark,
            )
            self._open.layers[connection_id] = (mark, layer)
            return layer

    def scanned(self, connection_id: str) -> "Scanned | None":
        """Give what the last scan of a connection left, read again when a scan wrote; None when there was none."""
        from ktx.serve.marks import scan_mark

        mark = scan_mark(self.project)
        kept = self._open.scans.get(connection_id)
        if kept is None or kept[0] != mark:
            from ktx.serve.scans import read_scanned

            kept = self._open.scans[connection_id] = (mark, read_scanned(self.project, connection_id))
        return kept[1]

    def source_text(self, connection_id: str, name: str, render: "Callable[[Layer], str]") -> str:
        """Give a text about a source, rendered once for a layer as its files stand."""
        layer = self.layer(connection_id)
        kept = self._open.texts.get((connection_id, name))
        if kept is None or kept[0] is not layer:
            kept = self._open.texts[connection_id, name] = (layer, render(layer))
        return kept[1]

    def warehouse(self, connection_id: str) -> "Warehouse":
        """Give the warehouse of a connection; its first statement opens it.

        Raises:
            ConfigError: its driver is not installed, or a secret cannot be read.
        """
        from ktx.warehouse.connect import open_warehouse

        with self._open.lock:
            warehouse = self._open.warehouses.get(connection_id)
            if warehouse is None:
                connection = self.project.warehouses[connection_id]
                warehouse = open_warehouse(connection_id, connection, self.project.root)
                self._open.warehouses[connection_id] = warehouse
            return warehouse

    def dialect(self, connection_id: str) -> str:
        """Give sqlglot's name for the SQL of a connection."""
        return self.warehouse(connection_id).dialect

    @contextmanager
    def searching(self) -> "Generator[Index]":
        """Hold the search index, brought up to date when the last look is older than `recheck_s`."""
        from ktx.search.index import open_index
        from ktx.search.reindex import refresh
        from ktx.serve.marks import values_taken

        with self._open.index_lock:
            now = self.clock()
            if self._open.index is None:
                self._open.index = open_index(self._state_dir() / "index.sqlite")
            if self._open.index_checked_at is None or now - self._open.index_checked_at >= self.recheck_s:
                values = self._values(self._open.index)
                report = refresh(self._open.index, self.project.root, values=values)
                values_taken(self.project, self._open.index)
                if not report.is_current:
                    for lane in self.lanes():
                        lane.catch_up(self._open.index)
                self._open.index_checked_at = self.clock()
            yield self._open.index

    def _values(self, index: "Index") -> "tuple[ValueBatch, ...] | None":
        """Give the sampled values for a refresh; None when no scan wrote since the last one."""
        from ktx.serve.marks import are_values_taken

        if are_values_taken(self.project, index):
            return None
        from ktx.serve.scans import value_batches

        return value_batches(self.project, index, self.layer)

    def state(self) -> Hashable:
        """Give what changes when the index, a layer or the scan store does; a look is believed for `recheck_s`."""
        from ktx.serve.marks import scan_mark

        known = self.last_state()
        if known is not None:
            return known
        now = self.clock()
        with self.searching() as index:
            revision = index.revision()
        marks = tuple(self._fingerprint(name) for name in self.project.warehouses)
        state = (revision, marks, scan_mark(self.project))
        self._open.state = (now, state)
        return state

    def last_state(self) -> Hashable | None:
        """Give the state as last looked at, or None when that was too long ago. Nothing is read."""
        known = self._open.state
        return known[1] if known is not None and self.clock() - known[0] < self.recheck_s else None

    def kept(self, asked: Hashable, state: Hashable) -> object | None:
        """Give the answer that was kept for a state of the files, or None."""
        return self._open.kept.get(asked, state, now=self.clock())

    def keep(self, asked: Hashable, state: Hashable, answer: object) -> None:
        """Keep an answer that was made from the files as they are or were later than `state`."""
        self._open.kept.put(asked, state, answer, now=self.clock())

    def lanes(self) -> "tuple[Lane, ...]":
        """Give the lanes that a search goes through; each keeps what it has read of the index."""
        from ktx.serve.meaning import open_lanes

        with self._open.lock:
            if self._open.lanes is None:
                self._open.lanes = open_lanes(self.project)
            return self._open.lanes

    def _state_dir(self) -> Path:
        """Give `.ktx/`, made if it can be: what only goes faster with it does without in a folder that cannot be written."""
        try:
            return ensure_state_dir(self.project)
        except OSError:
            return self.project.state_dir

    def _fingerprint(self, connection_id: str) -> str:
        """Give a text that changes with the stat of any file of a layer."""
        from ktx.serve.layers import mark_of

        now = self.clock()
        seen = self._open.looked_at.get(connection_id)
        if seen is not None and now - seen[0] < self.recheck_s:
            return seen[1]
        mark = mark_of(_stats(self.project.semantic_dir / connection_id))
        self._open.looked_at[connection_id] = (now, mark)
        return mark


def _choices(known: Iterable[str]) -> str:
    names = ", ".join(f"`{name}`" for name in known)
    return f"Name one of {names}." if names else "Add a warehouse under `connections` in ktx.yaml."


def _stats(folder: Path) -> list[tuple[str, int, int]]:
    found: list[tuple[str, int, int]] = []
    pending = [str(folder)]
    while pending:
        try:
            entries = os.scandir(pending.pop())
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    try:
                        stat = entry.stat()
                    except FileNotFoundError:
                        continue  # a link to nowhere, or a file that an editor has just replaced
                    found.append((entry.path, stat.st_mtime_ns, stat.st_size))
    return found
