"""Running ktx as people do: `called` in this process, `started` as a program of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ktx.cli.run import run


@dataclass(frozen=True, kw_only=True)
class Outcome:
    code: int
    out: str
    err: str


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run one command line in this process."""
    capsys.readouterr()
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return Outcome(code=code, out=captured.out, err=captured.err)


def started(
    *arguments: object, cwd: Path, env: Mapping[str, str] | None = None, python: tuple[str, ...] = ()
) -> Outcome:
    """Run one command line as a program in `cwd`; `python` are options of the interpreter."""
    done = subprocess.run(
        [sys.executable, *python, "-m", "ktx", *map(str, arguments)],
        cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return Outcome(code=done.returncode, out=done.stdout, err=done.stderr)
