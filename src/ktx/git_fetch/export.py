"""A commit laid out as plain files, byte for byte as they are in the repository.

No filter, hook, line-ending rule or submodule takes part. A symbolic link becomes a copy of the file it names where that
is a file of the same commit; any other link is left out, so that nothing leads out of the folder.
"""

import os
import posixpath
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktx.errors import SourceError
from ktx.git import git_command, run_git

_LINK: Final = "120000"
_FILES: Final = ("100644", "100755", "100664")
_LONGEST_CHAIN: Final = 8
_LONGEST_NAME: Final = 255
_HEADER: Final = 3
_ENTRY = re.compile(r"(\d+) (\w+) ([0-9a-f]+) +(\d+|-)\t(.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One path of a commit."""

    mode: str
    blob: str
    size: int
    path: str


def list_entries(git_dir: Path, commit: str, *, environment: Mapping[str, str]) -> tuple[Entry, ...]:
    """Give the files and links of a commit; submodules and paths that no folder can hold safely are left out.

    Raises:
        SourceError: the cache does not have the commit.
    """
    done = run_git(
        git_dir, ("ls-tree", "-r", "-z", "-l", "--full-tree", commit), environment=environment
    )  # fmt: skip
    if done.returncode != 0:
        raise SourceError(f"The cache of a git repository in `{git_dir}` lacks what was fetched.")
    return tuple(_entries(done.stdout))


def under(entries: Sequence[Entry], subpath: str) -> tuple[Entry, ...]:
    """Give the files to write for a folder of the commit, with paths relative to it, links already followed."""
    by_path = {entry.path: entry for entry in entries if entry.mode in _FILES}
    links = {entry.path: entry for entry in entries if entry.mode == _LINK}
    prefix = f"{subpath}/" if subpath else ""
    wanted = (path for path in (*by_path, *links) if path.startswith(prefix))
    return tuple(
        Entry(mode=entry.mode, blob=entry.blob, size=entry.size, path=path[len(prefix) :])
        for path in sorted(wanted)
        if (entry := by_path.get(path) or links.get(path)) is not None
    )


def follow_links(
    git_dir: Path, entries: Sequence[Entry], *, environment: Mapping[str, str]
) -> tuple[Entry, ...]:
    """Give the entries with each link in the place of the file it leads to; links that lead elsewhere are left out."""
    links = [entry for entry in entries if entry.mode == _LINK]
    if not links:
        return tuple(entries)
    files = {entry.path: entry for entry in entries if entry.mode in _FILES}
    texts = dict(
        zip((link.path for link in links), _blobs(git_dir, links, environment=environment), strict=True)
    )
    followed: list[Entry] = list(files.values())
    for link in links:
        path: str | None = link.path
        for _ in range(_LONGEST_CHAIN):
            if path not in texts:
                break
            path = _target(path, texts[path])
        found = files.get(path or "")
        if found is not None:
            followed.append(Entry(mode=found.mode, blob=found.blob, size=found.size, path=link.path))
    return tuple(sorted(followed, key=lambda entry: entry.path))


def write_files(
    git_dir: Path, entries: Sequence[Entry], folder: Path, *, environment: Mapping[str, str]
) -> None:
    """Write a folder that did not exist; it appears whole or not at all.

    Raises:
        SourceError: the disk or the cache failed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".building-"))
    try:
        for entry, data in zip(entries, _blobs(git_dir, entries, environment=environment), strict=True):
            file = building / entry.path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        if folder.exists():
            shutil.rmtree(folder)
        building.replace(folder)
    except OSError as error:
        raise SourceError(
            f"The files of a git repository cannot be written to `{folder}`: {error}."
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def is_whole(entries: Sequence[Entry], folder: Path) -> bool:
    """Tell whether every file is there in its full length."""
    try:
        return folder.is_dir() and all(
            (folder / entry.path).stat().st_size == entry.size for entry in entries
        )
    except OSError:
        return False


def _entries(listed: str) -> Iterator[Entry]:
    for line in listed.split("\0"):
        match = _ENTRY.fullmatch(line)
        if match is not None and match[2] == "blob" and _is_safe(match[5]):
            yield Entry(mode=match[1], blob=match[3], size=int(match[4]), path=match[5])


def _is_safe(path: str) -> bool:
    parts = path.split("/")
    return (
        path.isprintable()
        and all(part not in ("", ".", "..") and part.rstrip(". ").lower() != ".git" for part in parts)
        and all(len(part.encode()) <= _LONGEST_NAME for part in parts)
        and not (os.name == "nt" and any(letter in '\\:<>"|?*' for letter in path))
    )


def _target(link: str, text: bytes) -> str | None:
    told = text.decode("utf-8", errors="replace")
    if told.startswith("/"):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(link), told))
    return None if path.startswith("../") or path == ".." else path


def _blobs(git_dir: Path, entries: Sequence[Entry], *, environment: Mapping[str, str]) -> Iterator[bytes]:
    """Give the content of each entry, one at a time."""
    with tempfile.TemporaryFile() as asked:
        asked.write("".join(f"{entry.blob}\n" for entry in entries).encode())
        asked.seek(0)
        command = git_command(git_dir, ("cat-file", "--batch"), {})
        with subprocess.Popen(
            command, env=dict(environment), stdin=asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            answer = process.stdout
            if answer is None:
                raise AssertionError("the output was asked for")
            try:
                for entry in entries:
                    header = answer.readline().split()
                    if len(header) != _HEADER or int(header[2]) != entry.size:
                        raise SourceError(
                            f"The cache of a git repository in `{git_dir}` lacks `{entry.path}`."
                        )
                    yield answer.read(entry.size)
                    answer.read(1)
            finally:
                process.kill()
