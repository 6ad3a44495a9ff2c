"""Semantic models that stand on a table: their dimensions and entities as trees over its columns, and the joins between them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sqlglot import exp

from ktx.catalog import ColumnKind
from ktx.sources.dbt_project.draft import Draft, Link
from ktx.sources.dbt_project.expressions import (
    UnknownColumn,
    Unsayable,
    as_said,
    column_names,
    parse_row_expression,
)
from ktx.sources.definition import ColumnFact
from ktx.sources.evidence import UnmappedReason
from ktx.sources.semantic_models.model import Dimension, Entity, SemanticModel

Report = Callable[[str, str, UnmappedReason, str], None]
"""Takes what could not be placed: the file that says it, what it is, why, and a sentence."""
_KEYS: Final = frozenset({"primary", "unique"})


@dataclass(kw_only=True)
class Standing:
    """A semantic model on its draft. `columns` are the names under which time and other dimensions landed."""

    model: SemanticModel
    draft: Draft
    dimensions: dict[str, exp.Expr] = field(default_factory=dict[str, exp.Expr])
    entities: dict[str, exp.Expr] = field(default_factory=dict[str, exp.Expr])
    columns: dict[str, str] = field(default_factory=dict[str, str])


def reason_of(error: Unsayable) -> UnmappedReason:
    """Give the reason that stands for an error."""
    return "unresolved_reference" if isinstance(error, UnknownColumn) else "expression_not_supported"


def describe(name: str, description: str, label: str) -> str | None:
    """Give a description that keeps the label, unless that is the name in other letters."""
    plain = label.casefold().replace("_", " ").replace("-", " ").strip()
    if not plain or plain == name.casefold().replace("_", " ") or label in description:
        return description or None
    return f"{label}: {description}" if description else label


def stand(model: SemanticModel, draft: Draft, report: Report) -> Standing:
    """Put a semantic model on its table: columns, grain, and the trees that filters and measures need."""
    made = Standing(model=model, draft=draft)
    draft.description = draft.description or describe(model.name, model.description, model.label)
    for dimension in model.dimensions:
        what = f"dimension {model.name}.{dimension.name}"
        try:
            made.dimensions[dimension.name] = parse_row_expression(dimension.expr, draft.place)
            made.columns[dimension.name] = _land(dimension, made.dimensions[dimension.name], draft)
        except Unsayable as error:
            report(model.path, what, reason_of(error), str(error))
    for entity in model.entities:
        what = f"entity {model.name}.{entity.name}"
        try:
            made.entities[entity.name] = parse_row_expression(entity.expr, draft.place)
        except Unsayable as error:
            report(model.path, what, reason_of(error), str(error))
            continue
        _note_key(entity, made.entities[entity.name], draft)
        if entity.type == "natural":
            detail = "Rows of a natural entity are valid for a time only; a join to them cannot be said without that."
            report(model.path, what, "expression_not_supported", detail)
    if model.time_dimension and draft.default_time_dimension is None:
        draft.default_time_dimension = made.columns.get(model.time_dimension)
    return made


def link(standings: Sequence[Standing]) -> None:
    """Join every pair of standings that share an entity which is a key on one side."""
    keyed = by_entity(standings)
    for one in standings:
        for entity in one.model.entities:
            for other in keyed.get(entity.name, ()):
                _link(one, entity, other)


def _link(one: Standing, entity: Entity, other: Standing) -> None:
    theirs = other.model.entity(entity.name)
    if (
        theirs is None
        or theirs.type not in _KEYS
        or one.draft is other.draft
        or one.draft.place.target.connection_id != other.draft.place.target.connection_id
        or entity.name not in one.entities
        or theirs.name not in other.entities
    ):
        return
    if entity.type in _KEYS and one.model.name > other.model.name:
        return
    one.draft.add_link(
        Link(
            to=other.draft.name,
            pairs=((one.entities[entity.name], other.entities[entity.name]),),
            relationship="one_to_one" if entity.type in _KEYS else "many_to_one",
            role=entity.name,
        )
    )


def link_between(one: Standing, other: Standing, entity: str) -> Link | None:
    """Give the link that an entity makes between two standings, from whichever side holds it."""
    own, theirs = one.entities.get(entity), other.entities.get(entity)
    if own is None or theirs is None:
        return None
    wanted = Link(to=other.draft.name, pairs=((own, theirs),), relationship="many_to_one", role="").key
    found = next((link for link in one.draft.links if link.key == wanted), None)
    if found is not None:
        return found
    back = Link(to=one.draft.name, pairs=((theirs, own),), relationship="one_to_one", role="").key
    held = next((link for link in other.draft.links if link.key == back), None)
    return None if held is None or held.alias else replace(held, to=other.draft.name)


def _note_key(entity: Entity, tree: exp.Expr, draft: Draft) -> None:
    """A key tells rows apart; so do the columns that it is computed from, taken together."""
    names = column_names(tree)
    if entity.type not in _KEYS or not names:
        return
    draft.uniques.add(names)
    if entity.type == "primary" and not draft.grain:
        draft.grain = names


def _land(dimension: Dimension, tree: exp.Expr, draft: Draft) -> str:
    """Put a dimension into the draft and give the name of its column."""
    place = draft.place
    said = describe(dimension.name, dimension.description, dimension.label)
    physical = place.column(dimension.name)
    own, granularity = _plain_column(tree, dimension)
    if own is not None and physical == own:
        fact = draft.fact(own)
        there = place.table.column(own)
        is_time = dimension.is_time and there is not None and there.kind != "time"
        draft.note(
            replace(
                fact,
                description=fact.description or said,
                is_time=fact.is_time or is_time,
                natural_granularity=fact.natural_granularity or granularity,
            )
        )
        return own
    if physical is not None:
        raise Unsayable(
            f"`{place.table.ref}` has a column `{physical}`, so none can be computed under that name."
        )
    fact = ColumnFact(
        name=dimension.name,
        description=said,
        kind=_kind(dimension, tree, draft),
        expr=as_said(dimension.expr, tree, place),
        natural_granularity=granularity,
    )
    before = draft.columns.get(dimension.name)
    if before is not None and before.expr != fact.expr:
        raise Unsayable(f"`{dimension.name}` is computed in two ways for `{place.table.ref}`.")
    draft.note(fact if before is None else before)
    return dimension.name


def _plain_column(tree: exp.Expr, dimension: Dimension) -> tuple[str | None, str | None]:
    """Give the column that a tree is, or cuts to a granule, and how fine its values are."""
    if isinstance(tree, exp.Column):
        return tree.name, dimension.granularity
    if (
        dimension.is_time
        and isinstance(tree, exp.DateTrunc | exp.TimestampTrunc)
        and isinstance(tree.this, exp.Column)
    ):
        unit = str(tree.args["unit"].name).lower()
        return (tree.this.name if tree.this.name.casefold() == dimension.name.casefold() else None), unit
    return None, dimension.granularity


def _kind(dimension: Dimension, tree: exp.Expr, draft: Draft) -> ColumnKind | None:
    if dimension.is_time:
        return "time"
    if isinstance(tree, exp.Column) and (there := draft.place.table.column(tree.name)):
        return there.kind
    return None


def by_entity(standings: Iterable[Standing]) -> Mapping[str, tuple[Standing, ...]]:
    """Give the standings for which an entity is a key, by the entity's name."""
    found: dict[str, list[Standing]] = {}
    for one in standings:
        for entity in one.model.entities:
            if entity.type in _KEYS:
                found.setdefault(entity.name, []).append(one)
    return {name: tuple(held) for name, held in found.items()}
