"""Findings of an answer as narration."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ktx.cli.render.narrate import show_finding
from ktx.findings import Finding, Place

if TYPE_CHECKING:
    from ktx.serve.answers import FindingInfo


def show_findings(findings: "Iterable[FindingInfo]") -> None:
    """Write each finding with its place and its fix."""
    for found in findings:
        where = Place(file=found.file, line=found.line, path=found.path)
        show_finding(
            Finding(level=found.level, code=found.code, message=found.message, where=where, fix=found.fix)
        )
