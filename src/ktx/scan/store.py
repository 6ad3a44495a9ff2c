"""What scans remember in `.ktx/scan.sqlite`: the catalog, profiles with their sampled values, relationships with their
evidence, and descriptions that a model was paid for. Local, never in git, and deletable: a scan finds it all again, except
for the paid texts, which it would have to pay for again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from ktx import sqlite
from ktx.catalog import Catalog, Relationship, TableProfile, TableRef
from ktx.errors import ConfigError
from ktx.files import digest

FILE_NAME = "scan.sqlite"
MAX_VALUES = 100

_MIGRATIONS = (
    """
    CREATE TABLE catalog (connection_id TEXT PRIMARY KEY, body TEXT NOT NULL);
    CREATE TABLE profile (
        connection_id TEXT NOT NULL, table_ref TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (connection_id, table_ref)
    );
    CREATE TABLE relationships (connection_id TEXT PRIMARY KEY, body TEXT NOT NULL);
    CREATE TABLE description (key TEXT PRIMARY KEY, body TEXT NOT NULL);
    """,
)
_CATALOG = TypeAdapter(Catalog)
_PROFILE = TypeAdapter(TableProfile)
_RELATIONSHIPS = TypeAdapter(tuple[Relationship, ...])
_REF = TypeAdapter(TableRef)
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class ColumnValues:
    """The values of a text column that has few, most frequent first."""

    table: TableRef
    column: str
    values: tuple[str, ...]
    distinct_count: int


class ScanStore:
    """The state file, open. Writes leave what is equal alone, so that a scan without news changes nothing."""

    def __init__(self, connection: sqlite.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> "ScanStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def catalog(self, connection_id: str) -> Catalog | None:
        """Give the catalog of the last scan."""
        body = self._body("SELECT body FROM catalog WHERE connection_id = ?", connection_id)
        return _load(_CATALOG.validate_json, body)

    def profiles(self, connection_id: str) -> dict[TableRef, TableProfile]:
        """Give the profiles of the last scan."""
        rows = self._connection.execute("SELECT body FROM profile WHERE connection_id = ?", (connection_id,))
        loaded = (_load(_PROFILE.validate_json, str(body)) for (body,) in rows)
        return {profile.ref: profile for profile in loaded if profile is not None}

    def relationships(self, connection_id: str) -> tuple[Relationship, ...]:
        """Give the relationships of the last scan: accepted, for review and refuted, with their evidence."""
        body = self._body("SELECT body FROM relationships WHERE connection_id = ?", connection_id)
        return _load(_RELATIONSHIPS.validate_json, body) or ()

    def column_values(self, connection_id: str) -> Iterator[ColumnValues]:
        """Give the value dictionary: up to 100 values of each text column that has no more than that."""
        for ref, profile in sorted(self.profiles(connection_id).items()):
            for column in profile.columns:
                if column.top_values and column.distinct_count <= MAX_VALUES:
                    yield ColumnValues(
                        table=ref,
                        column=column.name,
                        values=tuple(value for value, _ in column.top_values[:MAX_VALUES]),
                        distinct_count=column.distinct_count,
                    )

    def values_stamp(self, connection_id: str) -> str:
        """Give a text that changes when the value dictionary may have."""
        rows = self._connection.execute(
            "SELECT body FROM profile WHERE connection_id = ? ORDER BY table_ref", (connection_id,)
        )
        return digest("\n".join(str(body) for (body,) in rows))

    def save(
        self,
        catalog: Catalog,
        profiles: Mapping[TableRef, TableProfile],
        relationships: Iterable[Relationship],
    ) -> bool:
        """Replace what is known of a connection, in one transaction, and give whether anything differed."""
        connection_id = catalog.connection_id
        wanted = {_key(ref): _PROFILE.dump_json(profile).decode() for ref, profile in profiles.items()}
        stored = {
            str(ref): str(body)
            for ref, body in self._connection.execute(
                "SELECT table_ref, body FROM profile WHERE connection_id = ?", (connection_id,)
            )
        }
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            is_changed = self._replace("catalog", connection_id, _CATALOG.dump_json(catalog).decode())
            found = _RELATIONSHIPS.dump_json(tuple(relationships)).decode()
            is_changed |= self._replace("relationships", connection_id, found)
            for ref, body in wanted.items():
                if stored.get(ref) != body:
                    self._connection.execute(
                        "INSERT OR REPLACE INTO profile VALUES (?, ?, ?)", (connection_id, ref, body)
                    )
                    is_changed = True
            for ref in stored.keys() - wanted.keys():
                self._connection.execute(
                    "DELETE FROM profile WHERE connection_id = ? AND table_ref = ?", (connection_id, ref)
                )
                is_changed = True
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT" if is_changed else "ROLLBACK")
        return is_changed

    def description(self, key: str) -> str | None:
        """Give the model's answer that was kept under a key, as JSON text."""
        return self._body("SELECT body FROM description WHERE key = ?", key)

    def keep_description(self, key: str, body: str) -> None:
        """Keep a model's answer at once, so that it is never paid for twice."""
        self._connection.execute("INSERT OR REPLACE INTO description VALUES (?, ?)", (key, body))

    def _replace(self, table: str, connection_id: str, body: str) -> bool:
        selects = {
            "catalog": "SELECT body FROM catalog WHERE connection_id = ?",
            "relationships": "SELECT body FROM relationships WHERE connection_id = ?",
        }
        writes = {
            "catalog": "INSERT OR REPLACE INTO catalog VALUES (?, ?)",
            "relationships": "INSERT OR REPLACE INTO relationships VALUES (?, ?)",
        }
        if self._body(selects[table], connection_id) == body:
            return False
        self._connection.execute(writes[table], (connection_id, body))
        return True

    def _body(self, statement: str, key: str) -> str | None:
        row = self._connection.execute(statement, (key,)).fetchone()
        return str(row[0]) if row else None


def open_store(state_dir: Path) -> ScanStore:
    """Open the state file under `.ktx/`, making it when there is none.

    Raises:
        ConfigError: the file is damaged or was written by a newer ktx.
    """
    path = state_dir / FILE_NAME
    try:
        return ScanStore(sqlite.open_state(path, migrations=_MIGRATIONS))
    except sqlite.UnwritableError:
        raise
    except sqlite.DatabaseError as error:
        message = f"`{path}` cannot be used: {error}."
        raise ConfigError(message, hint="Delete the file; the next `ktx ingest` makes it anew.") from error


def _key(ref: TableRef) -> str:
    return _REF.dump_json(ref).decode()


def _load(parse: Callable[[str], Value], body: str | None) -> Value | None:
    """Parse a stored body; one of another shape (an older ktx) counts as absent."""
    if body is None:
        return None
    try:
        return parse(body)
    except ValidationError:
        return None
