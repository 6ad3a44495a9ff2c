"""What ingests of context sources remember in `.ktx/ingest.sqlite`: runs with their reports, finished units, paid answers of
unfinished ones, digests of what has landed, and what sources need not fetch again. Local and deletable; what was paid for
would have to be paid again.
"""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

from ktx import sqlite
from ktx.errors import ConfigError
from ktx.ingest.artifact import Json

FILE_NAME: Final = "ingest.sqlite"
RunStatus: TypeAlias = Literal["queued", "running", "done", "partial", "failed", "interrupted"]
_KEPT_RUNS: Final = 200

_MIGRATIONS: Final = (
    """
    CREATE TABLE run (
        id TEXT PRIMARY KEY, source TEXT NOT NULL, started_at TEXT NOT NULL, ended_at TEXT, pid INTEGER NOT NULL,
        process TEXT NOT NULL, status TEXT NOT NULL, stage TEXT NOT NULL, commit_id TEXT, body TEXT NOT NULL
    );
    CREATE INDEX run_by_time ON run (started_at);
    CREATE TABLE document (source TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (source, id));
    CREATE TABLE unit (key TEXT PRIMARY KEY, source TEXT NOT NULL, body TEXT NOT NULL);
    CREATE TABLE answer (scope TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (scope, key));
    CREATE TABLE shelf (source TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (source, key));
    """,
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run as it is remembered. `body` is its report; a queued or running one has what is known so far.

    A run that is queued or running belongs to a process that lives; the others of these are told as interrupted.
    """

    id: str
    source: str
    started_at: str
    ended_at: str | None
    status: RunStatus
    stage: str
    commit: str | None
    body: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class _Scope:
    """Texts by key under one name, in the table `answer`."""

    store: "RunStore"
    scope: str

    def get(self, key: str) -> str | None:
        """Give what is kept under `key`."""
        return self.store.text("SELECT body FROM answer WHERE scope = ? AND key = ?", self.scope, key)

    def put(self, key: str, text: str) -> None:
        """Keep a text; it is on disk once this returns."""
        self.store.write("INSERT OR REPLACE INTO answer VALUES (?, ?, ?)", self.scope, key, text)

    def size(self) -> int:
        """Count what is kept under this name."""
        return int(self.store.text("SELECT count(*) FROM answer WHERE scope = ?", self.scope) or 0)

    def forget(self) -> None:
        """Drop everything under this name."""
        self.store.write("DELETE FROM answer WHERE scope = ?", self.scope)


@dataclass(frozen=True, kw_only=True)
class _StoredShelf:
    """The shelf of one source."""

    store: "RunStore"
    source: str

    def get(self, key: str) -> str | None:
        """Give what was put under `key`."""
        return self.store.text("SELECT body FROM shelf WHERE source = ? AND key = ?", self.source, key)

    def put(self, key: str, text: str) -> None:
        """Keep a text under `key`."""
        self.store.write("INSERT OR REPLACE INTO shelf VALUES (?, ?, ?)", self.source, key, text)


class RunStore:
    """The state file, open."""

    def __init__(self, connection: sqlite.Connection, *, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    def __enter__(self) -> "RunStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # -- runs --------------------------------------------------------------------------------------------------------

    def begin(
        self, source: str, *, body: Mapping[str, Json], run_id: str | None = None, is_queued: bool = False
    ) -> str:
        """Write down that a run has begun, or waits for its turn in this process, and give its id."""
        now = self._now().astimezone(UTC)
        made = run_id or f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        self.write(
            "INSERT OR REPLACE INTO run VALUES (?, ?, ?, NULL, ?, ?, ?, ?, NULL, ?)",
            made,
            source,
            now.isoformat(timespec="seconds"),
            os.getpid(),
            process_mark(os.getpid()) or "",
            "queued" if is_queued else "running",
            "queued" if is_queued else "read",
            _dump(body),
        )
        self.write(
            "DELETE FROM run WHERE id IN (SELECT id FROM run ORDER BY started_at DESC, rowid DESC LIMIT -1 OFFSET ?)",
            _KEPT_RUNS,
        )
        return made

    def stage(self, run_id: str, stage: str) -> None:
        """Write down how far a run is."""
        self.write("UPDATE run SET stage = ? WHERE id = ?", stage, run_id)

    def end(self, run_id: str, *, status: RunStatus, commit: str | None, body: Mapping[str, Json]) -> None:
        """Write down how a run ended."""
        self.write(
            "UPDATE run SET ended_at = ?, status = ?, commit_id = ?, body = ? WHERE id = ?",
            self._now().astimezone(UTC).isoformat(timespec="seconds"),
            status,
            commit,
            _dump(body),
            run_id,
        )

    def run(self, run_id: str) -> Run | None:
        """Give a run by its id, or by the beginning of it where that is unique."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM run WHERE id = ? OR substr(id, 1, ?) = ? LIMIT 2",  # noqa: S608 - our own column names
            (run_id, len(run_id), run_id),
        ).fetchall()
        exact = [row for row in rows if row[0] == run_id]
        chosen = exact or (rows if len(rows) == 1 else [])
        return _run(chosen[0]) if chosen else None

    def runs(self, *, limit: int = 50, source: str | None = None) -> tuple[Run, ...]:
        """Give runs, the newest first."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM run WHERE ? IS NULL OR source = ? ORDER BY started_at DESC, rowid DESC LIMIT ?",  # noqa: S608 - our own column names
            (source, source, limit),
        )
        return tuple(_run(row) for row in rows)

    def run_ids(self) -> tuple[str, ...]:
        """Give the ids of all runs that are remembered, the newest first."""
        rows = self._connection.execute("SELECT id FROM run ORDER BY started_at DESC, rowid DESC")
        return tuple(str(id_) for (id_,) in rows)

    # -- what is kept between runs -----------------------------------------------------------------------------------

    def digests(self, source: str) -> dict[str, str]:
        """Give the digest of each document of a source as it last landed."""
        rows = self._connection.execute("SELECT id, digest FROM document WHERE source = ?", (source,))
        return {str(id_): str(found) for id_, found in rows}

    def land(self, source: str, digests: Mapping[str, str], *, is_complete: bool) -> None:
        """Remember what has landed; documents that are not named are forgotten only when the snapshot is complete."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if is_complete:
                self._connection.execute("DELETE FROM document WHERE source = ?", (source,))
            self._connection.executemany(
                "INSERT OR REPLACE INTO document VALUES (?, ?, ?)",
                [(source, id_, found) for id_, found in sorted(digests.items())],
            )
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise

    def unit(self, key: str) -> dict[str, Json] | None:
        """Give a finished unit's result."""
        text = self.text("SELECT body FROM unit WHERE key = ?", key)
        return None if text is None else cast("dict[str, Json]", json.loads(text))

    def finish_unit(self, key: str, source: str, result: Mapping[str, Json]) -> None:
        """Keep a unit's result; it is on disk once this returns, and its single answers are no longer needed."""
        self.write("INSERT OR REPLACE INTO unit VALUES (?, ?, ?)", key, source, _dump(result))
        self.scope(key).forget()

    def scope(self, name: str) -> _Scope:
        """Give a place for paid answers."""
        return _Scope(store=self, scope=name)

    def shelf(self, source: str) -> _StoredShelf:
        """Give the shelf of a source."""
        return _StoredShelf(store=self, source=source)

    def text(self, query: str, *values: str | int | None) -> str | None:
        """Give the one text that a query finds."""
        row = self._connection.execute(query, values).fetchone()
        return None if row is None else str(row[0])

    def write(self, statement: str, *values: str | int | None) -> None:
        """Run one statement that writes."""
        self._connection.execute(statement, values)


