"""Questions about keys that the data must answer: how many distinct ones, and how many of a child's a parent has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlglot import exp

from ktx.catalog import TableRef
from ktx.errors import UsageError
from ktx.warehouse.identify import column_expression, table_expression
from ktx.warehouse.rows import Rows


class Run(Protocol):
    """Run one of our own trees."""

    def __call__(self, tree: exp.Query) -> Rows:
        """Give its rows."""
        ...


@dataclass(frozen=True, kw_only=True)
class InclusionCheck:
    """A possible reference: do the child's keys occur in the parent? Columns pair up by position.

    `limit` bounds the distinct child keys that are looked up, half from either end of their order. `as_text` compares the
    values as text, for two columns of different types.
    """

    child: TableRef
    child_columns: tuple[str, ...]
    parent: TableRef
    parent_columns: tuple[str, ...]
    limit: int | None = None
    as_text: bool = False

    def __post_init__(self) -> None:
        """Refuse column lists that do not pair up."""
        if not self.child_columns or len(self.child_columns) != len(self.parent_columns):
            message = f"{len(self.child_columns)} child columns do not pair with {len(self.parent_columns)} parent columns"
            raise UsageError(message)


@dataclass(frozen=True, kw_only=True)
class Inclusion:
    """How many distinct, wholly non-null child keys were looked up, and how many of them the parent has."""

    child_keys: int
    matched_keys: int


def count_distinct(table: TableRef, columns: Sequence[str], *, limit: int | None, run: Run) -> int:
    """Count distinct combinations of non-null values, over at most `limit` rows when given."""
    rows: exp.Select = _non_null(table, columns, [column_expression(name) for name in columns])
    if limit is not None:
        rows = exp.select(exp.Star()).from_(rows.limit(limit).subquery("bounded"))
    distinct = rows.distinct()
    counted = exp.select(exp.alias_(exp.Count(this=exp.Star()), "n")).from_(distinct.subquery("keys"))
    return _integer(run(counted).rows[0][0])


def inclusions(checks: Sequence[InclusionCheck], *, run: Run, text_type: str) -> tuple[Inclusion, ...]:
    """Answer all checks in one query, in their order."""
    if not checks:
        return ()
    parts = [_inclusion_query(number, check, text_type=text_type) for number, check in enumerate(checks)]
    tree: exp.Query = parts[0] if len(parts) == 1 else exp.union(*parts, distinct=False, copy=False)
    found = {_integer(row[0]): row for row in run(tree).rows}
    return tuple(
        Inclusion(child_keys=_integer(found[number][1]), matched_keys=_integer(found[number][2]))
        for number in range(len(checks))
    )


def _inclusion_query(number: int, check: InclusionCheck, *, text_type: str) -> exp.Select:
    child = _distinct_keys(check.child, check.child_columns, as_type=text_type if check.as_text else None)
    parent = _distinct_keys(check.parent, check.parent_columns, as_type=text_type if check.as_text else None)
    if check.limit is not None:
        child = _both_ends(child, width=len(check.child_columns), limit=check.limit)
    width = range(len(check.child_columns))
    on = exp.and_(
        *(exp.EQ(this=_key_column("c", index), expression=_key_column("p", index)) for index in width),
        copy=False,
    )
    tree = exp.select(
        exp.alias_(exp.Literal.number(number), "check_number", copy=False),
        exp.alias_(exp.Count(this=exp.Star()), "child_keys", copy=False),
        exp.alias_(exp.Count(this=_key_column("p", 0)), "matched_keys", copy=False),
        copy=False,
    ).from_(child.subquery("c", copy=False), copy=False)
    tree.append("joins", exp.Join(this=parent.subquery("p", copy=False), side="LEFT", on=on))
    return tree


def _both_ends(keys: exp.Select, *, width: int, limit: int) -> exp.Query:
    """Keep the smallest and the largest keys: the same ones at every run, and the ends are where strays stand."""
    ends: list[exp.Query] = []
    for name, is_descending in (("low", False), ("high", True)):
        order = [exp.Ordered(this=exp.column(f"k{index}"), desc=is_descending) for index in range(width)]
        end = keys.copy().order_by(*order, copy=False).limit(max(1, limit // 2), copy=False)
        columns = (exp.column(f"k{index}") for index in range(width))
        ends.append(exp.select(*columns, copy=False).from_(end.subquery(name, copy=False), copy=False))
    return exp.union(*ends, distinct=True, copy=False)


def _distinct_keys(table: TableRef, columns: Sequence[str], *, as_type: str | None) -> exp.Select:
    selected: list[exp.Expr] = []
    for index, name in enumerate(columns):
        column: exp.Expr = column_expression(name)
        if as_type is not None:
            column = exp.cast(column, as_type, copy=False)
        selected.append(exp.alias_(column, f"k{index}", copy=False))
    return _non_null(table, columns, selected).distinct(copy=False)


def _non_null(table: TableRef, columns: Sequence[str], selected: Sequence[exp.Expr]) -> exp.Select:
    tree = exp.select(*selected, copy=False).from_(table_expression(table), copy=False)
    for name in columns:
        filled = exp.Not(this=exp.Is(this=column_expression(name), expression=exp.Null()))
        tree = tree.where(filled, copy=False)
    return tree


def _key_column(table: str, index: int) -> exp.Column:
    return exp.column(f"k{index}", table=table)


def _integer(value: object) -> int:
    return int(str(value))
