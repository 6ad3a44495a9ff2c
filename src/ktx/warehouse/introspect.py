"""From the rows of a driver's bulk catalog queries to a `Catalog`: pairing, scoping, ordering, and the gaps met."""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast, get_args

from ktx.catalog import CapabilityGap, Catalog, Column, ForeignKey, Table, TableKind, TableRef
from ktx.suggest import did_you_mean
from ktx.warehouse.driver import Capabilities, CatalogQueries, CatalogReader, CatalogRecords
from ktx.warehouse.fields import with_fields, without_ambiguous
from ktx.warehouse.kinds import column_kind
from ktx.warehouse.records import Record, optional_records, records_of
from ktx.warehouse.rows import Rows

_Key = tuple[str | None, str | None, str]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which tables a connection is about. An empty part leaves nothing out.

    `enabled_tables` holds `table`, `schema.table` or a pattern with `*`, such as `sales.*`.
    """

    schemas: tuple[str, ...] = ()
    enabled_tables: tuple[str, ...] = ()

    def has(self, ref: TableRef) -> bool:
        """Tell whether a table is in scope."""
        if self.schemas and ref.schema is not None and not _schema_names(ref) & set(self.schemas):
            return False
        return not self.enabled_tables or any(_is_named(ref, pattern) for pattern in self.enabled_tables)


def read_catalog(
    connection_id: str,
    dialect: str,
    source: CatalogQueries | CatalogReader,
    *,
    run: Callable[[str], Rows],
    scope: Scope,
    capabilities: Capabilities,
) -> Catalog:
    """Run the bulk queries, or the driver's own reader, and build the catalog, tables sorted by reference.

    Raises:
        WarehouseError: the tables or the columns cannot be read. Keys that cannot be read are a gap instead.
    """
    records = (
        _run_queries(source, run=run) if isinstance(source, CatalogQueries) else source(scope.schemas, run)
    )
    has_fields = isinstance(source, CatalogQueries) and source.spells_records
    refs = [_ref(record) for record in records.tables]
    gaps = (
        *records.gaps,
        *_missing(capabilities),
        *_unreadable(records.unreadable, scope),
        *_unmatched(scope, refs),
    )
    tables = sorted(
        _tables(records, dialect=dialect, scope=scope, has_fields=has_fields),
        key=lambda table: table.ref.parts,
    )
    return without_ambiguous(
        Catalog(connection_id=connection_id, dialect=dialect, tables=tuple(tables), gaps=gaps)
    )


def _run_queries(queries: CatalogQueries, *, run: Callable[[str], Rows]) -> CatalogRecords:
    gaps: list[CapabilityGap] = []
    return CatalogRecords(
        tables=records_of(run(queries.tables)),
        columns=records_of(run(queries.columns)),
        keys=optional_records("declared primary and unique keys", queries.keys, run=run, gaps=gaps),
        foreign_keys=optional_records("declared foreign keys", queries.foreign_keys, run=run, gaps=gaps),
        unreadable=optional_records("tables without privileges", queries.unreadable, run=run, gaps=gaps),
        gaps=tuple(gaps),
    )


def _tables(records: CatalogRecords, *, dialect: str, scope: Scope, has_fields: bool) -> Iterable[Table]:
    columns = _by_table(records.columns)
    keys = _by_table(records.keys)
    foreign = _by_table(records.foreign_keys)
    primary = {_key(record): _grouped_columns(keys[_key(record)], "primary") for record in records.tables}
    for record in records.tables:
        key, ref = _key(record), _ref(record)
        if scope.has(ref):
            yield Table(
                ref=ref,
                kind=_table_kind(record),
                comment=_text(record["comment"]),
                row_count=_count(record["row_count"]),
                columns=tuple(_columns(columns[key], dialect, has_fields=has_fields)),
                primary_key=next(iter(primary[key]), ()),
                unique_keys=_grouped_columns(keys[key], "unique"),
                foreign_keys=_foreign_keys(foreign[key], ref.catalog, primary),
            )


def _missing(capabilities: Capabilities) -> Iterable[CapabilityGap]:
    declared = (
        ("comments", capabilities.has_comments),
        ("primary keys", capabilities.has_primary_keys),
        ("foreign keys", capabilities.has_foreign_keys),
        ("row estimates", capabilities.has_row_estimates),
    )
    if not capabilities.is_read_only_session:
        reason = "the database has no switch for it that ktx knows: only the guard and the user's privileges prevent writes"
        yield CapabilityGap(what="read-only session", reason=reason)
    for what, is_there in declared:
        if not is_there:
            yield CapabilityGap(what=what, reason="the database does not keep them")


def _unreadable(records: Sequence[Record], scope: Scope) -> Iterable[CapabilityGap]:
    for ref in sorted(map(_ref, records), key=lambda ref: ref.parts):
        if scope.has(ref):
            yield CapabilityGap(what=f"table `{ref}`", reason="the user has no SELECT privilege on it")


def _unmatched(scope: Scope, refs: Sequence[TableRef]) -> Iterable[CapabilityGap]:
    schemas = {name for ref in refs for name in _schema_names(ref)}
    for schema in scope.schemas:
        if schemas and schema not in schemas:
            hint = did_you_mean(schema, schemas)
            yield CapabilityGap(what=f"schema `{schema}`", reason=f"no table is visible in it.{hint}")
    for pattern in scope.enabled_tables:
        if not any(_is_named(ref, pattern) for ref in refs):
            hint = did_you_mean(pattern, (str(ref) for ref in refs))
            yield CapabilityGap(what=f"enabled table `{pattern}`", reason=f"no table has this name.{hint}")


def _schema_names(ref: TableRef) -> set[str]:
    """Give what a table's schema may be called in the scope: alone, or after its catalog."""
    if ref.schema is None:
        return set()
    return {ref.schema, f"{ref.catalog}.{ref.schema}"} if ref.catalog else {ref.schema}


