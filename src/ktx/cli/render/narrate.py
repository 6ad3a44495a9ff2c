"""Narration on stderr: plain lines, errors, findings."""

import sys
from collections.abc import Iterable
from typing import TextIO

from ktx.config import env
from ktx.findings import Finding, Level

_COLOURS = {"error": "31;1", "warning": "33;1", "note": "36", "hint": "36"}


def say(message: str) -> None:
    """Write one line for people."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def show_error(message: str, *, hint: str | None = None, findings: Iterable[Finding] = ()) -> None:
    """Write `error: …`, the findings behind it, and the way out; a finding that is the error itself is not said again."""
    say(f"{_label('error')} {message}")
    for finding in findings:
        if finding.message != message:
            show_finding(finding, indent="  ")
        elif finding.fix and hint is None:
            hint = finding.fix
    if hint:
        say(f"{_label('hint')} {hint}")


def show_finding(finding: Finding, *, indent: str = "") -> None:
    """Write one finding with its place and its fix."""
    place = f"{finding.where}: " if str(finding.where) else ""
    say(f"{indent}{_label(finding.level)} {place}{finding.message}")
    if finding.fix:
        say(f"{indent}  {_label('hint')} {finding.fix}")


def is_coloured(stream: TextIO) -> bool:
    """Tell whether colours may be written: a terminal, and `NO_COLOR` not set."""
    return stream.isatty() and env.get("NO_COLOR") is None and env.get("TERM") != "dumb"


def _label(word: "Level | str") -> str:
    return f"\x1b[{_COLOURS[word]}m{word}:\x1b[0m" if is_coloured(sys.stderr) else f"{word}:"
