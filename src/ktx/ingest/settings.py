"""How a project wants its databases scanned: `scan` of ktx.yaml in the scan's own words."""

from ktx.project import Project
from ktx.scan.relationships.find import Settings
from ktx.scan.relationships.score import Thresholds
from ktx.scan.run import ScanSettings


def scan_settings(project: Project) -> ScanSettings:
    """Give the settings of a scan."""
    given = project.config.scan.relationships
    budget = given.validation_budget
    return ScanSettings(
        sample_rows=given.profile_sample_rows,
        concurrency=given.profile_concurrency,
        has_relationships=given.enabled,
        validation_budget=budget if isinstance(budget, int) else None,
        is_unbounded=budget == "all",
        relationships=Settings(
            thresholds=Thresholds(accept=given.accept_threshold, review=given.review_threshold),
            max_candidates_per_column=given.max_candidates_per_column,
            limit_s=given.detection_budget_ms / 1000,
            concurrency=given.validation_concurrency,
            is_validation_required=given.validation_required_for_manifest,
        ),
    )
