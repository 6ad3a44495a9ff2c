"""Finding the table that a tool means in the catalog of a target, and writing its columns in the target's SQL."""

import functools
import re
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.catalog import Column, Table, TableRef
from ktx.sources.evidence import UnmappedReason
from ktx.sources.source import Target

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


class Unsayable(Exception):  # noqa: N818 - a reason, caught where the thing that cannot be said has a name
    """Something that the layer cannot hold, with the reason that the report gives."""

    def __init__(self, reason: UnmappedReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: UnmappedReason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A table where it lies."""

    target: Target
    table: Table


def place(target: Target, ref: TableRef) -> Placed:
    """Find a table on a target.

    Raises:
        Unsayable: it is not in the catalog of the target's last scan, or two tables of it fit.
    """
    found = target.find(ref)
    if len(found) == 1:
        return Placed(target=target, table=found[0])
    if found:
        names = ", ".join(f"`{table.ref}`" for table in found[:5])
        raise Unsayable("multiple_table_references", f"`{ref}` may be any of {names}.")
    why = "was never scanned" if target.catalog is None else "does not have it"
    raise Unsayable("no_physical_table", f"`{ref}` has no place: `{target.connection_id}` {why}.")


def column_of(table: Table, name: str) -> Column | None:
    """Give a column by its name, letter case aside where no column is spelled exactly so."""
    exact = table.column(name)
    if exact is not None:
        return exact
    folded = [column for column in table.columns if column.name.casefold() == name.casefold()]
    return folded[0] if len(folded) == 1 else None


def column_sql(name: str, dialect: str, *, of: str | None = None) -> exp.Column:
    """Write a column, bare or as `of.name`, quoted where the dialect would read the bare word as something else."""
    return exp.Column(
        this=exp.to_identifier(name, quoted=not is_plain(name, dialect)),
        table=None if of is None else exp.to_identifier(of, quoted=not is_plain(of, dialect)),
    )


@functools.lru_cache(maxsize=65536)
def is_plain(name: str, dialect: str) -> bool:
    """Tell whether a name may stand without quotes."""
    if not _PLAIN.fullmatch(name):
        return False
    try:
        tree = sqlglot.parse_one(f"{name} + {name}.{name}", dialect=dialect)
    except SqlglotError:
        return False
    return (
        isinstance(tree, exp.Add)
        and isinstance(tree.this, exp.Column)
        and isinstance(tree.expression, exp.Column)
    )
