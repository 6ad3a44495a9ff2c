"""Metabase clauses to SQL trees, with the meaning that Metabase's own SQL gives them.

Three habits of it matter for numbers: a negated condition also keeps rows without a value; a standard deviation is that of
the population; a day compared with a timestamp means the whole day.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.catalog import ColumnKind
from ktx.sources.metabase.mbql import Argument, Clause
from ktx.sources.placing import Unsayable

_MAX_EXPANSIONS: Final = 40
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?")
_COMPARISONS: Final[Mapping[str, type[exp.Binary]]] = {"<": exp.LT, "<=": exp.LTE, ">": exp.GT, ">=": exp.GTE}
_ARITHMETIC: Final[Mapping[str, type[exp.Binary]]] = {"+": exp.Add, "-": exp.Sub, "*": exp.Mul, "/": exp.Div}
_UNITS: Final[Mapping[str, tuple[int, str]]] = {
    "day": (1, "DAY"),
    "month": (1, "MONTH"),
    "quarter": (3, "MONTH"),
    "year": (1, "YEAR"),
}
_AGGREGATES: Final[Mapping[str, type[exp.Expr]]] = {
    "sum": exp.Sum,
    "avg": exp.Avg,
    "min": exp.Min,
    "max": exp.Max,
    "median": exp.Median,
    "stddev": exp.StddevPop,
    "var": exp.VariancePop,
}
_PLAIN_CALLS: Final[Mapping[str, type[exp.Expr]]] = {
    "abs": exp.Abs,
    "floor": exp.Floor,
    "ceil": exp.Ceil,
    "round": exp.Round,
    "sqrt": exp.Sqrt,
    "upper": exp.Upper,
    "lower": exp.Lower,
    "trim": exp.Trim,
    "length": exp.Length,
}


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A column as SQL, with what is known of its values; `unit` is the period that its times are cut to."""

    tree: exp.Expr
    kind: ColumnKind | None = None
    is_date: bool = False
    unit: str | None = None


