"""Looker's filter expressions (`paid,-test%`, `>=5 AND <10`, `NOT NULL`, `after 2024-01-01`) as conditions.

What depends on the day a question is asked has no condition and is refused by name.
"""

import datetime as dt
import re
from collections.abc import Iterator
from typing import Final, Literal

from sqlglot import exp

from ktx.sources.lookml.unsayable import Unsayable, ensure_plain

FieldKind = Literal["string", "number", "yesno", "time"]

_NUMBER: Final = r"-?\d+(?:\.\d+)?"
_COMPARED = re.compile(rf"(>=|<=|<>|!=|>|<|=)\s*({_NUMBER})")
_RANGE = re.compile(rf"([\[(])\s*({_NUMBER}|-?inf)?\s*,\s*({_NUMBER}|inf)?\s*([\])])", re.IGNORECASE)
_TO = re.compile(rf"({_NUMBER})\s+to\s+({_NUMBER})", re.IGNORECASE)
_MOMENT: Final = r"(\d{4})(?:[-/](\d{1,2})(?:[-/](\d{1,2}))?)?"


def condition(value: str, subject: exp.Expr, kind: FieldKind) -> exp.Expr | None:
    """Give the condition of a filter expression on a field, or None for one that keeps every row.

    Raises:
        Unsayable: it depends on the present, on a user, or is not a filter expression.
    """
    ensure_plain(value, f"filter `{value}`")
    text = value.strip()
    if not text or text.casefold() in {"any value", "any time"} or (kind == "string" and text == "%"):
        return None
    match kind:
        case "string":
            return _string(text, subject)
        case "number":
            return _number(text, subject)
        case "yesno":
            return _yesno(text, subject)
        case "time":
            return _time(text, subject)


def _yesno(text: str, subject: exp.Expr) -> exp.Expr:
    word = text.casefold()
    if word in {"yes", "true"}:
        return subject.copy()
    if word in {"no", "false"}:
        return exp.Not(this=exp.Coalesce(this=subject.copy(), expressions=[exp.false()]))
    raise _refused(text, "yes or no")


def _string(text: str, subject: exp.Expr) -> exp.Expr:
    wanted, refused = list[exp.Expr](), list[exp.Expr]()
    equal, unequal = list[str](), list[str]()
    for term, is_quoted in _terms(text):
        is_not = term.startswith("-") and not is_quoted
        bare = term[1:] if is_not else term
        word = "" if is_quoted else bare.upper()
        if word in {"NULL", "EMPTY"}:
            found = _is_null(subject)
            if word == "EMPTY":
                found = exp.Paren(
                    this=exp.Or(this=found, expression=exp.EQ(this=subject.copy(), expression=_text("")))
                )
            (refused if is_not else wanted).append(exp.Not(this=exp.Paren(this=found)) if is_not else found)
        elif not is_quoted and re.search(r"(?<!\^)%", bare):
            if re.search(r"\^[%_]|_", bare):
                raise Unsayable("expression_not_supported", f"The filter `{text}` escapes wildcards.")
            like = exp.Like(this=subject.copy(), expression=_text(bare.replace("^", "")))
            (refused if is_not else wanted).append(_other_than(like, subject) if is_not else like)
        else:
            (unequal if is_not else equal).append(bare.replace("^", ""))
    if equal:
        wanted.insert(0, _one_of(subject, equal))
    if unequal:
        refused.insert(0, _other_than(_one_of(subject, unequal), subject))
    parts = ([_any(wanted)] if wanted else []) + refused
    if not parts:
        raise _refused(text, "texts")
    return _all(parts)


def _other_than(found: exp.Expr, subject: exp.Expr) -> exp.Expr:
    """Turn a condition round; rows without a value stay, as Looker keeps them."""
    return exp.Paren(this=exp.Or(this=exp.Not(this=exp.Paren(this=found)), expression=_is_null(subject)))


def _terms(text: str) -> Iterator[tuple[str, bool]]:
    """Split at commas that are neither quoted nor escaped."""
    for piece in re.findall(r'\s*(-?"[^"]*"|(?:\^.|[^,])*)\s*(?:,|$)', text):
        term = piece.strip()
        if not term:
            continue
        quoted = re.fullmatch(r'(-?)"([^"]*)"', term)
        if quoted and quoted[1]:
            yield f"-{quoted[2]}", False
        elif quoted:
            yield quoted[2], True
        else:
            yield term, False


def _number(text: str, subject: exp.Expr) -> exp.Expr:
    wanted, unwanted = list[exp.Expr](), list[exp.Expr]()
    negated = False
    for term in _number_terms(text):
        is_not = bool(re.match(r"NOT\b", term, re.IGNORECASE)) or term.startswith(("<>", "!="))
        bare = re.sub(r"^(?:NOT\b|<>|!=)\s*", "", term, flags=re.IGNORECASE).strip()
        # `NOT 66, 99` leaves out both.
        negated = negated or is_not
        plain = re.fullmatch(_NUMBER, bare)
        found = _number_term(bare, subject, text)
        (unwanted if is_not or (negated and plain) else wanted).append(found)
    parts = [_any(wanted)] if wanted else list[exp.Expr]()
    for each in unwanted:
        is_null = isinstance(each, exp.Is)
        parts.append(exp.Not(this=exp.Paren(this=each)) if is_null else _other_than(each, subject))
    if not parts:
        raise _refused(text, "numbers")
    return _all(parts)


def _number_terms(text: str) -> list[str]:
    """Split at `OR` and at commas outside brackets."""
    pieces = re.split(r"\s+OR\s+|,(?![^\[(]*[\])])", text, flags=re.IGNORECASE)
    return [piece.strip() for piece in pieces if piece.strip()]


