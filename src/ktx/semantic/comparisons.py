"""The kinds of bound trees where they are certain, and comparisons that an engine cannot make, or makes without sense.

Only what follows from declared types is refused: an untyped column, or the result of a function that is not known here, may
be compared with anything.
"""

import re
from collections.abc import Callable
from typing import TypeAlias

from sqlglot import exp

from ktx.catalog import ColumnKind
from ktx.errors import QueryError
from ktx.semantic.dialects import Facts

ColumnKinds: TypeAlias = Callable[[exp.Column], ColumnKind | None]

_CONDITIONS = (
    exp.Boolean, exp.Connector, exp.Not, exp.Is, exp.In, exp.Between, exp.Like, exp.ILike, exp.EQ, exp.NEQ, exp.GT, exp.GTE,
    exp.LT, exp.LTE,
)  # fmt: skip
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Between)
_TEXTS = (exp.Lower, exp.Upper, exp.Trim, exp.DPipe, exp.Substring)
_NUMBERS = (
    exp.Length,
    exp.Abs,
    exp.Round,
    exp.Floor,
    exp.Ceil,
    exp.Extract,
    exp.Year,
    exp.Month,
    exp.Quarter,
)
_MOMENT = re.compile(r"\s*(\d{4}-\d{1,2}(-\d{1,2})?\b|\d{4}$|\d{8}\b|\d{1,2}:\d{2})")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def kind_of(tree: exp.Expr, columns: ColumnKinds) -> ColumnKind | None:
    """Give the kind of a tree where it is certain, else None."""
    inner = tree.unnest()
    if isinstance(inner, exp.Column):
        return columns(inner)
    if isinstance(inner, exp.Literal):
        return "string" if inner.is_string else "number"
    if isinstance(inner, _CONDITIONS):
        return "boolean"
    if isinstance(inner, _TEXTS):
        return "string"
    if isinstance(inner, _NUMBERS):
        return "number"
    if isinstance(inner, exp.Neg):
        return kind_of(inner.this, columns)
    if isinstance(inner, exp.Add | exp.Sub | exp.Mul | exp.Div):
        sides = (kind_of(inner.left, columns), kind_of(inner.right, columns))
        return "number" if sides == ("number", "number") else None
    return None


def ensure_condition(tree: exp.Expr, text: str, columns: ColumnKinds) -> None:
    """Refuse a value where a condition is needed, also beside an AND, an OR or a NOT.

    Raises:
        QueryError: when one is certainly not a condition.
    """
    inner = tree.unnest()
    if isinstance(inner, exp.Connector):
        ensure_condition(inner.left, text, columns)
        ensure_condition(inner.right, text, columns)
    elif isinstance(inner, exp.Not):
        ensure_condition(inner.this, text, columns)
    elif kind_of(inner, columns) in {"string", "number", "time"}:
        raise QueryError(f"`{text}` is a value, not a condition.", hint="Compare it with something.")


def ensure_comparable(tree: exp.Expr, text: str, columns: ColumnKinds, facts: Facts) -> None:
    """Refuse comparisons and arithmetic between kinds that have nothing in common.

    Raises:
        QueryError: naming the two kinds.
    """
    for node in tree.walk():
        if isinstance(node, _COMPARISONS):
            _ensure_comparison(node, text, columns)
        elif isinstance(node, exp.Like | exp.ILike) and facts.has_strict_types:
            kind = kind_of(node.this, columns)
            if kind not in {None, "string"}:
                raise QueryError(
                    f"`{text}` matches a {kind} against a pattern, which {facts.name} does only with text.",
                    hint="Compare it with a value, or cast it to text first.",
                )
        elif isinstance(node, exp.Sub | exp.Mul | exp.Div | exp.Mod):
            for side in (node.left, node.right):
                inner = side.unnest()
                if isinstance(inner, exp.Column) and columns(inner) == "string":
                    raise QueryError(
                        f"`{text}` calculates with a string.",
                        hint="If the column holds numbers, say so with `type: number`.",
                    )


def with_truth_values(tree: exp.Expr, columns: ColumnKinds) -> exp.Expr:
    """Write 0 and 1 beside a boolean column as the truth values that they stand for; some engines have only those."""
    result = tree.copy()
    for node in list(result.find_all(exp.EQ, exp.NEQ)):
        for one, other in ((node.left, node.right), (node.right, node.left)):
            is_flag = isinstance(one.unnest(), exp.Column) and kind_of(one, columns) == "boolean"
            if (
                is_flag
                and isinstance(other, exp.Literal)
                and not other.is_string
                and other.name in {"0", "1"}
            ):
                other.replace(exp.Boolean(this=other.name == "1"))
    return result


def _ensure_comparison(node: exp.Expr, text: str, columns: ColumnKinds) -> None:
    sides = [side for side in node.iter_expressions() if not isinstance(side, exp.Identifier)]
    kinds = {kind_of(side, columns) for side in sides if not isinstance(side.unnest(), exp.Literal)}
    if len(kinds) != 1:
        if kinds == {"time", "number"}:
            raise QueryError(f"`{text}` compares a time with a number.", hint=_HINT)
        return
    kind = kinds.pop()
    for side in sides:
        literal = side.unnest()
        value = literal.this if isinstance(literal, exp.Neg) else literal
        if not isinstance(value, exp.Literal):
            continue
        if value.is_string and not _reads_as(value.name, kind):
            raise QueryError(f"`{text}` compares a {kind} with the text `{value.name}`.", hint=_HINT)
        if not value.is_string and not _is_numeric(value.name, kind):
            raise QueryError(f"`{text}` compares a {kind} with the number {literal.sql()}.", hint=_HINT)


_HINT = "Write dates as '2024-01-31', texts in quotes and numbers without; a column of another kind says so with `type`."


def _reads_as(text: str, kind: str | None) -> bool:
    """Whether an engine can read a text as a value of a kind; engines that cannot would fail while running."""
    if kind == "time":
        return _MOMENT.match(text) is not None
    if kind == "number":
        return _NUMBER.fullmatch(text.strip()) is not None
    return True


def _is_numeric(number: str, kind: str | None) -> bool:
    """Whether a number can be compared with a kind: 0 and 1 are also the two truth values."""
    return kind in {None, "number"} or (kind == "boolean" and number in {"0", "1"})