_COLUMNS: Final = "id, source, started_at, ended_at, pid, process, status, stage, commit_id, body"


def open_runs(state_dir: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> RunStore:
    """Open the state file, making it if need be.

    Raises:
        ConfigError: the file is not ours, or was written by a newer ktx.
    """
    path = state_dir / FILE_NAME
    try:
        return RunStore(sqlite.open_state(path, migrations=_MIGRATIONS), now=now)
    except sqlite.UnwritableError:
        raise
    except sqlite.DatabaseError as error:
        raise ConfigError(
            f"`{path}` cannot be used: {error}.", hint="Delete it; the next ingest makes it anew."
        ) from error


def process_mark(pid: int) -> str | None:
    """Give what tells a process from a later one of the same number, where the system says so; None when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        # one that is dead stays listed until its parent has asked how it ended, which not every parent does
        return None if fields[0] in ("Z", "X") else fields[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return ""
    return ""


def _run(row: tuple[object, ...]) -> Run:
    id_, source, started_at, ended_at, pid, process, status, stage, commit, body = row
    told = cast("RunStatus", status)
    if told in ("queued", "running") and process_mark(int(str(pid))) != (str(process) or ""):
        told = "interrupted"
    return Run(
        id=str(id_),
        source=str(source),
        started_at=str(started_at),
        ended_at=None if ended_at is None else str(ended_at),
        status=told,
        stage=str(stage),
        commit=None if commit is None else str(commit),
        body=cast("dict[str, Json]", json.loads(str(body))),
    )


def _dump(body: Mapping[str, Json]) -> str:
    return json.dumps(body, ensure_ascii=False, sort_keys=True)
