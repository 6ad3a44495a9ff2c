"""A small warehouse with its semantic layer, as plain values: what the fuzzer invents and the oracle answers from.

Nothing under `tests/oracle` imports the compiler's steps; expressions have their own tiny tree here, which renders itself as
SQL text for the layer's files and evaluates itself over Python rows for the oracle.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Value = int | float | str | dt.date | dt.datetime | None
Row = dict[str, Value]
Getter = Callable[[str | None, str], Value]
Kind = Literal["int", "float", "str", "date", "ts"]
Relationship = Literal["many_to_one", "one_to_many", "one_to_one"]
Truth = bool | None


def literal(value: Value) -> str:
    """Render a constant in the SQL that all engines share; times are text that each of them reads as a time."""
    if value is None:
        return "NULL"
    if isinstance(value, dt.datetime):
        return f"'{value:%Y-%m-%d %H:%M:%S}'"
    if isinstance(value, dt.date):
        return f"'{value:%Y-%m-%d}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


# -- values ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ref:
    """A column, qualified or bare."""

    source: str | None
    column: str

    def sql(self) -> str:
        return self.column if self.source is None else f"{self.source}.{self.column}"

    def value(self, get: Getter) -> Value:
        return get(self.source, self.column)

    def refs(self) -> tuple[Ref, ...]:
        return (self,)


@dataclass(frozen=True)
class Const:
    """A literal."""

    constant: Value

    def sql(self) -> str:
        return literal(self.constant)

    def value(self, get: Getter) -> Value:
        return self.constant

    def refs(self) -> tuple[Ref, ...]:
        return ()


@dataclass(frozen=True)
class Math:
    """Arithmetic: NULL when either side is, and NULL for a division by zero."""

    op: Literal["+", "-", "*", "/"]
    left: Expr
    right: Expr

    def sql(self) -> str:
        return f"({self.left.sql()} {self.op} {self.right.sql()})"

    def value(self, get: Getter) -> Value:
        return compute(self.op, self.left.value(get), self.right.value(get))

    def refs(self) -> tuple[Ref, ...]:
        return self.left.refs() + self.right.refs()


@dataclass(frozen=True)
class Coalesce:
    """A value, or a constant in place of NULL."""

    inner: Expr
    constant: Value

    def sql(self) -> str:
        return f"coalesce({self.inner.sql()}, {literal(self.constant)})"

    def value(self, get: Getter) -> Value:
        found = self.inner.value(get)
        return self.constant if found is None else found

    def refs(self) -> tuple[Ref, ...]:
        return self.inner.refs()


@dataclass(frozen=True)
class Case:
    """One value where a condition is true, another one elsewhere."""

    when: Condition
    then: Expr
    otherwise: Expr

    def sql(self) -> str:
        return f"case when {self.when.sql()} then {self.then.sql()} else {self.otherwise.sql()} end"

    def value(self, get: Getter) -> Value:
        return self.then.value(get) if self.when.truth(get) is True else self.otherwise.value(get)

    def refs(self) -> tuple[Ref, ...]:
        return self.when.refs() + self.then.refs() + self.otherwise.refs()


Expr = Ref | Const | Math | Coalesce | Case


def compute(op: str, left: Value, right: Value) -> Value:
    """Apply an operator to numbers that may be missing."""
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        return None
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    return None if right == 0 else left / right


# -- conditions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compare:
    """Two values compared."""

    op: Literal["=", "<>", "<", "<=", ">", ">="]
    left: Expr
    right: Expr

    def sql(self) -> str:
        return f"{self.left.sql()} {self.op} {self.right.sql()}"

    def truth(self, get: Getter) -> Truth:
        return compared(self.op, self.left.value(get), self.right.value(get))

    def refs(self) -> tuple[Ref, ...]:
        return self.left.refs() + self.right.refs()


@dataclass(frozen=True)
class In:
    """A value among constants."""

    inner: Expr
    options: tuple[Value, ...]
    is_negated: bool = False

    def sql(self) -> str:
        return f"{self.inner.sql()} {'not ' if self.is_negated else ''}in ({', '.join(literal(one) for one in self.options)})"

    def truth(self, get: Getter) -> Truth:
        found = self.inner.value(get)
        if found is None:
            return None
        return (found in self.options) != self.is_negated

    def refs(self) -> tuple[Ref, ...]:
        return self.inner.refs()


@dataclass(frozen=True)
class IsNull:
    """Whether a value is missing."""

    inner: Expr
    is_negated: bool = False

    def sql(self) -> str:
        return f"{self.inner.sql()} is {'not ' if self.is_negated else ''}null"

    def truth(self, get: Getter) -> Truth:
        return (self.inner.value(get) is None) != self.is_negated

    def refs(self) -> tuple[Ref, ...]:
        return self.inner.refs()


@dataclass(frozen=True)
class Between:
    """A value within bounds, both included."""

    inner: Expr
    low: Value
    high: Value

    def sql(self) -> str:
        return f"{self.inner.sql()} between {literal(self.low)} and {literal(self.high)}"

    def truth(self, get: Getter) -> Truth:
        found = self.inner.value(get)
        return both(compared(">=", found, self.low), compared("<=", found, self.high))

    def refs(self) -> tuple[Ref, ...]:
        return self.inner.refs()


@dataclass(frozen=True)
class Logic:
    """Two conditions joined."""

    op: Literal["and", "or"]
    left: Condition
    right: Condition

    def sql(self) -> str:
        return f"({self.left.sql()}) {self.op} ({self.right.sql()})"

    def truth(self, get: Getter) -> Truth:
        left, right = self.left.truth(get), self.right.truth(get)
        return both(left, right) if self.op == "and" else either(left, right)

    def refs(self) -> tuple[Ref, ...]:
        return self.left.refs() + self.right.refs()


@dataclass(frozen=True)
class Negation:
    """A condition turned round; unknown stays unknown."""

    inner: Condition

    def sql(self) -> str:
        return f"not ({self.inner.sql()})"

    def truth(self, get: Getter) -> Truth:
        found = self.inner.truth(get)
        return None if found is None else not found

    def refs(self) -> tuple[Ref, ...]:
        return self.inner.refs()


Condition = Compare | In | IsNull | Between | Logic | Negation


def compared(op: str, left: Value, right: Value) -> Truth:
    """Compare two values as SQL does."""
    if left is None or right is None:
        return None
    if isinstance(left, dt.datetime) != isinstance(right, dt.datetime):
        left = left if isinstance(left, dt.datetime) or not isinstance(left, dt.date) else _midnight(left)
        right = (
            right if isinstance(right, dt.datetime) or not isinstance(right, dt.date) else _midnight(right)
        )
    order = (left > right) - (left < right)  # type: ignore[operator]
    return {
        "=": order == 0,
        "<>": order != 0,
        "<": order < 0,
        "<=": order <= 0,
        ">": order > 0,
        ">=": order >= 0,
    }[op]


def both(left: Truth, right: Truth) -> Truth:
    """AND over true, false and unknown."""
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def either(left: Truth, right: Truth) -> Truth:
    """OR over true, false and unknown."""
    if left is True or right is True:
        return True
    return None if left is None or right is None else False


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day)


# -- measures -------------------------------------------------------------------------------------------------------

Aggregate = Literal[
    "count_rows", "count", "sum", "avg", "min", "max", "count_distinct", "median", "percentile"
]


@dataclass(frozen=True)
class Leaf:
    """An aggregate over the rows of one source."""

    aggregate: Aggregate
    value: Expr | None = None
    filter: Condition | None = None
    segments: tuple[str, ...] = ()

    def sql(self) -> str:
        if self.aggregate == "count_rows":
            return "count(*)"
        assert self.value is not None
        if self.aggregate == "count_distinct":
            return f"count(distinct {self.value.sql()})"
        if self.aggregate == "percentile":
            return f"percentile({self.value.sql()}, 0.25)"
        return f"{self.aggregate}({self.value.sql()})"


@dataclass(frozen=True)
class Derived:
    """A measure computed from other ones; each side is a measure's qualified name or a constant.

    `filter` narrows the rows of every measure inside.
    """

    op: Literal["+", "-", "*", "/"]
    left: str | float
    right: str | float
    filter: Condition | None = None

    def sql(self) -> str:
        return f"{self.left} {self.op} {self.right}"


Formula = Leaf | Derived


# -- sources --------------------------------------------------------------------------------------------------------


@dataclass
class Col:
    """A column; a computed one has an expression over bare columns of its source."""

    name: str
    kind: Kind
    expr: Expr | None = None
    visibility: Literal["public", "internal", "hidden"] = "public"


@dataclass
class Join:
    """A way from one source to another: key pairs, and perhaps a range or a constant on the target.

    `declared` says on which side the file states it: `own`, `other` or `both`.
    """

    source: str
    to: str
    pairs: tuple[tuple[str, str], ...]
    relationship: Relationship
    alias: str | None = None
    span: tuple[str, str, str] | None = None
    constant: tuple[str, Value] | None = None
    declared: Literal["own", "other", "both"] = "own"

    @property
    def name(self) -> str:
        return self.alias or self.to

    def on(self) -> str:
        """Render the condition from the own side."""
        parts = [f"{self.source}.{own} = {self.name}.{other}" for own, other in self.pairs]
        if self.span:
            own, low, high = self.span
            parts.append(f"{self.source}.{own} >= {self.name}.{low}")
            parts.append(f"{self.source}.{own} < {self.name}.{high}")
        if self.constant:
            parts.append(f"{self.name}.{self.constant[0]} = {literal(self.constant[1])}")
        return " and ".join(parts)

    def matches(self, own: Mapping[str, Value], other: Mapping[str, Value]) -> bool:
        """Tell whether two rows belong together."""
        if any(compared("=", own[a], other[b]) is not True for a, b in self.pairs):
            return False
        if self.span:
            column, low, high = self.span
            if (
                compared(">=", own[column], other[low]) is not True
                or compared("<", own[column], other[high]) is not True
            ):
                return False
        return self.constant is None or compared("=", other[self.constant[0]], self.constant[1]) is True


@dataclass
class Src:
    """A source with its rows. `sql_filter` makes it a query over its table that keeps only some rows."""

    name: str
    columns: list[Col]
    grain: tuple[str, ...]
    rows: list[Row]
    measures: dict[str, Formula] = field(default_factory=dict)
    segments: dict[str, Condition] = field(default_factory=dict)
    form: Literal["manifest", "table", "sql"] = "table"
    sql_filter: Condition | None = None

    def column(self, name: str) -> Col:
        return next(column for column in self.columns if column.name == name)

    def has(self, name: str) -> bool:
        return any(column.name == name for column in self.columns)

    def cell(self, row: Row, name: str) -> Value:
        """Give a column's value in a row, computed ones included."""
        column = self.column(name)
        if column.expr is None:
            return row[name]
        return column.expr.value(lambda _source, inner: self.cell(row, inner))

    @property
    def seen_rows(self) -> list[Row]:
        """The rows that the source shows."""
        if self.sql_filter is None:
            return self.rows
        return [
            row
            for row in self.rows
            if self.sql_filter.truth(lambda _source, name, row=row: row[name]) is True
        ]


