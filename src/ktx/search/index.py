"""The index file `.ktx/index.sqlite`: documents, their words, sampled values. Derived from files; deleting it loses nothing.

Which documents a question may find is a condition of the query; a search never adds or removes a row.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ktx.errors import ConfigError
from ktx.search.documents import Document, Hidden, meaning_digest
from ktx.search.text import fold, name_parts, split_text
from ktx.sqlite import Connection, DatabaseError, OperationalError, open_state

DERIVATION = "2"
"""Counts up when the same file gives other documents than before; an index of another count is built anew."""

FILES_SEEN = "files_seen"
"""The setting with the mark of all files when they were last found unchanged, long enough after they were written."""

_BATCH = 500
_REVISION = "revision"
_SCHEMA = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE file (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, mtime_ns INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    digest TEXT NOT NULL, seen_ns INTEGER NOT NULL
);
CREATE TABLE document (
    id INTEGER PRIMARY KEY, file_id INTEGER NOT NULL, kind TEXT NOT NULL, ref TEXT NOT NULL, connection_id TEXT, source TEXT,
    user_id TEXT, summary TEXT NOT NULL, detail TEXT NOT NULL, table_ref TEXT, column_name TEXT, is_always INTEGER NOT NULL,
    is_findable INTEGER NOT NULL, sort_order INTEGER NOT NULL
);
CREATE INDEX document_file ON document (file_id);
CREATE INDEX document_ref ON document (kind, ref, connection_id);
CREATE TABLE page_connection (document_id INTEGER NOT NULL, connection_id TEXT NOT NULL, PRIMARY KEY (document_id, connection_id))
    WITHOUT ROWID;
CREATE TABLE hidden (file_id INTEGER NOT NULL, connection_id TEXT NOT NULL, ref TEXT NOT NULL);
CREATE INDEX hidden_ref ON hidden (ref, connection_id);
CREATE INDEX hidden_file ON hidden (file_id);
CREATE VIRTUAL TABLE page_words USING fts5 (name, about, body, tokenize = 'porter unicode61 remove_diacritics 2');
CREATE VIRTUAL TABLE layer_words USING fts5 (name, about, body, tokenize = 'porter unicode61 remove_diacritics 2');
INSERT INTO page_words (page_words, rank) VALUES ('rank', 'bm25(8.0, 3.0, 1.0)');
INSERT INTO layer_words (layer_words, rank) VALUES ('rank', 'bm25(8.0, 3.0, 1.0)');
CREATE TABLE word (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE);
CREATE VIRTUAL TABLE word_parts USING fts5 (word, content = 'word', content_rowid = 'id', tokenize = 'trigram', detail = 'full');
CREATE TABLE value_stamp (connection_id TEXT PRIMARY KEY, stamp TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE value (
    id INTEGER PRIMARY KEY, connection_id TEXT NOT NULL, source TEXT NOT NULL, column_name TEXT NOT NULL, value TEXT NOT NULL,
    folded TEXT NOT NULL, cardinality INTEGER
);
CREATE INDEX value_folded ON value (folded, connection_id);
CREATE INDEX value_connection ON value (connection_id);
CREATE VIRTUAL TABLE value_words USING fts5 (value, tokenize = 'unicode61 remove_diacritics 2');
"""

_VECTORS = """
ALTER TABLE document ADD COLUMN meaning BLOB;
CREATE TABLE vector_model (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
CREATE TABLE vector (id INTEGER PRIMARY KEY, model_id INTEGER NOT NULL, meaning BLOB NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX vector_meaning ON vector (model_id, meaning);
"""
_ALWAYS = "CREATE INDEX document_always ON document (sort_order, ref) WHERE is_always = 1;"


class KnownFile(NamedTuple):
    """A file as the index last saw it; `seen_ns` is when it was read, by the file system's clock. A tuple, for there are many."""

    path: str
    id: int
    mtime_ns: int
    size_bytes: int
    digest: str
    seen_ns: int


@dataclass(frozen=True, kw_only=True)
class ColumnValues:
    """The sampled values of one column, most frequent first; `cardinality` is its number of distinct values, if known."""

    source: str
    column: str
    values: tuple[str, ...]
    cardinality: int | None = None


@dataclass(frozen=True, kw_only=True)
class FileContent:
    """A file with everything that it gives."""

    path: str
    mtime_ns: int
    size_bytes: int
    digest: str
    seen_ns: int
    documents: Sequence[Document]
    hidden: Sequence[Hidden]


