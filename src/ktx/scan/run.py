"""One scan: read the catalog, profile the tables side by side, find keys and relationships."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ktx.catalog import CapabilityGap, Catalog, Evidence, Relationship, Table, TableProfile, TableRef
from ktx.errors import OutsideError, QueryError
from ktx.events import Emit, StageAdvanced, StageFinished, StageStarted, ignore
from ktx.scan.reading import ObservedJoin
from ktx.scan.relationships.ask import WarehouseProbe
from ktx.scan.relationships.families import family
from ktx.scan.relationships.find import Found, Proposal, Settings, find_relationships, weigh_proposals
from ktx.scan.relationships.keys import Keys
from ktx.scan.relationships.probe import Question
from ktx.warehouse.warehouse import Warehouse

_MOST_VIOLATIONS = 0.01
_TABLES_PER_ROUND = 500
"""After so many tables the database may forget what it read of them."""
Propose: TypeAlias = Callable[[Catalog, Found], Sequence[Proposal]]


@dataclass(frozen=True, kw_only=True)
class ScanSettings:
    """How a connection is scanned. `validation_budget` counts queries; None stands for twice the tables, at most 1000."""

    sample_rows: int = 10_000
    concurrency: int = 4
    has_relationships: bool = True
    relationships: Settings = field(default_factory=Settings)
    validation_budget: int | None = None
    is_unbounded: bool = False


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A table that could not be looked at, and why."""

    table: TableRef
    reason: str


@dataclass(frozen=True, kw_only=True)
class ScanReport:
    """What one scan learned. `dropped` are joins of earlier scans that no longer hold, with the reason as last evidence."""

    catalog: Catalog
    profiles: dict[TableRef, TableProfile]
    found: Found
    kept: tuple[Relationship, ...] = ()
    dropped: tuple[Relationship, ...] = ()
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def accepted(self) -> tuple[Relationship, ...]:
        """The relationships that belong into the manifest."""
        return tuple(
            sorted(
                {*self.found.decided("accepted"), *self.kept},
                key=lambda one: (one.source, one.source_columns, one.target, one.target_columns),
            )
        )


def scan_connection(
    warehouse: Warehouse,
    *,
    settings: ScanSettings,
    decided: Sequence[Relationship] = (),
    inferred_before: Sequence[Relationship] = (),
    observe: Callable[[Catalog], Sequence[ObservedJoin]] | None = None,
    propose: Propose | None = None,
    emit: Emit = ignore,
) -> ScanReport:
    """Scan one connection. A table that cannot be profiled is named in `failures`; only its structure is then known.

    `observe` gives the joins of past queries over the catalog, as evidence for relationships. `propose` is asked about tables
    to which neither names nor values gave a reference.

    Raises:
        WarehouseError: the catalog cannot be read at all.
    """
    started = time.monotonic()
    seconds: dict[str, float] = {}
    emit(StageStarted(stage="tables"))
    catalog = warehouse.read_catalog()
    seconds["tables"] = time.monotonic() - started
    emit(StageFinished(stage="tables", summary=f"{len(catalog.tables):,} tables and views"))

    mark = time.monotonic()
    profiles, failures = _profile_all(warehouse, catalog, settings, emit)
    seconds["profiles"] = time.monotonic() - mark

    mark = time.monotonic()
    if observe is not None:
        seen = replace(settings.relationships, observed=tuple(observe(catalog)))
        settings = replace(settings, relationships=seen)
    found, kept, dropped = _relate(
        warehouse, catalog, profiles, settings, decided, inferred_before, propose, emit
    )
    seconds["relationships"] = time.monotonic() - mark
    return ScanReport(
        catalog=_with_row_counts(catalog, profiles),
        profiles=profiles,
        found=found,
        kept=kept,
        dropped=dropped,
        failures=failures,
        seconds=time.monotonic() - started,
        stage_seconds=seconds,
    )


def _profile_all(
    warehouse: Warehouse, catalog: Catalog, settings: ScanSettings, emit: Emit
) -> tuple[dict[TableRef, TableProfile], tuple[Failure, ...]]:
    total = len(catalog.tables)
    emit(StageStarted(stage="profiles", total=total))
    profiles: dict[TableRef, TableProfile] = {}
    failures: list[Failure] = []
    with ThreadPoolExecutor(max_workers=settings.concurrency, thread_name_prefix="ktx-profile") as pool:
        for start in range(0, total, _TABLES_PER_ROUND):
            running: dict[Future[TableProfile], Table] = {
                pool.submit(warehouse.profile_table, table, sample_rows=settings.sample_rows): table
                for table in catalog.tables[start : start + _TABLES_PER_ROUND]
            }
            try:
                for done, finished in enumerate(as_completed(running), start=start + 1):
                    table = running[finished]
                    try:
                        profiles[table.ref] = finished.result()
                    except (QueryError, OutsideError) as error:
                        failures.append(Failure(table=table.ref, reason=error.message))
                    emit(StageAdvanced(stage="profiles", done=done, total=total, label=str(table.ref)))
            except BaseException:
                for waiting in running:
                    waiting.cancel()
                warehouse.cancel()
                raise
            warehouse.rest()
    rows = sum(profile.profiled_rows for profile in profiles.values())
    emit(StageFinished(stage="profiles", summary=f"{rows:,} rows read"))
    ordered = {table.ref: profiles[table.ref] for table in catalog.tables if table.ref in profiles}
    return ordered, tuple(sorted(failures, key=lambda one: one.table))


