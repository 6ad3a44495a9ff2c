"""Looker's filter expressions (`complete,-returned`, `>=5`, `[1,10)`, `yes`) as SQL conditions; times are refused."""

import re
from typing import Final

from sqlglot import exp

from ktx.sources.looker.wire import FieldInfo
from ktx.sources.placing import Unsayable

_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")
_COMPARED: Final = re.compile(r"(<=|>=|<>|!=|<|>|=)\s*(-?\d+(?:\.\d+)?)")
_RANGE: Final = re.compile(
    r"([\[(])\s*(-?\d+(?:\.\d+)?|-?inf)?\s*,\s*(-?\d+(?:\.\d+)?|inf)?\s*([\])])", re.IGNORECASE
)
_SPLIT: Final = re.compile(r",(?![^\[(]*[\])])")
_NUMERIC: Final = frozenset({"number", "int", "tier"})
_OPERATORS: Final = {
    "<": exp.LT,
    "<=": exp.LTE,
    ">": exp.GT,
    ">=": exp.GTE,
    "=": exp.EQ,
    "<>": exp.NEQ,
    "!=": exp.NEQ,
}


def condition(info: FieldInfo, tree: exp.Expr, text: str | None) -> exp.Expr | None:
    """Give the condition that a filter expression puts on a field; None for an empty one, which holds for every row.

    Raises:
        Unsayable: it is about time, or has a form that has no translation.
    """
    said = (text or "").strip()
    if said == "":
        return None
    if any(sign in said for sign in ("{%", "{{", "_user_attributes", "@{")):
        raise Unsayable("looker_template_unresolved", f"The filter of `{info.name}` is a template.")
    if info.type == "yesno":
        return _yesno(info, tree, said)
    if info.type in _NUMERIC:
        return _numbers(info, tree, said)
    if info.type in ("string", "zipcode"):
        return _texts(info, tree, said)
    raise Unsayable(
        "expression_not_supported", f"A filter on `{info.name}` ({info.type}) has no translation."
    )


def _yesno(info: FieldInfo, tree: exp.Expr, said: str) -> exp.Expr:
    word = said.lower()
    if word in ("yes", "true"):
        return exp.EQ(this=tree, expression=exp.true()) if isinstance(tree, exp.Column) else tree
    if word in ("no", "false"):
        return exp.Not(this=exp.Paren(this=exp.Coalesce(this=tree, expressions=[exp.false()])))
    raise Unsayable("expression_not_supported", f"`{info.name}` is neither yes nor no.")


def _numbers(info: FieldInfo, tree: exp.Expr, said: str) -> exp.Expr:
    kept: list[exp.Expr] = []
    without: list[exp.Expr] = []
    for part in (one.strip() for one in _SPLIT.split(said.replace(" OR ", ",").replace(" or ", ","))):
        is_not = part.upper().startswith("NOT ")
        one = _number(info, tree, part[4:].strip() if is_not else part)
        (without if is_not else kept).append(one)
    return _combined(tree, kept, without)


def _number(info: FieldInfo, tree: exp.Expr, part: str) -> exp.Expr:
    if part.upper() == "NULL":
        return exp.Is(this=tree.copy(), expression=exp.Null())
    if _NUMBER.fullmatch(part):
        return exp.EQ(this=tree.copy(), expression=_literal(part))
    compared = _COMPARED.fullmatch(part)
    if compared is not None:
        return _OPERATORS[compared.group(1)](this=tree.copy(), expression=_literal(compared.group(2)))
    ranged = _RANGE.fullmatch(part)
    if ranged is None:
        raise Unsayable("expression_not_supported", f"The filter of `{info.name}` has no translation.")
    left, low, high, right = ranged.groups()
    bounds: list[exp.Expr] = []
    if low is not None and "inf" not in low.lower():
        bounds.append((exp.GTE if left == "[" else exp.GT)(this=tree.copy(), expression=_literal(low)))
    if high is not None and "inf" not in high.lower():
        bounds.append((exp.LTE if right == "]" else exp.LT)(this=tree.copy(), expression=_literal(high)))
    if not bounds:
        raise Unsayable("expression_not_supported", f"The filter of `{info.name}` has no bounds.")
    return exp.and_(*bounds)


def _texts(info: FieldInfo, tree: exp.Expr, said: str) -> exp.Expr:
    if "^" in said or '"' in said:
        raise Unsayable("expression_not_supported", f"The filter of `{info.name}` has escaped signs.")
    kept: list[exp.Expr] = []
    without: list[exp.Expr] = []
    equal: list[str] = []
    unequal: list[str] = []
    for part in (one.strip() for one in said.split(",")):
        is_not = part.startswith("-")
        word = part[1:].strip() if is_not else part
        if word.upper() in ("NULL", "EMPTY"):
            one: exp.Expr = exp.Is(this=tree.copy(), expression=exp.Null())
            if word.upper() == "EMPTY":
                one = exp.or_(one, exp.EQ(this=tree.copy(), expression=exp.Literal.string("")))
            (without if is_not else kept).append(one)
        elif "%" in word:
            one = exp.Like(this=tree.copy(), expression=exp.Literal.string(word))
            (without if is_not else kept).append(one)
        elif word:
            (unequal if is_not else equal).append(word)
    kept += _listed(tree, equal)
    without += _listed(tree, unequal)
    return _combined(tree, kept, without)


def _listed(tree: exp.Expr, words: list[str]) -> list[exp.Expr]:
    values: list[exp.Expr] = [exp.Literal.string(word) for word in words]
    if not values:
        return []
    if len(values) == 1:
        return [exp.EQ(this=tree.copy(), expression=values[0])]
    return [exp.In(this=tree.copy(), expressions=values)]


def _combined(tree: exp.Expr, kept: list[exp.Expr], without: list[exp.Expr]) -> exp.Expr:
    """Join alternatives by OR; what is excluded by AND, where a row without a value stays unless that is excluded too."""
    parts: list[exp.Expr] = [exp.or_(*kept)] if kept else []
    for one in without:
        no: exp.Expr = exp.Not(this=exp.Paren(this=one))
        about_null = one.find(exp.Null) is not None
        parts.append(
            no if about_null or kept else exp.or_(no, exp.Is(this=tree.copy(), expression=exp.Null()))
        )
    if not parts:
        raise Unsayable("parse_error", "The filter says nothing.")
    return exp.and_(*parts)


def _literal(number: str) -> exp.Expr:
    literal = exp.Literal.number(number.lstrip("-"))
    return exp.Neg(this=literal) if number.startswith("-") else literal
