"""Tables as the last scan saw them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ktx.catalog import Catalog, Column, Table, TableRef
from ktx.semantic.tableref import parse_table_ref
from ktx.serve.answers import (
    ColumnInfo,
    EntityDetails,
    EntityError,
    ForeignKeyInfo,
    MissingDetails,
    SnapshotInfo,
    TableDetails,
    TableRefInfo,
)
from ktx.serve.desk import Desk
from ktx.suggest import nearest

_MOST_CANDIDATES = 10
Code = Literal["scan_missing", "table_not_found", "ambiguous_table", "column_not_found"]


@dataclass(frozen=True, kw_only=True)
class EntityAsk:
    """A table as somebody wrote it: one text, or its parts; and the columns wanted, all when empty."""

    text: str | None = None
    catalog: str | None = None
    schema: str | None = None
    name: str = ""
    columns: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The table as written."""
        return self.text or ".".join(part for part in (self.catalog, self.schema, self.name) if part)

    def ref(self) -> TableRef | None:
        """Give the reference meant, or None when the text is no table name."""
        if self.text is not None:
            return parse_table_ref(self.text)
        return TableRef(catalog=self.catalog, schema=self.schema, name=self.name)


def entity_details(desk: Desk, connection_id: str, asks: Sequence[EntityAsk]) -> EntityDetails:
    """Describe tables, one result per table asked, in order; what cannot be described is a result too.

    Raises:
        UsageError: the connection is unknown.
    """
    chosen = desk.connection_id(connection_id)
    scanned = desk.scanned(chosen)
    if scanned is None:
        message = f"Connection `{chosen}` has not been scanned here; run `ktx ingest {chosen}`."
        error = EntityError(code="scan_missing", message=message)
        return EntityDetails(
            results=[MissingDetails(connection_id=chosen, table=ask.shown, error=error) for ask in asks]
        )
    return EntityDetails(results=[_details(scanned.catalog, ask, scanned.snapshot) for ask in asks])


def _details(catalog: Catalog, ask: EntityAsk, snapshot: SnapshotInfo) -> TableDetails | MissingDetails:
    def missing(code: Code, message: str, candidates: Iterable[str] = ()) -> MissingDetails:
        named = list(candidates)[:_MOST_CANDIDATES]
        error = EntityError(code=code, message=message, candidates=named or None)
        return MissingDetails(
            connection_id=catalog.connection_id, table=ask.shown, snapshot=snapshot, error=error
        )

    found = _find(catalog, ask.ref())
    if not found:
        names = [str(table.ref) for table in catalog.tables]
        close = _close(ask.shown, names)
        return missing(
            "table_not_found", f"connection `{catalog.connection_id}` has no table `{ask.shown}`", close
        )
    if len(found) > 1:
        names = [str(table.ref) for table in found]
        return missing(
            "ambiguous_table", f"`{ask.shown}` can be any of {len(found)} tables; name the schema too", names
        )
    table = found[0]
    columns: list[Column] = []
    for name in ask.columns:
        column = table.column(name) or next(
            (c for c in table.columns if c.name.casefold() == name.casefold()), None
        )
        if column is None:
            known = [column.name for column in table.columns]
            return missing(
                "column_not_found",
                f"table `{table.ref}` has no column `{name}`",
                _close(name, known) or known,
            )
        columns.append(column)
    return _table_details(catalog, table, columns or list(table.columns), snapshot)


def _table_details(
    catalog: Catalog, table: Table, columns: list[Column], snapshot: SnapshotInfo
) -> TableDetails:
    return TableDetails(
        connection_id=catalog.connection_id,
        table_ref=_ref_info(table.ref),
        display=str(table.ref),
        kind=table.kind,
        comment=table.comment,
        estimated_rows=table.row_count,
        columns=[
            ColumnInfo(
                name=column.name,
                native_type=column.native_type,
                normalized_type=column.kind,
                dimension_type=column.kind,
                nullable=column.is_nullable,
                primary_key=column.name in table.primary_key,
                comment=column.comment,
            )
            for column in columns
        ],
        foreign_keys=[
            ForeignKeyInfo(
                columns=list(key.columns),
                references=_ref_info(key.target),
                referenced_columns=list(key.target_columns),
                name=key.name,
            )
            for key in table.foreign_keys
        ],
        snapshot=snapshot,
    )


def _find(catalog: Catalog, ref: TableRef | None) -> list[Table]:
    """Give the tables that end in the parts given: exactly spelt ones, else those that differ in case only."""
    if ref is None:
        return []
    wanted = ref.parts
    exact = [table for table in catalog.tables if table.ref.parts[-len(wanted) :] == wanted]
    if exact:
        return exact
    folded = tuple(part.casefold() for part in wanted)
    return [
        table
        for table in catalog.tables
        if tuple(part.casefold() for part in table.ref.parts[-len(wanted) :]) == folded
    ]


def _close(name: str, known: list[str]) -> list[str]:
    tail = name.rpartition(".")[2].casefold()
    inside = [each for each in known if tail and tail in each.casefold()]
    near = nearest(name, known) or nearest(name, [each.rpartition(".")[2] for each in known])
    guessed = [
        each for each in known if near is not None and (each == near or each.rpartition(".")[2] == near)
    ]
    return list(dict.fromkeys([*guessed, *inside]))


def _ref_info(ref: TableRef) -> TableRefInfo:
    return TableRefInfo(catalog=ref.catalog, db=ref.schema, name=ref.name)