@dataclass
class World:
    """A warehouse and its layer."""

    sources: dict[str, Src]
    joins: list[Join]


# -- questions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dim:
    """A dimension as asked."""

    ref: Ref
    granularity: str | None = None
    via: tuple[str, ...] = ()

    def as_json(self) -> object:
        if self.granularity is None and not self.via:
            return self.ref.sql()
        out: dict[str, object] = {"field": self.ref.sql()}
        if self.granularity is not None:
            out["granularity"] = self.granularity
        if self.via:
            out["via"] = list(self.via)
        return out


@dataclass(frozen=True)
class Ask:
    """A measure as asked: the qualified name of a declared one, or an aggregate over one source's columns with a name."""

    measure: str | None = None
    leaf: Leaf | None = None
    name: str | None = None

    def as_json(self) -> object:
        if self.measure is not None:
            return self.measure
        assert self.leaf is not None
        return {"expr": self.leaf.sql(), "name": self.name}

    @property
    def text(self) -> str:
        return self.measure if self.measure is not None else self.leaf.sql()  # type: ignore[union-attr]


@dataclass(frozen=True)
class Having:
    """A condition on a measure of the group; `by_name` writes an inline measure by its output name, which needs it to be asked."""

    ask: Ask
    op: Literal["=", "<>", "<", "<=", ">", ">="]
    constant: float
    by_name: bool = False

    def sql(self) -> str:
        name = self.ask.name if self.by_name and self.ask.name is not None else self.ask.text
        return f"{name} {self.op} {self.constant!r}"