def _relate(
    warehouse: Warehouse,
    catalog: Catalog,
    profiles: dict[TableRef, TableProfile],
    settings: ScanSettings,
    decided: Sequence[Relationship],
    inferred_before: Sequence[Relationship],
    propose: Propose | None,
    emit: Emit,
) -> tuple[Found, tuple[Relationship, ...], tuple[Relationship, ...]]:
    emit(StageStarted(stage="relationships"))
    if not settings.has_relationships:
        found = _declared_only(catalog, decided)
        emit(StageFinished(stage="relationships", summary="declared ones only"))
        return found, tuple(replace(one, origin="inferred") for one in inferred_before), ()
    budget = settings.validation_budget
    if budget is None and not settings.is_unbounded:
        budget = min(max(2 * len(catalog.tables), 20), 1000)
    probe = WarehouseProbe(warehouse)
    bounded = replace(settings.relationships, budget=budget)
    found = find_relationships(catalog, profiles, settings=bounded, probe=probe, decided=decided)
    if propose is not None:
        found = weigh_proposals(
            found,
            propose(catalog, found),
            catalog=catalog,
            profiles=profiles,
            settings=bounded,
            probe=probe,
        )
    kept, dropped = _revalidate(catalog, found, inferred_before, probe)
    accepted, waiting = len(found.decided("accepted")), len(found.decided("review"))
    summary = f"{accepted:,} accepted, {waiting:,} for review, {found.queries:,} queries"
    emit(StageFinished(stage="relationships", summary=summary))
    return found, kept, dropped


def _declared_only(catalog: Catalog, decided: Sequence[Relationship]) -> Found:
    bare = replace(
        catalog, tables=tuple(table for table in catalog.tables if table.primary_key or table.foreign_keys)
    )
    found = find_relationships(bare, {}, settings=Settings(budget=0), decided=decided)
    keys = {ref: key for ref, key in found.keys.primary.items() if key.is_declared}
    stated = tuple(one for one in found.relationships if one.origin != "inferred")
    return Found(keys=Keys(primary=keys), relationships=stated)


def _revalidate(
    catalog: Catalog, found: Found, before: Sequence[Relationship], probe: WarehouseProbe
) -> tuple[tuple[Relationship, ...], tuple[Relationship, ...]]:
    """Look again at joins that earlier scans accepted and this one did not: data that still holds keeps them."""
    accepted = {one.identity for one in found.decided("accepted")}
    taken = {(one.source, one.source_columns) for one in found.decided("accepted") if one.condition is None}
    rejected = {one.identity for one in found.decided("rejected") if one.origin == "manual"}
    kept: dict[tuple[object, ...], Relationship] = {}
    dropped: list[Relationship] = []
    for one in before:
        # A join of single partners stands on both sides, so that it is read twice.
        if one.identity in accepted or one.mirror in accepted or one.mirror in kept:
            continue
        reason = _refutation(catalog, one, probe)
        if reason is None and (one.identity in rejected or one.mirror in rejected):
            reason = "a person rejected it"
        if reason is None and one.condition is None and (one.source, one.source_columns) in taken:
            reason = "another target fits better"
        if reason is None:
            kept[one.identity] = replace(one, origin="inferred")
        else:
            evidence = Evidence(signal="data", strength=0.0, detail=reason)
            dropped.append(
                replace(one, origin="inferred", decision="rejected", evidence=(*one.evidence, evidence))
            )
    return tuple(kept.values()), tuple(one for one in dropped if one.mirror not in kept)


def _refutation(catalog: Catalog, one: Relationship, probe: WarehouseProbe) -> str | None:
    """Say why a join no longer holds; None when it does, or when the database would not answer."""
    source, target = catalog.table(one.source), catalog.table(one.target)
    if source is None or target is None:
        return "one of the tables is gone"
    own = [source.column(name) for name in one.source_columns]
    other = [target.column(name) for name in one.target_columns]
    if None in own or None in other:
        return "one of the columns is gone"
    as_text = any(
        left is not None and right is not None and family(left) != family(right)
        for left, right in zip(own, other, strict=True)
    )
    (answer,) = probe.look_up(
        [
            Question(
                table=one.source,
                columns=one.source_columns,
                target=one.target,
                target_columns=one.target_columns,
                as_text=as_text,
                where=one.condition,
            )
        ]
    )
    if answer is None or not answer.checked or answer.missing / answer.checked <= _MOST_VIOLATIONS:
        return None
    return f"{answer.missing:,} of {answer.checked:,} distinct values have no partner any more"


def _with_row_counts(catalog: Catalog, profiles: dict[TableRef, TableProfile]) -> Catalog:
    tables = tuple(
        replace(table, row_count=profiles[table.ref].row_count) if table.ref in profiles else table
        for table in catalog.tables
    )
    return replace(catalog, tables=tables)


def profile_gaps(report: ScanReport) -> tuple[CapabilityGap, ...]:
    """Give the catalog's gaps and one for every table that could not be looked at."""
    missing = tuple(
        CapabilityGap(what=f"profile of {failure.table}", reason=failure.reason)
        for failure in report.failures
    )
    return (*report.catalog.gaps, *missing)
