"""A person's desk for agent tests: a project with a small shop, a home of its own, and `ktx` on PATH as an install puts it."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from program import Outcome, called
from serve.projects import make_shop

SRC = Path(__file__).parents[2] / "src"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where things are. `setup` runs `ktx setup --agents …` in this process."""

    project: Path
    home: Path
    bin: Path
    capsys: pytest.CaptureFixture[str]

    def setup(self, *arguments: object) -> Outcome:
        return called(
            self.capsys, "setup", "--agents", "--no-input", "--project-dir", self.project, *arguments
        )


def make_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Machine:
    """Lay out the folders, and point every variable that leads to somebody's home at them."""
    home, project, programs = tmp_path / "home", tmp_path / "shop", tmp_path / "bin"
    for folder in (home, project, programs):
        folder.mkdir()
    make_shop(project)
    launcher = programs / "ktx"
    launcher.write_text(f'#!/bin/sh\nPYTHONPATH={SRC} exec {sys.executable} -m ktx "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "KTX_PROJECT_DIR", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    return Machine(project=project, home=home, bin=programs, capsys=capsys)
