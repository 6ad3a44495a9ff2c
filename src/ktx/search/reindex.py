"""Bringing the index up to date: look at every file's stat, read only what may have changed, rewrite only what did."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ktx.errors import LayerError
from ktx.files import digest
from ktx.names import is_page_key
from ktx.search.documents import (
    Document,
    Hidden,
    manifest_documents,
    page_document,
    source_documents,
)
from ktx.search.index import ColumnValues, FileContent, Index, KnownFile
from ktx.wiki.page import parse_page
from ktx.yaml import YamlError, parse_yaml

_MANIFEST_FOLDER = "_schema"
_SETTLED_NS = 2_000_000_000
"""A file written this close to when it was read may have changed again under the same time stamp."""


@dataclass(frozen=True, kw_only=True)
class ValueBatch:
    """The sampled values of one connection as the scan store holds them; `read` runs only when `stamp` is new."""

    connection_id: str
    stamp: str
    read: Callable[[], Iterable[ColumnValues]]


@dataclass(frozen=True, kw_only=True)
class RefreshReport:
    """What a refresh did, in files; `skipped` could not be read and are not in the index."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: tuple[str, ...] = ()
    value_connections: tuple[str, ...] = ()
    wall_s: float = 0.0

    @property
    def is_current(self) -> bool:
        """Whether nothing had to be written."""
        return not (self.added or self.changed or self.removed or self.value_connections)


@dataclass(frozen=True, kw_only=True)
class _Seen:
    mtime_ns: int
    size_bytes: int


@dataclass(kw_only=True)
class _Tally:
    """What a refresh counts while it runs."""

    added: int = 0
    changed: int = 0
    skipped: list[str] = field(default_factory=list[str])


def refresh(
    index: Index, root: Path, *, values: Sequence[ValueBatch] | None = None, force: bool = False
) -> RefreshReport:
    """Bring the index to what `wiki/` and `semantic-layer/` under `root` hold now; `force` rebuilds it.

    `values` names the sampled values of every connection; None leaves those in the index as they are. When nothing changed,
    nothing is written and no file is opened.
    """
    started = time.monotonic()
    seen = dict(_walk(root))
    known = index.files()
    batches = [b for b in values or () if force or index.value_stamp(b.connection_id) != b.stamp]
    gone = (
        index.value_connections() - {b.connection_id for b in values}
        if values is not None
        else frozenset[str]()
    )
    suspects = [path for path, stat in seen.items() if _may_differ(known.get(path), stat)]
    if not (force or suspects or batches or gone or known.keys() - seen.keys()):
        return RefreshReport(unchanged=len(seen), wall_s=time.monotonic() - started)
    with index.writing():
        if force:
            index.clear()
        known = index.files()
        removed = [path for path in known if path not in seen]
        for path in removed:
            index.remove_file(known[path].id)
        tally = _Tally()
        index.add_files(_contents(index, root, seen, known, tally))
        for batch in batches:
            index.replace_values(batch.connection_id, batch.read(), stamp=batch.stamp)
        for connection_id in gone:
            index.remove_values(connection_id)
        index.bump_revision()
    return RefreshReport(
        added=tally.added,
        changed=tally.changed,
        unchanged=len(seen) - tally.added - tally.changed,
        removed=len(removed),
        skipped=tuple(tally.skipped),
        value_connections=tuple(sorted({*(batch.connection_id for batch in batches), *gone})),
        wall_s=time.monotonic() - started,
    )


def _may_differ(known: KnownFile | None, stat: _Seen) -> bool:
    if known is None or (known.mtime_ns, known.size_bytes) != (stat.mtime_ns, stat.size_bytes):
        return True
    return known.seen_ns - known.mtime_ns < _SETTLED_NS


def _contents(
    index: Index, root: Path, seen: Mapping[str, _Seen], known: Mapping[str, KnownFile], tally: _Tally
) -> Iterator[FileContent]:
    """Read what may differ; give what does, with the old version already forgotten."""
    for path, stat in seen.items():
        old = known.get(path)
        if not _may_differ(old, stat):
            continue
        now = time.time_ns()
        try:
            data = (root / path).read_bytes()
        except OSError:
            tally.skipped.append(path)
            data = b""
        content = digest(data)
        if old is not None and old.digest == content:
            index.touch_file(old.id, mtime_ns=stat.mtime_ns, size_bytes=stat.size_bytes, seen_ns=now)
            continue
        try:
            documents, hidden = documents_of(path, data.decode("utf-8"))
        except (LayerError, YamlError, UnicodeDecodeError):
            tally.skipped.append(path)
            documents, hidden = [], []
        if old is None:
            tally.added += 1
        else:
            tally.changed += 1
            index.remove_file(old.id)
        yield FileContent(
            path=path, mtime_ns=stat.mtime_ns, size_bytes=stat.size_bytes, digest=content, seen_ns=now,
            documents=documents, hidden=hidden,
        )  # fmt: skip


def documents_of(path: str, text: str) -> tuple[list[Document], list[Hidden]]:
    """Give what a file of the layer adds to the index; `path` is relative to the project, with `/`.

    Raises:
        LayerError: a page that breaks the format.
        YamlError: a layer file that is not YAML.
    """
    parts = path.split("/")
    if parts[0] == "wiki":
        user_id = parts[2] if parts[1] == "user" else None
        page, _ = parse_page(text, key=parts[-1].removesuffix(".md"), file=path, user_id=user_id)
        return [page_document(page)], []
    data = parse_yaml(text)
    if parts[2] == _MANIFEST_FOLDER:
        return manifest_documents(parts[1], data)
    return source_documents(parts[1], data)


def _walk(root: Path) -> Iterator[tuple[str, _Seen]]:
    """Give every page and layer file with its stat, as a path relative to `root`."""
    for path, name, entry in _files(root / "wiki", "wiki"):
        parts = path.split("/")
        in_place = (len(parts) == 3 and parts[1] == "global") or (
            len(parts) == 4 and parts[1] == "user" and is_page_key(parts[2])
        )
        if in_place and name.endswith(".md") and is_page_key(name[:-3]):
            yield path, _seen(entry)
    for path, name, entry in _files(root / "semantic-layer", "semantic-layer"):
        if name.endswith((".yaml", ".yml")) and path.count("/") >= 2:
            yield path, _seen(entry)


def _files(folder: Path, prefix: str) -> Iterator[tuple[str, str, "os.DirEntry[str]"]]:
    pending = [(str(folder), prefix)]
    while pending:
        place, shown = pending.pop()
        try:
            entries = os.scandir(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, f"{shown}/{entry.name}"))
                elif entry.is_file():
                    yield f"{shown}/{entry.name}", entry.name, entry


def _seen(entry: "os.DirEntry[str]") -> _Seen:
    stat = entry.stat()
    return _Seen(mtime_ns=stat.st_mtime_ns, size_bytes=stat.st_size)
