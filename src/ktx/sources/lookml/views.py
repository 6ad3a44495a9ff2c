"""A view over its rows as a definition: columns, measures, grain, and what of it the layer cannot hold."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

from sqlglot import exp

from ktx.sources.definition import ColumnFact, Definition, MeasureFact
from ktx.sources.evidence import Unmapped
from ktx.sources.lookml.fields import Dimension, Fields, description_of
from ktx.sources.lookml.parse import filters_of, is_yes, named_blocks, text_of, texts_of
from ktx.sources.lookml.project import Model, Part
from ktx.sources.lookml.rows import Rows, find_rows
from ktx.sources.lookml.unsayable import Unsayable
from ktx.sources.source import Target

AUTHOR: Final = "lookml"
_T = TypeVar("_T")


@dataclass(kw_only=True)
class World:
    """The views of one model over the warehouses on which they may land.

    `names` are their names as definitions; `aliases` other names that the model's explores give to one view each.
    """

    model: Model
    targets: Sequence[Target]
    names: Mapping[str, str]
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    _fields: dict[str, Fields | Unsayable] = field(default_factory=dict[str, Fields | Unsayable])
    _open: set[str] = field(default_factory=set[str])

    def fields(self, view: str) -> Fields:
        """Give the fields of a view, by its name or an alias.

        Raises:
            Unsayable: there is no such view, or it has no rows that the layer could use.
        """
        name = view if view in self.model.views else self.aliases.get(view, view)
        known = self._fields.get(name)
        if known is None:
            known = self._fields[name] = self._found(name)
        if isinstance(known, Unsayable):
            raise Unsayable(known.reason, known.detail)
        return known

    def has(self, view: str) -> bool:
        """Tell whether a view has rows on a warehouse."""
        try:
            self.fields(view)
        except Unsayable:
            return False
        return True

    def qualifier(self, view: str) -> str:
        """Give what qualifies the columns of a view: its definition's name, or the alias."""
        if view in self.names:
            return self.names[view]
        return self.alias(view, self.aliases[view]) if view in self.aliases else view

    def alias(self, name: str, view: str) -> str:
        """Give the name of a role of a view in the layer: another one where a table or definition has that name."""
        return f"{view}_as_{name}" if name.casefold() in self._taken else name

    @cached_property
    def _taken(self) -> frozenset[str]:
        tables = (
            table for target in self.targets if target.catalog is not None for table in target.catalog.tables
        )
        names = (*self.names.values(), *(table.ref.name for table in tables))
        return frozenset(name.casefold() for name in names)

    def _found(self, name: str) -> Fields | Unsayable:
        part = self.model.views.get(name)
        if part is None:
            return Unsayable("unresolved_reference", f"The model `{self.model.name}` has no view `{name}`.")
        if name in self._open:
            return Unsayable("unresolved_reference", f"The derived table of `{name}` reads itself.")
        self._open.add(name)
        try:
            rows = find_rows(
                name, part.block, targets=self.targets, other=lambda view: self.fields(view).rows
            )
            return Fields(part=part, rows=rows, around=self)
        except Unsayable as problem:
            return problem
        finally:
            self._open.discard(name)


def define_view(world: World, part: Part) -> tuple[Definition | None, tuple[Unmapped, ...]]:
    """Give the definition of a view without its joins; None when it has no rows on a warehouse."""
    home = part.home
    try:
        fields = world.fields(part.name)
    except Unsayable as problem:
        return None, (unmapped(home, f"view {part.name}", problem),)
    problems: list[Unmapped] = []

    def tried(what: str, make: Callable[[], _T]) -> _T | None:
        try:
            return make()
        except Unsayable as problem:
            problems.append(unmapped(home, f"{what} of view {part.name}", problem))
            return None

    dimensions: list[Dimension] = []
    for name in sorted({*fields.dimensions, *fields.groups}):
        kind = "dimension_group" if name in fields.groups else "dimension"
        found = tried(f"{kind} {name}", lambda name=name: fields.dimension(name))
        if found is not None:
            dimensions.append(found)
    problems += [
        Unmapped(
            evidence=home,
            what=f"field {name} of view {part.name}",
            reason="looker_template_unresolved",
            detail="It is filled in by whoever asks; filter the question instead.",
        )
        for name in sorted(fields.asked)
    ]
    problems += _guarded(home, part)
    measures = [
        made
        for name in sorted(fields.measures)
        if (made := tried(f"measure {name}", lambda name=name: _measure(fields, name))) is not None
    ]
    measures = _kept(measures, fields, home, problems)
    rows = fields.rows
    definition = Definition(
        name=world.names[part.name],
        connection_id=rows.target.connection_id,
        author=AUTHOR,
        evidence=part.evidence,
        table=rows.table,
        sql=rows.sql,
        description=description_of(part.name, part.block),
        grain=_grain(dimensions, rows),
        columns=tuple(_columns(dimensions, fields)),
        measures=tuple(measures),
        tags=tuple(sorted(texts_of(part.block, "tags"))),
    )
    return definition, tuple(problems)


def _measure(fields: Fields, name: str) -> MeasureFact:
    block = fields.measures[name]
    tree = fields.measure(name)
    is_derived = text_of(block, "type") == "number"
    pairs = filters_of(block)
    condition = None if is_derived else fields.condition(pairs)
    dialect = fields.rows.dialect
    return MeasureFact(
        name=name,
        expr=tree.sql(dialect=dialect),
        filter=None if condition is None else condition.sql(dialect=dialect),
        description=description_of(name, block),
    )


