"""Metrics, saved segments, and single-number questions as measures and segments of the definitions whose rows they read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp

from ktx.sources.definition import MeasureFact, SegmentFact
from ktx.sources.metabase.drafts import Draft, World, add_join, kind_of
from ktx.sources.metabase.mbql import Argument, Clause, MbqlQuery, Stage, join_ends, parse_inner
from ktx.sources.metabase.models import Cards, result_column
from ktx.sources.metabase.translate import Resolved, Translator
from ktx.sources.metabase.wire import OldMetricInfo, SegmentInfo
from ktx.sources.placing import Unsayable, column_sql
from ktx.sources.prose import sentence

_TIMES = frozenset({"time-interval", "relative-datetime", "during", "relative-time-interval"})


@dataclass(frozen=True, kw_only=True)
class Landed:
    """Where a metric went."""

    draft: Draft
    measure: str


@dataclass(kw_only=True)
class Measures:
    """Puts measures and segments on drafts, each once; a metric that stands on another one brings that along."""

    world: World
    cards: Cards
    segments: dict[int, SegmentInfo]
    old_metrics: dict[int, OldMetricInfo]
    landed: dict[str, Landed] = field(default_factory=dict[str, Landed])
    _failed: dict[str, Unsayable] = field(default_factory=dict[str, Unsayable])
    _segment_names: dict[int, tuple[Draft, str]] = field(default_factory=dict[int, tuple[Draft, str]])

    def add_segment(self, info: SegmentInfo) -> None:
        """Put a saved segment on its table.

        Raises:
            Unsayable: the layer cannot hold it.
        """
        stage = _single(parse_inner(info.definition))
        draft = self.world.table(stage.table if stage.table is not None else info.table_id)
        if not stage.filters:
            raise Unsayable("parse_error", "It has no filter.")
        translator = self._translator(draft, stage)
        tree = translator.condition(_all(stage.filters))
        name = draft.free_name(info.name, info.id)
        draft.segments[name] = SegmentFact(
            name=name,
            expr=translator.text(tree),
            description=sentence(info.description) or sentence(info.name),
        )
        draft.evidence.add(f"segment/{info.id}")
        self._segment_names[info.id] = (draft, name)

    def add_old_metric(self, info: OldMetricInfo) -> None:
        """Put a metric of the older kind on its table.

        Raises:
            Unsayable: the layer cannot hold it.
        """
        query = parse_inner(info.definition)
        stage = _single(query)
        draft = self.world.table(stage.table if stage.table is not None else info.table_id)
        self._add(f"metric/{info.id}", draft, stage, info.name, info.description, info.id)

    def add_metric(self, id_: int) -> Landed:
        """Put a metric card on the rows that it reads.

        Raises:
            Unsayable: the layer cannot hold it.
        """
        key = f"card/{id_}"
        if key in self.landed:
            return self.landed[key]
        if key in self._failed:
            raise Unsayable(self._failed[key].reason, self._failed[key].detail)
        self._failed[key] = Unsayable("unresolved_reference", "It refers to itself.")
        try:
            stage = _single(self.cards.query(id_))
            draft = self.cards.rows(stage)
            info = self.cards.by_id[id_].info
            landed = self._add(key, draft, stage, info.name, info.description, id_)
        except Unsayable as why:
            self._failed[key] = why
            raise
        return landed

    def add_question(self, id_: int) -> Landed | None:
        """Take a question for a measure: a single aggregation of one set of rows, not split, sorted, cut, or tied to a time.

        None where it is another kind of question, or one that the layer cannot hold; nothing is lost then, as it stands on a
        page.
        """
        try:
            query = self.cards.query(id_)
            stage = _single(query)
            if not _is_measure(stage):
                return None
            draft = self.cards.rows(stage)
            info = self.cards.by_id[id_].info
            return self._add(f"card/{id_}", draft, stage, info.name, info.description, id_, takes_times=False)
        except (Unsayable, RecursionError):
            return None

    def _add(
        self,
        key: str,
        draft: Draft,
        stage: Stage,
        title: str,
        about: str | None,
        id_: int,
        *,
        takes_times: bool = True,
    ) -> Landed:
        if len(stage.aggregations) != 1:
            raise Unsayable(
                "expression_not_supported", f"It has {len(stage.aggregations)} aggregations, not one."
            )
        if stage.has_limit:
            raise Unsayable("expression_not_supported", "It counts a limited number of rows only.")
        for join in stage.joins:
            mine, theirs = join_ends(join)
            add_join(self.world, draft, self._own(draft, mine, Clause(op="field")).tree.name, theirs)
        translator = self._translator(draft, stage)
        expr = translator.text(translator.aggregate(stage.aggregations[0]))
        named = [(self._own_segment(one, draft), one) for one in stage.filters]
        segments = sorted({name for name, _ in named if name is not None})
        rest = tuple(one for name, one in named if name is None)
        if not takes_times and any(self._is_timed(one, draft, stage) for one in rest):
            raise Unsayable("expression_not_supported", "It is about one time.")
        condition = None
        if rest:
            condition = translator.text(translator.condition(_all(rest)))
        known = next(
            (
                one.name
                for one in draft.measures.values()
                if (one.expr, one.filter, one.segments) == (expr, condition, tuple(segments))
            ),
            None,
        )
        if known is None:
            name = draft.free_name(title, id_)
            draft.measures[name] = MeasureFact(
                name=name,
                expr=expr,
                filter=condition,
                segments=tuple(segments),
                description=sentence(about) or sentence(title),
                time_dimension=self._time(draft, stage),
                evidence=(key,),
            )
            known = name
        draft.evidence.add(key)
        self.landed[key] = Landed(draft=draft, measure=known)
        return self.landed[key]

    def _own_segment(self, argument: Argument, draft: Draft) -> str | None:
        """Give the name of the segment that a filter is, where it is one of the same rows."""
        id_ = (
            argument.args[0]
            if isinstance(argument, Clause) and argument.op == "segment" and argument.args
            else None
        )
        owner, name = self._segment_names.get(id_, (None, "")) if isinstance(id_, int) else (None, "")
        return name if owner is draft else None

    def _time(self, draft: Draft, stage: Stage) -> str | None:
        """Give the time column that a metric is split by: the one that it is about."""
        for breakout in stage.breakouts:
            if (
                isinstance(breakout, Clause)
                and breakout.op == "field"
                and breakout.options.get("temporal-unit")
            ):
                try:
                    tree = self._column(draft, stage, breakout).tree
                except Unsayable:
                    return None
                return tree.name if isinstance(tree, exp.Column) and not tree.table else None
        return None

    def _is_timed(self, argument: Argument, draft: Draft, stage: Stage) -> bool:
        """Tell whether a filter looks at a time."""
        if not isinstance(argument, Clause):
            return False
        return any(
            clause.op in _TIMES
            or (clause.op == "field" and self._column(draft, stage, clause).kind == "time")
            for clause in argument.clauses()
        )

    def _translator(self, draft: Draft, stage: Stage) -> Translator:
        return Translator(
            dialect=draft.dialect,
            column=lambda clause: self._column(draft, stage, clause),
            segment=lambda id_: self._segment(draft, id_),
            metric=lambda id_: self._metric(draft, id_),
            expressions=stage.expressions,
        )

    def _metric(self, draft: Draft, id_: int) -> exp.Expr:
        """Refer to another metric by its measure; metrics are cards, or of the older kind with numbers of their own."""
        landed = (
            self.landed.get(f"metric/{id_}")
            if id_ in self.old_metrics and id_ not in self.cards.by_id
            else None
        )
        landed = landed or self.add_metric(id_)
        if landed.draft is not draft:
            raise Unsayable("multiple_table_references", f"It stands on a metric of `{landed.draft.name}`.")
        return column_sql(landed.measure, draft.dialect)

    def _segment(self, draft: Draft, id_: int) -> exp.Expr:
        owner, name = self._segment_names.get(id_, (None, ""))
        if owner is not draft:
            raise Unsayable(
                "unresolved_reference", f"Segment {id_} is not one of `{draft.name}` that could be read."
            )
        return sqlglot.parse_one(draft.segments[name].expr, dialect=draft.dialect)

    def _column(self, draft: Draft, stage: Stage, clause: Clause) -> Resolved:
        ref = clause.args[0] if clause.args else None
        alias, through = clause.options.get("join-alias"), clause.options.get("source-field")
        if isinstance(ref, bool) or not isinstance(ref, int | str):
            raise Unsayable("unresolved_reference", "A field is neither a number nor a name.")
        if isinstance(alias, str) and alias:
            return self._joined(draft, stage, alias, ref)
        if isinstance(through, int):
            return self._through(draft, through, ref)
        return self._own(draft, ref, clause)

    def _own(self, draft: Draft, ref: int | str, clause: Clause) -> Resolved:
        if isinstance(ref, str):
            name, base = draft.column_name(ref), str(clause.options.get("base-type") or "")
            if name is None:
                raise Unsayable("unresolved_reference", f"`{draft.name}` has no column `{ref}`.")
            known = next((one.base_type for one in draft.result if one.name == name), base)
            return _resolved(name, known, draft)
        table_id, info = self.world.fields.get(ref, (0, None))
        if info is not None and draft is self.world.drafts.get(table_id):
            return _resolved(_named(draft, info.name), info.effective_type or info.base_type, draft)
        column = result_column(draft, ref)
        if column is None:
            raise Unsayable("unresolved_reference", f"`{draft.name}` has no column for field {ref}.")
        return _resolved(column.name, column.base_type, draft)

    def _through(self, draft: Draft, through: int, ref: int | str) -> Resolved:
        """Follow a foreign key of the rows to a field of the table that it refers to."""
        key = self._own(draft, through, Clause(op="field")).tree.name
        _, info = self.world.fields.get(through, (0, None))
        if info is None or info.fk_target_field_id is None or not isinstance(ref, int):
            raise Unsayable("unresolved_reference", f"Field {through} is no foreign key.")
        join = draft.joins.get(key) or add_join(self.world, draft, key, info.fk_target_field_id)
        return self._beyond(draft, ref, info.fk_target_field_id, join.alias or join.to)

    def _joined(self, draft: Draft, stage: Stage, alias: str, ref: int | str) -> Resolved:
        join = next((one for one in stage.joins if one.alias == alias), None)
        if join is None:
            raise Unsayable("unresolved_reference", f"There is no join `{alias}`.")
        mine, theirs = join_ends(join)
        key = self._own(draft, mine, Clause(op="field")).tree.name
        made = add_join(self.world, draft, key, theirs)
        if isinstance(ref, str):
            table_id = self.world.fields[theirs][0]
            ids = [
                id_
                for id_, (table, one) in self.world.fields.items()
                if table == table_id and one.name == ref
            ]
            ref = ids[0] if ids else -1
        return self._beyond(draft, ref, theirs, made.alias or made.to)

    def _beyond(self, draft: Draft, ref: int, key: int, of: str) -> Resolved:
        table_id, info = self.world.fields.get(ref, (0, None))
        if info is None or table_id != self.world.fields[key][0]:
            raise Unsayable("unresolved_reference", f"Field {ref} is not one of the joined table.")
        other = self.world.table(table_id)
        return _resolved(_named(other, info.name), info.effective_type or info.base_type, draft, of=of)


def _resolved(name: str, base_type: str, draft: Draft, *, of: str | None = None) -> Resolved:
    return Resolved(
        tree=column_sql(name, draft.dialect, of=of),
        kind=kind_of(base_type) if base_type else None,
        is_date=base_type == "type/Date",
    )


def _named(draft: Draft, name: str) -> str:
    found = draft.column_name(name)
    if found is None:
        raise Unsayable("unresolved_reference", f"`{draft.name}` has no column `{name}`.")
    return found


def _single(query: MbqlQuery) -> Stage:
    if query.native is not None:
        raise Unsayable("expression_not_supported", "It is written in SQL.")
    if len(query.stages) != 1:
        raise Unsayable("expression_not_supported", "It aggregates in several stages.")
    stage = query.stages[0]
    for join in stage.joins:
        join_ends(join)
    return stage


def _all(filters: tuple[Argument, ...]) -> Argument:
    first, *others = filters
    return Clause(op="and", args=filters) if others else first


def _is_measure(stage: Stage) -> bool:
    return len(stage.aggregations) == 1 and not (stage.breakouts or stage.has_order or stage.has_limit)


Adder = Callable[[], object]


def each(world: World, jobs: Sequence[tuple[str, str, Adder]]) -> None:
    """Do what can be done, and note by name what cannot."""
    for evidence, what, add in jobs:
        try:
            add()
        except Unsayable as why:
            world.lacks(evidence, what, why)
        except RecursionError:
            world.lacks(evidence, what, Unsayable("parse_error", "It is nested too deeply."))