@dataclass(frozen=True, kw_only=True)
class Translator:
    """Translates the clauses of one stage. The callables raise `Unsayable` for what they do not know."""

    dialect: str
    column: Callable[[Clause], Resolved]
    segment: Callable[[int], exp.Expr]
    metric: Callable[[int], exp.Expr]
    expressions: Mapping[str, Argument] = field(default_factory=dict[str, "Argument"])

    def aggregate(self, argument: Argument) -> exp.Expr:
        """Translate an aggregation, or arithmetic over aggregations.

        Raises:
            Unsayable: the layer cannot hold it.
        """
        tree = self._value(argument, 0)
        if not isinstance(argument, Clause) or (
            not any(isinstance(node, exp.AggFunc) for node in tree.walk())
            and not any(clause.op == "metric" for clause in argument.clauses())
        ):
            raise Unsayable("expression_not_supported", "It aggregates nothing.")
        return tree

    def condition(self, argument: Argument) -> exp.Expr:
        """Translate a filter.

        Raises:
            Unsayable: the layer cannot hold it.
        """
        return self._condition(argument, 0)

    def text(self, tree: exp.Expr) -> str:
        """Write a tree in the target's dialect.

        Raises:
            Unsayable: the dialect cannot say it.
        """
        try:
            text = tree.sql(dialect=self.dialect)
            sqlglot.parse_one(text, dialect=self.dialect)
        except RecursionError:
            raise Unsayable("parse_error", "It is nested too deeply.") from None
        except SqlglotError as error:
            raise Unsayable("unsupported_dialect", f"It cannot be written in {self.dialect}.") from error
        return text

    def _value(self, argument: Argument, depth: int) -> exp.Expr:
        if not isinstance(argument, Clause):
            return _literal(argument)
        op = argument.op
        if op == "field":
            return self._bucketed(argument).tree
        if op == "expression":
            return _wrapped(self._named(argument, depth))
        if op == "metric":
            return _wrapped(self.metric(_integer(argument)))
        if op in ("case", "if"):
            return self._case(argument, depth)
        if op in ("count", "distinct", "share", "percentile") or op.endswith("-where") or op in _AGGREGATES:
            return self._aggregate(argument, depth)
        if op in ("cum-sum", "cum-count"):
            raise Unsayable("cumulative_metric_unsupported", f"`{op}` adds up over the rows of a result.")
        return self._computed(argument, depth)

    def _computed(self, clause: Clause, depth: int) -> exp.Expr:
        op, args = clause.op, [self._value(one, depth) for one in clause.args]
        if op in _ARITHMETIC and len(args) > 1:
            tree = _wrapped(args[0])
            for one in args[1:]:
                right = exp.func("NULLIF", one, exp.Literal.number(0)) if op == "/" else _wrapped(one)
                tree = _ARITHMETIC[op](this=tree, expression=right)
            return tree
        if op in _PLAIN_CALLS and len(args) == 1:
            return _PLAIN_CALLS[op](this=args[0])
        if op == "coalesce" and args:
            return exp.Coalesce(this=args[0], expressions=args[1:])
        if op == "concat" and args:
            return exp.Concat(expressions=args)
        if op == "power" and len(args) == 2:
            return exp.Pow(this=args[0], expression=args[1])
        raise Unsayable("expression_not_supported", f"Metabase's `{op}` has no translation.")

    def _aggregate(self, clause: Clause, depth: int) -> exp.Expr:
        op, args = clause.op, clause.args
        if op == "count" and not args:
            return exp.Count(this=exp.Star())
        if op in ("count-where", "share"):
            met = exp.Count(this=_only(exp.Literal.number(1), self._condition(_at(clause, 0), depth)))
            return met if op == "count-where" else exp.Div(this=met, expression=exp.Count(this=exp.Star()))
        value = self._value(_at(clause, 0), depth)
        if any(isinstance(node, exp.AggFunc) for node in value.walk()):
            raise Unsayable(
                "expression_not_supported", "An aggregation within an aggregation has no one meaning."
            )
        if op.endswith("-where"):
            value = _only(value, self._condition(_at(clause, 1), depth), is_sum=op == "sum-where")
        match op.removesuffix("-where"):
            case "count":
                return exp.Count(this=value)
            case "distinct":
                return exp.Count(this=exp.Distinct(expressions=[value]))
            case "percentile":
                share = _at(clause, 1)
                if not isinstance(share, int | float) or not 0 <= share <= 1:
                    raise Unsayable("expression_not_supported", "A percentile needs a number from 0 to 1.")
                return _percentile(value, share)
            case name if name in _AGGREGATES:
                return _AGGREGATES[name](this=value)
            case _:
                raise Unsayable("expression_not_supported", f"Metabase's `{op}` has no translation.")

    def _case(self, clause: Clause, depth: int) -> exp.Expr:
        pairs = _at(clause, 0)
        if not isinstance(pairs, tuple) or not pairs:
            raise Unsayable("parse_error", "A `case` has no cases.")
        ifs: list[exp.If] = []
        for pair in pairs:
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise Unsayable("parse_error", "A `case` holds something that is not a case.")
            ifs.append(exp.If(this=self._condition(pair[0], depth), true=self._value(pair[1], depth)))
        default = self._value(clause.args[1], depth) if len(clause.args) > 1 else None
        return exp.Case(ifs=ifs, default=default)

    def _named(self, clause: Clause, depth: int) -> exp.Expr:
        name = _at(clause, 0)
        if depth > _MAX_EXPANSIONS:
            raise Unsayable("unresolved_reference", f"The expression `{name}` refers to itself.")
        if not isinstance(name, str) or name not in self.expressions:
            raise Unsayable("unresolved_reference", f"There is no expression `{name}`.")
        return self._value(self.expressions[name], depth + 1)

    def _bucketed(self, clause: Clause) -> Resolved:
        found = self.column(clause)
        unit = clause.options.get("temporal-unit")
        if clause.options.get("binning"):
            raise Unsayable("expression_not_supported", "A binned column has no translation.")
        if unit in (None, "default"):
            return found
        if unit not in _UNITS:
            raise Unsayable("expression_not_supported", f"Time by `{unit}` has no translation.")
        return Resolved(tree=_truncated(found.tree, str(unit)), kind="time", is_date=True, unit=str(unit))

    def _condition(self, argument: Argument, depth: int) -> exp.Expr:
        if not isinstance(argument, Clause):
            raise Unsayable("parse_error", "A filter is not a clause.")
        op = argument.op
        if op in ("and", "or"):
            joined = [_wrapped(self._condition(one, depth)) for one in argument.args]
            if not joined:
                raise Unsayable("parse_error", f"`{op}` joins nothing.")
            return exp.and_(*joined) if op == "and" else exp.or_(*joined)
        if op == "not":
            return self._kept_without_value(exp.Not(this=_wrapped(self._condition(_at(argument, 0), depth))))
        if op == "segment":
            return _wrapped(self.segment(_integer(argument)))
        if op == "time-interval":
            return self._interval(argument)
        if op in ("is-null", "not-null", "is-empty", "not-empty"):
            return self._presence(argument, depth)
        if op in ("contains", "does-not-contain", "starts-with", "ends-with"):
            return self._pattern(argument, depth)
        if op in ("=", "!=", "in", "not-in"):
            return self._equal(argument, depth)
        if op in _COMPARISONS or op == "between":
            return self._compared(argument, depth)
        if op in ("field", "expression") and len(argument.args) == 1:
            return exp.EQ(this=self._value(argument, depth), expression=exp.true())
        raise Unsayable("expression_not_supported", f"Metabase's filter `{op}` has no translation.")

    def _side(self, argument: Argument, depth: int) -> Resolved:
        if isinstance(argument, Clause) and argument.op == "field":
            return self._bucketed(argument)
        return Resolved(tree=self._value(argument, depth))

    def _operand(self, side: Resolved, argument: Argument, depth: int) -> exp.Expr:
        """Write what a column is compared with: a text that stands for a time as a time."""
        if side.kind == "time" and isinstance(argument, str):
            if _DAY.fullmatch(argument):
                return exp.cast(exp.Literal.string(_start(argument, side.unit)), "DATE")
            if _MOMENT.fullmatch(argument):
                if side.unit is not None:
                    return exp.cast(exp.Literal.string(_start(argument[:10], side.unit)), "DATE")
                return exp.cast(exp.Literal.string(argument.replace("T", " ")), "TIMESTAMP")
            raise Unsayable(
                "expression_not_supported", "A filter names a time in a form that has no translation."
            )
        return self._value(argument, depth)

    def _equal(self, clause: Clause, depth: int) -> exp.Expr:
        side = self._side(_at(clause, 0), depth)
        values = clause.args[1:]
        if not values:
            raise Unsayable("parse_error", f"`{clause.op}` has nothing to compare with.")
        side = _by_day(side, values)
        given = [self._operand(side, one, depth) for one in values if one is not None]
        tree: exp.Expr | None = None
        if len(given) == 1:
            tree = exp.EQ(this=side.tree, expression=given[0])
        elif given:
            tree = exp.In(this=side.tree, expressions=given)
        if None in values:
            null = exp.Is(this=side.tree.copy(), expression=exp.Null())
            tree = null if tree is None else exp.or_(tree, null)
        if tree is None:
            raise Unsayable("parse_error", f"`{clause.op}` has nothing to compare with.")
        if clause.op in ("=", "in"):
            return tree
        if None in values:
            return exp.Not(this=exp.Paren(this=tree))
        if isinstance(tree, exp.EQ):
            negated: exp.Expr = exp.NEQ(this=tree.this, expression=tree.expression)
        else:
            negated = exp.Not(this=tree)
        return self._kept_without_value(negated)

    def _compared(self, clause: Clause, depth: int) -> exp.Expr:
        side = _by_day(self._side(_at(clause, 0), depth), clause.args[1:])
        low = self._operand(side, _at(clause, 1), depth)
        if clause.op == "between":
            return exp.Between(this=side.tree, low=low, high=self._operand(side, _at(clause, 2), depth))
        return _COMPARISONS[clause.op](this=side.tree, expression=low)

    def _presence(self, clause: Clause, depth: int) -> exp.Expr:
        side = self._side(_at(clause, 0), depth)
        tree: exp.Expr = exp.Is(this=side.tree, expression=exp.Null())
        if clause.op.endswith("empty") and side.kind in ("string", None):
            tree = exp.or_(tree, exp.EQ(this=side.tree.copy(), expression=exp.Literal.string("")))
        return tree if clause.op.startswith("is-") else exp.Not(this=_wrapped(tree))

    def _pattern(self, clause: Clause, depth: int) -> exp.Expr:
        side = self._side(_at(clause, 0), depth).tree
        is_exact = clause.options.get("case-sensitive") is not False
        found: list[exp.Expr] = []
        for value in clause.args[1:]:
            if not isinstance(value, str):
                raise Unsayable("expression_not_supported", f"`{clause.op}` of something that is not text.")
            if any(sign in value for sign in "%_\\"):
                raise Unsayable("expression_not_supported", "A pattern holds a wildcard sign of SQL.")
            text = value if is_exact else value.lower()
            before = "" if clause.op == "starts-with" else "%"
            after = "" if clause.op == "ends-with" else "%"
            subject = side.copy() if is_exact else exp.Lower(this=side.copy())
            found.append(exp.Like(this=subject, expression=exp.Literal.string(f"{before}{text}{after}")))
        if not found:
            raise Unsayable("parse_error", f"`{clause.op}` has nothing to look for.")
        tree = found[0] if len(found) == 1 else exp.or_(*found)
        if clause.op != "does-not-contain":
            return tree
        return self._kept_without_value(exp.Not(this=_wrapped(tree)))

    def _interval(self, clause: Clause) -> exp.Expr:
        """Translate "the last 30 days": whole periods before the present one, which counts only where that is said."""
        side = self._side(_at(clause, 0), 0)
        count, unit = _at(clause, 1), _at(clause, 2)
        if isinstance(count, str):
            count = {"current": 0, "last": -1, "next": 1}.get(count)
        if unit not in _UNITS or not isinstance(count, int):
            raise Unsayable(
                "expression_not_supported",
                f"A moving period by `{unit}` has no translation (where weeks start is a setting of Metabase).",
            )
        has_current = bool(clause.options.get("include-current")) or count == 0
        first, last = (min(count, 0), 0) if count <= 0 else (1, count + 1)
        if has_current:
            first, last = min(first, 0), max(last, 1)
        return exp.and_(
            exp.GTE(this=side.tree, expression=_moment(str(unit), first)),
            exp.LT(this=side.tree.copy(), expression=_moment(str(unit), last)),
        )

    def _kept_without_value(self, tree: exp.Expr) -> exp.Expr:
        columns = {one.sql(dialect=self.dialect): one for one in tree.find_all(exp.Column)}
        return exp.or_(
            tree, *(exp.Is(this=one.copy(), expression=exp.Null()) for _, one in sorted(columns.items()))
        )


