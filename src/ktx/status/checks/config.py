"""What ktx.yaml has to be told; a file with errors never gets as far as a check."""

from collections.abc import Iterator

from ktx.status.check import Check, Scene


def check_config(scene: Scene) -> Iterator[Check]:
    """Count the remarks about ktx.yaml."""
    findings = scene.project.findings
    warnings = [finding for finding in findings if finding.level == "warning"]
    if warnings:
        first = warnings[0]
        more = f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""
        yield Check(
            id="config",
            status="warn",
            detail=f"{first.where}: {first.message}{more}",
            fix=first.fix,
            findings=findings,
        )
        return
    yield Check(id="config", status="pass", detail="ktx.yaml is valid", findings=findings)
