"""`claude-code` where it is not installed."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
from ktx.config.model import LlmConfig
from ktx.llm.connect import open_backend
assert "claude_agent_sdk" not in sys.modules and "mcp" not in sys.modules
sys.modules["claude_agent_sdk"] = None
try:
    open_backend("claude-code", LlmConfig(), project_dir=Path("."))
except Exception as error:
    print(type(error).__name__, error.kind, error.message, error.hint, sep="|")
"""


def test_a_missing_extra_is_one_line_that_says_what_to_install_and_nothing_heavy_is_imported_before():
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={"PYTHONPATH": source}, capture_output=True, text=True
    )
    assert done.stdout == (
        "ModelError|missing_extra|The `claude-code` backend needs a package that is not installed (claude_agent_sdk).|"
        "Install it: pip install 'ktx-context[claude-code]'\n"
    )
    assert done.stderr == ""
