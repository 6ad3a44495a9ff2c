"""Names as quoted sqlglot identifiers, so that reserved words, blanks and letter case need no thought elsewhere."""

from collections.abc import Iterable

from sqlglot import exp

from ktx.catalog import TableRef


def table_expression(ref: TableRef, *, alias: str | None = None) -> exp.Table:
    """Give the table of a reference, every part quoted.

    >>> table_expression(TableRef(schema="Sales", name="order")).sql("postgres")
    '"Sales"."order"'
    """
    table = exp.Table(
        this=_identifier(ref.name),
        db=_identifier(ref.schema) if ref.schema else None,
        catalog=_identifier(ref.catalog) if ref.catalog else None,
    )
    if alias:
        table.set("alias", exp.TableAlias(this=_identifier(alias)))
    return table


def column_expression(name: str, *, table: str | None = None) -> exp.Column:
    """Give the column of exactly that name, quoted.

    >>> column_expression("group", table="t").sql("mysql")
    '`t`.`group`'
    """
    return exp.Column(this=_identifier(name), table=_identifier(table) if table else None)


def column_expressions(names: Iterable[str], *, table: str | None = None) -> list[exp.Column]:
    """Give several columns of one table."""
    return [column_expression(name, table=table) for name in names]


def with_paths(tree: exp.Expr) -> exp.Expr:
    """Turn columns whose name has dots into paths, for databases where a dot leads into a record.

    >>> with_paths(exp.select(column_expression("address.city")).from_("t")).sql("bigquery")
    'SELECT `address`.`city` FROM t'
    """
    for column in list(tree.find_all(exp.Column)):
        first, *rest = column.name.split(".")
        if rest:
            path: exp.Expr = exp.Column(this=_identifier(first), table=column.args.get("table"))
            for step in rest:
                path = exp.Dot(this=path, expression=_identifier(step))
            column.replace(path)
    return tree


def _identifier(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=True)
