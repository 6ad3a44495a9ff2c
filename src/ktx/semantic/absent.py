"""A joined row that is not there: its computed columns are missing too, whatever their expression makes of NULL.

`CASE … ELSE 'no' END` or `COALESCE(x, 0)` over an outer-joined row without a match would invent a value. An expression that is
NULL whenever its inputs are needs no care; any other one is guarded by a column that a match always has.
"""

from sqlglot import exp

from ktx.errors import LayerError
from ktx.semantic.expressions import conjuncts
from ktx.semantic.graph import FAR, Edge, find_column
from ktx.semantic.source import Column, Source

_STRICT: tuple[type[exp.Expr], ...] = (
    exp.Column, exp.Identifier, exp.Literal, exp.Paren, exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.IntDiv,
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.ILike, exp.Not, exp.Cast, exp.DataType,
    exp.DataTypeParam, exp.Nullif, exp.Lower, exp.Upper, exp.Trim, exp.Length, exp.Substring, exp.Round, exp.Abs, exp.Floor,
    exp.Ceil, exp.Sqrt, exp.Extract, exp.Var, exp.DateTrunc, exp.TimestampTrunc, exp.Year, exp.Month, exp.Day, exp.Date,
)  # fmt: skip
_COMPARISONS = (exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE)


def is_strict(tree: exp.Expr) -> bool:
    """Tell whether an expression is certainly NULL when all of its columns are; one without columns never is."""
    return all(isinstance(node, _STRICT) for node in tree.walk()) and _needs_a_column(tree)


def witness(edge: Edge, target: Source) -> Column:
    """Give a physical column of the target that is never NULL in a row that the edge joins.

    Raises:
        LayerError: when the condition compares none, so that an absent row cannot be told from a present one.
    """
    for part in conjuncts(edge.condition):
        if not isinstance(part, _COMPARISONS):
            continue
        for side in (part.left, part.right):
            if isinstance(side, exp.Column) and side.table == FAR:
                found = find_column(target, side.name)
                if found is not None and found.expr is None:
                    return found
    raise LayerError(
        f"A computed column of `{target.name}` cannot be used through the join `{edge.text}`: nothing tells a missing row from "
        f"one that is there.",
        hint="Compare a column of the target by `=` in the join's `on`.",
    )


def guarded(tree: exp.Expr, mark: exp.Expr) -> exp.Expr:
    """Give the expression where the mark is there, and NULL elsewhere."""
    return exp.Case().when(exp.Not(this=exp.Is(this=mark, expression=exp.null())), tree)


def _needs_a_column(tree: exp.Expr) -> bool:
    """Tell whether NULL columns reach the top: for `NULLIF` only through its first argument."""
    if isinstance(tree, exp.Column):
        return True
    if isinstance(tree, exp.Nullif):
        return _needs_a_column(tree.this)
    return any(_needs_a_column(child) for child in tree.iter_expressions())