def _at(clause: Clause, index: int) -> Argument:
    if index >= len(clause.args):
        raise Unsayable("parse_error", f"`{clause.op}` lacks an argument.")
    return clause.args[index]


def _integer(clause: Clause) -> int:
    found = _at(clause, 0)
    if not isinstance(found, int):
        raise Unsayable("unresolved_reference", f"`{clause.op}` refers to something without a number.")
    return found


def _literal(value: Argument) -> exp.Expr:
    if value is None:
        return exp.Null()
    if isinstance(value, bool):
        return exp.true() if value else exp.false()
    if isinstance(value, int | float):
        number = exp.Literal.number(repr(abs(value)))
        return exp.Neg(this=number) if value < 0 else number
    if isinstance(value, str):
        return exp.Literal.string(value)
    raise Unsayable("parse_error", "A list stands where a value belongs.")


def _wrapped(tree: exp.Expr) -> exp.Expr:
    return exp.Paren(this=tree) if isinstance(tree, exp.Binary | exp.Connector | exp.Not | exp.Neg) else tree


def _only(value: exp.Expr, condition: exp.Expr, *, is_sum: bool = False) -> exp.Expr:
    """Take a value from rows that meet a condition; a sum over none of them is zero, as in Metabase."""
    return exp.Case(
        ifs=[exp.If(this=condition, true=value)], default=exp.Literal.number(0) if is_sum else None
    )


