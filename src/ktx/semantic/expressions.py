"""Free text to trees: parsed once in the warehouse's own dialect, held to an allow-list, and put into one normal form.

A tree that leaves this module holds no sub-select, no table, no star outside `count(*)`, no second statement and no
function that reads outside the row. It may be shared: copy before changing it.
"""

import functools
import re
from typing import cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError, UnsupportedError

from ktx.errors import QueryError
from ktx.semantic.allowed import WRITES, refusal
from ktx.semantic.dialects import Facts, as_double, facts_of, fill, truncated
from ktx.semantic.query import GRANULARITIES
from ktx.suggest import did_you_mean

_MAX_NODES = 5000
_OPERATORS = (exp.Interval, exp.SimilarTo, exp.RegexpLike, exp.RegexpILike)
_CALLED = re.compile(r"([A-Z_][A-Z0-9_]*)\(")


@functools.lru_cache(maxsize=100_000)
def parse_expression(text: str, dialect: str) -> exp.Expr:
    """Make a checked tree of an expression or a condition, in normal form.

    In normal form `/` is true division with NULL for a zero divisor, `count_distinct(x)` is `COUNT(DISTINCT x)`, and each
    interpolated percentile is one `PercentileCont` over a value and a fraction.

    Raises:
        QueryError: when the text is not one expression, or holds something that is not allowed.
    """
    facts = facts_of(dialect)
    try:
        tree = _parsed(text, facts)
        _ensure_told_whole(tree, text, facts)
        tree = _normal(tree, facts)
        _ensure_allowed(tree, text)
        _ensure_known(tree, text, facts)
    except SqlglotError as error:
        raise QueryError(
            f"`{_shown(text)}` cannot be read as one {facts.name} expression.",
            hint="Write one expression or condition over declared columns; sub-selects and further statements are refused.",
        ) from error
    except RecursionError:
        raise QueryError(f"`{_shown(text)}` is nested too deeply to be read.") from None
    return tree


def _parsed(text: str, facts: Facts) -> exp.Expr:
    dialect = sqlglot.Dialect.get_or_raise(facts.name)
    # A leading REPLACE would be read as a statement.
    is_call = text.lstrip()[:7].lower() == "replace"
    found = [one for one in dialect.parse_into(exp.Condition, f"({text}\n)" if is_call else text) if one]
    if len(found) != 1:
        raise QueryError(f"`{_shown(text)}` is not one expression.")
    if is_call and not isinstance(found[0], exp.Paren):
        raise QueryError(f"`{_shown(text)}` is not one expression.")
    return found[0].this if is_call else found[0]


def _ensure_told_whole(tree: exp.Expr, text: str, facts: Facts) -> None:
    """Refuse what would lose a part when it is written in the same dialect again."""
    try:
        tree.sql(dialect=facts.name, unsupported_level=ErrorLevel.RAISE)
    except UnsupportedError as error:
        raise QueryError(
            f"`{_shown(text)}` uses something that {facts.name} does not have: {str(error).splitlines()[0]}"
        ) from error


def _ensure_known(tree: exp.Expr, text: str, facts: Facts) -> None:
    """Refuse functions and operators that the engine lacks; aggregates are checked where they become measures."""
    if facts.functions is None:
        return
    for node in tree.walk():
        if isinstance(node, exp.AggFunc) or not isinstance(node, (exp.Func, *_OPERATORS)):
            continue
        called = _CALLED.match(node.sql(dialect=facts.name))
        name = called.group(1).lower() if called else node.key
        is_lacking = name not in facts.functions if called else isinstance(node, _OPERATORS)
        if is_lacking:
            raise QueryError(
                f"`{_shown(text)}` uses `{name}`, which {facts.name} does not have.{did_you_mean(name, facts.functions)}"
            )


@functools.lru_cache(maxsize=20_000)
def parse_select(text: str, dialect: str) -> exp.Query:
    """Make a tree of the query behind an SQL source; a trailing `;` and comments fall away.

    Raises:
        QueryError: when the text is not exactly one query.
    """
    facts = facts_of(dialect)
    try:
        trees = [tree for tree in sqlglot.parse(text, dialect=facts.name) if tree is not None]
    except (SqlglotError, RecursionError) as error:
        raise QueryError(f"The `sql` of the source cannot be read as {facts.name}.") from error
    trees = [tree for tree in trees if not isinstance(tree, exp.Semicolon)]
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise QueryError("The `sql` of a source must be exactly one SELECT.")
    tree = trees[0]
    for node in tree.walk():
        if isinstance(node, WRITES):
            raise QueryError(
                f"The `sql` of a source may only read; it holds `{type(node).__name__.upper()}`."
            )
        node.pop_comments()
    return _unshadowed(tree)


