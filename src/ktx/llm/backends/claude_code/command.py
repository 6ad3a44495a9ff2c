"""The command line of the `claude` program: every switch that keeps a run to itself, and what each run adds.

A prompt and a system prompt never stand here: arguments are short and anyone on the machine can list them.
"""

import json
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ktx.errors import ModelError
from ktx.llm.backend import Request
from ktx.llm.backends.claude_code.toolserver import SERVER_NAME
from ktx.llm.models import CLAUDE_ALIASES, is_claude_code_model

_MAX_ARGUMENT_BYTES: Final = 120_000
_SETTINGS: Final = {
    "disableAllHooks": True,
    "enabledPlugins": {
        "cc-plugin-agents-md@builtin": False,
        "cc-plugin-plugin-authoring@builtin": False,
    },
}
_ALWAYS: Final = (
    *(
        "--output-format",
        "stream-json",
        "--input-format",
        "stream-json",
        "--verbose",
        "--include-partial-messages",
    ),
    *("--tools", "", "--permission-mode", "dontAsk", "--setting-sources=", "--strict-mcp-config"),
    *("--no-session-persistence", "--restricted", "--disable-slash-commands"),
    *("--settings", json.dumps(_SETTINGS)),
)


def find_program(environment: Mapping[str, str]) -> Path:
    """Find the program that the SDK ships, or else the one on the PATH.

    Raises:
        ModelError: there is none.
    """
    spec = find_spec("claude_agent_sdk")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in ("claude", "claude.exe"):
            bundled = Path(folder) / "_bundled" / name
            if bundled.is_file():
                return bundled
    found = shutil.which("claude", path=environment.get("PATH", ""))
    if found is None:
        raise ModelError(
            "The program `claude` was not found.",
            hint="Install it with `pip install 'ktx-context[claude-code]'`, or put Claude Code on the PATH.",
            kind="missing_extra",
        )
    return Path(found)


def ensure_model(model: str) -> None:
    """Refuse a name that Claude Code would pass on unseen.

    Raises:
        ModelError: it is neither an alias nor an id of a Claude model.
    """
    if not is_claude_code_model(model):
        known = ", ".join(f"`{alias}`" for alias in sorted(CLAUDE_ALIASES))
        raise ModelError(
            f"`{model}` is not a model of Claude Code.",
            hint=f"Use an alias ({known}) or a full id such as `claude-sonnet-5-5`.",
            kind="unknown_model",
        )


def command_line(
    program: Path, request: Request, *, system_file: Path | None, max_turns: int, tool_names: frozenset[str]
) -> list[str]:
    """Give the whole command. `tool_names` are as the program calls them.

    Raises:
        ModelError: the schema is too long for an argument.
    """
    command = [str(program), *_ALWAYS, "--model", request.model, "--max-turns", str(max(1, max_turns))]
    command += ["--system-prompt-file", str(system_file)] if system_file else ["--system-prompt", ""]
    if tool_names:
        servers = {"mcpServers": {SERVER_NAME: {"type": "sdk", "name": SERVER_NAME}}}
        command += ["--mcp-config", json.dumps(servers), "--allowedTools", ",".join(sorted(tool_names))]
    if request.effort:
        command += ["--effort", request.effort]
    if request.schema is not None:
        schema = json.dumps(request.schema, ensure_ascii=False)
        if len(schema.encode()) > _MAX_ARGUMENT_BYTES:
            raise ModelError(
                f"A schema of {len(schema)} characters is too long for Claude Code.",
                hint="Give the role an API backend.",
                kind="unsupported",
            )
        command += ["--json-schema", schema]
    return command
