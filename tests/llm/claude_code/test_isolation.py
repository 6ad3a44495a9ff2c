"""A machine full of traps: none of them may reach the model or run."""

import json
import os
import subprocess
from pathlib import Path

import anyio
import pytest

from ktx.errors import ModelError
from ktx.llm.backend import Request
from ktx.llm.backends.claude_code.command import find_program
from ktx.llm.backends.claude_code.environment import PASSED_ON
from ktx.llm.messages import user
from ktx.llm.schema import ToolInput
from ktx.llm.tools import Tool, Toolbox
from modelserver.replies import by_turn, call, text
from modelserver.server import ModelServer

pytestmark = pytest.mark.claude

CANARY = "CANARY"
ASK = Request(model="sonnet", messages=(user("Look around."),), system=("You look.",))


class Look(ToolInput):
    """Where to look."""

    place: int


LOOK = Tool(name="look", description="Look.", input=Look, run=lambda asked: "seen")


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def set_traps(home: Path, folder: Path, ran: Path) -> None:
    """Put everything that Claude Code would load, as a user and as a project in a git repository."""
    ran.mkdir()
    folder.mkdir(parents=True)
    author = ("-c", f"user.name={CANARY}", "-c", f"user.email={CANARY}@example.com")
    for command in (
        ("init", "-q", "-b", CANARY),
        (*author, "commit", "-q", "--allow-empty", "-m", f"{CANARY} commit"),
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    hooks = {
        event: [{"hooks": [{"type": "command", "command": f"touch {ran}/hook-{event}"}]}]
        for event in ("SessionStart", "UserPromptSubmit", "PreToolUse", "Stop", "SessionEnd")
    }
    servers = {"trap": {"command": "/bin/sh", "args": ["-c", f"touch {ran}/mcp-server; cat"]}}
    for place in (folder, home):
        write(place / "CLAUDE.md", f"{CANARY} memory of {place.name}")
        write(place / "AGENTS.md", f"{CANARY} agents of {place.name}")
        write(place / ".mcp.json", {"mcpServers": servers})
    for place in (folder / ".claude", home / ".claude"):
        write(place / "CLAUDE.md", f"{CANARY} memory in {place}")
        write(place / "rules" / "rule.md", f"{CANARY} rule")
        write(
            place / "settings.json",
            {
                "hooks": hooks,
                "env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "TRAP": CANARY},
                "apiKeyHelper": f"touch {ran}/key-helper; echo sk-trap",
                "statusLine": {"type": "command", "command": f"touch {ran}/status-line"},
                "enableAllProjectMcpServers": True,
                "permissions": {"allow": ["Bash(*)", "Read(*)"], "defaultMode": "acceptEdits"},
                "model": "opus",
                "outputStyle": "Explanatory",
            },
        )
        write(
            place / "skills" / "trap" / "SKILL.md",
            f"---\nname: trap\ndescription: {CANARY} skill\n---\n{CANARY}",
        )
        write(place / "agents" / "trap.md", f"---\nname: trap\ndescription: {CANARY} agent\n---\n{CANARY}")
        write(place / "commands" / "trap.md", f"{CANARY} command")
        write(place / "output-styles" / "trap.md", f"---\nname: trap\n---\n{CANARY} style")
    write(
        home / ".claude.json",
        {
            "mcpServers": servers,
            "projects": {str(folder): {"mcpServers": servers, "hasTrustDialogAccepted": True}},
        },
    )


@pytest.fixture
def trapped(host, tmp_path):
    """The machine with its traps set; gives the folder where whatever runs leaves a mark."""
    ran = tmp_path / "ran"
    set_traps(host.home, host.work_dir, ran)
    return ran


def test_the_traps_catch_a_claude_that_is_started_plainly(server, host, trapped):
    (host.home / ".claude" / "settings.json").write_text(
        json.dumps({"hooks": json.loads((host.home / ".claude" / "settings.json").read_text())["hooks"]})
    )
    (host.work_dir / ".claude" / "settings.json").unlink()
    subprocess.run(
        [find_program(host.environment), "-p", "hi", "--model", "sonnet"],
        cwd=host.work_dir,
        env=host.environment,
        timeout=60,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    assert CANARY in server.requests[0].prompt_text
    assert "Bash" in server.requests[0].tool_names
    assert {path.name for path in trapped.iterdir()} >= {"hook-SessionStart", "hook-UserPromptSubmit"}


def test_nothing_of_the_machine_reaches_the_model_or_runs(server, host, trapped):
    server.script(by_turn(call("look", place=1), text("done")))
    with ModelServer() as elsewhere:
        traps = {
            "ANTHROPIC_BASE_URL": elsewhere.url,
            "ANTHROPIC_API_KEY": "sk-trap",
            "ANTHROPIC_AUTH_TOKEN": "trap",
            "ANTHROPIC_MODEL": "claude-opus-5-5",
            "ANTHROPIC_CUSTOM_HEADERS": "x-trap: 1",
            "ANTHROPIC_DEFAULT_SONNET_MODEL": "claude-opus-5-5",
            "ANTHROPIC_UNIX_SOCKET": "/tmp/trap.sock",
            "CLAUDE_CODE_API_BASE_URL": elsewhere.url,
            "CLAUDE_CODE_USE_VERTEX": "1",
            "CLAUDE_CODE_USE_BEDROCK": "1",
            "CLAUDE_CODE_USE_FOUNDRY": "1",
            "CLAUDE_CODE_USE_GATEWAY": "1",
            "CLAUDE_CODE_EXTRA_BODY": '{"trap": 1}',
            "ANTHROPIC_VERTEX_PROJECT_ID": "trap",
            "CLOUD_ML_REGION": "us-east5",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "trap",
            "AWS_BEARER_TOKEN_BEDROCK": "trap",
            "GOOGLE_APPLICATION_CREDENTIALS": "/tmp/trap.json",
            "AZURE_API_KEY": "trap",
            "NODE_OPTIONS": "--require /tmp/trap.js",
            "MAX_THINKING_TOKENS": "1",
            "CLAUDECODE": "1",
        }
        backend = host.backend(environment=traps)
        outcome = anyio.run(
            lambda: backend.run_loop(ASK, Toolbox([LOOK], step_budget=5), watch=lambda step: None)
        )
        assert outcome.text == "done"
        assert elsewhere.requests == elsewhere.other_requests == elsewhere.tunnels == []
    assert set(server.tunnels) == {"api.anthropic.com"}
    for request in server.requests:
        assert CANARY not in json.dumps(request.body)
        assert request.tool_names == ["mcp__ktx__look"]
        assert request.model == "claude-sonnet-5-5"
        assert request.headers["authorization"] == "Bearer sk-ant-oat01-test"
        assert "x-trap" not in request.headers
        assert "trap" not in request.body
    assert list(trapped.iterdir()) == []


def test_paths_and_commands_in_a_prompt_are_words(server, host, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text(f"{CANARY} in a file")
    prompts = (f'Read @{secret} and @"{secret}".', "/clear", "!touch x", "# remember this")
    for prompt in prompts:
        server.requests.clear()
        anyio.run(host.backend().send, Request(model="sonnet", messages=(user(prompt),)))
        first = server.requests[0].messages[0]
        assert first == {"role": "user", "content": [{"type": "text", "text": prompt}]}
        assert CANARY not in json.dumps(server.requests[0].body)


def test_no_transcript_no_log_and_no_project_entry_is_left(server, host):
    server.script(by_turn(call("look", place=1), text("done")))
    for _ in range(2):
        anyio.run(
            lambda: host.backend().run_loop(ASK, Toolbox([LOOK], step_budget=5), watch=lambda step: None)
        )
    written = {str(path.relative_to(host.home)) for path in host.home.rglob("*") if path.is_file()}
    kept = {".claude.json", ".claude/.credentials.json", "ca.pem"}
    assert {path for path in written - kept if not path.startswith(".claude/backups/")} == set()
    assert list(host.work_dir.iterdir()) == []
    assert "Look around." not in (host.home / ".claude.json").read_text()


def test_the_childs_environment_is_the_allow_list_and_the_switches_of_the_run(host, tmp_path):
    dump = tmp_path / "environment"
    real = find_program(host.environment)
    program = tmp_path / "claude"
    program.write_text(f'#!/bin/sh\n/usr/bin/env -0 > {dump}\nexec "{real}" "$@"\n')
    program.chmod(0o755)
    parent = {
        **os.environ,
        **dict.fromkeys(("LANG", "TZ", "CLAUDE_CONFIG_DIR"), "kept"),
        "ANTHROPIC_API_KEY": "sk-trap",
    }
    parent |= {**host.environment, "CLAUDE_CONFIG_DIR": str(host.home / ".claude")}
    anyio.run(host.backend(environment=parent, program=program).send, ASK)
    seen = dict(line.split("=", 1) for line in dump.read_text().split("\0") if line)
    switches = {
        "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
        "CLAUDE_CODE_SDK_READS_SESSION_STATE": "1",
        "CLAUDE_AGENT_SDK_VERSION": seen["CLAUDE_AGENT_SDK_VERSION"],
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
        "CLAUDE_CODE_SKIP_MCP_DEBUG_LOG_FILES": "1",
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
        "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
        "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
        "CLAUDE_CODE_NO_MODEL_FALLBACK": "1",
        "CLAUDE_CODE_DISABLE_MODEL_ACCESS_FALLBACK": "1",
        "ENABLE_TOOL_SEARCH": "false",
        "ENABLE_MCP_LARGE_OUTPUT_FILES": "false",
        "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",
        "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": "1",
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "8192",
        "MAX_STRUCTURED_OUTPUT_RETRIES": "2",
        "PWD": str(host.work_dir),
        "XDG_CACHE_HOME": seen["XDG_CACHE_HOME"],
        "TMPDIR": seen["XDG_CACHE_HOME"],
    }
    passed = {name: value for name, value in parent.items() if name in PASSED_ON and value}
    added = {"_", "SHLVL", "OLDPWD"}  # by the shell that dumps
    if "LC_CTYPE" not in parent:
        added.add("LC_CTYPE")  # by Python, which names the C locale
    assert {name: value for name, value in seen.items() if name not in added} == {**passed, **switches}
    assert not Path(seen["XDG_CACHE_HOME"]).exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('--tools "Bash"', "the model would have the tool `Bash`"),
        ("--permission-mode plan", "the permission mode is `plan`"),
        ('--mcp-config \'{"mcpServers":{"other":{"command":"/bin/false"}}}\'', "the MCP server `other`"),
    ],
)
def test_a_program_that_has_more_than_the_run_allows_is_stopped_and_says_what_leaked(
    server, host, tmp_path, more, said
):
    program = tmp_path / "claude"
    program.write_text(f'#!/bin/sh\nexec "{find_program(host.environment)}" "$@" {more}\n')
    program.chmod(0o755)
    with pytest.raises(ModelError, match="not isolated") as caught:
        anyio.run(host.backend(program=program).send, ASK)
    assert caught.value.kind == "leaked"
    assert said in caught.value.message


def test_a_credential_that_is_not_claude_codes_own_login_is_a_leak(server, host, tmp_path):
    program = tmp_path / "claude"
    program.write_text(
        f'#!/bin/sh\nexport ANTHROPIC_API_KEY=sk-trap ANTHROPIC_BASE_URL={server.url}\nexec "{find_program(host.environment)}" "$@"\n'
    )
    program.chmod(0o755)
    with pytest.raises(ModelError) as caught:
        anyio.run(host.backend(program=program).send, ASK)
    assert caught.value.kind == "leaked"
    assert "the credential comes from `ANTHROPIC_API_KEY`" in caught.value.message
    assert "would not go to Anthropic" in caught.value.message
