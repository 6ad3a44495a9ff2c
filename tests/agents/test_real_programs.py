"""The real `claude` and `codex` programs, configured by `ktx setup --agents` and nothing else, call our tools over stdio."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.machine import Machine, make_machine
from claude_host import make_host
from modelserver import replies
from modelserver.server import ModelServer
from responsesserver.server import ResponsesServer
from servers.git import commit_files, git

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


def keep_in_mind(tool: str) -> Callable[[Any], replies.Reply]:
    """Script an agent that hands a text over and looks until it is done."""
    told: dict[str, Any] = {}

    def script(request: Any) -> replies.Reply:
        for answer in answers_of(request.tool_results):
            if '"runId"' in answer:
                told.update(json.loads(answer[answer.index("{") :]))
        if not told and request.tool_results:
            return replies.text(answers_of(request.tool_results)[-1])
        if not told:
            return replies.call(f"{tool}memory_ingest", content="Refunds never count as revenue.")
        if told.get("done"):
            return replies.text(f"{told['status']}: {told['captured']['wiki']}")
        return replies.call(f"{tool}memory_ingest_status", runId=told["runId"]).delayed(0.2)

    return script


def with_a_model(machine: Machine, server: ModelServer) -> None:
    """Let the project remember texts: a model that writes one page, and git."""
    page = {"key": "refunds", "summary": "Refunds are no revenue.", "body": "# Refunds\n\nNever count.\n"}
    server.script(replies.by_turn(replies.call("write_page", **page), replies.text("One page.")))
    with (machine.project / "ktx.yaml").open("a") as stream:
        stream.write(
            f"llm:\n  provider: {{backend: anthropic, anthropic: {{api_key: k, base_url: '{server.url}'}}}}\n"
            "  models: {default: claude-haiku-5-5}\n"
        )
    commit_files(machine.project, {})


@pytest.mark.claude
def test_the_real_claude_has_something_remembered(machine: Machine) -> None:
    with ModelServer() as ours, ModelServer() as server:
        with_a_model(machine, ours)
        assert machine.setup("--target", "claude-code").code == 0
        environment = {
            **make_host(machine.home, server).environment,
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "ENABLE_TOOL_SEARCH": "false",
        }
        server.script(keep_in_mind("mcp__ktx__"))
        command = [claude(), "-p", "Remember it.", "--model", "sonnet", "--allowedTools", "mcp__ktx"]
        command += ["--settings", '{"enabledMcpjsonServers": ["ktx"]}', "--output-format", "json"]
        done = run(command, machine.project, environment)
        assert json.loads(done.stdout)["result"] == "done: ['refunds']", done.stderr
    assert "Never count." in (machine.project / "wiki" / "global" / "refunds.md").read_text()
    assert "Ktx-Source: text" in git(machine.project, "log", "-1", "--format=%B")


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


@pytest.mark.codex
def test_the_real_codex_has_something_remembered(machine: Machine) -> None:
    home = machine.home / ".codex"
    home.mkdir()
    (home / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": "sk-test"}))
    (home / "config.toml").write_text(f'[projects."{machine.project}"]\ntrust_level = "trusted"\n')
    with ModelServer() as ours, ResponsesServer() as server:
        with_a_model(machine, ours)
        assert machine.setup("--target", "codex").code == 0
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(machine.home),
            **server.environment(str(server.authority.write_root(machine.home / "ca.pem"))),
        }
        server.routes["/v1/responses"] = (426, {})
        server.script(keep_in_mind(""))
        command = [codex(), "exec", "--skip-git-repo-check", "-m", "gpt-5-mini"]
        refused = run([*command, "Remember it."], machine.project, environment)
        assert "requires approval" in refused.stdout, "a tool that changes something is not run unasked"
        approved = ["-c", 'mcp_servers.ktx.tools.memory_ingest.approval_mode="approve"']
        done = run([*command, *approved, "Remember it."], machine.project, environment)
        assert "done: ['refunds']" in done.stdout, done.stderr
    assert "Never count." in (machine.project / "wiki" / "global" / "refunds.md").read_text()
