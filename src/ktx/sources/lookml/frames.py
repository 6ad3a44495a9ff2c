"""What Looker's ready-made dimension types compute: parts of a time, bins of a number, labelled cases."""

import itertools
import re
from typing import Final

from sqlglot import exp

from ktx.sources.lookml.filters import FieldKind
from ktx.sources.lookml.unsayable import Unsayable

_SAME: Final = frozenset({"raw", "time"})
_PARTS: Final = {
    "year": "YEAR",
    "month_num": "MONTH",
    "day_of_month": "DAY",
    "hour_of_day": "HOUR",
}
_PERIODS = re.compile(
    r"raw|time|date|week|month|quarter|year|fiscal_(?:quarter|year|month_num|quarter_of_year)|time_of_day"
    r"|(?:hour|minute|second|millisecond)\d*|microsecond|hour_of_day|day_of_(?:week|week_index|month|year)"
    r"|week_of_year|month_num|month_name|quarter_of_year|yesno"
)


def split_frame(name: str, groups: "frozenset[str] | set[str]") -> tuple[str, str] | None:
    """Give the dimension group and the timeframe that a name like `created_week` is made of."""
    found = [
        group
        for group in groups
        if name.startswith(f"{group}_") and _PERIODS.fullmatch(name[len(group) + 1 :])
    ]
    group = max(found, key=len, default=None)
    return None if group is None else (group, name[len(group) + 1 :])


def frame_expression(subject: exp.Expr, frame: str) -> exp.Expr:
    """Give the value of a timeframe inside an expression.

    Raises:
        Unsayable: Looker writes it as a text of its own, or in a way that depends on its settings.
    """
    if frame in _SAME:
        return subject
    if frame == "date":
        return exp.cast(subject.copy(), exp.DataType.Type.DATE)
    if frame in _PARTS:
        return exp.Extract(this=exp.var(_PARTS[frame]), expression=subject.copy())
    raise Unsayable(
        "expression_not_supported",
        f"It uses the timeframe `{frame}`, which Looker writes in a form of its own.",
    )


def frame_filter(subject: exp.Expr, frame: str) -> tuple[exp.Expr, FieldKind]:
    """Give what a filter on a timeframe compares."""
    if frame in _PARTS and frame != "year":
        return frame_expression(subject, frame), "number"
    if frame in {*_SAME, "date", "week", "month", "quarter", "year", "hour", "minute", "second"}:
        return subject, "time"
    raise Unsayable("expression_not_supported", f"It filters on the timeframe `{frame}`.")


def tier(subject: exp.Expr, tiers: tuple[str, ...], style: str) -> tuple[exp.Expr, tuple[str, ...]]:
    """Give the CASE of a `tier` dimension, and its labels in order."""
    try:
        edges = sorted({float(edge) for edge in tiers})
    except ValueError:
        edges = []
    if not edges:
        raise Unsayable("parse_error", "Its `tiers` are not numbers.")
    texts = [_number(edge) for edge in edges]
    labels = [_label(None, texts[0], style)]
    labels += [_label(low, high, style) for low, high in itertools.pairwise(texts)]
    labels.append(_label(texts[-1], None, style))
    whens = [(exp.Is(this=subject.copy(), expression=exp.null()), "Undefined")]
    whens += [
        (exp.LT(this=subject.copy(), expression=_literal(edge)), label)
        for edge, label in zip(texts, labels, strict=False)
    ]
    tree = exp.Case(
        ifs=[exp.If(this=condition, true=exp.Literal.string(label)) for condition, label in whens],
        default=exp.Literal.string(labels[-1]),
    )
    return tree, (*labels, "Undefined")


def _label(low: str | None, high: str | None, style: str) -> str:
    if style == "integer":
        if low is None:
            return f"Below {high}"
        return f"{low} or Above" if high is None else f"{low} to {_number(float(high) - 1)}"
    if style == "relational":
        if low is None:
            return f"< {high}"
        return f">= {low}" if high is None else f">= {low} and < {high}"
    return f"(-inf,{high})" if low is None else f"[{low},{high or 'inf'})"


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _literal(text: str) -> exp.Expr:
    return exp.Neg(this=exp.Literal.number(text[1:])) if text.startswith("-") else exp.Literal.number(text)


def is_time_type(kind: str) -> bool:
    """Tell whether a dimension's type is a time."""
    return re.fullmatch(r"time|date(_.*)?", kind) is not None
