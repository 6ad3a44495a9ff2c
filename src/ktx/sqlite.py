"""SQLite for ktx's own state in `.ktx/`: one way to open a file, with WAL and numbered migrations.

This module is the only importer of `sqlite3`; the SQLite warehouse driver reaches it through here.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ktx.errors import OutsideError

Connection = sqlite3.Connection
Error = sqlite3.Error
OperationalError = sqlite3.OperationalError
DatabaseError = sqlite3.DatabaseError

_READING = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_DESCRIBING = frozenset(
    {
        "data_version",
        "foreign_key_list",
        "index_info",
        "index_list",
        "index_xinfo",
        "table_info",
        "table_list",
        "table_xinfo",
    }
)
_STEPS_BETWEEN_CHECKS = 2_000
_UNWRITABLE = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
)


class UnwritableError(OutsideError, sqlite3.OperationalError):
    """A state file cannot be written now: the disk is full, or it may not be written."""


class _State(sqlite3.Connection):
    """A state file whose failures for want of space or permission are told as such."""

    path: Path

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql == "ROLLBACK" and not self.in_transaction:  # SQLite ends it by itself where the disk is full
            return self.cursor()
        try:
            return super().execute(sql, parameters)
        except sqlite3.OperationalError as error:
            raise self._told(error) from error

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        try:
            return super().executemany(sql, parameters)
        except sqlite3.OperationalError as error:
            raise self._told(error) from error

    def _told(self, error: sqlite3.OperationalError) -> sqlite3.OperationalError:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _UNWRITABLE:
            return error
        return UnwritableError(
            f"`{self.path}` cannot be written: {error}.",
            hint="Check free space and permissions, then run again; what is kept is not asked for again.",
        )


def open_state(path: Path, *, migrations: Sequence[str], timeout_s: float = 30.0) -> Connection:
    """Open a state file, creating it and running the migrations it has not seen.

    `migrations` is an append-only list of SQL scripts; `PRAGMA user_version` counts those already run. The connection is
    in autocommit mode and may be used from any thread, by one thread at a time. A new file is readable by its owner alone: it
    may hold values of a warehouse.

    Raises:
        sqlite3.DatabaseError: the file is not a database, or was written by a newer ktx.
        UnwritableError: it cannot be written; so does every statement later.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)  # SQLite gives the files beside it the same permissions
    connection = sqlite3.connect(
        path, timeout=timeout_s, isolation_level=None, check_same_thread=False, factory=_State
    )
    connection.path = path
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        _migrate(connection, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def open_read_only(path: Path, *, timeout_s: float = 5.0) -> Connection:
    """Open somebody else's database so that no statement can write, attach, or change a setting.

    Two locks: the file is opened in mode `ro`, and SQLite asks an allow-list before it compiles a statement: reading,
    functions (except loading extensions), and the pragmas that describe tables. `mode=ro` alone would still let ATTACH
    create another file.

    Raises:
        sqlite3.OperationalError: there is no such file, or it cannot be opened.
    """
    address = f"{path.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(
        address, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = _lenient_text
    connection.set_authorizer(_allow_reading)
    return connection


def stop_when(connection: Connection, is_over: Callable[[], bool]) -> None:
    """Interrupt the running statement as soon as `is_over` says so; it is asked every few microseconds of work."""
    connection.set_progress_handler(is_over, _STEPS_BETWEEN_CHECKS)


def is_interrupt(error: Error) -> bool:
    """Tell whether a statement ended because it was interrupted."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT


def is_lock(error: Error) -> bool:
    """Tell whether another program holds the database."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _allow_reading(
    action: int, first: str | None, second: str | None, database: str | None, trigger: str | None
) -> int:
    del database, trigger
    if action == sqlite3.SQLITE_FUNCTION and second == "load_extension":
        return sqlite3.SQLITE_DENY
    if action in _READING or (action == sqlite3.SQLITE_PRAGMA and first in _DESCRIBING):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":
        return (
            sqlite3.SQLITE_OK
        )  # how SQLite announces a virtual table on first use; the schema itself stays read-only
    return sqlite3.SQLITE_DENY


def _lenient_text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _migrate(connection: Connection, migrations: Sequence[str]) -> None:
    if _version(connection) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        seen = _version(connection)
        if seen > len(migrations):
            message = f"state file has schema version {seen}, this ktx knows {len(migrations)}"
            raise sqlite3.DatabaseError(message)
        for script in migrations[seen:]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> list[str]:
    """Split a migration script at statement ends (`executescript` would commit the transaction around it)."""
    found: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    if pending.strip():
        found.append(pending)
    return found