def _unshadowed(tree: exp.Query) -> exp.Query:
    """Rename a common table expression that reads a table of its own name: SQLite takes that for recursion."""
    for clause in list(tree.find_all(exp.With)):
        if clause.recursive:
            continue
        for index, cte in enumerate(cast("list[exp.CTE]", clause.expressions)):
            name: str = cte.alias
            if not any(_is_bare(table, name) for table in cte.this.find_all(exp.Table)):
                continue
            readers = cast("list[exp.Expr | None]", [later.this for later in clause.expressions[index + 1 :]])
            readers.append(clause.parent)
            done: list[exp.Table] = []
            for earlier in clause.expressions[: index + 1]:
                done.extend(cast("exp.CTE", earlier).find_all(exp.Table))
            tables: list[exp.Table] = []
            for reader in readers:
                tables.extend(reader.find_all(exp.Table) if reader is not None else ())
            own = {id(table) for table in done}
            for table in tables:
                if id(table) in own or not _is_bare(table, name):
                    continue
                if not table.alias:
                    table.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
                table.set("this", exp.to_identifier(f"{name}_cte", quoted=True))
            cte.args["alias"].set("this", exp.to_identifier(f"{name}_cte", quoted=True))
    return tree


def _is_bare(table: exp.Table, name: str) -> bool:
    return not table.db and table.name.casefold() == name.casefold()


def has_aggregate(tree: exp.Expr) -> bool:
    """Tell whether an aggregate is called anywhere in a tree, window calls included."""
    return any(isinstance(node, exp.AggFunc) for node in tree.walk())


def has_window(tree: exp.Expr) -> bool:
    """Tell whether a tree holds a window call."""
    return tree.find(exp.Window) is not None


def conjuncts(tree: exp.Expr) -> tuple[exp.Expr, ...]:
    """Split a condition at its outermost ANDs, through parentheses."""
    inner = tree.unnest()
    if isinstance(inner, exp.And):
        return conjuncts(inner.left) + conjuncts(inner.right)
    return (inner,)


def wrapped(tree: exp.Expr) -> exp.Expr:
    """Put a tree in parentheses unless it already stands as one."""
    if isinstance(
        tree, exp.Binary | exp.Connector | exp.Not | exp.Between | exp.In | exp.Neg | exp.Interval | exp.Is
    ):
        return exp.Paren(this=tree)
    return tree


def all_of(trees: list[exp.Expr]) -> exp.Expr | None:
    """Join conditions by AND, each in parentheses where that matters; None for none."""
    if not trees:
        return None
    result = _armed(trees[0]) if len(trees) > 1 else trees[0]
    for tree in trees[1:]:
        result = exp.And(this=result, expression=_armed(tree))
    return result


def _armed(tree: exp.Expr) -> exp.Expr:
    return exp.Paren(this=tree) if isinstance(tree, exp.Or | exp.Xor) else tree


