"""What a warehouse holds, as values: tables, columns, keys, profiles, and the relationships found between them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

TableKind = Literal["table", "view", "materialized_view", "external"]
ColumnKind = Literal["string", "number", "time", "boolean"]
"""The four types that the semantic layer knows; everything a database has maps to one of them."""
Cardinality = Literal["many_to_one", "one_to_many", "one_to_one"]
Decision = Literal["accepted", "review", "rejected"]
RelationshipOrigin = Literal["formal", "inferred", "manual"]


@dataclass(frozen=True, kw_only=True, order=True, slots=True)
class TableRef:
    """The full identity of a table. A part that the database does not have is None.

    A database with schemas always gives the schema, its default one too; `catalog` is given only where one connection
    sees several.

    >>> str(TableRef(schema="sales", name="orders"))
    'sales.orders'
    """

    catalog: str | None = None
    schema: str | None = None
    name: str

    def __str__(self) -> str:
        """Join the known parts with dots; for people and files, not for SQL."""
        return ".".join(part for part in (self.catalog, self.schema, self.name) if part)

    @property
    def parts(self) -> tuple[str, ...]:
        """The known parts, outermost first."""
        return tuple(part for part in (self.catalog, self.schema, self.name) if part)


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column. `native_type` is the database's own spelling."""

    name: str
    native_type: str
    kind: ColumnKind
    is_nullable: bool = True
    comment: str | None = None


@dataclass(frozen=True, kw_only=True)
class ForeignKey:
    """A declared foreign key; `columns` and `target_columns` pair up by position."""

    columns: tuple[str, ...]
    target: TableRef
    target_columns: tuple[str, ...]
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table or view with what the database declares about it. `row_count` is an estimate unless exact is known."""

    ref: TableRef
    kind: TableKind = "table"
    comment: str | None = None
    row_count: int | None = None
    columns: tuple[Column, ...] = ()
    primary_key: tuple[str, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()

    def column(self, name: str) -> Column | None:
        """Give the column of exactly that name."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, kw_only=True)
class CapabilityGap:
    """Something that could not be read from a database, and why; never an error by itself."""

    what: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All tables in scope of one connection, sorted by reference. `dialect` is sqlglot's name for the database."""

    connection_id: str
    dialect: str
    tables: tuple[Table, ...] = ()
    gaps: tuple[CapabilityGap, ...] = ()

    def table(self, ref: TableRef) -> Table | None:
        """Give the table with exactly that reference."""
        return self._by_ref.get(ref)

    @cached_property
    def _by_ref(self) -> dict[TableRef, Table]:
        return {table.ref: table for table in reversed(self.tables)}


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnProfile:
    """What the data of one column looks like, over the profiled rows.

    `distinct_count` counts distinct non-null values. `top_values` are rendered as text, most frequent first, and never
    leave the machine except through the redaction gate.
    """

    name: str
    null_count: int
    distinct_count: int
    min_length: int | None = None
    max_length: int | None = None
    min_value: str | None = None
    max_value: str | None = None
    top_values: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableProfile:
    """The profile of one table: exact when every row was read (`profiled_rows == row_count`), else of a sample."""

    ref: TableRef
    row_count: int
    profiled_rows: int
    columns: tuple[ColumnProfile, ...] = ()

    @property
    def is_exact(self) -> bool:
        """Whether every row was read."""
        return self.profiled_rows == self.row_count

    def column(self, name: str) -> ColumnProfile | None:
        """Give the profile of exactly that column."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """One reason for or against a relationship: a signal's name, its strength from 0 to 1, and a sentence."""

    signal: str
    strength: float
    detail: str


@dataclass(frozen=True, kw_only=True)
class Relationship:
    """A reference from one table's columns to another's, with the reasons for believing it.

    `cardinality` is seen from `source`; `score` runs from 0 to 1 and is 1 for declared keys. `condition` is set for a
    polymorphic reference: only rows whose named column of `source` has that value refer to `target`.
    """

    source: TableRef
    source_columns: tuple[str, ...]
    target: TableRef
    target_columns: tuple[str, ...]
    cardinality: Cardinality = "many_to_one"
    origin: RelationshipOrigin = "inferred"
    decision: Decision = "accepted"
    score: float = 1.0
    evidence: tuple[Evidence, ...] = ()
    condition: tuple[str, str] | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it this one, whatever is known about it."""
        return (self.source, self.source_columns, self.target, self.target_columns, self.condition)

    @property
    def mirror(self) -> tuple[object, ...] | None:
        """The identity of the same join seen from the other side; None where the other side is another join."""
        if self.source == self.target or self.condition is not None:
            return None
        return (self.target, self.target_columns, self.source, self.source_columns, None)