def _percentile(value: exp.Expr, share: float) -> exp.Expr:
    return exp.WithinGroup(
        this=exp.PercentileCont(this=exp.Literal.number(repr(share))),
        expression=exp.Order(expressions=[exp.Ordered(this=value)]),
    )


def _truncated(tree: exp.Expr, unit: str) -> exp.Expr:
    return exp.TimestampTrunc(this=tree, unit=exp.var(unit.upper()))


def _start(day: str, unit: str | None) -> str:
    """Give the first day of the period that a day lies in.

    >>> _start("2025-05-17", "quarter")
    '2025-04-01'
    """
    year, month = day[:4], int(day[5:7])
    match unit:
        case "year":
            return f"{year}-01-01"
        case "quarter":
            return f"{year}-{(month - 1) // 3 * 3 + 1:02d}-01"
        case "month":
            return f"{year}-{month:02d}-01"
        case _:
            return day


def _by_day(side: Resolved, values: tuple[Argument, ...]) -> Resolved:
    """Take a moment as its day where it is compared with days only."""
    if side.kind != "time" or side.is_date or not values:
        return side
    if all(isinstance(one, str) and _DAY.fullmatch(one) for one in values):
        return Resolved(tree=_truncated(side.tree, "day"), kind="time", is_date=True)
    return side


def _moment(unit: str, count: int) -> exp.Expr:
    """Write the start of the period that is `count` periods from the present one."""
    start: exp.Expr = _truncated(exp.CurrentDate(), unit) if unit != "day" else exp.CurrentDate()
    size, word = _UNITS[unit]
    if count == 0:
        return start
    step = exp.Interval(this=exp.Literal.string(str(abs(count) * size)), unit=exp.var(word))
    return exp.Add(this=start, expression=step) if count > 0 else exp.Sub(this=start, expression=step)