def _kept(
    measures: list[MeasureFact], fields: Fields, home: str, problems: list[Unmapped]
) -> list[MeasureFact]:
    """Leave out measures over others of the view that could not be said, or over themselves, however long the chain."""
    needs = {measure.name: _own_measures(fields, measure.name) for measure in measures}
    grounded: set[str] = set()
    while found := [name for name in needs if name not in grounded and grounded.issuperset(needs[name])]:
        grounded.update(found)
    for name in sorted(needs.keys() - grounded):
        missing = next(each for each in needs[name] if each not in grounded)
        detail = f"It needs the measure `{missing}`, which the layer cannot hold."
        problem = Unsayable("unresolved_reference", detail)
        problems.append(unmapped(home, f"measure {name} of view {fields.part.name}", problem))
    return [measure for measure in measures if measure.name in grounded]


def _own_measures(fields: Fields, name: str) -> tuple[str, ...]:
    if text_of(fields.measures[name], "type") != "number":
        return ()
    columns = fields.measure(name).find_all(exp.Column)
    return tuple(sorted({each.name for each in columns if each.meta.get("is_measure") and not each.table}))


def _grain(dimensions: Sequence[Dimension], rows: Rows) -> tuple[str, ...]:
    """Give the columns of the primary key: a key computed from columns is one only if they identify a row together."""
    keys = [each for each in dimensions if is_yes(each.block, "primary_key")]
    if len(keys) != 1:
        return ()
    own = keys[0].expr.find_all(exp.Column)
    names = {each.name for each in own if not each.table and not each.meta.get("is_computed")}
    whole = {each.name for each in keys[0].expr.find_all(exp.Column)} == names
    order = list(rows.columns.values()) if rows.columns is not None else sorted(names)
    return tuple(sorted(names, key=lambda name: order.index(name) if name in order else 0)) if whole else ()


def _columns(dimensions: Sequence[Dimension], fields: Fields) -> Iterator[ColumnFact]:
    by_column: dict[str, list[Dimension]] = {}
    for each in dimensions:
        if each.column is not None:
            by_column.setdefault(each.column, []).append(each)
    is_sql = fields.rows.sql is not None
    for column in sorted(by_column):
        yield _physical(column, by_column[column], is_sql=is_sql)
    for each in sorted(dimensions, key=lambda one: one.entity):
        if each.column is None:
            yield ColumnFact(
                name=each.entity,
                expr=each.expr.sql(dialect=fields.rows.dialect),
                kind=each.column_kind,
                is_time=each.kind == "time",
                is_hidden=is_yes(each.block, "hidden"),
                description=description_of(each.name, each.block),
                enum_values=each.labels,
            )
    if is_sql:
        known = fields.rows.columns
        unsaid = set(known.values()) if known is not None else fields.used
        for column in sorted(unsaid - set(by_column)):
            yield ColumnFact(name=column, is_hidden=True)


def _physical(column: str, dimensions: Sequence[Dimension], *, is_sql: bool) -> ColumnFact:
    """Give what several dimensions over one column say about it together, the one that people see first."""
    ordered = sorted(
        dimensions, key=lambda each: (is_yes(each.block, "hidden"), each.name != column, each.name)
    )
    texts = [text for each in ordered if (text := _told(column, each)) is not None]
    first = ordered[0]
    is_time = any(each.kind == "time" for each in ordered)
    is_key = any(is_yes(each.block, "primary_key") for each in ordered)
    is_date = any(text_of(each.block, "datatype") == "date" for each in ordered)
    return ColumnFact(
        name=column,
        description=" ".join(dict.fromkeys(texts)) or None,
        kind=("time" if is_time else first.column_kind) if is_sql else None,
        is_time=is_time,
        is_hidden=all(is_yes(each.block, "hidden") for each in ordered),
        natural_granularity="day" if is_date else None,
        is_unique=True if is_key else None,
    )


def _told(column: str, dimension: Dimension) -> str | None:
    """Give a dimension's words, with its name in Looker where that is not the column's."""
    text = description_of(dimension.name, dimension.block)
    if dimension.name == column or dimension.is_group:
        return text
    shown = f"`{dimension.name}` in Looker."
    if text is None:
        return None if is_yes(dimension.block, "hidden") else shown
    return f"{text if text.endswith(('.', '!', '?')) else text + '.'} {shown}"


def _guarded(home: str, part: Part) -> Iterator[Unmapped]:
    """Report fields that only some people may see: the layer has no such bar."""
    kinds = ("dimensions", "dimension_groups", "measures")
    every = [each for kind in kinds for each in named_blocks(part.block, kind).items()]
    blocks = [name for name, block in every if "required_access_grants" in block]
    if blocks or "required_access_grants" in part.block:
        shown = ", ".join(f"`{name}`" for name in sorted(blocks)) or "all its fields"
        yield Unmapped(
            evidence=home,
            what=f"required_access_grants of view {part.name}",
            reason="expression_not_supported",
            detail=f"Looker shows {shown} to some people only; the layer has no such bar.",
        )


def unmapped(evidence: str, what: str, problem: Unsayable) -> Unmapped:
    """Give a problem as what a report lists."""
    return Unmapped(evidence=evidence, what=what, reason=problem.reason, detail=problem.detail)