@dataclass(frozen=True)
class Order:
    """A sort key: the position of an output column (dimensions first)."""

    position: int
    direction: Literal["asc", "desc"]


@dataclass(frozen=True)
class Question:
    """A semantic question."""

    measures: tuple[Ask, ...]
    dimensions: tuple[Dim, ...] = ()
    filters: tuple[Condition, ...] = ()
    havings: tuple[Having, ...] = ()
    segments: tuple[str, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    include_empty: bool = True

    def as_json(self) -> dict[str, object]:
        """Give the question as the public query contract takes it."""
        fields = [dim.ref.sql() for dim in self.dimensions]
        texts = [ask.name or ask.text for ask in self.measures]
        out: dict[str, object] = {
            "measures": [ask.as_json() for ask in self.measures],
            "dimensions": [dim.as_json() for dim in self.dimensions],
            "include_empty": self.include_empty,
            "limit": self.limit if self.limit is not None else 100000,
        }
        conditions = [condition.sql() for condition in self.filters] + [
            having.sql() for having in self.havings
        ]
        if conditions:
            out["filters"] = conditions
        if self.segments:
            out["segments"] = list(self.segments)
        if self.order:
            out["order_by"] = [
                {"field": (fields + texts)[order.position], "direction": order.direction}
                for order in self.order
            ]
        return out
