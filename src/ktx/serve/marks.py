"""What tells that a scan wrote, and whether the index has taken its values: stats and a setting, so that most calls open nothing."""

from ktx.project import Project
from ktx.search.index import Index

_SCAN_FILE = "scan.sqlite"
_SEEN = "scan_file"


def scan_mark(project: Project) -> str:
    """Give a text that changes when a scan wrote; empty when there was never one."""
    parts: list[str] = []
    for ending in ("", "-wal"):
        path = project.state_dir / f"{_SCAN_FILE}{ending}"
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        if stat.st_size:
            parts.append(f"{stat.st_mtime_ns}:{stat.st_size}")
    return " ".join(parts)


def are_values_taken(project: Project, index: Index) -> bool:
    """Tell whether the index holds the values of the scan store as it stands."""
    return index.setting(_SEEN) == scan_mark(project)


def values_taken(project: Project, index: Index) -> None:
    """Note that the index holds the values of the scan store as it stands."""
    mark = scan_mark(project)
    if index.setting(_SEEN) != mark:
        index.set_setting(_SEEN, mark)
