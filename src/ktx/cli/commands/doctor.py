"""`ktx doctor`: every check with its detail and its fix."""

import functools
import sys

import anyio
import click

from ktx.cli.options import json_option, project_option
from ktx.cli.render.data import write_json, write_text
from ktx.cli.render.narrate import is_coloured
from ktx.cli.render.progress import say_event
from ktx.project import Project
from ktx.status.check import Check
from ktx.status.doctor import examine, examine_models

_WORDS = {"pass": ("ok", "32"), "warn": ("warn", "33"), "fail": ("FAIL", "31;1"), "skip": ("-", "2")}


@click.command()
@project_option
@json_option
def doctor(*, project: Project, as_json: bool) -> int:
    """Make every check: this machine, the project, each connection, each language model tried live.

    Asks each model in use three small things. Exits with 1 when a check fails.
    """
    checks = (*examine(project), *anyio.run(functools.partial(examine_models, project, emit=say_event)))
    if as_json:
        write_json({"checks": [_plain(check) for check in checks], "ok": not _failed(checks)})
    else:
        for line in _lines(checks):
            write_text(line)
    return 1 if _failed(checks) else 0


def _failed(checks: tuple[Check, ...]) -> bool:
    return any(check.status == "fail" for check in checks)


def _lines(checks: tuple[Check, ...]) -> list[str]:
    labels = [f"{check.id} {check.subject}" if check.subject else check.id for check in checks]
    width = max(len(label) for label in labels)
    lines: list[str] = []
    for check, label in zip(checks, labels, strict=True):
        word, colour = _WORDS[check.status]
        mark = f"\x1b[{colour}m{word:<4}\x1b[0m" if is_coloured(sys.stdout) else f"{word:<4}"
        lines.append(f"{mark}  {label:<{width}}  {check.detail}")
        if check.fix and check.status != "pass":
            lines.append(f"{'':<4}  {'':<{width}}  -> {check.fix}")
    counts = {status: sum(check.status == status for check in checks) for status in _WORDS}
    lines += [
        "",
        f"{counts['pass']} ok, {counts['warn']} warnings, {counts['fail']} failed, {counts['skip']} not looked at",
    ]
    return lines


def _plain(check: Check) -> dict[str, object]:
    return {
        "id": check.id,
        "subject": check.subject,
        "status": check.status,
        "detail": check.detail,
        "fix": check.fix,
    }
