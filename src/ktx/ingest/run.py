"""An ingest of a project: databases first, then the context sources that land on them, each source as a run of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ktx.errors import ConfigError, KtxError
from ktx.events import Emit, ignore
from ktx.ingest.curate import Limits
from ktx.ingest.foresee import SourceEstimate, foresee
from ktx.ingest.history import HistoryChoice
from ktx.ingest.pipeline import ingest
from ktx.ingest.report import IngestReport
from ktx.ingest.runs import RunStore, open_runs
from ktx.ingest.source_report import SourceReport
from ktx.ingest.sources import ingest_source, plan_source
from ktx.ingest.work import Given
from ktx.project import (
    Project,
    ensure_state_dir,
    project_lock,
    source_connection,
    source_ids,
    warehouse_ids,
)
from ktx.sources.connect import open_source, page_limits
from ktx.suggest import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Which connections are ingested, by kind, each sorted as they will be done."""

    warehouses: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ProjectReport:
    """What was done. `warehouses` is None when no database was chosen."""

    warehouses: IngestReport | None
    sources: tuple[SourceReport, ...]

    @property
    def exit_code(self) -> int:
        """0 when everything is done; else the code that all failures share, or 1."""
        codes = {one.exit_code for one in self.sources}
        if self.warehouses is not None:
            codes.add(self.warehouses.exit_code)
        codes.discard(0)
        return codes.pop() if len(codes) == 1 else 1 if codes else 0


def choose(project: Project, ids: Sequence[str] = ()) -> Chosen:
    """Tell databases and context sources apart; none named means all.

    Raises:
        ConfigError: an id is unknown.
    """
    wanted = tuple(dict.fromkeys(ids))
    known = project.config.connections
    unknown = next((name for name in wanted if name not in known), None)
    if unknown is not None:
        names = ", ".join(f"`{name}`" for name in known) or "none"
        raise ConfigError(
            f"There is no connection `{unknown}` in ktx.yaml.{did_you_mean(unknown, known)}",
            hint=f"Connections: {names}.",
        )
    return Chosen(
        warehouses=tuple(name for name in warehouse_ids(project) if not wanted or name in wanted),
        sources=tuple(name for name in source_ids(project) if not wanted or name in wanted),
    )


def ingest_project(
    project: Project,
    ids: Sequence[str] = (),
    *,
    emit: Emit = ignore,
    history: HistoryChoice | None = None,
) -> ProjectReport:
    """Ingest the named connections, or all; what fails is named and keeps nothing else from being done.

    Raises:
        ConfigError: an id is unknown, or git cannot be used.
        OutsideError: another ktx command keeps the project's lock.
    """
    chosen = choose(project, ids)
    scanned = ingest(project, chosen.warehouses, emit=emit, history=history) if chosen.warehouses else None
    return ProjectReport(
        warehouses=scanned,
        sources=_each(
            project, chosen.sources, lambda given, store: ingest_source(project, given, store, emit=emit)
        ),
    )


def plan_sources(
    project: Project, ids: Sequence[str] = (), *, emit: Emit = ignore
) -> tuple[SourceReport, ...]:
    """Say what an ingest of context sources would do; sources are read, no model is asked, nothing is written."""
    chosen = choose(project, ids)
    return _each(project, chosen.sources, lambda given, store: plan_source(project, given, store, emit=emit))


def foresee_sources(
    project: Project, ids: Sequence[str] = (), *, emit: Emit = ignore
) -> tuple[SourceEstimate, ...]:
    """Foresee calls, tokens and money of an ingest of context sources; sources are read, no model is asked."""
    plans = plan_sources(project, ids, emit=emit)
    with open_runs(ensure_state_dir(project)) as store:
        return tuple(foresee(project, plan, store) for plan in plans)


def open_given(project: Project, source_id: str, store: RunStore) -> Given:
    """Open a context source of ktx.yaml.

    Raises:
        ConfigError: it is unknown, or its settings cannot be used.
    """
    connection = source_connection(project, source_id)
    creates, updates = page_limits(connection)
    return Given(
        source_id=source_id,
        driver=connection.driver,
        source=open_source(
            source_id,
            connection,
            project_dir=project.root,
            cache_dir=ensure_state_dir(project) / "cache" / "repositories",
            shelf=store.shelf(source_id),
            warehouse_ids=warehouse_ids(project),
        ),
        limits=Limits(creates=creates, updates=updates),
    )


def _each(
    project: Project, ids: Sequence[str], act: Callable[[Given, RunStore], SourceReport]
) -> tuple[SourceReport, ...]:
    if not ids:
        return ()
    with project_lock(project), open_runs(ensure_state_dir(project)) as store:
        return tuple(_one(project, source_id, store, act) for source_id in ids)


def _one(
    project: Project, source_id: str, store: RunStore, act: Callable[[Given, RunStore], SourceReport]
) -> SourceReport:
    try:
        return act(open_given(project, source_id, store), store)
    except KtxError as error:
        return SourceReport(
            source_id=source_id,
            driver=source_connection(project, source_id).driver,
            run_id="",
            status="failed",
            error=error.message,
            hint=error.hint,
            error_findings=error.findings,
            error_exit_code=error.exit_code,
        )
