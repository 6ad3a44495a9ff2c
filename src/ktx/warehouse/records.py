"""Rows of catalog queries as records, and the statements of catalogs that are read one by one."""

from collections.abc import Callable, Mapping, Sequence

import sqlglot
from sqlglot import exp

from ktx.catalog import CapabilityGap
from ktx.errors import QueryError, WarehouseError
from ktx.warehouse.rows import Rows

Record = Mapping[str, object]
"""One row of a catalog query, by lower-case column name."""


def records_of(rows: Rows) -> list[Record]:
    """Give each row as a record, under lower-case column names."""
    names = [column.name.lower() for column in rows.columns]
    return [dict(zip(names, row, strict=True)) for row in rows.rows]


def optional_records(
    what: str, query: str | None, *, run: Callable[[str], Rows], gaps: list[CapabilityGap]
) -> list[Record]:
    """Give the records of a query that may be refused: then none, and a gap called `what` says why."""
    if query is None:
        return []
    try:
        return records_of(run(query))
    except (QueryError, WarehouseError) as error:
        gaps.append(CapabilityGap(what=what, reason=error.message))
        return []


def scoped_statement(
    statement: str,
    *,
    dialect: str,
    catalog: str | None = None,
    dataset: str | None = None,
    column: str | None = None,
    names: Sequence[str] = (),
) -> str:
    """Point a catalog statement at one catalog, and keep it to the rows whose `column` is one of `names`.

    `catalog` is put before every table that is written as `schema.name`, or as a plain name once `dataset` stands before that.

    >>> print(scoped_statement("SELECT a FROM inf.t", dialect="trino", catalog="x", column="s", names=["p"]))
    SELECT a FROM "x".inf.t WHERE s IN ('p')
    """
    tree = sqlglot.parse_one(statement, read=dialect)
    for table in tree.find_all(exp.Table):
        if dataset is not None and not table.db:
            table.set("db", exp.to_identifier(dataset, quoted=True))
        if catalog is not None and table.db and not table.catalog:
            table.set("catalog", exp.to_identifier(catalog, quoted=True))
    if column is not None and names and isinstance(tree, exp.Select):
        tree = tree.where(exp.column(column).isin(*names), copy=False)
    return tree.sql(dialect=dialect, comments=False)
