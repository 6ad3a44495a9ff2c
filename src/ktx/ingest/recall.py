"""Runs as people ask for them: by id or the beginning of one, or `last`; from their records, else from what git knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ktx.errors import UsageError
from ktx.git import Change, Repository
from ktx.ingest.apply import RUN_TRAILER, SOURCE_TRAILER
from ktx.ingest.artifact import Data, Json
from ktx.ingest.runs import FILE_NAME, Run, RunStatus, open_runs
from ktx.project import Project, find_repository
from ktx.suggest import did_you_mean

LAST: Final = "last"
KnownStatus: TypeAlias = RunStatus | Literal["landed"]
_DID: Final = ("added", "changed", "removed")


@dataclass(frozen=True, kw_only=True)
class KnownRun:
    """A run. `report` is what it reported; None when only its commit is left, and its status is then `landed`.

    `commit` is the one in git that names the run, as people read it; None when it committed nothing.
    """

    id: str
    source: str
    started_at: str
    ended_at: str | None
    status: KnownStatus
    stage: str
    commit: Change | None
    report: Mapping[str, Json] | None

    @property
    def units(self) -> int:
        """How many work units it had."""
        return len(rows_of(self.report, "units"))

    @property
    def changes(self) -> int:
        """How many entries it changed."""
        return sum(one.get("effect") in _DID for one in rows_of(self.report, "changes"))

    @property
    def cost_usd(self) -> float | None:
        """What it cost; None when that is not known."""
        cost = (self.report or {}).get("costUsd")
        return float(cost) if isinstance(cost, int | float) else None


def rows_of(report: Mapping[str, Json] | None, key: str) -> Sequence[Data]:
    """Give the mappings of a list in a report; empty when the run did not come so far."""
    value = (report or {}).get(key)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def list_runs(project: Project, *, source: str | None = None, limit: int = 20) -> tuple[KnownRun, ...]:
    """Give runs, the newest first, also those of which only the commit is left.

    Raises:
        UsageError: no run and no connection is called `source`.
    """
    landed = _landed(find_repository(project))
    recorded = _recorded(project, source, limit)
    ids = _recorded_ids(project)
    found = [_known(run, landed) for run in recorded]
    found += [
        _only_landed(run_id, *one)
        for run_id, one in landed.items()
        if run_id not in ids and source in (None, one[1])
    ]
    if not found and source is not None and source not in project.config.connections:
        known = {*project.config.connections, *(one for _, one in landed.values())}
        raise UsageError(f"No run of `{source[:80]}` is known.{did_you_mean(source, known)}")
    found.sort(key=lambda run: run.report is None)
    return tuple(found[:limit])


def find_run(project: Project, text: str) -> KnownRun | None:
    """Give the run whose id is `text` or begins with it, or the newest for `last`; None when there is none.

    Raises:
        UsageError: several begin with it.
    """
    landed = _landed(find_repository(project))
    ids = list(dict.fromkeys((*_recorded_ids(project), *landed)))
    if text == LAST:
        chosen = ids[:1]
    elif not text:
        chosen = []
    else:
        chosen = [text] if text in ids else [id_ for id_ in ids if id_.startswith(text)]
    if len(chosen) > 1:
        names = ", ".join(f"`{id_}`" for id_ in chosen[:4])
        raise UsageError(
            f"{len(chosen)} runs begin with `{text[:80]}`: {names}.", hint="Give more of the id."
        )
    if not chosen:
        return None
    return _one(project, chosen[0], landed)


def require_run(project: Project, text: str) -> KnownRun:
    """Give a run as `find_run` does.

    Raises:
        UsageError: there is none, or several begin with `text`.
    """
    found = find_run(project, text)
    if found is None:
        message = "There is no run yet." if text == LAST else f"There is no run `{text[:80]}`."
        raise UsageError(message, hint="`ktx runs list` names them.")
    return found


def run_json(run: KnownRun) -> dict[str, object]:
    """Give a run in one line's worth of JSON, without its report."""
    return {
        "id": run.id,
        "source": run.source,
        "startedAt": run.started_at,
        "endedAt": run.ended_at,
        "status": run.status,
        "stage": run.stage,
        "units": run.units if run.report is not None else None,
        "changes": run.changes if run.report is not None else None,
        "costUsd": run.cost_usd,
        "commit": run.commit.commit if run.commit else None,
        "isRecorded": run.report is not None,
    }


def _landed(repository: Repository | None) -> dict[str, tuple[Change, str]]:
    """Give the commits that name a run, with the source, by run, the newest first."""
    if repository is None:
        return {}
    found: dict[str, tuple[Change, str]] = {}
    for change, (run, source) in repository.carrying([RUN_TRAILER, SOURCE_TRAILER]):
        found.setdefault(run, (change, source))
    return found


def _recorded_ids(project: Project) -> tuple[str, ...]:
    if not (project.state_dir / FILE_NAME).exists():
        return ()
    with open_runs(project.state_dir) as store:
        return store.run_ids()


def _recorded(project: Project, source: str | None, limit: int) -> tuple[Run, ...]:
    if not (project.state_dir / FILE_NAME).exists():
        return ()
    with open_runs(project.state_dir) as store:
        return store.runs(limit=limit, source=source)


def _one(project: Project, run_id: str, landed: Mapping[str, tuple[Change, str]]) -> KnownRun:
    if (project.state_dir / FILE_NAME).exists():
        with open_runs(project.state_dir) as store:
            run = store.run(run_id)
        if run is not None and run.id == run_id:
            return _known(run, landed)
    return _only_landed(run_id, *landed[run_id])


def _known(run: Run, landed: Mapping[str, tuple[Change, str]]) -> KnownRun:
    commit = landed[run.id][0] if run.id in landed else None
    return KnownRun(
        id=run.id,
        source=run.source,
        started_at=run.started_at,
        ended_at=run.ended_at,
        status=run.status,
        stage=run.stage,
        commit=commit,
        report=run.body,
    )


def _only_landed(run_id: str, change: Change, source: str) -> KnownRun:
    return KnownRun(
        id=run_id,
        source=source,
        started_at=change.at,
        ended_at=None,
        status="landed",
        stage="",
        commit=change,
        report=None,
    )
