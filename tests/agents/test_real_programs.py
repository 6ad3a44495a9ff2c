"""The real `claude` and `codex` programs, configured by `ktx setup --agents` and nothing else, call our tools over stdio."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from agents.machine import Machine, make_machine
from claude_host import make_host
from modelserver import replies
from modelserver.server import ModelServer
from responsesserver.server import ResponsesServer

QUESTION = {"measures": ["orders.revenue"], "dimensions": ["customers.country"], "segments": ["orders.paid"]}
TOOLS = {
    "connection_list",
    "discover_data",
    "entity_details",
    "dictionary_search",
    "sl_read_source",
    "sl_query",
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Machine:
    return make_machine(tmp_path, monkeypatch, capsys)


def run(command: list[str], cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def claude() -> str:
    sdk = pytest.importorskip(
        "claude_agent_sdk", reason="claude-code extra missing: pip install 'ktx-context[claude-code]'"
    )
    return str(Path(sdk.__file__).parent / "_bundled" / "claude")


def codex() -> str:
    package = pytest.importorskip(
        "codex_cli_bin", reason="codex extra missing: pip install 'ktx-context[codex]'"
    )
    return str(package.bundled_codex_path())


def paid_by_country(answer: str) -> dict[str | None, float]:
    return {country: amount for country, amount in json.loads(answer)["rows"] if amount}


def answers_of(results: list[dict[str, object]]) -> list[str]:
    """Give the texts that the program handed to its model, in order."""
    found: list[str] = []
    for result in results:
        content = result["content"]
        parts = [content] if isinstance(content, str) else [str(part.get("text", "")) for part in content]  # type: ignore[union-attr]
        found.append("\n".join(parts).partition("Output:\n")[2] or "\n".join(parts))
    return found


@pytest.mark.claude
@pytest.mark.parametrize("scope", ["project", "global", "local"])
def test_the_real_claude_lists_and_calls_our_tools(machine: Machine, scope: str) -> None:
    flags = [] if scope == "project" else [f"--{scope}"]
    assert machine.setup("--target", "claude-code", *flags).code == 0
    with ModelServer() as server:
        environment = {
            **make_host(machine.home, server).environment,
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "ENABLE_TOOL_SEARCH": "false",
        }
        server.script(replies.by_turn(replies.call("mcp__ktx__sl_query", **QUESTION), replies.text("30.25")))
        command = [claude(), "-p", "What was paid?", "--model", "sonnet", "--allowedTools", "mcp__ktx"]
        if scope == "project":  # what a person answers once when `claude` asks
            command += ["--settings", '{"enabledMcpjsonServers": ["ktx"]}']
        done = run([*command, "--output-format", "json"], machine.project, environment)
        assert json.loads(done.stdout)["result"] == "30.25", done.stderr
        asked, told = server.requests[-2:]
        assert {f"mcp__ktx__{name}" for name in TOOLS} <= set(asked.tool_names)
        assert "ktx-analytics" in asked.prompt_text, "the skill is offered"
        assert paid_by_country(answers_of(told.tool_results)[0]) == {"CH": 30.25, None: 5}


@pytest.mark.codex
@pytest.mark.parametrize("scope", ["project", "global"])
def test_the_real_codex_lists_and_calls_our_tools(machine: Machine, scope: str) -> None:
    home = machine.home / ".codex"
    home.mkdir()
    (home / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": "sk-test"}))
    # what Codex writes when a person trusts a folder; it reads the folder's own settings only then
    (home / "config.toml").write_text(f'[projects."{machine.project}"]\ntrust_level = "trusted"\n')
    flags = [] if scope == "project" else ["--global"]
    assert machine.setup("--target", "codex", *flags).code == 0
    with ResponsesServer() as server:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(machine.home),
            **server.environment(str(server.authority.write_root(machine.home / "ca.pem"))),
        }
        server.routes["/v1/responses"] = (
            426,
            {},
        )  # no websocket here, so Codex asks over plain HTTPS at once
        # a personal entry is not waited for, so the first step of the model gives it the time that a real one takes
        look = [] if scope == "project" else [replies.call("exec_command", cmd="sleep 4")]
        server.script(replies.by_turn(*look, replies.call("sl_query", **QUESTION), replies.text("30.25")))
        command = [codex(), "exec", "--skip-git-repo-check", "-m", "gpt-5-mini", "What was paid?"]
        done = run(command, machine.project, environment)
        assert done.returncode == 0, done.stderr
        asked, told = server.requests[-2:]
        assert {f"mcp__ktx.{name}" for name in TOOLS} <= set(asked.tool_names)
        assert "ktx-analytics" in asked.prompt_text, "the skill is offered"
        assert paid_by_country(answers_of(told.tool_results)[0]) == {"CH": 30.25, None: 5}
