"""Who listens on a port: found in /proc, for messages. Elsewhere than on Linux, and for other users' programs, nobody is named."""

from pathlib import Path

_PROC = Path("/proc")
_LISTEN = "0A"


def port_owner(port: int) -> str | None:
    """Give words for the program that listens on `port`, or None when it cannot be told.

    Its arguments are not repeated, for they may hold secrets; of a ktx server the project is.
    """
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in _PROC.glob("[0-9]*"):
        if any(_link(descriptor) in wanted for descriptor in _files(process / "fd")):
            return _described(process)
    return None


def _listening_inodes(port: int) -> set[str]:
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        for line in _text(_PROC / "net" / table).splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == _LISTEN:
                found.add(fields[9])
    return found


def _described(process: Path) -> str:
    words = _text(process / "cmdline").split("\0")
    name = f"process {process.name} (`{_text(process / 'comm').strip() or 'unknown'}`)"
    if "ktx" in words and "mcp" in words and "--project-dir" in words[:-1]:
        return f"{name}, the ktx server of `{words[words.index('--project-dir') + 1]}`"
    return name


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
