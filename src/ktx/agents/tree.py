"""The files of an install: read once, changed in memory, and written together or not at all."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ktx.agents.jsonc import MalformedError
from ktx.errors import ConfigError
from ktx.files import write_bytes
from ktx.findings import Finding, Place

Status = Literal["written", "unchanged", "kept", "removed", "absent"]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of one file, or of one key in it. `kept` is somebody else's by now, and was left alone."""

    path: str
    key: tuple[str, ...] = ()
    status: Status


@dataclass(kw_only=True)
class Tree:
    """Files as they are and as they will be. `folders` are removed in the end where they are empty."""

    found: dict[Path, bytes | None] = field(default_factory=dict[Path, bytes | None])
    wanted: dict[Path, bytes | None] = field(default_factory=dict[Path, bytes | None])
    folders: set[Path] = field(default_factory=set[Path])

    def read(self, path: Path) -> bytes | None:
        """Give a file as it will be; None when there is none.

        Raises:
            ConfigError: it cannot be read.
        """
        if path not in self.found:
            try:
                self.found[path] = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                self.found[path] = None
            except OSError as error:
                raise _unusable(path, (error.strerror or "it cannot be read").lower()) from error
        return self.wanted.get(path, self.found[path])

    def text(self, path: Path) -> str | None:
        """Give a file as text, line ends as they are.

        Raises:
            ConfigError: it cannot be read, or is not UTF-8.
        """
        data = self.read(path)
        try:
            return None if data is None else data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _unusable(path, "it is not UTF-8 text") from error

    def put(self, path: Path, data: bytes | None) -> None:
        """Note what a file shall be; None takes it away."""
        self.wanted[path] = data

    def write(self) -> None:
        """Bring the disk in line; a new file outside of a project is for its owner's eyes only.

        Raises:
            ConfigError: a file cannot be written.
        """
        for path, data in self.wanted.items():
            if data == self.found[path]:
                continue
            try:
                if data is None:
                    path.unlink(missing_ok=True)
                else:
                    write_bytes(path, data)
            except OSError as error:
                raise ConfigError(
                    f"`{path}` cannot be written: {(error.strerror or str(error)).lower()}.",
                    hint="Make it writable, then run the same command again.",
                ) from error
        for folder in sorted(self.folders, key=lambda one: len(one.parts), reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def real(path: Path) -> Path:
    """Follow links, so that a linked file is edited where it lives and stays linked."""
    return path.resolve()


def missing_folders(path: Path) -> tuple[str, ...]:
    """Name the folders above a path that are not there, deepest first."""
    return tuple(str(folder) for folder in path.parents if not folder.exists())


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Turn a malformed text into an error that names the file, the line and the way out."""
    try:
        yield
    except MalformedError as error:
        raise _unusable(path, error.reason, line=error.line) from error


def _unusable(path: Path, reason: str, *, line: int | None = None) -> ConfigError:
    place = Place(file=str(path), line=line)
    fix = "Correct it, then run the same command again." if line else None
    finding = Finding(level="error", code="agent-file-unusable", message=f"{reason}.", where=place, fix=fix)
    return ConfigError(
        f"`{path}` cannot be edited: {reason}.",
        hint="Nothing was written: ktx changes a file only when it can keep everything else in it.",
        findings=[finding],
    )
