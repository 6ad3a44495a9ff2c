"""What one database is, as data: how to open a session, its dialect, its catalog queries, how to sample, what it can do.

A driver module under `drivers/` builds one `Driver`; `Warehouse` does everything else once, for all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlglot import exp

from ktx.catalog import CapabilityGap
from ktx.warehouse.history import HistoryReader
from ktx.warehouse.records import Record
from ktx.warehouse.rows import Rows


class Session(Protocol):
    """One connection to a database that cannot write, used by one thread at a time.

    Whatever the statement is, the database itself must refuse to change anything: this is the second barrier behind
    the parser's. Vendor exceptions end here and become `QueryError` (the statement is wrong) or `WarehouseError` (the
    database refused, timed out or went away); no message holds a value of a row or a credential.
    """

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, max_rows: int | None, timeout_s: float
    ) -> Rows:
        """Run one statement and give at most `max_rows` rows, stopping the database after `timeout_s` seconds."""
        ...

    def cancel(self) -> None:
        """Stop the running statement, from any thread; without one, do nothing."""
        ...

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        ...


@dataclass(frozen=True, kw_only=True)
class CatalogQueries:
    """The bulk queries that describe a whole database in a fixed number of round trips.

    Result columns, by name, in any letter case:

    Each may also have catalog_name, where one connection sees several catalogs.

    - `tables`: schema_name, table_name, kind (a `TableKind`), comment, row_count
    - `columns`: schema_name, table_name, column_name, ordinal, native_type, is_nullable, comment
    - `keys`: schema_name, table_name, constraint_name, kind (`primary` or `unique`), column_name, ordinal
    - `foreign_keys`: schema_name, table_name, constraint_name, column_name, ordinal, target_schema, target_table,
      target_column (None: the primary key of the target, in order)
    - `unreadable`: schema_name, table_name of tables that exist but may not be read

    An optional query that the database refuses becomes a gap in the catalog, not a failure. `schema_name` is None
    in a database without schemas. System schemas are left out by the queries themselves.
    """

    tables: str
    columns: str
    keys: str | None = None
    foreign_keys: str | None = None
    unreadable: str | None = None
    spells_records: bool = False
    """Whether a record's `native_type` spells out its fields, which then become columns."""


@dataclass(frozen=True, kw_only=True)
class CatalogRecords:
    """What the catalog queries gave, or what an API gave in their shape."""

    tables: Sequence[Record]
    columns: Sequence[Record]
    keys: Sequence[Record] = ()
    foreign_keys: Sequence[Record] = ()
    unreadable: Sequence[Record] = ()
    gaps: tuple[CapabilityGap, ...] = ()


CatalogReader = Callable[[Sequence[str], Callable[[str], Rows]], CatalogRecords]
"""Reads a catalog that no fixed set of queries describes; takes the schemas in scope (none meaning all) and what runs a
statement in a session of the warehouse."""


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What may be asked of a database; callers ask this and never which database it is."""

    has_schemas: bool = True
    has_comments: bool = True
    has_primary_keys: bool = True
    has_foreign_keys: bool = True
    has_row_estimates: bool = True
    can_cancel: bool = True
    is_read_only_session: bool = True
    """Whether the database itself refuses writes in our sessions, besides the parser's allow-list."""
    is_local: bool = False
    """Whether the data is a file that this process reads: counting all of it costs nobody else anything."""


Sample = Callable[[exp.Table, Sequence[exp.Expr], int, int | None], exp.Select]
"""(table, select list, wanted rows, estimated rows of the table) -> a query that reads about that many rows."""


def sample_first_rows(
    table: exp.Table, columns: Sequence[exp.Expr], rows: int, estimate: int | None
) -> exp.Select:
    """Sample by taking the first rows in the database's own order: cheap everywhere, and repeatable in practice."""
    del estimate
    return exp.select(*columns, copy=False).from_(table, copy=False).limit(rows, copy=False)


@dataclass(frozen=True, kw_only=True)
class Driver:
    """One kind of database, opened with one connection's settings.

    `open_session` may be called several times, also from several threads. `dialect` is sqlglot's name.
    """

    name: str
    dialect: str
    open_session: Callable[[], Session]
    catalog: CatalogQueries | CatalogReader
    capabilities: Capabilities = Capabilities()
    sample: Sample = sample_first_rows
    max_select_columns: int = 600
    most_profile_cells: int = 0
    """Tables with no more values than this are profiled from their rows. Only where the text's order and equality are those
    of its letters, and where rows cost nothing to fetch."""
    text_type: str = "TEXT"
    records: Literal["dotted", "wrapped"] | None = None
    """How a field of a record is written: `a.b`, which no plain name is there, or `(a).b`. None: columns have no fields."""
    history: HistoryReader | None = None
    """How past queries are read; None where the database keeps none that ktx knows."""
    length_function: str | None = None
    substring_function: str | None = None
    """Functions that count characters, where the usual ones count bytes."""
