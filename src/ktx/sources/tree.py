"""A folder of files that a source is read from: on disk, or fetched from a git repository."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ktx.errors import SourceError
from ktx.files import read_text

_MAX_BYTES = 64 * 1024 * 1024
_PASSED_OVER = frozenset(
    {"node_modules", "dbt_packages", "dbt_modules", "target", "logs", "venv", "__pycache__"}
)


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Files under `root`. `commit` is the one they were read at, where a repository holds them."""

    root: Path
    commit: str | None = None

    def paths(self, *endings: str) -> tuple[str, ...]:
        """Give the files with these endings, as sorted paths with `/` relative to the root.

        Hidden folders, what tools install or build, and whatever lies outside the root are passed over.
        """
        return tuple(sorted(self._walk(endings)))

    def has(self, path: str) -> bool:
        """Tell whether there is such a file inside the root."""
        file = self.root / path
        return file.is_file() and self._holds(file)

    def read(self, path: str) -> str:
        """Read a UTF-8 file.

        Raises:
            SourceError: it cannot be read, is not UTF-8, is larger than 64 MiB, or lies outside the root.
        """
        file = self.root / path
        if not self._holds(file):
            raise SourceError(f"`{path}` leads out of the folder and was not read.")
        try:
            if file.stat().st_size > _MAX_BYTES:
                raise SourceError(
                    f"`{path}` is larger than {_MAX_BYTES // 1024 // 1024} MiB and was not read."
                )
            return read_text(file)
        except UnicodeDecodeError as error:
            raise SourceError(f"`{path}` is not UTF-8 text.") from error
        except OSError as error:
            raise SourceError(f"`{path}` cannot be read: {error.strerror}.") from error

    def _holds(self, file: Path) -> bool:
        return file.resolve().is_relative_to(self.root.resolve())

    def _walk(self, endings: tuple[str, ...]) -> Iterator[str]:
        root = self.root.resolve()
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".") and name not in _PASSED_OVER]
            for name in files:
                path = os.path.join(folder, name)  # noqa: PTH118 - the walk gives text
                if name.endswith(endings) and (
                    not os.path.islink(path) or os.path.realpath(path).startswith(f"{root}{os.sep}")  # noqa: PTH114
                ):
                    yield os.path.relpath(path, root).replace(os.sep, "/")


OpenTree: TypeAlias = Callable[[], Tree]
"""Makes the files available: checks that the folder is there, or fetches the repository."""