class Index:
    """An open index file. Close it, or use it in a `with` block."""

    def __init__(self, connection: Connection, path: Path) -> None:
        self.connection = connection
        self.path = path

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def writing(self) -> Generator[None]:
        """Hold the one write transaction of the file: all of it happens, or nothing does."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise

    def setting(self, name: str) -> str | None:
        """Give a stored setting."""
        row = self.connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_setting(self, name: str, value: str) -> None:
        """Store a setting."""
        self.connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))

    def revision(self) -> int:
        """Count the changes of what can be found, so that what was read of it can be kept until the next one."""
        return int(self.setting(_REVISION) or 0)

    def bump_revision(self) -> None:
        """Note that something changed; call it inside `writing`."""
        self.set_setting(_REVISION, str(self.revision() + 1))

    def files(self) -> dict[str, KnownFile]:
        """Give every file the index knows, by its path relative to the project."""
        rows = self.connection.execute("SELECT path, id, mtime_ns, size_bytes, digest, seen_ns FROM file")
        return {row[0]: KnownFile._make(row) for row in rows.fetchall()}

    def count_documents(self) -> dict[str, int]:
        """Count the documents by kind."""
        rows = self.connection.execute("SELECT kind, count(*) FROM document GROUP BY kind ORDER BY kind")
        return {str(kind): int(count) for kind, count in rows}

    def highest_id(self) -> int:
        """Give the highest number of a document: about how many there are, without counting them."""
        return int(self.connection.execute("SELECT coalesce(max(id), 0) FROM document").fetchone()[0])

    def touch_file(self, number: int, *, mtime_ns: int, size_bytes: int, seen_ns: int) -> None:
        """Note that a file was looked at and holds what it held."""
        self.connection.execute(
            "UPDATE file SET mtime_ns = ?, size_bytes = ?, seen_ns = ? WHERE id = ?",
            (mtime_ns, size_bytes, seen_ns, number),
        )

    def remove_file(self, number: int) -> None:
        """Forget a file and everything that came from it."""
        run = self.connection.execute
        for table in ("page_words", "layer_words"):
            run(f"DELETE FROM {table} WHERE rowid IN (SELECT id FROM document WHERE file_id = ?)", (number,))  # noqa: S608
        run(
            "DELETE FROM page_connection WHERE document_id IN (SELECT id FROM document WHERE file_id = ?)",
            (number,),
        )
        run("DELETE FROM document WHERE file_id = ?", (number,))
        run("DELETE FROM hidden WHERE file_id = ?", (number,))
        run("DELETE FROM file WHERE id = ?", (number,))

    def clear(self) -> None:
        """Forget everything but vectors, which belong to texts: the same texts will not be computed again."""
        for table in (
            "file",
            "document",
            "page_connection",
            "hidden",
            "page_words",
            "layer_words",
            "value",
            "value_words",
            "value_stamp",
        ):
            self.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a closed list of our own names
        self.connection.execute("INSERT INTO word_parts (word_parts) VALUES ('delete-all')")
        self.connection.execute("DELETE FROM word")
        self.set_setting(FILES_SEEN, "")

    def add_files(self, files: Iterable[FileContent]) -> None:
        """Add files that the index does not hold, with everything that they give."""
        one = self.connection.execute
        number = int(one("SELECT coalesce(max(id), 0) FROM file").fetchone()[0])
        at = int(one("SELECT coalesce(max(id), 0) FROM document").fetchone()[0])
        names = {str(row[0]) for row in one("SELECT word FROM word")}
        for batch in _batches(files, size=_BATCH):
            rows: list[tuple[object, ...]] = []
            words: dict[bool, list[tuple[object, ...]]] = {True: [], False: []}
            pages: list[tuple[object, ...]] = []
            heads: list[tuple[object, ...]] = []
            hidden: list[tuple[object, ...]] = []
            new: dict[str, None] = {}
            for file in batch:
                number += 1
                heads.append((number, file.path, file.mtime_ns, file.size_bytes, file.digest, file.seen_ns))
                hidden.extend((number, gone.connection_id, gone.ref) for gone in file.hidden)
                for document in file.documents:
                    at += 1
                    is_page = document.kind == "wiki"
                    connection = None if is_page or not document.connections else document.connections[0]
                    rows.append((
                        at, number, document.kind, document.ref, connection, document.source, document.user_id,
                        document.summary, document.detail, document.table, document.column, document.is_always,
                        document.is_findable, document.sort_order, meaning_digest(document),
                    ))  # fmt: skip
                    words[is_page].append((at, document.name_words, document.about, document.body))
                    if is_page:
                        pages.extend((at, name) for name in document.connections)
                    new.update(dict.fromkeys(name_parts(document.name_words)))
            run = self.connection.executemany
            run("INSERT INTO file VALUES (?, ?, ?, ?, ?, ?)", heads)
            run("INSERT INTO document VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            run("INSERT INTO page_words (rowid, name, about, body) VALUES (?, ?, ?, ?)", words[True])
            run("INSERT INTO layer_words (rowid, name, about, body) VALUES (?, ?, ?, ?)", words[False])
            run("INSERT OR IGNORE INTO page_connection VALUES (?, ?)", pages)
            run("INSERT INTO hidden VALUES (?, ?, ?)", hidden)
            self._add_words([name for name in new if name not in names])
            names.update(new)

    def value_stamp(self, connection_id: str) -> str | None:
        """Give the stamp under which the values of a connection were stored."""
        row = self.connection.execute(
            "SELECT stamp FROM value_stamp WHERE connection_id = ?", (connection_id,)
        ).fetchone()
        return None if row is None else str(row[0])

    def value_connections(self) -> frozenset[str]:
        """Name the connections that have values in the index."""
        return frozenset(
            str(row[0]) for row in self.connection.execute("SELECT connection_id FROM value_stamp")
        )

    def remove_values(self, connection_id: str) -> None:
        """Forget the sampled values of a connection."""
        run = self.connection.execute
        run(
            "DELETE FROM value_words WHERE rowid IN (SELECT id FROM value WHERE connection_id = ?)",
            (connection_id,),
        )
        run("DELETE FROM value WHERE connection_id = ?", (connection_id,))
        run("DELETE FROM value_stamp WHERE connection_id = ?", (connection_id,))

    def replace_values(self, connection_id: str, columns: Iterable[ColumnValues], *, stamp: str) -> None:
        """Store the sampled values of a connection in place of the old ones."""
        self.remove_values(connection_id)
        at = int(self.connection.execute("SELECT coalesce(max(id), 0) FROM value").fetchone()[0])
        rows: list[tuple[object, ...]] = []
        words: list[tuple[object, ...]] = []
        for column in columns:
            for value in column.values:
                at += 1
                rows.append(
                    (at, connection_id, column.source, column.column, value, fold(value), column.cardinality)
                )
                words.append((at, split_text(value)))
        self.connection.executemany("INSERT INTO value VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self.connection.executemany("INSERT INTO value_words (rowid, value) VALUES (?, ?)", words)
        self.connection.execute("INSERT INTO value_stamp VALUES (?, ?)", (connection_id, stamp))

    def _add_words(self, names: list[str]) -> None:
        first = int(self.connection.execute("SELECT coalesce(max(id), 0) + 1 FROM word").fetchone()[0])
        rows = list(enumerate(names, start=first))
        self.connection.executemany("INSERT INTO word (id, word) VALUES (?, ?)", rows)
        self.connection.executemany("INSERT INTO word_parts (rowid, word) VALUES (?, ?)", rows)


def open_index(path: Path) -> Index:
    """Open the index, creating it when it is missing, and building it anew when it is damaged or of another ktx.

    Raises:
        ConfigError: the file cannot be written.
    """
    for attempt in range(2):
        try:
            index = Index(open_state(path, migrations=(_SCHEMA, _ALWAYS, _VECTORS)), path)
        except (OperationalError, OSError) as error:
            message = f"The search index `{path}` cannot be opened: {error}."
            raise ConfigError(message, hint="Make the project's `.ktx` folder writable.") from error
        except DatabaseError:
            if attempt == 1:
                raise
            _delete(path)
            continue
        if index.setting("derivation") not in (DERIVATION, None):
            with index.writing():
                index.clear()
        index.set_setting("derivation", DERIVATION)
        return index
    raise AssertionError(path)


def _batches(files: Iterable[FileContent], *, size: int) -> Iterator[list[FileContent]]:
    iterator = iter(files)
    while batch := list(islice(iterator, size)):
        yield batch


def _delete(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
