"""Composed layers kept in `.ktx/layers.sqlite`, so that a new process answers without reading every file.

One question needs a handful of sources. As long as no file's name, size or time of change differs, the kept layer builds just
those; otherwise the files are read and the layer is kept anew. The file is derived: deleting it costs time, nothing else.
"""

import json
import logging
import threading
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

from ktx import sqlite
from ktx.files import digest
from ktx.semantic.load import load_layer
from ktx.semantic.pack import PACK_VERSION, pack_findings, pack_source, unpack_findings, unpack_source
from ktx.semantic.source import Layer, Source
from ktx.version import __version__

_log = logging.getLogger(__name__)
_MIGRATIONS = (
    """
    CREATE TABLE layer (connection TEXT PRIMARY KEY, mark TEXT NOT NULL, names TEXT NOT NULL, outline TEXT NOT NULL,
                        findings TEXT NOT NULL);
    CREATE TABLE source (connection TEXT NOT NULL, name TEXT NOT NULL, packed TEXT NOT NULL,
                         PRIMARY KEY (connection, name)) WITHOUT ROWID;
    """,
)
FileStat = tuple[str, int, int]
"""A file's path, its time of change in nanoseconds, and its size."""


class KeptSources(Mapping[str, Source]):
    """The sources of a kept layer, each built when it is first asked for.

    The connection stays inside one read transaction: what another process keeps later is not seen.
    """

    def __init__(self, connection: sqlite.Connection, connection_id: str, names: list[str]) -> None:
        """Take an open state file and the names that it holds for a connection."""
        self._connection = connection
        self._connection_id = connection_id
        self._lock = threading.Lock()
        weakref.finalize(self, connection.close)
        self._built: dict[str, Source | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> Source:
        """Give a source; KeyError for an unknown name."""
        found = self._built[name]
        if found is None:
            found = self._built[name] = unpack_source(self._read(name))
        return found

    def __iter__(self) -> Iterator[str]:
        """Go through the names, sorted."""
        return iter(self._built)

    def __len__(self) -> int:
        """Count the sources."""
        return len(self._built)

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a source of that name, without building it."""
        return name in self._built

    def _read(self, name: str) -> str:
        sql = "SELECT packed FROM source WHERE connection = ? AND name = ?"
        with self._lock:
            row: tuple[str] = self._connection.execute(sql, (self._connection_id, name)).fetchone()
        return row[0]


def mark_of(stats: list[FileStat]) -> str:
    """Give a text that changes with the name, size or time of change of any file, and with ktx itself."""
    return digest(json.dumps([PACK_VERSION, __version__, *sorted(stats)]))


def open_layer(semantic_dir: Path, connection_id: str, *, state_dir: Path, mark: str) -> Layer:
    """Give a connection's layer, from `.ktx/` when its files are as they were, else from the files.

    `mark` stands for the files as they are now. Where the state folder cannot be written, the layer is loaded all the same.
    """
    try:
        connection = _opened(state_dir / "layers.sqlite")
    except (sqlite.Error, OSError) as error:
        _log.debug("no layer cache: %s", error)
        return load_layer(semantic_dir, connection_id)
    try:
        kept = _kept(connection, connection_id, mark)
        if kept is not None:
            return kept
        layer = load_layer(semantic_dir, connection_id)
        _keep(connection, layer, mark)
    except sqlite.Error as error:
        _log.debug("layer cache failed: %s", error)
        layer = load_layer(semantic_dir, connection_id)
    connection.close()
    return layer


def _opened(path: Path) -> sqlite.Connection:
    """Open the state file; one that is no database, or of another ktx, is begun anew."""
    try:
        return sqlite.open_state(path, migrations=_MIGRATIONS)
    except sqlite.OperationalError:
        raise
    except sqlite.DatabaseError:
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        return sqlite.open_state(path, migrations=_MIGRATIONS)


def _kept(connection: sqlite.Connection, connection_id: str, mark: str) -> Layer | None:
    sql = "SELECT names, outline, findings FROM layer WHERE connection = ? AND mark = ?"
    connection.execute("BEGIN")
    row: tuple[str, str, str] | None = connection.execute(sql, (connection_id, mark)).fetchone()
    if row is None:
        connection.execute("ROLLBACK")
        return None
    findings, broken = unpack_findings(row[2])
    names: list[str] = json.loads(row[0])
    outline: dict[str, list[list[str | None]]] = json.loads(row[1])
    return Layer(
        connection_id=connection_id,
        sources=KeptSources(connection, connection_id, names),
        findings=findings,
        broken=broken,
        kept_outline={
            name: tuple((str(target), alias) for target, alias in joins) for name, joins in outline.items()
        },
    )


def _keep(connection: sqlite.Connection, layer: Layer, mark: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("DELETE FROM source WHERE connection = ?", (layer.connection_id,))
        connection.executemany(
            "INSERT INTO source VALUES (?, ?, ?)",
            ((layer.connection_id, name, pack_source(source)) for name, source in layer.sources.items()),
        )
        connection.execute(
            "INSERT OR REPLACE INTO layer VALUES (?, ?, ?, ?, ?)",
            (
                layer.connection_id,
                mark,
                json.dumps(sorted(layer.sources)),
                json.dumps(layer.outline),
                pack_findings(layer.findings, layer.broken),
            ),
        )
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
