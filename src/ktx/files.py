"""Reading and writing files: always UTF-8, always atomic, and never touching a file whose content is already right."""

import hashlib
import os
import tempfile
from pathlib import Path


def read_text(path: Path) -> str:
    """Read a UTF-8 text file."""
    return path.read_text(encoding="utf-8")


def leads_out(path: Path, root: Path) -> bool:
    """Tell whether `path` is a link to outside of `root`, or to a folder: what is read as if it stood here is neither."""
    if not path.is_symlink():
        return False
    return path.is_dir() or not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def write_text(path: Path, text: str, *, mode: int | None = None) -> bool:
    """Write `text` atomically and give whether the file changed.

    The old file stays whole until the new one is complete on disk; an equal file is left alone, time stamp included.
    `mode` sets the permission bits from the first byte on.
    """
    return write_bytes(path, text.encode("utf-8"), mode=mode)


def write_bytes(path: Path, data: bytes, *, mode: int | None = None) -> bool:
    """Write `data` as `write_text` does text."""
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        keep = path.stat().st_mode & 0o777 if path.exists() else 0o644
        Path(temporary).chmod(mode if mode is not None else keep)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True


def digest(data: bytes | str) -> str:
    """Give the SHA-256 of `data` in hex."""
    return hashlib.sha256(data.encode("utf-8") if isinstance(data, str) else data).hexdigest()
