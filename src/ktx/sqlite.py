"""SQLite for ktx's own state in `.ktx/`: one way to open a file, with WAL and numbered migrations.

This module is the only importer of `sqlite3`; the SQLite warehouse driver reaches it through here.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

Connection = sqlite3.Connection
Error = sqlite3.Error
OperationalError = sqlite3.OperationalError
DatabaseError = sqlite3.DatabaseError


def open_state(path: Path, *, migrations: Sequence[str], timeout_s: float = 30.0) -> Connection:
    """Open a state file, creating it and running the migrations it has not seen.

    `migrations` is an append-only list of SQL scripts; `PRAGMA user_version` counts those already run. The connection is
    in autocommit mode and may be used from any thread, by one thread at a time.

    Raises:
        sqlite3.DatabaseError: the file is not a database, or was written by a newer ktx.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        _migrate(connection, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


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
