"""Bringing the index up to date: look at every file's stat, read only what may have changed, rewrite only what did."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ktx.errors import LayerError
from ktx.files import digest, leads_out
from ktx.names import is_page_key
from ktx.search.documents import (
    Document,
    Hidden,
    manifest_documents,
    page_document,
    source_documents,
)
from ktx.search.index import FILES_SEEN, ColumnValues, FileContent, Index, KnownFile
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


_Seen = tuple[int, int]
"""A file's time of change in nanoseconds, and its size."""


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
    no file is opened, and nothing is written but a mark of what was seen, once.
    """
    started, now = time.monotonic(), time.time_ns()
    seen = dict(_walk(root))
    mark = _mark_of(seen)
    if values is None and not force and index.setting(FILES_SEEN) == mark:
        return RefreshReport(unchanged=len(seen), wall_s=time.monotonic() - started)
    known = index.files()
    batches = [b for b in values or () if force or index.value_stamp(b.connection_id) != b.stamp]
    gone = (
        index.value_connections() - {b.connection_id for b in values}
        if values is not None
        else frozenset[str]()
    )
    suspects = [path for path, stat in seen.items() if _may_differ(known.get(path), stat)]
    if not (force or suspects or batches or gone or known.keys() - seen.keys()):
        index.set_setting(FILES_SEEN, mark)
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
        is_settled = all(now - mtime_ns >= _SETTLED_NS for mtime_ns, _ in seen.values())
        index.set_setting(FILES_SEEN, mark if is_settled else "")
    return RefreshReport(
        added=tally.added,
        changed=tally.changed,
        unchanged=len(seen) - tally.added - tally.changed,
        removed=len(removed),
        skipped=tuple(tally.skipped),
        value_connections=tuple(sorted({*(batch.connection_id for batch in batches), *gone})),
        wall_s=time.monotonic() - started,
    )


def _mark_of(seen: Mapping[str, _Seen]) -> str:
    """Give a text that changes with the name, size or time of change of any file."""
    return digest(repr(seen))


def _may_differ(known: KnownFile | None, stat: _Seen) -> bool:
    if known is None:
        return True
    _, _, mtime_ns, size_bytes, _, seen_ns = known
    return (mtime_ns, size_bytes) != stat or seen_ns - mtime_ns < _SETTLED_NS


def _contents(
    index: Index, root: Path, seen: Mapping[str, _Seen], known: Mapping[str, KnownFile], tally: _Tally
) -> Iterator[FileContent]:
    """Read what may differ; give what does, with the old version already forgotten."""
    for path, stat in seen.items():
        old = known.get(path)
        if not _may_differ(old, stat):
            continue
        mtime_ns, size_bytes = stat
        now = time.time_ns()
        try:
            data = (root / path).read_bytes()
        except OSError:
            tally.skipped.append(path)
            data = b""
        content = digest(data)
        if old is not None and old.digest == content:
            index.touch_file(old.id, mtime_ns=mtime_ns, size_bytes=size_bytes, seen_ns=now)
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
            path=path, mtime_ns=mtime_ns, size_bytes=size_bytes, digest=content, seen_ns=now,
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
    for folder, name, entry in _files(root, "wiki"):
        if name.endswith(".md") and is_page_key(name[:-3]) and _holds_pages(folder):
            yield f"{folder}/{name}", _seen(entry)
    for folder, name, entry in _files(root, "semantic-layer"):
        if name.endswith((".yaml", ".yml")) and "/" in folder:
            yield f"{folder}/{name}", _seen(entry)


@cache
def _holds_pages(folder: str) -> bool:
    parts = folder.split("/")
    return parts[1:] == ["global"] or (len(parts) == 3 and parts[1] == "user" and is_page_key(parts[2]))


def _files(root: Path, top: str) -> Iterator[tuple[str, str, "os.DirEntry[str]"]]:
    """Give the files below `root/top` with the folder that each is in; links that lead out, and to folders, are passed over."""
    pending = [top]
    while pending:
        folder = pending.pop()
        try:
            entries = os.scandir(root / folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                name = entry.name
                if name[0] == ".":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{folder}/{name}")
                elif entry.is_file(follow_symlinks=False) or _is_followed(entry, root):
                    yield folder, name, entry


def _is_followed(entry: "os.DirEntry[str]", root: Path) -> bool:
    return entry.is_symlink() and entry.is_file() and not leads_out(Path(entry.path), root)


def _seen(entry: "os.DirEntry[str]") -> _Seen:
    stat = entry.stat()
    return stat.st_mtime_ns, stat.st_size
