"""The fields of a record, as columns with dotted names: `address.city` beside `address`.

Inside an array a field has no value of its own, so an array stays one column. A field whose own name has a dot is left out: its
path could be read in two ways.
"""

from collections.abc import Iterator
from dataclasses import replace

from ktx.catalog import Catalog, Column, Table
from ktx.warehouse.kinds import column_kind

_START = "STRUCT("


def with_fields(column: Column, dialect: str) -> Iterator[Column]:
    """Give a column, and after it the fields that its type spells out as `STRUCT(name TYPE, …)`, however deep.

    >>> plain = Column(name="address", native_type="STRUCT(city VARCHAR, geo STRUCT(lat DOUBLE))", kind="string")
    >>> [(one.name, one.kind) for one in with_fields(plain, "duckdb")]
    [('address', 'string'), ('address.city', 'string'), ('address.geo', 'string'), ('address.geo.lat', 'number')]
    """
    yield column
    if "." in column.name and not column.native_type.startswith(_START):
        return
    for name, native in record_fields(column.native_type):
        if "." not in name:
            field = Column(
                name=f"{column.name}.{name}", native_type=native, kind=column_kind(native, dialect)
            )
            yield from with_fields(field, dialect)


def record_fields(native_type: str) -> list[tuple[str, str]]:
    """Take the type of a record apart; anything else, arrays of records too, has no fields.

    >>> record_fields('STRUCT("a, b" DECIMAL(4,1), c INTEGER[])'), record_fields("STRUCT(a INTEGER)[]")
    ([('a, b', 'DECIMAL(4,1)'), ('c', 'INTEGER[]')], [])
    """
    if not native_type.startswith(_START) or not native_type.endswith(")"):
        return []
    fields: list[tuple[str, str]] = []
    for part in _split(native_type[len(_START) : -1]):
        if part.startswith('"'):
            end = part.index('"', 1)
            while part[end : end + 2] == '""':
                end = part.index('"', end + 2)
            name, native = part[1:end].replace('""', '"'), part[end + 1 :]
        else:
            name, _, native = part.partition(" ")
        if name and native.strip():
            fields.append((name, native.strip()))
    return fields


def _split(text: str) -> Iterator[str]:
    """Split at the commas that stand in no parentheses and no quotes."""
    depth, start, quote = 0, 0, ""
    for at, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "([":
            depth += 1
        elif letter in ")]":
            depth -= 1
        elif letter == "," and depth == 0:
            yield text[start:at].strip()
            start = at + 1
    yield text[start:].strip()


def is_field(name: str, table: Table) -> bool:
    """Tell whether a column of a table is a field of another."""
    first, dot, _ = name.partition(".")
    return bool(dot) and table.column(first) is not None


def leaves(table: Table) -> list[str]:
    """Name the columns of a table that have no fields of their own."""
    names = [column.name for column in table.columns]
    records = {name.rpartition(".")[0] for name in names if is_field(name, table)}
    return [name for name in names if name not in records]


def plain_names(catalog: Catalog) -> frozenset[str]:
    """Name the columns whose name has a dot and is no path."""
    return frozenset(
        column.name
        for table in catalog.tables
        for column in table.columns
        if "." in column.name and not is_field(column.name, table)
    )


def without_ambiguous(catalog: Catalog) -> Catalog:
    """Leave out fields whose path is the plain name of some other column: a name means one thing in a database."""
    plain = plain_names(catalog)
    if not plain:
        return catalog
    tables = tuple(
        replace(
            table,
            columns=tuple(
                column
                for column in table.columns
                if column.name not in plain or not is_field(column.name, table)
            ),
        )
        for table in catalog.tables
    )
    return replace(catalog, tables=tables)
