"""Statements without their values: what may be kept of a text that somebody wrote over data."""

from sqlglot import exp


def template_text(tree: exp.Expr, dialect: str) -> str:
    """Print a statement without its literals: each is `?`, and a list of them is one `?`.

    >>> import sqlglot
    >>> template_text(sqlglot.parse_one("SELECT a FROM t WHERE b = 'Ann' AND c IN (1, 2, 3)"), "postgres")
    'SELECT a FROM t WHERE b = ? AND c IN (?)'
    """
    bare = tree.copy().transform(_without_literal)
    for node in bare.find_all(exp.In, exp.Tuple, exp.Array):
        items = node.expressions
        if len(items) > 1 and all(isinstance(item, exp.Var) and item.name == "?" for item in items):
            node.set("expressions", items[:1])
    for values in bare.find_all(exp.Values):
        values.set("expressions", values.expressions[:1])
    return bare.sql(dialect=dialect, comments=False).replace("'?'", "?")


def _without_literal(node: exp.Expr) -> exp.Expr:
    is_value = isinstance(
        node,
        exp.Literal | exp.Parameter | exp.Placeholder | exp.National | exp.RawString | exp.HexString | exp.ByteString
        | exp.BitString | exp.UnicodeString | exp.Heredoc,
    )  # fmt: skip
    if not is_value or isinstance(node.parent, exp.DataTypeParam):
        return node
    return exp.var("?")