def _is_named(ref: TableRef, pattern: str) -> bool:
    parts = ref.parts
    return any(fnmatchcase(".".join(parts[start:]), pattern) for start in range(len(parts)))


def _by_table(records: Iterable[Record]) -> defaultdict[_Key, list[Record]]:
    result: defaultdict[_Key, list[Record]] = defaultdict(list)
    for record in records:
        result[_key(record)].append(record)
    for group in result.values():
        group.sort(key=_ordinal)
    return result


def _grouped_columns(records: Sequence[Record], kind: str) -> tuple[tuple[str, ...], ...]:
    groups: dict[str, list[str]] = {}
    for record in records:
        if record["kind"] == kind:
            groups.setdefault(str(record["constraint_name"]), []).append(str(record["column_name"]))
    return tuple(sorted(tuple(columns) for columns in groups.values()))


def _foreign_keys(
    records: Sequence[Record], catalog: str | None, primary: Mapping[_Key, tuple[tuple[str, ...], ...]]
) -> tuple[ForeignKey, ...]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(str(record["constraint_name"]), []).append(record)
    found: list[ForeignKey] = []
    for name, group in groups.items():
        schema, table = _text(group[0]["target_schema"]), str(group[0]["target_table"])
        named = tuple(_text(record["target_column"]) for record in group)
        targets = tuple(column for column in named if column is not None)
        if len(targets) < len(group):
            targets = next(iter(primary.get((catalog, schema, table), ())), ())
        if len(targets) == len(group):
            found.append(
                ForeignKey(
                    columns=tuple(str(record["column_name"]) for record in group),
                    target=TableRef(catalog=catalog, schema=schema, name=table),
                    target_columns=targets,
                    name=name,
                )
            )
    return tuple(sorted(found, key=lambda key: (key.columns, key.target.parts, key.target_columns)))


def _columns(records: Sequence[Record], dialect: str, *, has_fields: bool) -> Iterable[Column]:
    for record in records:
        column = _column(record, dialect)
        if has_fields and "." not in column.name:
            yield from with_fields(column, dialect)
        else:
            yield column


def _column(record: Record, dialect: str) -> Column:
    native = sys.intern(_text(record["native_type"]) or "")
    return Column(
        name=str(record["column_name"]),
        native_type=native,
        kind=column_kind(native, dialect),
        is_nullable=bool(record["is_nullable"]),
        comment=_text(record["comment"]),
    )


def _table_kind(record: Record) -> TableKind:
    kind = str(record["kind"])
    if kind not in get_args(TableKind):
        message = f"the catalog query gave `{kind}` as the kind of a table"
        raise AssertionError(message)
    return cast("TableKind", kind)


def _key(record: Record) -> _Key:
    return _text(record.get("catalog_name")), _text(record["schema_name"]), str(record["table_name"])


def _ref(record: Record) -> TableRef:
    return TableRef(
        catalog=_text(record.get("catalog_name")),
        schema=_text(record["schema_name"]),
        name=str(record["table_name"]),
    )


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def _count(value: object) -> int | None:
    """Read a row estimate; databases say -1 for a table that was never counted."""
    if value is None:
        return None
    number = int(str(value).partition(".")[0])
    return number if number >= 0 else None


def _ordinal(record: Record) -> int:
    return int(str(record["ordinal"]))