def _number_term(term: str, subject: exp.Expr, text: str) -> exp.Expr:
    if term.upper() == "NULL":
        return _is_null(subject)
    if re.fullmatch(_NUMBER, term):
        return exp.EQ(this=subject.copy(), expression=_digits(term))
    if (to := _TO.fullmatch(term)) is not None:
        return _between(subject, ">=", to[1], "<=", to[2])
    if (span := _RANGE.fullmatch(term)) is not None:
        low = span[2] if span[2] and "inf" not in span[2].lower() else None
        high = span[3] if span[3] and "inf" not in span[3].lower() else None
        if low is None and high is None:
            raise _refused(text, "numbers")
        return _between(subject, ">=" if span[1] == "[" else ">", low, "<=" if span[4] == "]" else "<", high)
    compared = [
        _COMPARED.fullmatch(part.strip()) for part in re.split(r"\s+AND\s+", term, flags=re.IGNORECASE)
    ]
    if any(each is None for each in compared):
        raise _refused(text, "numbers")
    return _all([_compare(subject, each[1], _digits(each[2])) for each in compared if each is not None])


def _time(text: str, subject: exp.Expr) -> exp.Expr:
    found = [
        _time_term(term.strip(), subject, text) for term in re.split(r"\s+OR\s+|,", text, flags=re.IGNORECASE)
    ]
    return _any(found)


def _time_term(term: str, subject: exp.Expr, text: str) -> exp.Expr:
    word = term.upper()
    if word == "NULL":
        return _is_null(subject)
    if word == "NOT NULL":
        return exp.Not(this=exp.Paren(this=_is_null(subject)))
    if (one := re.fullmatch(_MOMENT, term)) is not None:
        return _from_to(subject, _start(one.groups(), text), _end(one.groups(), text))
    if (after := re.fullmatch(rf"after\s+{_MOMENT}", term, re.IGNORECASE)) is not None:
        return _from_to(subject, _start(after.groups(), text), None)
    if (before := re.fullmatch(rf"before\s+{_MOMENT}", term, re.IGNORECASE)) is not None:
        return _from_to(subject, None, _start(before.groups(), text))
    if (span := re.fullmatch(rf"{_MOMENT}\s+to\s+{_MOMENT}", term, re.IGNORECASE)) is not None:
        return _from_to(subject, _start(span.groups()[:3], text), _start(span.groups()[3:], text))
    raise Unsayable(
        "expression_not_supported",
        f"The filter `{text}` depends on the day of the question: filter the question instead.",
    )


def _start(parts: tuple[str | None, ...], text: str) -> dt.date:
    year, month, day = (int(part) if part else 1 for part in parts)
    try:
        return dt.date(year, month, day)
    except ValueError:
        raise _refused(text, "dates") from None


def _end(parts: tuple[str | None, ...], text: str) -> dt.date:
    start = _start(parts, text)
    try:
        if parts[2]:
            return start + dt.timedelta(days=1)
        if parts[1]:
            return dt.date(start.year + start.month // 12, start.month % 12 + 1, 1)
        return dt.date(start.year + 1, 1, 1)
    except (ValueError, OverflowError):
        raise _refused(text, "dates") from None


def _from_to(subject: exp.Expr, start: dt.date | None, end: dt.date | None) -> exp.Expr:
    parts = list[exp.Expr]()
    if start is not None:
        parts.append(exp.GTE(this=subject.copy(), expression=_date(start)))
    if end is not None:
        parts.append(exp.LT(this=subject.copy(), expression=_date(end)))
    return _all(parts)


def _between(subject: exp.Expr, low_op: str, low: str | None, high_op: str, high: str | None) -> exp.Expr:
    parts = [
        _compare(subject, op, _digits(end)) for op, end in ((low_op, low), (high_op, high)) if end is not None
    ]
    return _all(parts)


def _compare(subject: exp.Expr, operator: str, other: exp.Expr) -> exp.Expr:
    kinds = {
        ">=": exp.GTE,
        "<=": exp.LTE,
        ">": exp.GT,
        "<": exp.LT,
        "=": exp.EQ,
        "<>": exp.NEQ,
        "!=": exp.NEQ,
    }
    return kinds[operator](this=subject.copy(), expression=other)


def _one_of(subject: exp.Expr, values: list[str]) -> exp.Expr:
    if len(values) == 1:
        return exp.EQ(this=subject.copy(), expression=_text(values[0]))
    return exp.In(this=subject.copy(), expressions=[_text(value) for value in values])


def _is_null(subject: exp.Expr) -> exp.Expr:
    return exp.Is(this=subject.copy(), expression=exp.null())


def _any(parts: list[exp.Expr]) -> exp.Expr:
    return parts[0] if len(parts) == 1 else exp.Paren(this=exp.or_(*parts, copy=False))


def _all(parts: list[exp.Expr]) -> exp.Expr:
    return parts[0] if len(parts) == 1 else exp.and_(*parts, copy=False)


def _text(value: str) -> exp.Expr:
    return exp.Literal.string(value)


def _digits(value: str) -> exp.Expr:
    return exp.Neg(this=exp.Literal.number(value[1:])) if value.startswith("-") else exp.Literal.number(value)


def _date(day: dt.date) -> exp.Expr:
    return exp.cast(exp.Literal.string(day.isoformat()), exp.DataType.Type.DATE)


def _refused(text: str, what: str) -> Unsayable:
    return Unsayable(
        "expression_not_supported", f"The filter `{text}` is no filter on {what} that ktx can read."
    )