def _shown(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."


def _ensure_allowed(tree: exp.Expr, text: str) -> None:
    for count, node in enumerate(tree.walk()):
        if count > _MAX_NODES:
            raise QueryError(f"`{_shown(text)}` is too large for one expression.")
        node.pop_comments()
        reason = refusal(node)
        if reason is not None:
            raise QueryError(
                f"`{_shown(text)}` is refused: {reason}.",
                hint="Expressions may use declared columns, literals, operators and plain functions of a row.",
            )


def _normal(tree: exp.Expr, facts: Facts) -> exp.Expr:
    for node in reversed(list(tree.walk(bfs=False))):
        changed = _normal_node(node, facts)
        if changed is node:
            continue
        if node is tree:
            tree = changed
        else:
            node.replace(changed)
    return tree


def _normal_node(node: exp.Expr, facts: Facts) -> exp.Expr:
    if isinstance(node, exp.SafeDivide):
        return exp.Paren(this=true_division(node.this, node.expression, facts))
    if isinstance(node, exp.Div):
        return true_division(node.left, node.right, facts)
    if isinstance(node, exp.IntDiv | exp.Mod) and not _is_non_zero(node.expression):
        node.set("expression", _or_null(node.expression.copy()))
        return node
    if isinstance(node, exp.Anonymous):
        return _named_call(node)
    if isinstance(node, exp.Median) and not facts.keeps_median:
        return exp.PercentileCont(this=node.this, expression=exp.Literal.number("0.5"))
    if isinstance(node, exp.Quantile) and facts.percentile == "percentile":
        return exp.PercentileCont(this=node.this, expression=node.args["quantile"])
    if isinstance(node, exp.WithinGroup) and isinstance(node.this, exp.PercentileCont):
        return _within_group(node)
    return _spelled(node, facts) if facts.parts is not None else node


def _spelled(node: exp.Expr, facts: Facts) -> exp.Expr:
    """Write common functions of times and texts that the engine has only in another spelling."""
    parts = facts.parts or {}
    if isinstance(node, exp.DateTrunc | exp.TimestampTrunc):
        unit = str(node.args["unit"].name).lower()
        return truncated(node.this, unit, facts) if unit in GRANULARITIES else node
    if isinstance(node, exp.Extract) and node.name.lower() in parts:
        return fill(parts[node.name.lower()], node.expression, facts)
    if isinstance(node, exp.Year | exp.Quarter | exp.Month | exp.Day | exp.Hour | exp.Minute | exp.Second):
        return fill(parts[node.key], node.this, facts)
    if isinstance(node, exp.Left | exp.Right):
        is_left = isinstance(node, exp.Left)
        start = exp.Literal.number(1) if is_left else exp.Neg(this=wrapped(node.expression.copy()))
        return exp.Substring(this=node.this, start=start, length=node.expression)
    if isinstance(node, exp.Concat):
        empty: list[exp.Expr] = [
            exp.Coalesce(this=one, expressions=[exp.Literal.string("")]) for one in node.expressions
        ]
        made = empty[0]
        for one in empty[1:]:
            made = exp.DPipe(this=made, expression=one)
        return made
    return node


def _named_call(node: exp.Anonymous) -> exp.Expr:
    name = node.name.lower()
    values = node.expressions
    if name == "count_distinct" and values:
        return exp.Count(this=exp.Distinct(expressions=values), big_int=True)
    if name == "percentile" and len(values) == 2:
        return exp.PercentileCont(this=values[0], expression=_fraction(values[1]))
    if name == "median" and len(values) == 1:
        return exp.PercentileCont(this=values[0], expression=exp.Literal.number("0.5"))
    return node


def _within_group(node: exp.WithinGroup) -> exp.Expr:
    ordered = node.expression.expressions[0]
    fraction = _fraction(node.this.this)
    if ordered.args.get("desc"):
        fraction = exp.Literal.number(repr(1 - float(fraction.name)))
    return exp.PercentileCont(this=ordered.this, expression=fraction)


def _fraction(tree: exp.Expr) -> exp.Literal:
    if isinstance(tree, exp.Literal) and not tree.is_string:
        value = float(tree.name)
        if 0 <= value <= 1:
            return tree
    raise QueryError(
        f"A percentile takes a fraction from 0 to 1, not `{tree.sql()}`.", hint="Write `percentile(x, 0.9)`."
    )


def true_division(left: exp.Expr, right: exp.Expr, facts: Facts) -> exp.Expr:
    """Divide without cutting fractions; a zero divisor gives NULL."""
    dialect = sqlglot.Dialect.get_or_raise(facts.name)
    bottom = right.copy() if _is_non_zero(right) else _or_null(right.copy())
    return exp.Div(
        this=as_double(wrapped(left.copy()), facts),
        expression=bottom,
        typed=dialect.TYPED_DIVISION,
        safe=dialect.SAFE_DIVISION,
    )


def _or_null(tree: exp.Expr) -> exp.Expr:
    inner = tree.unnest()
    if isinstance(inner, exp.Nullif) and inner.expression.sql() == "0":
        return tree
    return exp.Nullif(this=tree, expression=exp.Literal.number(0))


def _is_non_zero(tree: exp.Expr) -> bool:
    inner = tree.unnest()
    return isinstance(inner, exp.Literal) and not inner.is_string and float(inner.name) != 0
