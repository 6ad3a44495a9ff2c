"""Names as quoted sqlglot identifiers, so that reserved words, blanks and letter case need no thought elsewhere."""

from collections.abc import Container, Iterable

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


def with_paths(tree: exp.Expr, *, is_wrapped: bool = False, plain: Container[str] = frozenset()) -> exp.Expr:
    """Turn columns whose name has dots into paths, for databases where a dot leads into a record.

    `is_wrapped` puts parentheses around the record, where a bare path would be read as a table's column; names in `plain` stay.

    >>> with_paths(exp.select(column_expression("address.city")).from_("t")).sql("bigquery")
    'SELECT `address`.`city` FROM t'
    >>> with_paths(exp.select(column_expression("address.city")).from_("t"), is_wrapped=True).sql("postgres")
    'SELECT ("address")."city" FROM t'
    """
    for column in list(tree.find_all(exp.Column)):
        first, *rest = column.name.split(".")
        if rest and column.name not in plain:
            path: exp.Expr = exp.Column(this=_identifier(first), table=column.args.get("table"))
            if is_wrapped:
                path = exp.Paren(this=path)
            for step in rest:
                path = exp.Dot(this=path, expression=_identifier(step))
            column.replace(path)
    return tree


def _identifier(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=True)
