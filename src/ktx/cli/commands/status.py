"""`ktx status`: what works, what does not, and what to do next."""

import sys
from pathlib import Path

import click

from ktx.cli.options import json_option, project_dir_option
from ktx.cli.render.data import write_json, write_text
from ktx.cli.render.narrate import is_coloured, show_error, show_finding
from ktx.errors import ConfigError
from ktx.findings import Finding
from ktx.project import open_project, require_config_file
from ktx.status.report import CheckPart, StatusReport
from ktx.status.run import status_report

_WORDS = {"pass": ("ok", "32"), "warn": ("warn", "33"), "fail": ("FAIL", "31;1"), "skip": ("-", "2")}


@click.command()
@click.option("--validate", is_flag=True, help="Check ktx.yaml only.")
@click.option("--fast", is_flag=True, help="Contact nothing outside this machine.")
@click.option("--verbose", "-v", is_flag=True, help="Show every remark about ktx.yaml as well.")
@project_dir_option
@json_option
def status(*, project_dir: Path, validate: bool, fast: bool, verbose: bool, as_json: bool) -> int:
    """Say what works, what does not, and what to do next.

    Exits with 1 when the project can do nothing yet, and with 2 when ktx.yaml has errors.
    """
    if validate:
        return _validate(project_dir, as_json=as_json)
    project = open_project(project_dir)
    report = status_report(project, is_fast=fast)
    if as_json:
        write_json(report)
    else:
        write_text(_page(report))
        for finding in project.findings if verbose else ():
            show_finding(finding)
    return 1 if report.verdict == "blocked" else 0


def _validate(project_dir: Path, *, as_json: bool) -> int:
    kind = "missing_project"
    try:
        require_config_file(project_dir)
        kind = "invalid_config"
        project = open_project(project_dir)
    except ConfigError as error:
        if as_json:
            write_json(
                {"error": kind, "message": error.message, "issues": [_issue(f) for f in error.findings]}
            )
        else:
            show_error(error.message, hint=error.hint, findings=error.findings)
        return error.exit_code
    warnings = [finding for finding in project.findings if finding.level == "warning"]
    if as_json:
        write_json(
            {"ok": True, "projectDir": project.root, "warnings": [_issue(finding) for finding in warnings]}
        )
        return 0
    for finding in warnings:
        show_finding(finding)
    write_text(f"{project.config_file} is valid.")
    return 0


def _issue(finding: Finding) -> dict[str, object]:
    issue = {
        "path": finding.where.path,
        "line": finding.where.line,
        "message": finding.message,
        "fix": finding.fix,
    }
    return {**issue, "severity": finding.level}


def _page(report: StatusReport) -> str:
    lines = [f"{report.project_name} ({report.project_dir})", ""]
    width = max(len(_label(check)) for check in report.checks)
    for check in report.checks:
        lines.append(f"{_mark(check)}  {_label(check):<{width}}  {check.detail}")
        if check.fix and check.status in ("fail", "warn"):
            lines.append(f"{'':<4}  {'':<{width}}  -> {check.fix}")
    lines.append("")
    for name, part in report.capabilities.items():
        reason = "" if part.verdict == "ready" else f": {part.reason}"
        lines.append(f"{name:<8} {part.verdict}{reason}")
    if report.next_actions:
        lines += ["", "Next:", *(f"  {action}" for action in report.next_actions)]
    return "\n".join(lines)


def _label(check: CheckPart) -> str:
    return f"{check.id} {check.subject}" if check.subject else check.id


def _mark(check: CheckPart) -> str:
    word, colour = _WORDS[check.status]
    padded = f"{word:<4}"
    return f"\x1b[{colour}m{padded}\x1b[0m" if is_coloured(sys.stdout) else padded
