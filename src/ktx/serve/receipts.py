"""What an answer rests on: the definitions and their commits, the joins, the filters, and the rows that were counted.

Everything is read from the plan and counted by queries made of the same parts as the answer's; no SQL is taken apart. A count
that would be dear, or that fails, is left out with its reason: a receipt never fails an answer.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ktx.errors import ConfigError, KtxError, OutsideError
from ktx.git import Change
from ktx.project import find_repository
from ktx.semantic.census import Counted, census_of
from ktx.semantic.compile import Compiled
from ktx.semantic.plan import FactStep, MeasureStep
from ktx.semantic.source import Layer, Measure, Segment
from ktx.semantic.tableref import parse_table_ref
from ktx.serve.answers import (
    AggregateReceipt,
    CommitInfo,
    Definition,
    FactReceipt,
    FilterReceipt,
    Freshness,
    JoinReceipt,
    MeasureReceipt,
    NonAdditiveInfo,
    PathInfo,
    Receipt,
    RowCounts,
    RowLimitInfo,
)
from ktx.serve.desk import Desk
from ktx.serve.scans import scan_store
from ktx.serve.values import json_value

MOST_COUNTED_ROWS = 1_000_000
COUNT_TIMEOUT_S = 5.0


def make_receipt(
    desk: Desk,
    connection_id: str,
    compiled: Compiled,
    *,
    segments: Sequence[str],
    limit: RowLimitInfo,
    warnings: Sequence[str],
    notes: Sequence[str],
) -> Receipt:
    """Give the receipt of a question that was just answered; counting runs one more query per fact."""
    layer = desk.layer(connection_id)
    history = _History(desk)
    named = [_segment(layer, name, history) for name in segments]
    measures = [_measure(layer, compiled, step, history) for step in compiled.plan.measures]
    facts = [
        _fact(desk, connection_id, compiled, number)
        for number, fact in enumerate(compiled.plan.facts)
        if not fact.is_members
    ]
    return Receipt(
        measures=measures,
        segments=[one for one in named if one is not None],
        facts=facts,
        group_filters=list(compiled.plan.group_filters),
        row_limit=limit,
        warnings=list(warnings),
        notes=[*notes, *history.notes],
    )


# ---- definitions


class _History:
    """What git knows of the files of the layer, each asked once."""

    def __init__(self, desk: Desk) -> None:
        self.notes: list[str] = []
        self._root = desk.project.root
        self._changes: dict[str, tuple[Change | None, bool | None]] = {}
        try:
            self._repository = find_repository(desk.project)
        except (ConfigError, OutsideError) as error:
            self._repository = None
            self.notes.append(f"No commit is named: {error.message}")

    def of(self, file: str | None) -> tuple[Change | None, bool | None]:
        """Give the last commit of a file and whether the file differs from it."""
        if file is None or self._repository is None:
            return None, None
        if file not in self._changes:
            path = Path(self._root, file)
            try:
                self._changes[file] = (
                    self._repository.last_change(path),
                    bool(self._repository.changed([path])),
                )
            except (ConfigError, OutsideError) as error:
                self._changes[file] = (None, None)
                self.notes.append(f"No commit is named for `{file}`: {error.message}")
        return self._changes[file]


def _measure(layer: Layer, compiled: Compiled, step: MeasureStep, history: _History) -> MeasureReceipt:
    definitions: list[Definition] = []
    segments: dict[str, None] = {}
    for label in step.definitions:
        source, _, name = label.rpartition(".")
        found = layer.sources[source].measure(name)
        if found is not None:
            definitions.append(_definition(label, found, history))
            segments.update(
                dict.fromkeys(f"{source}.{one.removeprefix(f'{source}.')}" for one in found.segments)
            )
    behind = [_segment(layer, name, history) for name in segments]
    return MeasureReceipt(
        name=step.name,
        asked=step.asked,
        filter=step.filter,
        definitions=[*definitions, *(one for one in behind if one is not None)],
        facts=list(step.facts),
        paths=_paths(compiled.plan.facts, step),
    )


def _segment(layer: Layer, asked: str, history: _History) -> Definition | None:
    prefix, _, name = asked.rpartition(".")
    source = layer.sources.get(prefix) or next(
        (one for key, one in layer.sources.items() if key.casefold() == prefix.casefold()), None
    )
    if source is None:
        return None
    found = next((one for one in source.segments if one.name.casefold() == name.casefold()), None)
    return _definition(f"{source.name}.{found.name}", found, history) if found is not None else None


def _definition(label: str, part: Measure | Segment, history: _History) -> Definition:
    change, is_dirty = history.of(part.place.file)
    commit = (
        CommitInfo(id=change.commit, at=change.at, author=change.author, subject=change.subject)
        if change is not None
        else None
    )
    if isinstance(part, Segment):
        return Definition(
            kind="segment",
            name=label,
            expr=part.expr,
            segments=[],
            description=part.description,
            file=part.place.file,
            line=part.place.line,
            commit=commit,
            dirty=is_dirty,
        )
    bare = part.non_additive
    return Definition(
        kind="measure",
        name=label,
        expr=part.expr,
        filter=part.filter,
        segments=list(part.segments),
        description=part.description,
        non_additive=NonAdditiveInfo(dimension=bare.dimension, window=bare.window) if bare else None,
        is_implicit=part.is_implicit,
        file=part.place.file,
        line=part.place.line,
        commit=commit,
        dirty=is_dirty,
    )


def _paths(facts: Iterable[FactStep], step: MeasureStep) -> list[PathInfo]:
    """Give the ways of a measure: to each dimension, to what its filters look at, and to its own inputs."""
    paths: list[PathInfo] = []
    for fact in facts:
        if fact.is_members or fact.home not in step.facts:
            continue
        own = [one for one in fact.aggregates if one.label in step.aggregates]
        if not own:
            continue
        paths += [
            PathInfo(fact=fact.home, to=one.name, joins=list(one.joins), is_fan_out=one.is_fan_out)
            for one in fact.dimensions
        ]
        paths += [PathInfo(fact=fact.home, to=one.label, joins=list(one.joins)) for one in own if one.joins]
    return paths


# ---- rows


def _fact(desk: Desk, connection_id: str, compiled: Compiled, number: int) -> FactReceipt:
    fact = compiled.plan.facts[number]
    counted, freshness, reason = _counted(desk, connection_id, compiled, number)
    rows_by_label = {one.label: one for one in counted.aggregates} if counted is not None else {}
    aggregates: list[AggregateReceipt] = []
    for one in fact.aggregates:
        count = rows_by_label.get(one.label)
        aggregates.append(
            AggregateReceipt(
                label=one.label,
                expr=one.expr,
                conditions=list(one.conditions),
                rows=count.rows if count is not None else None,
                null_rows=count.nulls if count is not None else None,
            )
        )
    return FactReceipt(
        home=fact.home,
        aggregates=aggregates,
        filters=[
            FilterReceipt(
                asked=one.asked, text=one.text, use=one.use, joins=list(one.joins), reason=one.reason
            )
            for one in fact.filters
        ],
        is_deduplicated=fact.is_deduplicated,
        rows=RowCounts(
            source_rows=counted.source_rows,
            joined_rows=counted.joined_rows,
            rows_lost=counted.rows_lost,
            rows_multiplied=counted.rows_multiplied,
            kept_rows=counted.kept_rows,
        )
        if counted is not None
        else None,
        joins=[
            JoinReceipt(
                joins=list(one.joins),
                rows_without_match=one.without_match,
                rows_with_null_key=one.with_null_key,
            )
            for one in (counted.joins if counted is not None else ())
        ],
        not_counted=reason,
        freshness=freshness,
    )


def _counted(
    desk: Desk, connection_id: str, compiled: Compiled, number: int
) -> tuple[Counted | None, Freshness | None, str | None]:
    """Count the rows behind a fact, or say why not."""
    home = compiled.plan.facts[number].home
    reason = _too_dear(desk, connection_id, home)
    if reason is not None:
        return None, None, reason
    try:
        census = census_of(compiled.basis, number)
        rows = desk.warehouse(connection_id).run(census.tree, timeout_s=COUNT_TIMEOUT_S).rows
    except KtxError as error:
        return None, None, f"counting failed: {error.message}"
    counted = census.read(rows[0])
    freshness = (
        Freshness(column=census.time, latest=json_value(counted.latest))
        if census.time is not None and counted.latest is not None
        else None
    )
    return counted, freshness, None


def _too_dear(desk: Desk, connection_id: str, home: str) -> str | None:
    """Give the reason not to count a source: only a small table, or one in a file on this machine, is counted."""
    if desk.warehouse(connection_id).capabilities.is_local:
        return None
    source = desk.layer(connection_id).sources[home]
    ref = parse_table_ref(source.table) if source.table else None
    if ref is None:
        return f"`{home}` is a query on a server, and what counting its rows costs is not known"
    with scan_store(desk.project) as store:
        catalog = store.catalog(connection_id) if store is not None else None
        table = catalog.table(ref) if catalog is not None else None
        size = table.row_count if table is not None else None
        if store is not None and size is None:
            profile = store.profiles(connection_id).get(ref)
            size = profile.row_count if profile is not None else None
    if size is None:
        return f"the size of `{home}` is not known; `ktx ingest {connection_id}` finds it out"
    if size > MOST_COUNTED_ROWS:
        return f"`{home}` has about {size:,} rows, more than the {MOST_COUNTED_ROWS:,} that are counted"
    return None
