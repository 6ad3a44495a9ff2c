"""What an ingest of a context source did, as values that the command line draws, `--json` prints and `ktx runs` keeps."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias, cast

from ktx.findings import Finding
from ktx.ingest.artifact import Json
from ktx.ingest.change import Change
from ktx.ingest.merge import Effect
from ktx.ingest.propose import UnitResult, result_json
from ktx.sources.evidence import Unmapped, Unread

SourceStatus: TypeAlias = Literal["done", "partial", "failed"]


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """One stage: its name, how it went, one line, and its time."""

    stage: str
    status: Literal["done", "skipped", "failed", "not-run"]
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ChangeReport:
    """One change that the run made, or did not make: what, why, and which unit's which tool call led to it."""

    target: str
    entry: str
    effect: Effect | Literal["left-out"]
    unit: str
    evidence: tuple[str, ...]
    call: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class SourceReport:
    """One context source's run. `partial`: what failed is named, and the rest has landed."""

    source_id: str
    driver: str
    run_id: str
    status: SourceStatus
    stages: tuple[StageReport, ...] = ()
    documents: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    is_complete: bool = True
    units: tuple[UnitResult, ...] = ()
    changes: tuple[ChangeReport, ...] = ()
    unmapped: tuple[Unmapped, ...] = ()
    unread: tuple[Unread, ...] = ()
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    files: tuple[str, ...] = ()
    uncommitted: tuple[str, ...] = ()
    commit: str | None = None
    error: str | None = None
    hint: str | None = None
    error_findings: tuple[Finding, ...] = ()
    error_exit_code: int = 0
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 when all is done; the error's own code when the run failed; 3 when units did, for they may succeed later."""
        if self.status == "failed":
            return self.error_exit_code or 1
        return 3 if any(unit.status in ("failed", "not-run", "refused") for unit in self.units) else 0

    @property
    def cost_usd(self) -> float:
        """What the units cost, as far as it is known."""
        return sum(unit.cost_usd or 0.0 for unit in self.units)


def change_reports(
    effects: Sequence[tuple[Change, Effect]],
    dropped: Sequence[tuple[Change, str]],
    units: Sequence[UnitResult],
) -> tuple[ChangeReport, ...]:
    """Report the changes that did something, were kept out by a person's version, or did not pass."""
    calls = {(unit.key, text): number for unit in units for text, number in unit.call_of}
    told = [_report(change, effect, calls) for change, effect in effects if effect != "same"]
    return (*told, *(_report(change, "left-out", calls, reason) for change, reason in dropped))


def _report(
    change: Change,
    effect: Effect | Literal["left-out"],
    calls: dict[tuple[str, str], int],
    reason: str = "",
) -> ChangeReport:
    return ChangeReport(
        target=str(change.artifact),
        entry=change.entry,
        effect=effect,
        unit=change.unit,
        evidence=change.evidence,
        call=calls.get((change.unit, str(change))),
        reason=reason,
    )


def report_json(report: SourceReport) -> dict[str, Json]:
    """Give a report as plain JSON, for `--json` and for the record of runs."""
    return {
        "connectionId": report.source_id,
        "driver": report.driver,
        "runId": report.run_id,
        "status": report.status,
        "error": report.error,
        "hint": report.hint,
        "documents": {
            "total": report.documents,
            "added": report.added,
            "changed": report.changed,
            "removed": report.removed,
            "complete": report.is_complete,
        },
        "steps": [_plain(one) for one in report.stages],
        "units": [_unit(one) for one in report.units],
        "changes": [_plain(one) for one in report.changes],
        "unmapped": [_plain(one) for one in report.unmapped],
        "unread": [_plain(one) for one in report.unread],
        "notes": list(report.notes),
        "findings": [_finding(one) for one in (*report.findings, *report.error_findings)],
        "files": list(report.files),
        "uncommitted": list(report.uncommitted),
        "commit": report.commit,
        "costUsd": round(report.cost_usd, 6),
        "seconds": round(report.seconds, 3),
    }


def _unit(unit: UnitResult) -> Json:
    told = result_json(unit)
    told["changes"] = len(unit.changes)
    told.pop("call_of")
    return told


def _plain(value: object) -> Json:
    return cast("Json", asdict(value))  # pyright: ignore[reportArgumentType]


def _finding(finding: Finding) -> Json:
    return {
        "level": finding.level,
        "code": finding.code,
        "message": finding.message,
        "where": str(finding.where),
        "fix": finding.fix,
    }
