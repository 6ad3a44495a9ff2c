"""Joins that several explores declare, brought to one statement per way between two definitions.

Looker trusts each explore by itself, and often one says `one_to_one` where another says `many_to_one`. Where two disagree
about the same condition, a side counts as many when either says so: a question may be refused then, but no row counts twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.catalog import Cardinality
from ktx.sources.definition import JoinFact


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """Two explores say different things about one way. `taken` is None when neither can hold."""

    owner: str
    join: JoinFact
    taken: Cardinality | None
    said: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Sides:
    is_own_many: bool
    is_other_many: bool


def agreed(
    joins: Mapping[str, Mapping[str, JoinFact]], *, dialect: str
) -> tuple[dict[str, dict[str, JoinFact]], tuple[Disagreement, ...]]:
    """Give the joins of each definition, by their names, without contradictions between them."""
    by_way: dict[tuple[str, frozenset[str]], list[tuple[str, str, JoinFact]]] = {}
    for owner in sorted(joins):
        for name, join in sorted(joins[owner].items()):
            by_way.setdefault(_way(owner, join, dialect), []).append((owner, name, join))
    found: dict[str, dict[str, JoinFact]] = {owner: {} for owner in joins}
    problems: list[Disagreement] = []
    for said in by_way.values():
        first = min(said[0][0], said[0][2].to)
        sides = [_seen_from(first, owner, join.relationship) for owner, _, join in said]
        together = _Sides(
            is_own_many=any(each.is_own_many for each in sides),
            is_other_many=any(each.is_other_many for each in sides),
        )
        if len(set(sides)) == 1 or said[0][0] == said[0][2].to:
            for owner, name, join in said:
                found[owner][name] = join
            continue
        told = tuple(sorted({join.relationship for _, _, join in said}))
        for owner, name, join in said:
            relationship = _relationship(together, is_turned=owner != first)
            if relationship is not None:
                found[owner][name] = replace(join, relationship=relationship)
            if relationship != join.relationship:
                problems.append(Disagreement(owner=owner, join=join, taken=relationship, said=told))
    return found, tuple(problems)


def weaker(one: Cardinality, other: Cardinality) -> Cardinality | None:
    """Give the relationship of one way under both claims, or None when both sides would be many.

    >>> weaker("one_to_one", "many_to_one")
    'many_to_one'
    """
    sides = [_seen_from("", "", relationship) for relationship in (one, other)]
    together = _Sides(
        is_own_many=any(each.is_own_many for each in sides),
        is_other_many=any(each.is_other_many for each in sides),
    )
    return _relationship(together, is_turned=False)


def _seen_from(first: str, owner: str, relationship: Cardinality) -> _Sides:
    own, other = relationship == "many_to_one", relationship == "one_to_many"
    return (
        _Sides(is_own_many=own, is_other_many=other)
        if owner == first
        else _Sides(is_own_many=other, is_other_many=own)
    )


def _relationship(sides: _Sides, *, is_turned: bool) -> Cardinality | None:
    own, other = (
        (sides.is_other_many, sides.is_own_many) if is_turned else (sides.is_own_many, sides.is_other_many)
    )
    if own and other:
        return None
    if own:
        return "many_to_one"
    return "one_to_many" if other else "one_to_one"


def _way(owner: str, join: JoinFact, dialect: str) -> tuple[str, frozenset[str]]:
    """Give what makes two joins the same way: both ends, and the conditions with sides and aliases aside."""
    ends = "\0".join(sorted((owner, join.to)))
    try:
        tree = sqlglot.Dialect.get_or_raise(dialect).parse_into(exp.Condition, join.on)[0]
    except (SqlglotError, RecursionError, IndexError):
        tree = None
    if tree is None or owner == join.to:
        return ends, frozenset({f"{owner} {join.alias} {join.on}"})
    for column in tree.find_all(exp.Column):
        if column.table == join.alias:
            column.set("table", exp.to_identifier(join.to))
    conditions = tree.flatten() if isinstance(tree, exp.And) else [tree]
    return ends, frozenset(_turned(each, dialect) for each in conditions)


def _turned(condition: exp.Expr, dialect: str) -> str:
    if isinstance(condition, exp.EQ):
        return " = ".join(sorted(side.sql(dialect=dialect) for side in (condition.left, condition.right)))
    return condition.sql(dialect=dialect)
