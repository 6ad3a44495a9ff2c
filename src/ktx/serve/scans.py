"""What the last scan left behind: the catalog behind descriptions of tables, and the sampled values behind the dictionary.

All of it is optional: a project whose layer came from git, and that was never scanned here, answers everything else.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from ktx.catalog import Catalog, TableRef
from ktx.files import digest
from ktx.project import Project
from ktx.scan.store import FILE_NAME, ScanStore, open_store
from ktx.search.index import ColumnValues, Index
from ktx.search.reindex import ValueBatch
from ktx.semantic.source import Layer
from ktx.semantic.tableref import parse_table_ref
from ktx.serve.answers import SnapshotInfo
from ktx.serve.marks import are_values_taken


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """What the last scan of a connection left: its catalog, which scan that was, and how many rows its profiles read."""

    catalog: Catalog
    snapshot: SnapshotInfo
    profiled_rows: int


def read_scanned(project: Project, connection_id: str) -> Scanned | None:
    """Read what the last scan of a connection left; None when it was never scanned here."""
    with scan_store(project) as store:
        catalog = store.catalog(connection_id) if store is not None else None
        if store is None or catalog is None:
            return None
        rows = sum(profile.profiled_rows for profile in store.profiles(connection_id).values())
    return Scanned(catalog=catalog, snapshot=snapshot_info(project, catalog), profiled_rows=rows)


@contextmanager
def scan_store(project: Project) -> Generator[ScanStore | None]:
    """Hold the scan store open, or None when there was never a scan."""
    if not (project.state_dir / FILE_NAME).is_file():
        yield None
        return
    with open_store(project.state_dir) as store:
        yield store


def snapshot_info(project: Project, catalog: Catalog) -> SnapshotInfo:
    """Name the scan that a catalog is from: by what it found, and when the scan state last changed."""
    stat = (project.state_dir / FILE_NAME).stat()
    sync_id = digest(repr(catalog))[:16]
    taken = datetime.fromtimestamp(stat.st_mtime, tz=UTC).isoformat(timespec="seconds")
    return SnapshotInfo(sync_id=sync_id, extracted_at=taken, scan_run_id=sync_id)


def value_batches(
    project: Project, index: Index, load: Callable[[str], Layer], *, force: bool = False
) -> tuple[ValueBatch, ...] | None:
    """Give the sampled values of every connection for a refresh of the index; None when no scan wrote since the last time.

    Call `values_taken` once the refresh is done. The scan store is opened only when the stat of its files moved, or to `force`
    a rebuild.
    """
    if are_values_taken(project, index) and not force:
        return None
    batches: list[ValueBatch] = []
    with scan_store(project) as store:
        if store is None:
            return ()
        for connection_id in sorted(project.warehouses):
            if store.catalog(connection_id) is None:
                continue
            stamp = store.values_stamp(connection_id)
            if index.value_stamp(connection_id) == stamp and not force:
                batches.append(ValueBatch(connection_id=connection_id, stamp=stamp, read=tuple))
                continue
            columns = tuple(_column_values(store, connection_id, load(connection_id)))
            batches.append(
                ValueBatch(connection_id=connection_id, stamp=stamp, read=lambda columns=columns: columns)
            )
    return tuple(batches)


def source_names(layer: Layer) -> dict[TableRef, str]:
    """Map physical tables to the sources over them; the first by name when several share one."""
    found: dict[TableRef, str] = {}
    for name, source in sorted(layer.sources.items()):
        ref = parse_table_ref(source.table) if source.table else None
        if ref is not None:
            found.setdefault(ref, name)
    return found


def _column_values(store: ScanStore, connection_id: str, layer: Layer) -> Iterator[ColumnValues]:
    names = source_names(layer)
    for column in store.column_values(connection_id):
        source = names.get(column.table)
        if source is not None:
            yield ColumnValues(
                source=source, column=column.column, values=column.values, cardinality=column.distinct_count
            )
