"""What the README shows is what the command prints."""

import os
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_demo_output_of_the_readme_is_what_the_demo_prints(tmp_path: Path) -> None:
    shown = README.read_text(encoding="utf-8").split("```text\n", 1)[1].split("\n```", 1)[0].splitlines()
    assert shown[0] == "$ make demo"
    run = subprocess.run(
        [sys.executable, "-m", "ktx", "demo", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    printed = {line.rstrip() for line in run.stdout.splitlines()}
    missing = [line for line in shown[1:] if line.strip() not in {"", "…"} and line not in printed]
    assert missing == []
