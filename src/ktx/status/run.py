"""Make all checks and give one report with a verdict per capability."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from ktx.config.connections import is_warehouse
from ktx.findings import Finding
from ktx.project import Project
from ktx.semantic.load import load_layer
from ktx.status.check import CAPABILITIES, Capability, Check, Look, Scene, Status
from ktx.status.checks.config import check_config
from ktx.status.checks.connections import check_connection, check_connections
from ktx.status.checks.embeddings import check_embeddings
from ktx.status.checks.git import check_git
from ktx.status.checks.index import check_index
from ktx.status.checks.layer import check_semantic_layer, check_wiki
from ktx.status.checks.llm import check_llm
from ktx.status.report import (
    CapabilityPart,
    CheckPart,
    ConfigPart,
    ConnectionPart,
    EmbeddingsPart,
    Issue,
    LlmPart,
    LocalStats,
    PipelinePart,
    StatusReport,
    StoragePart,
    Verdict,
    WarningPart,
)
from ktx.wiki.store import iter_page_files

CHECKS: tuple[Look, ...] = (
    check_config,
    check_git,
    check_connections,
    check_semantic_layer,
    check_wiki,
    check_index,
    check_llm,
    check_embeddings,
)
"""Every check, in the order of the report. To add one, write `status/checks/<name>.py` and name it here."""


def run_checks(project: Project, *, is_fast: bool = False) -> tuple[Check, ...]:
    """Make every check; nothing outside this machine is contacted when `is_fast`."""
    scene = Scene(project=project, is_fast=is_fast)
    return tuple(check for look in CHECKS for check in look(scene))


def run_connection_checks(project: Project, names: Sequence[str]) -> tuple[Check, ...]:
    """Test the named connections by contacting them."""
    scene = Scene(project=project)
    return tuple(check_connection(scene, name) for name in names)


def status_report(project: Project, *, is_fast: bool = False) -> StatusReport:
    """Make every check and sum up."""
    checks = run_checks(project, is_fast=is_fast)
    config = project.config
    stats = _local_stats(project)
    warehouses = [name for name, connection in config.connections.items() if is_warehouse(connection)]
    capabilities: dict[Capability, CapabilityPart] = {
        name: _capability(name, checks, warehouses, stats) for name in CAPABILITIES
    }
    verdict, reason = _verdict(capabilities)
    by_id = {check.id: check for check in checks}
    default_model = config.llm.models.default
    llm, embeddings, about = by_id["llm"], by_id["embeddings"], config.ingest.embeddings
    return StatusReport(
        project_name=project.root.name,
        project_dir=str(project.root),
        config=ConfigPart(**_part(by_id["config"]), issues=tuple(_issue(f) for f in project.findings)),
        llm=LlmPart(
            **_part(llm),
            backend=config.llm.provider.backend,
            model=default_model[0].model if default_model else None,
        ),
        embeddings=EmbeddingsPart(
            **_part(embeddings), backend=about.backend, model=about.model, dimensions=about.dimensions
        ),
        storage=StoragePart(
            state=config.storage.state, search=config.storage.search, git_author=config.storage.git.author
        ),
        connections=tuple(
            ConnectionPart(
                **_part(check), name=check.subject, driver=config.connections[check.subject].driver
            )
            for check in checks
            if check.id == "connection" and check.subject is not None
        ),
        pipeline=PipelinePart(
            adapters=config.ingest.adapters,
            enrichment_mode=config.scan.enrichment.mode,
            samples=config.scan.samples,
            relationships=config.scan.relationships.enabled,
        ),
        warnings=tuple(
            WarningPart(message=_named(check), fix=check.fix) for check in checks if check.status == "warn"
        ),
        local_stats=stats,
        checks=tuple(CheckPart(**_part(check), id=check.id, subject=check.subject) for check in checks),
        capabilities=capabilities,
        verdict=verdict,
        verdict_reason=reason,
        next_actions=_next_actions(checks, verdict),
    )


class _Outcome(TypedDict):
    status: Status
    detail: str
    fix: str | None


def _part(check: Check) -> _Outcome:
    return {"status": check.status, "detail": check.detail, "fix": check.fix}


def _issue(finding: Finding) -> Issue:
    return Issue(
        path=finding.where.path,
        line=finding.where.line,
        message=finding.message,
        fix=finding.fix,
        severity=finding.level,
    )


def _named(check: Check) -> str:
    return f"{check.id}{f' {check.subject}' if check.subject else ''}: {check.detail}"


def _capability(
    name: Capability, checks: Iterable[Check], warehouses: Iterable[str], stats: LocalStats
) -> CapabilityPart:
    """Judge one capability: partial when it fails for some warehouses and holds for others."""
    if name == "search" and not stats.wiki_pages and not any(stats.semantic_layer.values()):
        return CapabilityPart(verdict="blocked", reason="there is nothing to search yet")
    failed = [check for check in checks if name in check.needed_by and check.status == "fail"]
    if not failed:
        return CapabilityPart(verdict="ready", reason="nothing is in the way")
    subjects = {check.subject for check in failed}
    is_usable = None not in subjects and any(warehouse not in subjects for warehouse in warehouses)
    return CapabilityPart(verdict="partial" if is_usable else "blocked", reason=_named(failed[0]))


def _verdict(capabilities: Mapping[Capability, CapabilityPart]) -> tuple[Verdict, str]:
    blocked: list[Capability] = [name for name in CAPABILITIES if capabilities[name].verdict == "blocked"]
    limited: list[Capability] = [name for name in CAPABILITIES if capabilities[name].verdict == "partial"]
    if len(blocked) == len(capabilities):
        return "blocked", capabilities[blocked[-1]].reason
    if blocked or limited:
        name = (blocked or limited)[0]
        usable = [other for other in CAPABILITIES if other not in blocked]
        return "partial", f"ready for {' and '.join(usable)}; {name}: {capabilities[name].reason}"
    return "ready", f"ready for {', '.join(CAPABILITIES)}"


def _next_actions(checks: Iterable[Check], verdict: Verdict) -> tuple[str, ...]:
    actions = [check.fix for check in checks if check.status == "fail" and check.fix]
    if verdict == "ready":
        actions.append("Ask: `ktx sl` lists what can be asked, `ktx sl query` asks it.")
    return tuple(dict.fromkeys(actions))


def _local_stats(project: Project) -> LocalStats:
    return LocalStats(
        wiki_pages=sum(1 for _ in iter_page_files(project.wiki_dir)),
        semantic_layer={
            name: len(load_layer(project.semantic_dir, name).sources)
            for name in _layer_folders(project.semantic_dir)
        },
        state_bytes=sum(file.stat().st_size for file in project.state_dir.rglob("*") if file.is_file()),
    )


def _layer_folders(semantic_dir: Path) -> list[str]:
    return sorted(folder.name for folder in semantic_dir.glob("*") if folder.is_dir())
